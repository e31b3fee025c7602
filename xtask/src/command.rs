//! Child processes that do not notice that they were started by `cargo run`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn repository() -> PathBuf {
    // Cargo sets it for `cargo run`; the built-in one serves a binary started by hand.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// A command in the repository, with the environment that the user started xtask with.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(repository());
    for (name, _) in std::env::vars_os() {
        // Cargo's words about xtask itself: build scripts that watch them would run again and again.
        let words = name.to_string_lossy();
        if words.starts_with("CARGO_PKG_") || words.starts_with("CARGO_MANIFEST_") || words.starts_with("CARGO_BIN_") {
            command.env_remove(&name);
        }
    }
    // Cargo also puts its debug libraries before all others; a release program must not load those.
    if let Some(paths) = std::env::var_os(LIBRARY_PATH) {
        match outer_library_path(&paths, std::env::current_exe().ok().as_deref()) {
            Some(outer) => command.env(LIBRARY_PATH, outer),
            None => command.env_remove(LIBRARY_PATH),
        };
    }
    command
}

/// Cargo, the one that runs this.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The variable with folders of shared libraries.
const LIBRARY_PATH: &str = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

fn outer_library_path(paths: &OsStr, executable: Option<&Path>) -> Option<OsString> {
    let debug = executable.and_then(Path::parent);
    let outer: Vec<PathBuf> = std::env::split_paths(paths)
        .filter(|path| !debug.is_some_and(|debug| path.starts_with(debug)))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "rustlib" || part.as_os_str() == "toolchains"))
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if outer.is_empty() { None } else { std::env::join_paths(outer).ok() }
}

/// The revision for the report; a changed tree is not that revision.
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = command("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let revision = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.trim().is_empty();
    Some(format!("{}{}", revision.trim(), if changed { " with changes" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_own_library_folders_are_left_out() {
        let outer = |paths: &str| outer_library_path(OsStr::new(paths), Some(Path::new("/r/target/debug/xtask")));
        let cargos = "/r/target/debug/deps:/r/target/debug:/h/toolchains/1.95/lib/rustlib/x/lib:/h/toolchains/1.95/lib";
        assert_eq!(outer(cargos), None);
        assert_eq!(outer(&format!("{cargos}:/opt/own")), Some("/opt/own".into()));
    }

    #[test]
    fn the_repository_holds_the_workspace() {
        let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
