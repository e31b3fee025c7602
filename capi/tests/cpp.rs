//! The C++ API (bindings/cpp): its GoogleTest suite and the conformance cases under the sanitizers, the build without
//! exceptions, and its CMake project over an installed limbeck.
#![cfg(target_os = "linux")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::library;
use support::programs::{Checker, bundle, compile_all, include};

fn cpp() -> PathBuf {
    support::root().join("bindings/cpp")
}

#[test]
fn the_suite_passes_under_the_sanitizers() {
    if !Path::new("/usr/include/gtest/gtest.h").is_file() {
        support::skip("GoogleTest is not installed, the C++ suite was not run");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("limbeck_test");
    let sources = [cpp().join("tests/limbeck_test.cpp"), cpp().join("tests/other.cpp")];
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    compile_all(&sources, library::folder(), Checker::Sanitizers, &["-lgtest", "-lgtest_main"], &program);
    let output = support::run(&mut suite(&program));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("[  PASSED  ] 22 tests."), "{text}");
}

/// Every case of tests/conformance, over the C ABI; the sdk's own run of them is tests/conformance.rs.
#[test]
fn bindings_answer_as_the_conformance_cases_say() {
    if !Path::new("/usr/include/nlohmann/json.hpp").is_file() {
        support::skip("nlohmann/json.hpp is not installed, the conformance cases were not run in C++");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("conformance");
    let source = cpp().join("tests/conformance.cpp");
    // Templates of a JSON library: half the time without the optimizer.
    compile_all(&[&source], library::folder(), Checker::Sanitizers, &["-O0"], &program);
    let mut command = Command::new(&program);
    command.env("LD_LIBRARY_PATH", library::folder()).arg(support::root().join("tests/conformance"));
    let output = command.arg(support::onnxruntime()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let passed: usize = text.trim().strip_suffix(" passed, 0 failed").unwrap_or_default().parse().unwrap();
    assert!(passed > 350, "{text}");
}

fn suite(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("LD_LIBRARY_PATH", library::folder())
        .env("LIMBECK_TEST_BUNDLES", bundle().parent().unwrap())
        .env("LIMBECK_TEST_RUNTIME", support::onnxruntime());
    command
}

#[test]
fn works_without_exceptions() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("no_exceptions");
    let sources = [cpp().join("tests/no_exceptions.cpp"), cpp().join("tests/other.cpp")];
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    let flags = ["-fno-exceptions", "-fno-rtti"];
    compile_all(&sources, library::folder(), Checker::Sanitizers, &flags, &program);
    support::run(
        Command::new(&program).env("LD_LIBRARY_PATH", library::folder()).arg(bundle()).arg(support::onnxruntime()),
    );
}

/// Whatever a program opens first, the library of another ABI is refused with both versions.
#[test]
fn a_library_of_another_abi_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let header = std::fs::read_to_string(include().join("limbeck.h")).unwrap();
    let (ours, other) = ("LIMBECK_ABI_VERSION 1 ", "LIMBECK_ABI_VERSION 65538 ");
    assert!(header.contains(ours));
    std::fs::write(folder.path().join("limbeck.h"), header.replace(ours, other)).unwrap();
    let source = folder.path().join("other.cpp");
    std::fs::write(
        &source,
        "#include <limbeck.hpp>\n#include <cstdio>\nint main() {\n\
         std::puts(limbeck::Bundle::try_open(\"a\").error().what());\n\
         std::puts(limbeck::Env::try_open().error().what());\n\
         std::puts(limbeck::try_set_logger(limbeck::LogLevel::info, {}).error().what());\n}\n",
    )
    .unwrap();
    let program = folder.path().join("other");
    let mut compiler = Command::new("g++");
    compiler.arg("-std=c++17").arg("-I").arg(folder.path()).arg("-I").arg(cpp().join("include")).arg(&source);
    support::run(compiler.arg("-L").arg(library::folder()).args(["-llimbeck", "-o"]).arg(&program));
    let output = support::run(Command::new(&program).env("LD_LIBRARY_PATH", library::folder()));
    let text = String::from_utf8(output.stdout).unwrap();
    let said = format!(
        "LIMBECK_INCOMPATIBLE: the program was built for ABI 1.2 of limbeck and this library {} has ABI 0.1: update the \
         library\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(text, said.repeat(3));
}

/// With other compilers and standards than the suite is built with.
#[test]
fn the_header_compiles_alone() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("alone.cpp");
    std::fs::write(&source, "#include <limbeck.hpp>\nint main() {}\n").unwrap();
    for (compiler, standard) in [("g++", "c++17"), ("g++", "c++20"), ("clang++", "c++17"), ("clang++", "c++20")] {
        if !support::installed(compiler) {
            support::skip(&format!("{compiler} is not installed, limbeck.hpp was not compiled with it"));
            continue;
        }
        let mut command = Command::new(compiler);
        command.arg(format!("-std={standard}")).args(support::programs::WARNINGS).arg("-fsyntax-only");
        support::run(command.arg("-I").arg(include()).arg("-I").arg(cpp().join("include")).arg(&source));
    }
}
