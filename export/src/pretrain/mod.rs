//! Pretraining of language models on plain text: BERT's, ALBERT's, ELECTRA's and GPT-2's objectives.

mod cost;
mod evaluate;
mod held_out;
mod learner;
mod model;
mod pretrained;
mod recipe;
mod teacher;
mod text;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tch::Device;

use crate::arch::{Head, ModelConfig, count_parameters};
use crate::checkpoint::{self, HeadInfo};
use crate::data::pretrain::{SentenceTask, continues_word, end_of_text};
use crate::data::{EncodedExample, Encoder, Masker, Masking};
use crate::files;
use crate::measure::{machine, today};
use crate::pack::mask_id;
use crate::progress::Reporter;
use crate::train::{
    Alone, Group, Precision, Stage, TrainOptions, discard_checkpoint, refuse_another_run, seen_lengths, train,
};

pub use cost::Cost;
pub use evaluate::{EvaluateOn, EvaluateOptions, Evaluated, evaluate};
pub use held_out::HeldOut;
pub use pretrained::{Distilled, Pretrained};
pub use recipe::{ModelRecipe, Objective, ObjectiveKind, PretrainData, PretrainRecipe};
pub use teacher::TeacherRecipe;

use learner::Learner;
use model::{GENERATOR_FOLDER, Start};
use teacher::Teacher;
use text::{Shape, Text};

/// What `limbeck pretrain` is told.
#[derive(Clone, Debug)]
pub struct PretrainOptions {
    /// What decides the result.
    pub recipe: PretrainRecipe,
    /// Where the recipe's files lie.
    pub folder: PathBuf,
    /// Folder of the result.
    pub out: PathBuf,
    /// Where training runs.
    pub device: Device,
    /// At most this long between training checkpoints.
    pub checkpoint_every: Duration,
}

const RESULT: &str = "pretrain.json";
/// Folder of a student's control, a model of its own.
const CONTROL_FOLDER: &str = "control";
/// Files of a tokenizer's folder that transformers reads.
const TOKENIZER_FILES: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// Trains and writes a model folder. A run that was stopped goes on where it was; one that is done is not done again.
///
/// # Errors
/// Files, text or settings that cannot be used, by name; a loss that is not finite.
pub fn pretrain(options: &PretrainOptions, reporter: &Reporter) -> Result<Pretrained> {
    pretrain_together(options, &Alone, reporter)
}

/// [`pretrain`] in several processes that share `options.out` and the work of each step; the first one writes.
///
/// # Errors
/// As [`pretrain`]. A process that fails must end, so that those who wait for it are ended.
pub fn pretrain_together(options: &PretrainOptions, group: &dyn Group, reporter: &Reporter) -> Result<Pretrained> {
    run(options, "pretrain", group, reporter)
}

/// Steps that are so many times too long are worth a word.
const LONG_STEP: f64 = 1.5;

fn trains_control(recipe: &PretrainRecipe) -> bool {
    recipe.teacher.as_ref().is_some_and(|teacher| teacher.control)
}

/// The control of a student, by a run of its own: what it decides is a recipe, and done is done.
fn control(options: &PretrainOptions, group: &dyn Group, reporter: &Reporter) -> Result<Option<Pretrained>> {
    let Some(teacher) = options.recipe.teacher.as_ref().filter(|_| trains_control(&options.recipe)) else {
        return Ok(None);
    };
    reporter.note("Control: the same student without the teacher");
    let recipe = PretrainRecipe { teacher: Some(teacher.of_control()), ..options.recipe.clone() };
    let own = PretrainOptions { recipe, out: options.out.join(CONTROL_FOLDER), ..options.clone() };
    run(&own, CONTROL_FOLDER, group, reporter).context("the control").map(Some)
}

