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
    /// Nothing is wanted of the last hidden state but what the head reads. Where that is the first token, and nothing of the
    /// last layer is kept, that layer computes no other: the last hidden state is then `[batch, 1, hidden]`.
    pub head_only: bool,
}

impl Capture {
    /// All that can be kept.
    pub const EVERYTHING: Self =
        Self { hidden_states: true, attention_scores: Layers::All, projections: Layers::All, head_only: false };

    /// For logits and nothing else.
    pub const LOGITS: Self =
        Self { hidden_states: false, attention_scores: Layers::None, projections: Layers::None, head_only: true };
}

/// Which tokens a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Positions {
    All,
    /// The first of each text, which looks at all others as they were before.
    First,
}

impl Positions {
    /// Those of `[batch, length, ...]`.
    pub(super) fn of(self, x: &Tensor) -> Tensor {
        match self {
            Positions::All => x.shallow_clone(),
            Positions::First => x.narrow(1, 0, 1),
        }
    }

    /// Those of `[batch, heads, query, key]`.
    pub(super) fn queries_of(self, x: &Tensor) -> Tensor {
        match self {
            Positions::All => x.shallow_clone(),
            Positions::First => x.narrow(2, 0, 1),
        }
    }
}

/// One layer's queries, keys and values, each `[batch, length, hidden]`, before the heads are split. What they
/// hold at padding means nothing.
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
