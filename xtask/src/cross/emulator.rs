//! Running programs for arm64 on another machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The emulator of Debian's package qemu-user-static.
pub const QEMU: &str = "qemu-aarch64-static";

/// The same for x86-64.
pub const QEMU_X86: &str = "qemu-x86_64-static";

/// A program that does not end is ended after this many seconds.
const PATIENCE: &str = "600";

/// ONNX Runtime asks `/proc/cpuinfo` what it runs on. QEMU up to 7.2 shows it that of the real machine, whose
/// lines it misreads until it crashes. This is a Neoverse N1, which QEMU emulates well.
const PROCESSOR: &str = "\
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

";

/// The emulator, ready to run programs.
pub struct Emulator {
    /// The programs see its files in the place of the machine's.
    root: PathBuf,
    library_path: PathBuf,
}

impl Emulator {
    /// Programs find their libraries in `libraries`. `root` is an empty folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn new(root: &Path, libraries: &Path) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        fs::create_dir_all(root.join("proc")).context("making the folder for the emulator")?;
        fs::write(root.join("proc/cpuinfo"), cpuinfo(cores)).context("writing the emulator's cpuinfo")?;
        Ok(Self { root: root.to_owned(), library_path: libraries.to_owned() })
    }

    /// A program; its arguments are to be added.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("timeout");
        command.args([PATIENCE, QEMU, "-L"]).arg(&self.root);
        command.arg("-E").arg(format!("LD_LIBRARY_PATH={}", self.library_path.display())).arg(program);
        command
    }
}

/// A program for this machine on another x86-64 processor; its arguments are to be added. It reads this machine's files.
pub fn x86(processor: &str, program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args([PATIENCE, QEMU_X86, "-cpu", processor]).arg(program);
    command
}

fn cpuinfo(cores: usize) -> String {
    (0..cores).map(|core| format!("processor\t: {core}\n{PROCESSOR}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_a_block() {
        let text = cpuinfo(2);
        let blocks: Vec<&str> = text.trim_end().split("\n\n").collect();
        assert_eq!(blocks.len(), 2);
        for (number, block) in blocks.iter().enumerate() {
            assert!(block.starts_with(&format!("processor\t: {number}\nBogoMIPS")), "{block}");
            assert!(block.ends_with("CPU revision\t: 1") && block.contains("asimddp\n"), "{block}");
        }
    }
}
