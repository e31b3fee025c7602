//! The npm package, and its tests in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Outcome, captured, copy_folder, copy_licences, file_name, skip, succeed};
use crate::cache::Cache;
use crate::command::{command, repository};
use crate::engines::Engines;
use crate::space;

/// The oldest Node that the package runs in.
const OLDEST: (u32, u32) = (20, 4);
/// koffi and TypeScript, unpacked.
const BYTES: u64 = 60_000_000;

/// Packs the npm package over a library, into a folder.
///
/// # Errors
/// No npm, or it fails.
pub fn tarball(library: &Path, out: &Path) -> Result<PathBuf> {
    let work = tempfile::tempdir().context("making a work folder")?;
    let package = work.path().join("package");
    copy_folder(&repository().join("bindings/node"), &package)?;
    copy_licences(&package)?;
    let prebuild = package.join("prebuilds").join(machine());
    fs::create_dir_all(&prebuild)?;
    fs::copy(library, prebuild.join(file_name())).context("copying the library")?;
    let mut npm = command("npm");
    npm.current_dir(&package).args(["pack", "--loglevel=error", "--no-update-notifier", "--pack-destination"]);
    succeed(npm.arg(work.path()), "npm pack")?;
    let name = format!("limbeck-{}.tgz", env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(out)?;
    let target = out.join(&name);
    fs::copy(work.path().join(&name), &target).with_context(|| format!("writing {}", target.display()))?;
    Ok(target)
}

/// Packs the package, unpacks it into a new folder as npm would, and runs its tests over that; checks its types.
///
/// # Errors
/// Something cannot be built or fetched.
pub fn test(cache: &Cache, library: &Path, engines: &Engines) -> Result<Outcome> {
    let found = captured(command("node").arg("--version")).map(|(_, text)| text.trim().to_owned());
    match found.as_deref().map(version) {
        Ok(Some(version)) if version >= OLDEST => {}
        Ok(Some(_)) => return Ok(skip(&format!("Node {} is too old for the Node package, which needs 20.4", found?))),
        _ => return Ok(skip("node is not installed, the Node package was not tested")),
    }
    let dependencies = dependencies(cache)?;
    let work = tempfile::tempdir().context("making a work folder")?;
    let tarball = tarball(library, work.path())?;
    let modules = work.path().join("app/node_modules");
    fs::create_dir_all(&modules)?;
    let mut tar = command("tar");
    succeed(tar.arg("-xzf").arg(&tarball).arg("-C").arg(&modules), "unpacking the package")?;
    let package = modules.join("limbeck");
    fs::rename(modules.join("package"), &package)?;
    for name in ["koffi", "@koromix"] {
        link(&dependencies.join(name), &modules.join(name))?;
    }

    let mut outcome = Outcome::default();
    let mut compiler = command("node");
    compiler.arg(dependencies.join("typescript/lib/tsc.js")).args(["-p", "bindings/node/test", "--typeRoots"]);
    let (success, text) = captured(compiler.arg(dependencies.join("@types")))?;
    if !success {
        println!("the types of the Node package:\n{}", text.trim());
    }
    outcome.add(Outcome { passed: success.into(), failed: (!success).into(), skipped: 0 });

    let tests = repository().join("bindings/node/test");
    let mut files: Vec<PathBuf> = fs::read_dir(&tests)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    files.sort();
    let mut runner = command("node");
    runner.args(["--test", "--test-reporter=tap"]).args(files).current_dir(&tests);
    runner
        .env("LIMBECK_TEST_PACKAGE", &package)
        .env("ORT_DYLIB_PATH", &engines.onnx_runtime)
        .env_remove("NODE_OPTIONS");
    let (success, text) = captured(&mut runner)?;
    let mut counts = parse(&text);
    if !success {
        println!("{}", text.trim());
        counts.failed = counts.failed.max(1);
    }
    if counts == Outcome::default() {
        bail!("node --test ran nothing:\n{}", text.trim());
    }
    outcome.add(counts);
    println!("Node: {} passed, {} failed, with {}", outcome.passed, outcome.failed, found?);
    Ok(outcome)
}

/// `node_modules` as the package's lock file has them, in the cache.
fn dependencies(cache: &Cache) -> Result<PathBuf> {
    let source = repository().join("bindings/node");
    let lock_file = fs::read(source.join("package-lock.json")).context("reading package-lock.json")?;
    let digest: String = Sha256::digest(&lock_file).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.root().join(format!("node/{digest}-{}", machine()));
    let modules = folder.join("node_modules");
    if modules.is_dir() {
        return Ok(modules);
    }
    let _lock = cache.lock()?;
    if modules.is_dir() {
        return Ok(modules);
    }
    space::require(cache.root(), BYTES, "koffi and TypeScript")?;
    eprintln!("installing koffi and TypeScript (about 15 MB) into {}", folder.display());
    let work = cache.work_folder()?;
    let target = work.path().join("modules");
    fs::create_dir_all(&target)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(source.join(name), target.join(name))?;
    }
    let mut npm = command("npm");
    npm.current_dir(&target).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm.args(["--no-update-notifier", "--prefer-offline", "--fetch-retries=2"]);
    succeed(&mut npm, "npm ci (it needs the package registry; see `npm config get registry`)")?;
    fs::create_dir_all(folder.parent().context("the cache has no parent")?)?;
    fs::rename(&target, &folder).with_context(|| format!("moving the packages to {}", folder.display()))?;
    Ok(modules)
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<()> {
    std::os::unix::fs::symlink(from, to).with_context(|| format!("linking {}", to.display()))
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> Result<()> {
    copy_folder(from, to)
}

/// As Node calls this machine: `linux-x64`.
fn machine() -> String {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "x86" => "ia32",
        other => other,
    };
    format!("{system}-{processor}")
}

/// `v20.20.2`
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// The last lines of a report: `# pass 243`, `# fail 0`, `# skipped 0`.
fn parse(text: &str) -> Outcome {
    let number = |name: &str| {
        let line = text.lines().rev().find_map(|line| line.strip_prefix(&format!("# {name} ")));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    Outcome { passed: number("pass"), failed: number("fail") + number("cancelled"), skipped: number("skipped") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_node_are_read() {
        let text =
            "TAP version 13\n# a test says\n# tests 12\n# pass 9\n# fail 1\n# cancelled 1\n# skipped 1\n# todo 0\n";
        assert_eq!(parse(text), Outcome { passed: 9, failed: 2, skipped: 1 });
        assert_eq!(parse("nothing"), Outcome::default());
        assert_eq!(version("v20.20.2"), Some((20, 20)));
        assert_eq!(version("v18.19.0"), Some((18, 19)));
        assert!(version("v9.0.0").unwrap() < OLDEST && version("v22.1.0").unwrap() >= OLDEST);
        assert_eq!(version("node: not found"), None);
    }
}
