//! Small models of every architecture.

use limbeck_export::arch::{AttentionPattern, Head, ModelConfig, Params, Pooling, Sharing, parameter_layout, preset};
use limbeck_export::checkpoint::{Arrays, array_of};
use tch::{Device, Tensor};

/// A preset's architecture at a size that runs in milliseconds. Weights are wide, so that attention and activations
/// leave their linear range.
pub fn tiny(name: &str) -> ModelConfig {
    let config = preset(name).unwrap_or_else(|| panic!("no preset {name}")).config;
    ModelConfig {
        vocab_size: 97,
        hidden_size: 32,
        embedding_size: if config.embedding_projection { 24 } else { 32 },
        layers: 3,
        attention_heads: 4,
        intermediate_size: 48,
        position_rows: config.first_position + 80,
        initializer_range: 0.15,
        pad_id: config.first_position.max(1) - 1,
        embedding_dropout: 0.0,
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        head_dropout: 0.0,
        attention_pattern: AttentionPattern::Dense,
        ..config
    }
}

/// Every architecture, by a name for messages: each family, each sharing mode, each band.
pub fn architectures() -> Vec<(String, ModelConfig)> {
    let mut list: Vec<(String, ModelConfig)> = [
        "bert-base-uncased",
        "roberta-base",
        "all-mpnet-base-v2",
        "distilbert-base-uncased",
        "albert-base",
        "electra-small",
        "electra-base",
        "gpt2",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), tiny(name)))
    .collect();
    for (name, sharing) in [
        ("none", Sharing::None),
        ("attention", Sharing::Attention),
        ("ffn", Sharing::Ffn),
        ("groups", Sharing::Groups { groups: 3, inner: 2 }),
    ] {
        list.push((format!("albert sharing {name}"), ModelConfig { sharing, ..tiny("albert-e128-none") }));
    }
    list.push(("albert without projection".to_owned(), tiny("albert-e768-all")));
    for family in ["bert-base-uncased", "albert-base"] {
        list.push((format!("{family} on relu(pooled)"), ModelConfig { pooled_relu: true, ..tiny(family) }));
    }
    for family in ["bert-base-uncased", "all-mpnet-base-v2", "distilbert-base-uncased", "gpt2"] {
        let config = tiny(family);
        let own_head_size = Some(config.head_size());
        list.push((format!("{family} with fewer heads"), ModelConfig { attention_heads: 3, own_head_size, ..config }));
    }
    for (name, stride) in [("banded", None), ("strided", Some(4))] {
        let attention_pattern = AttentionPattern::Banded { width: 3, stride, first: 1, every: 2 };
        list.push((format!("gpt2 {name}"), ModelConfig { attention_pattern, ..tiny("gpt2") }));
    }
    list
}

/// Every head that an architecture has.
pub fn heads(config: &ModelConfig) -> Vec<Head> {
    let embedding = |pooling, normalize| Head::Embedding { pooling, normalize };
    [
        Head::None,
        embedding(Pooling::Mean, true),
        embedding(Pooling::Cls, false),
        embedding(Pooling::Max, true),
        Head::Classification { labels: 3 },
        Head::TokenClassification { labels: 5 },
        Head::Span,
        Head::MaskedLm,
        Head::Pretraining,
        Head::ReplacedToken,
        Head::CausalLm,
    ]
    .into_iter()
    .filter(|head| head.check(config).is_ok())
    .collect()
}

/// Parameters drawn from libtorch's generator (see [`crate::seeded`]); biases too, which start at 0 in a real model
/// and would hide mistakes.
pub fn draw(config: &ModelConfig, head: Head) -> Params {
    let params = Params::initialise(&parameter_layout(config, head), Device::Cpu);
    tch::no_grad(|| {
        for (name, tensor) in params.iter() {
            if name.ends_with(".bias") || name.ends_with("norm.weight") {
                let _ = tensor.shallow_clone().g_add_(&(Tensor::randn_like(tensor) * 0.1));
            }
        }
    });
    params
}

/// The parameters as arrays.
pub fn arrays(params: &Params) -> Arrays {
    params
        .iter()
        .map(|(name, tensor)| (name.to_owned(), array_of(tensor).expect("a tensor that can be read")))
        .collect()
}
