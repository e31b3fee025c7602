//! Hugging Face checkpoints in and out: `config.json`, `model.safetensors`, `tokenizer.json`.

mod config;
mod head_info;
mod init;
mod names;
mod narrow;
mod place;
mod weights;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ndarray::ArrayD;
use serde_json::Value;
use tch::Device;

use crate::arch::{Head, ModelConfig, Params, Pooling, initial_value, parameter_layout};
use crate::files;

pub use config::{ends_of_text, mark_trained_for, name_ends_of_text, trained_for};
pub use head_info::{HeadInfo, Problem, SentencePooling, read_pooling, write_pooling};
pub use init::{evenly_spaced_layers, head_from_teacher, student_from_teacher};
pub use narrow::Directions;
pub use place::file_arrays;
pub use weights::{
    Arrays, array_of, read_arrays, read_tensors, tensor_of, weights_sha256, write_arrays, write_tensors,
};

/// A model folder that was read and checked.
pub struct Checkpoint {
    /// The folder.
    pub folder: PathBuf,
    /// Shape of the model.
    pub config: ModelConfig,
    /// The head that was asked for, with the labels of `config.json` when they fit it.
    pub info: HeadInfo,
    /// Parameters in the layout of `config` and the head that was asked for.
    pub params: Params,
    /// Parameters that the file does not have and that were initialised: a new head.
    pub initialised: Vec<String>,
}

/// A model folder for parts of limbeck that work without libtorch.
pub struct ArrayCheckpoint {
    /// Shape of the model.
    pub config: ModelConfig,
    /// The head, with the labels of `config.json`.
    pub info: HeadInfo,
    /// Every parameter of the layout of `config` and head.
    pub arrays: Arrays,
}

/// Shards of a checkpoint are at most this long, as transformers makes them.
pub const SHARD_BYTES: u64 = 5_000_000_000;

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

/// SHA-256 over all files of a model folder that decide what it gives for a text: weights, `config.json`,
/// `tokenizer.json`, and those that say how it pools, if it has them.
///
/// # Errors
/// A file that is missing or cannot be read.
pub fn model_sha256(folder: &Path) -> Result<String> {
    let mut hashes = format!("weights {}", weights_sha256(folder)?);
    let optional = ["1_Pooling/config.json", "modules.json"].map(|name| folder.join(name));
    let paths = [folder.join("config.json"), tokenizer_path(folder)?];
    for path in paths.iter().chain(optional.iter().filter(|path| path.is_file())) {
        let name = path.strip_prefix(folder).unwrap_or(path);
        hashes += &format!(", {} {}", name.display(), files::sha256_file(path)?);
    }
    Ok(files::sha256_hex(hashes.as_bytes()))
}

/// `config.json` as limbeck understands it: the model's shape and the head that the file names.
pub fn read_model_config(folder: &Path) -> Result<(ModelConfig, HeadInfo)> {
    let (config, info) = read_shape(folder)?;
    Ok((config, info?))
}

/// [`read_model_config`], where the head may be one that limbeck does not know.
pub fn read_shape(folder: &Path) -> Result<(ModelConfig, Result<HeadInfo>)> {
    let raw = read_config(folder)?;
    let within = || format!("in {}", folder.display());
    let config = ModelConfig::from_hf(&raw).with_context(within)?;
    let info = HeadInfo::from_hf(&raw, &config).with_context(within);
    Ok((config, info))
}

/// Whether a folder whose config.json names the head `own` can hold `head`'s parameters: families give heads of
/// different tasks the same names, and a head for other labels is another one.
fn may_hold(own: Head, head: Head) -> bool {
    let masked = |head| matches!(head, Head::MaskedLm | Head::Pretraining);
    let labels = |head| match head {
        Head::Classification { labels } | Head::TokenClassification { labels } => Some(labels),
        _ => None,
    };
    let same = std::mem::discriminant(&own) == std::mem::discriminant(&head) && labels(own) == labels(head);
    own == Head::None || same || (masked(own) && masked(head))
}

/// The parameters of a layout that a folder's files hold, and the names of those that they lack. A head that is
/// there under the same names for another task is not that head.
fn read_layout(
    folder: &Path,
    config: &ModelConfig,
    head: Head,
    own: Option<&HeadInfo>,
) -> Result<(Arrays, Vec<String>)> {
    let has_head = own.is_none_or(|own| may_hold(own.head, head));
    let (mut file, path) = place::Reader::open(folder, config, head)?;
    let mut found = Arrays::new();
    let mut missing = Vec::new();
    for spec in parameter_layout(config, head) {
        if spec.name.starts_with("head.") && !has_head {
            missing.push(spec.name);
            continue;
        }
        match file.take(&spec).with_context(|| format!("in {}", path.display()))? {
            Some(array) => {
                found.insert(spec.name, array);
            }
            None => missing.push(spec.name),
        }
    }
    file.finish(&found).with_context(|| format!("in {}", path.display()))?;
    Ok((found, missing))
}

