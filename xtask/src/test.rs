//! Every test and every check, one after the other, and one line at the end.

use std::io::{self, IsTerminal, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::Arguments;
use crate::bindings::{self, jvm, swift};
use crate::cache::Cache;
use crate::command::{cargo, command, repository};
use crate::docs;
use crate::engines::Engines;
use crate::pins;
use crate::progress::time;
use crate::{python, tools};

/// `--help`.
pub const HELP: &str = "\
Runs every check and every test: formatting, clippy, rustdoc, the tests of all crates (C programs and damaged files
among them), the packages for Python and Node, Kotlin and Java through Maven, Swift where it is installed, the pool
under loom, training in two processes under Open MPI, the C header, the tables of the README and docs/. Installs
compilers and checkers (gcc, clang, valgrind, GoogleTest, abidiff, doxygen, a JDK, Maven, Open MPI and more) with apt-get
if they are missing and it runs as root; fetches engines, models, data, and packages for Python, Node and Java if they
are missing (about 1.1 GB in all).
All steps run even after a failure. The last line is `N passed, N failed, N skipped`.

Usage: cargo xtask test [OPTIONS]

Options:
  --filter X     only the tests, and the checks, whose name contains X
  --list         show the names of all checks and tests, run none (compiles the tests)
  --fail-fast    stop after the first step that fails
  --swift        fail where there is no Swift, in place of skipping its tests and examples. They run on Linux: with
                 `swift` 5.9 or later, or as root with Debian's in a folder that LIMBECK_SWIFT_DEBIAN names, or in
                 `swift-debian` of the cache. With this option the folder that is named is filled first if
                 Swift is not in it (3.4 GB)
  --references   first make the committed reference values anew, with PyTorch and transformers in a
                 Python environment in the cache (gigabytes; needs Python 3.11 or newer)
";

/// What is run, in this order. One cargo call for the tests of all crates: calls for one crate each would
/// compile the dependencies again with other features.
const STEPS: [(&str, Step); 12] = [
    ("formatting", Step::Check(&["fmt", "--all", "--check"])),
    ("clippy", Step::Check(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    (
        "clippy of benches",
        Step::Check(&["clippy", "-p", "limbeck", "--features", "internals", "--benches", "--", "-D", "warnings"]),
    ),
    // Without the C library, whose crate has the sdk's name and whose documentation is its header.
    ("rustdoc", Step::Check(&["doc", "--workspace", "--exclude", "limbeck-capi", "--lib", "--no-deps"])),
    ("tests", Step::Tests),
    ("two processes", Step::Processes),
    ("bindings", Step::Bindings),
    ("jvm", Step::Jvm),
    ("swift", Step::Swift),
    ("loom", Step::Loom),
    ("header", Step::Check(&["test", "--workspace", "--test", "header"])),
    ("docs", Step::Docs),
];

#[derive(Clone, Copy)]
enum Step {
    /// A cargo command that counts as one.
    Check(&'static [&'static str]),
    /// The tests of all crates.
    Tests,
    /// Training in two processes, where Open MPI is installed.
    Processes,
    /// The packages for Python and Node.
    Bindings,
    /// Kotlin and Java.
    Jvm,
    /// Swift, where it is installed.
    Swift,
    /// The sdk's pool under loom, a workspace of its own.
    Loom,
    /// The tables of README.md and docs/.
    Docs,
}

/// Results so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), skipped: 0 }
    }
}

