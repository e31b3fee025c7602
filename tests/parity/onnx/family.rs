//! Every architecture with every head, in both profiles.

use limbeck_export::arch::{Capture, Head, Model, ModelConfig, ModelOutput, Sharing, preset};
use limbeck_export::graph::{
    END_LOGITS, Form, GraphOptions, LAST_HIDDEN, LOGITS, Operators, POOLER_OUTPUT, PORTABLE_OPERATORS, Part, Profile,
    SENTENCE_EMBEDDING, SENTENCE_LOGITS, START_LOGITS, WeightMode, build, describe,
};
use limbeck_export::quantize::{Bits, Blocks};
use limbeck_tests::models::{architectures, arrays, draw, heads, tiny};
use limbeck_tests::seeded;
use tch::{Kind, Tensor};

use crate::graphs::{Graph, Input, largest_difference};

const LIMIT: f64 = 1e-4;

/// What the graph of a head is to give, by name.
fn expected(head: Head, output: &ModelOutput) -> Vec<(&'static str, Tensor)> {
    let logits = || output.logits.shallow_clone();
    let mut list = match head {
        Head::None => vec![(LAST_HIDDEN, logits())],
        Head::Embedding { .. } => vec![(SENTENCE_EMBEDDING, logits())],
        Head::Span => vec![(START_LOGITS, logits().select(-1, 0)), (END_LOGITS, logits().select(-1, 1))],
        _ => vec![(LOGITS, logits())],
    };
    list.extend(output.sentence_logits.as_ref().map(|l| (SENTENCE_LOGITS, l.shallow_clone())));
    if head == Head::None {
        list.extend(output.pooled.as_ref().map(|p| (POOLER_OUTPUT, p.shallow_clone())));
    }
    list
}

/// Zero where an output has one value a token and that token is padding.
fn without_padding(value: &Tensor, mask: &Tensor, per_token: bool) -> Tensor {
    if !per_token {
        return value.shallow_clone();
    }
    let mut keep = mask.to_kind(Kind::Float);
    while keep.dim() < value.dim() {
        keep = keep.unsqueeze(-1);
    }
    value * keep
}

fn compare(what: &str, config: &ModelConfig, head: Head, options: GraphOptions) {
    let params = draw(config, head);
    let model = Model::new(&params, config, head);
    let mut graph = Graph::new(&arrays(&params), config, head, options);
    if options.profile == Profile::Portable {
        for operator in &graph.built.operators {
            assert!(PORTABLE_OPERATORS.contains(&operator.as_str()), "{what}: {operator} is not portable");
        }
    }
    let per_token = |name: &str| {
        let each = [LAST_HIDDEN, START_LOGITS, END_LOGITS].contains(&name);
        each || (name == LOGITS && !matches!(head, Head::Classification { .. }))
    };
    for (batch, length) in [(1, 1), (1, 2), (3, 9), (2, 33), (1, 80)] {
        let drawn = Input::draw(config, batch, length, options.mask);
        let inputs = if options.mask { vec![drawn.left_padded(), drawn] } else { vec![drawn] };
        for input in inputs {
            let types = options.token_types.then_some(&input.types);
            let want = model.forward(&input.ids, &input.mask, types, &Capture::default(), false);
            let got = graph.run(&input);
            let mut names: Vec<&str> = got.keys().map(String::as_str).collect();
            for (name, want) in expected(head, &want) {
                let difference = largest_difference(
                    &without_padding(&got[name], &input.mask, per_token(name)),
                    &without_padding(&want, &input.mask, per_token(name)),
                );
                assert!(difference <= LIMIT, "{what}: {name} of {batch} x {length} differs by {difference:e}");
                names.retain(|other| *other != name);
            }
            assert!(names.is_empty(), "{what}: also gives {names:?}");
        }
    }
}

/// A first token that is padding stands for nothing: only heads that look at tokens can be padded on the left.
fn reads_the_first_token(config: &ModelConfig, head: Head) -> bool {
    use limbeck_export::arch::Pooling;
    match head {
        Head::None | Head::Pretraining => config.pooler,
        Head::Classification { .. } => !config.causal,
        Head::Embedding { pooling, .. } => pooling == Pooling::Cls,
        _ => false,
    }
}

#[test]
fn every_head_of_every_architecture_equals_tch() {
    let _turn = seeded(31);
    let _guard = tch::no_grad_guard();
    for (name, config) in architectures() {
        for head in heads(&config) {
            for profile in [Profile::Ort, Profile::Portable] {
                // A mask matters to them only on the right: see below.
                let masks = if reads_the_first_token(&config, head) { &[false][..] } else { &[false, true] };
                for &mask in masks {
                    let token_types = config.token_types > 1 && mask;
                    let options = GraphOptions { profile, mask, token_types, ..GraphOptions::default() };
                    compare(&format!("{name}, {head:?}, {options:?}"), &config, head, options);
                }
            }
        }
    }
}

