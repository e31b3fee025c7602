//! The file from which an interrupted run goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::EpochRecord;
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

    /// One file holds weights, moments, averages and progress, replaced in one rename: a kill at any moment leaves
    /// a whole checkpoint.
    pub(super) fn save(&self, progress: &Progress, tensors: &[(String, Tensor)]) -> Result<()> {
        let metadata = BTreeMap::from([(KEY.to_owned(), serde_json::to_string(progress)?)]);
        write_tensors(&self.resume, tensors, &metadata)
    }

    /// The last checkpoint, if there is one of this very run. `with_best` says that the run keeps its best weights in
    /// a file, without which the checkpoint is of no use.
    pub(super) fn load(
        &self,
        fingerprint: &str,
        with_best: bool,
    ) -> Result<Option<(Progress, BTreeMap<String, Tensor>)>> {
        if !self.resume.is_file() {
            return Ok(None);
        }
        let progress = self.read_progress().with_context(|| {
            format!("cannot resume from {}; delete it to start this stage again", self.resume.display())
        })?;
        let lost = with_best && progress.best.is_some() && !self.best.is_file();
        if progress.fingerprint != fingerprint || lost {
            return Ok(None);
        }
        Ok(Some((progress, read_tensors(&self.resume)?)))
    }

    /// Refuses the checkpoint of a run with another fingerprint.
    pub(super) fn refuse_another(&self, fingerprint: &str) -> Result<()> {
        if !self.resume.is_file() {
            return Ok(());
        }
        let file = self.resume.display();
        let progress =
            self.read_progress().with_context(|| format!("cannot resume from {file}; remove it to start again"))?;
        ensure!(
            progress.fingerprint == fingerprint,
            "{file} is of a run with other text, settings or number of processes, stopped after step {}; go on with those, give \
             another --out, or remove the file to start again",
            progress.step
        );
        Ok(())
    }

    fn read_progress(&self) -> Result<Progress> {
        let bytes = std::fs::read(&self.resume)?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY)).context("it holds no limbeck progress")?;
        Ok(serde_json::from_str(text)?)
    }

    pub(super) fn save_best(&self, weights: &[(String, Tensor)]) -> Result<()> {
        write_tensors(&self.best, weights, &BTreeMap::new())
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
