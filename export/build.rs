//! Compiles the libtorch shim and makes the `limbeck` binary find its engines from any folder.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=shim/torch_shim.cc");
    println!("cargo:rerun-if-changed=shim/dropout.cc");
    println!("cargo:rerun-if-changed=shim/torch_shim.h");
    println!("cargo:rerun-if-env-changed=LIMBECK_ORT_DYLIB");
    // torch-sys says where it found libtorch's libraries; the headers lie beside them.
    let libraries = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys did not say where libtorch is");
    let root = Path::new(&libraries).parent().expect("libtorch's lib folder has no parent");
    let nccl = env::var_os("CARGO_FEATURE_NCCL").is_some();
    let bridges = ["src/shim.rs", "src/train/parallel/nccl.rs"];
    let mut shim = cxx_build::bridges(&bridges[..if nccl { 2 } else { 1 }]);
    shim.file("shim/torch_shim.cc").file("shim/dropout.cc").std("c++17").warnings(false).include(root.join("include"));
    // Dropout takes a large part of a debug build's training otherwise.
    shim.opt_level(3);
    if nccl {
        println!("cargo:rerun-if-changed=shim/nccl.cc");
        println!("cargo:rerun-if-changed=shim/nccl.h");
        shim.file("shim/nccl.cc").define("USE_C10D_NCCL", None).include(root.join("include/torch/csrc/api/include"));
        shim.includes(cuda_headers(root));
    }
    shim.compile("limbeck-torch-shim");
    if nccl {
        println!("cargo:rustc-link-search=native={libraries}");
        println!("cargo:rustc-link-lib=dylib=torch_cuda");
        println!("cargo:rustc-link-lib=dylib=c10_cuda");
        // What libtorch_cuda itself needs is found when the program starts.
        println!("cargo:rustc-link-arg=-Wl,--allow-shlib-undefined");
    }
    if env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("unix") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libraries}");
    }
    if let Some(version) = torch_version(root) {
        println!("cargo:rustc-env=LIMBECK_TORCH_VERSION={version}");
    }
    // A default for the CLI only; the sdk never has a path built in.
    if let Ok(library) = env::var("LIMBECK_ORT_DYLIB") {
        println!("cargo:rustc-env=LIMBECK_ORT_DYLIB={library}");
    }
}

/// libtorch's version, by its headers.
fn torch_version(root: &Path) -> Option<String> {
    let places = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
    places.iter().find_map(|place| {
        let header = std::fs::read_to_string(root.join(place)).ok()?;
        let number = |part: &str| {
            let define = format!("#define TORCH_VERSION_{part} ");
            header.lines().find_map(|line| line.strip_prefix(&define)).map(|number| number.trim().to_owned())
        };
        Some([number("MAJOR")?, number("MINOR")?, number("PATCH")?].join("."))
    })
}

/// Folders of the headers of CUDA and NCCL: of `CUDA_HOME` and `NCCL_HOME`, else of the wheels beside torch's.
fn cuda_headers(torch: &Path) -> Vec<PathBuf> {
    let beside = torch.parent().map(|folder| folder.join("nvidia")).unwrap_or_default();
    let homes = [("CUDA_HOME", beside.join("cu13")), ("NCCL_HOME", beside.join("nccl"))].map(|(name, wheel)| {
        println!("cargo:rerun-if-env-changed={name}");
        env::var_os(name).map_or(wheel, PathBuf::from)
    });
    homes.into_iter().map(|home| home.join("include")).filter(|folder| folder.is_dir()).collect()
}