/// The verb.
///
/// # Errors
/// What the tests need is not there, or nothing matches the filter.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let filter = arguments.value("--filter")?;
    let (list, fail_fast) = (arguments.flag("--list"), arguments.flag("--fail-fast"));
    let (references, swift_required) = (arguments.flag("--references"), arguments.flag("--swift"));
    arguments.finish()?;
    tools::ensure_for_tests()?;
    let engines = Engines::ready_for_tests()?;
    if references {
        make_references(&engines)?;
    }
    if list {
        return list_tests(&engines);
    }
    let started = Instant::now();
    let (mut counts, mut failures) = (Counts::default(), Vec::new());
    for (name, step) in STEPS {
        let chosen = match (&filter, step) {
            (None, _) | (Some(_), Step::Tests) => true,
            (Some(filter), Step::Processes) => {
                format!("{name} parallel two_processes_under_mpirun").contains(filter.as_str())
            }
            (Some(filter), _) => name.contains(filter.as_str()),
        };
        if !chosen {
            continue;
        }
        println!("\n== {name}");
        let step_started = Instant::now();
        let result = match step {
            Step::Check(words) => check(words, &engines)?,
            Step::Tests => tests(filter.as_deref(), &engines)?,
            Step::Processes => processes(&engines)?,
            Step::Bindings => bindings::test(&engines).into(),
            Step::Jvm => jvm::test(&engines)?.into(),
            Step::Swift => swift::test(&engines, swift_required)?.into(),
            Step::Loom => loom()?,
            Step::Docs => Counts::one(report(docs::check(&repository()))),
        };
        counts.add(result);
        println!("-- {name}: {} in {}", if result.failed == 0 { "ok" } else { "FAILED" }, time(step_started.elapsed()));
        if result.failed > 0 {
            failures.push(name);
            if fail_fast {
                break;
            }
        }
    }
    if counts == Counts::default() {
        bail!("no test and no check has `{}` in its name (see cargo xtask test --list)", filter.unwrap_or_default());
    }
    println!("\ntook {}", time(started.elapsed()));
    if !failures.is_empty() {
        println!("failed: {}", failures.join(", "));
    }
    println!("{}", last_line(counts));
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl From<bindings::Outcome> for Counts {
    fn from(outcome: bindings::Outcome) -> Self {
        Self { passed: outcome.passed, failed: outcome.failed, skipped: outcome.skipped }
    }
}

fn last_line(counts: Counts) -> String {
    format!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped)
}

fn report(result: Result<()>) -> bool {
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    result.is_ok()
}

fn prepared(words: &[&str], engines: &Engines) -> Command {
    let mut cargo = cargo();
    engines.apply(&mut cargo);
    cargo.args(words).env_remove("LIMBECK_BLESS");
    if io::stderr().is_terminal() {
        // Its output passes through here; it would not know that it ends on a terminal.
        cargo
            .args(["--color", "always"])
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "90");
    }
    cargo
}

fn check(words: &[&str], engines: &Engines) -> Result<Counts> {
    let (own, passed_on) = words.split_at(words.iter().position(|word| *word == "--").unwrap_or(words.len()));
    let mut cargo = match own {
        // Its options are not cargo's.
        ["fmt", ..] => {
            let mut cargo = self::cargo();
            cargo.args(own);
            cargo
        }
        _ => prepared(own, engines),
    };
    cargo.args(passed_on);
    if own[0] == "doc" {
        cargo.env("RUSTDOCFLAGS", "-D warnings");
    }
    let status = cargo.status().context("running cargo")?;
    Ok(Counts::one(status.success()))
}

fn tests(filter: Option<&str>, engines: &Engines) -> Result<Counts> {
    let mut cargo = prepared(&["test", "--workspace", "--no-fail-fast"], engines);
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    counted(cargo)
}

/// What the feature `mpi` adds: two processes under `mpirun` train as one with the double batch.
fn processes(engines: &Engines) -> Result<Counts> {
    if !tools::has_open_mpi() {
        println!(
            "*** SKIPPED: Open MPI is not installed, or starts no processes (openmpi-bin, libopenmpi-dev, libclang-dev) ***"
        );
        return Ok(Counts { skipped: 1, ..Counts::default() });
    }
    counted(prepared(
        &["test", "-p", "limbeck-export", "--features", "mpi", "--lib", "--test", "cli", "--", "parallel"],
        engines,
    ))
}

fn loom() -> Result<Counts> {
    let mut cargo = self::cargo();
    cargo.args(["test", "--release", "--manifest-path", "tests/loom/Cargo.toml", "--target-dir", "target/loom"]);
    cargo.env("RUSTFLAGS", "--cfg loom");
    counted(cargo)
}

