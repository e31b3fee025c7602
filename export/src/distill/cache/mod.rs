//! A teacher's outputs on disk: computed once, read in every epoch and by every student of that teacher.
//!
//! A cache is a folder of safetensors files ("shards"), each with the values of some consecutive examples, without
//! padding. What is kept of texts and all `logits` are fp32, the rest fp16; where a value is beyond fp16 (65504), that
//! field is fp32 in that shard. Shards are mapped, not read: what a batch does not touch costs no memory, and the
//! system keeps in memory what there is room for.

mod field;
mod fill;
mod plan;
mod shard;
mod space;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

pub use field::{Extent, Field};
use plan::{Limits, Plan};
use shard::{Shard, Stamp};

use crate::files;
use crate::progress::Reporter;

/// Changes with the layout of the files: older ones are then left alone.
const FORMAT: u32 = 1;

/// Tensors by the names of their fields.
pub type Outputs = BTreeMap<String, Tensor>;

/// All that decides a teacher's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheKey {
    /// Hash of the teacher's weights and of all else that decides what it gives for tokens.
    pub teacher: String,
    /// SHA-256 of the encoded texts, in order: [`rows_sha256`].
    pub data: String,
    /// Tokens after which texts are cut.
    pub max_tokens: usize,
    /// What is kept, in any order.
    pub fields: Vec<Field>,
}

impl CacheKey {
    /// Hash of the key, the lengths and the layout.
    fn identity(&self, lengths: &[usize], limits: Limits) -> Result<String> {
        let mut hasher = Sha256::new();
        for &length in lengths {
            hasher.update((length as u64).to_le_bytes());
        }
        let lengths = files::hex(&hasher.finalize());
        Ok(files::sha256_hex(&serde_json::to_vec(&(FORMAT, self, lengths, limits.bytes, limits.examples))?))
    }

    fn check(&self, lengths: &[usize]) -> Result<()> {
        ensure!(!self.fields.is_empty(), "no field of the teacher's outputs is asked for");
        let mut names = BTreeSet::new();
        for Field { name, extent } in &self.fields {
            ensure!(!name.is_empty() && name != "__metadata__", "`{name}` cannot be the name of a field");
            ensure!(names.insert(name), "the field `{name}` is asked for twice");
            ensure!(extent.width() > 0, "the field `{name}` has the width 0");
        }
        for (example, &length) in lengths.iter().enumerate() {
            ensure!(
                (1..=self.max_tokens).contains(&length),
                "example {example} has {length} tokens; 1 to {} are expected",
                self.max_tokens
            );
        }
        Ok(())
    }
}

/// SHA-256 of encoded texts for [`CacheKey::data`]; where token types are read too, chain them to the ids.
pub fn rows_sha256<'a>(rows: impl IntoIterator<Item = &'a [i64]>) -> String {
    let mut hasher = Sha256::new();
    let mut bytes = Vec::new();
    for row in rows {
        bytes.clear();
        bytes.extend((row.len() as u64).to_le_bytes());
        bytes.extend(row.iter().flat_map(|id| id.to_le_bytes()));
        hasher.update(&bytes);
    }
    files::hex(&hasher.finalize())
}

/// A teacher's outputs for a data set, on disk. Threads may read batches at the same time.
#[derive(Debug)]
pub struct TeacherCache {
    folder: PathBuf,
    identity: String,
    /// Its fields sorted by name.
    key: CacheKey,
    plan: Plan,
    shards: Vec<Option<Shard>>,
}

impl TeacherCache {
    /// Opens the cache of a key in its own folder inside `folder`, which need not exist yet. `lengths` are the tokens
    /// of every example. Every shard is read and its hash compared; one that is damaged or another's is named in a note
    /// and counts as missing. Nothing is written.
    ///
    /// # Errors
    /// The key or the lengths make no sense.
    pub fn open(folder: &Path, key: &CacheKey, lengths: &[usize], reporter: &Reporter) -> Result<Self> {
        Self::open_with(folder, key, lengths, Limits::default(), reporter)
    }

    fn open_with(
        folder: &Path,
        key: &CacheKey,
        lengths: &[usize],
        limits: Limits,
        reporter: &Reporter,
    ) -> Result<Self> {
        key.check(lengths)?;
        let mut key = key.clone();
        key.fields.sort_by(|a, b| a.name.cmp(&b.name));
        let identity = key.identity(lengths, limits)?;
        let plan = Plan::new(&key.fields, lengths, limits);
        let shards = (0..plan.shards()).map(|_| None).collect();
        // 64 bits keep folders apart; the shards carry the whole hash.
        let mut cache = Self { folder: folder.join(&identity[..16]), identity, key, plan, shards };
        for problem in cache.find_shards(reporter) {
            reporter.note(&problem);
        }
        Ok(cache)
    }

    /// Whether every shard is there.
    pub fn is_complete(&self) -> bool {
        self.shards.iter().all(Option::is_some)
    }

    /// Bytes of the whole shards on disk.
    pub fn size_bytes(&self) -> u64 {
        self.shards.iter().flatten().map(Shard::file_bytes).sum()
    }

