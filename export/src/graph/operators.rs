//! Equal ways to write a graph, of which a machine runs one fastest.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a part of [`super::Profile::Ort`]'s graphs is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// One node that ONNX Runtime has for the whole.
    Fused,
    /// Nodes of its parts.
    Plain,
}

/// The form of each part that has several. All compute the same but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operators {
    /// `MultiHeadAttention`, or products, softmax and transpositions.
    pub attention: Form,
    /// `BiasGelu` or `FastGelu`, or a sum, and the function from standard operators.
    pub activation: Form,
    /// One product for queries, keys and values, or three.
    pub projections: Form,
    /// `SkipLayerNormalization` of a block's output, its bias and its input, or sums and `LayerNormalization`. For norms that
    /// follow a block, in fp32.
    pub residual_norm: Form,
}

impl Default for Operators {
    fn default() -> Self {
        Self { attention: Form::Fused, activation: Form::Fused, projections: Form::Fused, residual_norm: Form::Plain }
    }
}

/// A part with a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// [`Operators::attention`].
    Attention,
    /// [`Operators::activation`].
    Activation,
    /// [`Operators::projections`].
    Projections,
    /// [`Operators::residual_norm`].
    ResidualNorm,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 4] = [Part::Attention, Part::Activation, Part::Projections, Part::ResidualNorm];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::Attention => "attention",
            Part::Activation => "activation",
            Part::Projections => "projections",
            Part::ResidualNorm => "residual norm",
        })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Form::Fused => "fused",
            Form::Plain => "plain",
        })
    }
}

impl Operators {
    /// The form of a part.
    pub fn of(&self, part: Part) -> Form {
        match part {
            Part::Attention => self.attention,
            Part::Activation => self.activation,
            Part::Projections => self.projections,
            Part::ResidualNorm => self.residual_norm,
        }
    }

    /// The same with the other form of one part.
    #[must_use]
    pub fn with_other(mut self, part: Part) -> Self {
        let form = match part {
            Part::Attention => &mut self.attention,
            Part::Activation => &mut self.activation,
            Part::Projections => &mut self.projections,
            Part::ResidualNorm => &mut self.residual_norm,
        };
        *form = match form {
            Form::Fused => Form::Plain,
            Form::Plain => Form::Fused,
        };
        self
    }
}

impl fmt::Display for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in Part::ALL.into_iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{part} {}", self.of(part))?;
        }
        Ok(())
    }
}
