//! Named parameters.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::{Result, bail};
use tch::{Device, Kind, Tensor};

use super::{Head, Init, ModelConfig, Spec, parameter_layout};
use crate::quantize::FakeQuantization;
use crate::shim::bf16_copies;

/// Tensors by name, in name order. Cloning a handle shares the storage.
#[derive(Debug)]
pub struct Params {
    tensors: BTreeMap<String, Tensor>,
    device: Device,
    watch: Option<Watch>,
    rounding: Option<FakeQuantization>,
}

/// Is shown the input of each linear map that is built over watched parameters.
#[derive(Clone)]
pub(super) struct Watch(Arc<Watcher>);

type Watcher = dyn Fn(&str, &Tensor) + Send + Sync;

impl Watch {
    pub(super) fn show(&self, name: &str, input: &Tensor) {
        (self.0)(name, input);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Params {
    /// Takes tensors that were checked against a layout; moves them to `device` as fp32.
    pub fn new(tensors: BTreeMap<String, Tensor>, device: Device) -> Self {
        let tensors = tensors.into_iter().map(|(name, t)| (name, t.to_device(device).to_kind(Kind::Float))).collect();
        Self { tensors, device, watch: None, rounding: None }
    }

    /// Freshly initialised parameters, as [`Spec::init`] says. The generator's state comes from
    /// `tch::manual_seed`.
    pub fn initialise(layout: &[Spec], device: Device) -> Self {
        let tensors = layout.iter().map(|spec| (spec.name.clone(), initial_value(spec, device))).collect();
        Self { tensors, device, watch: None, rounding: None }
    }

    /// Models built over these show `watch` the input of each linear map, `[.., in]`, with the map's name; rows of padding are
    /// there or left out.
    pub fn watched(self, watch: impl Fn(&str, &Tensor) + Send + Sync + 'static) -> Self {
        Self { watch: Some(Watch(Arc::new(watch))), ..self }
    }

    /// Handles to the same values; models built over them round what a bundle of that form rounds. The values
    /// themselves stay as they are.
    pub fn fake_quantized(&self, rounding: Option<FakeQuantization>) -> Self {
        Self { rounding, ..Self::handles(self.iter(), self.device) }
    }

    /// Handles to the same values, rounded and watched alike.
    pub(super) fn shared(&self) -> Self {
        Self { watch: self.watch.clone(), rounding: self.rounding, ..Self::handles(self.iter(), self.device) }
    }

    /// What models built over these round to.
    pub fn rounding(&self) -> Option<FakeQuantization> {
        self.rounding
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// True when there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Name and tensor, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// A tensor by its full name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// A view of the parameters under a dotted prefix.
    pub fn scope(&self, prefix: &str) -> Scope<'_> {
        Scope { params: self, prefix: prefix.to_owned() }
    }

    /// Makes every tensor a leaf that collects gradients, or none of them.
    pub fn set_requires_grad(&self, on: bool) {
        for tensor in self.tensors.values() {
            let _ = tensor.set_requires_grad(on);
        }
    }

    /// An independent copy of all values, without gradient history.
    pub fn deep_clone(&self) -> Self {
        let tensors = self.tensors.iter().map(|(n, t)| (n.clone(), t.detach().copy())).collect();
        Self { tensors, device: self.device, watch: None, rounding: self.rounding }
    }

    /// Handles to the same values, but for those that are replaced or added.
    pub(crate) fn with(&self, replaced: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        let mut tensors: BTreeMap<String, Tensor> =
            self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        tensors.extend(replaced);
        Self::new(tensors, self.device)
    }

    /// Handles to values of others, under these names.
    pub(crate) fn handles<N: Into<String>>(
        values: impl Iterator<Item = (N, impl Borrow<Tensor>)>,
        device: Device,
    ) -> Self {
        let tensors = values.map(|(name, tensor)| (name.into(), tensor.borrow().shallow_clone())).collect();
        Self { tensors, device, watch: None, rounding: None }
    }

    /// Handles to the same values, but those of linear maps as copies in bf16, which models built over these compute with
    /// under autocast, and on a GPU those of norms too: what stands between the maps is then bf16 as well, half as much
    /// to read and to write. What is rounded or watched stays as it is. Gradients of the copies reach the values themselves.
    ///
    /// # Errors
    /// A libtorch error, such as out of memory.
    pub(super) fn with_bf16_copies(&self) -> Result<Option<Self>> {
        if self.watch.is_some() || self.rounding.is_some() {
            return Ok(None);
        }
        const OF_MAPS: [&str; 5] = ["embeddings.projection.", "encoder.attention.", "encoder.ffn.", "pooler.", "head."];
        let is_copied = |name: &str| match name.split('.').any(|part| part == "norm") {
            true => self.device.is_cuda(),
            false => OF_MAPS.iter().any(|of_map| name.starts_with(of_map)),
        };
        let (names, maps): (Vec<&str>, Vec<Tensor>) = self
            .iter()
            .filter(|(name, _)| is_copied(name))
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
            .unzip();
        let copies = names.into_iter().zip(bf16_copies(&maps)?);
        let mut all = Self::handles(self.iter(), self.device);
        all.tensors.extend(copies.map(|(name, copy)| (name.to_owned(), copy)));
        Ok(Some(all))
    }

    /// Overwrites all values in place, keeping the tensors that a model already holds.
    ///
    /// # Errors
    /// A missing name or another shape.
    pub fn copy_from(&self, other: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, own) in &self.tensors {
            let Some(value) = other.get(name) else { bail!("tensor `{name}` is missing") };
            if value.size() != own.size() {
                bail!("tensor `{name}` has shape {:?}, expected {:?}", value.size(), own.size());
            }
            tch::no_grad(|| own.shallow_clone().copy_(value));
        }
        Ok(())
    }
}

/// New values of the parameters that only a head has, in the order of the layout.
pub(crate) fn new_head(config: &ModelConfig, head: Head, device: Device) -> Vec<(String, Tensor)> {
    let layout = parameter_layout(config, head).into_iter().filter(|spec| spec.name.starts_with("head."));
    layout.map(|spec| (spec.name.clone(), initial_value(&spec, device))).collect()
}

/// A new parameter's starting value; see [`Params::initialise`].
pub(crate) fn initial_value(spec: &Spec, device: Device) -> Tensor {
    let options = (Kind::Float, device);
    match spec.init {
        Init::Zeros => Tensor::zeros(&spec.shape, options),
        Init::Ones => Tensor::ones(&spec.shape, options),
        Init::Normal(std) => Tensor::randn(&spec.shape, options) * std,
        Init::TruncatedNormal(std) => truncated_normal(&spec.shape, std, device),
    }
}

/// Normal values outside two standard deviations are drawn again (Google BERT's initialiser).
fn truncated_normal(shape: &[i64], std: f64, device: Device) -> Tensor {
    let mut values = Tensor::randn(shape, (Kind::Float, device));
    loop {
        let outside = values.abs().gt(2.0);
        if outside.any().int64_value(&[]) == 0 {
            return values * std;
        }
        values = Tensor::randn(shape, (Kind::Float, device)).where_self(&outside, &values);
    }
}

/// Parameters under a prefix. Names were checked when the parameters were loaded, so a
/// missing one is a mistake in this crate and panics with the name.
#[derive(Clone)]
pub struct Scope<'a> {
    params: &'a Params,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// The scope of a child module.
    pub fn child(&self, name: &str) -> Scope<'a> {
        Scope { params: self.params, prefix: format!("{}.{name}", self.prefix) }
    }

    /// Who watches the parameters, and the name of the scope.
    pub(super) fn watch(&self) -> Option<(Watch, String)> {
        self.params.watch.clone().map(|watch| (watch, self.prefix.clone()))
    }

    /// What is rounded to in this scope: nothing but the maps of encoder layers and the token table is.
    pub(super) fn rounding(&self) -> Option<FakeQuantization> {
        let rounds = self.prefix.starts_with("encoder.") || self.prefix == "embeddings.words";
        self.params.rounding.filter(|_| rounds)
    }

    /// A shared handle to `prefix.name`, where the layout has it.
    pub fn find(&self, name: &str) -> Option<Tensor> {
        self.params.get(&format!("{}.{name}", self.prefix)).map(Tensor::shallow_clone)
    }

    /// A shared handle to `prefix.name`.
    pub fn tensor(&self, name: &str) -> Tensor {
        self.find(name).unwrap_or_else(|| panic!("parameter `{}.{name}` is not in the layout", self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_weights_have_their_deviation() {
        let _turn = crate::seeded(9);
        let draw = |init| {
            let spec = Spec { name: "a.weight".into(), shape: vec![500, 1000], init };
            initial_value(&spec, Device::Cpu)
        };
        let deviation = |t: &Tensor| t.std(true).double_value(&[]);
        let normal = draw(Init::Normal(0.02));
        assert!((deviation(&normal) / 0.02 - 1.0).abs() < 0.01);
        assert!(normal.abs().max().double_value(&[]) > 0.06);
        let truncated = draw(Init::TruncatedNormal(0.02));
        assert!(truncated.abs().max().double_value(&[]) <= 0.04);
        // What remains of a normal distribution within two deviations is narrower by this factor.
        assert!((deviation(&truncated) / (0.02 * 0.879_63) - 1.0).abs() < 0.01);
    }
}
