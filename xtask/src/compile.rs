//! Release builds with a bar instead of cargo's own lines, and `cargo xtask limbeck`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::command::{cargo, command};
use crate::engines::Engines;
use crate::progress::{Progress, Unit};

/// `--help`.
pub const HELP: &str = "\
Builds the limbeck command line in release mode, with its engines fetched and found, and runs it.

Usage: cargo xtask limbeck -- ARGS

Examples:
  cargo xtask limbeck -- --help
  cargo xtask limbeck -- run out/quickstart/sentiment.limbeck \"crisp screen, awful battery\"

The built program also runs by itself, from any folder: target/release/limbeck
";

/// `cargo xtask limbeck -- ARGS`.
///
/// # Errors
/// The build fails, or the program cannot be started.
pub fn run_limbeck(arguments: &[String]) -> Result<ExitCode> {
    let arguments = match arguments.split_first() {
        Some((first, rest)) if first == "--" => rest,
        Some((first, _)) => bail!("write `--` before the arguments of limbeck: cargo xtask limbeck -- {first} ..."),
        None => &[],
    };
    let engines = Engines::ready()?;
    let built = build(&["limbeck-export"], &engines)?;
    let limbeck = built.executable("limbeck")?;
    let mut program = command(limbeck);
    // Names of files are the user's: they count from where the user stands.
    program.current_dir(std::env::current_dir()?).args(arguments);
    engines.apply(&mut program);
    let status = program.status().with_context(|| format!("running {}", limbeck.display()))?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => bail!("limbeck was ended: {status}"),
    }
}

/// What a build made.
#[derive(Debug, Default)]
pub struct Built {
    executables: BTreeMap<String, PathBuf>,
    files: Vec<PathBuf>,
}

impl Built {
    /// A program by its name.
    ///
    /// # Errors
    /// The build made no such program.
    pub fn executable(&self, name: &str) -> Result<&Path> {
        self.executables.get(name).map(PathBuf::as_path).ok_or_else(|| anyhow!("cargo built no program `{name}`"))
    }

    /// A library by its file name.
    ///
    /// # Errors
    /// The build made no such file.
    pub fn file(&self, name: &str) -> Result<&Path> {
        let found = self.files.iter().find(|path| path.file_name().is_some_and(|file| file == name));
        found.map(PathBuf::as_path).ok_or_else(|| anyhow!("cargo built no file `{name}`"))
    }
}

