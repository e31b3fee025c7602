//! C and C++ programs: compiled with the system's compilers, and run plain, with
//! the sanitizers or under valgrind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super as support;

/// What every program of ours is compiled with.
pub const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow"];

/// What watches a program while it runs.
#[derive(Clone, Copy, PartialEq)]
pub enum Checker {
    None,
    Sanitizers,
    Valgrind,
}

/// The folder of the C test programs.
pub fn sources() -> PathBuf {
    support::root().join("tests/c")
}

/// A C test program.
pub fn source(name: &str) -> PathBuf {
    sources().join(format!("{name}.c"))
}

/// The folder of `limbeck.h`.
pub fn include() -> PathBuf {
    support::capi().join("include")
}

/// The classifier of [`support::tiny`], in a folder with the bundles of the other tasks.
pub fn bundle() -> &'static Path {
    static BUNDLE: OnceLock<PathBuf> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny");
        support::tiny::write_all(&folder);
        folder.join("tiny.limbeck")
    })
}

/// Compiles a program of one file, C or C++.
pub fn compile(source: &Path, library: &Path, checker: Checker) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    // Tests run side by side, so no two share a file.
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("{}-{number}", source.file_stem().unwrap().to_str().unwrap());
    compile_into(source, library, checker, folder.path().join(name))
}

/// As [`compile`], to a file of the caller's choice.
pub fn compile_into(source: &Path, library: &Path, checker: Checker, program: PathBuf) -> PathBuf {
    compile_all(&[source], library, checker, &[], &program);
    program
}

/// Compiles one program of C or C++ files, by the extension of the first.
pub fn compile_all(sources: &[&Path], library: &Path, checker: Checker, flags: &[&str], program: &Path) {
    let cpp = sources[0].extension().is_some_and(|extension| extension == "cpp");
    let mut command = Command::new(if cpp { "g++" } else { "gcc" });
    command.args(["-D_POSIX_C_SOURCE=200809L", "-g", "-O1"]).args(WARNINGS);
    command.arg(if cpp { "-std=c++17" } else { "-std=c99" });
    if checker == Checker::Sanitizers {
        command.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]);
    }
    for folder in [include(), self::sources(), support::root().join("bindings/cpp/include")] {
        command.arg("-I").arg(folder);
    }
    command.args(sources).arg("-o").arg(program).arg("-L").arg(library);
    support::run(command.arg("-llimbeck").args(flags).args(["-pthread", "-ldl"]));
}

/// A command that runs a program on the classifier and ONNX Runtime.
pub fn start(program: &Path, library: &Path, checker: Checker, arguments: &[&str]) -> Command {
    let mut command = if checker == Checker::Valgrind {
        let mut command = Command::new("valgrind");
        command
            .args(["--quiet", "--leak-check=full", "--error-exitcode=99"])
            .arg(format!("--suppressions={}", sources().join("valgrind.supp").display()))
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("LD_LIBRARY_PATH", library);
    if checker == Checker::Sanitizers {
        command.env("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1").env("UBSAN_OPTIONS", "print_stacktrace=1");
    }
    command.arg(bundle()).arg(support::onnxruntime()).args(arguments);
    command
}