/// Reads a model folder for the given head.
///
/// A head (and pooler) that the file lacks is initialised from libtorch's random state and listed in
/// [`Checkpoint::initialised`]; heads of other tasks are left aside.
///
/// # Errors
/// Missing files; a head that the architecture does not have; a tensor that is unknown, missing, of another shape,
/// or not finite, by the file's name.
pub fn load(folder: &Path, head: Head, device: Device) -> Result<Checkpoint> {
    let (config, own) = read_shape(folder)?;
    let own = own.ok();
    head.check(&config).with_context(|| format!("in {}", folder.display()))?;
    let (arrays, missing) = read_layout(folder, &config, head, own.as_ref())?;
    // Labels of another head are not this one's.
    let info = own.filter(|own| own.head == head).unwrap_or_else(|| HeadInfo::new(head));
    let mut tensors: std::collections::BTreeMap<_, _> =
        arrays.iter().map(|(name, array)| (name.clone(), tensor_of(array))).collect();
    for spec in parameter_layout(&config, head).into_iter().filter(|spec| missing.contains(&spec.name)) {
        if head == Head::None || !names::may_be_new(&spec.name) {
            bail!("{}: {}", folder.display(), place::missing(&config, head, &spec.name));
        }
        tensors.insert(spec.name.clone(), initial_value(&spec, device));
    }
    let params = Params::new(tensors, device);
    Ok(Checkpoint { folder: folder.to_owned(), config, info, params, initialised: missing })
}

/// Reads a model folder, whole, with the head that its `config.json` names, or with `head`. Only a pooler that the
/// head does not read may be missing.
///
/// # Errors
/// As [`load`], and a head that the file does not hold.
pub fn load_arrays(folder: &Path, head: Option<Head>) -> Result<ArrayCheckpoint> {
    let (config, own) = read_shape(folder)?;
    let (own, info) = match (head, own) {
        (None, own) => own.map(|own| (Some(own.clone()), own))?,
        (Some(head), Ok(own)) if own.head == head => (Some(own.clone()), own),
        (Some(head), own) => {
            head.check(&config).with_context(|| format!("in {}", folder.display()))?;
            (own.ok(), HeadInfo::new(head))
        }
    };
    let (arrays, missing) = read_layout(folder, &config, info.head, own.as_ref())?;
    let unread = |name: &String| name.starts_with("pooler.") && !info.head.reads_pooler(&config);
    if let Some(name) = missing.iter().find(|name| !unread(name)) {
        bail!("{}: {}", folder.display(), place::missing(&config, info.head, name));
    }
    Ok(ArrayCheckpoint { config, info, arrays })
}

/// Reads the encoder of a model folder, whatever its head, with its pooler if the file has one.
///
/// # Errors
/// As [`load_arrays`].
pub fn load_encoder(folder: &Path) -> Result<ArrayCheckpoint> {
    load_arrays(folder, Some(Head::Embedding { pooling: Pooling::Mean, normalize: false }))
}

/// Writes a model folder that `transformers` loads: `config.json` and the weights, in shards of at most
/// `shard_bytes`. Each file is replaced as a whole; the weights come last, so that a folder with weights is
/// complete.
///
/// # Errors
/// Parameters that are not those of `config` and head; a config that its file would not give back; a folder that
/// cannot be written.
pub fn save_model(
    folder: &Path,
    config: &ModelConfig,
    info: &HeadInfo,
    params: &Params,
    shard_bytes: u64,
) -> Result<()> {
    let mut arrays = Arrays::new();
    for spec in parameter_layout(config, info.head) {
        let tensor = params.get(&spec.name).with_context(|| format!("parameter `{}` is missing", spec.name))?;
        let array: ArrayD<f32> = array_of(tensor)?;
        ensure!(tensor.size() == spec.shape, "parameter `{}` has shape {:?}", spec.name, tensor.size());
        arrays.insert(spec.name, array);
    }
    let written = config.to_hf(info);
    ensure!(
        ModelConfig::from_hf(&written).ok().as_ref() == Some(config),
        "transformers' {} has no model of this shape: config.json would describe another one",
        config.family.name()
    );
    files::write_json(&folder.join("config.json"), &written)?;
    weights::write_folder(folder, &place::file_arrays(config, info.head, &arrays)?, shard_bytes)
}

/// [`save_model`] with a copy of `tokenizer` beside it.
pub fn save(folder: &Path, config: &ModelConfig, info: &HeadInfo, params: &Params, tokenizer: &Path) -> Result<()> {
    let tokenizer_bytes = std::fs::read(tokenizer).with_context(|| format!("cannot read {}", tokenizer.display()))?;
    files::write_bytes(&folder.join("tokenizer.json"), &tokenizer_bytes)?;
    save_model(folder, config, info, params, SHARD_BYTES)
}

/// Reads back parameters that [`save`] wrote, for a model that already holds their layout.
pub fn read_params(folder: &Path, config: &ModelConfig, head: Head) -> Result<Arrays> {
    let (arrays, missing) = read_layout(folder, config, head, None)?;
    match missing.first() {
        Some(name) => bail!("{}: {}", folder.display(), place::missing(config, head, name)),
        None => Ok(arrays),
    }
}

#[cfg(test)]
mod tests;
