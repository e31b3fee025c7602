//! Python packages that tests and benchmarks run: the ONNX checker; setuptools; PyTorch and transformers; ONNX Runtime.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cache::Cache;
use crate::command::{command, repository};
use crate::space;

const REQUIREMENTS: &str = "tests/parity/requirements-onnx.txt";
const FOLDER: &str = "python/onnx-1.23.2";
/// Unpacked, with the download beside it.
const BYTES: u64 = 250_000_000;
/// Packages of [`references`].
pub const REFERENCES_REQUIREMENTS: &str = "tests/parity/requirements.txt";
/// Packages of [`onnx_runtime`].
pub const ONNX_RUNTIME_REQUIREMENTS: &str = "tests/peers/requirements.txt";

/// The folder to put on Python's path for `import onnx`: `LIMBECK_ONNX_PYTHONPATH`, else one in the cache, which is
/// filled when it is missing. Every package is pinned by version and hash.
///
/// # Errors
/// No Python 3.10 or newer with pip, or the packages cannot be had.
pub fn onnx_checker(cache: &Cache) -> Result<PathBuf> {
    if let Some(own) = std::env::var_os("LIMBECK_ONNX_PYTHONPATH").filter(|value| !value.is_empty()) {
        return Ok(own.into());
    }
    let advice = "CPython 3.10 to 3.13; or set LIMBECK_ONNX_PYTHONPATH to a folder with the package onnx";
    installed(cache, FOLDER, REQUIREMENTS, BYTES, "the Python package onnx (about 27 MB)", advice)
}

/// The folder to put on Python's path for `import setuptools`, which builds the wheel of `bindings/python`: in the
/// cache, filled when it is missing, pinned by version and hash.
///
/// # Errors
/// No Python 3.10 or newer with pip, or the package cannot be had.
pub fn setuptools(cache: &Cache) -> Result<PathBuf> {
    const REQUIREMENTS: &str = "bindings/python/requirements-build.txt";
    installed(cache, "python/setuptools-80.9.0", REQUIREMENTS, 10_000_000, "setuptools (1 MB)", "CPython 3.10 or newer")
}

/// Packages in a folder of the cache, for the version of Python that runs: installed when the folder is missing.
fn installed(cache: &Cache, name: &str, requirements: &str, bytes: u64, what: &str, needs: &str) -> Result<PathBuf> {
    // Compiled packages serve one version of Python.
    let version = python_version()?;
    let folder = cache.root().join(format!("{name}-py{version}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let _lock = cache.lock()?;
    if folder.is_dir() {
        return Ok(folder);
    }
    space::require(cache.root(), bytes, what)?;
    eprintln!("installing {what} into {}", folder.display());
    let work = cache.work_folder()?;
    let target = work.path().join("packages");
    let mut pip = command("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir"])
        .arg("--root-user-action=ignore")
        .args(["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile", "--target"])
        .arg(&target)
        .arg("-r")
        .arg(repository().join(requirements))
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("TMPDIR", work.path());
    let status = pip.stdin(Stdio::null()).status().context("running python3 -m pip")?;
    if !status.success() {
        bail!(
            "{what} cannot be installed ({status}); pip's words are above. It needs pip, a package registry and {needs}"
        );
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    fs::rename(&target, &folder).with_context(|| format!("moving the packages to {}", folder.display()))?;
    Ok(folder)
}

/// The `python` of an environment with PyTorch and transformers as `tests/parity/requirements.txt` pins them, in the
/// cache; made and filled when it is missing.
///
/// # Errors
/// No Python with venv, or the packages cannot be had.
pub fn references(cache: &Cache) -> Result<PathBuf> {
    environment(
        cache,
        "references-venv",
        REFERENCES_REQUIREMENTS,
        &[],
        (9_000_000_000, "PyTorch with its CUDA libraries"),
    )
}

/// The `python` of an environment with ONNX Runtime and its tools as `tests/peers/requirements.txt` pins them by version
/// and hash, in the cache; made and filled when it is missing.
///
/// # Errors
/// No Python 3.11 or newer with venv, or the packages cannot be had.
pub fn onnx_runtime(cache: &Cache) -> Result<PathBuf> {
    let exactly = ["--no-deps", "--require-hashes", "--only-binary=:all:"];
    environment(cache, "peers-venv", ONNX_RUNTIME_REQUIREMENTS, &exactly, (600_000_000, "ONNX Runtime for Python"))
}

fn environment(
    cache: &Cache,
    folder: &str,
    requirements: &str,
    options: &[&str],
    (bytes, what): (u64, &str),
) -> Result<PathBuf> {
    let _lock = cache.lock()?;
    let venv = cache.root().join(folder);
    let python = venv.join("bin").join("python");
    let succeed = |mut command: Command, what: &str| -> Result<()> {
        let status = command.status().with_context(|| format!("running {what}"))?;
        ensure!(status.success(), "{what} failed ({status}); its words are above");
        Ok(())
    };
    if !python.is_file() {
        space::require(cache.root(), bytes, what)?;
        let mut make = command("python3");
        make.args(["-m", "venv"]).arg(&venv);
        succeed(make, "python3 -m venv (Debian: apt-get install python3-venv)")?;
    }
    let mut pip = command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]);
    pip.args(options).args(["-r", requirements]);
    succeed(pip, "pip install")?;
    Ok(python)
}

/// `3.11`, of `python3`.
fn python_version() -> Result<String> {
    const ASK: &str = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = command("python3").args(["-c", ASK]).stdin(Stdio::null()).output();
    let output = output.context("python3 does not run; install Python 3.10 or newer with pip")?;
    if !output.status.success() {
        bail!("python3 fails: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
