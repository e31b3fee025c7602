//! Builds the C library as it is shipped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::targets::Toolchain;
use crate::bench::target_folder;
use crate::command::repository;

/// What a package is made with: Cargo's profiles, and the smaller one with packed relocations too, which need
/// glibc 2.36 or Android 9.
pub const PROFILES: [&str; 3] = ["release", "min-size", "min-size-packed"];

/// Builds limbeck-capi and gives the folder with its libraries.
///
/// # Errors
/// The build fails; cargo's words were shown.
pub fn build(toolchain: &Toolchain, target: &str, profile: &str) -> Result<PathBuf> {
    let mut folder = target_folder()?;
    let flags = flags(&folder);
    if toolchain.is_debian {
        // Its files and those of another compiler would replace each other again and again.
        folder.push("debian");
    }
    let mut cargo = toolchain.cargo();
    // capi/build.rs asks the linker.
    let (profile, packed) = profile.strip_suffix("-packed").map_or((profile, "0"), |profile| (profile, "1"));
    cargo.env("LIMBECK_PACK_RELOCATIONS", packed);
    cargo.args(["build", "--locked", "--package", "limbeck-capi", "--lib", "--profile", profile, "--target", target]);
    cargo.arg("--target-dir").arg(&folder).arg("--message-format=json-render-diagnostics");
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags);
    // Hooks for tests must not be shipped, nor may a variable of the test run build this anew.
    cargo.env_remove("LIMBECK_CAPI_TEST_HOOKS");
    let child = cargo.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().context("running cargo")?;
    let output = child.wait_with_output().context("waiting for cargo")?;
    if !output.status.success() {
        bail!("the C library for {target} could not be built; cargo's words are above");
    }
    folder_of(&String::from_utf8(output.stdout)?).ok_or_else(|| anyhow!("cargo built no liblimbeck.a"))
}

/// The user's own flags for the compiler, and those that keep paths of this machine out of the messages of
/// panics: they are nobody's business, and the same sources then give the same library elsewhere.
fn flags(target: &Path) -> OsString {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    // Of several that fit, the last is used.
    let repository = repository();
    let mut places = vec![(repository.as_path(), "limbeck"), (target, "target")];
    let sources = home.as_ref().map(|home| home.join("registry/src"));
    // The folder of the registry itself has a hash in its name.
    let registries: Vec<PathBuf> = sources
        .and_then(|sources| std::fs::read_dir(sources).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    places.extend(registries.iter().map(|path| (path.as_path(), "crates")));
    let own = match std::env::var_os("CARGO_ENCODED_RUSTFLAGS") {
        Some(flags) => flags,
        None => {
            std::env::var("RUSTFLAGS").unwrap_or_default().split_whitespace().collect::<Vec<_>>().join("\x1f").into()
        }
    };
    let mut flags = own;
    for (from, to) in places {
        if !flags.is_empty() {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}

/// Where the libraries of limbeck-capi are, from cargo's messages.
pub fn folder_of(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let ours = artifacts.filter(|message| {
        message["manifest_path"].as_str().is_some_and(|path| Path::new(path).ends_with("capi/Cargo.toml"))
    });
    let files = ours.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut files = files.filter_map(|file| file.as_str().map(PathBuf::from));
    files.find(|path| path.ends_with("liblimbeck.a"))?.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_folder_comes_from_cargos_messages() {
        let message = |manifest: &str, file: &str| {
            json!({"reason": "compiler-artifact", "manifest_path": manifest, "filenames": [file]}).to_string()
        };
        let lines = [
            message("/r/sdk/Cargo.toml", "/t/release/deps/liblimbeck.a"),
            "not json".to_owned(),
            message("/r/capi/Cargo.toml", "/t/x/min-size/liblimbeck.a"),
        ];
        assert_eq!(folder_of(&lines.join("\n")).unwrap(), Path::new("/t/x/min-size"));
        assert_eq!(folder_of(&lines[0]), None);
    }

    #[test]
    fn paths_of_this_machine_are_replaced() {
        let flags = flags(Path::new("/some/target")).into_string().unwrap();
        assert!(flags.contains("--remap-path-prefix=/some/target=target"), "{flags}");
        assert!(flags.contains(&format!("--remap-path-prefix={}=limbeck", repository().display())), "{flags}");
    }
}
