//! What a build of ONNX Runtime needs to run one bundle, and nothing else.

mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use limbeck::Bundle;
use limbeck::bundle::GRAPH;
use limbeck::int8::DOMAIN;
use limbeck::runtime::{GraphFormat, Optimization, save_optimized};
use serde::Serialize;

use crate::files;
use crate::graph::describe;

pub use size::ExpectedSize;

/// Name of the list of operators.
pub const OPERATORS_NAME: &str = "required_operators.config";
/// Name of the graph in ONNX Runtime's own format.
pub const ORT_NAME: &str = "model.ort";

/// Operators by domain, and the operator sets that they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operators(BTreeMap<String, (BTreeSet<i64>, BTreeSet<String>)>);

impl Operators {
    /// All that graphs hold, `.onnx` files each; without those that the library computes itself.
    ///
    /// # Errors
    /// A file that is no graph, or names a domain without its operator set.
    pub fn of<'g>(graphs: impl IntoIterator<Item = &'g [u8]>) -> Result<Self> {
        let mut all = Self::default();
        for graph in graphs {
            let description = describe(graph)?;
            for name in description.operators.keys() {
                let (domain, operator) = name.split_once(':').with_context(|| format!("the operator {name}"))?;
                if domain == DOMAIN {
                    continue;
                }
                let set = description.opset.get(domain).with_context(|| format!("no operator set of {domain}"))?;
                let entry = all.0.entry(domain.to_owned()).or_default();
                entry.0.insert(*set);
                entry.1.insert(operator.to_owned());
            }
        }
        Ok(all)
    }

    /// Whether an operator is there.
    pub fn has(&self, domain: &str, operator: &str) -> bool {
        self.0.get(domain).is_some_and(|(_, operators)| operators.contains(operator))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.values().map(|(_, operators)| operators.len()).sum()
    }

    /// As ONNX Runtime's `--include_ops_by_config` reads them: `domain;opset,...;operator,...`.
    pub fn config(&self, of: &str) -> String {
        let mut text = format!("# Operators of {of}, before and after ONNX Runtime's own fusions.\n");
        for (domain, (sets, operators)) in &self.0 {
            let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
            let operators: Vec<&str> = operators.iter().map(String::as_str).collect();
            let _ = writeln!(text, "{domain};{};{}", sets.join(","), operators.join(","));
        }
        text
    }
}

/// A platform that ONNX Runtime is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// The machine that builds.
    Linux,
    /// arm64.
    Android,
    /// arm64.
    Ios,
}

impl Platform {
    /// All of them.
    pub const ALL: [Platform; 3] = [Platform::Linux, Platform::Android, Platform::Ios];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Platform::Linux => "linux",
            Platform::Android => "android",
            Platform::Ios => "ios",
        }
    }

    /// A script that builds ONNX Runtime of this version from its sources, to be run in their folder with the list of
    /// operators as its argument. It names the size that is expected of it, where there is one.
    pub fn script(self, version: &str, expected: Option<&ExpectedSize>) -> String {
        let platform = match self {
            Platform::Linux => "--build_shared_lib",
            Platform::Android => {
                "--build_shared_lib --android --android_abi arm64-v8a --android_api 24 \\\n  \
                 --android_sdk_path \"$ANDROID_HOME\" --android_ndk_path \"$ANDROID_NDK_HOME\""
            }
            Platform::Ios => {
                "--build_apple_framework --ios --use_xcode --apple_sysroot iphoneos --osx_arch arm64 \\\n  \
                 --apple_deploy_target 15.1"
            }
        };
        // Android 15 and later may have pages of 16 KB.
        let linker = match self {
            Platform::Android => " CMAKE_SHARED_LINKER_FLAGS=-Wl,-z,max-page-size=16384",
            _ => "",
        };
        let size = expected.map_or(String::new(), |expected| {
            format!("# Expected of the library, stripped: {}, an estimate and not measured.\n", expected.words())
        });
        format!(
            "#!/bin/sh\n# In the sources of ONNX Runtime {version}:\n\
             #   git clone --depth 1 --branch v{version} --recursive https://github.com/microsoft/onnxruntime\n\
             {size}# Exceptions and the reading of ONNX files stay: limbeck needs both.\nset -e\n\
             operators=${{1:?give the path of {OPERATORS_NAME}}}\n\
             ./build.sh --config MinSizeRel --parallel --skip_tests --compile_no_warning_as_error --disable_ml_ops \\\n  \
             {platform} \\\n  \
             --include_ops_by_config \"$operators\" \\\n  \
             --cmake_extra_defines onnxruntime_BUILD_UNIT_TESTS=OFF{linker}\n"
        )
    }
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct ShrinkReport {
    /// Version of ONNX Runtime that was asked.
    pub runtime: String,
    /// Operators that a build needs.
    pub operators: Operators,
    /// Bytes of the bundle.
    pub bundle_bytes: u64,
    /// Bytes of the graph in ONNX Runtime's own format, weights included; none where it could not be written.
    pub ort_bytes: Option<u64>,
    /// Why it could not.
    pub ort_refused: Option<String>,
    /// Bytes of the library that was asked, with all operators; none where it is not a file.
    pub full_library_bytes: Option<u64>,
    /// What a build with these operators alone is expected to have, for each platform: estimates from the bytes above;
    /// none without them.
    pub expected: Vec<ExpectedSize>,
}

