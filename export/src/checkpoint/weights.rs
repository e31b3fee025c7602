//! safetensors files, whole or in shards, as fp32 arrays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::files;

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Arrays by name.
pub type Arrays = BTreeMap<String, ArrayD<f32>>;

/// The index of a checkpoint in shards.
#[derive(Serialize, Deserialize)]
struct Index {
    metadata: IndexMetadata,
    /// The shard of each tensor.
    weight_map: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct IndexMetadata {
    /// Bytes of all tensors.
    total_size: u64,
}

/// fp32 values of a floating-point tensor; `None` for other types.
fn to_f32(view: &TensorView) -> Option<Vec<f32>> {
    let data = view.data();
    let pairs = || data.chunks_exact(2).map(|b| [b[0], b[1]]);
    Some(match view.dtype() {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => pairs().map(|b| half::f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect(),
        _ => return None,
    })
}

/// Reads one safetensors file. `skip` names tensors that are not read.
///
/// # Errors
/// No such file, a truncated file, a tensor that is not F32, F16 or BF16.
fn read_file(path: &Path, skip: &dyn Fn(&str) -> bool) -> Result<Arrays> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is not a whole safetensors file; fetch or save it again", path.display()))?;
    let mut arrays = BTreeMap::new();
    for (name, view) in file.iter().filter(|(name, _)| !skip(name)) {
        let Some(values) = to_f32(&view) else {
            bail!("{}: tensor `{name}` has type {:?}; expected F32, F16 or BF16", path.display(), view.dtype());
        };
        let array = ArrayD::from_shape_vec(IxDyn(view.shape()), values)
            .with_context(|| format!("{}: tensor `{name}` has the wrong length", path.display()))?;
        arrays.insert(name.to_owned(), array);
    }
    Ok(arrays)
}

/// Reads all tensors of a safetensors file as fp32 arrays.
///
/// # Errors
/// No such file, a truncated file, a tensor that is not floating point.
pub fn read_arrays(path: &Path) -> Result<Arrays> {
    read_file(path, &|_| false)
}

/// The names of an index's files.
fn shards<'a>(index: &'a Index, path: &Path) -> Result<BTreeSet<&'a String>> {
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    for shard in &shards {
        ensure!(
            Path::new(shard).file_name().is_some_and(|name| name == shard.as_str()),
            "{}: `{shard}` is not the name of a file in this folder",
            path.display()
        );
    }
    Ok(shards)
}

/// SHA-256 of a model folder's weights: of `model.safetensors`, or of the hashes of all shards.
///
/// # Errors
/// No weights, or a shard that is missing.
pub fn weights_sha256(folder: &Path) -> Result<String> {
    let index_path = folder.join(INDEX);
    if folder.join(WHOLE).is_file() || !index_path.is_file() {
        return files::sha256_file(&folder.join(WHOLE));
    }
    let index: Index = files::read_json(&index_path)?;
    let hashes = shards(&index, &index_path)?.into_iter().map(|shard| files::sha256_file(&folder.join(shard)));
    Ok(files::sha256_hex(hashes.collect::<Result<Vec<_>>>()?.concat().as_bytes()))
}

/// The weights of a model folder under the file's names, and the file to name in messages.
pub(super) fn read_folder(folder: &Path, skip: &dyn Fn(&str) -> bool) -> Result<(Arrays, PathBuf)> {
    let whole = folder.join(WHOLE);
    let index_path = folder.join(INDEX);
    if whole.is_file() || !index_path.is_file() {
        return Ok((read_file(&whole, skip)?, whole));
    }
    let index: Index = files::read_json(&index_path)?;
    let mut arrays = Arrays::new();
    for shard in shards(&index, &index_path)? {
        for (name, array) in read_file(&folder.join(shard), skip)? {
            match index.weight_map.get(&name) {
                Some(own) if own == shard => arrays.insert(name, array),
                _ => bail!("{}: tensor `{name}` of {shard} is not listed there", index_path.display()),
            };
        }
    }
    for (name, shard) in &index.weight_map {
        ensure!(
            skip(name) || arrays.contains_key(name),
            "{}: tensor `{name}` is missing",
            folder.join(shard).display()
        );
    }
    Ok((arrays, index_path))
}

