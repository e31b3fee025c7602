//! What can be known before an hour of training is lost.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tch::Device;

use crate::arch::{Head, count_parameters};
use crate::checkpoint::{load, tokenizer_path};
use crate::data::{Encoder, Example, Rows};
use crate::pipeline::prepare;
use crate::recipe::Recipe;

/// The result of [`check`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// What will be trained on what.
    pub facts: Vec<String>,
    /// What may cost quality.
    pub warnings: Vec<String>,
    /// What stops a run or spoils its result.
    pub problems: Vec<String>,
}

/// Below this share of all training rows a class is called rare.
const RARE: f64 = 0.02;
/// More texts cut than this share is worth a warning.
const MANY_CUT: f64 = 0.01;

/// Looks at recipe, data and teacher without training. Each finding names the thing and the fix.
///
/// # Errors
/// Only what keeps the check itself from going on; a broken teacher or data file is a finding.
pub fn check(recipe: &Recipe, teacher: &Path, data: &Path) -> Result<Findings> {
    let mut findings = Findings::default();
    let prepared = match prepare(recipe, data) {
        Ok(prepared) => Some(prepared),
        Err(error) => {
            findings.problems.push(format!("data: {error:#}"));
            None
        }
    };
    let labels = prepared.as_ref().map_or(2, |p| p.labels.len());
    let checkpoint = match load(teacher, Head::Classification { labels }, Device::Cpu) {
        Ok(checkpoint) => Some(checkpoint),
        Err(error) => {
            findings.problems.push(format!("teacher: {error:#}"));
            None
        }
    };
    if let Some(prepared) = &prepared {
        let report = &prepared.report;
        findings.facts.push(format!(
            "data: {} to train on, {} dev, {} test; {} duplicates and {} contradictions dropped",
            report.train, report.dev, report.test, report.duplicates_dropped, report.contradictions_dropped
        ));
        if let Rows::Texts(train) = &prepared.split.train {
            classes(train, &prepared.labels, &mut findings);
        }
        findings.facts.push(format!(
            "largest class of dev alone: {:.1}%; the teacher must beat it",
            prepared.chance_on_dev() * 100.0
        ));
    }
    let Some(checkpoint) = checkpoint else { return Ok(findings) };
    let config = &checkpoint.config;
    findings.facts.push(format!(
        "teacher: {}, {} layers x {}, {} parameters in the encoder",
        config.family.name(),
        config.layers,
        config.hidden_size,
        count_parameters(config, Head::None).encoder
    ));
    if recipe.student.layers > config.layers {
        findings
            .problems
            .push(format!("student.layers is {}, but the teacher has only {}", recipe.student.layers, config.layers));
    }
    if let Some(beyond) = recipe.student.layer_map.iter().flatten().find(|&&l| l >= config.layers) {
        findings
            .problems
            .push(format!("student.layer_map names layer {beyond}; the teacher ends at {}", config.layers - 1));
    }
    if recipe.max_tokens > config.max_positions() {
        findings.problems.push(format!(
            "max_tokens is {}, but the teacher has {} positions",
            recipe.max_tokens,
            config.max_positions()
        ));
    }
    match tokenizer_path(teacher).and_then(|path| Encoder::new(&path, recipe.max_tokens, config.vocab_size)) {
        Err(error) => findings.problems.push(format!("tokenizer: {error:#}")),
        Ok(encoder) => {
            if let Some(prepared) = &prepared {
                for (name, set) in
                    [("train", &prepared.split.train), ("dev", &prepared.split.dev), ("test", &prepared.split.test)]
                {
                    match set.encode(prepared.goal, &encoder, &prepared.labels, recipe.stride) {
                        Err(error) => findings.problems.push(format!("{name}: {error:#}")),
                        Ok(encoded) if encoded.truncated as f64 > set.len() as f64 * MANY_CUT => {
                            findings.warnings.push(format!(
                                "{name}: {} of {} texts are longer than {} tokens and lose {} tokens; raise max_tokens",
                                encoded.truncated,
                                set.len(),
                                recipe.max_tokens,
                                encoded.tokens_dropped
                            ));
                        }
                        Ok(_) => {}
                    }
                }
            }
        }
    }
    Ok(findings)
}

fn classes(train: &[Example], labels: &[String], findings: &mut Findings) {
    let mut counts: BTreeMap<&str, usize> = labels.iter().map(|l| (l.as_str(), 0)).collect();
    for example in train {
        *counts.entry(&example.label).or_default() += 1;
    }
    findings
        .facts
        .push(format!("labels: {}", counts.iter().map(|(l, n)| format!("{l} {n}")).collect::<Vec<_>>().join(", ")));
    if labels.len() <= 20 {
        for (label, count) in counts.into_iter().filter(|&(_, n)| (n as f64) < train.len() as f64 * RARE) {
            findings.warnings.push(format!("label \"{label}\" has only {count} training rows"));
        }
    }
}
