//! The tables of the README and of docs/, generated from committed result files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Arguments;
use crate::command::repository;

/// `--help`.
pub const HELP: &str = "\
Writes the tables of README.md, docs/benchmarks.md and docs/tasks.md anew. A table stands between the lines
  <!-- generated: NAME -->
  <!-- /generated -->
NAME is
  results     from examples/recipes/sentiment/report.json, a copy of what `cargo xtask quickstart` leaves in
              out/quickstart
  speed       from sdk/benches/results/*.json but library.json
  calls, parts, overhead, memory
              from sdk/benches/results/library.json, which `cargo xtask bench --save` writes
  tasks       from examples/recipes/tasks/results.json, which make.py beside it writes

Usage: cargo xtask docs [--check]

Options:
  --check   write nothing; fail if a page differs from what would be written
";

const PAGES: [&str; 3] = ["README.md", "docs/benchmarks.md", "docs/tasks.md"];
const REPORT: &str = "examples/recipes/sentiment/report.json";
const SPEED: &str = "sdk/benches/results";
const TASKS: &str = "examples/recipes/tasks/results.json";
const OPEN: &str = "<!-- generated: ";
const CLOSE: &str = "<!-- /generated -->";

/// The verb.
///
/// # Errors
/// A file is missing or malformed, or `--check` finds a difference.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let only_check = arguments.flag("--check");
    arguments.finish()?;
    let root = repository();
    if only_check {
        check(&root)?;
        println!("{} are up to date", PAGES.join(", "));
        return Ok(ExitCode::SUCCESS);
    }
    for page in PAGES {
        let (before, after) = regenerate(&root, page)?;
        if before == after {
            println!("{page} was up to date");
        } else {
            fs::write(root.join(page), after).with_context(|| format!("writing {page}"))?;
            println!("{page} is written");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares the pages with what would be written.
///
/// # Errors
/// One differs, or a file is missing or malformed.
pub fn check(root: &Path) -> Result<()> {
    for page in PAGES {
        let (before, after) = regenerate(root, page)?;
        if before == after {
            continue;
        }
        let pair = before.lines().zip(after.lines()).enumerate().find(|(_, (old, new))| old != new);
        let (line, is, should) = pair.map_or((0, "", ""), |(number, (old, new))| (number + 1, old, new));
        bail!(
            "{page} differs from the committed results: run `cargo xtask docs`. First at line {line}:\n  is      {is}\n  becomes {should}"
        )
    }
    Ok(())
}

fn regenerate(root: &Path, page: &str) -> Result<(String, String)> {
    let path = root.join(page);
    let before = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let library = || read::<Library>(&root.join(crate::bench::RESULTS));
    let after = replace_tables(page, &before, |name| match name {
        "results" => Ok(results_table(&read(&root.join(REPORT))?)),
        "speed" => speed_tables(&root.join(SPEED)),
        "calls" => Ok(cases_table(&library()?, true)),
        "parts" => Ok(cases_table(&library()?, false)),
        "overhead" => Ok(overhead_table(&library()?)),
        "memory" => Ok(memory_table(&library()?)),
        "tasks" => Ok(tasks_table(&read(&root.join(TASKS))?)),
        other => bail!("{page} asks for the table `{other}`, which is none of those of `cargo xtask docs --help`"),
    })?;
    Ok((before, after))
}

fn replace_tables(page: &str, text: &str, table: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut tables = 0;
    while let Some(at) = rest.find(OPEN) {
        let (before, marked) = rest.split_at(at);
        let (name, body) = marked[OPEN.len()..]
            .split_once(" -->")
            .filter(|(name, _)| !name.contains('\n'))
            .with_context(|| format!("{page}: a `{OPEN}` has no ` -->`"))?;
        let close = body.find(CLOSE).with_context(|| format!("{page}: the table `{name}` has no `{CLOSE}`"))?;
        if body[..close].contains(OPEN) {
            bail!("{page}: the table `{name}` has no `{CLOSE}` before the next one");
        }
        out += &format!("{before}{OPEN}{name} -->\n{}\n{CLOSE}", table(name)?.trim_end());
        rest = &body[close + CLOSE.len()..];
        tables += 1;
    }
    if tables == 0 {
        bail!("{page} has no `{OPEN}NAME -->`: there is no table to generate");
    }
    Ok(out + rest)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let schema: Schema = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    if schema.schema != 1 {
        bail!("{}: schema {} is not known, only 1", path.display(), schema.schema);
    }
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

#[derive(Deserialize)]
struct Report {
    date: String,
    commit: String,
    machine: Machine,
    versions: Versions,
    models: Vec<Model>,
    comparison: Option<Comparison>,
}

#[derive(Deserialize)]
struct Machine {
    cpu: String,
    cores: usize,
    os: String,
}

#[derive(Deserialize)]
struct Versions {
    limbeck: String,
    onnxruntime: Option<String>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    accuracy: Accuracy,
    parameters: u64,
    file_bytes: u64,
    latency_p50_ms: f64,
    latency_tokens: Option<usize>,
    peak_memory_mb: Option<f64>,
}

#[derive(Deserialize)]
struct Accuracy {
    value: f64,
    low: f64,
    high: f64,
    examples: usize,
}

#[derive(Deserialize)]
struct Comparison {
    verdict: String,
}

#[derive(Deserialize)]
struct Speed {
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
fn circumstances(date: &str, commit: &str, machine: &Machine, versions: &Versions) -> String {
    let runtime = versions.onnxruntime.as_ref().map_or(String::new(), |version| format!(", ONNX Runtime {version}"));
    format!(
        "{date}, {} ({} cores), {}, limbeck {} at {commit}{runtime}",
        machine.cpu, machine.cores, machine.os, versions.limbeck
    )
}

fn results_table(report: &Report) -> String {
    let mut text = String::from(
        "| model | test accuracy | 95% interval | parameters | file | p50, one sentence | peak memory |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for model in &report.models {
        let Accuracy { value, low, high, .. } = model.accuracy;
        text += &format!(
            "| {} | {:.1}% | {:.1} to {:.1}% | {:.1} M | {:.1} MB | {:.2} ms | {} |\n",
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
    let examples = report.models.first().map_or(0, |model| model.accuracy.examples);
    let tokens = report.models.iter().find_map(|model| model.latency_tokens);
    let tokens = tokens.map_or(String::new(), |tokens| format!(" of {tokens} tokens"));
    text += &format!(
        "\nAccuracy on {examples} held-out sentences; latency of one sentence{tokens}, text in to label out, on one core. {}.\n",
        circumstances(&report.date, &report.commit, &report.machine, &report.versions)
    );
    if let Some(comparison) = &report.comparison {
        text += &format!("{}\n", comparison.verdict);
    }
    text
}

fn speed_tables(folder: &Path) -> Result<String> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path).collect();
    files.retain(|path| {
        path.extension().is_some_and(|extension| extension == "json") && !path.ends_with("library.json")
    });
    files.sort();
    if files.is_empty() {
        bail!("{} has no result (*.json)", folder.display());
    }
    let tables = files.iter().map(|path| Ok(speed_table(&read(path)?))).collect::<Result<Vec<_>>>()?;
    Ok(tables.join("\n"))
}

fn speed_table(speed: &Speed) -> String {
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
struct Library {
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
fn cases_table(library: &Library, whole: bool) -> String {
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

fn overhead_table(library: &Library) -> String {
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

fn memory_table(library: &Library) -> String {
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
struct Tasks {
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

fn tasks_table(tasks: &Tasks) -> String {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repository_with(readme: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(PAGES[0]), readme).unwrap();
        fs::create_dir_all(root.path().join("examples/recipes/sentiment")).unwrap();
        fs::create_dir_all(root.path().join(SPEED)).unwrap();
        let machine = json!({"cpu": "Some CPU", "cores": 2, "os": "linux x86_64", "features": ["avx2"]});
        let versions = json!({"limbeck": "0.1.0", "onnxruntime": "1.24.4", "tokenizers": "0.22.2"});
        let model = |name: &str, value: f64, memory: Option<f64>| {
            json!({"name": name, "accuracy": {"value": value, "low": value - 0.02, "high": value + 0.015, "examples": 600},
                   "parameters": 17389824, "file_bytes": 17800000, "latency_p50_ms": 1.256, "latency_tokens": 14, "peak_memory_mb": memory})
        };
        let report = json!({"schema": 1, "title": "sentiment", "date": "2026-01-02", "commit": "abc", "machine": machine,
            "versions": versions, "models": [model("teacher", 0.93, Some(210.4)), model("student int8", 0.9, None)],
            "comparison": {"verdict": "The student wins."}});
        fs::write(root.path().join(REPORT), report.to_string()).unwrap();
        let speed = json!({"schema": 1, "bundle": "sentiment 0.1.0", "date": "2026-01-02", "commit": "abc", "machine": machine,
            "versions": versions, "threads": 1,
            "cases": [{"tokens": 16, "batch": 1, "p50_ms": 1.5, "p90_ms": 1.75, "tokens_per_second": 10666.6}]});
        fs::write(root.path().join(SPEED).join("a.json"), speed.to_string()).unwrap();
        let library = json!({"schema": 1, "date": "2026-01-02", "commit": "abc", "machine": machine, "versions": versions,
            "models": [{"bundle": "m.limbeck", "open_ms": 50.2, "resident_before_mb": 3.0, "resident_opened_mb": 40.25,
                "resident_after_mb": 44.0, "peak_mb": 60.5,
                "cases": [{"tokens": 32, "pairs": 3000, "call_us": 1010.0, "bare_us": 1000.0, "overhead": 0.01}]}],
            "cases": [{"name": "embed/m/128/1", "median_us": 2000.0, "low_us": 1990.0, "high_us": 2010.0},
                {"name": "embed/m/8/2", "median_us": 100.0, "low_us": 99.0, "high_us": 101.0},
                {"name": "post/softmax/3", "median_us": 0.0312, "low_us": 0.03, "high_us": 0.04}]});
        fs::write(root.path().join(crate::bench::RESULTS), library.to_string()).unwrap();
        let row = json!({"set": "s", "role": "student", "storage": "int8", "task": "fill-mask", "layers": 3,
            "bytes": 2_000_000, "examples": 7, "metrics": {"f1": 0.5, "exact": 0.25, "other": 1.0}});
        let tasks = json!({"schema": 1, "date": "2026-01-02", "machine": machine, "rows": [row]});
        fs::create_dir_all(root.path().join("examples/recipes/tasks")).unwrap();
        fs::write(root.path().join(TASKS), tasks.to_string()).unwrap();
        fs::create_dir_all(root.path().join("docs")).unwrap();
        let page = |names: &[&str]| -> String {
            names.iter().map(|name| format!("<!-- generated: {name} -->\n<!-- /generated -->\n")).collect()
        };
        for (name, tables) in [(PAGES[1], &["calls", "parts", "overhead", "memory"][..]), (PAGES[2], &["tasks"])] {
            fs::write(root.path().join(name), page(tables)).unwrap();
            let (_, after) = regenerate(root.path(), name).unwrap();
            fs::write(root.path().join(name), after).unwrap();
        }
        root
    }

    const BOTH: &str = "# x\n<!-- generated: results -->\n<!-- /generated -->\nbetween\n<!-- generated: speed -->\nold\n<!-- /generated -->\nend\n";

    #[test]
    fn tables_come_from_the_result_files_and_nothing_else_changes() {
        let root = repository_with(BOTH);
        let (_, after) = regenerate(root.path(), PAGES[0]).unwrap();
        assert!(after.starts_with("# x\n<!-- generated: results -->\n| model |"), "{after}");
        assert!(
            after.contains("| teacher | 93.0% | 91.0 to 94.5% | 17.4 M | 17.8 MB | 1.26 ms | 210 MB |\n"),
            "{after}"
        );
        assert!(
            after.contains("| student int8 | 90.0% | 88.0 to 91.5% | 17.4 M | 17.8 MB | 1.26 ms | - |\n"),
            "{after}"
        );
        assert!(after.contains("600 held-out") && after.contains("14 tokens") && after.contains("The student wins."));
        assert!(
            after.contains("2026-01-02, Some CPU (2 cores), linux x86_64, limbeck 0.1.0 at abc, ONNX Runtime 1.24.4.")
        );
        assert!(after.contains("<!-- /generated -->\nbetween\n<!-- generated: speed -->\n| tokens |"), "{after}");
        assert!(after.contains("| 16 | 1 | 1.50 ms | 1.75 ms | 10667 |\n"), "{after}");
        assert!(after.ends_with("<!-- /generated -->\nend\n") && !after.contains("old"));
    }

    #[test]
    fn check_finds_a_changed_number_and_a_second_run_changes_nothing() {
        let root = repository_with(BOTH);
        let error = check(root.path()).unwrap_err().to_string();
        assert!(error.contains("cargo xtask docs") && error.contains("line 3"), "{error}");
        let (_, after) = regenerate(root.path(), PAGES[0]).unwrap();
        fs::write(root.path().join(PAGES[0]), &after).unwrap();
        check(root.path()).unwrap();
        fs::write(root.path().join(PAGES[0]), after.replace("93.0%", "99.0%")).unwrap();
        let error = check(root.path()).unwrap_err().to_string();
        assert!(error.contains("99.0%") && error.contains("93.0%"), "{error}");
    }

    #[test]
    fn benchmarks_and_tasks_have_pages_of_their_own() {
        let root = repository_with(BOTH);
        let page = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        let benchmarks = page(PAGES[1]);
        for line in [
            "| m | 8 | 2 | 100 \u{b5}s | 99.0 to 101 \u{b5}s | 160000 |\n| m | 128 | 1 | 2000 \u{b5}s |",
            "| post, softmax, 3 | 0.03 \u{b5}s |",
            "| m | 32 | 1010 \u{b5}s | 1000 \u{b5}s | +1.00% |",
            "| m | 50 ms | 3.0 MB | 40.2 MB | 44.0 MB | 60.5 MB |",
        ] {
            assert!(benchmarks.contains(line), "`{line}` is not in\n{benchmarks}");
        }
        let line = "| s | fill-mask | student, 3 layers | int8 | 2.0 MB | 7 | exact 25.0, f1 50.0 |";
        assert!(page(PAGES[2]).contains(line), "{}", page(PAGES[2]));
    }

    #[test]
    fn mistakes_are_named() {
        for (readme, part) in [
            ("no table", "no table to generate"),
            ("<!-- generated: other -->\n<!-- /generated -->", "`other`"),
            ("<!-- generated: results -->\n", "has no `<!-- /generated -->`"),
            ("<!-- generated: results -->\n<!-- generated: speed -->\n<!-- /generated -->", "before the next"),
        ] {
            let error = check(repository_with(readme).path()).unwrap_err().to_string();
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        let root = repository_with(BOTH);
        fs::write(root.path().join(REPORT), r#"{"schema": 2}"#).unwrap();
        assert!(format!("{:#}", check(root.path()).unwrap_err()).contains("schema 2"));
        fs::remove_file(root.path().join(REPORT)).unwrap();
        assert!(format!("{:#}", check(root.path()).unwrap_err()).contains("report.json"));
    }
}
