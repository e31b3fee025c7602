//! Decoding with keys and values of earlier tokens equals one pass over everything.

use limbeck::bundle::{past_name, present_name};
use limbeck_export::arch::{Capture, Head, Model};
use limbeck_export::graph::{GraphOptions, LOGITS, Profile, kept_head_size};
use limbeck_tests::models::{architectures, arrays, draw};
use limbeck_tests::seeded;
use tch::{Kind, Tensor};

use crate::graphs::{Graph, Input, largest_difference};

#[test]
fn cached_decoding_equals_the_full_pass_at_every_length() {
    let _turn = seeded(41);
    let _guard = tch::no_grad_guard();
    let head = Head::CausalLm;
    for (name, config) in architectures().into_iter().filter(|(_, config)| config.causal) {
        let params = draw(&config, head);
        let model = Model::new(&params, &config, head);
        for (profile, mask) in [(Profile::Ort, false), (Profile::Portable, false), (Profile::Portable, true)] {
            let options = GraphOptions { profile, mask, cache: true, ..GraphOptions::default() };
            let mut graph = Graph::new(&arrays(&params), &config, head, options);
            let drawn = Input::draw(&config, 3, 40, mask);
            // Generation goes on at the right: texts of several lengths are padded on the left.
            let input = if mask { drawn.left_padded() } else { drawn };
            let full = model.forward(&input.ids, &input.mask, None, &Capture::default(), false).logits;
            // A prompt of several tokens, then one at a time; and a start with a single token.
            for prompt in [1, 2, 7, 40] {
                let kept = profile == Profile::Ort;
                let (room, size) = if kept { (44, kept_head_size(&config)) } else { (0, config.head_size()) };
                let empty = [3, config.attention_heads, room, size].map(|size| size as i64);
                let names = || (0..config.layers).flat_map(|layer| ["key", "value"].map(|kind| (kind, layer)));
                // What lies in a buffer beyond its tokens must not matter.
                let mut past: Vec<(String, Tensor)> = names()
                    .map(|(kind, layer)| {
                        (past_name(kind, layer), Tensor::full(empty, 9.0, (Kind::Float, tch::Device::Cpu)))
                    })
                    .collect();
                let mut done = 0;
                while done < 40 {
                    let step = if done == 0 { prompt } else { 1 };
                    let part = Input {
                        ids: input.ids.narrow(1, done, step),
                        mask: input.mask.narrow(1, 0, done + step),
                        types: input.types.narrow(1, done, step),
                    };
                    let output = graph.run_with(&part, past);
                    let keep = input.mask.narrow(1, done, step).unsqueeze(-1);
                    let own = &output[LOGITS] * &keep;
                    let difference = largest_difference(&own, &(full.narrow(1, done, step) * &keep));
                    done += step;
                    assert!(
                        difference <= 1e-4,
                        "{name}, {profile:?}, mask {mask}: after {done} tokens (prompt {prompt}) {difference:e}"
                    );
                    past = names()
                        .map(|(kind, layer)| {
                            (past_name(kind, layer), output[&present_name(kind, layer)].shallow_clone())
                        })
                        .collect();
                }
            }
        }
    }
}

/// Rows that have read different numbers of tokens, one more token each: as each of them alone, also where the model
/// has bands.
#[test]
fn rows_of_several_lengths_go_on_together() {
    let _turn = seeded(42);
    let _guard = tch::no_grad_guard();
    let head = Head::CausalLm;
    for (name, config) in architectures().into_iter().filter(|(_, config)| config.causal) {
        let params = draw(&config, head);
        let model = Model::new(&params, &config, head);
        let options = GraphOptions { cache: true, ..GraphOptions::default() };
        let mut graph = Graph::new(&arrays(&params), &config, head, options);
        let input = Input::draw(&config, 3, 30, false);
        let full = model.forward(&input.ids, &input.mask, None, &Capture::default(), false).logits;
        let names = || (0..config.layers).flat_map(|layer| ["key", "value"].map(|kind| (kind, layer)));
        let size = [1, config.attention_heads, 33, kept_head_size(&config)].map(|size| size as i64);
        let lengths = [29, 3, 14];
        let mut rows = Vec::new();
        for (row, length) in (0..3).zip(lengths) {
            let part = Input {
                ids: input.ids.narrow(0, row, 1).narrow(1, 0, length),
                mask: input.mask.narrow(0, row, 1).narrow(1, 0, length),
                types: input.types.narrow(0, row, 1).narrow(1, 0, length),
            };
            let empty = || Tensor::zeros(size, (Kind::Float, tch::Device::Cpu));
            rows.push(graph.run_with(&part, names().map(|(kind, layer)| (past_name(kind, layer), empty())).collect()));
        }
        let together = |name: &str| Tensor::cat(&rows.iter().map(|row| &row[name]).collect::<Vec<_>>(), 0);
        let past =
            names().map(|(kind, layer)| (past_name(kind, layer), together(&present_name(kind, layer)))).collect();
        let next = |tensor: &Tensor| {
            let of = |(row, length)| tensor.get(row).narrow(0, length, 1);
            Tensor::stack(&(0..3).zip(lengths).map(of).collect::<Vec<_>>(), 0)
        };
        let places = Tensor::from_slice(&lengths).unsqueeze(-1);
        let output = graph.run_placed(&next(&input.ids), &places, past);
        let difference = largest_difference(&output[LOGITS], &next(&full));
        assert!(difference <= 1e-4, "{name}: {difference:e}");
    }
}
