//! Parameters taken out of a file's tensors, and put back into them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array2, ArrayD, Axis, IxDyn, Slice, concatenate};

use super::names::{self, Form, Place};
use super::weights::{self, Arrays};
use crate::arch::{Family, Head, ModelConfig, Spec, parameter_layout};

/// The message for a parameter that no tensor holds.
pub(super) fn missing(config: &ModelConfig, head: Head, name: &str) -> String {
    let place = &names::places(config, head, name)[0];
    let hint = if name.starts_with("pooler.") {
        "; the model was saved without a pooler: choose a head that does not read it".to_owned()
    } else if name.starts_with("head.") {
        let train = match head {
            Head::Classification { .. } => "train one with `limbeck distill`, or ",
            _ => "",
        };
        format!("; the file has no {} head: {train}choose another head", head.name())
    } else {
        String::new()
    };
    format!("tensor `{}` is missing{hint}", place.name)
}

/// A folder's tensors, taken out one parameter at a time.
pub(super) struct Reader<'a> {
    config: &'a ModelConfig,
    head: Head,
    /// By plain name: the file's name and the array.
    tensors: BTreeMap<String, (String, ArrayD<f32>)>,
    used: std::collections::BTreeSet<String>,
}

impl<'a> Reader<'a> {
    /// Reads the files; also gives the one to name in messages.
    pub(super) fn open(folder: &Path, config: &'a ModelConfig, head: Head) -> Result<(Self, PathBuf)> {
        let plain = |name: &str| names::plain_name(config.family, name);
        let (arrays, path) = weights::read_folder(folder, &|name| names::is_buffer(&plain(name)))?;
        let mut tensors = BTreeMap::new();
        for (name, array) in arrays {
            if let Some((other, _)) = tensors.insert(plain(&name), (name.clone(), array)) {
                bail!("{}: tensors `{other}` and `{name}` are the same parameter", path.display());
            }
        }
        Ok((Self { config, head, tensors, used: Default::default() }, path))
    }

    /// The parameter's values, if the file has them. Where a parameter has several places, they must hold the same.
    pub(super) fn take(&mut self, spec: &Spec) -> Result<Option<ArrayD<f32>>> {
        let mut value: Option<ArrayD<f32>> = None;
        for place in names::places(self.config, self.head, &spec.name) {
            let Some((file_name, array)) = self.tensors.get(&place.name) else {
                // A part of the copies is a broken file, not one without this parameter.
                ensure!(value.is_none(), "tensor `{}` is missing", place.name);
                return Ok(None);
            };
            self.used.insert(place.name.clone());
            let own = out_of(&place, array, &spec.shape).with_context(|| self.wrong_shape(file_name, array, spec))?;
            ensure!(own.iter().all(|v| v.is_finite()), "tensor `{file_name}` holds NaN or infinite values");
            match &value {
                Some(first) => ensure!(
                    *first == own,
                    "tensor `{file_name}` differs from its copies, which config.json says share one set of weights"
                ),
                None => value = Some(own),
            }
        }
        Ok(value)
    }

    fn wrong_shape(&self, file_name: &str, array: &ArrayD<f32>, spec: &Spec) -> String {
        if spec.name.starts_with("head.output") {
            return format!(
                "the head `{file_name}` has shape {:?}, but {} labels are asked for; start from the encoder without \
                 this head, or use its labels",
                array.shape(),
                spec.shape[0]
            );
        }
        format!("tensor `{file_name}` has shape {:?}, config.json implies {:?}", array.shape(), spec.shape)
    }

