//! One file of the cache: every field of some examples as one flat tensor, in safetensors.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::field::{Field, bytes_of};
use crate::files;

const CACHE: &str = "limbeck.cache";
const SHARD: &str = "limbeck.shard";
const HASH: &str = "limbeck.sha256";

/// Which shard of which cache a file is.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    /// Hash of the cache's key.
    pub cache: &'a str,
    /// Number of the shard.
    pub shard: usize,
}

/// The values of one field as they are stored.
pub(super) struct Column {
    pub kind: Dtype,
    pub bytes: Vec<u8>,
}

impl Column {
    /// Values in a field's own type; in fp32 when one of them is beyond what fp16 holds: clamping it would teach
    /// another value than the teacher's, and cost is only disk.
    pub fn new(field: &Field, values: &[f32]) -> Self {
        if field.kind() == Dtype::F16 {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            if halves.iter().all(|half| half.is_finite()) {
                let mut bytes = vec![0; values.len() * 2];
                for (bytes, half) in bytes.chunks_exact_mut(2).zip(&halves) {
                    bytes.copy_from_slice(&half.to_le_bytes());
                }
                return Self { kind: Dtype::F16, bytes };
            }
        }
        let mut bytes = vec![0; values.len() * 4];
        for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        Self { kind: Dtype::F32, bytes }
    }
}

/// SHA-256 of fields in order: name, type and bytes of each.
fn hash<'a>(fields: &[Field], columns: impl Iterator<Item = (Dtype, &'a [u8])>) -> String {
    let mut hasher = Sha256::new();
    for (field, (kind, bytes)) in fields.iter().zip(columns) {
        hasher.update(format!("{}\n{kind:?} {}\n", field.name, bytes.len()));
        hasher.update(bytes);
    }
    files::hex(&hasher.finalize())
}

/// Writes a shard, atomically.
///
/// # Errors
/// The disk is full, or the folder cannot be written.
pub(super) fn write(path: &Path, stamp: Stamp, fields: &[Field], columns: &[Column]) -> Result<()> {
    let hash = hash(fields, columns.iter().map(|column| (column.kind, column.bytes.as_slice())));
    let metadata = HashMap::from([
        (CACHE.to_owned(), stamp.cache.to_owned()),
        (SHARD.to_owned(), stamp.shard.to_string()),
        (HASH.to_owned(), hash),
    ]);
    let views = fields
        .iter()
        .zip(columns)
        .map(|(field, column)| {
            let values = column.bytes.len() / bytes_of(column.kind);
            Ok((field.name.as_str(), TensorView::new(column.kind, vec![values], &column.bytes)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let file = safetensors::serialize(views, Some(metadata))?;
    files::write_atomic(path, |out| Ok(out.write_all(&file)?))
}

/// A shard mapped to memory.
#[derive(Debug)]
pub(super) struct Shard {
    map: Mmap,
    /// Type and place of every field.
    columns: Vec<(Dtype, Range<usize>)>,
    hash: String,
}

impl Shard {
    /// Maps a shard whose fields have so many `values` each, and checks all but the values themselves.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn map(path: &Path, stamp: Stamp, fields: &[Field], values: &[u64]) -> Result<Self> {
        let file = File::open(path).context("it cannot be opened")?;
        ensure!(file.metadata()?.is_file(), "it is no regular file");
        // SAFETY: the mapping is read-only. limbeck replaces shards by renaming and never changes one in place; that
        // nobody else does cannot be enforced.
        let map = unsafe { Mmap::map(&file) }.context("it cannot be read")?;
        let (header, metadata) = SafeTensors::read_metadata(&map).context("it is cut short or no safetensors file")?;
        let nothing = HashMap::new();
        let said = metadata.metadata().as_ref().unwrap_or(&nothing);
        let of = |key: &str| said.get(key).map(String::as_str).unwrap_or_default();
        ensure!(of(CACHE) == stamp.cache, "it belongs to another teacher or other data");
        ensure!(of(SHARD) == stamp.shard.to_string(), "it is shard {} under another name", of(SHARD));
        ensure!(metadata.tensors().len() == fields.len(), "it has other fields");
        let data = size_of::<u64>() + header;
        let mut columns = Vec::with_capacity(fields.len());
        for (field, &values) in fields.iter().zip(values) {
            let info = metadata.info(&field.name).with_context(|| format!("it has no `{}`", field.name))?;
            ensure!(
                (info.dtype == field.kind() || info.dtype == Dtype::F32) && info.shape == [values as usize],
                "its `{}` is not of the expected type and length",
                field.name
            );
            columns.push((info.dtype, data + info.data_offsets.0..data + info.data_offsets.1));
        }
        let hash = of(HASH).to_owned();
        Ok(Self { map, columns, hash })
    }

    /// Checks the values, which reads the whole file.
    ///
    /// # Errors
    /// They are not those that were written.
    pub fn verify(&self, fields: &[Field]) -> Result<()> {
        let columns = self.columns.iter().map(|(kind, range)| (*kind, &self.map[range.clone()]));
        ensure!(hash(fields, columns) == self.hash, "its values have changed since they were written");
        Ok(())
    }

    /// How a field is stored.
    pub fn kind(&self, field: usize) -> Dtype {
        self.columns[field].0
    }

    /// Values `span` of a field, as bytes.
    pub fn values(&self, field: usize, span: Range<usize>) -> &[u8] {
        let (kind, range) = &self.columns[field];
        let size = bytes_of(*kind);
        &self.map[range.clone()][span.start * size..span.end * size]
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }
}
