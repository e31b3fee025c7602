//! What a parameter's place in the model says of its training: how fast it learns, and from when on.

/// Factors on the learning rate by parameter name: `decay` to the power of the layers above (Yang 2019, "XLNet",
/// hyperparameters for fine-tuning: layer m of M learns at `decay^(M - m)` of the last one's rate), embeddings below the first layer,
/// and 1 for what is no layer's: pooler, head, projections of distillation, and what all layers share.
///
/// Where layers share blocks (ALBERT), a block has the factor of the last layer that it serves.
pub fn layer_factors<'a>(names: impl IntoIterator<Item = &'a str> + Clone, decay: f64) -> Vec<f64> {
    places(names).1.into_iter().map(|above| decay.powi(above.unwrap_or(0) as i32)).collect()
}

/// The step at which each parameter begins to learn, by gradual unfreezing (Howard 2018, "ULMFiT", section 3.3; Mukherjee
/// 2020, "XtremeDistil"): what is outside the encoder at once, then one layer after the other from the last to the first, at equal
/// distances, and the embeddings at step `until`. Without a head the last layer begins at once. What all layers share begins with it.
pub(super) fn first_steps<'a>(names: impl IntoIterator<Item = &'a str> + Clone, until: u64) -> Vec<u64> {
    let head = usize::from(names.clone().into_iter().any(|name| name.starts_with("head.")));
    let (layers, places) = places(names);
    let begins = |above: usize| (until as f64 * (above + head) as f64 / (layers + head) as f64).round() as u64;
    places.into_iter().map(|above| above.map_or(0, begins)).collect()
}

/// The number of layers, and by parameter name how many are above: all of them for embeddings, none for what all layers share, and
/// nothing for what is outside the encoder. A block that several layers share stands where the last of them does.
fn places<'a>(names: impl IntoIterator<Item = &'a str> + Clone) -> (usize, Vec<Option<usize>>) {
    let count = |kind| names.clone().into_iter().filter_map(|name| block(name, kind)).map(|i| i + 1).max().unwrap_or(0);
    let (attention, ffn) = (count("attention"), count("ffn"));
    let layers = attention.max(ffn);
    let above = |name: &str| {
        if name.starts_with("embeddings.") {
            return Some(layers);
        }
        let own = block(name, "attention").map(|i| (i, attention)).or_else(|| block(name, "ffn").map(|i| (i, ffn)));
        // Block i of n serves layers up to, not including, ceil((i + 1) layers / n).
        let own = own.map(|(i, blocks)| layers - ((i + 1) * layers).div_ceil(blocks));
        own.or_else(|| name.starts_with("encoder.").then_some(0))
    };
    (layers, names.clone().into_iter().map(above).collect())
}

/// `3` of `encoder.attention.3.query.weight`.
fn block(name: &str, kind: &str) -> Option<usize> {
    name.strip_prefix("encoder.")?.strip_prefix(kind)?.strip_prefix('.')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::arch::{Head, ModelConfig, parameter_layout};

    #[test]
    fn each_layer_learns_slower_than_the_one_above() {
        let config = ModelConfig::from_hf(&json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 9,
            "hidden_size": 4, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8,
            "max_position_embeddings": 8, "type_vocab_size": 2}))
        .unwrap();
        let layout = parameter_layout(&config, Head::Classification { labels: 2 });
        let mut names: Vec<&str> = layout.iter().map(|spec| spec.name.as_str()).collect();
        names.push("distill.hidden.0.weight");
        let factors = layer_factors(names.iter().copied(), 0.5);
        let mut seen = std::collections::BTreeSet::new();
        for (name, factor) in names.into_iter().zip(factors) {
            let parts: Vec<&str> = name.split('.').collect();
            let want = match parts[..] {
                ["embeddings", ..] => 0.125,
                ["encoder", _, "0", ..] => 0.25,
                ["encoder", _, "1", ..] => 0.5,
                ["encoder", _, "2", ..] | ["pooler", ..] | ["head", ..] | ["distill", ..] => 1.0,
                _ => panic!("{name}"),
            };
            assert_eq!(factor, want, "{name}");
            seen.insert(parts[0]);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["distill", "embeddings", "encoder", "head", "pooler"]);
    }

    #[test]
    fn a_shared_block_counts_as_its_last_layer() {
        let names = [
            "embeddings.words.weight",
            "encoder.attention.0.norm.bias",
            "encoder.ffn.0.up.weight",
            "encoder.ffn.3.up.weight",
            "encoder.norm.weight",
            "encoder.relative_bias.weight",
        ];
        assert_eq!(layer_factors(names, 0.5), [0.0625, 1.0, 0.125, 1.0, 1.0, 1.0]);
        let names = ["encoder.attention.0.a", "encoder.attention.1.a", "encoder.ffn.4.a", "encoder.ffn.2.a"];
        // Five layers in two groups: the first serves layers 0 to 2.
        assert_eq!(layer_factors(names, 0.5), [0.25, 1.0, 1.0, 0.25]);
        assert_eq!(layer_factors(["encoder.attention.0.a", "embeddings.a"], 1.0), [1.0, 1.0]);
        assert_eq!(layer_factors(["head.output.weight", "embeddings.words.weight"], 0.5), [1.0, 1.0]);
    }

    #[test]
    fn layers_begin_from_the_last_to_the_first() {
        let names = [
            "embeddings.words.weight",
            "encoder.ffn.0.up.bias",
            "encoder.ffn.1.up.bias",
            "encoder.relative_bias.weight",
            "pooler.dense.weight",
            "head.output.weight",
            "distill.hidden.0.weight",
        ];
        assert_eq!(first_steps(names, 30), [30, 20, 10, 10, 0, 0, 0]);
        assert_eq!(first_steps(names, 0), [0; 7]);
        // An encoder by itself, whose layers share one block of attention.
        assert_eq!(
            first_steps(["embeddings.a", "encoder.attention.0.a", "encoder.ffn.0.a", "encoder.ffn.1.a"], 10),
            [10, 0, 5, 0]
        );
    }
}