    /// The key's own folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The asked-for fields of some examples, in this order: fp32 on `device`, padded with 0 to the longest of them;
    /// `[batch, width]`, `[batch, length, width]` or `[batch, heads, length, length]`.
    ///
    /// # Errors
    /// An example or a field that the cache has not, or a shard that [`Self::fill`] has yet to compute.
    pub fn batch(&self, indices: &[usize], fields: &[&str], device: Device) -> Result<Outputs> {
        let mut rows = Vec::with_capacity(indices.len());
        for &example in indices {
            let examples = self.plan.lengths.len();
            ensure!(example < examples, "example {example} of the teacher's outputs: there are {examples}");
            let shard = self.plan.shard_of(example);
            let held = self.shards[shard].as_ref().with_context(|| {
                format!("the teacher's outputs for example {example} are not computed yet: fill the cache first")
            })?;
            rows.push(Row { example, number: shard, shard: held });
        }
        let longest = rows.iter().map(|row| self.plan.lengths[row.example]).max();
        let longest = longest.context("a batch of no examples")?;
        let mut tensors = Outputs::new();
        for &name in fields {
            let field = self.key.fields.iter().position(|field| field.name == name).with_context(|| {
                let names: Vec<&str> = self.key.fields.iter().map(|field| field.name.as_str()).collect();
                format!("the teacher's outputs have no `{name}`, only {}", names.join(", "))
            })?;
            // Halves cross to the device, and become fp32 there.
            let tensor = self.padded(field, &rows, longest)?.f_to_device(device)?.f_to_kind(Kind::Float)?;
            tensors.insert(name.to_owned(), tensor);
        }
        Ok(tensors)
    }

    /// A field of some examples as it is stored, padded; fp32 if one of the shards has it so.
    fn padded(&self, field: usize, rows: &[Row], longest: usize) -> Result<Tensor> {
        let extent = self.key.fields[field].extent;
        let wide = rows.iter().any(|row| row.shard.kind(field) == Dtype::F32);
        let (kind, size) = if wide { (Kind::Float, 4) } else { (Kind::Half, 2) };
        let mut tensor = Tensor::f_zeros(extent.padded(rows.len(), longest), (kind, Device::Cpu))?;
        let bytes = bytes_mut(&mut tensor, size);
        let row_bytes = bytes.len() / rows.len();
        for (padded, row) in bytes.chunks_exact_mut(row_bytes).zip(rows) {
            let values = row.shard.values(field, self.plan.span(extent, row.number, row.example));
            let runs = extent.runs(self.plan.lengths[row.example], longest);
            let widen = wide && row.shard.kind(field) == Dtype::F16;
            let stored = runs.length * if widen { 2 } else { size };
            for (run, start) in values.chunks_exact(stored).zip(runs.starts()) {
                let place = &mut padded[start * size..(start + runs.length) * size];
                if widen {
                    for (place, half) in place.chunks_exact_mut(4).zip(run.chunks_exact(2)) {
                        place.copy_from_slice(&half::f16::from_le_bytes([half[0], half[1]]).to_f32().to_le_bytes());
                    }
                } else {
                    place.copy_from_slice(run);
                }
            }
        }
        Ok(tensor)
    }

    fn path(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("{shard:06}.safetensors"))
    }

    fn stamp(&self, shard: usize) -> Stamp<'_> {
        Stamp { cache: &self.identity, shard }
    }

    fn map(&self, shard: usize) -> Result<Shard> {
        let values: Vec<u64> = self.key.fields.iter().map(|field| self.plan.values(field.extent, shard)).collect();
        Shard::map(&self.path(shard), self.stamp(shard), &self.key.fields, &values)
    }

    /// Maps and verifies the shards that are not held yet; says which are damaged.
    fn find_shards(&mut self, reporter: &Reporter) -> Vec<String> {
        let missing: Vec<usize> = (0..self.shards.len()).filter(|&s| self.shards[s].is_none()).collect();
        let missing: Vec<usize> = missing.into_iter().filter(|&s| self.path(s).exists()).collect();
        let bar = reporter.bar("verify", missing.len() as u64, 0);
        let found = Mutex::new(Vec::new());
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(&shard) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let checked = self.map(shard).and_then(|held| {
                            held.verify(&self.key.fields)?;
                            Ok(held)
                        });
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.push((shard, checked));
                        bar.advance(found.len() as u64, "shards");
                    }
                });
            }
        });
        bar.finish();
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(shard, _)| *shard);
        let mut problems = Vec::new();
        for (shard, checked) in found {
            match checked {
                Ok(held) => self.shards[shard] = Some(held),
                Err(error) => problems
                    .push(format!("{} is not used and will be computed again: {error:#}", self.path(shard).display())),
            }
        }
        problems
    }
}

/// An example of a batch and where it is.
struct Row<'a> {
    example: usize,
    number: usize,
    shard: &'a Shard,
}

/// The memory of a new tensor.
fn bytes_mut(tensor: &mut Tensor, value_bytes: usize) -> &mut [u8] {
    debug_assert!(tensor.is_contiguous() && tensor.device() == Device::Cpu);
    let bytes = tensor.numel() * value_bytes;
    if bytes == 0 {
        return &mut [];
    }
    // SAFETY: a contiguous tensor on the CPU owns its elements at `data_ptr`, initialised by `zeros`; any bytes are
    // valid values. The slice borrows the tensor mutably, and it was just made, so nothing else shares its memory.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<u8>(), bytes) }
}
