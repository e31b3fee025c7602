//! Zero-, one- and few-shot: how well a bundle that writes text completes prompts, by the number of examples in them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use limbeck::{ChooseOptions, ContextPolicy, GenerateOptions, Model, Prompt};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::wilson_interval;
use crate::data::Completion;
use crate::progress::Reporter;

/// How prompts are put together and scored.
#[derive(Clone, Debug)]
pub struct ShotOptions {
    /// Numbers of examples.
    pub shots: Vec<usize>,
    /// Stands first in every prompt.
    pub instruction: String,
    /// Stands between instruction, examples and query.
    pub separator: String,
    /// How choices are compared.
    pub choosing: ChooseOptions,
    /// Chooses the examples.
    pub seed: u64,
}

/// How many prompts were completed right.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShotScore {
    /// Examples asked for in each prompt.
    pub shots: usize,
    /// Prompts.
    pub prompts: usize,
    /// Of those, completed right: the best choice is the right one, or what is written up to the end of the line is,
    /// but for white space around it.
    pub right: usize,
    /// The share of those, 0 to 1.
    pub accuracy: f64,
    /// Lower end of its 95% Wilson interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Examples that did not fit into the context, over all prompts.
    pub examples_dropped: usize,
}

/// Scores by task and number of examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShotQuality {
    /// By task, in the order of `shots`.
    pub tasks: BTreeMap<String, Vec<ShotScore>>,
    /// Of all prompts together, in the order of `shots`.
    pub all: Vec<ShotScore>,
}

/// Completes each of `rows` with so many examples of its task as `options.shots` says, drawn at random from `examples` for
/// each prompt anew, none with the same context (Brown 2020, section 2.4). The same examples are drawn whatever the
/// number: the first of eight is the one of one.
///
/// # Errors
/// Before anything is computed: a completion of several lines that is to be written, a task with fewer examples than are
/// to be drawn; those of the sdk.
pub fn shot_quality(
    model: &Model,
    rows: &[Completion],
    examples: &[Completion],
    options: &ShotOptions,
    reporter: &Reporter,
) -> Result<ShotQuality> {
    for row in rows {
        ensure!(
            !row.choices.is_empty() || !row.completion.trim().contains('\n'),
            "what is written counts up to the end of its line, and the completion {:?} has several; give \"choices\"",
            row.completion
        );
    }
    let most = options.shots.iter().copied().max().unwrap_or(0);
    let mut by_task: BTreeMap<&str, Vec<&Completion>> = BTreeMap::new();
    examples.iter().for_each(|example| by_task.entry(&example.task).or_default().push(example));
    let empty = || vec![ShotScore::default(); options.shots.len()];
    let mut tasks: BTreeMap<String, Vec<ShotScore>> = BTreeMap::new();
    let bar = reporter.bar("prompts", (rows.len() * options.shots.len()) as u64, 0);
    // All of them first: what cannot be drawn is told before an hour is lost.
    let drawn_for = |(index, row): (usize, &Completion)| match most {
        0 => Ok(vec![]),
        _ => draw(row, by_task.get(row.task.as_str()).map_or(&[], Vec::as_slice), most, options.seed, index),
    };
    let drawn = rows.iter().enumerate().map(drawn_for).collect::<Result<Vec<_>>>()?;
    for (index, (row, drawn)) in rows.iter().zip(&drawn).enumerate() {
        let scores = tasks.entry(row.task.clone()).or_insert_with(empty);
        for (place, &shots) in options.shots.iter().enumerate() {
            let mut prompt = Prompt::new(&row.context).instruction(&options.instruction).separator(&options.separator);
            for example in &drawn[..shots] {
                prompt = prompt.example(&example.context, &example.completion);
            }
            let (right, dropped) = complete(model, &prompt, row, &options.choosing)
                .with_context(|| format!("prompt {}, {:?}", index + 1, row.context))?;
            scores[place].prompts += 1;
            scores[place].right += usize::from(right);
            scores[place].examples_dropped += dropped;
            bar.advance((index * options.shots.len() + place) as u64 + 1, "completing");
        }
    }
    bar.finish();
    let mut all = empty();
    for scores in tasks.values_mut() {
        for ((score, sum), &shots) in scores.iter_mut().zip(&mut all).zip(&options.shots) {
            sum.prompts += score.prompts;
            sum.right += score.right;
            sum.examples_dropped += score.examples_dropped;
            [score, sum].into_iter().for_each(|score| finish(score, shots));
        }
    }
    Ok(ShotQuality { tasks, all })
}

