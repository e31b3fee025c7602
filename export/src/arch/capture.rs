//! What a forward pass keeps of its inner layers.

use tch::Tensor;

/// Which layers' values a forward pass keeps. Layers count from 0, each inner layer of a shared group for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// No layer's.
    #[default]
    None,
    /// Every layer's.
    All,
    /// These layers'; one that the model has not is never met.
    Of(Vec<usize>),
}

impl Layers {
    /// Whether a layer is one of them.
    pub fn has(&self, layer: usize) -> bool {
        match self {
            Layers::None => false,
            Layers::All => true,
            Layers::Of(layers) => layers.contains(&layer),
        }
    }
}

/// What a forward pass keeps besides the last hidden state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Every layer's hidden state, the embedding output first.
    pub hidden_states: bool,
    /// Attention scores before softmax, 0 where nothing may be seen. No fused kernel returns scores, so these layers
    /// compute them one by one; all others keep fused attention.
    pub attention_scores: Layers,
    /// Queries, keys and values. Keeping them costs memory only.
    pub projections: Layers,
}

/// One layer's queries, keys and values, each `[batch, length, hidden]`, before the heads are split. Padding has values
/// too, which mean nothing.
#[derive(Debug)]
pub struct Projections {
    /// What looks.
    pub query: Tensor,
    /// What is looked at.
    pub key: Tensor,
    /// What is taken.
    pub value: Tensor,
}

impl Projections {
    /// All in fp32, for the losses.
    pub(super) fn float(self) -> Self {
        let [query, key, value] = [self.query, self.key, self.value].map(|x| x.to_kind(tch::Kind::Float));
        Self { query, key, value }
    }
}
