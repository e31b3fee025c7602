//! The fastest of a model's equal graphs, by measurement on the machine at hand.

mod classes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use limbeck::Model;
use serde::{Deserialize, Serialize};

use crate::graph::{Form, Operators, Part};
use crate::measure::{Machine, Versions, call, machine, milliseconds, one_session, quantile, text_of_tokens, versions};
use crate::pack::{PackOptions, draft, graph_of};
use crate::progress::Reporter;

pub use classes::ClassChoice;

/// A form is taken if the time falls below this share of what it was; less is taken for noise.
const WORTH: f64 = 0.98;
/// Times that all parts are tried, the later ones with what the earlier ones took.
const PASSES: usize = 2;
/// Calls of a turn, however short a turn is.
const LEAST_CALLS: usize = 3;

/// What is measured.
#[derive(Clone, Debug)]
pub struct TuneOptions {
    /// Lengths in tokens, special tokens included; those beyond the model's maximum are left out.
    pub lengths: Vec<usize>,
    /// Numbers of threads inside an operator.
    pub threads: Vec<usize>,
    /// Turns of each graph for each length, number of threads and order of opening.
    pub rounds: usize,
    /// How long a turn is.
    pub turn: Duration,
    /// Where ONNX Runtime is.
    pub runtime: Option<PathBuf>,
}

/// One number of threads and one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialCase {
    /// Threads inside an operator.
    pub threads: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// Milliseconds a call of the graph so far, median of the turns' medians, mean of both orders of opening.
    pub before_ms: f64,
    /// Of the graph that was tried.
    pub tried_ms: f64,
    /// Tried over before: the median of the turns' ratios, geometric mean of both orders of opening.
    pub ratio: f64,
}

/// A form of a part that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was changed.
    pub part: Part,
    /// Into what.
    pub form: Form,
    /// By threads and length.
    pub cases: Vec<TrialCase>,
    /// Geometric mean of the cases' ratios.
    pub ratio: f64,
    /// Whether it is faster, and so was kept.
    pub taken: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Where.
    pub machine: Machine,
    /// With what.
    pub versions: Versions,
    /// In the order of the trials.
    pub trials: Vec<Trial>,
    /// What is fastest here, over all lengths and numbers of threads.
    pub operators: Operators,
    /// What would be for each of them alone, estimated from the trials.
    pub classes: Vec<ClassChoice>,
}

impl Tuning {
    /// A line a trial, and what was chosen.
    pub fn table(&self) -> String {
        let mut text = format!("{}, times of what was tried over those of the graph so far:\n", self.machine.cpu);
        for trial in &self.trials {
            let cases = trial.cases.iter().map(|case| {
                format!(
                    "{} tokens, {} thread(s): {:.2} ({:.2} ms)",
                    case.tokens, case.threads, case.ratio, case.tried_ms
                )
            });
            let taken = if trial.taken { "taken" } else { "not taken" };
            let change = format!("{} {}", trial.part, trial.form);
            text +=
                &format!("  {change:<20} {:.3}  {taken:<9}  {}\n", trial.ratio, cases.collect::<Vec<_>>().join("; "));
        }
        text + &format!("Chosen: {}\n{}", self.operators, classes::in_words(&self.classes))
    }
}