/// Builds packages in release mode. Says nothing when nothing had to be compiled.
///
/// # Errors
/// The build fails; cargo's words were shown.
pub fn build(packages: &[&str], engines: &Engines) -> Result<Built> {
    let mut cargo = cargo();
    cargo.args(["build", "--release", "--message-format=json-render-diagnostics"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    engines.apply(&mut cargo);
    let mut child = cargo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("running cargo")?;
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut stderr = child.stderr.take().context("cargo has no error output")?;
    let words = std::thread::spawn(move || {
        let mut words = Vec::new();
        // What was read until a failure is all that there is to show.
        let _ = stderr.read_to_end(&mut words);
        words
    });
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut counter = Counter::default();
    let mut progress: Option<Progress> = None;
    let (started, mut total) = (Instant::now(), 0);
    loop {
        match receiver.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => counter.take(&line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // A build with nothing to do is over before this.
        if progress.is_none() && started.elapsed() > Duration::from_secs(2) {
            total = units(packages).unwrap_or(0);
            progress = Some(Progress::new("compiling", total, Unit::Work));
        }
        if let Some(progress) = &mut progress {
            progress.set_total(total.saturating_sub(counter.fresh));
            progress.set(counter.done, &counter.last);
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    let words = words.join().unwrap_or_default();
    if !status.success() {
        if let Some(progress) = progress {
            progress.abandon();
        }
        eprintln!("{}", String::from_utf8_lossy(&words));
        bail!("cargo build failed; its words are above");
    }
    if let Some(progress) = progress {
        progress.finish(&format!("compiled {}", packages.join(" and ")));
    }
    Ok(counter.built)
}

/// Steps that take long, in tenths of a second on two cores: a step that is not named here counts `USUAL`.
/// Only the bar depends on it.
const LONG: [(&str, u64); 14] = [
    ("torch-sys run", 600),
    ("tokenizers", 400),
    ("regex-automata", 350),
    ("limbeck-export", 250),
    ("limbeck", 250),
    ("tch", 200),
    ("clap_builder", 130),
    ("serde_json", 110),
    ("rayon", 100),
    ("serde_derive", 100),
    ("indicatif", 90),
    ("regex-syntax", 90),
    ("syn", 80),
    ("ort", 80),
];
const USUAL: u64 = 10;

fn weight(package: &str, is_run: bool) -> u64 {
    let named = |(name, weight): &(&str, u64)| {
        let matches = if is_run { name.strip_suffix(" run") == Some(package) } else { *name == package };
        matches.then_some(*weight)
    };
    LONG.iter().find_map(named).unwrap_or(USUAL)
}

/// The name in a package id: `registry+...#syn@2.0.1`, `path+file:///r/sdk#limbeck@0.1.0`, `path+file:///r/xtask#0.1.0`.
fn package_name(id: &str) -> &str {
    let (place, rest) = id.rsplit_once('#').unwrap_or(("", id));
    match rest.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next().unwrap_or(place),
    }
}

/// Reads cargo's messages.
#[derive(Default)]
struct Counter {
    seen: BTreeSet<String>,
    /// Weight of what was compiled, and of what had been compiled before.
    done: u64,
    fresh: u64,
    fresh_scripts: BTreeSet<String>,
    last: String,
    built: Built,
}

impl Counter {
    fn take(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let package = text(&message["package_id"]);
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                let target = &message["target"];
                let name = text(&target["name"]);
                let kind = target["kind"][0].as_str();
                let fresh = message["fresh"] == true;
                if fresh && kind == Some("custom-build") {
                    self.fresh_scripts.insert(package.clone());
                }
                let is_library = !matches!(kind, Some("custom-build" | "bin"));
                let weight = if is_library { weight(package_name(&package), false) } else { USUAL };
                self.count(format!("{package} {} {name}", target["kind"]), weight, fresh);
                if let Some(path) = message["executable"].as_str() {
                    self.built.executables.insert(name.clone(), path.into());
                }
                let files = message["filenames"].as_array().into_iter().flatten();
                self.built.files.extend(files.filter_map(Value::as_str).map(PathBuf::from));
                self.last = name;
            }
            // Cargo does not say whether it ran now; if it was compiled now, it did.
            Some("build-script-executed") => {
                let fresh = self.fresh_scripts.contains(&package);
                self.count(format!("{package} run"), weight(package_name(&package), true), fresh);
            }
            _ => {}
        }
    }

    fn count(&mut self, step: String, weight: u64, fresh: bool) {
        if self.seen.insert(step) {
            *if fresh { &mut self.fresh } else { &mut self.done } += weight;
        }
    }
}

/// The weight of all steps of a build of `packages`, from cargo's own graph: about right, for a bar.
fn units(packages: &[&str]) -> Option<u64> {
    let host = command("rustc").arg("-vV").output().ok()?;
    let host = String::from_utf8(host.stdout).ok()?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
    let mut cargo = cargo();
    let output = cargo.args(["metadata", "--format-version=1", "--filter-platform", &host]).output().ok()?;
    count_units(&serde_json::from_slice(&output.stdout).ok()?, packages)
}

fn count_units(metadata: &Value, packages: &[&str]) -> Option<u64> {
    let list = metadata["packages"].as_array()?;
    let nodes = metadata["resolve"]["nodes"].as_array()?;
    let node: BTreeMap<&str, &Value> = nodes.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let wanted = |package: &&Value| package["name"].as_str().is_some_and(|name| packages.contains(&name));
    let mut queue: Vec<&str> = list.iter().filter(wanted).filter_map(|package| package["id"].as_str()).collect();
    let mut reached: BTreeSet<&str> = queue.iter().copied().collect();
    while let Some(id) = queue.pop() {
        for dependency in node.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array()?;
            if kinds.iter().any(|kind| kind["kind"] != "dev")
                && let Some(next) = dependency["pkg"].as_str()
                && reached.insert(next)
            {
                queue.push(next);
            }
        }
    }
    let mut units = 0;
    for package in list.iter().filter(|package| package["id"].as_str().is_some_and(|id| reached.contains(id))) {
        let name = package["name"].as_str()?;
        for target in package["targets"].as_array()? {
            units += match target["kind"][0].as_str() {
                // Compiled, then run.
                Some("custom-build") => USUAL + weight(name, true),
                Some("test" | "bench" | "example") => 0,
                // Only those of the packages that are asked for.
                Some("bin") => {
                    if wanted(&package) {
                        USUAL
                    } else {
                        0
                    }
                }
                _ => weight(name, false),
            };
        }
    }
    Some(units)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cargos_messages_are_counted_once_each() {
        let mut counter = Counter::default();
        let artifact = json!({"reason": "compiler-artifact", "package_id": "p", "target": {"name": "limbeck", "kind": ["bin"]},
                              "executable": "/t/limbeck", "filenames": ["/t/limbeck"]});
        let library = json!({"reason": "compiler-artifact", "package_id": "c", "target": {"name": "limbeck", "kind": ["cdylib"]},
                             "executable": null, "fresh": true, "filenames": ["/t/liblimbeck.so", "/t/liblimbeck.a"]});
        for message in [&artifact, &artifact, &library, &json!({"reason": "build-script-executed", "package_id": "p"})]
        {
            counter.take(&message.to_string());
        }
        counter.take("not json");
        assert_eq!((counter.seen.len(), counter.done, counter.fresh), (3, 2 * USUAL, USUAL));
        assert_eq!(counter.built.executable("limbeck").unwrap(), Path::new("/t/limbeck"));
        assert_eq!(counter.built.file("liblimbeck.so").unwrap(), Path::new("/t/liblimbeck.so"));
        assert!(counter.built.executable("other").is_err());
    }

    #[test]
    fn long_steps_weigh_more() {
        assert_eq!(package_name("registry+x://y/index#torch-sys@0.24.0"), "torch-sys");
        assert_eq!(package_name("path+file:///r/capi#limbeck-capi@0.1.0"), "limbeck-capi");
        assert_eq!(package_name("path+file:///r/xtask#0.1.0"), "xtask");
        assert!(weight("torch-sys", true) > weight("torch-sys", false));
        assert_eq!(weight("torch-sys", false), USUAL);
        assert!(weight("tokenizers", false) > weight("tokenizers", true));
    }

    #[test]
    fn units_follow_the_graph_without_tests() {
        let dependency = |id: &str, kind: Value| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                {"id": "a", "name": "a", "targets": [{"kind": ["lib"]}, {"kind": ["bin"]}, {"kind": ["custom-build"]}, {"kind": ["test"]}]},
                {"id": "b", "name": "b", "targets": [{"kind": ["lib"]}, {"kind": ["bin"]}]},
                {"id": "c", "name": "c", "targets": [{"kind": ["lib"]}]},
            ],
            "resolve": {"nodes": [
                {"id": "a", "deps": [dependency("b", Value::Null), dependency("c", json!("dev"))]},
                {"id": "b", "deps": []}, {"id": "c", "deps": []},
            ]},
        });
        assert_eq!(count_units(&metadata, &["a"]), Some(5 * USUAL));
    }
}
