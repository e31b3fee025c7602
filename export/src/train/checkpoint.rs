//! The file from which an interrupted run goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::optimizer::AdamW;
use super::trainer::EpochRecord;
use crate::arch::Params;
use crate::checkpoint::{read_tensors, write_tensors};
use crate::files;

/// Everything about a run but its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Hash of all that decides the run; another hash means another run.
    pub fingerprint: String,
    /// Optimizer steps done.
    pub step: u64,
    /// Dev score and epoch of the best weights so far.
    pub best: Option<(f64, usize)>,
    /// Finished epochs.
    pub history: Vec<EpochRecord>,
    /// Loss sum and count of the epoch under way.
    pub running: (f64, u64),
}

const KEY: &str = "limbeck.progress";

/// The files of a training stage.
pub(super) struct StageFiles {
    resume: PathBuf,
    best: PathBuf,
}

impl StageFiles {
    pub(super) fn new(folder: &Path) -> Self {
        Self { resume: folder.join("resume.safetensors"), best: folder.join("best.safetensors") }
    }

    /// One file holds weights, moments and progress, replaced in one rename: a kill at any moment leaves
    /// a whole checkpoint.
    pub(super) fn save(&self, progress: &Progress, params: &Params, optimizer: &AdamW) -> Result<()> {
        let mut tensors: Vec<(String, Tensor)> =
            params.iter().map(|(n, t)| (format!("weight.{n}"), t.shallow_clone())).collect();
        tensors.extend(optimizer.state());
        let metadata = BTreeMap::from([(KEY.to_owned(), serde_json::to_string(progress)?)]);
        write_tensors(&self.resume, &tensors, &metadata)
    }

    /// Goes back to the last checkpoint, if there is one of this very run.
    pub(super) fn load(&self, fingerprint: &str, params: &Params, optimizer: &mut AdamW) -> Result<Option<Progress>> {
        if !self.resume.is_file() {
            return Ok(None);
        }
        let progress = self.read_progress().with_context(|| {
            format!("cannot resume from {}; delete it to start this stage again", self.resume.display())
        })?;
        if progress.fingerprint != fingerprint || (progress.best.is_some() && !self.best.is_file()) {
            return Ok(None);
        }
        let tensors = read_tensors(&self.resume)?;
        let weights = tensors
            .iter()
            .filter_map(|(n, t)| Some((n.strip_prefix("weight.")?.to_owned(), t.shallow_clone())))
            .collect();
        params.copy_from(&weights)?;
        optimizer.restore(&tensors, progress.step)?;
        Ok(Some(progress))
    }

    fn read_progress(&self) -> Result<Progress> {
        let bytes = std::fs::read(&self.resume)?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY)).context("it holds no limbeck progress")?;
        Ok(serde_json::from_str(text)?)
    }

    pub(super) fn save_best(&self, params: &Params) -> Result<()> {
        let tensors: Vec<_> = params.iter().map(|(n, t)| (n.to_owned(), t.shallow_clone())).collect();
        write_tensors(&self.best, &tensors, &BTreeMap::new())
    }

    pub(super) fn load_best(&self, params: &Params) -> Result<()> {
        params.copy_from(&read_tensors(&self.best)?)
    }

    /// Removes both files once the stage's result is saved elsewhere.
    pub(super) fn remove(&self) {
        for path in [&self.resume, &self.best] {
            // They are no longer needed; one that stays only costs disk.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Hash of anything that serialises.
pub(super) fn fingerprint(parts: &impl Serialize) -> Result<String> {
    Ok(files::sha256_hex(&serde_json::to_vec(parts)?))
}
