//! Teachers: whether they know more than chance, and mean the labels that the data mean.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tch::Device;

use super::agreement::Agreement;
use super::labels::label_counts;
use super::models::Opened;
use super::{Findings, Late, some_rows};
use crate::arch::{Capture, Head, Model};
use crate::checkpoint::HeadInfo;
use crate::data::{Batch, EncodedExample, Goal, Rows, Target, in_order_batches, some_labels};
use crate::objective::{IGNORED, Pupil};
use crate::pipeline::{PreparedData, above_chance, made_for};
use crate::progress::Reporter;
use crate::recipe::Recipe;

/// Rows of dev that a teacher is tried on, at most and however long it takes, and those that show how long that is.
const MOST: usize = 512;
const LEAST: usize = 32;
const PROBE: usize = 16;
const LIMIT: Duration = Duration::from_secs(8);
/// Another order of the labels must agree better by this share, and by more than chance, to be believed.
const BETTER: f64 = 0.15;
/// No order is sought for more labels: few rows a label would fit any.
pub(super) const MOST_LABELS: usize = 256;
const BATCH: usize = 32;

/// Tries a teacher that is `finished`; of one that is to be trained, says what there is to say.
pub(super) fn check(
    recipe: &Recipe,
    data: &PreparedData,
    opened: &Opened,
    finished: bool,
    device: Device,
    reporter: &Reporter,
    findings: &mut Findings,
) {
    let (name, info) = (&opened.name, &opened.info);
    if !finished {
        if opened.own.as_ref().is_some_and(|own| own.labels.is_some() && made_for(own, info, &opened.folder).is_ok()) {
            findings.fact(format!(
                "hint: {name} has a head for these labels; teacher.source = \"finished\" would take it as it is"
            ));
        }
        return;
    }
    let Some(own) = &opened.own else {
        return findings.problem(format!("{name} has no head that limbeck knows; take teacher.source = \"finetune\""));
    };
    if own.head == Head::None && info.head.name() != "embedding" {
        return findings.problem(format!("{name} is an encoder without a head; take teacher.source = \"finetune\""));
    }
    let fits = made_for(own, info, &opened.folder);
    if !same_head(own, info) {
        if let Err(error) = fits {
            findings.problem(format!("{error:#}{}", strangers(own, info)));
        }
        return;
    }
    if !opened.has_head && !matches!(data.goal, Goal::Similarity { .. }) {
        return findings
            .problem(format!("{name}: its file has no weights for its head; take teacher.source = \"finetune\""));
    }
    let tried = match try_out(recipe, data, opened, device, reporter) {
        Ok(Some(tried)) => tried,
        Ok(None) => return,
        Err(error) => return findings.problem(format!("{name}: {error:#}")),
    };
    findings.fact(format!(
        "teacher: {name} has {} {:.1} on {} rows of dev",
        data.goal.measure(),
        tried.score * 100.0,
        tried.rows
    ));
    let better = tried.agreement.as_ref().and_then(|agreement| better_order(agreement, data));
    match (&fits, better) {
        (Ok(()), None) => {}
        (Ok(()), Some(better)) => findings.problem(format!(
            "{name}: its answers fit the labels far better in another order ({}): its labels should be {}; correct \
             id2label in its config.json, or data.columns.rename",
            better.gain, better.order
        )),
        (Err(_), better) => {
            let order =
                better.map(|better| format!("; by its answers they should be {} ({})", better.order, better.gain));
            findings.problem(format!(
                "{name}: its labels are not called as the data's{}{}; write the data's names as id2label in its \
                 config.json, or rename the data's (data.columns.rename)",
                strangers(own, info),
                order.unwrap_or_else(|| format!(
                    "; by its answers they are, in this order, {}",
                    some_labels(&data.labels)
                ))
            ));
        }
    }
    if let Err(error) = above_chance(name, data.goal, "dev", tried.score, tried.chance) {
        // On a part of dev a weak teacher may fall short of the margin by chance.
        if tried.rows < data.split.dev.len() && tried.score > tried.chance {
            findings.warning(format!("{error:#}, by {} of {} rows", tried.rows, data.split.dev.len()));
        } else {
            findings.problem(format!("{error:#}"));
        }
    }
}

/// Whether the logits are of one kind and number.
fn same_head(own: &HeadInfo, info: &HeadInfo) -> bool {
    own.head == info.head || matches!(info.head, Head::Embedding { .. })
}

/// The labels that only one side has.
fn strangers(own: &HeadInfo, info: &HeadInfo) -> String {
    let none = Vec::new();
    let (own, wanted) = (own.labels.as_ref().unwrap_or(&none), info.labels.as_ref().unwrap_or(&none));
    let only = |of: &[String], not: &[String]| -> Vec<String> {
        of.iter().filter(|label| !not.contains(label)).cloned().collect()
    };
    let (extra, missing) = (only(own, wanted), only(wanted, own));
    let mut text = String::new();
    if !extra.is_empty() {
        text += &format!("; only the teacher has {}", some_labels(&extra));
    }
    if !missing.is_empty() {
        text += &format!("; only the data have {}", some_labels(&missing));
    }
    if extra.is_empty() && missing.is_empty() && own != wanted {
        text += &format!("; they stand in another order there: {}", some_labels(own));
    }
    text
}

struct Tried {
    rows: usize,
    score: f64,
    /// What the largest class of these rows alone would score; 0 for other goals than one label.
    chance: f64,
    agreement: Option<Agreement>,
}

