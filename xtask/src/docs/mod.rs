//! The tables of the README and of docs/, generated from committed result files.

mod generation;
mod goals;
mod peers;
mod plot;
mod pretraining;
mod recipes;
mod report;
mod tables;
mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Arguments;
use crate::bench::peers::Results as Peers;
use crate::bench::train;
use crate::command::repository;
use crate::package::sizes;
use report::REPORT_SCHEMA;
use tables::{Library, cases_table, memory_table, overhead_table, results_table, speed_table, tasks_table};

/// `--help`.
pub const HELP: &str = "\
Writes the tables of README.md, docs/benchmarks.md, docs/distillation.md, docs/pretraining.md,
docs/tasks.md, docs/packaging.md and docs/training-speed.md anew. A table stands between the lines
  <!-- generated: NAME -->
  <!-- /generated -->
NAME is
  results     from examples/recipes/sentiment/report.json, a copy of what `cargo xtask quickstart` leaves in
              out/quickstart
  recipes, ablations
              from every report.json below examples/recipes
  speed       from sdk/benches/results/*.json but library.json, peers.json, shapes.json and generation*.json
  calls, parts, overhead, memory
              from sdk/benches/results/library.json, which `cargo xtask bench --save` writes
  peers, peers-times, peers-opening
              from sdk/benches/results/peers.json, which `cargo xtask bench peers --save` writes
  shapes, shapes-times, shapes-opening
              from shapes.json beside it, which `cargo xtask bench peers --shapes --save` writes
  goals       from peers.json, shapes.json, and the recipes' reports of students of 4 layers of 312
  generation, generation-12x768
              from generation.json and generation-12x768.json beside it, which `cargo xtask bench generation --save` writes
  training, training-cache
              from export/benches/results/training.json, which `cargo xtask bench train --save` writes
  training-bf16, training-cache-bf16
              from training-cpu-bf16.json beside it, which `cargo xtask bench train --precision bf16 --save` writes
  training-cuda
              from training-cuda-bf16.json and training-cuda-bf16-x16.json beside it, which `cargo xtask bench train --device
              cuda --precision bf16 --save` writes, without and with `--times 16`
  few-shot    from examples/recipes/few-shot/results.json, which run.py beside it writes
  sentence-tasks, sharing, electra, electra-errors, replaced, distilled-gpt2
              from examples/recipes/pretrain/results.json, which run.py and replaced.py beside it write
  tasks       from examples/recipes/tasks/results.json, which make.py beside it writes
  sizes       from capi/abi/sizes.json, which `cargo xtask package --sizes --save` writes
docs/peers.svg is drawn from peers.json.

Usage: cargo xtask docs [--check]

Options:
  --check   write nothing; fail if a page differs from what would be written
";

const PAGES: [&str; 7] = [
    "README.md",
    "docs/benchmarks.md",
    "docs/tasks.md",
    "docs/packaging.md",
    "docs/training-speed.md",
    "docs/distillation.md",
    "docs/pretraining.md",
];
const PLOT: &str = "docs/peers.svg";
const RECIPES: &str = "examples/recipes";
const REPORT: &str = "examples/recipes/sentiment/report.json";
const SPEED: &str = "sdk/benches/results";
const TASKS: &str = "examples/recipes/tasks/results.json";
const FEW_SHOT: &str = "examples/recipes/few-shot/results.json";
const PRETRAINING: &str = "examples/recipes/pretrain/results.json";
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
    fs::write(root.join(PLOT), plot(&root)?).with_context(|| format!("writing {PLOT}"))?;
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
    let drawn = fs::read_to_string(root.join(PLOT)).with_context(|| format!("reading {PLOT}"))?;
    ensure!(drawn == plot(root)?, "{PLOT} differs from the committed results: run `cargo xtask docs`");
    Ok(())
}

fn plot(root: &Path) -> Result<String> {
    plot::peers(&read(&root.join(crate::bench::peers::RESULTS))?)
}

fn regenerate(root: &Path, page: &str) -> Result<(String, String)> {
    let path = root.join(page);
    let before = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let library = || read::<Library>(&root.join(crate::bench::RESULTS));
    let peers = || read::<Peers>(&root.join(crate::bench::peers::RESULTS));
    let shapes = || read::<Peers>(&root.join(crate::bench::peers::SHAPE_RESULTS));
    let trained = |results: &str| read::<training::Training>(&root.join(results));
    let after = replace_tables(page, &before, |name| match name {
        "results" => Ok(results_table(&read_schema(&root.join(REPORT), REPORT_SCHEMA)?)),
        "recipes" => Ok(recipes::results_table(&recipes::reports(&root.join(RECIPES))?)),
        "ablations" => Ok(recipes::ablations(&recipes::reports(&root.join(RECIPES))?)),
        "speed" => speed_tables(&root.join(SPEED)),
        "calls" => Ok(cases_table(&library()?, true)),
        "parts" => Ok(cases_table(&library()?, false)),
        "overhead" => Ok(overhead_table(&library()?)),
        "memory" => Ok(memory_table(&library()?)),
        "shapes" => peers::ratios_table(&shapes()?),
        "shapes-times" => peers::times_table(&shapes()?),
        "shapes-opening" => Ok(peers::opening_table(&shapes()?)),
        "peers" => peers::ratios_table(&peers()?),
        "peers-times" => peers::times_table(&peers()?),
        "peers-opening" => Ok(peers::opening_table(&peers()?)),
        "goals" => goals::goals_table(&peers()?, &shapes()?, &recipes::reports(&root.join(RECIPES))?),
        "generation" => generation::section(&root.join(crate::bench::generation::RESULTS)),
        "generation-12x768" => generation::section(&root.join(crate::bench::generation::BASE_RESULTS)),
        "training" => Ok(training::engines_table(&trained(train::RESULTS)?)),
        "training-cache" => Ok(training::cache_table(&trained(train::RESULTS)?)),
        "training-bf16" => Ok(training::engines_table(&trained(train::BF16_RESULTS)?)),
        "training-cache-bf16" => Ok(training::cache_table(&trained(train::BF16_RESULTS)?)),
        "training-cuda" => {
            Ok(training::gpu_table(&[trained(train::CUDA_RESULTS)?, trained(train::CUDA_LARGE_RESULTS)?]))
        }
        "few-shot" => Ok(pretraining::few_shot_table(&read(&root.join(FEW_SHOT))?)),
        "sentence-tasks" => Ok(pretraining::sentence_table(&read(&root.join(PRETRAINING))?)),
        "distilled-gpt2" => Ok(pretraining::distilled_table(&read(&root.join(PRETRAINING))?)),
        "electra" => Ok(pretraining::electra_table(&read(&root.join(PRETRAINING))?, false)),
        "electra-errors" => Ok(pretraining::electra_table(&read(&root.join(PRETRAINING))?, true)),
        "replaced" => Ok(pretraining::replaced_table(&read(&root.join(PRETRAINING))?)),
        "sharing" => Ok(pretraining::sharing_table(&read(&root.join(PRETRAINING))?)),
        "tasks" => Ok(tasks_table(&read(&root.join(TASKS))?)),
        "sizes" => sizes::table(&read(&root.join(sizes::RESULTS))?),
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
    read_schema(path, 1)
}

fn read_schema<T: DeserializeOwned>(path: &Path, known: u32) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let schema: Schema = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    if schema.schema != known {
        bail!("{}: schema {} is not known, only {known}", path.display(), schema.schema);
    }
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

fn speed_tables(folder: &Path) -> Result<String> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path).collect();
    files.retain(|path| {
        path.extension().is_some_and(|extension| extension == "json")
            && !["library.json", "peers.json", "shapes.json", "generation.json", "generation-12x768.json"]
                .iter()
                .any(|other| path.ends_with(other))
    });
    files.sort();
    if files.is_empty() {
        bail!("{} has no result (*.json)", folder.display());
    }
    let tables = files.iter().map(|path| Ok(speed_table(&read(path)?))).collect::<Result<Vec<_>>>()?;
    Ok(tables.join("\n"))
}

#[cfg(test)]
mod tests;
