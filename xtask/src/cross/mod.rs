//! `cargo xtask cross`: the C library for arm64 Linux, built and run here, and type-checked for phones.

mod compare;
mod debian;
mod emulator;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::Arguments;
use crate::bench::target_folder;
use crate::cache::Cache;
use crate::clients::Clients;
use crate::command::{cargo, commit, repository};
use crate::fetch::fetch;
use crate::package::sizes::date;
use crate::package::targets::debian_cargo;
use crate::package::{self, Made};
use crate::pins;
use crate::progress::time;
use debian::Versions;
use emulator::Emulator;

/// `--help`.
pub const HELP: &str = "\
On Debian x86-64, as root: builds the C library for arm64 Linux, compiles the C programs of tests/c and
examples/c for it, and runs them and the tests of the 8-bit layers under qemu with the arm64 build of ONNX Runtime. What classify answers,
from bundles in fp32, int8 and ternary weights, must be what it answers here; so must what the library for this
machine answers on emulated processors with fewer instructions. Then type-checks the library for Android and iOS, whose
linkers Debian does not have.

Installs Debian's rustc-web with its library for arm64, gcc for arm64, and qemu-user-static, if they are missing
(390 MB of download; adds the architecture arm64 to dpkg and may upgrade a few libraries so that both
architectures have one version). Fetches ONNX Runtime for arm64 (15 MB). Takes about ten minutes.

An emulator shows whether answers are right. Times under it mean nothing and are not shown.

Usage: cargo xtask cross [--save]

Options:
  --save   write the result to capi/abi/cross-results.txt
";

/// Where the results stand.
const RESULTS: &str = "capi/abi/cross-results.txt";
const TARGET: &str = "aarch64-unknown-linux-gnu";
const HOST: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "min-size";
const GCC: &str = "aarch64-linux-gnu-gcc";
/// Real encoders, small, and with all that limbeck computes itself in the last two.
const ENCODERS: [&str; 3] = [
    "tests/golden/bundle-1.0/tiny.fp32.limbeck",
    "tests/golden/int8-1.0/tiny.int8.limbeck",
    "tests/golden/ternary-1.0/tiny.ternary.limbeck",
];
/// Prints all digits of what they answer.
const ANSWERS: &str = "xtask/src/cross/answers.c";
/// Processors that are emulated on this one, and what they lack: the other paths of limbeck's own layers, and other
/// kernels of ONNX Runtime. The emulator has no AVX-512 itself.
const PROCESSORS: [(&str, &str); 2] = [("max", "AVX2 without AVX-512"), ("Nehalem", "without AVX2")];
const TEXTS: [&str; 3] = ["I liked it.", "no", "It arrived late, it was broken, and nobody answered my letters"];
/// Type-checked, with a standard library built from its sources.
const CHECKED: [&str; 3] = ["aarch64-linux-android", "armv7-linux-androideabi", "aarch64-apple-ios"];
/// The examples with a bundle, arguments, and what they must say.
const EXAMPLES: [(&str, &str, &[&str], &str); 7] = [
    ("sentiment", "tiny.limbeck", &["a good film"], "positive"),
    ("entities", "entities.limbeck", &["Ada Lovelace wrote it"], "Ada Lovelace"),
    ("answer", "reader.limbeck", &["Who wrote it?", "It: Ada Lovelace wrote it."], "bytes 4 to 16  Ada Lovelace"),
    ("similarity", "embedder.limbeck", &["good", "bad", "good good film"], "good good film"),
    ("hot_swap", "tiny.limbeck", &["/no/such.limbeck"], ""),
    ("generate", "teller.limbeck", &["c"], "3 tokens, end-of-text"),
    ("firmware", "tiny.limbeck", &["50"], "has grown by 0 bytes"),
];
/// A program of several files.
const BENCH: &str = "capi/bench";
/// They need a library with hooks, or fail on purpose (capi/tests/c_programs.rs).
const NOT_RUN: [&str; 2] = ["panic", "control"];