fn try_out(
    recipe: &Recipe,
    data: &PreparedData,
    opened: &Opened,
    device: Device,
    reporter: &Reporter,
) -> Result<Option<Tried>> {
    let (Some(params), Some(encoder)) = (&opened.params, &opened.encoder) else { return Ok(None) };
    if recipe.max_tokens > opened.config.max_positions() {
        return Ok(None);
    }
    let model = Model::new(params, &opened.config, opened.info.head);
    let pupil = Pupil { model: &model, goal: data.goal, labels: &data.labels, types: opened.types() };
    let encode = |count: usize| -> Result<(Rows, Vec<EncodedExample>)> {
        let rows = some_rows(&data.split.dev, count);
        let examples = rows.encode(data.goal, encoder, &data.labels, recipe.stride).context("dev")?.examples;
        Ok((rows, examples))
    };
    let _guard = tch::no_grad_guard();
    let named = matches!(data.goal, Goal::Class | Goal::Labels | Goal::Tags) && data.labels.len() <= MOST_LABELS;
    // Named answers are looked at one by one after the score, which takes as long again.
    let passes = if named { 2.0 } else { 1.0 };
    let (few, probe) = encode(PROBE)?;
    // The first pass also wakes the threads.
    pupil.score(&probe[..1.min(probe.len())], opened.config.pad_id, device);
    let started = Instant::now();
    pupil.score(&probe, opened.config.pad_id, device);
    let each = started.elapsed().as_secs_f64() / few.len().max(1) as f64;
    let most = (LIMIT.as_secs_f64() / passes / each.max(1e-9)) as usize;
    let (rows, examples) = encode(most.clamp(LEAST, MOST))?;
    let bar = Late::new(reporter, "teacher", 2 * examples.len());
    let score = pupil.score(&examples, opened.config.pad_id, device);
    bar.advance(examples.len());
    let agreement = named.then(|| decisions(&pupil, &examples, data.labels.len(), opened.config.pad_id, device, &bar));
    let largest = label_counts(&rows, data.goal).into_values().max().unwrap_or(0);
    let chance = if data.goal == Goal::Class { largest as f64 / rows.len().max(1) as f64 } else { 0.0 };
    Ok(Some(Tried { rows: rows.len(), score, chance, agreement }))
}

fn decisions(
    pupil: &Pupil,
    examples: &[EncodedExample],
    labels: usize,
    pad_id: usize,
    device: Device,
    bar: &Late,
) -> Agreement {
    let mut agreement = Agreement::new(labels);
    let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
    let mut done = examples.len();
    for indices in in_order_batches(&lengths, BATCH) {
        let batch = Batch::new(examples, indices, pad_id, device);
        let logits = pupil.forward(&batch, &Capture::LOGITS, false).logits.to_device(Device::Cpu);
        let integers = |tensor: tch::Tensor| Vec::<i64>::try_from(tensor.reshape([-1])).unwrap_or_default();
        let likeliest = integers(logits.argmax(-1, false));
        let length = batch.ids.size()[1] as usize;
        let above =
            if pupil.goal == Goal::Labels { integers(logits.gt(0.0).to_kind(tch::Kind::Int64)) } else { vec![] };
        for (row, &index) in batch.indices.iter().enumerate() {
            match &examples[index].target {
                Target::Class(right) => agreement.add(&[*right], &[likeliest[row] as usize]),
                Target::Labels(holds) => {
                    let right: Vec<usize> = (0..labels).filter(|&label| holds[label] > 0.5).collect();
                    let chosen: Vec<usize> = (0..labels).filter(|&label| above[row * labels + label] == 1).collect();
                    agreement.add(&right, &chosen);
                }
                // Words outside of entities are most of the words, and would hide all others.
                Target::Tokens(tags) => tags.iter().enumerate().for_each(|(token, &tag)| {
                    if tag != IGNORED && pupil.labels.get(tag as usize).is_some_and(|name| name != "O") {
                        agreement.add(&[tag as usize], &[likeliest[row * length + token] as usize]);
                    }
                }),
                Target::Value(_) | Target::Span { .. } => {}
            }
        }
        done += batch.indices.len();
        bar.advance(done);
    }
    agreement
}

/// An order of the labels that fits far better than the one at hand.
pub(super) struct Better {
    /// The labels in the order of the logits.
    pub order: String,
    /// What the orders give.
    pub gain: String,
}

pub(super) fn better_order(agreement: &Agreement, data: &PreparedData) -> Option<Better> {
    let labels = &data.labels;
    let now: Vec<usize> = (0..labels.len()).collect();
    let best = agreement.best();
    let (before, after) = (agreement.share(&now), agreement.share(&best));
    // Three standard deviations of a share of so many decisions.
    let noise = 3.0 * (0.25 / agreement.decisions().max(1) as f64).sqrt();
    let believable = after - before >= BETTER.max(noise) && after >= data.chance_on_dev() + 0.1;
    believable.then(|| Better {
        order: match labels.len() <= 20 {
            true => best.iter().map(|&label| labels[label].as_str()).collect::<Vec<_>>().join(", "),
            false => {
                let moved: Vec<String> = (0..labels.len())
                    .filter(|&logit| best[logit] != logit)
                    .map(|logit| format!("{logit}: {}", labels[best[logit]]))
                    .collect();
                some_labels(&moved)
            }
        },
        gain: format!("{:.1}% right instead of {:.1}%", after * 100.0, before * 100.0),
    })
}