/// An array as a CPU tensor.
pub fn tensor_of(array: &ArrayD<f32>) -> Tensor {
    let size: Vec<i64> = array.shape().iter().map(|&d| d as i64).collect();
    match array.as_slice() {
        Some(values) => Tensor::from_slice(values).reshape(size),
        None => Tensor::from_slice(&array.iter().copied().collect::<Vec<_>>()).reshape(size),
    }
}

/// A tensor of any device and kind as an fp32 array.
pub fn array_of(tensor: &Tensor) -> Result<ArrayD<f32>> {
    let tensor = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut values = vec![0f32; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    let shape: Vec<usize> = tensor.size().iter().map(|&d| d as usize).collect();
    Ok(ArrayD::from_shape_vec(IxDyn(&shape), values)?)
}

/// Reads all tensors of a safetensors file as fp32 tensors on the CPU; see [`read_arrays`].
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    Ok(read_arrays(path)?.iter().map(|(name, array)| (name.clone(), tensor_of(array))).collect())
}

/// Writes arrays as fp32, atomically, with string metadata.
pub fn write_arrays(path: &Path, arrays: &Arrays, metadata: &BTreeMap<String, String>) -> Result<()> {
    write_some(path, &arrays.iter().collect::<Vec<_>>(), metadata)
}

fn write_some(path: &Path, arrays: &[(&String, &ArrayD<f32>)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let buffers: Vec<_> = arrays
        .iter()
        .map(|(name, array)| (*name, array.shape(), array.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()))
        .collect();
    let views = buffers
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
    let file = safetensors::serialize(views, Some(metadata))?;
    files::write_atomic(path, |out| Ok(out.write_all(&file)?))
}

/// Writes tensors as fp32, atomically, with string metadata.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let arrays = tensors
        .iter()
        .map(|(name, tensor)| {
            let array = array_of(tensor).with_context(|| format!("cannot read tensor `{name}`"))?;
            Ok((name.clone(), array))
        })
        .collect::<Result<Arrays>>()?;
    write_arrays(path, &arrays, metadata)
}

/// Writes a model folder's weights: one file, or shards of at most `shard_bytes` (a larger tensor has its own) with
/// an index, as transformers does. What an earlier save left is removed; over shards that are replaced there is no
/// model until all are written.
pub(super) fn write_folder(folder: &Path, arrays: &Arrays, shard_bytes: u64) -> Result<()> {
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = |array: &ArrayD<f32>| array.len() as u64 * 4;
    type Shard<'a> = Vec<(&'a String, &'a ArrayD<f32>)>;
    let mut shards: Vec<(u64, Shard)> = vec![(0, vec![])];
    for (name, array) in arrays {
        let size = bytes(array);
        if let Some((held, shard)) = shards.last_mut()
            && (shard.is_empty() || *held + size <= shard_bytes)
        {
            *held += size;
            shard.push((name, array));
        } else {
            shards.push((size, vec![(name, array)]));
        }
    }
    if let [(_, all)] = shards.as_slice() {
        write_some(&folder.join(WHOLE), all, &metadata)?;
        files::remove_if_there(&folder.join(INDEX))?;
        return remove_shards(folder, &BTreeSet::new());
    }
    // First of all the index goes: with it, new shards and old ones would pass for one model.
    files::remove_if_there(&folder.join(INDEX))?;
    files::remove_if_there(&folder.join(WHOLE))?;
    let count = shards.len();
    let mut weight_map = BTreeMap::new();
    for (i, (_, shard)) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{count:05}.safetensors", i + 1);
        write_some(&folder.join(&name), shard, &metadata)?;
        weight_map.extend(shard.iter().map(|(tensor, _)| ((*tensor).clone(), name.clone())));
    }
    let total_size = arrays.values().map(bytes).sum();
    let named: BTreeSet<String> = weight_map.values().cloned().collect();
    files::write_json(&folder.join(INDEX), &Index { metadata: IndexMetadata { total_size }, weight_map })?;
    remove_shards(folder, &named)
}

/// Removes shards but those that are named.
fn remove_shards(folder: &Path, named: &BTreeSet<String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let shard = name.starts_with("model-") && name.contains("-of-") && name.ends_with(".safetensors");
        if shard && !named.contains(&name) {
            fs::remove_file(folder.join(&name))
                .with_context(|| format!("cannot remove {}", folder.join(&name).display()))?;
        }
    }
    Ok(())
}