/// Writes the list of operators, the graph in ONNX Runtime's own format and the build scripts to the folder `out`.
///
/// # Errors
/// A bundle that does not load; a folder that cannot be written.
pub fn shrink(bundle: &Bundle, bundle_bytes: u64, out: &Path) -> Result<ShrinkReport> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let graph = bundle.section(GRAPH).context("the bundle has no graph")?;
    // What is computed when a graph is loaded is in it as it is; what runs is in it as it was rewritten. Other processors
    // may stop at another level, so the list has them all.
    let levels = [Optimization::Basic, Optimization::Extended, Optimization::All];
    let rewritten = levels.map(|level| optimized(bundle, level, out)).into_iter().collect::<Result<Vec<_>>>()?;
    let operators = Operators::of([&*graph].into_iter().chain(rewritten.iter().map(Vec::as_slice)))?;
    let info = limbeck::runtime::loaded().context("ONNX Runtime is not loaded")?;
    let manifest = bundle.manifest();
    let of = format!("{} {}", manifest.id, manifest.version);
    files::write_bytes(&out.join(OPERATORS_NAME), operators.config(&of).as_bytes())?;
    let full = std::fs::metadata(&info.path).ok().map(|metadata| metadata.len());
    let size = |platform, full| ExpectedSize::of(platform, full, std::env::consts::ARCH, operators.count());
    let mut expected = Vec::new();
    for platform in Platform::ALL {
        let size = full.map(|full| size(platform, full));
        let path = out.join(format!("build-{}.sh", platform.name()));
        files::write_bytes(&path, platform.script(&info.version, size.as_ref()).as_bytes())?;
        expected.extend(size);
    }
    let ort = out.join(ORT_NAME);
    // One of an earlier bundle would stand for this one's where none can be written.
    files::remove_if_there(&ort)?;
    let written = write_ort(bundle, &ort, out);
    Ok(ShrinkReport {
        runtime: info.version.clone(),
        operators,
        bundle_bytes,
        ort_bytes: written.as_ref().ok().copied(),
        ort_refused: written.err().map(|error| format!("{error:#}")),
        full_library_bytes: full,
        expected,
    })
}

/// The graph as ONNX Runtime rewrites it.
fn optimized(bundle: &Bundle, level: Optimization, out: &Path) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir_in(out).with_context(|| format!("cannot write to {}", out.display()))?;
    let path = folder.path().join("optimized.onnx");
    save_optimized(bundle, &path, level, GraphFormat::Onnx)?;
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn write_ort(bundle: &Bundle, path: &Path, out: &Path) -> Result<u64> {
    let folder = tempfile::tempdir_in(out).with_context(|| format!("cannot write to {}", out.display()))?;
    let unfinished = folder.path().join(ORT_NAME);
    save_optimized(bundle, &unfinished, Optimization::Extended, GraphFormat::Ort)?;
    std::fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(std::fs::metadata(path)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_as_onnx_runtime_reads_it() {
        let sets = |list: &[i64]| list.iter().copied().collect();
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        let mut operators = Operators::default();
        operators.0.insert("ai.onnx".to_owned(), (sets(&[17]), names(&["MatMul", "Add"])));
        operators.0.insert("com.microsoft".to_owned(), (sets(&[1]), names(&["MatMulNBits"])));
        let text = operators.config("a 1");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["ai.onnx;17;Add,MatMul", "com.microsoft;1;MatMulNBits"]);
        assert!(operators.has("ai.onnx", "Add") && !operators.has("com.microsoft", "Add") && operators.count() == 3);
        assert!(Operators::of([&b"no graph"[..]]).is_err());
    }

    #[test]
    fn scripts_name_the_version_and_what_the_platform_needs() {
        for platform in Platform::ALL {
            let size = ExpectedSize::of(platform, 20_000_000, "x86_64", 20);
            let script = platform.script("1.24.4", Some(&size));
            assert!(script.contains("--branch v1.24.4") && script.contains("--include_ops_by_config \"$operators\""));
            assert!(script.contains(&format!("\n# Expected of the library, stripped: {}", size.words())), "{script}");
            // Both would take what limbeck needs.
            assert!(!script.contains("--minimal_build") && !script.contains("--disable_exceptions"), "{script}");
        }
        assert!(Platform::Android.script("1", None).contains("max-page-size=16384"));
        assert!(Platform::Ios.script("1", None).contains("--apple_sysroot iphoneos"));
    }
}
