//! Training stages whose results are kept, so that a stopped run goes on where it was.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::DistillOptions;
use super::data::EncodedData;
use crate::arch::{Capture, Head, Model, ModelConfig, Params};
use crate::checkpoint::HeadInfo;
use crate::data::{Batch, EncodedExample, in_order_batches};
use crate::distill::{TeacherOutputs, hidden_cosine, soft_target};
use crate::objective::{accuracy, cross_entropy};
use crate::progress::Reporter;
use crate::recipe::Recipe;
use crate::train::{Alone, Loss, Outcome, Stage, TrainOptions, discard_checkpoint, train};
use crate::{checkpoint, files};

/// What all stages of a run share.
pub(super) struct Run<'a> {
    pub recipe: &'a Recipe,
    pub options: &'a DistillOptions,
    pub labels: &'a [String],
    pub encoded: &'a EncodedData,
    pub tokenizer: &'a Path,
    /// Hash of recipe, data and teacher: a result of another identity is not taken up.
    pub identity: String,
    pub reporter: &'a Reporter,
}

/// `stage.json`: written last, so that its presence means that the folder is complete.
#[derive(Serialize, Deserialize)]
struct Finished {
    identity: String,
    outcome: Outcome,
}

const EVALUATION_BATCH: usize = 64;

/// Accuracy of a classifier on encoded examples, dropout off.
fn score(model: &Model, examples: &[EncodedExample], pad_id: usize, device: tch::Device) -> f64 {
    let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
    let mut right = 0.0;
    for indices in in_order_batches(&lengths, EVALUATION_BATCH) {
        let batch = Batch::new(examples, indices, pad_id, device);
        let output = model.forward(&batch.ids, &batch.mask, None, Capture::default(), false);
        right += accuracy(&output.logits, &batch.targets) * batch.indices.len() as f64;
    }
    right / examples.len().max(1) as f64
}

impl Run<'_> {
    /// The head of all models of a run.
    pub(super) fn head(&self) -> Head {
        Head::Classification { labels: self.labels.len() }
    }

    /// The result of a stage that an earlier run finished, its weights copied into `params`.
    pub(super) fn finished(&self, name: &str, config: &ModelConfig, params: &Params) -> Result<Option<Outcome>> {
        let folder = self.options.out.join(name);
        let marker = folder.join("stage.json");
        if !marker.is_file() {
            return Ok(None);
        }
        let Ok(stage) = files::read_json::<Finished>(&marker) else { return Ok(None) };
        if stage.identity != self.identity {
            return Ok(None);
        }
        let arrays = checkpoint::read_params(&folder, config, self.head())?;
        let tensors = arrays.iter().map(|(name, array)| (name.clone(), checkpoint::tensor_of(array))).collect();
        params.copy_from(&tensors).with_context(|| format!("in {}", folder.display()))?;
        self.reporter.note(&format!("  {name}: done before, taken from {}", folder.display()));
        Ok(Some(stage.outcome))
    }

    /// Cross-entropy with the labels.
    pub(super) fn supervised(
        &self,
        name: &str,
        config: &ModelConfig,
        params: &Params,
        options: &TrainOptions,
    ) -> Result<Outcome> {
        if let Some(outcome) = self.finished(name, config, params)? {
            return Ok(outcome);
        }
        let model = Model::new(params, config, self.head()).in_precision(options.precision);
        self.run(name, config, params, &model, options, &|batch| {
            let output = model.forward(&batch.ids, &batch.mask, None, Capture::default(), true);
            Ok(Loss { total: cross_entropy(&output.logits, &batch.targets), parts: vec![] })
        })
    }

    /// The DistilBERT-type loss: soft targets, hidden-state cosine, labels.
    pub(super) fn distilled(
        &self,
        name: &str,
        config: &ModelConfig,
        params: &Params,
        teacher: &TeacherOutputs,
    ) -> Result<Outcome> {
        let model = Model::new(params, config, self.head()).in_precision(self.recipe.student.train.precision);
        let weights = self.recipe.distill;
        self.run(name, config, params, &model, &self.recipe.student.train, &|batch| {
            let output = model.forward(&batch.ids, &batch.mask, None, Capture::default(), true);
            let soft = soft_target(&output.logits, &teacher.batch_logits(batch), weights.temperature);
            let hard = cross_entropy(&output.logits, &batch.targets);
            let mut total: Tensor = &soft * weights.soft + &hard * weights.hard;
            let mut parts = vec![("soft", soft.detach()), ("hard", hard.detach())];
            if weights.cosine > 0.0 {
                let cosine = hidden_cosine(&output.encoded.last_hidden, &teacher.batch_hidden(batch), &batch.mask);
                total += &cosine * weights.cosine;
                parts.push(("cosine", cosine.detach()));
            }
            Ok(Loss { total, parts })
        })
    }

    fn run(
        &self,
        name: &str,
        config: &ModelConfig,
        params: &Params,
        model: &Model,
        options: &TrainOptions,
        loss: &dyn Fn(&Batch) -> Result<Loss>,
    ) -> Result<Outcome> {
        let folder = self.options.out.join(name);
        let stage = Stage {
            name,
            folder: &folder,
            params,
            examples: &self.encoded.train.examples,
            pad_id: config.pad_id,
            options,
            seed: self.recipe.seed,
            identity: &self.identity,
            checkpoint_every: self.options.checkpoint_every,
            stop_before: None,
            group: &Alone,
        };
        let device = self.options.device;
        let outcome = train(&stage, self.reporter, loss, &|| {
            Ok(score(model, &self.encoded.dev.examples, config.pad_id, device))
        })?;
        checkpoint::save(&folder, config, &HeadInfo::classifier(self.labels), params, self.tokenizer)?;
        let finished = Finished { identity: self.identity.clone(), outcome };
        files::write_json(&folder.join("stage.json"), &finished)?;
        discard_checkpoint(&folder);
        Ok(finished.outcome)
    }
}
