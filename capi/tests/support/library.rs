//! The C library as a user has it: shared and static, built by cargo.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// A folder with `liblimbeck.so`, the link of its SONAME, and `liblimbeck.a`.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| build("capi-lib", false))
}

/// The same with the hooks for tests; see build.rs.
pub fn folder_with_hooks() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| build("capi-lib-hooks", true))
}

fn build(name: &str, hooks: bool) -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(tmp).unwrap();
    // Both kinds have one file name in the target folder, and test programs may
    // run at one time: build and take the file under a lock.
    let lock = File::create(tmp.join("limbeck-capi.lock")).unwrap();
    lock.lock().unwrap();

    // `cargo test` builds no cdylib, so it is asked for here.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--offline", "-p", "limbeck-capi", "--lib", "--message-format=json", "--target-dir"])
        .arg(tmp.parent().unwrap())
        .current_dir(super::root())
        .env("LIMBECK_CAPI_TEST_HOOKS", if hooks { "1" } else { "0" });
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = super::run(&mut cargo);
    let files: Vec<PathBuf> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["target"]["crate_types"].as_array().is_some_and(|t| t.iter().any(|t| t == "cdylib")))
        .filter(|message| {
            message["manifest_path"].as_str().is_some_and(|path| Path::new(path).ends_with("capi/Cargo.toml"))
        })
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .collect();

    let folder = tmp.join(name);
    fs::create_dir_all(&folder).unwrap();
    for file in ["liblimbeck.so", "liblimbeck.a"] {
        let built = files.iter().find(|path| path.ends_with(file)).unwrap_or_else(|| panic!("no {file} in {files:?}"));
        // Copied and renamed: a program that runs now keeps the file it has open.
        let new = folder.join(format!("{file}.new"));
        fs::copy(built, &new).unwrap();
        fs::rename(&new, folder.join(file)).unwrap();
    }
    let link = folder.join("liblimbeck.so.0");
    if fs::symlink_metadata(&link).is_err() {
        std::os::unix::fs::symlink("liblimbeck.so", &link).unwrap();
    }
    folder
}
