//! How long shapes take, kept in a file: the times do not depend on what the weights are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tch::Device;

use super::shapes::Shape;
use crate::arch::{Params, parameter_layout};
use crate::checkpoint;
use crate::files;
use crate::graph::WeightMode;
use crate::measure::{BenchCase, Machine, Versions, machine, versions};
use crate::pack::{PackOptions, draft};
use crate::pipeline::fresh_process::{Read, in_fresh_process};
use crate::pipeline::run::Run;
use crate::pipeline::student::Ancestor;
use crate::quantize::FakeQuantization;

/// Fresh processes that time a shape; the fastest median counts, for what disturbs only adds.
const ROUNDS: usize = 2;

/// Times on one machine, with one number of threads, of one row.
pub(super) struct LatencyTable<'a> {
    file: PathBuf,
    row: Read<'a>,
    kept: Kept,
}

/// The file.
#[derive(PartialEq, Serialize, Deserialize)]
struct Kept {
    schema: u32,
    machine: Machine,
    versions: Versions,
    threads: usize,
    text_sha256: String,
    /// By shape, as its configuration has it.
    cases: BTreeMap<String, BenchCase>,
}

impl<'a> LatencyTable<'a> {
    /// The times that an earlier run left, if they are of the same circumstances.
    pub(super) fn open(run: &Run, threads: usize, row: Read<'a>) -> Result<Self> {
        let file = run.options.out.join("search/latency.json");
        let text_sha256 = match row {
            (text, None) => files::sha256_hex(text.as_bytes()),
            both => files::sha256_hex(&serde_json::to_vec(&both)?),
        };
        let (machine, versions) = (machine(), versions());
        let fresh = Kept { schema: 1, machine, versions, threads, text_sha256, cases: BTreeMap::new() };
        let same = |kept: &Kept| {
            let circumstances = |of: &Kept| (of.schema, of.machine.clone(), of.versions.clone(), of.threads);
            circumstances(kept) == circumstances(&fresh) && kept.text_sha256 == fresh.text_sha256
        };
        let kept = files::read_json::<Kept>(&file).ok().filter(same).unwrap_or(fresh);
        Ok(Self { file, row, kept })
    }

    /// The time of a shape, with new weights in the form that ships and the recipe's tokenizer.
    pub(super) fn measure(&mut self, run: &Run, ancestor: Ancestor, shape: &Shape) -> Result<BenchCase> {
        let weights = run.recipe.quantize().map_or(WeightMode::Int8Layers, FakeQuantization::weights);
        let key = files::sha256_hex(&serde_json::to_vec(&(&shape.config, run.recipe.max_tokens, weights.name()))?);
        if let Some(case) = self.kept.cases.get(&key) {
            return Ok(case.clone());
        }
        let parent = self.file.parent().context("a file without a folder")?;
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let folder = tempfile::Builder::new().prefix("shape-").tempdir_in(parent)?;
        let (config, info) = (&shape.config, &ancestor.model.info);
        let params = Params::initialise(&parameter_layout(config, info.head), Device::Cpu);
        if let Some(pooling) = ancestor.model.pooling {
            checkpoint::write_pooling(folder.path(), pooling, config.hidden_size)?;
        }
        let tokenizer = checkpoint::tokenizer_path(ancestor.folder)?;
        checkpoint::save(folder.path(), config, info, &params, &tokenizer)?;
        let options = PackOptions {
            id: shape.name(),
            task: Some(run.recipe.task),
            max_tokens: Some(run.recipe.max_tokens),
            weights,
            ..PackOptions::default()
        };
        let bundle = folder.path().join("shape.limbeck");
        draft(folder.path(), &options)?.write(&bundle)?;
        let case = time(&bundle, self.kept.threads, self.row, run.options.runtime.as_deref())?;
        self.kept.cases.insert(key, case.clone());
        files::write_json(&self.file, &self.kept)?;
        Ok(case)
    }
}

/// The time of one row in a bundle.
///
/// # Errors
/// `limbeck bench` cannot run it.
pub(super) fn time(bundle: &Path, threads: usize, row: Read, runtime: Option<&Path>) -> Result<BenchCase> {
    let threads = threads.to_string();
    let words = ["--runs", "60", "--warm-up", "15", "--threads", &threads];
    let mut best: Option<BenchCase> = None;
    for _ in 0..ROUNDS {
        let measured = in_fresh_process(bundle, &words, Some(row), runtime)?;
        let case = measured.cases.into_iter().next().context("`limbeck bench` measured nothing")?;
        if best.as_ref().is_none_or(|best| case.p50_ms < best.p50_ms) {
            best = Some(case);
        }
    }
    best.context("no round was measured")
}
