//! Compiles the C programs of `tests/c` with the system's compilers and runs
//! each three times: plain, with the address and undefined-behaviour
//! sanitizers, and under valgrind. A program with faults on purpose proves that
//! the checkers see what they are there to see.
#![cfg(target_os = "linux")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use limbeck_sdk::{ClassifyOptions, Model};
use serde_json::Value;
use support::library;
use support::programs::{Checker, WARNINGS, bundle, compile, compile_into, include, source, sources, start};

/// Every program that ends with 0 when all is well.
const PROGRAMS: &[&str] = &[
    "classify",
    "batch",
    "errors",
    "sizes",
    "texts",
    "threads",
    "cancel",
    "lifetime",
    "damaged",
    "tags",
    "answers",
    "embeddings",
    "masks",
    "writer",
    "pairs",
    "heads",
    "slots",
    "trust",
    "sources",
    "logger",
    "reports",
    "sequences",
    "order",
    "replaced",
];

#[test]
fn no_program_is_forgotten() {
    let mut found: Vec<String> = std::fs::read_dir(sources())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.retain(|name| name != "panic" && name != "control");
    found.sort();
    let mut known = PROGRAMS.to_vec();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn programs_pass() {
    for program in PROGRAMS {
        passes(program, Checker::None);
    }
}

#[test]
fn programs_pass_under_address_and_undefined_sanitizers() {
    for program in PROGRAMS {
        passes(program, Checker::Sanitizers);
    }
}

#[test]
fn programs_pass_under_valgrind() {
    if !support::installed("valgrind") {
        support::skip("valgrind is not installed, no C program was run under it");
        return;
    }
    // Loading ONNX Runtime takes ten seconds under valgrind, so all processors take part.
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(program) = PROGRAMS.get(next.fetch_add(1, Ordering::Relaxed)) {
            passes(program, Checker::Valgrind);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}

#[test]
fn programs_and_example_are_cplusplus_too() {
    let example = support::root().join("examples/c/sentiment.c");
    let all = PROGRAMS.iter().copied().chain(["panic", "control"]).map(source).chain([example]);
    for compiler in ["g++", "clang++"] {
        if !support::installed(compiler) {
            support::skip(&format!("{compiler} is not installed, the C programs were not compiled with it"));
            continue;
        }
        for path in all.clone() {
            let mut command = Command::new(compiler);
            command.args(["-x", "c++", "-std=c++17", "-fsyntax-only", "-I"]).arg(include()).args(WARNINGS).arg(path);
            support::run(&mut command);
        }
    }
}

#[test]
fn a_panic_becomes_internal_and_prints_nothing() {
    for checker in [Checker::None, Checker::Sanitizers] {
        let program = compile(&source("panic"), library::folder_with_hooks(), checker);
        let output = support::run(&mut start(&program, library::folder_with_hooks(), checker, &[]));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
}

#[test]
fn the_checkers_find_faults_made_on_purpose() {
    let run = |checker, fault: &str| -> Output {
        let program = compile(&source("control"), library::folder(), checker);
        start(&program, library::folder(), checker, &[fault]).output().unwrap()
    };
    let mut expected = vec![
        (Checker::Sanitizers, "leak", "LeakSanitizer"),
        (Checker::Sanitizers, "use", "heap-use-after-free"),
        (Checker::Sanitizers, "twice", "double-free"),
    ];
    if support::installed("valgrind") {
        expected.extend([
            (Checker::Valgrind, "leak", "definitely lost"),
            (Checker::Valgrind, "use", "Invalid read"),
            (Checker::Valgrind, "twice", "Invalid"),
            // The library itself is not built with the sanitizers, so only valgrind sees what it reads.
            (Checker::Valgrind, "call", "Invalid read"),
        ]);
    }
    for (checker, fault, finding) in expected {
        let clean = run(checker, "none");
        assert!(clean.status.success(), "{}", String::from_utf8_lossy(&clean.stderr));
        let output = run(checker, fault);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(finding), "{fault} was not found:\n{stderr}");
    }
}

#[test]
fn address_sanitizer_is_linked_where_it_should_be_and_nowhere_else() {
    let symbols = |path: &Path| {
        let output = support::run(Command::new("nm").arg("-D").arg(path));
        String::from_utf8(output.stdout).unwrap()
    };
    let program = compile(&source("classify"), library::folder(), Checker::Sanitizers);
    assert!(symbols(&program).contains("__asan_init") && symbols(&program).contains("__ubsan_handle"));
    let program = compile(&source("classify"), library::folder(), Checker::None);
    assert!(!symbols(&program).contains("__asan"));
    assert!(!symbols(&library::folder().join("liblimbeck.so")).contains("__asan"));
}

/// The numbers that C sees are those of the Rust library, to the bit.
#[test]
fn c_and_rust_answer_the_same() {
    let program = compile(&source("classify"), library::folder(), Checker::None);
    let output = support::run(&mut start(&program, library::folder(), Checker::None, &[]));

    let model = Model::builder().runtime_path(support::onnxruntime()).open(bundle()).unwrap();
    // The texts of tests/c/classify.c.
    let expected: Vec<(String, usize, f32, f32)> = ["good", "the film . bad", "Good film, 🙂", ""]
        .iter()
        .flat_map(|text| model.classify_with(text, &ClassifyOptions::new()).unwrap().labels)
        .map(|scored| (scored.label, scored.index, scored.probability, scored.logit))
        .collect();
    let got: Vec<(String, usize, f32, f32)> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let float = |text: &str| text.parse::<f32>().unwrap();
            (fields[0].to_owned(), fields[1].parse().unwrap(), float(fields[2]), float(fields[3]))
        })
        .collect();
    assert_eq!(got, expected);
    // And they are those worked out by hand: (0 + 8 + 0) / 3 tokens.
    assert_eq!(expected[0].0, "positive");
    assert!((expected[0].3 - 8.0 / 3.0).abs() < 1e-6);
}

