//! What the library leaves behind in a process: no output, no file, no socket,
//! and no thread beyond the ones documented. Linux only, where /proc tells.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use common::{builder, data, labels, manifest, writer};
use limbeck::{BundleWriter, ClassifyOptions, Model};

/// Names of all threads of this process, sorted.
fn threads() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    names
}

/// A thread that has ended stays in the list for a moment.
fn threads_become(expected: &[String]) {
    for _ in 0..200 {
        if threads() == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(threads(), expected);
}

/// What the open file descriptors of this process are.
fn files() -> BTreeSet<String> {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        // The one that reads this very list.
        .filter(|target| !target.ends_with("/fd"))
        .collect()
}

/// Runs [`child`] in a process of its own, with a home folder to look into.
#[test]
fn nothing_is_printed_written_or_left_running() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env_clear()
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("XDG_CACHE_HOME", home.path())
        .env("ORT_DYLIB_PATH", common::runtime())
        // Would make `ort` log if the library let it.
        .env("ORT_LOG", "verbose")
        .current_dir(home.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    let printed = text(&output.stdout);
    assert!(printed.contains("1 passed"), "{printed}");
    // Only what the test runner says of itself.
    let strange: Vec<&str> = printed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("running") && !line.starts_with("test "))
        .collect();
    assert_eq!(strange, Vec::<&str>::new());
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [home.path().join("tiny.limbeck")]);
}

#[test]
#[ignore = "run by nothing_is_printed_written_or_left_running in a process of its own"]
fn child() {
    let (threads_before, files_before) = (threads(), files());
    writer(|_| {}).write("tiny.limbeck").unwrap();

    let model = builder().open("tiny.limbeck").unwrap();
    for _ in 0..20 {
        model.classify("the film was great !").unwrap();
    }
    assert_eq!(threads(), threads_before, "one thread a run means the caller's own");
    assert_eq!(files(), files_before);

    // Things that ONNX Runtime and the tokenizer have something to say about.
    let bad =
        BundleWriter::new(manifest()).classifier(data("tokenizer.json"), *b"no graph", data("tiny.data"), &labels());
    builder().open_bytes(bad.to_bytes().unwrap()).unwrap_err();
    builder().open_bytes(writer(|m| m.architecture.vocab_size = 3).to_bytes().unwrap()).unwrap_err();
    Model::open("no such file").unwrap_err();

    let pool = builder().sessions(3).open("tiny.limbeck").unwrap();
    let texts = ["the film was great !", "a very bad film .", "it", "a slow and awful screen"].repeat(20);
    pool.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
    threads_become(&threads_before);

    let timeout = ClassifyOptions::new().timeout(Duration::from_secs(60));
    for _ in 0..3 {
        model.classify_with("the film was great !", &timeout).unwrap();
        pool.classify_batch(&texts, &timeout).unwrap();
    }
    let mut with_deadlines = threads_before.clone();
    with_deadlines.push("limbeck-deadline".to_owned());
    with_deadlines.sort();
    // The kernel keeps 15 bytes of a name.
    for name in &mut with_deadlines {
        name.truncate(15);
    }
    with_deadlines.sort();
    threads_become(&with_deadlines);

    let two = builder().threads(2).open("tiny.limbeck").unwrap();
    two.classify("the film was great !").unwrap();
    assert_eq!(threads().len(), with_deadlines.len() + 1);
    drop(two);
    threads_become(&with_deadlines);

    drop((model, pool));
    assert_eq!(files(), files_before);
    assert!(files().iter().all(|file| !file.starts_with("socket:")));
}
