//! What must hold of the forward pass whatever the weights are.

use limbeck_export::arch::{AttentionPattern, Capture, Head, Model, ModelConfig, Params, Sharing};
use limbeck_tests::models::{architectures, draw, heads, tiny};
use limbeck_tests::seeded;
use tch::{Device, Kind, Tensor};

use crate::reference::{close, difference};

const INT: (Kind, Device) = (Kind::Int64, Device::Cpu);

fn ids(config: &ModelConfig, batch: i64, length: i64) -> Tensor {
    Tensor::randint(config.vocab_size as i64, [batch, length], INT)
}

/// The same function with weights of its own for every layer: each block's copies of what it shared.
fn unshared(config: &ModelConfig, params: &Params) -> (ModelConfig, Params) {
    let blocks = config.blocks();
    let separate = ModelConfig { sharing: Sharing::None, layers: blocks.len(), ..config.clone() };
    let mut tensors: std::collections::BTreeMap<String, Tensor> = params
        .iter()
        .filter(|(name, _)| !name.starts_with("encoder."))
        .map(|(name, t)| (name.to_owned(), t.detach().copy()))
        .collect();
    for (layer, &(attention, ffn)) in blocks.iter().enumerate() {
        for (kind, block) in [("attention", attention), ("ffn", ffn)] {
            let prefix = format!("encoder.{kind}.{block}.");
            for (name, tensor) in params.iter() {
                if let Some(part) = name.strip_prefix(&prefix) {
                    tensors.insert(format!("encoder.{kind}.{layer}.{part}"), tensor.detach().copy());
                }
            }
        }
    }
    (separate, Params::new(tensors, Device::Cpu))
}

#[test]
fn shared_layers_equal_copied_ones_to_the_bit_and_their_gradients_add_up() {
    let _turn = seeded(51);
    for sharing in [
        Sharing::All,
        Sharing::Attention,
        Sharing::Ffn,
        Sharing::Groups { groups: 3, inner: 1 },
        Sharing::Groups { groups: 1, inner: 2 },
    ] {
        let config = ModelConfig { sharing, layers: 6, ..tiny("albert-e128-all") };
        let head = Head::Classification { labels: 3 };
        let params = draw(&config, head);
        let (separate_config, separate_params) = unshared(&config, &params);
        let (shared, separate) =
            (Model::new(&params, &config, head), Model::new(&separate_params, &separate_config, head));
        let (ids, mask) = (ids(&config, 3, 11), Tensor::ones([3, 11], INT));
        for capture in [Capture::default(), Capture::EVERYTHING] {
            params.set_requires_grad(true);
            separate_params.set_requires_grad(true);
            let a = shared.forward(&ids, &mask, None, &capture, true);
            let b = separate.forward(&ids, &mask, None, &capture, true);
            assert_eq!(a.logits, b.logits, "{sharing:?}");
            assert_eq!(a.encoded.hidden_states, b.encoded.hidden_states, "{sharing:?}");
            let gradients = |params: &Params, logits: &Tensor| -> Vec<(String, Tensor)> {
                let (names, inputs): (Vec<&str>, Vec<&Tensor>) = params.iter().unzip();
                let gradients = Tensor::run_backward(&[logits.square().sum(Kind::Float)], &inputs, false, false);
                names.into_iter().map(str::to_owned).zip(gradients).collect()
            };
            let own = gradients(&params, &a.logits);
            let copies = gradients(&separate_params, &b.logits);
            for (name, gradient) in own {
                let sum: Tensor = match name.strip_prefix("encoder.").and_then(|rest| rest.split_once('.')) {
                    None => copies.iter().find(|(n, _)| *n == name).unwrap().1.shallow_clone(),
                    Some((kind, rest)) => {
                        let (block, part) = rest.split_once('.').unwrap();
                        let block: usize = block.parse().unwrap();
                        let uses = config.blocks().into_iter().enumerate();
                        let layers =
                            uses.filter(|(_, (a, f))| if kind == "attention" { *a == block } else { *f == block });
                        layers
                            .map(|(layer, _)| {
                                let copy = format!("encoder.{kind}.{layer}.{part}");
                                copies.iter().find(|(n, _)| *n == copy).unwrap().1.shallow_clone()
                            })
                            .sum()
                    }
                };
                let scale = sum.abs().max().double_value(&[]).max(1e-3);
                close(&format!("{sharing:?}: gradient of {name}"), &(gradient / scale), &(sum / scale), 1e-5);
            }
        }
    }
}

#[test]
fn a_band_as_long_as_the_text_is_dense() {
    let _turn = seeded(52);
    let _guard = tch::no_grad_guard();
    let dense = tiny("gpt2");
    let params = draw(&dense, Head::CausalLm);
    let (ids, mask) = (ids(&dense, 2, 17), Tensor::ones([2, 17], INT));
    let run = |attention_pattern| {
        let config = ModelConfig { attention_pattern, ..dense.clone() };
        Model::new(&params, &config, Head::CausalLm).forward(&ids, &mask, None, &Capture::default(), false).logits
    };
    let band = |width, stride| AttentionPattern::Banded { width, stride, first: 0, every: 1 };
    let want = run(AttentionPattern::Dense);
    for pattern in [band(17, None), band(40, None), band(1, Some(1)), band(17, Some(5))] {
        assert_eq!(run(pattern), want, "{pattern:?}");
    }
    assert!(difference(&run(band(16, None)), &want) > 1e-4, "a narrower band must matter");
}

