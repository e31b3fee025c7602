//! Finding a stage's layer map by trials.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Finished, MARKER, Needs, Run, Training, finished};
use crate::arch::Params;
use crate::distill::LayerMap;
use crate::files;
use crate::recipe::StageRecipe;
use crate::train::{TrainOptions, discard_checkpoint};

impl Run<'_> {
    /// The layer map whose student does best on dev after an epoch of this stage and one of the last stage, whose losses
    /// look at the head: distances to different teacher layers say nothing of each other. `identity` is that of the stage;
    /// what a trial gave is kept below `folder`, so that a stopped run does not try again.
    pub(super) fn search_map(
        &self,
        training: &Training,
        index: usize,
        identity: &str,
        params: &Params,
        folder: &Path,
    ) -> Result<LayerMap> {
        let Training { config, stages, .. } = *training;
        let teacher =
            training.teachers.first().map(|teacher| &teacher.config).context("a layer map without a teacher")?;
        // A last stage that is searched too has its own turn.
        let searched = |map: &LayerMap| *map == LayerMap::Search;
        let short = |stage: &StageRecipe, map: &LayerMap| {
            let train = stage.train.clone().unwrap_or_else(|| self.recipe.student.train.clone());
            let train = Some(TrainOptions { epochs: 1, steps: None, ..train });
            StageRecipe { layer_map: map.clone(), train, ..stage.clone() }
        };
        let mut best: Option<(f64, LayerMap)> = None;
        for map in LayerMap::candidates(teacher.blocks().len(), config.blocks().len()) {
            let folder = folder.join("search").join(map.to_string());
            let mut own = vec![short(&stages[index], &map)];
            own.extend((index + 1 < stages.len()).then(|| {
                let last = &stages[stages.len() - 1];
                short(last, if searched(&last.layer_map) { &LayerMap::Uniform } else { &last.layer_map })
            }));
            let identity = files::sha256_hex(&serde_json::to_vec(&(identity, &own))?);
            let tried = match finished(&folder, &identity) {
                Some(tried) => tried,
                None => {
                    let trial = params.deep_clone();
                    let mut tried = Finished { identity, ..Finished::default() };
                    for (step, stage) in own.iter().enumerate() {
                        let needs = Needs::of(stage, config, Some(teacher))?;
                        let own = folder.join(&stage.name);
                        let identity = files::sha256_hex(format!("{} {step}", tried.identity).as_bytes());
                        let outcome = self.stage(training, stage, &needs, &trial, &own, &identity)?;
                        tried.stages.push((stage.name.clone(), outcome));
                        discard_checkpoint(&own);
                    }
                    if self.leads() {
                        files::write_json(&folder.join(MARKER), &tried)?;
                    }
                    tried
                }
            };
            let dev = tried.stages.last().map_or(f64::NEG_INFINITY, |(_, outcome)| outcome.best_dev);
            self.reporter.note(&format!("  {}, {}: layer map {map}: dev {dev:.4}", training.name, stages[index].name));
            if best.as_ref().is_none_or(|(score, _)| dev > *score) {
                best = Some((dev, map));
            }
        }
        best.map(|(_, map)| map).context("no layer map fits these depths; list the teacher layer of each student layer")
    }
}