/// A program that prints what the C compiler makes of each public struct, written
/// from the names in `abi/layout.json`, which Rust wrote.
#[test]
fn c_and_rust_see_the_same_layout() {
    let rust: Value =
        serde_json::from_str(&std::fs::read_to_string(support::capi().join("abi/layout.json")).unwrap()).unwrap();
    let mut code = String::from("#include <limbeck.h>\n#include <stdio.h>\n");
    let mut prints = String::new();
    for (name, layout) in rust.as_object().unwrap() {
        writeln!(code, "struct align_{name} {{ char c; {name} value; }};").unwrap();
        let mut number = |what: &str, value: String| {
            writeln!(prints, "printf(\"{name} {what} %lu\\n\", (unsigned long){value});").unwrap();
        };
        number("size", format!("sizeof({name})"));
        number("align", format!("offsetof(struct align_{name}, value)"));
        for field in layout["offsets"].as_object().unwrap().keys() {
            number(field, format!("offsetof({name}, {field})"));
        }
    }
    let printed = run_code("layout", &format!("{code}int main(void) {{\n{prints}return 0;\n}}\n"));
    let mut lines = printed.lines();
    for (name, layout) in rust.as_object().unwrap() {
        let offsets = layout["offsets"].as_object().unwrap();
        let numbers = [("size", &layout["size"]), ("align", &layout["align"])];
        for (what, value) in numbers.into_iter().chain(offsets.iter().map(|(field, offset)| (field.as_str(), offset))) {
            // The field `size` is at the start of most structs and is printed under that name too.
            assert_eq!(lines.next(), Some(format!("{name} {what} {value}").as_str()));
        }
    }
    assert_eq!(lines.next(), None);
}

