//! A BERT classifier's graph at many lengths and batches, in fp32 and int8.

use limbeck_export::arch::{Capture, Head, Model, ModelConfig, Params};
use limbeck_export::checkpoint::Arrays;
use limbeck_export::graph::{GraphOptions, LAST_HIDDEN, LOGITS, WeightMode};
use limbeck_tests::models::{arrays, draw, tiny};
use limbeck_tests::seeded;
use tch::{Kind, Tensor};

use crate::graphs::{Graph, Input, largest_difference};

const HEAD: Head = Head::Classification { labels: 3 };
/// Large enough that attention and gelu leave their linear range.
const WIDE: f64 = 0.15;
/// Like that of trained weights, for which int8 is meant.
const USUAL: f64 = 0.05;

fn config(initializer_range: f64) -> ModelConfig {
    ModelConfig {
        hidden_size: 48,
        embedding_size: 48,
        intermediate_size: 96,
        vocab_size: 200,
        position_rows: 512,
        initializer_range,
        ..tiny("bert-base-uncased")
    }
}

struct Case {
    params: Params,
    arrays: Arrays,
    config: ModelConfig,
}

/// A model drawn from libtorch's generator: see [`seeded`].
fn case(std: f64) -> Case {
    let config = config(std);
    let params = draw(&config, HEAD);
    Case { arrays: arrays(&params), params, config }
}

impl Case {
    fn model(&self) -> Model {
        Model::new(&self.params, &self.config, HEAD)
    }

    fn graph(&self, options: GraphOptions) -> Graph {
        Graph::new(&self.arrays, &self.config, HEAD, options)
    }
}

#[test]
fn fp32_graphs_equal_tch() {
    let _turn = seeded(21);
    let case = case(WIDE);
    let model = case.model();
    let _guard = tch::no_grad_guard();
    for (mask, token_types, hidden_output) in
        [(true, false, false), (true, true, true), (false, false, false), (false, false, true), (true, false, true)]
    {
        let options = GraphOptions { mask, token_types, hidden_output, ..GraphOptions::default() };
        let mut graph = case.graph(options);
        for length in [1, 2, 3, 7, 16, 33, 64, 127, 128, 255, 511, 512] {
            for batch in [1, 2, 3, 8] {
                if batch > 3 && length > 128 {
                    continue;
                }
                let input = Input::draw(&case.config, batch, length, mask);
                let types = token_types.then_some(&input.types);
                let want = model.forward(&input.ids, &input.mask, types, &Capture::default(), false);
                let output = graph.run(&input);
                let difference = largest_difference(&output[LOGITS], &want.logits);
                assert!(difference <= 1e-4, "logits of {batch} x {length} differ by {difference} ({options:?})");
                if let Some(hidden) = output.get(LAST_HIDDEN) {
                    let keep = input.mask.unsqueeze(-1);
                    let difference = largest_difference(&(hidden * &keep), &(want.encoded.last_hidden * &keep));
                    assert!(difference <= 1e-4, "hidden of {batch} x {length} differ by {difference} ({options:?})");
                }
            }
        }
    }
}

#[test]
fn padding_and_batch_mates_change_nothing_in_fp32() {
    let _turn = seeded(21);
    let case = case(WIDE);
    let mut graph = case.graph(GraphOptions { mask: true, ..GraphOptions::default() });
    let together = Input::draw(&case.config, 8, 40, true);
    let batch = &graph.run(&together)[LOGITS];
    for row in 0..8 {
        let single = &graph.run(&together.row(row))[LOGITS];
        let difference = largest_difference(&single.get(0), &batch.get(row));
        assert!(difference <= 1e-5, "row {row} differs by {difference}");
    }
}

/// Over 60 seeds the error was 0.9% to 2.4%. An untrained head's few logits are small against the noise, so the
/// hidden states are compared.
#[test]
fn int8_graphs_stay_close() {
    let _turn = seeded(21);
    let case = case(USUAL);
    let model = case.model();
    let options = GraphOptions { weights: WeightMode::DynamicInt8, hidden_output: true, ..GraphOptions::default() };
    let mut graph = case.graph(options);
    let _guard = tch::no_grad_guard();
    let squares = |t: &Tensor| t.square().sum(Kind::Double).double_value(&[]);
    let (mut error, mut size) = (0.0, 0.0);
    for length in [1, 2, 5, 16, 64, 200, 512] {
        let input = Input::draw(&case.config, 1, length, false);
        let want = model.forward(&input.ids, &input.mask, None, &Capture::default(), false).encoded.last_hidden;
        error += squares(&(&graph.run(&input)[LAST_HIDDEN] - &want));
        size += squares(&want);
    }
    let relative = f64::sqrt(error / size);
    assert!(relative < 0.05, "relative error {relative}");
}