fn finish(score: &mut ShotScore, shots: usize) {
    score.shots = shots;
    score.accuracy = score.right as f64 / score.prompts.max(1) as f64;
    (score.low, score.high) = wilson_interval(score.right, score.prompts);
}

fn draw<'e>(
    row: &Completion,
    examples: &[&'e Completion],
    count: usize,
    seed: u64,
    index: usize,
) -> Result<Vec<&'e Completion>> {
    let others: Vec<&Completion> = examples.iter().copied().filter(|example| example.context != row.context).collect();
    let of = if row.task.is_empty() { String::new() } else { format!(" of the task {:?}", row.task) };
    ensure!(
        others.len() >= count,
        "{count} examples are to be drawn{of}, and there are {} with another context than {:?}",
        others.len(),
        row.context
    );
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index as u64);
    // The same order whatever the count, so that the first of eight is the one of one.
    let order = sample(&mut rng, others.len(), others.len());
    Ok(order.into_iter().take(count).map(|place| others[place]).collect())
}

/// Whether a prompt is completed right, and how many of its examples did not fit.
fn complete(model: &Model, prompt: &Prompt, row: &Completion, choosing: &ChooseOptions) -> Result<(bool, usize)> {
    if !row.choices.is_empty() {
        let choices: Vec<&str> = row.choices.iter().map(String::as_str).collect();
        let chosen = model.prompt(prompt).choose_with(&choices, choosing)?;
        return Ok((row.choices[chosen.choices[0].index] == row.completion, chosen.usage.examples_dropped));
    }
    // White space before the completion and a line end after it may be tokens of their own.
    let room = model.tokenize(&row.completion)?.ids.len() + 4;
    let options = GenerateOptions::default().max_new_tokens(room).context(ContextPolicy::Error);
    let prompted = model.prompt(prompt);
    let mut writing = prompted.generate(&options)?;
    let mut text = String::new();
    for piece in writing.by_ref() {
        text += &piece?.text;
        // The line has ended.
        if text.trim_start().contains('\n') {
            break;
        }
    }
    let written = writing.stop();
    Ok((is_written(&written.text, &row.completion), written.examples_dropped))
}

/// Whether a text's first line is a completion, but for white space around both.
fn is_written(text: &str, completion: &str) -> bool {
    text.trim_start().lines().next().unwrap_or("").trim_end() == completion.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(context: &str, task: &str) -> Completion {
        Completion { context: context.into(), completion: " x".into(), choices: vec![], task: task.into() }
    }

    #[test]
    fn what_is_written_counts_up_to_the_end_of_its_line() {
        for (text, right) in [
            (" 143\n\nQ:", true),
            ("143", true),
            ("\n143 \n", true),
            (" 1434", false),
            (" 143 apples", false),
            (" 14\n3", false),
            ("", false),
        ] {
            assert_eq!(is_written(text, " 143"), right, "{text:?}");
        }
    }

    #[test]
    fn examples_are_drawn_anew_for_each_prompt_and_never_the_prompt_itself() {
        let pool: Vec<Completion> = (0..9).map(|n| row(&n.to_string(), "t")).collect();
        let refs: Vec<&Completion> = pool.iter().collect();
        let draw = |seed, index| super::draw(&pool[4], &refs, 8, seed, index).unwrap();
        let first = super::draw(&pool[4], &refs, 1, 0, 3).unwrap();
        assert_eq!(first[0], draw(0, 3)[0], "the first of eight is the one of one");
        let mut all: Vec<&str> = draw(0, 0).iter().map(|example| example.context.as_str()).collect();
        assert_ne!(draw(0, 0), draw(0, 1));
        assert_ne!(draw(0, 0), draw(1, 0));
        assert_eq!(draw(0, 0), draw(0, 0));
        all.sort_unstable();
        assert_eq!(all, ["0", "1", "2", "3", "5", "6", "7", "8"]);
        let error = super::draw(&pool[4], &refs, 9, 0, 0).unwrap_err().to_string();
        assert!(error.contains("9 examples") && error.contains("\"t\"") && error.contains("there are 8"), "{error}");
    }
}
