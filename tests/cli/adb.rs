//! `limbeck bench --adb` against a stand-in for adb, whose device is a folder of this machine.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::world::{stderr, stdout};

/// `$DEVICE` stands for the device's `/data/local/tmp`; what it is asked is written down.
const ADB: &str = r#"#!/bin/sh
echo "$*" >> "$DEVICE/log"
[ "$1 $2" = "-s R5CT10" ] || { echo "error: device '$2' not found" >&2; exit 1; }
shift 2
here() { printf %s "$1" | sed "s|/data/local/tmp|$DEVICE|g"; }
case $1 in
get-state) cat "$DEVICE/state" ;;
push) cp "$2" "$(here "$3")" ;;
pull) cp "$(here "$2")" "$3" ;;
shell) sh -c "$(here "$2")" ;;
esac
"#;

/// Stands for limbeck-bench: says what it was given.
const PROGRAM: &str = r#"#!/bin/sh
[ -f "$1" ] && [ "$2 $3" = "--runtime ./libonnxruntime.so" ] && [ -f "$3" ] && [ "$4 $5" = "--out result.json" ] || exit 9
shift 5
[ "$2" = 7 ] && { echo "limbeck-bench: something is wrong" >&2; exit 3; }
printf '{"schema": "limbeck-bench 1", "given": "' > result.json
for given; do printf '%s|' "$given"; done | sed 's/"/\\"/g' >> result.json
echo '"}' >> result.json
echo "a table"
"#;

struct Phone {
    folder: tempfile::TempDir,
}

impl Phone {
    fn new() -> Phone {
        let phone = Phone { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(phone.path("device")).unwrap();
        std::fs::write(phone.path("device/state"), "device\n").unwrap();
        for (name, content) in [("adb", ADB), ("limbeck-bench", PROGRAM)] {
            std::fs::write(phone.path(name), content).unwrap();
            assert!(Command::new("chmod").arg("+x").arg(phone.path(name)).status().unwrap().success());
        }
        std::fs::write(phone.path("a.limbeck"), "bundle").unwrap();
        std::fs::write(phone.path("libonnxruntime.so"), "library").unwrap();
        phone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, serial: &str, arguments: &[&str]) -> Output {
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        Command::new(env!("CARGO_BIN_EXE_limbeck"))
            .args(["bench", "a.limbeck", "--adb", serial, "--program", "limbeck-bench"])
            .args(["--device-runtime", "libonnxruntime.so"])
            .args(arguments)
            .env("PATH", path)
            .env("DEVICE", self.path("device"))
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// Nothing but what was there before is on the device.
    fn is_clean(&self) {
        let mut names: Vec<_> =
            std::fs::read_dir(self.path("device")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "state"]);
    }
}

#[test]
fn a_phone_measures_and_is_left_clean() {
    let phone = Phone::new();
    let output = phone
        .run("R5CT10", &["--lengths", "8,16", "--runs", "5", "--text", "it's \"$HOME\"", "--cpus", "4-7", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        result["given"],
        "--lengths|8,16|--batch|1|--threads|1|--warm-up|30|--runs|5|--text|it's \"$HOME\"|--cpus|4-7|"
    );
    phone.is_clean();
    let output = phone.run("R5CT10", &[]);
    assert_eq!(stdout(&output), "a table\n");
    let log = std::fs::read_to_string(phone.path("device/log")).unwrap();
    assert!(log.lines().all(|line| line.starts_with("-s R5CT10 ")), "{log}");
}

#[test]
fn what_goes_wrong_on_a_phone_is_told() {
    let phone = Phone::new();
    let fails = |serial: &str, arguments: &[&str], expected: &str| {
        let output = phone.run(serial, arguments);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.lines().count() == 1 && said.contains(expected), "{said}");
    };
    fails("other", &[], "device 'other' not found");
    fails("R5CT10", &["--lengths", "7"], "something is wrong");
    phone.is_clean();
    std::fs::write(phone.path("device/state"), "unauthorized\n").unwrap();
    fails("R5CT10", &[], "is `unauthorized` and must be `device`");
    std::fs::remove_file(phone.path("libonnxruntime.so")).unwrap();
    fails("R5CT10", &[], "--device-runtime: libonnxruntime.so is no file");
    // Options that belong together.
    let output =
        Command::new(env!("CARGO_BIN_EXE_limbeck")).args(["bench", "a.limbeck", "--adb", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--program"), "{}", stderr(&output));
}
