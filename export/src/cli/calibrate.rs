use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use limbeck::bundle::{Calibration, Task};
use limbeck::{Bundle, BundleWriter, ClassifyOptions, Model};
use limbeck_export::data::{Example, Goal, Rows, labels_of};
use limbeck_export::files;
use limbeck_export::measure::{Calibrated, Observation, calibrate, classify};
use serde_json::json;

use super::Columns;
use super::engines::Engine;

/// Fit a classifier's temperature and thresholds on held-out data
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck calibrate intents.limbeck --data dev.tsv --out-of-scope other.tsv -o intents-calibrated.limbeck\n  \
    limbeck calibrate topics.limbeck --data dev.jsonl -o calibration.json\n\n\
    An output that ends in .json is for `limbeck pack --calibration`; any other is the bundle with the calibration in it,\n\
    which is to be signed again. Use dev data: on training data a model is surer than it should be.")]
pub(super) struct Calibrate {
    /// Bundle
    bundle: PathBuf,
    /// Labelled data that the model was not trained on
    #[arg(long)]
    data: PathBuf,
    /// Texts that are none of the bundle's business (their labels do not matter)
    #[arg(long, value_name = "FILE")]
    out_of_scope: Option<PathBuf>,
    /// Bundle or .json file to write
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    columns: Columns,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Calibrate {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.engine.load()?;
        let model = Model::open(&self.bundle)?;
        let manifest = model.bundle().manifest();
        let classifier = |goal: &Goal| matches!(goal, Goal::Class | Goal::Labels) && manifest.task != Task::Order;
        let goal = Goal::of_bundle(manifest).filter(classifier);
        let Some(goal) = goal else {
            bail!(
                "{} is for {}: only classifiers have probabilities to calibrate",
                self.bundle.display(),
                manifest.task.name()
            )
        };
        let schema = self.columns.schema_for(goal, &manifest.task)?;
        let Rows::Texts(examples) = Rows::read(&self.data, goal, &schema)? else {
            bail!("texts with labels are needed")
        };
        let labels = model.bundle().labels();
        let logits = logits(&model, &examples)?;
        let observations = examples.iter().zip(logits).map(|(example, logits)| {
            let mut holds = vec![false; labels.len()];
            let names =
                if goal == Goal::Labels { labels_of(&example.label).collect() } else { vec![example.label.as_str()] };
            for name in names {
                let index = labels.iter().position(|label| label == name);
                holds[index.with_context(|| format!("{}: label \"{name}\" is not the bundle's", example.source))?] =
                    true;
            }
            Ok(Observation { logits, holds })
        });
        let observations = observations.collect::<Result<Vec<_>>>()?;
        let outside = match &self.out_of_scope {
            Some(path) => self::logits(&model, &super::texts_of(path, goal, &schema)?)?,
            None => vec![],
        };
        let found = calibrate(&observations, &outside, goal == Goal::Labels);
        drop(model);
        self.write(&found.calibration)?;
        if self.json {
            super::print_json(&json!({"output": self.output, "examples": observations.len(), "result": found}))?;
        } else {
            super::print(&self.describe(&found))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, calibration: &Calibration) -> Result<()> {
        if self.output.extension().is_some_and(|ending| ending == "json") {
            return files::write_json(&self.output, calibration);
        }
        let bundle = Bundle::options().keep_encrypted().open(&self.bundle)?;
        let writer = BundleWriter::from_bundle(&bundle).calibration(calibration);
        drop(bundle);
        writer.write(&self.output)?;
        Ok(())
    }

    fn describe(&self, found: &Calibrated) -> String {
        let Calibrated { calibration, loss_before, loss_after, .. } = found;
        let mut text = format!(
            "{}: temperature {:.4}; loss {loss_before:.4} before, {loss_after:.4} after\n",
            self.output.display(),
            calibration.temperature
        );
        if let Some((before, after)) = found.calibration_error {
            text += &format!("  calibration error {:.2}% before, {:.2}% after\n", before * 100.0, after * 100.0);
        }
        if let (Some(threshold), Some((out, kept))) = (calibration.out_of_scope, found.scope) {
            text += &format!(
                "  out of scope below {threshold:.3}: finds {:.1}% of those out of scope, keeps {:.1}% of the others\n",
                out * 100.0,
                kept * 100.0
            );
        }
        if !calibration.thresholds.is_empty() {
            text += &format!("  {} thresholds, one a label\n", calibration.thresholds.len());
        }
        text
    }
}

/// Raw scores in the order of the labels.
fn logits(model: &Model, examples: &[Example]) -> Result<Vec<Vec<f32>>> {
    let mut all = Vec::with_capacity(examples.len());
    for chunk in examples.chunks(64) {
        for answer in classify(model, chunk, &ClassifyOptions::new())? {
            let mut logits = vec![0.0; answer.labels.len()];
            for scored in &answer.labels {
                logits[scored.index] = scored.logit;
            }
            all.push(logits);
        }
    }
    Ok(all)
}