#[test]
fn every_form_of_every_part_equals_tch() {
    let _turn = seeded(34);
    let _guard = tch::no_grad_guard();
    let families = ["bert-base-uncased", "all-mpnet-base-v2", "albert-base", "gpt2"];
    let fewer_heads = |(name, _): &(String, ModelConfig)| name == "bert-base-uncased with fewer heads";
    let kinds = families.map(|name| (name.to_owned(), tiny(name)));
    for (name, config) in kinds.into_iter().chain(architectures().into_iter().find(fewer_heads)) {
        let head = Head::TokenClassification { labels: 5 };
        for part in Part::ALL {
            // One differs by one part, the other by all but one.
            let one = Operators::default().with_other(part);
            let most = Part::ALL.into_iter().fold(one, Operators::with_other);
            for operators in [one, most] {
                let options = GraphOptions { operators, mask: true, ..GraphOptions::default() };
                compare(&format!("{name}, {operators}"), &config, head, options);
                let built = build(&arrays(&draw(&config, head)), &config, head, options).unwrap();
                let text = String::from_utf8_lossy(&built.model).into_owned();
                assert_eq!(text.contains("MultiHeadAttention"), operators.attention == Form::Fused, "{name}");
                let skips = operators.residual_norm == Form::Fused && !config.pre_norm;
                assert_eq!(text.contains("SkipLayerNormalization"), skips, "{name}");
            }
        }
    }
}

#[test]
fn right_padded_first_tokens_equal_tch() {
    let _turn = seeded(32);
    let _guard = tch::no_grad_guard();
    for (name, config) in architectures() {
        for head in heads(&config).into_iter().filter(|&head| reads_the_first_token(&config, head)) {
            // The second one has every part in its other form.
            let other = Part::ALL.into_iter().fold(Operators::default(), Operators::with_other);
            for (profile, operators) in
                [(Profile::Ort, Operators::default()), (Profile::Ort, other), (Profile::Portable, other)]
            {
                let options = GraphOptions { profile, operators, mask: true, ..GraphOptions::default() };
                let params = draw(&config, head);
                let model = Model::new(&params, &config, head);
                let mut graph = Graph::new(&arrays(&params), &config, head, options);
                let input = Input::draw(&config, 4, 21, true);
                let want = model.forward(&input.ids, &input.mask, None, &Capture::default(), false);
                let got = graph.run(&input);
                for (output, want) in expected(head, &want) {
                    let per_token = output == LAST_HIDDEN || (output == LOGITS && head == Head::Pretraining);
                    let difference = largest_difference(
                        &without_padding(&got[output], &input.mask, per_token),
                        &without_padding(&want, &input.mask, per_token),
                    );
                    assert!(difference <= LIMIT, "{name}, {head:?}, {profile:?}: {output} differs by {difference:e}");
                }
            }
        }
    }
}

/// Fewer bits of every architecture stay near fp32, and the two profiles near each other: they store the same codes.
#[test]
fn quantized_graphs_of_every_architecture_stay_close() {
    let _turn = seeded(33);
    let _guard = tch::no_grad_guard();
    for (name, config) in architectures() {
        let config = ModelConfig { initializer_range: 0.05, ..config };
        let head = if config.causal { Head::CausalLm } else { Head::MaskedLm };
        let params = draw(&config, head);
        let model = Model::new(&params, &config, head);
        let input = Input::draw(&config, 1, 40, false);
        let want = model.forward(&input.ids, &input.mask, None, &Capture::default(), false).encoded.last_hidden;
        let size = want.norm().double_value(&[]);
        let blocks = |bits| WeightMode::Blocks(Blocks::new(bits, 32, bits == Bits::Four).unwrap());
        let cases = [
            (Profile::Ort, WeightMode::DynamicInt8, 0.15),
            (Profile::Portable, WeightMode::DynamicInt8, 0.15),
            (Profile::Ort, blocks(Bits::Eight), 0.02),
            (Profile::Ort, blocks(Bits::Four), 0.2),
            (Profile::Ort, WeightMode::Half, 1e-3),
            (Profile::Portable, WeightMode::Half, 1e-3),
        ];
        for (profile, weights, limit) in cases {
            let options = GraphOptions { profile, weights, hidden_output: true, ..GraphOptions::default() };
            let mut graph = Graph::new(&arrays(&params), &config, head, options);
            let output = graph.run(&input);
            let error = (&output[LAST_HIDDEN] - &want).norm().double_value(&[]) / size;
            assert!(error < limit, "{name}, {profile:?}, {weights:?}: relative error {error}");
            assert_eq!(output[LOGITS].size(), [1, 40, config.vocab_size as i64]);
            // A decoder that keeps its past takes these modes too.
            if config.causal {
                let options = GraphOptions { profile, weights, cache: true, ..GraphOptions::default() };
                let mut decoder = Graph::new(&arrays(&params), &config, head, options);
                let room = if profile == Profile::Ort { 40 } else { 0 };
                let size = [1, config.attention_heads, room, config.head_size()];
                let empty = || Tensor::zeros(size.map(|size| size as i64), (Kind::Float, tch::Device::Cpu));
                let pasts = (0..config.layers)
                    .flat_map(|layer| ["key", "value"].map(|kind| (limbeck::bundle::past_name(kind, layer), empty())));
                let stepped = decoder.run_with(&input, pasts.collect());
                assert!(largest_difference(&stepped[LOGITS], &output[LOGITS]) < 1e-4, "{name}, {weights:?}");
            }
        }
    }
}

