//! What the shared library shows to the linker, against `abi/symbols.txt`.
//! LIMBECK_BLESS=1 writes the file anew. (The layout of structs is compared in
//! src/layout_tests.rs and, from C, in c_programs.rs.)
#![cfg(target_os = "linux")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::library;

#[test]
fn exported_symbols_are_those_of_the_snapshot() {
    let symbols = exported();
    let wrong: Vec<&String> = symbols.iter().filter(|symbol| !symbol.starts_with("limbeck_")).collect();
    assert!(wrong.is_empty(), "exported, but not ours: {wrong:?}");
    support::compare_with_snapshot(
        &support::capi().join("abi/symbols.txt"),
        &(symbols.join("\n") + "\n"),
        "a symbol may be added, with a higher minor LIMBECK_ABI_VERSION, and never removed; \
         then LIMBECK_BLESS=1 cargo test -p limbeck-capi --test abi",
    );
}

#[test]
fn header_and_library_have_the_same_functions() {
    let mut declared: Vec<String> = support::header::functions().into_iter().map(|function| function.name).collect();
    declared.sort();
    assert_eq!(declared, exported());
}

#[test]
fn the_library_has_its_soname_and_its_page_size() {
    let path = library::folder().join("liblimbeck.so");
    let dynamic = support::run(Command::new("readelf").arg("-dW").arg(&path));
    let dynamic = String::from_utf8(dynamic.stdout).unwrap();
    assert!(dynamic.contains("soname: [liblimbeck.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    let segments = support::run(Command::new("readelf").arg("-lW").arg(&path));
    let segments = String::from_utf8(segments.stdout).unwrap();
    let loads: Vec<&str> = segments.lines().filter(|line| line.trim_start().starts_with("LOAD")).collect();
    assert!(!loads.is_empty());
    for line in loads {
        let align = line.split_whitespace().last().unwrap();
        let align = u64::from_str_radix(align.trim_start_matches("0x"), 16).unwrap();
        assert!(align >= 16384, "{line}");
    }
}

/// What a program must have beside it: the C library and its parts. Most of all,
/// not ONNX Runtime, which is opened when asked for.
#[test]
fn the_library_needs_only_the_system() {
    let path = library::folder().join("liblimbeck.so");
    let dynamic = support::run(Command::new("readelf").arg("-dW").arg(&path));
    let dynamic = String::from_utf8(dynamic.stdout).unwrap();
    for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let name = line.rsplit('[').next().unwrap().trim_end_matches(']');
        let allowed = ["libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libgcc_s.so", "ld-linux"];
        assert!(allowed.iter().any(|allowed| name.starts_with(allowed)), "needs {name}");
    }
}

/// The ABI of the last version that was tagged, against that of today, by libabigail:
/// types of parameters and results, layouts of structs, values of constants. Functions
/// may be added; anything else needs a new `abi/limbeck.abi`, and with it a higher
/// LIMBECK_ABI_VERSION.
#[test]
fn the_abi_is_that_of_the_last_tag_but_for_additions() {
    if !support::installed("abidiff") {
        support::skip("abidiff (abigail-tools) is not installed, the ABI was not compared with the last tag's");
        return;
    }
    let baseline = support::capi().join("abi/limbeck.abi");
    let folder = tempfile::tempdir().unwrap();
    let header = std::fs::read_to_string(support::capi().join("include/limbeck.h")).unwrap();
    let today = described(folder.path(), "today", &header);
    if std::env::var_os("LIMBECK_BLESS").is_some_and(|value| value == "1") {
        std::fs::copy(&today, &baseline).unwrap();
    }
    let difference = difference(&baseline, &today);
    assert!(difference.is_none(), "{}\n{}", difference.unwrap_or_default(), "see COMPATIBILITY.md");

    // It would see a changed parameter, a changed struct, and a function that is gone.
    for (old, new) in [
        ("limbeck_set_logger(uint32_t lowest", "limbeck_set_logger(uint64_t lowest"),
        ("  float probability; /**< Its", "  double probability; /**< Its"),
        ("uint64_t limbeck_bundle_build(const limbeck_bundle *bundle);", ""),
        ("size_t limbeck_result_count(", "uint32_t limbeck_result_count("),
    ] {
        assert!(header.contains(old), "{old}");
        let changed = described(folder.path(), "changed", &header.replace(old, new));
        assert!(self::difference(&baseline, &changed).is_some(), "`{old}` as `{new}` was not noticed");
    }
}

/// What libabigail says of a library with the functions of a header, which do nothing.
/// That the real library has these functions, and their parameters, is the business of
/// the generator and of the tests above; its own debug information is full of Rust.
fn described(folder: &Path, name: &str, header: &str) -> PathBuf {
    let at = |extension: &str| folder.join(format!("{name}.{extension}"));
    std::fs::write(folder.join("limbeck.h"), header).unwrap();
    let mut code = String::from("#include \"limbeck.h\"\n");
    for function in support::header::functions_of(header) {
        let parameters = match function.parameters.as_slice() {
            [] => "void".to_owned(),
            parameters => parameters.join(", "),
        };
        let (returns, name) = (&function.returns, &function.name);
        let body = if returns == "void" { String::new() } else { format!("static {returns} none; return none;") };
        writeln!(code, "{returns} {name}({parameters}) {{ {body} }}").unwrap();
    }
    std::fs::write(at("c"), code).unwrap();
    let mut gcc = Command::new("gcc");
    // Paths and lines are not part of the ABI.
    gcc.args(["-g", "-shared", "-fPIC", "-w", "-o"]).arg(at("so")).arg(format!("{name}.c")).current_dir(folder);
    support::run(gcc.arg("-Wl,-soname,liblimbeck.so.0"));
    let mut abidw = Command::new("abidw");
    abidw.args(["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--out-file"]).arg(at("abi"));
    support::run(abidw.arg(at("so")));
    at("abi")
}

/// What has changed, if it is more than additions.
fn difference(before: &Path, after: &Path) -> Option<String> {
    let output =
        Command::new("abidiff").args(["--no-added-syms", "--no-show-locs"]).args([before, after]).output().unwrap();
    // Bits 0 and 1 are failures of the program itself.
    assert!(output.status.code().is_some_and(|code| code & 3 == 0), "{output:?}");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn exported() -> Vec<String> {
    let output =
        support::run(Command::new("nm").args(["-D", "--defined-only"]).arg(library::folder().join("liblimbeck.so")));
    let mut symbols: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().last().map(str::to_owned))
        .collect();
    symbols.sort();
    symbols
}