/// `name` is the stage's, in messages.
fn run(options: &PretrainOptions, name: &'static str, group: &dyn Group, reporter: &Reporter) -> Result<Pretrained> {
    let started = Instant::now();
    let leads = group.rank() == 0;
    let PretrainOptions { recipe, folder, out, device, .. } = options;
    recipe.check()?;
    let objective = &recipe.objective;
    let tokenizer = model::tokenizer_path(recipe, folder)?;
    let encoder = Encoder::new(&tokenizer, recipe.max_tokens, usize::MAX)?;
    let config = model::shape(recipe, folder, &encoder)?;
    let masking = objective.masking(config.family)?;
    // Again with the vocabulary that the model has.
    let encoder = Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?;
    Teacher::check(recipe, folder, &config, &encoder)?;
    not_over_its_own_source(recipe, folder, out)?;
    let text = Text::read(recipe, folder)?;
    let identity = identity(recipe, folder, &tokenizer, &text.sha256, masking)?;
    let _lock = leads.then(|| files::lock_folder(out)).transpose()?;
    let result = out.join(RESULT);
    if result.is_file() {
        let done: Pretrained = files::read_json(&result)?;
        ensure!(
            done.identity == identity,
            "{} holds another model, made with other text or settings; give another --out, or remove it",
            out.display()
        );
        reporter.note(&format!("Done before: {}", out.display()));
        return Ok(done);
    }
    if leads {
        reporter.log_to(&out.join("train.log"))?;
    }
    let before = Instant::now();
    // A control reads the text for itself, and trains without this one in memory.
    let sha256 = text.sha256.clone();
    let kept = if trains_control(recipe) { None } else { Some(text) };
    let control = control(options, group, reporter)?;
    // It has a file of its own with its time.
    let of_control = before.elapsed();
    let text = kept.map_or_else(|| Text::read(recipe, folder), Ok)?;
    ensure!(
        text.sha256 == sha256,
        "the text was changed while the control was trained; put it back, or begin with another --out"
    );
    let shape = Shape {
        kind: objective.kind,
        sentence: objective.sentence,
        max_tokens: recipe.max_tokens,
        short: objective.short_sequences,
        duplicates: objective.duplicates,
        end_of_text: recipe.data.end_of_text.as_deref(),
        seed: recipe.seed,
    };
    let (documents, held_out_documents, dropped) = (text.train.len(), text.held_out.len(), text.dropped);
    let held_out_bytes = text.held_out.iter().map(String::len).sum();
    // Texts go as soon as they are tokens.
    let held_out = Shape { duplicates: 1, ..shape }.examples(text.held_out, &encoder).context("held-out text")?;
    let examples = shape.examples(text.train, &encoder)?;
    let tokens: u64 = examples.iter().map(|example| example.ids.len() as u64).sum();
    reporter.note(&format!(
        "Text: {documents} documents, {} examples of {tokens} tokens; held out {held_out_documents} documents, {} examples; \
         {dropped} documents left out because they are held out too",
        examples.len(),
        held_out.len(),
    ));

    let teacher = Teacher::load(recipe, folder, *device)?;
    let scored_teacher = teacher.as_ref().map(|teacher| {
        let scored = (ObjectiveKind::Clm, SentenceTask::None);
        Learner::new(&teacher.as_start(), scored, 1.0, None, Precision::Fp32)?.held_out(&held_out, held_out_bytes)
    });
    let scored_teacher = scored_teacher.transpose()?;
    if let Some(scored) = &scored_teacher {
        reporter.note(&format!("Teacher: held out: {}", scored.told()));
    }

    tch::manual_seed(recipe.seed as i64);
    let start = Start::new(recipe, folder, config, teacher.as_ref(), *device)?;
    let train_options = with_budget(recipe, &start, &examples, group.size(), masking.share)?;
    let seen = seen_lengths("pretrain", &examples, &train_options, recipe.seed, group.size())?;
    let asked = teacher.as_ref().filter(|teacher| teacher.teaches()).map(|teacher| &teacher.config);
    let flops = cost::cost(objective.kind, &start.config, start.generator.as_ref(), asked, masking.share, &seen);
    let count = |config: &ModelConfig, head| count_parameters(config, head).total;
    let parameters = count(&start.config, start.head);
    let generator_parameters = start.generator.as_ref().map(|config| count(config, Head::MaskedLm));
    let begins = start.generator_start.name();
    let beside = generator_parameters.map_or(String::new(), |count| format!(", generator {count} ({begins})"));
    reporter.note(&format!("Model: {parameters} parameters{beside}; {:.3e} FLOPs by ELECTRA's counter", flops.electra));
    // About so many steps are enough to know.
    let all: u64 = match train_options.batch_tokens {
        Some(_) => seen.iter().map(|(&length, &count)| length as u64 * count).sum(),
        None => seen.values().sum(),
    };
    let micro = train_options.accumulate.saturating_mul(group.size()).max(1) as u64;
    let a_step = train_options.batch_tokens.unwrap_or(train_options.batch_size) as u64 * micro;
    let longest = train_options.longest_step(train_options.steps.unwrap_or(all.div_ceil(a_step.max(1))));
    if longest > LONG_STEP {
        reporter.note(&format!(
            "Note: without bias correction and with so short a warm-up steps are up to {longest:.1} times as long as the learning rate \
             says, from which small models may not recover: set train.optimizer.bias_correction = true, or warm up for longer"
        ));
    }
    let masker = match objective.kind {
        ObjectiveKind::Clm => None,
        _ => {
            let own = evaluate::folder_of(&tokenizer)?;
            Some(masker_for(masking, &examples, &start.config, &encoder, own)?)
        }
    };
    let scored = (objective.kind, objective.sentence);
    let learner = Learner::new(&start, scored, objective.weight(), masker.as_ref(), train_options.precision)?
        .taught_by(teacher.as_ref());
    let score = || {
        let scored = learner.held_out(&held_out, held_out_bytes)?;
        let mut event = json!(scored);
        event["stage"] = json!(name);
        reporter.event("held-out", &event);
        reporter.note(&format!("  held out: {}", scored.told()));
        Ok(-scored.loss)
    };
    let stage = Stage {
        name,
        folder: out,
        params: &start.params,
        examples: &examples,
        encoder: Some(&encoder),
        pad_id: start.config.pad_id,
        options: &train_options,
        seed: recipe.seed,
        identity: &identity,
        checkpoint_every: options.checkpoint_every,
        stop_before: None,
        group,
    };
    if leads {
        refuse_another_run(&stage)?;
        files::write_bytes(&out.join("recipe.toml"), recipe.to_toml()?.as_bytes())?;
    }
    let outcome = train(&stage, reporter, &|batch, _| learner.loss(&examples, batch), &score)?;
    if leads {
        save(&start, &tokenizer, out)?;
        if objective.kind == ObjectiveKind::Clm {
            // The token that stood between the documents: so generation ends with it.
            let end = end_of_text(&encoder, recipe.data.end_of_text.as_deref())?;
            checkpoint::name_ends_of_text(out, [u32::try_from(end).ok(); 2])?;
        }
    }
    let scored = learner.held_out(&held_out, held_out_bytes)?;
    let distilled = match (&teacher, scored_teacher) {
        (Some(teacher), Some(by)) => Some(Distilled::new(recipe, teacher, &start.config, (by, &scored, control))?),
        _ => None,
    };
    let done = Pretrained {
        schema: 1,
        identity,
        objective: Objective { masking: masker.as_ref().map(|_| masking.into()), ..objective.clone() },
        parameters,
        generator_parameters,
        documents,
        held_out_documents,
        dropped,
        examples: examples.len(),
        tokens,
        tokens_seen: seen.iter().map(|(&length, &count)| length as u64 * count).sum(),
        flops,
        held_out: scored,
        distilled,
        max_tokens: recipe.max_tokens,
        seed: recipe.seed,
        train: train_options,
        outcome,
        date: today(),
        machine: machine(),
        wall_seconds: (started.elapsed() - of_control).as_secs_f64(),
    };
    if leads {
        files::write_json(&result, &done)?;
        discard_checkpoint(out);
    }
    group.barrier()?;
    Ok(done)
}

