use serde_json::json;
use tch::{Device, Kind};

use super::*;
use crate::arch::{Head, Layers, Model, Pooling, parameter_layout, visible_pairs};
use crate::distill::{Padding, attention_distributions, attention_scores, hidden_states, relations};

/// Wide weights, so that attention is far from even.
fn config(kind: &str) -> ModelConfig {
    let json = match kind {
        "gpt2" => {
            json!({"model_type": "gpt2", "vocab_size": 40, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 32,
            "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "initializer_range": 0.3})
        }
        _ => json!({"model_type": kind, "hidden_act": "gelu", "vocab_size": 40, "hidden_size": 16, "embedding_size": 8,
            "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 32, "max_position_embeddings": 32,
            "type_vocab_size": 2, "relative_attention_num_buckets": 32, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}),
    };
    ModelConfig::from_hf(&json).unwrap()
}

/// Two texts of 7 and 4 tokens.
fn batch() -> (Tensor, Tensor) {
    let ids = Tensor::randint(40, [2, 7], (Kind::Int64, Device::Cpu));
    let mask = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]).view([2, 7]);
    (ids, mask)
}

fn model(config: &ModelConfig) -> Model {
    Model::new(&Params::initialise(&parameter_layout(config, Head::None), Device::Cpu), config, Head::None)
}

fn close(own: &Tensor, want: &Tensor, limit: f64) {
    let difference = (own - want).abs().max().double_value(&[]);
    assert!(difference <= limit, "{difference}");
}

#[test]
fn only_the_named_layers_are_kept() {
    let _turn = crate::seeded(61);
    let _guard = tch::no_grad_guard();
    let (config, (ids, mask)) = (config("bert"), batch());
    let model = model(&config);
    let run = |capture: &Capture| model.forward(&ids, &mask, None, capture, false).encoded;
    let all = run(&Capture::EVERYTHING);
    assert_eq!((all.attention_scores.len(), all.projections.len(), all.hidden_states.len()), (3, 3, 4));
    let some = run(&Capture {
        attention_scores: Layers::Of(vec![2, 7]),
        projections: Layers::Of(vec![0, 1]),
        ..Capture::default()
    });
    assert_eq!(some.attention_scores.keys().collect::<Vec<_>>(), [&2]);
    assert_eq!(some.projections.keys().collect::<Vec<_>>(), [&0, &1]);
    assert!(some.hidden_states.is_empty());
    // Fused and plain attention differ by rounding.
    close(&some.attention_scores[&2], &all.attention_scores[&2], 1e-3);
    close(&some.projections[&1].value, &all.projections[&1].value, 1e-4);
    close(&some.last_hidden, &all.last_hidden, 1e-4);
    // Keeping projections alone leaves the computation as it is, to the bit.
    let projections = run(&Capture { projections: Layers::All, ..Capture::default() });
    assert!(projections.attention_scores.is_empty());
    assert_eq!(projections.last_hidden, run(&Capture::default()).last_hidden);
}

/// As PyPI transformers has it for every family: `tests/parity/family.rs`.
#[test]
fn the_last_layer_computes_what_the_head_reads() {
    let _turn = crate::seeded(64);
    let _guard = tch::no_grad_guard();
    let (config, (ids, mask)) = (config("bert"), batch());
    let cls = Head::Embedding { pooling: Pooling::Cls, normalize: true };
    let params = Params::initialise(&parameter_layout(&config, cls), Device::Cpu);
    let model = Model::new(&params, &config, cls);
    let run = |capture: &Capture| model.forward(&ids, &mask, None, capture, false);
    let whole = run(&Capture::default());
    let only = |capture: Capture| Capture { head_only: true, ..capture };
    let kept = |kept: &Capture| run(kept).encoded.last_hidden.size()[1];
    assert_eq!(kept(&Capture::LOGITS), 1);
    assert_eq!(kept(&only(Capture { projections: Layers::Of(vec![0, 1]), ..Capture::default() })), 1);
    assert_eq!(kept(&only(Capture { projections: Layers::Of(vec![2]), ..Capture::default() })), 7);
    assert_eq!(kept(&only(Capture { attention_scores: Layers::All, ..Capture::default() })), 7);
    assert_eq!(kept(&only(Capture { hidden_states: true, ..Capture::default() })), 7);
    close(&run(&Capture::LOGITS).logits, &whole.logits, 1e-6);
    close(&run(&Capture::LOGITS).encoded.last_hidden, &whole.encoded.last_hidden.narrow(1, 0, 1), 1e-5);
    // Other heads read other tokens.
    for pooling in [Pooling::Mean, Pooling::Max] {
        let model = Model::new(&params, &config, Head::Embedding { pooling, normalize: false });
        assert_eq!(model.forward(&ids, &mask, None, &Capture::LOGITS, false).encoded.last_hidden.size()[1], 7);
    }
}

