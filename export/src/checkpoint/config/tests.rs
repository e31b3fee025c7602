use super::*;
use crate::arch::{preset, preset_names};

#[test]
fn every_preset_survives_a_round_trip() {
    for name in preset_names() {
        let preset = preset(name).unwrap();
        if preset.config.check().is_err() {
            continue;
        }
        let (config, info) = (preset.config, HeadInfo::new(preset.head));
        let written = config.to_hf(&info);
        let read = ModelConfig::from_hf(&written).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(read, config, "{name}");
        // Pooling is not told by config.json.
        let head = if matches!(preset.head, Head::Embedding { .. }) { Head::None } else { preset.head };
        assert_eq!(HeadInfo::from_hf(&written, &config).unwrap(), HeadInfo::new(head), "{name}");
    }
}

#[test]
fn refusals_name_the_key() {
    let minilm = preset("all-minilm-l6-v2").unwrap().config.to_hf(&HeadInfo::new(Head::None));
    let gpt2 = preset("gpt2").unwrap().config.to_hf(&HeadInfo::new(Head::CausalLm));
    let cases = [
        (&minilm, "model_type", json!("t5"), "model_type \"t5\" is not supported; supported: bert, roberta"),
        (&minilm, "hidden_act", json!("swish"), "hidden_act \"swish\""),
        (&minilm, "vocab_size", json!(-1), "`vocab_size`"),
        (&minilm, "hidden_size", json!(null), "no `hidden_size`"),
        (&minilm, "num_attention_heads", json!(7), "7 attention heads"),
        (&minilm, "position_embedding_type", json!("relative_key"), "position_embedding_type"),
        (&minilm, "hidden_dropout_prob", json!(1.0), "dropout 1 must be"),
        (&minilm, "is_decoder", json!(true), "is_decoder"),
        (&minilm, "tie_word_embeddings", json!(false), "tie_word_embeddings"),
        (&minilm, "pad_token_id", json!(-1), "`pad_token_id` must be a token id"),
        (&minilm, "limbeck", json!({"shering": "all"}), "`limbeck`"),
        (&minilm, "limbeck", json!({"sharing": "ffn"}), "for model_type \"albert\" only"),
        (&gpt2, "scale_attn_by_inverse_layer_idx", json!(true), "scale_attn_by_inverse_layer_idx"),
        (
            &gpt2,
            "limbeck",
            json!({"attention_pattern": {"kind": "banded", "width": 0, "first": 0, "every": 1}}),
            "a width",
        ),
    ];
    for (raw, key, value, expected) in cases {
        let mut raw = raw.clone();
        raw[key] = value;
        let error = format!("{:#}", ModelConfig::from_hf(&raw).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}