/// The training settings, with as many steps as a budget of arithmetic allows.
fn with_budget(
    recipe: &PretrainRecipe,
    start: &Start,
    examples: &[EncodedExample],
    processes: usize,
    share: f64,
) -> Result<TrainOptions> {
    let Some(budget) = recipe.flops else { return Ok(recipe.train.clone()) };
    let once = TrainOptions { epochs: 1, steps: None, ..recipe.train.clone() };
    let seen = seen_lengths("pretrain", examples, &once, recipe.seed, processes)?;
    let epoch = cost::cost(recipe.objective.kind, &start.config, start.generator.as_ref(), None, share, &seen).electra;
    let rows = once.batch_size.saturating_mul(once.accumulate).saturating_mul(processes);
    let steps_of_epoch = if once.drop_last { examples.len() / rows } else { examples.len().div_ceil(rows) };
    let steps = budget / epoch * steps_of_epoch as f64;
    ensure!(
        (1.0..=1e9).contains(&steps),
        "flops {budget:e} is {steps:.1e} steps: it must pay for 1 at least, and for 1e9 at most"
    );
    Ok(TrainOptions { steps: Some(steps.round() as u64), ..recipe.train.clone() })
}

/// A masker for a corpus in the tokens of `encoder`, whose folder names the mask token.
fn masker_for(
    masking: Masking,
    examples: &[EncodedExample],
    config: &ModelConfig,
    encoder: &Encoder,
    folder: &Path,
) -> Result<Masker> {
    let special: Vec<i64> = encoder.special_tokens().into_iter().chain([config.pad_id as i64]).collect();
    let masker = Masker::new(masking, examples, config.vocab_size, &special, mask_id(folder)?.into())?;
    Ok(masker.with_words(continues_word(encoder, config.vocab_size)))
}