/// Runs `cargo test` and counts by what it prints.
fn counted(mut cargo: Command) -> Result<Counts> {
    let mut child = cargo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("running cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let stderr = child.stderr.take().context("cargo has no error output")?;
    let skips = std::thread::spawn(move || forward(stderr, io::stderr()));
    let results = forward(stdout, io::stdout());
    let mut counts = results.iter().filter_map(|line| parse_result(line)).fold(Counts::default(), |mut sum, counts| {
        sum.add(counts);
        sum
    });
    // Tests that cannot run on this machine say so.
    let skips = skips.join().unwrap_or_default();
    counts.skipped += skips.iter().filter(|line| line.contains("*** SKIPPED:")).count() as u64;
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() && counts.failed == 0 {
        // Something did not compile, or a test program died before its result.
        counts.failed = 1;
    }
    Ok(counts)
}

/// Copies as it comes and keeps the lines that are counted.
fn forward(mut from: impl Read, mut to: impl Write) -> Vec<String> {
    let (mut kept, mut line, mut buffer) = (Vec::new(), Vec::new(), [0; 8192]);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        // A reader that went away does not stop the tests.
        let _ = to.write_all(&buffer[..read]).and_then(|()| to.flush());
        for byte in &buffer[..read] {
            match byte {
                b'\n' => keep(&mut kept, &std::mem::take(&mut line)),
                _ => line.push(*byte),
            }
        }
    }
    keep(&mut kept, &line);
    kept
}

fn keep(kept: &mut Vec<String>, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    if text.contains("test result:") || text.contains("*** SKIPPED:") {
        kept.push(without_colours(&text));
    }
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`
fn parse_result(line: &str) -> Option<Counts> {
    let (_, counts) = line.trim().strip_prefix("test result:")?.split_once(". ")?;
    let number = |name: &str| counts.split(';').find_map(|part| part.trim().strip_suffix(name)?.trim().parse().ok());
    Some(Counts { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
}

fn list_tests(engines: &Engines) -> Result<ExitCode> {
    println!("checks: {}", STEPS.map(|(name, _)| name).join(", "));
    let mut cargo = prepared(&["test", "--workspace"], engines);
    let status = cargo.args(["--", "--list", "--format=terse"]).status().context("running cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the reference values of `tests/parity` anew.
fn make_references(engines: &Engines) -> Result<()> {
    let cache = Cache::locate()?;
    println!("\n== references");
    let python = python::references(&cache)?;
    let mut make = command(&python);
    make.arg("tests/parity/make_references.py").arg("--minilm").arg(&engines.teacher);
    succeed(&mut make, "tests/parity/make_references.py")?;
    succeed(command(&python).arg("tests/parity/make_family.py"), "tests/parity/make_family.py")?;
    let mut make = command(&python);
    make.arg("tests/parity/make_real.py").arg("--mpnet").arg(cache.folder(&pins::ALL_MPNET));
    make.arg("--bert-mlm").arg(cache.folder(&pins::BERT_TINY_MASKED_LM));
    succeed(&mut make, "tests/parity/make_real.py")
}

fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("running {what}"))?;
    if !status.success() {
        bail!("{what} failed ({status}); its words are above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let ok = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s";
        assert_eq!(parse_result(ok), Some(Counts { passed: 5, failed: 0, skipped: 1 }));
        let failed =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s";
        assert_eq!(parse_result(failed), Some(Counts { passed: 12, failed: 3, skipped: 0 }));
        for other in ["test a::b ... ok", "test result: what", "12 passed, 3 failed, 0 skipped", ""] {
            assert_eq!(parse_result(other), None, "{other}");
        }
    }

    #[test]
    fn output_passes_through_unchanged_and_counted_lines_are_kept() {
        let text = "running 1 test\ntest result: \u{1b}[32mok\u{1b}[m. 1 passed; 0 failed; 0 ignored; 0 measured\r\nend without newline";
        let mut shown = Vec::new();
        let kept = forward(text.as_bytes(), &mut shown);
        assert_eq!(shown, text.as_bytes());
        assert_eq!(kept.len(), 1);
        assert_eq!(parse_result(&kept[0]), Some(Counts { passed: 1, failed: 0, skipped: 0 }));
        let kept = forward(&b"a\n*** SKIPPED: no clang ***\n"[..], io::sink());
        assert_eq!(kept, ["*** SKIPPED: no clang ***"]);
    }

    #[test]
    fn the_last_line_is_plain() {
        let mut counts = Counts::one(true);
        counts.add(Counts::one(false));
        counts.add(Counts { passed: 10, failed: 0, skipped: 2 });
        assert_eq!(last_line(counts), "11 passed, 1 failed, 2 skipped");
    }
}