/// Every function of the header, called with NULL and 0 everywhere: it fails with a
/// message, or it is one that NULL is allowed for. Written from the header, so that
/// none is forgotten.
#[test]
fn every_function_takes_null_and_zero() {
    let functions = support::header::functions();
    assert!(functions.len() > 80);
    // Calls that do what they are asked, with nothing.
    let succeed = ["limbeck_abi_check", "limbeck_set_logger"];
    let mut code = String::from("#include \"check.h\"\nint main(void) {\n");
    for function in &functions {
        let count = function.parameters.len();
        let arguments = |error: &str| -> String {
            let parameter = |(i, parameter): (usize, &String)| match parameter.as_str() {
                "limbeck_error **error" if i + 1 == count => error.to_owned(),
                pointer if pointer.contains('*') || pointer.contains("_function ") => "NULL".to_owned(),
                _ => "0".to_owned(),
            };
            function.parameters.iter().enumerate().map(parameter).collect::<Vec<_>>().join(", ")
        };
        let name = &function.name;
        match function.returns.as_str() {
            "limbeck_status" if succeed.contains(&name.as_str()) => {
                writeln!(code, "OK({name}({}));", arguments("&error")).unwrap();
            }
            "limbeck_status" if name == "limbeck_error_code" => {
                writeln!(code, "CHECK({name}(NULL) == LIMBECK_OK);").unwrap();
            }
            // Either what is NULL is named, or the value 0 is.
            "limbeck_status" => writeln!(
                code,
                "{{ limbeck_error *error = NULL;\nlimbeck_status status = {name}({});\n\
                 CHECK(status == LIMBECK_NULL_POINTER || status == LIMBECK_INVALID_ARGUMENT);\n\
                 CHECK(limbeck_error_code(error) == status && limbeck_error_message(error).length > 5);\n\
                 limbeck_error_free(error);\nCHECK({name}({}) == status); }}",
                arguments("&error"),
                arguments("NULL")
            )
            .unwrap(),
            "limbeck_str" => {
                writeln!(code, "CHECK({name}({0}).length == 0 && {name}({0}).data != NULL);", arguments("")).unwrap()
            }
            "const char *" => writeln!(code, "CHECK({name}({}) != NULL);", arguments("")).unwrap(),
            _ => writeln!(code, "(void){name}({});", arguments("")).unwrap(),
        }
    }
    code.push_str("return 0;\n}\n");
    assert_eq!(run_code("nulls", &code), "");
}

#[test]
fn an_onnx_runtime_beside_the_library_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["liblimbeck.so", "liblimbeck.so.0"] {
        std::fs::copy(library::folder().join("liblimbeck.so"), folder.path().join(name)).unwrap();
    }
    let runtime = folder.path().join("libonnxruntime.so");
    std::os::unix::fs::symlink(support::onnxruntime(), &runtime).unwrap();
    let program = tempfile::tempdir().unwrap();
    let source = program.path().join("find.c");
    std::fs::write(
        &source,
        "#include <limbeck.h>\n#include <stdio.h>\nint main(void) {\n  limbeck_env *env = NULL;\n  limbeck_str path;\n\
         if (limbeck_env_new(NULL, &env, NULL) != LIMBECK_OK) return 1;\n  path = limbeck_env_runtime_path(env);\n\
         printf(\"%.*s\", (int)path.length, path.data);\n  limbeck_env_free(env);\n  return 0;\n}\n",
    )
    .unwrap();
    let program = compile_into(&source, folder.path(), Checker::None, program.path().join("find"));
    let output = support::run(Command::new(&program).env("LD_LIBRARY_PATH", folder.path()));
    let found = PathBuf::from(String::from_utf8(output.stdout).unwrap());
    assert_eq!(found.canonicalize().unwrap(), support::onnxruntime().canonicalize().unwrap());
}

/// A real encoder in a bundle that `export` wrote, and not one made for this file.
#[test]
fn the_golden_bundle_runs_behind_the_c_abi() {
    let golden = support::root().join("tests/golden/bundle-1.0/tiny.fp32.limbeck");
    let program = compile(&support::root().join("examples/c/sentiment.c"), library::folder(), Checker::Sanitizers);
    let text = "I liked it.";
    let mut command = Command::new(&program);
    command.env("LD_LIBRARY_PATH", library::folder()).arg(&golden).arg(support::onnxruntime()).arg(text);
    let line = String::from_utf8(support::run(&mut command).stdout).unwrap();

    let model = Model::builder().runtime_path(support::onnxruntime()).open(&golden).unwrap();
    let best = model.classify(text).unwrap().labels.remove(0);
    assert!(line.starts_with(&format!("{}  {:.3}", best.label, best.probability)), "{line}");
}

/// Compiles and runs C code under the sanitizers, and gives what it prints.
fn run_code(name: &str, code: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join(format!("{name}.c"));
    std::fs::write(&source, code).unwrap();
    let program = compile(&source, library::folder(), Checker::Sanitizers);
    let output = support::run(&mut start(&program, library::folder(), Checker::Sanitizers, &[]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

fn passes(program: &str, checker: Checker) {
    let path = compile(&source(program), library::folder(), checker);
    let arguments: &[&str] = if checker == Checker::Valgrind { &["small"] } else { &[] };
    let output = support::run(&mut start(&path, library::folder(), checker, arguments));
    if checker == Checker::None {
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program} or the library printed something");
    }
}
