//! Decoding with keys and values of earlier tokens equals one pass over everything.

use limbeck::bundle::{past_name, present_name};
use limbeck_export::arch::{Capture, Head, Model};
use limbeck_export::graph::{GraphOptions, LOGITS, Profile};
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
        for profile in [Profile::Ort, Profile::Portable] {
            for mask in [false, true] {
                let options = GraphOptions { profile, mask, cache: true, ..GraphOptions::default() };
                let mut graph = Graph::new(&arrays(&params), &config, head, options);
                let drawn = Input::draw(&config, 3, 40, mask);
                // Generation goes on at the right: texts of several lengths are padded on the left.
                let input = if mask { drawn.left_padded() } else { drawn };
                let full = model.forward(&input.ids, &input.mask, None, &Capture::default(), false).logits;
                // A prompt of several tokens, then one at a time; and a start with a single token.
                for prompt in [1, 2, 7, 40] {
                    let mut past: Vec<(String, Tensor)> = (0..config.layers)
                        .flat_map(|layer| ["key", "value"].map(|kind| past_name(kind, layer)))
                        .map(|name| (name, Tensor::zeros([3, 4, 0, 8], (Kind::Float, tch::Device::Cpu))))
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
                        past = (0..config.layers)
                            .flat_map(|layer| ["key", "value"].map(|kind| (kind, layer)))
                            .map(|(kind, layer)| {
                                (past_name(kind, layer), output[&present_name(kind, layer)].shallow_clone())
                            })
                            .collect();
                    }
                }
            }
        }
    }
}
