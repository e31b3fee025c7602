//! From an empty cache to a bundle that runs from Rust and from C.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::Arguments;
use crate::command::{command, commit, repository};
use crate::compile::{Built, build};
use crate::engines::Engines;
use crate::progress::time;
use crate::tools;

/// `--help`.
pub const HELP: &str = "\
Does the whole road once: fetches what is missing, builds limbeck, fine-tunes a teacher on 3,000
sentences, distils a small student and a control, makes sentiment.limbeck, measures it, and runs it
from Rust and from C. At most 15 minutes after the downloads on two cores.

Usage: cargo xtask quickstart [--out FOLDER]

Options:
  --out FOLDER   where results go [default: out/quickstart]

A run that was stopped goes on where it was. Remove the folder to train again from the start.
";

const RECIPE: &str = "examples/recipes/sentiment/recipe.toml";
const C_SOURCE: &str = "examples/c/sentiment.c";

const SENTENCES: [&str; 4] = [
    "Crisp screen, great sound, and it arrived a day early.",
    "The battery died after a week and nobody answered my mails.",
    "I wanted to like this film, but it was two hours of nothing.",
    "Best noodles in town, and the staff could not have been nicer.",
];

/// Names of the shared library: as cargo makes it, as programs look for it, as it finds ONNX Runtime beside it.
#[cfg(target_os = "macos")]
const LIBRARY: [&str; 4] = ["liblimbeck.dylib", "liblimbeck.0.dylib", "libonnxruntime.dylib", "@loader_path"];
#[cfg(not(target_os = "macos"))]
const LIBRARY: [&str; 4] = ["liblimbeck.so", "liblimbeck.so.0", "libonnxruntime.so.1", "$ORIGIN"];

/// The verb.
///
/// # Errors
/// A step failed; the message says which and why.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let out = arguments.value("--out")?.map_or_else(|| repository().join("out").join("quickstart"), PathBuf::from);
    arguments.finish()?;
    let out = std::path::absolute(out)?;
    let mut steps = Steps::default();

    let engines = steps.run("fetch engines, teacher and data", || {
        tools::ensure_for_build()?;
        Engines::ready()
    })?;
    let built = steps.run("compile", || build(&["limbeck-export", "limbeck-capi"], &engines))?;
    let limbeck = built.executable("limbeck")?.to_owned();
    let bundle = out.join("sentiment.limbeck");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;

    steps.run("train, export, quantize, measure", || {
        let mut distill = program(&limbeck, &engines);
        distill.args(["distill", "--recipe", RECIPE, "--data"]).arg(&engines.sentences);
        distill.arg("--teacher").arg(&engines.teacher).arg("--out").arg(&out);
        if let Some(commit) = commit() {
            distill.args(["--commit", &commit]);
        }
        succeed(&mut distill, "limbeck distill")
    })?;
    steps.run("run the bundle from Rust (sdk)", || {
        succeed(program(&limbeck, &engines).arg("run").arg(&bundle).args(SENTENCES), "limbeck run")
    })?;
    steps.run("run the bundle from C (liblimbeck)", || run_from_c(&built, &engines, &out, &bundle))?;

    println!("\n{}", steps.table());
    println!("{}", closing_words(&out, &engines));
    Ok(ExitCode::SUCCESS)
}

/// Steps with their times.
#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn run<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n== {}. {name}", self.done.len() + 1);
        let started = Instant::now();
        let result = step().with_context(|| format!("quickstart stopped at step {} ({name})", self.done.len() + 1))?;
        self.done.push((name, started.elapsed()));
        Ok(result)
    }

    fn table(&self) -> String {
        let width = self.done.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::from("Time of each step:\n");
        for (name, duration) in &self.done {
            text += &format!("  {name:width$}  {}\n", time(*duration));
        }
        let total = self.done.iter().map(|(_, duration)| *duration).sum();
        text + &format!("  {:width$}  {}\n", "total", time(total))
    }
}

fn program(limbeck: &Path, engines: &Engines) -> Command {
    let mut program = command(limbeck);
    engines.apply(&mut program);
    program
}

fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("running {what}"))?;
    if !status.success() {
        bail!("{what} failed ({status}); its words are above");
    }
    Ok(())
}

/// Compiles the C example with the system's compiler and runs it, as somebody who links liblimbeck would.
fn run_from_c(built: &Built, engines: &Engines, out: &Path, bundle: &Path) -> Result<()> {
    let [file, installed, runtime, beside] = LIBRARY;
    let folder = out.join("c");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let library = folder.join(installed);
    fs::copy(built.file(file)?, &library).with_context(|| format!("copying {file} to {}", library.display()))?;
    link(&engines.onnx_runtime, &folder.join(runtime))?;
    let program = folder.join("sentiment");
    let mut compiler = command("cc");
    compiler.args(["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-I", "capi/include", "-o"]).arg(&program);
    compiler.arg(C_SOURCE).arg(&library).arg(format!("-Wl,-rpath,{beside}"));
    let words: Vec<_> = std::iter::once(compiler.get_program()).chain(compiler.get_args()).collect();
    println!("{}", words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "));
    succeed(&mut compiler, "cc")?;
    succeed(command(&program).arg(bundle).arg(folder.join(runtime)).args(SENTENCES), "the C program")
}

/// A link, or a copy where there are none.
fn link(from: &Path, to: &Path) -> Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("replacing {}", to.display()));
        }
        _ => {}
    }
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(from, to);
    #[cfg(not(unix))]
    let linked = fs::copy(from, to).map(|_| ());
    linked.with_context(|| format!("linking {} to {}", to.display(), from.display()))
}

fn closing_words(out: &Path, engines: &Engines) -> String {
    let here = repository();
    let short = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    let (absolute, out, teacher) = (out.display(), short(out), engines.teacher.display());
    format!(
        "The report is {out}/report.html, the bundle {out}/sentiment.limbeck. To go on:\n\n\
         your own text:\n  \
         cargo xtask limbeck -- run {out}/sentiment.limbeck \"a sentence of yours\"\n\n\
         your own data (JSONL, TSV or CSV; name its files and columns in a copy of {RECIPE}):\n  \
         cargo xtask limbeck -- distill --recipe my-recipe.toml --data my-data --teacher {teacher} --out out/mine\n\n\
         your own C program:\n  \
         cc -I capi/include my.c {out}/c/{} -Wl,-rpath,{absolute}/c -o my\n",
        LIBRARY[1]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_and_failures_name_their_step() {
        let mut steps = Steps::default();
        steps.run("one", || Ok(())).unwrap();
        steps.done[0].1 = Duration::from_secs(61);
        steps.done.push(("another", Duration::from_secs(2)));
        let table = steps.table();
        assert!(table.contains("  one      1 min 1 s\n") && table.contains("  total    1 min 3 s\n"), "{table}");
        let error = steps.run("three", || bail!("no luck") as Result<()>).unwrap_err();
        assert_eq!(format!("{error:#}"), "quickstart stopped at step 3 (three): no luck");
    }

    #[test]
    fn the_recipe_is_there() {
        assert!(repository().join(RECIPE).is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_replaces_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, to) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("to"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        link(&a, &to).unwrap();
        link(&b, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "b");
    }
}
