//! Hugging Face checkpoints in and out: `config.json`, `model.safetensors`, `tokenizer.json`.

mod init;
mod names;
mod tensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::arch::{Head, ModelConfig, Params, parameter_layout};
use crate::files;

pub use init::{evenly_spaced_layers, student_from_teacher};
pub use names::canonical_name;
pub use tensors::{read_arrays, read_tensors, write_tensors};

/// A model folder that was read and checked.
pub struct Checkpoint {
    /// The folder.
    pub folder: PathBuf,
    /// Shape of the model.
    pub config: ModelConfig,
    /// Label names of a classification checkpoint, in logit order.
    pub labels: Option<Vec<String>>,
    /// Parameters in the layout of `config` and the head that was asked for.
    pub params: Params,
    /// Parameters that the file does not have and that were initialised: a new head.
    pub initialised: Vec<String>,
}

/// Reads `config.json` of a model folder.
pub fn read_config(folder: &Path) -> Result<Value> {
    if !folder.is_dir() {
        bail!("{} is not a folder; give a Hugging Face model folder with config.json", folder.display());
    }
    files::read_json(&folder.join("config.json"))
}

/// The tokenizer file of a model folder.
pub fn tokenizer_path(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("tokenizer.json");
    if !path.is_file() {
        bail!(
            "{} has no tokenizer.json; save the tokenizer with Hugging Face `tokenizers` (tokenizer.save) beside the model",
            folder.display()
        );
    }
    Ok(path)
}

/// Reads a model folder for the given head.
///
/// A head (and pooler) that the file lacks is initialised from libtorch's random state and listed in
/// [`Checkpoint::initialised`]; heads of other tasks are left aside.
///
/// # Errors
/// Missing files; a tensor that is unknown, missing, of another shape, or not finite, by name.
pub fn load(folder: &Path, head: Head, device: Device) -> Result<Checkpoint> {
    let raw = read_config(folder)?;
    let config = ModelConfig::from_hf(&raw).with_context(|| format!("in {}", folder.display()))?;
    let labels = ModelConfig::labels_from_hf(&raw)?;
    let path = folder.join("model.safetensors");
    let mut found = read_tensors(&path)?;
    let mut tensors = BTreeMap::new();
    let mut initialised = Vec::new();
    for spec in parameter_layout(&config, head) {
        match found.remove(&spec.name) {
            Some(tensor) => {
                if tensor.size() != spec.shape {
                    if spec.name.starts_with("classifier.") {
                        bail!(
                            "{}: the head `{}` has shape {:?}, but {} labels are asked for ({:?}); \
                             start from the encoder without this head, or use its labels",
                            path.display(),
                            spec.name,
                            tensor.size(),
                            spec.shape[0],
                            spec.shape
                        );
                    }
                    bail!(
                        "{}: tensor `{}` has shape {:?}, config.json implies {:?}",
                        path.display(),
                        spec.name,
                        tensor.size(),
                        spec.shape
                    );
                }
                if tensor.isfinite().all().int64_value(&[]) == 0 {
                    bail!("{}: tensor `{}` holds NaN or infinite values", path.display(), spec.name);
                }
                tensors.insert(spec.name, tensor);
            }
            None if names::may_be_new(&spec.name) && head != Head::None => {
                let value = crate::arch::initial_value(&spec, config.initializer_range, device);
                initialised.push(spec.name.clone());
                tensors.insert(spec.name, value);
            }
            None => bail!("{}: tensor `{}` is missing", path.display(), spec.name),
        }
    }
    if let Some(unknown) = found.keys().find(|name| !names::belongs_to_another_head(name)) {
        bail!("{}: unknown tensor `{unknown}`; is config.json the one of this file?", path.display());
    }
    Ok(Checkpoint { folder: folder.to_owned(), config, labels, params: Params::new(tensors, device), initialised })
}

/// Writes a model folder that `transformers` loads: `config.json`, `model.safetensors` and a copy of
/// `tokenizer`. Each file is replaced as a whole; the weights come last, so that a folder with
/// weights is complete.
pub fn save(
    folder: &Path,
    config: &ModelConfig,
    labels: Option<&[String]>,
    params: &Params,
    tokenizer: &Path,
) -> Result<()> {
    let tokenizer_bytes = std::fs::read(tokenizer).with_context(|| format!("cannot read {}", tokenizer.display()))?;
    files::write_bytes(&folder.join("tokenizer.json"), &tokenizer_bytes)?;
    files::write_json(&folder.join("config.json"), &config.to_hf(labels))?;
    let named: Vec<(String, Tensor)> =
        params.iter().map(|(name, t)| (names::file_name(name, labels.is_some()), t.shallow_clone())).collect();
    write_tensors(&folder.join("model.safetensors"), &named, &BTreeMap::from([("format".into(), "pt".into())]))
}

#[cfg(test)]
mod tests;
