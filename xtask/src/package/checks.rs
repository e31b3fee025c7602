//! What must hold of a shared library before it is packed.

use anyhow::{Result, bail};

use super::elf::{self, Elf};
use super::install::Target;

/// The page size that Android devices and some arm64 kernels have.
pub const PAGE: u64 = 16384;

/// Libraries that each such system has.
const LINUX: [&str; 8] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libgcc_s.so.1",
    "ld-linux",
];
/// As above, on Android.
pub const ANDROID: [&str; 4] = ["libc.so", "libm.so", "libdl.so", "liblog.so"];

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// In one line.
    pub line: String,
    /// The oldest glibc that it runs with, where it is built for one.
    pub glibc: Option<String>,
}

/// Looks at a shared library.
///
/// # Errors
/// Something is not as it must be; all of it is named.
pub fn check(bytes: &[u8], target: &Target, version: &str, symbols: &[&str]) -> Result<Found> {
    if target.is_apple() {
        if !bytes.starts_with(&[0xcf, 0xfa, 0xed, 0xfe]) {
            bail!("the library is not a 64-bit Mach-O file");
        }
        return Ok(Found { line: "Mach-O; its symbols were not looked at".to_owned(), glibc: None });
    }
    let elf = elf::parse(bytes)?;
    let faults = faults(&elf, target, version, symbols);
    if !faults.is_empty() {
        bail!("the shared library for {} cannot be packed:\n  {}", target.triple(), faults.join("\n  "));
    }
    let glibc = elf.glibc();
    let line = format!(
        "{} symbols, all limbeck_*; SONAME {}; LOAD alignment {}; needs {}{}",
        elf.exported.len(),
        elf.soname.unwrap_or_default(),
        elf.load_alignments.iter().min().unwrap_or(&0),
        elf.needed.join(" "),
        glibc.as_ref().map_or(String::new(), |version| format!("; glibc {version} or later"))
    );
    Ok(Found { line, glibc })
}

fn faults(elf: &Elf, target: &Target, version: &str, symbols: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let machine = match target.triple().split('-').next().unwrap_or_default() {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        processor if processor.starts_with("arm") => Some(40),
        _ => None,
    };
    if machine.is_some_and(|machine| machine != elf.machine) || elf.is_64 != (target.pointer_bytes() == 8) {
        faults.push(format!("it is for another processor (ELF machine {})", elf.machine));
    }
    let foreign: Vec<&str> =
        elf.exported.iter().map(String::as_str).filter(|symbol| !symbol.starts_with("limbeck_")).collect();
    if !foreign.is_empty() {
        faults.push(format!("it exports what is not limbeck's: {}", foreign.join(" ")));
    }
    let missing: Vec<&str> =
        symbols.iter().copied().filter(|symbol| !elf.exported.iter().any(|name| name == symbol)).collect();
    if !missing.is_empty() {
        faults.push(format!("it lacks symbols of capi/abi/symbols.txt: {}", missing.join(" ")));
    }
    let soname = target.shared(version).soname;
    if elf.soname.as_deref() != Some(&soname) {
        faults.push(format!("its SONAME is {:?}, not {soname}", elf.soname));
    }
    if elf.is_64 && (elf.load_alignments.is_empty() || elf.load_alignments.iter().any(|alignment| *alignment < PAGE)) {
        faults.push(format!("its LOAD segments are aligned to {:?}, not to {PAGE}", elf.load_alignments));
    }
    let allowed: &[&str] = if target.is_android() { &ANDROID } else { &LINUX };
    for needed in &elf.needed {
        let is_loader = needed.starts_with("ld-linux") && allowed.contains(&"ld-linux");
        if !is_loader && !allowed.contains(&needed.as_str()) {
            faults.push(format!("it needs {needed}, which is not part of the system"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Elf {
        Elf {
            machine: 183,
            is_64: true,
            load_alignments: vec![0x4000, 0x10000],
            soname: Some("liblimbeck.so.0".to_owned()),
            needed: vec!["libc.so.6".to_owned(), "ld-linux-aarch64.so.1".to_owned()],
            exported: vec!["limbeck_version".to_owned()],
            wanted: Vec::new(),
        }
    }

    type Change = (&'static str, fn(&mut Elf));

    #[test]
    fn each_fault_is_named() {
        let linux = Target::new("aarch64-unknown-linux-gnu");
        let faults = |elf: &Elf, target: &Target| faults(elf, target, "0.1.0", &["limbeck_version"]).join("\n");
        assert_eq!(faults(&good(), &linux), "");
        let changes: [Change; 6] = [
            ("another processor", |elf| elf.machine = 62),
            ("rust_panic", |elf| elf.exported.push("rust_panic".to_owned())),
            ("lacks symbols", |elf| elf.exported.clear()),
            ("SONAME", |elf| elf.soname = None),
            ("4096", |elf| elf.load_alignments.push(4096)),
            ("libonnxruntime.so.1", |elf| elf.needed.push("libonnxruntime.so.1".to_owned())),
        ];
        for (part, change) in changes {
            let mut elf = good();
            change(&mut elf);
            assert!(faults(&elf, &linux).contains(part), "{part}");
        }
        // Android has no versions in names, and 32-bit ones may have small pages.
        let android = Target::new("armv7-linux-androideabi");
        let mut elf = Elf { machine: 40, is_64: false, load_alignments: vec![4096], ..good() };
        elf.soname = Some("liblimbeck.so".to_owned());
        elf.needed = vec!["libc.so".to_owned(), "libdl.so".to_owned()];
        assert_eq!(faults(&elf, &android), "");
        elf.needed.push("libc.so.6".to_owned());
        assert!(faults(&elf, &android).contains("libc.so.6"));
    }
}