/// The verb.
///
/// # Errors
/// Something is missing, or the library cannot be built.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let save = arguments.flag("--save");
    arguments.finish()?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        bail!("this lane is for Debian on x86-64; elsewhere: cargo xtask package --target {TARGET}");
    }
    let versions = debian::ensure()?;
    let cache = Cache::locate()?;
    let runtime = pins::onnx_runtime().context("no ONNX Runtime is known for this platform")?;
    fetch(&cache, &[runtime, &pins::ONNX_RUNTIME_TO_EMULATE], &Clients::default())?;
    let library = |asset| cache.folder(asset).join(pins::ONNX_RUNTIME_FILE);

    let out = repository().join("out/package");
    let there = package::make(TARGET, PROFILE, &out)?;
    let here = package::make(HOST, PROFILE, &out)?;
    let scratch = tempfile::tempdir()?;
    let bundle = scratch.path().join("bundles/tiny.limbeck");
    let mut write = cargo();
    write.args(["run", "--quiet", "--package", "limbeck-capi", "--example", "tiny_bundles", "--"]);
    write.arg(scratch.path().join("bundles"));
    output(&mut write)?;

    let mut report = Report::new(&versions, &there)?;
    let lane = Lane {
        emulator: Emulator::new(&scratch.path().join("root"), &there.folder.join("lib"))?,
        scratch: scratch.path(),
        bundle: &bundle,
        here: &here,
        there: &there,
        runtime_here: library(runtime),
        runtime_there: library(&pins::ONNX_RUNTIME_TO_EMULATE),
    };
    lane.programs(&mut report)?;
    for target in CHECKED {
        report.step(&format!("type check for {target}"), || type_check(target));
    }
    let (text, failed) = report.finish();
    if save {
        fs::write(repository().join(RESULTS), text).with_context(|| format!("writing {RESULTS}"))?;
        println!("{RESULTS} is written");
    }
    if failed > 0 {
        eprintln!("error: {failed} of the steps above failed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What the programs are run with.
struct Lane<'a> {
    emulator: Emulator,
    scratch: &'a Path,
    bundle: &'a Path,
    here: &'a Made,
    there: &'a Made,
    runtime_here: PathBuf,
    runtime_there: PathBuf,
}

impl Lane<'_> {
    fn programs(&self, report: &mut Report) -> Result<()> {
        for path in sources(&repository().join("tests/c"))? {
            let name = stem(&path);
            if NOT_RUN.contains(&name.as_str()) {
                continue;
            }
            report.step(&format!("tests/c/{name}.c under qemu"), || {
                self.there(&path, self.bundle, &["small"]).map(|_| "passed".to_owned())
            });
        }
        for path in sources(&repository().join("examples/c"))? {
            let name = stem(&path);
            report.step(&format!("examples/c/{name}.c under qemu"), || {
                let Some((_, bundle, arguments, expected)) = EXAMPLES.iter().find(|(known, ..)| *known == name) else {
                    bail!("no arguments are known for it: see EXAMPLES in xtask/src/cross/mod.rs");
                };
                let text = self.there(&path, &self.bundle.with_file_name(bundle), arguments)?;
                if !text.contains(expected) {
                    bail!("it answered {text}");
                }
                Ok((*expected).to_owned())
            });
        }
        report.step("limbeck-bench under qemu, which shows that it runs and nothing else", || {
            let text =
                self.there(&repository().join(BENCH), self.bundle, &["--lengths", "8", "--runs", "20", "--json"])?;
            if !text.contains("\"limbeck-bench 1\"") {
                bail!("it printed {text}");
            }
            Ok("passed".to_owned())
        });
        report.step("8-bit encoder layers, the same bits under qemu", || {
            let mut cargo = debian_cargo();
            cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", GCC);
            cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", emulator::QEMU);
            cargo.args(["test", "--quiet", "--locked", "--package", "limbeck-int8", "--lib", "--target", TARGET]);
            output(cargo.arg("--target-dir").arg(target_folder()?.join("debian"))).map(|_| "passed".to_owned())
        });
        report.step("tests/c/classify.c, arm64 against x86-64", || {
            let source = repository().join("tests/c/classify.c");
            let (here, there) = (self.here(&source, self.bundle, &[])?, self.there(&source, self.bundle, &[])?);
            compare::answers(&here, &there)
        });
        let source = repository().join(ANSWERS);
        for encoder in ENCODERS {
            let bundle = repository().join(encoder);
            report.step(&format!("{encoder}, arm64 against x86-64 ({})", instructions()), || {
                let (here, there) = (self.here(&source, &bundle, &TEXTS)?, self.there(&source, &bundle, &TEXTS)?);
                compare::logits(&here, &there)
            });
            for (processor, has) in PROCESSORS {
                report.step(&format!("{encoder}, x86-64 {has} ({processor}) against {}", instructions()), || {
                    let here = self.here(&source, &bundle, &TEXTS)?;
                    let mut command = emulator::x86(processor, &self.compile(&source, "gcc", self.here)?);
                    command.env("LD_LIBRARY_PATH", self.here.folder.join("lib"));
                    let there = output(command.arg(&bundle).arg(&self.runtime_here).args(TEXTS))?;
                    compare::logits(&here, &there)
                });
            }
        }
        Ok(())
    }

    /// What a program prints on arm64.
    fn there(&self, source: &Path, bundle: &Path, arguments: &[&str]) -> Result<String> {
        let program = self.compile(source, GCC, self.there)?;
        let mut command = self.emulator.command(&program);
        command.arg(bundle).args(source.is_dir().then_some("--runtime")).arg(&self.runtime_there);
        output(command.args(arguments))
    }

    /// And on this machine.
    fn here(&self, source: &Path, bundle: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.compile(source, "gcc", self.here)?);
        command.env("LD_LIBRARY_PATH", self.here.folder.join("lib"));
        output(command.arg(bundle).arg(&self.runtime_here).args(arguments))
    }

    /// A program of one file, or of all that are in a folder.
    fn compile(&self, source: &Path, compiler: &str, made: &Made) -> Result<PathBuf> {
        let program = self.scratch.join(format!("{compiler}-{}", stem(source)));
        let mut command = Command::new(compiler);
        command.args(["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O1", "-Wall", "-Wextra", "-Werror", "-I"]);
        command.arg(made.folder.join("include")).arg("-o").arg(&program);
        match source.is_dir() {
            true => command.args(sources(source)?),
            false => command.arg(source),
        };
        command.arg("-L").arg(made.folder.join("lib")).args(["-llimbeck", "-pthread", "-lm", "-ldl"]);
        output(&mut command)?;
        Ok(program)
    }
}