#[test]
fn shared_weights_are_stored_once() {
    let base = preset("albert-e128-all").unwrap().config;
    // The real shape, its weights all zero: only sizes count here.
    let zeros = |config: &ModelConfig| {
        limbeck_export::arch::parameter_layout(config, Head::None)
            .into_iter()
            .map(|spec| {
                let shape: Vec<usize> = spec.shape.iter().map(|&d| d as usize).collect();
                (spec.name, ndarray::ArrayD::zeros(shape))
            })
            .collect()
    };
    for profile in [Profile::Ort, Profile::Portable] {
        let options = GraphOptions { profile, mask: true, ..GraphOptions::default() };
        let graph = build(&zeros(&base), &base, Head::None, options).unwrap();
        let bytes = graph.model.len() + graph.weights.len();
        assert!(bytes <= 48_000_000, "{bytes} bytes");
        assert!(bytes as u64 >= 4 * 11_683_584 - 4 * 2 * 128, "{bytes} bytes do not hold the weights");
    }
    // One block of several layers, however they share.
    let size = |sharing| {
        let config =
            ModelConfig { sharing, hidden_size: 64, attention_heads: 4, intermediate_size: 128, ..base.clone() };
        build(&zeros(&config), &config, Head::None, GraphOptions::default()).unwrap().weights.len()
    };
    let (none, attention, ffn, all) =
        (size(Sharing::None), size(Sharing::Attention), size(Sharing::Ffn), size(Sharing::All));
    assert!(all < ffn && all < attention && ffn < none && attention < none);
}

#[test]
fn graphs_say_what_they_take_and_give() {
    let config = tiny("gpt2");
    let _turn = seeded(34);
    let arrays = arrays(&draw(&config, Head::CausalLm));
    let options = GraphOptions { profile: Profile::Portable, mask: true, cache: true, ..GraphOptions::default() };
    let graph = build(&arrays, &config, Head::CausalLm, options).unwrap();
    let description = describe(&graph.model).unwrap();
    let text = |list: &[limbeck_export::graph::TensorDescription]| {
        list.iter().map(|t| format!("{} {} {}", t.name, t.element, t.axes.join("x"))).collect::<Vec<_>>()
    };
    let inputs = text(&description.inputs);
    assert_eq!(inputs[..2], ["input_ids int32 batchxlength", "attention_mask int32 batchxtotal"]);
    assert_eq!(inputs[2], "past_key.0 float32 batchx4xpastx8");
    assert_eq!(inputs.len(), 2 + 2 * config.layers);
    let outputs = text(&description.outputs);
    assert_eq!(outputs[0], "logits float32 batchxlengthx97");
    assert_eq!(outputs[1], "present_key.0 float32 batchx4xtotalx8");
    assert_eq!(description.operators.values().sum::<usize>(), graph_nodes(&graph.model));
    assert!(description.markdown().contains("| `past_value.2` | float32 | batch x 4 x past x 8 |"));
    assert!(describe(b"not a graph").is_err());

    let options = GraphOptions { cache: true, ..GraphOptions::default() };
    let description = describe(&build(&arrays, &config, Head::CausalLm, options).unwrap().model).unwrap();
    let inputs = text(&description.inputs);
    assert_eq!(inputs[1..3], ["position_ids int32 batchxlength", "past_key.0 float32 batchx4xroomx8"]);
    assert_eq!(text(&description.outputs)[1], "present_key.0 float32 batchx4xroomx8");
}

fn graph_nodes(model: &[u8]) -> usize {
    use prost::Message;
    limbeck_export::graph::proto::Model::decode(model).unwrap().graph.unwrap().node.len()
}

#[test]
fn impossible_graphs_are_refused() {
    let _turn = seeded(35);
    let config = tiny("bert-base-uncased");
    let params = arrays(&draw(&config, Head::None));
    let error = |head, options| format!("{:#}", build(&params, &config, head, options).err().unwrap());
    let cache = GraphOptions { cache: true, ..GraphOptions::default() };
    assert!(error(Head::None, cache).contains("no key/value cache"));
    assert!(error(Head::CausalLm, GraphOptions::default()).contains("no causal-lm head"));
    assert!(error(Head::Span, GraphOptions::default()).contains("head.output.weight"));
    let gpt2 = tiny("gpt2");
    let options = GraphOptions { token_types: true, ..GraphOptions::default() };
    let refused = build(&arrays(&draw(&gpt2, Head::None)), &gpt2, Head::None, options).err().unwrap();
    assert!(refused.to_string().contains("no token types"));
    let head = Head::CausalLm;
    let options = GraphOptions { cache: true, mask: true, ..GraphOptions::default() };
    let refused = build(&arrays(&draw(&gpt2, head)), &gpt2, head, options).err().unwrap();
    assert!(refused.to_string().contains("takes no mask"));
}
