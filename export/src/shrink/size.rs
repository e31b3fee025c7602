use serde::Serialize;

use super::Platform;

/// Share of the official library's code that is operators' kernels, by architecture. Measured on ONNX Runtime 1.24.4
/// for Linux: classes derived from `OpKernel` by its run-time type information, sizes of functions by its unwind table;
/// 5.9 of 17.3 MB of code on x86-64, 5.1 of 14.1 MB on aarch64. Other sections are taken to divide as code does.
fn kernel_share(architecture: &str) -> f64 {
    match architecture {
        "x86_64" => 0.34,
        "aarch64" => 0.36,
        _ => 0.35,
    }
}

/// Mean bytes of an operator's kernels, by the same measurement on x86-64: 5.9 MB for 257 of them.
const OPERATOR_BYTES: f64 = 23_000.0;

/// Bytes of the official library for aarch64 over those of the one for x86-64: 18.6 over 22.2 MB in 1.24.4.
const AARCH64_SIZE: f64 = 0.84;

/// What builds turned out to be, as shares of the formula: smallest, expected, largest. Two are published with their
/// options. Both are for Android on arm64, have some operators alone and read ONNX files: 1.16.2 with 45 operators,
/// optimized for size, has 7.4 MB (nmfisher/sherpa_onnx_dart), 0.78 of what the formula says from the 13.3 MB of that
/// version's own library for aarch64; 1.25.1 optimized at link time about 11 MB (cantoo-scribe/capacitor-onnx), 0.88 of
/// what it says from 1.24.4.
const OF_FORMULA: [f64; 3] = [0.75, 0.85, 1.0];

/// What a build with a bundle's operators alone is expected to have: an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExpectedSize {
    /// What it is built for.
    pub platform: Platform,
    /// Bytes of the library, stripped.
    pub bytes: u64,
    /// Bytes that it will hardly be below.
    pub at_least: u64,
    /// Bytes that it will hardly be above.
    pub at_most: u64,
}

impl ExpectedSize {
    /// For a library with all operators of `full` bytes, made for `architecture` as `std::env::consts::ARCH` names it,
    /// of whose operators `operators` are left.
    ///
    /// The library without its kernels, and with so many of mean size: full · (1 - share) + operators · 23 kB, times what
    /// builds were found to be of that.
    pub fn of(platform: Platform, full: u64, architecture: &str, operators: usize) -> Self {
        let (full, architecture) = match platform {
            Platform::Linux => (full as f64, architecture),
            Platform::Android | Platform::Ios if architecture == "x86_64" => (full as f64 * AARCH64_SIZE, "aarch64"),
            Platform::Android | Platform::Ios => (full as f64, "aarch64"),
        };
        let kernels = full * kernel_share(architecture);
        let formula = full - kernels + (operators as f64 * OPERATOR_BYTES).min(kernels);
        let [at_least, bytes, at_most] = OF_FORMULA.map(|of| (formula * of) as u64);
        Self { platform, bytes, at_least, at_most }
    }

    /// As people read it: `about 13.0 MB (11.5 to 15.3)`.
    pub fn words(&self) -> String {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        format!("about {:.1} MB ({:.1} to {:.1})", mb(self.bytes), mb(self.at_least), mb(self.at_most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two builds whose sizes are published, from the full libraries that they are held against.
    #[test]
    fn published_builds_are_inside() {
        // 18.6 MB is 1.24.4's, the build is of 1.25.1: as near as can be had.
        let transformer = ExpectedSize::of(Platform::Android, 18_625_376, "aarch64", 25);
        assert!((transformer.at_least..=transformer.at_most).contains(&11_000_000), "{transformer:?}");
        let speech = ExpectedSize::of(Platform::Android, 13_253_136, "aarch64", 45);
        assert!((speech.at_least..=speech.at_most).contains(&7_368_424), "{speech:?}");
    }

    #[test]
    fn fewer_operators_are_smaller_and_all_are_the_library() {
        let of = |operators| ExpectedSize::of(Platform::Linux, 22_159_232, "x86_64", operators);
        assert!(of(20).bytes < of(40).bytes && of(40).bytes < of(1000).bytes);
        // Lists longer than the kernels there are do not make the library larger than it is.
        assert_eq!((of(1000).at_most, of(9999).at_most), (22_159_232, 22_159_232));
        let few = of(0);
        assert!(few.at_least < few.bytes && few.bytes < few.at_most && few.at_most < 22_159_232);
        assert_eq!(
            ExpectedSize { bytes: 13_040_000, at_least: 11_510_000, at_most: 15_350_000, ..few }.words(),
            "about 13.0 MB (11.5 to 15.3)"
        );
    }

    /// Phones are arm64, whatever asks.
    #[test]
    fn phones_are_smaller_than_the_machine_that_asks() {
        let of = |platform, architecture| ExpectedSize::of(platform, 20_000_000, architecture, 30).bytes;
        assert!(of(Platform::Android, "x86_64") < of(Platform::Linux, "x86_64"));
        assert_eq!(of(Platform::Android, "aarch64"), of(Platform::Linux, "aarch64"));
        assert_eq!(of(Platform::Ios, "x86_64"), of(Platform::Android, "x86_64"));
    }
}
