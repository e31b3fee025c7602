//! What a GPU computes, against the CPU. Opt-in: `cargo test -p limbeck-export --lib cuda -- --ignored`.

use std::collections::BTreeMap;

use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::arch::{AttentionPattern, Capture, Head, Model, ModelConfig, Params, parameter_layout};
use crate::device::training_device;
use crate::distill::{
    Averaging, Padding, attention_distributions, attention_scores, hidden_cosine, hidden_states, kept_rows, patience,
    relations, soft_cross_entropy, soft_labels, soft_spans, soft_targets, state_similarities,
};
use crate::quantize::FakeQuantization;
use crate::train::{Autocast, Precision};

fn cuda() -> Device {
    training_device("cuda").unwrap()
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

/// The largest difference as a share of the largest value, which counts as `least` at least.
fn apart(own: &Tensor, want: &Tensor, least: f64) -> f64 {
    assert!(own.device().is_cuda() && own.size() == want.size(), "{:?} {:?}", own.size(), want.size());
    let difference = largest(&(own.to_device(Device::Cpu) - want));
    assert!(difference.is_finite());
    difference / largest(want).max(least)
}

fn config(family: &str) -> ModelConfig {
    let mut json = match family {
        "gpt2" => {
            json!({"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 32, "attn_pdrop": 0.0, "resid_pdrop": 0.0,
            "embd_pdrop": 0.0})
        }
        _ => json!({"hidden_act": "gelu", "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 96, "max_position_embeddings": 32, "type_vocab_size": 2, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0, "embedding_size": 16, "pad_token_id": 1, "relative_attention_num_buckets": 32, "dim": 48,
            "n_layers": 2, "n_heads": 4, "hidden_dim": 96, "activation": "gelu", "dropout": 0.0, "attention_dropout": 0.0}),
    };
    json["model_type"] = json!(family);
    json["vocab_size"] = json!(40);
    json["initializer_range"] = json!(0.2);
    let mut config = ModelConfig::from_hf(&json).unwrap_or_else(|error| panic!("{family}: {error:#}"));
    if family == "gpt2" {
        config.attention_pattern = AttentionPattern::Banded { width: 4, stride: None, first: 0, every: 2 };
    }
    config
}

/// Logits, states, scores and gradients of a model, by name.
fn run(
    params: &Params,
    config: &ModelConfig,
    head: Head,
    precision: Precision,
    captured: bool,
) -> BTreeMap<String, Tensor> {
    let device = params.device();
    let ids = Tensor::from_slice(&[5i64, 7, 3, 9, 11, 6, 2, 30, 31, 4, 1, 1, 1, 1]).view([2, 7]).to_device(device);
    let mask = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]).view([2, 7]).to_device(device);
    let capture = if captured { Capture::EVERYTHING } else { Capture::LOGITS };
    params.set_requires_grad(true);
    let model = Model::new(params, config, head).in_precision(precision);
    let output = model.forward(&ids, &mask, None, &capture, true);
    assert_eq!(output.logits.kind(), Kind::Float);
    // What stands at padding is nobody's concern: there the kernels of attention differ where a row may see nothing.
    let logits = match output.logits.dim() {
        3 => output.logits * mask.unsqueeze(-1),
        2 if output.logits.size() == mask.size() => output.logits * &mask,
        _ => output.logits,
    };
    let mut loss = logits.square().mean(Kind::Float);
    let mut found = BTreeMap::from([("logits".to_owned(), logits.detach())]);
    for (index, states) in output.encoded.hidden_states.iter().enumerate() {
        found.insert(format!("hidden.{index}"), (states * mask.unsqueeze(-1)).detach());
    }
    for (layer, scores) in &output.encoded.attention_scores {
        loss += scores.square().mean(Kind::Float);
        found.insert(format!("scores.{layer}"), scores.detach());
    }
    for projections in output.encoded.projections.values() {
        loss += (&projections.value * mask.unsqueeze(-1)).square().mean(Kind::Float);
    }
    let (names, weights): (Vec<String>, Vec<Tensor>) =
        params.iter().map(|(n, t)| (n.to_owned(), t.shallow_clone())).unzip();
    let gradients = Tensor::run_backward(&[loss], &weights, false, false);
    for (name, gradient) in names.into_iter().zip(gradients) {
        if gradient.defined() {
            assert_eq!(gradient.kind(), Kind::Float, "{name}");
            found.insert(format!("gradient.{name}"), gradient);
        }
    }
    found
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn every_family_computes_and_learns_on_cuda_as_on_the_cpu() {
    let heads = [
        ("bert", Head::Pretraining),
        ("bert", Head::TokenClassification { labels: 5 }),
        ("distilbert", Head::Span),
        ("roberta", Head::MaskedLm),
        ("mpnet", Head::Classification { labels: 3 }),
        ("albert", Head::Pretraining),
        ("electra", Head::ReplacedToken),
        ("gpt2", Head::CausalLm),
        ("gpt2", Head::Classification { labels: 2 }),
    ];
    for (family, head) in heads {
        let config = config(family);
        let on_cpu = {
            let _turn = crate::seeded(3);
            Params::initialise(&parameter_layout(&config, head), Device::Cpu)
        };
        let values = on_cpu.iter().map(|(name, tensor)| (name.to_owned(), tensor.copy())).collect();
        let on_cuda = Params::new(values, cuda());
        for rounding in [None, Some(FakeQuantization::Int8)] {
            for (precision, limit) in [(Precision::Fp32, 2e-4), (Precision::Bf16, 0.1)] {
                if rounding.is_some() && precision == Precision::Bf16 {
                    continue;
                }
                for captured in [false, true] {
                    let of = |params: &Params, precision| {
                        run(&params.fake_quantized(rounding), &config, head, precision, captured)
                    };
                    let (own, want) = (of(&on_cuda, precision), of(&on_cpu, Precision::Fp32));
                    assert!(own.keys().eq(want.keys()), "{family} {head:?}");
                    // Some gradients are 0 but for rounding, such as those of the keys' biases.
                    let gradients = || want.iter().filter(|(name, _)| name.starts_with("gradient"));
                    let least = 0.05 * gradients().map(|(_, value)| largest(value)).fold(0.0, f64::max);
                    for (name, own) in &own {
                        // A code that is rounded the other way is a whole step off.
                        let limit = if rounding.is_some() { 0.05 } else { limit };
                        let apart = apart(own, &want[name], least);
                        assert!(
                            apart < limit,
                            "{family} {head:?} {precision:?} {rounding:?} {captured}: {name} {apart}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn losses_on_cuda_are_those_on_the_cpu() {
    let _turn = crate::seeded(5);
    let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    let mask = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 1, 1, 0, 0, 0]).view([2, 5]);
    let pairs = mask.unsqueeze(1) * mask.unsqueeze(-1);
    let (logits, states, wide) = (normal(&[4, 6]), normal(&[2, 5, 8]), normal(&[2, 5, 12]));
    let (scores, spans, map) = (normal(&[2, 4, 5, 5]), normal(&[2, 5, 2]), normal(&[12, 8]));
    let others = [normal(&[4, 6]), normal(&[2, 5, 8]), normal(&[2, 4, 5, 5]), normal(&[2, 5, 2])];
    let losses = |device: Device| -> Vec<(&'static str, Tensor)> {
        let on = |x: &Tensor| x.to_device(device);
        let [other_logits, other_states, other_scores, other_spans] = others.each_ref().map(on);
        let (logits, states, wide) = (on(&logits), on(&states), on(&wide));
        let (scores, spans, map, mask, pairs) = (on(&scores), on(&spans), on(&map), on(&mask), on(&pairs));
        vec![
            ("soft targets", soft_targets(&logits, &other_logits, 2.0)),
            ("soft cross-entropy", soft_cross_entropy(&logits, &other_logits, 2.0, Averaging::Rows)),
            ("soft labels", soft_labels(&logits, &other_logits, 2.0)),
            ("soft spans", soft_spans(&spans, &other_spans, &mask, 2.0)),
            ("kept rows", kept_rows(&states, &mask).map(|rows| rows.sum(Kind::Float))),
            ("hidden states", hidden_states(&states, &wide, &mask, Some(&map), Padding::Excluded)),
            ("hidden states with padding", hidden_states(&states, &other_states, &mask, None, Padding::Counted)),
            ("hidden cosine", hidden_cosine(&states, &other_states, &mask)),
            ("patience", patience(&states, &other_states, None)),
            ("attention scores", attention_scores(&scores, &other_scores, &mask, Padding::Excluded)),
            ("attention distributions", attention_distributions(&scores, &other_scores, &pairs)),
            ("relations", relations(&states, &other_states, &mask, 4)),
            ("similarities", state_similarities(&states, &other_states, &mask)),
        ]
        .into_iter()
        .map(|(name, loss)| (name, loss.unwrap_or_else(|error| panic!("{name}: {error:#}"))))
        .collect()
    };
    for ((name, own), (_, want)) in losses(cuda()).iter().zip(&losses(Device::Cpu)) {
        assert!(apart(own, want, 1e-3) < 1e-5, "{name}: {own:?} {want:?}");
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn autocast_on_cuda_is_bf16_and_ends() {
    let product = || {
        let ones = Tensor::ones([4, 4], (Kind::Float, cuda()));
        ones.matmul(&ones).kind()
    };
    assert_eq!(product(), Kind::Float);
    {
        let _guard = Autocast::bf16(cuda()).unwrap();
        assert_eq!(product(), Kind::BFloat16);
        let ones = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        assert_eq!(ones.matmul(&ones).kind(), Kind::Float, "the CPU's is its own");
    }
    assert_eq!(product(), Kind::Float);
}
