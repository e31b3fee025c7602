//! Measuring on an Android device: limbeck-bench, the bundle and ONNX Runtime are pushed, run and removed again, and
//! the result is pulled.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Where every app and shell may write and run.
const FOLDER: &str = "/data/local/tmp";

/// A device, and what it needs to measure a bundle.
pub(super) struct Device {
    /// Serial number, as `adb devices` lists it.
    pub serial: String,
    /// limbeck-bench, built for the device.
    pub program: PathBuf,
    /// ONNX Runtime, built for the device.
    pub runtime: PathBuf,
}

/// What came back.
pub(super) struct Measured {
    /// What limbeck-bench printed: its table.
    pub table: String,
    /// Its result.
    pub json: Value,
}

impl Device {
    /// Measures a bundle with these options of limbeck-bench.
    pub(super) fn measure(&self, bundle: &Path, options: &[String]) -> Result<Measured> {
        for (what, path) in [("the bundle", bundle), ("--program", &self.program), ("--device-runtime", &self.runtime)]
        {
            ensure!(path.is_file(), "{what}: {} is no file (docs/limbeck-bench.md says how to get it)", path.display());
        }
        let state = self.adb(&["get-state"])?;
        ensure!(
            state.trim() == "device",
            "the device `{}` is `{}` and must be `device`: `adb devices` lists them, and the device asks once whether \
             it may be debugged",
            self.serial,
            state.trim()
        );
        let folder = format!("{FOLDER}/limbeck-bench-{}", std::process::id());
        let remote = Remote { device: self, folder: &folder };
        self.adb(&["shell", &format!("mkdir {folder}")])?;
        for (path, name) in
            [(self.program.as_path(), "limbeck-bench"), (bundle, "model.limbeck"), (&self.runtime, "libonnxruntime.so")]
        {
            let path = path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?;
            self.adb(&["push", path, &format!("{folder}/{name}")])?;
        }
        let quoted: String = options.iter().map(|option| format!(" {}", quote(option))).collect();
        let table = self.adb(&[
            "shell",
            &format!(
                "cd {folder} && chmod 755 limbeck-bench && LD_LIBRARY_PATH=. ./limbeck-bench model.limbeck --runtime \
                 ./libonnxruntime.so --out result.json{quoted}"
            ),
        ])?;
        let result = tempfile::tempdir().context("making a temporary folder")?;
        let pulled = result.path().join("result.json");
        self.adb(&["pull", &format!("{folder}/result.json"), &pulled.to_string_lossy()])?;
        drop(remote);
        let json = std::fs::read(&pulled).context("reading the result that was pulled")?;
        let json = serde_json::from_slice(&json).context("the result that was pulled is no JSON")?;
        Ok(Measured { table, json })
    }

    /// Runs adb, and gives what it prints.
    fn adb(&self, arguments: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = Command::new("adb")
            .args(["-s", &self.serial])
            .args(arguments)
            .output()
            .context("adb does not start: it comes with Android's platform tools and must be on the PATH")?;
        if !status.success() {
            let words = String::from_utf8_lossy(if stderr.is_empty() { &stdout } else { &stderr }).trim().to_owned();
            bail!("adb {} failed ({status}): {words}", arguments.first().copied().unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }
}

/// Removes the folder on the device, whatever happened.
struct Remote<'a> {
    device: &'a Device,
    folder: &'a str,
}

impl Drop for Remote<'_> {
    fn drop(&mut self) {
        // Nothing is to be done about a device that has gone.
        let _ = self.device.adb(&["shell", &format!("rm -rf {}", self.folder)]);
    }
}

/// In quotes for the device's shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