/// In two layers every position reaches every earlier one where the pattern is strided, and only there.
#[test]
fn strides_reach_everything_in_two_layers() {
    let _turn = seeded(53);
    let reach = |stride| {
        let attention_pattern = AttentionPattern::Banded { width: 4, stride, first: 0, every: 1 };
        let config = ModelConfig { attention_pattern, layers: 2, ..tiny("gpt2") };
        let params = draw(&config, Head::None);
        params.set_requires_grad(true);
        let model = Model::new(&params, &config, Head::None);
        let ids = Tensor::arange(16, INT).unsqueeze(0);
        let hidden = model.forward(&ids, &ids.ones_like(), None, &Capture::default(), false).logits;
        // What the last position depends on, token by token: each occurs once.
        let loss = hidden.select(1, 15).square().sum(Kind::Float);
        let words = params.get("embeddings.words.weight").unwrap();
        let gradient = &Tensor::run_backward(&[loss], &[words], false, false)[0];
        let touched = gradient.narrow(0, 0, 16).abs().sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        touched.gt(0.0).sum(Kind::Int64).int64_value(&[])
    };
    assert_eq!(reach(Some(4)), 16);
    assert_eq!(reach(None), 7);
}

#[test]
fn later_tokens_never_change_earlier_logits() {
    let _turn = seeded(54);
    let _guard = tch::no_grad_guard();
    for (name, config) in architectures().into_iter().filter(|(_, config)| config.causal) {
        let params = draw(&config, Head::CausalLm);
        let model = Model::new(&params, &config, Head::CausalLm);
        let first = ids(&config, 2, 24);
        let mask = first.ones_like();
        for capture in [Capture::default(), Capture::EVERYTHING] {
            let want = model.forward(&first, &mask, None, &capture, false).logits;
            for from in [1, 5, 23] {
                let second = first.copy();
                second.narrow(1, from, 24 - from).copy_(&ids(&config, 2, 24 - from));
                let own = model.forward(&second, &mask, None, &capture, false).logits;
                assert_eq!(own.narrow(1, 0, from), want.narrow(1, 0, from), "{name} from {from}");
                assert_ne!(own, want, "{name}: the later tokens must matter to later logits");
            }
        }
    }
}

#[test]
fn padding_on_either_side_changes_nothing() {
    let _turn = seeded(55);
    let _guard = tch::no_grad_guard();
    for (name, config) in architectures() {
        for head in heads(&config) {
            let params = draw(&config, head);
            let model = Model::new(&params, &config, head);
            let (length, pad) = (9, 6);
            let text = ids(&config, 1, length);
            let alone = model.forward(&text, &text.ones_like(), None, &Capture::EVERYTHING, false);
            let padding = ids(&config, 1, pad);
            for left in [false, true] {
                let join =
                    |a: &Tensor, b: &Tensor| if left { Tensor::cat(&[b, a], 1) } else { Tensor::cat(&[a, b], 1) };
                let padded = join(&text, &padding);
                let mask = join(&text.ones_like(), &padding.zeros_like());
                let own = model.forward(&padded, &mask, None, &Capture::EVERYTHING, false);
                let start = if left { pad } else { 0 };
                let cut = |t: &Tensor| t.narrow(1, start, length);
                let what = format!("{name}, {head:?}, {}", if left { "left" } else { "right" });
                for (a, b) in own.encoded.hidden_states.iter().zip(&alone.encoded.hidden_states) {
                    close(&what, &cut(a), b, 2e-5);
                }
                for (a, b) in own.encoded.attention_scores.values().zip(alone.encoded.attention_scores.values()) {
                    close(&what, &a.narrow(2, start, length).narrow(3, start, length), b, 2e-5);
                    let outside = a.abs().sum(Kind::Double) - b.abs().sum(Kind::Double);
                    assert!(outside.double_value(&[]).abs() < 1e-2, "{what}: scores of padding are not 0");
                }
                if own.logits.dim() > 1 && own.logits.size()[1] == length + pad {
                    close(&what, &cut(&own.logits), &alone.logits, 2e-5);
                } else if !(left && reads_position_zero(&config, head)) {
                    close(&what, &own.logits, &alone.logits, 2e-5);
                }
            }
        }
    }
}

/// Heads that read the first position, whatever stands there.
fn reads_position_zero(config: &ModelConfig, head: Head) -> bool {
    use limbeck_export::arch::Pooling;
    match head {
        Head::Classification { .. } => !config.causal,
        Head::Embedding { pooling, .. } => pooling == Pooling::Cls,
        _ => false,
    }
}

#[test]
fn embeddings_pool_what_they_say() {
    use limbeck_export::arch::Pooling;
    let _turn = seeded(56);
    let _guard = tch::no_grad_guard();
    let config = tiny("all-minilm-l6-v2");
    let embed = |pooling, normalize| Head::Embedding { pooling, normalize };
    let params = draw(&config, embed(Pooling::Mean, false));
    let (text, length) = (ids(&config, 1, 8), 5);
    let mask = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 0, 0, 0]).unsqueeze(0);
    let run = |head| Model::new(&params, &config, head).forward(&text, &mask, None, &Capture::default(), false);
    let hidden = run(Head::None).encoded.last_hidden.narrow(1, 0, length).get(0);
    let mean = hidden.mean_dim([0i64].as_slice(), false, Kind::Float);
    close("mean", &run(embed(Pooling::Mean, false)).logits.get(0), &mean, 1e-6);
    close("cls", &run(embed(Pooling::Cls, false)).logits.get(0), &hidden.get(0), 0.0);
    close("max", &run(embed(Pooling::Max, false)).logits.get(0), &hidden.amax([0i64].as_slice(), false), 0.0);
    let normal = run(embed(Pooling::Mean, true)).logits.get(0);
    close("normalised", &normal, &(&mean / mean.norm()), 1e-6);
}
