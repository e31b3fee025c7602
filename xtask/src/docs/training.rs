//! The tables of `docs/training-speed.md`, as Markdown.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::tables::Machine;

#[derive(Deserialize)]
pub(super) struct Training {
    date: String,
    commit: String,
    machine: Machine,
    versions: Versions,
    gpu: Option<String>,
    device: String,
    threads: usize,
    dropout: f64,
    precision: String,
    rounds: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Versions {
    limbeck: String,
    torch: Option<String>,
    transformers: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    batch: usize,
    loss_difference: Option<f64>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    engine: String,
    teacher: String,
    batches: String,
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    tokens_per_second: f64,
    tokens_per_step: f64,
    steps: usize,
    padding: f64,
    peak_mb: Option<f64>,
    resident_mb: Option<f64>,
    joules_per_token: Option<f64>,
    processor_seconds_per_token: Option<f64>,
    cache_seconds: Option<f64>,
    cache_bytes: Option<u64>,
    load: Option<f64>,
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

impl Run {
    fn median(&self, value: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(value).collect())
    }

    fn speed(&self) -> f64 {
        self.median(|round| Some(round.tokens_per_second)).unwrap_or(0.0)
    }

    /// Processor time of a token, in seconds.
    fn processor(&self) -> Option<f64> {
        self.median(|round| round.processor_seconds_per_token)
    }

    fn is_peer(&self) -> bool {
        self.engine != "limbeck"
    }
}

impl Case {
    /// The run on batches of like lengths, which are the same on both sides.
    fn find(&self, is_peer: bool, teacher: &str) -> Option<&Run> {
        let of_like_lengths = |run: &&Run| run.batches == "like lengths";
        self.runs.iter().filter(of_like_lengths).find(|run| run.is_peer() == is_peer && run.teacher == teacher)
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Both engines side by side.
pub(super) fn engines_table(training: &Training) -> String {
    let mut out = String::from(
        "| distillation | engine | teacher | batches | padding | tokens a second (least to most) | to PyTorch, same batches | \
         processor time for 1000 tokens | to PyTorch | memory at most | of it for training |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for case in training.cases.iter().filter(|case| case.runs.iter().any(Run::is_peer)) {
        let peer = case.find(true, "in each step").map(Run::speed);
        for run in &case.runs {
            let speeds = || run.rounds.iter().map(|round| round.tokens_per_second);
            let (least, most) = (speeds().fold(f64::MAX, f64::min), speeds().fold(0.0, f64::max));
            let growth = run.median(|round| Some(round.peak_mb? - round.resident_mb?));
            let peer_processor = case.find(true, "in each step").and_then(Run::processor);
            out += &format!(
                "| {} | {} | {} | {} | {:.1}% | {:.0} ({least:.0} to {most:.0}) | {} | {} s | {} | {} MB | {} MB |\n",
                case.name,
                run.engine,
                run.teacher,
                run.batches,
                run.median(|round| Some(round.padding)).unwrap_or(0.0) * 100.0,
                run.speed(),
                number(peer.map(|peer| run.speed() / peer), 2),
                number(run.processor().map(|seconds| seconds * 1e3), 2),
                number(run.processor().zip(peer_processor).map(|(own, peer)| peer / own), 2),
                number(run.median(|round| round.peak_mb), 0),
                number(growth, 0),
            );
        }
    }
    let energy =
        training.cases.iter().flat_map(|case| &case.runs).any(|run| run.median(|r| r.joules_per_token).is_some());
    let differences = training.cases.iter().filter_map(|case| case.loss_difference);
    let sizes: Vec<String> = training
        .cases
        .iter()
        .filter_map(|case| {
            let round = case.runs.first()?.rounds.first()?;
            Some(format!(
                "{}: {} steps of {} texts, {:.0} tokens a step",
                case.name, round.steps, case.batch, round.tokens_per_step
            ))
        })
        .collect();
    out += &format!(
        "\nLosses without dropout on the same batches agree within {:.0e}. {}. Energy: {}.\n\n{}",
        differences.fold(0.0, f64::max),
        sizes.join("; "),
        if energy { "see the result file" } else { "not readable on this machine (no RAPL)" },
        training.circumstances(),
    );
    out
}

/// Both engines on a GPU, with small batches and with large ones.
pub(super) fn gpu_table(trainings: &[Training]) -> String {
    let mut out = String::from(
        "| distillation | texts a step | tokens a step | engine | teacher | batches | padding | a step | tokens a second | \
         to PyTorch, same batches | energy of a million tokens | processor time of a million tokens |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for case in trainings.iter().flat_map(|training| &training.cases) {
        let peer = case.find(true, "in each step").map(Run::speed);
        for run in &case.runs {
            let tokens = run.median(|round| Some(round.tokens_per_step)).unwrap_or(0.0);
            out += &format!(
                "| {} | {} | {tokens:.0} | {} | {} | {} | {:.1}% | {:.1} ms | {:.0} | {} | {} kJ | {} s |\n",
                case.name,
                case.batch,
                run.engine,
                run.teacher,
                run.batches,
                run.median(|round| Some(round.padding)).unwrap_or(0.0) * 100.0,
                tokens / run.speed() * 1e3,
                run.speed(),
                number(peer.map(|peer| run.speed() / peer), 2),
                number(run.median(|round| round.joules_per_token).map(|joules| joules * 1e3), 2),
                number(run.processor().map(|seconds| seconds * 1e6), 1),
            );
        }
    }
    let differences = trainings.iter().flat_map(|training| &training.cases).filter_map(|case| case.loss_difference);
    out += &format!(
        "\nLosses without dropout on the same batches agree within {:.0e}. Teacher and student in bf16 on both sides.\n\n",
        differences.fold(0.0, f64::max)
    );
    // Each size of batches in a run of its own, on a machine of its own.
    let runs = trainings.iter().map(|training| {
        let sizes: Vec<String> =
            training.cases.iter().map(|case| case.batch.to_string()).collect::<BTreeSet<_>>().into_iter().collect();
        format!("{} texts a step: {}", sizes.join(" and "), training.circumstances())
    });
    out + &runs.collect::<Vec<_>>().join("\n")
}

/// What the cache saves.
pub(super) fn cache_table(training: &Training) -> String {
    let mut out = String::from(
        "| distillation | teacher in each step | from the cache | an epoch is faster by | of processor time | filling it | again at the next start | size a token |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for case in &training.cases {
        let (Some(live), Some(cached)) = (case.find(false, "in each step"), case.find(false, "cached")) else {
            continue;
        };
        let seconds: Vec<Option<f64>> = cached.rounds.iter().map(|round| round.cache_seconds).collect();
        let (first, later) = seconds
            .split_first()
            .map_or((None, None), |(first, rest)| (*first, median(rest.iter().flatten().copied().collect())));
        // All steps of an epoch, the warming ones too, fill the cache.
        let tokens = cached.rounds.first().map_or(0.0, |round| round.tokens_per_step * (round.steps + 4) as f64);
        let bytes = cached.rounds.first().and_then(|round| round.cache_bytes);
        out += &format!(
            "| {} | {:.0} tokens/s | {:.0} tokens/s | {:.2}x | {}x | {} s | {} s | {} kB |\n",
            case.name,
            live.speed(),
            cached.speed(),
            cached.speed() / live.speed(),
            number(live.processor().zip(cached.processor()).map(|(live, cached)| live / cached), 2),
            number(first, 1),
            number(later, 1),
            number(bytes.map(|bytes| bytes as f64 / tokens / 1e3), 1),
        );
    }
    out + "\n" + &training.circumstances()
}

impl Training {
    fn circumstances(&self) -> String {
        let loads =
            || self.cases.iter().flat_map(|case| &case.runs).flat_map(|run| &run.rounds).filter_map(|round| round.load);
        let name = |version: &Option<String>| version.clone().unwrap_or_else(|| "-".to_owned());
        format!(
            "{}, {}, {} threads, {}, dropout {} on both sides. {}, {} ({} cores), {}, load {:.1} to {:.1}; limbeck {} at {}, \
             torch {}, transformers {}.\n",
            if self.rounds == 1 {
                "One round".to_owned()
            } else {
                format!("Medians of {} rounds in turns", self.rounds)
            },
            self.gpu.as_ref().unwrap_or(&self.device),
            self.threads,
            self.precision,
            self.dropout,
            self.date,
            self.machine.cpu,
            self.machine.cores,
            self.machine.os,
            loads().fold(f64::MAX, f64::min),
            loads().fold(0.0, f64::max),
            self.versions.limbeck,
            self.commit,
            name(&self.versions.torch),
            name(&self.versions.transformers),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_on_the_same_batches() {
        let run = |engine: &str, teacher: &str, batches: &str, speeds: &[f64]| {
            let rounds: Vec<serde_json::Value> = speeds
                .iter()
                .map(|speed| {
                    serde_json::json!({
                        "tokens_per_second": speed, "tokens_per_step": 100.0, "steps": 6, "padding": 0.25,
                        "peak_mb": 900.0, "resident_mb": 400.0, "processor_seconds_per_token": 1.0 / speed,
                        "cache_seconds": 2.0, "cache_bytes": 5000,
                    })
                })
                .collect();
            serde_json::json!({"engine": engine, "teacher": teacher, "batches": batches, "rounds": rounds})
        };
        let training: Training = serde_json::from_value(serde_json::json!({
            "date": "d", "commit": "c", "machine": {"cpu": "x", "cores": 2, "os": "o"}, "versions": {"limbeck": "1"},
            "device": "cpu", "threads": 2, "dropout": 0.1, "precision": "fp32", "rounds": 3,
            "cases": [{"name": "n", "batch": 8, "loss_difference": 1e-7, "runs": [
                run("limbeck", "in each step", "like lengths", &[300.0, 100.0, 240.0]),
                run("P", "in each step", "like lengths", &[200.0, 190.0, 900.0]),
                run("limbeck", "cached", "like lengths", &[480.0, 500.0, 10.0]),
                run("P", "in each step", "shuffled", &[50.0, 40.0, 60.0]),
            ]}],
        }))
        .unwrap();
        let table = engines_table(&training);
        let row = "| n | limbeck | in each step | like lengths | 25.0% | 240 (100 to 300) | 1.20 | 4.17 s | 1.20 | 900 MB | 500 MB |";
        assert!(table.contains(row), "{table}");
        assert!(table.contains("| shuffled | 25.0% | 50 (40 to 60) | 0.25 |"), "{table}");
        let row =
            "| n | 8 | 100 | limbeck | in each step | like lengths | 25.0% | 416.7 ms | 240 | 1.20 | - kJ | 4166.7 s |";
        let table = gpu_table(std::slice::from_ref(&training));
        assert!(table.contains(row), "{table}");
        let row = "| n | 240 tokens/s | 480 tokens/s | 2.00x | 2.00x | 2.0 s | 2.0 s | 0.0 kB |";
        assert!(cache_table(&training).contains(row), "{}", cache_table(&training));
    }
}
