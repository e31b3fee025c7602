//! What the shared library shows to the linker, against `abi/symbols.txt`.
//! LIMBECK_BLESS=1 writes the file anew. (The layout of structs is compared in
//! src/layout_tests.rs and, from C, in c_programs.rs.)
#![cfg(target_os = "linux")]

mod support;

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