/// The best of this machine's instructions that limbeck's layers have a path for.
fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    "neither AVX-512 nor AVX2"
}

/// Needs no linker. The standard library comes from Debian's rust-web-src; a stable compiler builds it only
/// with RUSTC_BOOTSTRAP=1, which is good enough to check types and for nothing that is shipped.
fn type_check(target: &str) -> Result<String> {
    let mut cargo = debian_cargo();
    cargo.env("RUSTC_BOOTSTRAP", "1").args(["check", "--quiet", "--locked", "-Zbuild-std=std,panic_unwind"]);
    cargo.args(["--package", "limbeck-capi", "--lib", "--target", target]);
    output(cargo.arg("--target-dir").arg(target_folder()?.join("debian")))?;
    Ok("passed; nothing was linked".to_owned())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a program prints, if it ends well.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {:?}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.trim().lines().collect();
        bail!("{} ({})", lines[lines.len().saturating_sub(8)..].join("\n    "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lines for people, printed as they come.
struct Report {
    text: String,
    failed: usize,
    started: Instant,
}

impl Report {
    fn new(versions: &Versions, made: &Made) -> Result<Self> {
        let mut report = Self { text: String::new(), failed: 0, started: Instant::now() };
        report.line(&format!(
            "cargo xtask cross, {}, limbeck at {}\n\n{}\n{}\n{}\nONNX Runtime 1.24.4 (aarch64 and x86-64)\n\n\
             Emulated: this shows that answers are right, and nothing about speed.\n",
            date()?,
            commit().unwrap_or_else(|| "unknown".to_owned()),
            versions.rustc,
            versions.gcc,
            versions.qemu
        ));
        report.line(&format!("ok    {TARGET}, profile {PROFILE}: {}", made.found));
        Ok(report)
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text += line;
        self.text += "\n";
    }

    fn step(&mut self, name: &str, step: impl FnOnce() -> Result<String>) {
        match step() {
            Ok(found) => self.line(&format!("ok    {name}: {found}")),
            Err(error) => {
                self.failed += 1;
                self.line(&format!("FAIL  {name}: {error:#}"));
            }
        }
    }

    /// The whole text, and how many steps failed.
    fn finish(self) -> (String, usize) {
        println!("took {}", time(self.started.elapsed()));
        (self.text, self.failed)
    }
}
