//! What the tests of the C library share: the built library, the compilers, and
//! the files they need.

#![allow(dead_code)] // each test program uses its own part

pub mod header;
pub mod library;
#[cfg(target_os = "linux")]
pub mod programs;
pub mod tiny;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of this crate.
pub fn capi() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The root of the repository.
pub fn root() -> PathBuf {
    capi().parent().unwrap().to_owned()
}

/// Says loudly that something was not tested, and why.
pub fn skip(reason: &str) {
    // Not `eprintln`, which the test runner would capture.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {reason} ***");
}

/// Whether a program can be started.
pub fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{}", describe(command, &output));
    output
}

/// A finished command, for messages.
pub fn describe(command: &Command, output: &Output) -> String {
    format!(
        "{command:?}\n{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Compares a generated text with the committed file; LIMBECK_BLESS=1 writes it.
pub fn compare_with_snapshot(path: &Path, generated: &str, bless: &str) {
    if std::env::var_os("LIMBECK_BLESS").is_some_and(|value| value == "1") {
        fs::write(path, generated).unwrap();
        return;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    if committed == generated {
        return;
    }
    let difference = committed
        .lines()
        .zip(generated.lines())
        .position(|(old, new)| old != new)
        .unwrap_or_else(|| committed.lines().count().min(generated.lines().count()));
    panic!(
        "{} is not what the sources give. First difference at line {}:\n  committed: {:?}\n  generated: {:?}\nif the change is meant: {bless}",
        path.display(),
        difference + 1,
        committed.lines().nth(difference),
        generated.lines().nth(difference),
    );
}

/// The ONNX Runtime library that programs under test are given.
pub fn onnxruntime() -> PathBuf {
    let path = std::env::var_os("ORT_DYLIB_PATH").map_or_else(
        || {
            let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            let cache = var("LIMBECK_CACHE")
                .or_else(|| Some(var("XDG_CACHE_HOME")?.join("limbeck")))
                .or_else(|| Some(var("HOME")?.join(".cache/limbeck")))
                .expect("none of LIMBECK_CACHE, XDG_CACHE_HOME, HOME is set");
            cache.join("onnxruntime-1.24.4/libonnxruntime.so.1.24.4")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no ONNX Runtime at {}: run `cargo xtask fetch`, or set ORT_DYLIB_PATH to a library of version 1.24 or later",
        path.display()
    );
    path
}
