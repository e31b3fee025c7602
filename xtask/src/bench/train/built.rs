//! Both sides' programs, built here or brought.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::bench::output;
use crate::cache::Cache;
use crate::command::cargo;
use crate::engines::Engines;
use crate::{pins, python};

/// Both programs, and what they train with.
pub(super) struct Built {
    pub program: PathBuf,
    pub python: PathBuf,
    /// None where the environment is left as it is.
    pub engines: Option<Engines>,
    pub teacher: PathBuf,
    pub base_teacher: PathBuf,
    pub sentences: PathBuf,
}

impl Built {
    /// Builds limbeck's side, and fetches all else.
    pub(super) fn here() -> Result<Self> {
        // The teachers of the tests are those of the benchmark.
        let engines = Engines::ready_for_tests()?;
        let cache = Cache::locate()?;
        Ok(Self {
            python: python::references(&cache)?,
            program: program(&engines)?,
            teacher: engines.teacher.clone(),
            base_teacher: cache.folder(&pins::ALL_MPNET),
            sentences: cache.folder(&pins::SENTENCES),
            engines: Some(engines),
        })
    }

    /// What was brought to a machine without cargo and without internet: a folder with `train`, the built benchmark, and
    /// folders `teacher`, `base-teacher` and `sentences`.
    pub(super) fn brought(folder: &Path) -> Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("--brought {}", folder.display()))?;
        let place = |name: &str| {
            let path = folder.join(name);
            ensure!(path.exists(), "{} is missing", path.display());
            Ok(path)
        };
        Ok(Self {
            program: place("train")?,
            python: "python3".into(),
            engines: None,
            teacher: place("teacher")?,
            base_teacher: place("base-teacher")?,
            sentences: place("sentences")?,
        })
    }
}

/// Builds limbeck's side.
fn program(engines: &Engines) -> Result<PathBuf> {
    let mut build = cargo();
    engines.apply(&mut build);
    build.args(["bench", "--package", "limbeck-export", "--bench", "train", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    for line in output(&mut build)?.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        if message["target"]["name"] == "train"
            && message["target"]["kind"][0] == "bench"
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(path.into());
        }
    }
    bail!("cargo built no benchmark `train`")
}
