//! Task heads on an encoder.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::embeddings::Linear;
use super::{Capture, Encoded, Encoder, ModelConfig, Params};

/// What sits on the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// Nothing: encoder and pooler.
    None,
    /// `tanh` pooler on the first token, then a linear layer to `labels` logits.
    Classification {
        /// Number of classes.
        labels: usize,
    },
}

/// Sequence classification: pooler `tanh(W h_0 + b)`, dropout, linear (BERT).
pub struct Classifier {
    /// The encoder.
    pub encoder: Encoder,
    pooler: Linear,
    classifier: Linear,
    dropout: f64,
}

/// What a classifier's forward pass gives.
#[derive(Debug)]
pub struct ClassifierOutput {
    /// `[batch, labels]`.
    pub logits: Tensor,
    /// `[batch, hidden]`, before dropout.
    pub pooled: Tensor,
    /// The encoder's part.
    pub encoded: Encoded,
}

impl Classifier {
    /// Builds the modules over `params`, which must hold the layout with a classification head.
    pub fn new(params: &Params, config: &ModelConfig) -> Self {
        Self {
            encoder: Encoder::new(params, config),
            pooler: Linear::new(&params.scope("pooler.dense")),
            classifier: Linear::new(&params.scope("classifier")),
            dropout: config.hidden_dropout,
        }
    }

    /// See [`Encoder::forward`].
    pub fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        capture: Capture,
        train: bool,
    ) -> ClassifierOutput {
        let encoded = self.encoder.forward(ids, mask, types, capture, train);
        let pooled = self.pooler.forward(&encoded.last_hidden.select(1, 0)).tanh();
        let logits = self.classifier.forward(&pooled.dropout(self.dropout, train));
        ClassifierOutput { logits, pooled, encoded }
    }
}
