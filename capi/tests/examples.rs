//! The examples in C and in C++: compiled as their first lines say, run on bundles whose
//! answers are known, and compared with each other.
#![cfg(target_os = "linux")]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::library;
use support::programs::{Checker, bundle, compile};

/// In both languages.
const EXAMPLES: [&str; 6] = ["sentiment", "entities", "answer", "similarity", "hot_swap", "generate"];

fn example(language: &str, name: &str) -> PathBuf {
    let extension = language.trim_start_matches("examples/");
    support::root().join(format!("{language}/{name}.{extension}"))
}

fn beside(name: &str) -> PathBuf {
    bundle().with_file_name(format!("{name}.limbeck"))
}

fn run(program: &Path, model: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .env("LD_LIBRARY_PATH", library::folder())
        .arg(model)
        .arg(support::onnxruntime())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ends early does not read all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a program prints, which must end well, in words.
fn words(program: &Path, model: &str, arguments: &[&str], input: &str) -> Vec<Vec<String>> {
    let output = run(program, &beside(model), arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn no_example_is_forgotten() {
    for language in ["examples/c", "examples/cpp"] {
        let mut found: Vec<String> = std::fs::read_dir(support::root().join(language))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| name != "firmware")
            .collect();
        found.sort();
        let mut known = EXAMPLES.to_vec();
        known.sort_unstable();
        assert_eq!(found, known, "{language}");
    }
}

#[test]
fn examples_give_what_is_expected_in_both_languages() {
    for language in ["examples/c", "examples/cpp"] {
        let [sentiment, entities, answer, similarity, hot_swap, generate] =
            EXAMPLES.map(|name| compile(&example(language, name), library::folder(), Checker::None));

        let lines = words(&sentiment, "tiny", &["a good film", "bad"], "");
        assert_eq!((lines[0][0].as_str(), lines[1][0].as_str(), lines[1][2].as_str()), ("positive", "negative", "3"));

        let lines = words(&entities, "entities", &["🙂 Ada Lovelace wrote it, London"], "");
        assert_eq!(lines[0][0], "PER");
        assert_eq!(lines[0][2..].join(" "), "bytes 5 to 17 Ada Lovelace");
        assert_eq!(lines[1][2..].join(" "), "bytes 28 to 34 London");

        let lines = words(&answer, "reader", &["Who wrote it?", "It: Ada Lovelace wrote it."], "");
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0][1..].join(" "), "bytes 4 to 16 Ada Lovelace");

        let lines = words(&similarity, "embedder", &["good", "bad", "film", "good good film"], "");
        assert_eq!(lines[0][1..].join(" "), "good good film");
        assert_eq!(lines[2][1..].join(" "), "bad");

        let later = beside("later");
        let lines = words(&hot_swap, "tiny", &[later.to_str().unwrap()], "good\nbad\n");
        assert_eq!((lines[0][1].as_str(), lines[1][1].as_str()), ("1:", "2:"));
        let failing = beside("failing");
        let lines = words(&hot_swap, "tiny", &[failing.to_str().unwrap()], "good\nbad\n");
        assert_eq!(lines[1][..3].join(" "), "not replaced: LIMBECK_SELF_TEST:");
        assert_eq!(lines[2][1], "1:");

        let lines = words(&generate, "teller", &["x: bad\nx:"], "");
        // The context of 32 tokens is full: 6 of the prompt, and the last one written is not read.
        assert_eq!(lines[0].join(" "), "bad.ab🙂.ab🙂.ab🙂.ab🙂.a");
        assert_eq!(lines[1][..3].join(" "), "27 tokens, context,");
        assert!(lines[1][3].parse::<f64>().unwrap() > 0.0 && lines[1][4..].join(" ") == "tokens a second");
        let lines = words(&generate, "teller", &["c"], "");
        assert_eq!(
            (lines[0].join(" "), lines[1][..3].join(" ")),
            ("é".to_owned(), "3 tokens, end-of-text,".to_owned())
        );

        for (program, arguments) in [
            (sentiment, &["x"][..]),
            (entities, &["x"]),
            (answer, &["x", "y"]),
            (similarity, &["x", "y"]),
            (hot_swap, &["x"]),
            (generate, &["x"]),
        ] {
            let output = run(&program, Path::new("/no/such.limbeck"), arguments, "");
            assert_eq!(output.status.code(), Some(1));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(stderr.starts_with("LIMBECK_NOT_FOUND: /no/such.limbeck"), "{stderr}");
            assert_eq!(
                Command::new(&program).env("LD_LIBRARY_PATH", library::folder()).output().unwrap().status.code(),
                Some(2)
            );
        }
    }
}

/// After the warm-up the heap of program and library does not grow by a byte.
#[test]
fn firmware_keeps_its_heap() {
    let program = compile(&example("examples/c", "firmware"), library::folder(), Checker::None);
    let output = run(&program, bundle(), &["2000"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("has grown by 0 bytes"), "{text}");
    // It does count: both sides allocate something in each call.
    for line in text.lines().take(2) {
        let calls: f64 = line.split("; ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(calls >= 1.0, "{text}");
    }
}
