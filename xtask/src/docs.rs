//! The README's tables, generated from committed result files.

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
Writes the tables of README.md anew. A table stands between the lines
  <!-- generated: NAME -->
  <!-- /generated -->
NAME is `results` (from examples/recipes/sentiment/report.json, a copy of what `cargo xtask quickstart`
leaves in out/quickstart) or `speed` (from sdk/benches/results/*.json).

Usage: cargo xtask docs [--check]

Options:
  --check   write nothing; fail if README.md differs from what would be written
";

const README: &str = "README.md";
const REPORT: &str = "examples/recipes/sentiment/report.json";
const SPEED: &str = "sdk/benches/results";
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
        println!("{README} is up to date");
        return Ok(ExitCode::SUCCESS);
    }
    let (before, after) = regenerate(&root)?;
    if before == after {
        println!("{README} was up to date");
    } else {
        fs::write(root.join(README), after).with_context(|| format!("writing {README}"))?;
        println!("{README} is written");
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares the README with what would be written.
///
/// # Errors
/// It differs, or a file is missing or malformed.
pub fn check(root: &Path) -> Result<()> {
    let (before, after) = regenerate(root)?;
    if before == after {
        return Ok(());
    }
    let pair = before.lines().zip(after.lines()).enumerate().find(|(_, (old, new))| old != new);
    let (line, is, should) = pair.map_or((0, "", ""), |(number, (old, new))| (number + 1, old, new));
    bail!(
        "{README} differs from the committed results: run `cargo xtask docs`. First at line {line}:\n  is      {is}\n  becomes {should}"
    )
}

fn regenerate(root: &Path) -> Result<(String, String)> {
    let path = root.join(README);
    let before = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let after = replace_tables(&before, |name| match name {
        "results" => Ok(results_table(&read(&root.join(REPORT))?)),
        "speed" => speed_tables(&root.join(SPEED)),
        other => bail!("{README} asks for the table `{other}`; there are `results` and `speed`"),
    })?;
    Ok((before, after))
}

fn replace_tables(text: &str, table: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut tables = 0;
    while let Some(at) = rest.find(OPEN) {
        let (before, marked) = rest.split_at(at);
        let (name, body) = marked[OPEN.len()..]
            .split_once(" -->")
            .filter(|(name, _)| !name.contains('\n'))
            .with_context(|| format!("{README}: a `{OPEN}` has no ` -->`"))?;
        let close = body.find(CLOSE).with_context(|| format!("{README}: the table `{name}` has no `{CLOSE}`"))?;
        if body[..close].contains(OPEN) {
            bail!("{README}: the table `{name}` has no `{CLOSE}` before the next one");
        }
        out += &format!("{before}{OPEN}{name} -->\n{}\n{CLOSE}", table(name)?.trim_end());
        rest = &body[close + CLOSE.len()..];
        tables += 1;
    }
    if tables == 0 {
        bail!("{README} has no `{OPEN}NAME -->`: there is no table to generate");
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
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repository_with(readme: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(README), readme).unwrap();
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
        root
    }

    const BOTH: &str = "# x\n<!-- generated: results -->\n<!-- /generated -->\nbetween\n<!-- generated: speed -->\nold\n<!-- /generated -->\nend\n";

    #[test]
    fn tables_come_from_the_result_files_and_nothing_else_changes() {
        let root = repository_with(BOTH);
        let (_, after) = regenerate(root.path()).unwrap();
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
        let (_, after) = regenerate(root.path()).unwrap();
        fs::write(root.path().join(README), &after).unwrap();
        check(root.path()).unwrap();
        fs::write(root.path().join(README), after.replace("93.0%", "99.0%")).unwrap();
        let error = check(root.path()).unwrap_err().to_string();
        assert!(error.contains("99.0%") && error.contains("93.0%"), "{error}");
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
