//! The tables, as Markdown.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::report::{Interval, Report};

#[derive(Deserialize)]
pub(super) struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub os: String,
}

#[derive(Deserialize)]
pub(super) struct Versions {
    limbeck: String,
    onnxruntime: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Speed {
    bundle: String,
    date: String,
    commit: String,
    machine: Machine,
    versions: Versions,
    threads: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    tokens: usize,
    batch: usize,
    p50_ms: f64,
    p90_ms: f64,
    tokens_per_second: f64,
}

/// Where and with what: the words under every table.
pub(super) fn circumstances(date: &str, commit: &str, machine: &Machine, versions: &Versions) -> String {
    let runtime = versions.onnxruntime.as_ref().map_or(String::new(), |version| format!(", ONNX Runtime {version}"));
    format!(
        "{date}, {} ({} cores), {}, limbeck {} at {commit}{runtime}",
        machine.cpu, machine.cores, machine.os, versions.limbeck
    )
}

pub(super) fn results_table(report: &Report) -> String {
    let measure = report.measure();
    let with_retention = report.models.iter().any(|model| model.retention.is_some());
    let (name, line) = if with_retention { (" retention |", "---|") } else { ("", "") };
    let mut text = format!(
        "| model | test {measure} | 95% interval |{name} parameters | file | p50, one sentence | peak memory |\n\
         |---|---|---|{line}---|---|---|---|\n",
    );
    for model in &report.models {
        let Interval { value, low, high } = model.score;
        let retention = match &model.retention {
            Some(kept) => format!(" {:.1}% |", kept.value * 100.0),
            None if with_retention => " - |".to_owned(),
            None => String::new(),
        };
        text += &format!(
            "| {} | {:.1}% | {:.1} to {:.1}% |{retention} {:.1} M | {:.1} MB | {:.2} ms | {} |\n",
            model.name,
            value * 100.0,
            low * 100.0,
            high * 100.0,
            model.parameters as f64 / 1e6,
            model.file_bytes as f64 / 1e6,
            model.latency_p50_ms,
            model.peak_memory_mb.map_or("-".to_owned(), |mb| format!("{mb:.0} MB")),
        );
    }
    let examples = report.models.first().map_or(0, |model| model.examples);
    let tokens = report.models.iter().find_map(|model| model.latency_tokens);
    let tokens = tokens.map_or(String::new(), |tokens| format!(" of {tokens} tokens"));
    let first = measure.chars().next().map_or(String::new(), |first| first.to_uppercase().collect());
    let measure: String = first.chars().chain(measure.chars().skip(1)).collect();
    let seeds = match report.seeds.len() {
        0 | 1 => String::new(),
        seeds => format!("; control and student fp32: the mean of {seeds} seeds"),
    };
    text += &format!(
        "\n{measure} on {examples} held-out sentences{seeds}; latency of one sentence{tokens}, text in to label out, on one core. {}.\n",
        circumstances(&report.date, &report.commit, &report.machine, &report.versions)
    );
    if let Some(comparison) = &report.comparison {
        text += &format!("{}\n", comparison.verdict);
    }
    text
}

pub(super) fn speed_table(speed: &Speed) -> String {
    let mut text = String::from("| tokens | batch | p50 | p90 | tokens a second |\n|---|---|---|---|---|\n");
    for case in &speed.cases {
        text += &format!(
            "| {} | {} | {:.2} ms | {:.2} ms | {:.0} |\n",
            case.tokens, case.batch, case.p50_ms, case.p90_ms, case.tokens_per_second
        );
    }
    let threads = if speed.threads == 1 { "one thread".to_owned() } else { format!("{} threads", speed.threads) };
    text += &format!(
        "\n{}, {threads}, text in to label out. {}.\n",
        speed.bundle,
        circumstances(&speed.date, &speed.commit, &speed.machine, &speed.versions)
    );
    text
}

/// What `cargo xtask bench` writes.
#[derive(Deserialize)]
pub(super) struct Library {
    date: String,
    commit: String,
    machine: Machine,
    versions: Versions,
    models: Vec<Measured>,
    cases: Vec<Estimate>,
}

#[derive(Deserialize)]
struct Measured {
    bundle: String,
    open_ms: f64,
    resident_before_mb: f64,
    resident_opened_mb: f64,
    resident_after_mb: f64,
    peak_mb: f64,
    cases: Vec<Overhead>,
}

#[derive(Deserialize)]
struct Overhead {
    tokens: usize,
    pairs: usize,
    call_us: f64,
    bare_us: f64,
    overhead: f64,
}

#[derive(Deserialize)]
struct Estimate {
    name: String,
    median_us: f64,
    low_us: f64,
    high_us: f64,
}

impl Library {
    fn circumstances(&self) -> String {
        circumstances(&self.date, &self.commit, &self.machine, &self.versions)
    }
}

/// Microseconds with three digits that count.
fn microseconds(value: f64) -> String {
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$}")
}