/// Tries the other form of each part of the graph against the graph so far, in turns, text in to answer out through the sdk,
/// and keeps what is faster over all lengths and numbers of threads.
///
/// # Errors
/// A folder that cannot be packed; a model that writes text; no length that fits, or of which no text can be made.
pub fn tune(folder: &Path, pack: &PackOptions, options: &TuneOptions, reporter: &Reporter) -> Result<Tuning> {
    ensure!(
        options.rounds > 0 && !options.threads.is_empty() && !options.threads.contains(&0),
        "tuning needs a turn and a number of threads of at least 1"
    );
    ensure!(
        !graph_of(folder, pack)?.1.cache,
        "--tune times models that read texts, and this one writes text: leave --tune out"
    );
    let mut operators = pack.operators;
    let mut so_far = bundle(folder, pack, operators)?;
    let mut trials: Vec<Trial> = Vec::new();
    // Graphs that were compared with the one that differs in this part.
    let mut compared: Vec<(Operators, Part)> = Vec::new();
    let bar = reporter.bar("tuning", (PASSES * Part::ALL.len()) as u64, 0);
    for pass in 0..PASSES {
        for (number, part) in Part::ALL.into_iter().enumerate() {
            let candidate = operators.with_other(part);
            if !compared.contains(&(operators, part)) {
                compared.extend([(operators, part), (candidate, part)]);
                let bytes = bundle(folder, pack, candidate)?;
                // The same graph: the model has no such part.
                if bytes != so_far {
                    let cases = compare(&so_far, &bytes, options)?;
                    let ratio = (cases.iter().map(|case| case.ratio.ln()).sum::<f64>() / cases.len() as f64).exp();
                    let taken = ratio < WORTH;
                    trials.push(Trial { part, form: candidate.of(part), cases, ratio, taken });
                    if taken {
                        (operators, so_far) = (candidate, bytes);
                    }
                }
            }
            bar.advance((pass * Part::ALL.len() + number + 1) as u64, &part.to_string());
        }
    }
    bar.finish();
    let classes = classes::of_classes(&trials, operators);
    Ok(Tuning { machine: machine(), versions: versions(), trials, operators, classes })
}

fn bundle(folder: &Path, pack: &PackOptions, operators: Operators) -> Result<Vec<u8>> {
    draft(folder, &PackOptions { operators, ..pack.clone() })?.to_bytes()
}

/// Milliseconds of calls for as long as a turn, the median.
fn turn(model: &Model, text: &str, length: Duration) -> Result<f64> {
    let started = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < LEAST_CALLS || started.elapsed() < length {
        let call_started = Instant::now();
        call(model, &[text])?;
        samples.push(milliseconds(call_started.elapsed()));
    }
    Ok(median(samples))
}

/// Of at least one.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    quantile(&of, 0.5)
}

/// Each pair of models is measured as opened in either order: where a model's memory lies, by what was opened before it, moves
/// its times by some percent.
fn compare(before: &[u8], tried: &[u8], options: &TuneOptions) -> Result<Vec<TrialCase>> {
    let mut cases: Vec<TrialCase> = Vec::new();
    for &threads in &options.threads {
        let open = |bytes: &[u8]| {
            let model = one_session(threads, options.runtime.as_deref()).open_bytes(bytes.to_vec())?;
            model.self_test().context("a graph that was tried does not give the model's outputs")?;
            Ok::<_, anyhow::Error>(model)
        };
        let [one, other] = [[before, tried], [tried, before]].map(|[first, second]| {
            let models = (open(first)?, open(second)?);
            in_turns(&models.0, &models.1, options)
        });
        for (one, other) in one?.into_iter().zip(other?) {
            cases.push(TrialCase {
                threads,
                tokens: one.tokens,
                before_ms: (one.first_ms + other.second_ms) / 2.0,
                tried_ms: (one.second_ms + other.first_ms) / 2.0,
                ratio: (one.ratio / other.ratio).sqrt(),
            });
        }
    }
    Ok(cases)
}

/// Two models at one length.
struct Turns {
    tokens: usize,
    first_ms: f64,
    second_ms: f64,
    /// Second over first.
    ratio: f64,
}

fn in_turns(first: &Model, second: &Model, options: &TuneOptions) -> Result<Vec<Turns>> {
    let longest = first.bundle().manifest().max_tokens;
    let lengths: Vec<usize> = options.lengths.iter().copied().filter(|&length| length <= longest).collect();
    ensure!(!lengths.is_empty(), "no length to measure: the model takes at most {longest} tokens");
    let at = |tokens: usize| {
        let text = text_of_tokens(first, tokens, "leave it out of --tune-lengths")?;
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=options.rounds {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let ms = turn([first, second][which], &text, options.turn)?;
                // The first round warms up.
                if round > 0 {
                    times[which].push(ms);
                }
            }
        }
        let ratio = median(times[1].iter().zip(&times[0]).map(|(second, first)| second / first).collect());
        let [first_ms, second_ms] = times.map(median);
        Ok(Turns { tokens, first_ms, second_ms, ratio })
    };
    lengths.into_iter().map(at).collect()
}
