//! The file from which an interrupted run goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{CurvePoint, EpochRecord};
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
    /// The scoring of the weights to be kept: the best so far, or the last.
    pub best: Option<EpochRecord>,
    /// Finished epochs.
    pub history: Vec<EpochRecord>,
    /// Loss sum and count since the last scoring.
    pub running: (f64, u64),
    /// The loss so far, and sum and count of the point under way.
    pub curve: Vec<CurvePoint>,
    pub point: (f64, u64),
}

/// Points of a curve.
const POINTS: u64 = 100;

impl Progress {
    /// Counts a step of `total`.
    pub(super) fn count(&mut self, loss: f64, total: u64) {
        self.step += 1;
        for (sum, count) in [&mut self.running, &mut self.point] {
            *sum += loss;
            *count += 1;
        }
        let (sum, count) = self.point;
        if count >= total.div_ceil(POINTS) || self.step == total {
            self.curve.push(CurvePoint { step: self.step, loss: sum / count as f64 });
            self.point = (0.0, 0);
        }
    }
}

const KEY: &str = "limbeck.progress";
const OWNER: &str = "limbeck.run";

/// The files of a training stage: `resume.safetensors`, and `best-STEP.safetensors` with the weights that were best on
/// dev, by the step in which they were scored. A new best does not replace the one that the last checkpoint names: a run
/// that goes on from there may not come by the new one again, on a GPU or with other threads.
pub(super) struct StageFiles {
    folder: PathBuf,
    resume: PathBuf,
}

impl StageFiles {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), resume: folder.join("resume.safetensors") }
    }

    fn best(&self, step: u64) -> PathBuf {
        self.folder.join(format!("best-{step}.safetensors"))
    }

    /// One file holds weights, moments, averages and progress, replaced in one rename: a kill at any moment leaves
    /// a whole checkpoint.
    pub(super) fn save(&self, progress: &Progress, tensors: &[(String, Tensor)]) -> Result<()> {
        let metadata = BTreeMap::from([(KEY.to_owned(), serde_json::to_string(progress)?)]);
        write_tensors(&self.resume, tensors, &metadata)
    }

    /// The last checkpoint, if there is one of this very run. `with_best` says that the run keeps its best weights in
    /// a file, without which, or with one of another run in its place, the checkpoint is of no use.
    pub(super) fn load(
        &self,
        fingerprint: &str,
        with_best: bool,
    ) -> Result<Option<(Progress, BTreeMap<String, Tensor>)>> {
        if !self.resume.is_file() {
            return Ok(None);
        }
        let unusable =
            |path: &Path| format!("cannot resume from {}; delete it to start this stage again", path.display());
        let progress = self.read_progress().with_context(|| unusable(&self.resume))?;
        if progress.fingerprint != fingerprint {
            return Ok(None);
        }
        if let Some(best) = progress.best.as_ref().filter(|_| with_best) {
            let path = self.best(best.step);
            if !path.is_file() || metadata(&path, OWNER).with_context(|| unusable(&path))? != fingerprint {
                return Ok(None);
            }
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
        Ok(serde_json::from_str(&metadata(&self.resume, KEY)?)?)
    }

    /// Keeps the weights that were scored in a step.
    pub(super) fn save_best(&self, fingerprint: &str, step: u64, weights: &[(String, Tensor)]) -> Result<()> {
        let metadata = BTreeMap::from([(OWNER.to_owned(), fingerprint.to_owned())]);
        write_tensors(&self.best(step), weights, &metadata)
    }

    pub(super) fn load_best(&self, step: u64, params: &Params) -> Result<()> {
        params.copy_from(&read_tensors(&self.best(step))?)
    }

    /// Removes best weights but those of these steps. One that stays only costs disk.
    pub(super) fn keep_best(&self, steps: &[u64]) {
        let kept: Vec<PathBuf> = steps.iter().map(|&step| self.best(step)).collect();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let step = name.strip_prefix("best-").and_then(|rest| rest.strip_suffix(".safetensors"));
            if step.is_some_and(|step| step.parse::<u64>().is_ok()) && !kept.contains(&entry.path()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Removes all files once the stage's result is saved elsewhere.
    pub(super) fn remove(&self) {
        self.keep_best(&[]);
        let _ = std::fs::remove_file(&self.resume);
    }
}

/// What a file of tensors says of itself under a key.
fn metadata(path: &Path, key: &str) -> Result<String> {
    let bytes = std::fs::read(path)?;
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(key));
    text.cloned().with_context(|| format!("it holds no {key}"))
}

/// Hash of anything that serialises.
pub(super) fn fingerprint(parts: &impl Serialize) -> Result<String> {
    Ok(files::sha256_hex(&serde_json::to_vec(parts)?))
}
