//! How large the student is, how much it reads, and how long that takes here.

use std::time::{Duration, Instant};

use anyhow::Result;
use tch::Device;

use super::models::{Models, Opened};
use super::recipe::Planned;
use super::texts::{Measured, UNLABELLED, of};
use super::{Findings, some_rows};
use crate::arch::{Model, ModelConfig, Params, count_parameters, flops, parameter_layout};
use crate::data::Batch;
use crate::objective::Pupil;
use crate::pipeline::PreparedData;
use crate::recipe::{Recipe, TeacherSource};
use crate::train::TrainOptions;

/// Steps that are timed at most, after one that is not, and for how long.
const STEPS: usize = 3;
const LIMIT: Duration = Duration::from_secs(2);
/// Arithmetic of a timed step, forward and backward, in floating-point operations: about a second of a small machine.
/// A step of a large model is timed on fewer rows.
const STEP: u128 = 50_000_000_000;

pub(super) fn check(
    recipe: &Recipe,
    data: &PreparedData,
    models: &Models,
    texts: &[Measured],
    planned: Option<Planned>,
    device: Device,
    findings: &mut Findings,
) {
    let (Some(origin), Some(Planned { config, params })) = (models.origin(), planned) else { return };
    let parameters = count_parameters(&config, origin.info.head);
    findings.fact(format!(
        "student: {}, {} layers x {}, {} parameters",
        config.family.name(),
        config.blocks().len(),
        config.hidden_size,
        parameters.total
    ));
    let sets = of(texts, origin).map_or(&[][..], |measured| &measured.sets);
    let Some(train) = sets.first() else { return };
    let (tokens, rows) = (train.seen.iter().sum::<usize>(), data.split.train.len());
    let mut size = |what: &str, options: &TrainOptions| {
        let step = options.batch_size * options.accumulate;
        if options.batch_tokens.is_none() && step > rows {
            findings.warning(format!(
                "{what}: a step of {step} rows (batch_size times accumulate) is more than the {rows} training rows"
            ));
        }
    };
    size("student.train", &recipe.student.train);
    let trains_teacher = recipe.teacher.source == TeacherSource::Finetune;
    if trains_teacher {
        size("teacher.train", &recipe.teacher.train);
    }
    let mut times = Vec::new();
    if trains_teacher
        && let Some(teacher) = models.teachers.first()
        && let Some(params) = &teacher.params
        && let Ok(Some(rate)) = tokens_per_second(recipe, data, teacher, &teacher.config, params, &recipe.teacher.train)
    {
        times.push(format!("{} for the teacher", duration(tokens as f64 / rate)));
    }
    let params = params.unwrap_or_else(|| Params::initialise(&parameter_layout(&config, origin.info.head), device));
    if let Ok(Some(rate)) = tokens_per_second(recipe, data, origin, &config, &params, &recipe.student.train) {
        times.push(format!("{} for the student on its labels", duration(tokens as f64 / rate)));
    }
    let measured = match times.is_empty() {
        true => String::new(),
        false => {
            format!(", about {} here (by a few steps forward and back, without the optimizer)", times.join(" and "))
        }
    };
    findings.fact(format!("an epoch of the training rows: {tokens} tokens{measured}"));
    if let Some(set) = sets.iter().find(|set| set.name == UNLABELLED) {
        let more: usize = set.seen.iter().sum();
        findings.fact(format!("an epoch of them and the texts without labels: {} tokens", tokens + more));
    }
}

/// How many tokens a model learns from in a second; `None` where nothing could be timed. The weights' gradients are
/// switched on.
fn tokens_per_second(
    recipe: &Recipe,
    data: &PreparedData,
    from: &Opened,
    config: &ModelConfig,
    params: &Params,
    options: &TrainOptions,
) -> Result<Option<f64>> {
    let Some(encoder) = &from.encoder else { return Ok(None) };
    if recipe.max_tokens > config.max_positions() {
        return Ok(None);
    }
    let some = some_rows(&data.split.train, options.batch_size * (STEPS + 1));
    let mut examples = some.encode(data.goal, encoder, &data.labels, recipe.stride)?.examples;
    // As a batch of like lengths is.
    examples.sort_by_key(|example| example.ids.len());
    let longest = examples.last().map_or(1, |example| example.ids.len().max(example.partner.len()));
    let most = (STEP / (3 * flops(config, longest)).max(1)) as usize;
    let batch_size = options.batch_tokens.map_or(options.batch_size, |tokens| tokens / longest);
    let rows = batch_size.min(most).clamp(1, examples.len().max(1));
    params.set_requires_grad(true);
    let model = Model::new(params, config, from.info.head);
    let pupil = Pupil { model: &model, goal: data.goal, labels: &data.labels, types: config.token_types > 1 };
    let (mut tokens, mut timed, mut started) = (0, 0.0, Instant::now());
    for step in 0..=STEPS {
        // From all over the lengths.
        let first = (examples.len() - rows) * (2 * step + 1) / (2 * STEPS + 2);
        let batch = Batch::new(&examples, (first..first + rows).collect(), config.pad_id, params.device());
        let loss = pupil.loss(&batch);
        loss.f_backward()?;
        // Waits for the device.
        let _ = loss.double_value(&[]);
        if step == 0 {
            started = Instant::now();
            continue;
        }
        tokens += batch.tokens;
        timed = started.elapsed().as_secs_f64();
        if started.elapsed() > LIMIT {
            break;
        }
    }
    params.set_requires_grad(false);
    Ok((timed > 0.0 && tokens > 0).then(|| tokens as f64 / timed))
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{:.0} s", s.max(1.0)),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