    /// Refuses tensors that no parameter took, but for those of other heads and second copies of the token table.
    pub(super) fn finish(self, found: &Arrays) -> Result<()> {
        for (plain, array) in constants(self.config) {
            match self.tensors.get(&plain) {
                None => bail!("tensor `{plain}` is missing"),
                Some((file_name, own)) if *own != array => {
                    bail!("tensor `{file_name}` is not the identity, but config.json says that there is no projection")
                }
                Some(_) => {}
            }
        }
        for (plain, (file_name, array)) in &self.tensors {
            let constant =
                !self.config.embedding_projection && plain.starts_with("encoder.embedding_hidden_mapping_in");
            if self.used.contains(plain) || (constant && self.config.family == Family::Albert) {
                continue;
            }
            if let Some(table) = names::tied_copy(plain) {
                let original = found.get(if table { "embeddings.words.weight" } else { "head.decoder.bias" });
                let decodes = matches!(self.head, Head::MaskedLm | Head::Pretraining | Head::CausalLm);
                ensure!(
                    !decodes || original == Some(array),
                    "tensor `{file_name}` is not the token table; only decoders tied to it are supported"
                );
            } else {
                ensure!(
                    names::belongs_to_a_head(plain),
                    "unknown tensor `{file_name}`; is config.json the one of this file?"
                );
            }
        }
        Ok(())
    }
}

/// Tensors that transformers expects and limbeck does not have: the map from E to H of an ALBERT without one is the
/// identity.
fn constants(config: &ModelConfig) -> Vec<(String, ArrayD<f32>)> {
    if config.family != Family::Albert || config.embedding_projection {
        return vec![];
    }
    let name = "encoder.embedding_hidden_mapping_in";
    vec![
        (format!("{name}.weight"), Array2::eye(config.hidden_size).into_dyn()),
        (format!("{name}.bias"), ArrayD::zeros(IxDyn(&[config.hidden_size]))),
    ]
}

/// A parameter out of a file's tensor; `None` if that has another shape.
fn out_of(place: &Place, array: &ArrayD<f32>, shape: &[i64]) -> Option<ArrayD<f32>> {
    let last = Axis(array.ndim().saturating_sub(1));
    let value = match place.form {
        Form::Whole => array.view(),
        Form::Transposed => array.t(),
        Form::Third(n) => {
            if array.ndim() == 0 || !array.len_of(last).is_multiple_of(3) {
                return None;
            }
            let width = array.len_of(last) / 3;
            let part = array.slice_axis(last, Slice::from(n * width..(n + 1) * width));
            part.reversed_axes()
        }
    };
    let own: Vec<i64> = value.shape().iter().map(|&d| d as i64).collect();
    (own == shape).then(|| value.as_standard_layout().into_owned())
}

/// The tensors of a file, under the names and in the forms that transformers expects, from all parameters of a
/// layout (or from their gradients).
///
/// # Errors
/// Parts of one tensor whose shapes do not fit.
pub fn file_arrays(config: &ModelConfig, head: Head, arrays: &Arrays) -> Result<Arrays> {
    let full_name = |name: &str, in_encoder: bool| {
        let bare = matches!(head, Head::None | Head::Embedding { .. });
        if in_encoder && !bare { format!("{}.{name}", names::prefix(config.family)) } else { name.to_owned() }
    };
    let mut file = Arrays::new();
    let mut thirds: BTreeMap<String, [Option<ArrayD<f32>>; 3]> = BTreeMap::new();
    for spec in parameter_layout(config, head) {
        let array = arrays.get(&spec.name).with_context(|| format!("parameter `{}` is missing", spec.name))?;
        for place in names::places(config, head, &spec.name) {
            let name = full_name(&place.name, place.in_encoder);
            match place.form {
                Form::Whole => drop(file.insert(name, array.clone())),
                Form::Transposed => drop(file.insert(name, array.t().as_standard_layout().into_owned())),
                Form::Third(n) => thirds.entry(name).or_default()[n] = Some(array.t().to_owned()),
            }
        }
    }
    for (name, parts) in thirds {
        let parts: Vec<_> = parts.iter().flatten().map(|part| part.view()).collect();
        let last = Axis(parts[0].ndim() - 1);
        file.insert(name, concatenate(last, &parts)?.as_standard_layout().into_owned());
    }
    file.extend(constants(config).into_iter().map(|(name, array)| (full_name(&name, true), array)));
    Ok(file)
}