/// Writes the model, its generator beside it, and what transformers reads of a tokenizer.
fn save(start: &Start, tokenizer: &Path, out: &Path) -> Result<()> {
    let folder = evaluate::folder_of(tokenizer)?;
    let save = |out: &Path, config: &ModelConfig, head, params: &crate::arch::Params| -> Result<()> {
        for name in TOKENIZER_FILES {
            let path = folder.join(name);
            if path.is_file() {
                let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                files::write_bytes(&out.join(name), &bytes)?;
            }
        }
        checkpoint::save(out, config, &HeadInfo::new(head), params, tokenizer)
    };
    if let Some((config, params)) = start.generator.as_ref().zip(start.of_generator()) {
        save(&out.join(GENERATOR_FOLDER), config, Head::MaskedLm, &params)?;
    }
    save(out, &start.config, start.head, &start.own())
}

/// Refuses to write a model over the one that it begins with or learns from.
fn not_over_its_own_source(recipe: &PretrainRecipe, folder: &Path, out: &Path) -> Result<()> {
    let Ok(out) = out.canonicalize() else { return Ok(()) };
    let sources = [recipe.model.start.as_ref(), recipe.teacher.as_ref().map(|teacher| &teacher.model)];
    for source in sources.into_iter().flatten() {
        let own = folder.join(source).canonicalize().is_ok_and(|source| source == out);
        ensure!(
            !own,
            "{} is the model to begin with or to learn from, and would be lost; give another --out",
            out.display()
        );
    }
    Ok(())
}

/// Counts the ways in which examples were made of text: what was made another way is not taken up.
const EXAMPLES: u32 = 4;

fn identity(recipe: &PretrainRecipe, folder: &Path, tokenizer: &Path, text: &str, masking: Masking) -> Result<String> {
    let weights = |model: PathBuf| -> Result<(String, String)> {
        Ok((checkpoint::weights_sha256(&model)?, files::sha256_file(&model.join("config.json"))?))
    };
    let named = |name: Option<&String>| name.map(|name| folder.join(name));
    let start = named(recipe.model.start.as_ref());
    let generator = start.as_ref().filter(|_| recipe.objective.kind.has_generator());
    let generator = generator.map(|start| start.join(GENERATOR_FOLDER)).filter(|folder| folder.is_dir());
    let teacher = named(recipe.teacher.as_ref().map(|teacher| &teacher.model));
    // What the recipe says nothing of in masking is as this version has it.
    let parts = (recipe, EXAMPLES, masking, text, files::sha256_file(tokenizer)?, start.map(weights).transpose()?);
    // A teacher has no generator beside it.
    let parts = match teacher.or(generator).map(weights).transpose()? {
        Some(more) => serde_json::to_vec(&(parts, more))?,
        None => serde_json::to_vec(&parts)?,
    };
    Ok(files::sha256_hex(&parts))
}

#[cfg(test)]
mod tests;
