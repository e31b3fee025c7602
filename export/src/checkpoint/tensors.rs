//! safetensors files as tensors (libtorch) and arrays (no libtorch).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Kind, Tensor};

use super::names::canonical_name;
use crate::files;

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

/// Calls `keep` with each weight of the file: limbeck's name, shape, fp32 values.
fn for_each_weight(path: &Path, mut keep: impl FnMut(String, &[usize], Vec<f32>) -> Result<()>) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is not a whole safetensors file; fetch or save it again", path.display()))?;
    for (file_name, view) in file.iter() {
        let Some(name) = canonical_name(file_name) else { continue };
        let Some(values) = to_f32(&view) else {
            bail!("{}: tensor `{file_name}` has type {:?}; expected F32, F16 or BF16", path.display(), view.dtype());
        };
        keep(name, view.shape(), values)?;
    }
    Ok(())
}

/// Reads all weights as fp32 tensors on the CPU, under limbeck's names.
///
/// # Errors
/// No such file, a truncated file, a weight that is not floating point, a name that occurs twice.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for_each_weight(path, |name, shape, values| {
        let size: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        if tensors.insert(name.clone(), Tensor::from_slice(&values).reshape(size)).is_some() {
            bail!("{}: tensor `{name}` occurs twice", path.display());
        }
        Ok(())
    })?;
    Ok(tensors)
}

/// [`read_tensors`] as arrays, for the parts of limbeck that work without libtorch.
pub fn read_arrays(path: &Path) -> Result<BTreeMap<String, ArrayD<f32>>> {
    let mut arrays = BTreeMap::new();
    for_each_weight(path, |name, shape, values| {
        let array = ArrayD::from_shape_vec(IxDyn(shape), values)
            .with_context(|| format!("{}: tensor `{name}` has the wrong length", path.display()))?;
        if arrays.insert(name.clone(), array).is_some() {
            bail!("{}: tensor `{name}` occurs twice", path.display());
        }
        Ok(())
    })?;
    Ok(arrays)
}

/// Writes fp32 tensors atomically, with string metadata.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let mut buffers = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Float).contiguous();
        let mut bytes = vec![0u8; tensor.numel() * 4];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).with_context(|| format!("cannot read tensor `{name}`"))?;
        let shape = tensor.size().iter().map(|&d| d as usize).collect::<Vec<_>>();
        buffers.push((name, shape, bytes));
    }
    let views = buffers
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
    let file = safetensors::serialize(views, Some(metadata))?;
    files::write_atomic(path, |out| Ok(out.write_all(&file)?))
}