/// A batch is computed without its padding, a text alone has none.
#[test]
fn texts_are_computed_in_a_batch_as_alone_and_padding_is_zeros() {
    let _turn = crate::seeded(66);
    let lengths = [7i64, 1, 4];
    let integers = |below| Tensor::randint(below, [3, 7], (Kind::Int64, Device::Cpu));
    let (ids, types) = (integers(40), integers(2));
    let mask = Tensor::arange(7, (Kind::Int64, Device::Cpu)).lt_tensor(&Tensor::from_slice(&lengths).unsqueeze(1));
    let mask = mask.to_kind(Kind::Int64);
    for kind in ["bert", "albert", "mpnet", "gpt2"] {
        for capture in [Capture::EVERYTHING, Capture::LOGITS] {
            let (config, head) = (config(kind), Head::Classification { labels: 3 });
            let params = Params::initialise(&parameter_layout(&config, head), Device::Cpu);
            params.set_requires_grad(true);
            let weights: Vec<Tensor> = params.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
            let model = Model::new(&params, &config, head);
            let gradients = |loss: Tensor| Tensor::run_backward(&[loss], &weights, false, false);
            let types = (kind == "bert").then_some(&types);
            let together = model.forward(&ids, &mask, types, &capture, false);
            let mut loss = Tensor::from(0f32);
            for (row, length) in lengths.into_iter().enumerate() {
                let text = |x: &Tensor| x.narrow(0, row as i64, 1).narrow(1, 0, length);
                let alone = model.forward(&text(&ids), &text(&mask), types.map(text).as_ref(), &capture, false);
                close(&together.logits.narrow(0, row as i64, 1), &alone.logits, 1e-4);
                let both = together.encoded.hidden_states.iter().zip(&alone.encoded.hidden_states);
                for (states, alone) in both {
                    close(&text(states), alone, 1e-4);
                    assert_eq!(
                        states.get(row as i64).narrow(0, length, 7 - length).count_nonzero(None),
                        Tensor::from(0i64)
                    );
                }
                for (layer, scores) in &together.encoded.attention_scores {
                    let own = scores.narrow(0, row as i64, 1).narrow(2, 0, length).narrow(3, 0, length);
                    close(&own, &alone.encoded.attention_scores[layer], 1e-4);
                }
                for (layer, projections) in &together.encoded.projections {
                    close(&text(&projections.key), &alone.encoded.projections[layer].key, 1e-4);
                }
                loss += alone.logits.square().sum(Kind::Float);
            }
            let (own, want) = (gradients(together.logits.square().sum(Kind::Float)), gradients(loss));
            assert!(own.iter().any(Tensor::defined));
            for (own, want) in own.iter().zip(&want) {
                assert_eq!(own.defined(), want.defined());
                if own.defined() {
                    close(own, want, 1e-4 * want.abs().max().double_value(&[]).max(1.0));
                }
            }
        }
    }
}

#[test]
fn scores_are_products_of_the_kept_queries_and_keys() {
    let _turn = crate::seeded(62);
    let _guard = tch::no_grad_guard();
    for kind in ["bert", "gpt2"] {
        let (config, (ids, mask)) = (config(kind), batch());
        let encoded = model(&config).forward(&ids, &mask, None, &Capture::EVERYTHING, false).encoded;
        for layer in 0..3 {
            let Projections { query, key, value } = &encoded.projections[&layer];
            assert_eq!((query.size(), key.size(), value.size()), (vec![2, 7, 16], vec![2, 7, 16], vec![2, 7, 16]));
            let heads = |x: &Tensor| x.view([2, 7, 4, 4]).transpose(1, 2);
            let seen = visible_pairs(&config, &mask, layer).unsqueeze(1);
            let products = heads(query).matmul(&heads(key).transpose(2, 3)) / 2.0 * &seen;
            close(&encoded.attention_scores[&layer], &products, 1e-4);
            // A pair that is seen has a score, and no other.
            let scored = encoded.attention_scores[&layer].ne(0.0).to_kind(Kind::Float);
            close(&scored, &seen.expand([2, 4, 7, 7], false), 0.0);
        }
    }
}

#[test]
fn visible_pairs_are_of_tokens_and_in_causal_models_look_back() {
    let mask = Tensor::from_slice(&[1i64, 1, 0, 1, 1, 1]).view([2, 3]);
    let pairs = |kind| Vec::<f32>::try_from(visible_pairs(&config(kind), &mask, 0).view(-1)).unwrap();
    assert_eq!(pairs("bert"), [1., 1., 0., 1., 1., 0., 0., 0., 0., 1., 1., 1., 1., 1., 1., 1., 1., 1.]);
    assert_eq!(pairs("gpt2"), [1., 0., 0., 1., 1., 0., 0., 0., 0., 1., 0., 0., 1., 1., 0., 1., 1., 1.]);
}

#[test]
fn a_model_that_is_its_own_teacher_has_no_loss_and_another_has() {
    let _turn = crate::seeded(63);
    let _guard = tch::no_grad_guard();
    for kind in ["bert", "gpt2"] {
        let (config, (ids, mask)) = (config(kind), batch());
        let (own, other) = (model(&config), model(&config));
        let run = |model: &Model| model.forward(&ids, &mask, None, &Capture::EVERYTHING, false).encoded;
        let losses = |s: &Encoded, t: &Encoded| -> Vec<f64> {
            let pairs = visible_pairs(&config, &mask, 2);
            let (scores, teacher_scores) = (&s.attention_scores[&2], &t.attention_scores[&2]);
            let (values, teacher_values) = (&s.projections[&2].value, &t.projections[&2].value);
            let one = Tensor::eye(16, (Kind::Float, Device::Cpu));
            let hidden = |i: usize| {
                hidden_states(&s.hidden_states[i], &t.hidden_states[i], &mask, Some(&one), Padding::Excluded)
            };
            [
                hidden(0),
                hidden(3),
                attention_scores(scores, teacher_scores, &pairs, Padding::Excluded),
                attention_distributions(scores, teacher_scores, &pairs),
                relations(values, teacher_values, &pairs, 8),
            ]
            .into_iter()
            .map(|loss| loss.unwrap().double_value(&[]))
            .collect()
        };
        assert_eq!(losses(&run(&own), &run(&own))[..3], [0.0; 3]);
        assert!(losses(&run(&own), &run(&own))[3..].iter().all(|loss| loss.abs() < 1e-6));
        assert!(losses(&run(&own), &run(&other)).iter().all(|&loss| loss > 1e-2));
    }
}