/// Criterion's medians: whole calls (`embed/MODEL/TOKENS/BATCH`), or the other groups.
pub(super) fn cases_table(library: &Library, whole: bool) -> String {
    let mut text = if whole {
        String::from(
            "| model | tokens | batch | median | 95% interval | tokens a second |\n|---|---|---|---|---|---|\n",
        )
    } else {
        String::from("| what | median | 95% interval |\n|---|---|---|\n")
    };
    let mut rows: Vec<(&Estimate, Vec<&str>)> =
        library.cases.iter().map(|case| (case, case.name.split('/').collect())).collect();
    rows.retain(|(_, parts)| (parts[0] == "embed") == whole);
    let number = |part: &str| part.parse::<u64>().unwrap_or(0);
    rows.sort_by_key(|(_, parts)| (parts[0], parts[1], parts[2..].iter().map(|part| number(part)).collect::<Vec<_>>()));
    for (Estimate { median_us, low_us, high_us, .. }, parts) in rows {
        let interval = format!("{} to {} \u{b5}s", microseconds(*low_us), microseconds(*high_us));
        let median = microseconds(*median_us);
        text += &match parts.as_slice() {
            [_, model, tokens, batch] => {
                let rate = (number(tokens) * number(batch)) as f64 / median_us * 1e6;
                format!("| {model} | {tokens} | {batch} | {median} \u{b5}s | {interval} | {rate:.0} |\n")
            }
            parts => format!("| {} | {median} \u{b5}s | {interval} |\n", parts.join(", ").replace('_', " ")),
        };
    }
    text + &format!("\nOne thread. {}.\n", library.circumstances())
}

pub(super) fn overhead_table(library: &Library) -> String {
    let mut text =
        String::from("| model | tokens | whole call | bare ONNX Runtime run | overhead |\n|---|---|---|---|---|\n");
    for model in &library.models {
        for Overhead { tokens, call_us, bare_us, overhead, .. } in &model.cases {
            text += &format!(
                "| {} | {tokens} | {} \u{b5}s | {} \u{b5}s | {:+.2}% |\n",
                model.bundle.trim_end_matches(".limbeck"),
                microseconds(*call_us),
                microseconds(*bare_us),
                overhead * 100.0
            );
        }
    }
    let pairs = library.models.iter().flat_map(|model| &model.cases).map(|case| case.pairs).min().unwrap_or(0);
    text + &format!(
        "\nMedians of {pairs} calls each, taking turns on one session, one thread. {}.\n",
        library.circumstances()
    )
}

pub(super) fn memory_table(library: &Library) -> String {
    let mut text = String::from(
        "| model | opened in | resident before | opened | after the calls | peak (VmHWM) |\n|---|---|---|---|---|---|\n",
    );
    for model in &library.models {
        text += &format!(
            "| {} | {:.0} ms | {:.1} MB | {:.1} MB | {:.1} MB | {:.1} MB |\n",
            model.bundle.trim_end_matches(".limbeck"),
            model.open_ms,
            model.resident_before_mb,
            model.resident_opened_mb,
            model.resident_after_mb,
            model.peak_mb
        );
    }
    text + &format!(
        "\nA process with nothing else in it; ONNX Runtime's library and the mapped weights count. {}.\n",
        library.circumstances()
    )
}

/// What examples/recipes/tasks/make.py writes.
#[derive(Deserialize)]
pub(super) struct Tasks {
    date: String,
    machine: Machine,
    rows: Vec<TaskRow>,
}

#[derive(Deserialize)]
struct TaskRow {
    set: String,
    role: String,
    storage: String,
    task: String,
    layers: usize,
    bytes: u64,
    examples: usize,
    metrics: BTreeMap<String, f64>,
}

pub(super) fn tasks_table(tasks: &Tasks) -> String {
    const SHOWN: [&str; 9] = [
        "accuracy",
        "matthews",
        "micro_f1",
        "entity_f1",
        "exact",
        "f1",
        "spearman",
        "calibration_error",
        "out_of_scope_found",
    ];
    let mut text = String::from(
        "| set | task | model | weights | file | test examples | measured on test |\n|---|---|---|---|---|---|---|\n",
    );
    for row in &tasks.rows {
        let shown = SHOWN.iter().filter_map(|name| {
            let value = row.metrics.get(*name)?;
            Some(format!("{} {:.1}", name.replace('_', " "), value * 100.0))
        });
        text += &format!(
            "| {} | {} | {}, {} layers | {} | {:.1} MB | {} | {} |\n",
            row.set,
            row.task,
            row.role,
            row.layers,
            row.storage,
            row.bytes as f64 / 1e6,
            row.examples,
            shown.collect::<Vec<_>>().join(", ")
        );
    }
    let Machine { cpu, cores, os } = &tasks.machine;
    text + &format!("\nAll in hundredths, through the sdk. {}, {cpu} ({cores} cores), {os}.\n", tasks.date)
}
