//! A whole encoder layer as one node, which the sdk computes: [`limbeck::int8`].

use anyhow::Result;
use limbeck::int8::{ENCODER_LAYER, TERNARY_ENCODER_LAYER};

use super::WeightMode;
use super::attention::{Projections, Surroundings};
use super::builder::Value;
use super::linear::{Linear, vector};
use super::model::Writer;
use crate::arch::{Activation, Head, ModelConfig};

/// Whether a model can be stored as [`super::WeightMode::Int8Layers`] or [`super::WeightMode::Ternary`]: its layers are those of a post-norm encoder, and
/// no large matrix lies outside of them.
pub fn fits_int8_layers(config: &ModelConfig, head: Head) -> bool {
    !config.pre_norm && !config.causal && fits_static_int8(head)
}

/// Whether a model can be stored as [`super::WeightMode::StaticInt8`]: its head is not over the vocabulary.
pub fn fits_static_int8(head: Head) -> bool {
    !matches!(head, Head::MaskedLm | Head::Pretraining | Head::CausalLm)
}

impl Writer<'_> {
    /// One layer.
    pub(super) fn encoder_layer(
        &mut self,
        layer: usize,
        block: (usize, usize),
        x: &str,
        around: &Surroundings,
    ) -> Result<String> {
        let (attention, ffn) = (format!("encoder.attention.{}", block.0), format!("encoder.ffn.{}", block.1));
        let (arrays, mode) = (self.arrays, self.storage_of(layer).weights);
        let mut inputs = vec![
            x.to_owned(),
            around.mask.unwrap_or_default().to_owned(),
            around.distance_bias.unwrap_or_default().to_owned(),
        ];
        for matrix in [
            Projections::read(arrays, &attention)?.together(),
            Linear::read(arrays, &format!("{attention}.output"))?,
            Linear::read(arrays, &format!("{ffn}.up"))?,
            Linear::read(arrays, &format!("{ffn}.down"))?,
        ] {
            inputs.extend(matrix.packed(&mut self.graph, mode)?);
        }
        for part in [attention, ffn] {
            for name in [format!("{part}.norm.weight"), format!("{part}.norm.bias")] {
                let values = vector(arrays, &name)?;
                inputs.push(self.graph.floats(&name, &[values.len()], values.iter().copied()));
            }
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let activation = match self.config.activation {
            Activation::GeluErf => "gelu",
            Activation::GeluTanh => "gelu-tanh",
            Activation::Relu => "relu",
        };
        let mut attributes = vec![
            ("heads", Value::Int(self.config.attention_heads as i64)),
            ("activation", Value::Text(activation)),
            ("epsilon", Value::Float(self.config.layer_norm_eps as f32)),
            ("first_only", Value::Int(around.first_only.into())),
        ];
        if let Some(size) = self.config.own_head_size {
            attributes.push(("head_size", Value::Int(size as i64)));
        }
        let operator = if mode == WeightMode::Ternary { TERNARY_ENCODER_LAYER } else { ENCODER_LAYER };
        Ok(self.graph.own(&format!("layer.{layer}"), operator, &inputs, &attributes))
    }
}
