//! Writing, loading and running a graph.

use std::collections::BTreeMap;

use limbeck::bundle::POSITION_IDS;
use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::checkpoint::Arrays;
use limbeck_export::graph::{BuiltGraph, GraphOptions, Profile, WEIGHTS_NAME, build};
use ort::session::Session;
use ort::value::{DynValue, Tensor as OrtTensor};
use tch::{Device, Kind, Tensor};

pub struct Graph {
    session: Session,
    pub built: BuiltGraph,
    options: GraphOptions,
}

impl Graph {
    pub fn new(arrays: &Arrays, config: &ModelConfig, head: Head, options: GraphOptions) -> Self {
        let built = build(arrays, config, head, options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), &built.model).unwrap();
        std::fs::write(folder.path().join(WEIGHTS_NAME), &built.weights).unwrap();
        let session = limbeck_tests::bare_runtime::session(&folder.path().join("model.onnx"));
        Self { session, built, options }
    }

    /// Every output by name.
    pub fn run(&mut self, input: &Input) -> BTreeMap<String, Tensor> {
        self.run_with(input, vec![])
    }

    /// [`Self::run`] with more fp32 inputs.
    pub fn run_with(&mut self, input: &Input, more: Vec<(String, Tensor)>) -> BTreeMap<String, Tensor> {
        let mut feeds = vec![("input_ids".to_owned(), int32(&input.ids))];
        if self.options.mask {
            feeds.push(("attention_mask".to_owned(), int32(&input.mask)));
        }
        if self.options.token_types {
            feeds.push(("token_type_ids".to_owned(), int32(&input.types)));
        }
        if self.options.cache && self.options.profile == Profile::Ort {
            // The mask says how many tokens there are with those before.
            let (rows, length, total) = (input.ids.size()[0], input.ids.size()[1], input.mask.size()[1]);
            let places = Tensor::arange_start(total - length, total, (Kind::Int64, Device::Cpu));
            feeds.push((POSITION_IDS.to_owned(), int32(&places.unsqueeze(0).repeat([rows, 1]))));
        }
        self.run_feeds(feeds, more)
    }

    /// Tokens at these places, with more fp32 inputs.
    pub fn run_placed(
        &mut self,
        ids: &Tensor,
        places: &Tensor,
        more: Vec<(String, Tensor)>,
    ) -> BTreeMap<String, Tensor> {
        let feeds = vec![("input_ids".to_owned(), int32(ids)), (POSITION_IDS.to_owned(), int32(places))];
        self.run_feeds(feeds, more)
    }

    fn run_feeds(
        &mut self,
        mut feeds: Vec<(String, DynValue)>,
        more: Vec<(String, Tensor)>,
    ) -> BTreeMap<String, Tensor> {
        feeds.extend(more.into_iter().map(|(name, tensor)| (name, float32(&tensor))));
        let outputs = self.session.run(feeds).unwrap();
        let read = |value: ort::value::ValueRef| {
            let (shape, values) = value.try_extract_tensor::<f32>().unwrap();
            Tensor::from_slice(values).view(&shape[..])
        };
        outputs.iter().map(|(name, value)| (name.to_owned(), read(value))).collect()
    }
}

#[derive(Debug)]
pub struct Input {
    pub ids: Tensor,
    pub mask: Tensor,
    pub types: Tensor,
}

impl Input {
    /// Random texts; padded ones are cut on the right, the first is whole.
    pub fn draw(config: &ModelConfig, batch: i64, length: i64, padded: bool) -> Self {
        let int = (Kind::Int64, Device::Cpu);
        let ids = Tensor::randint(config.vocab_size as i64, [batch, length], int);
        let mask = Tensor::ones([batch, length], int);
        if padded {
            for row in 1..batch {
                let keep = (length * (batch - row) / batch).max(1);
                let _ = mask.get(row).narrow(0, keep, length - keep).fill_(0);
            }
        }
        Self { ids, mask, types: Tensor::randint(config.token_types.max(1) as i64, [batch, length], int) }
    }

    /// One row without its padding.
    pub fn row(&self, row: i64) -> Self {
        let length = self.mask.get(row).sum(Kind::Int64).int64_value(&[]);
        let cut = |t: &Tensor| t.get(row).narrow(0, 0, length).unsqueeze(0);
        Self { ids: cut(&self.ids), mask: cut(&self.mask), types: cut(&self.types) }
    }

    /// The same texts with their padding on the left.
    pub fn left_padded(&self) -> Self {
        let roll = |t: &Tensor| {
            let rows: Vec<Tensor> = (0..t.size()[0])
                .map(|row| {
                    let pad = t.size()[1] - self.mask.get(row).sum(Kind::Int64).int64_value(&[]);
                    t.get(row).roll([pad], [0])
                })
                .collect();
            Tensor::stack(&rows, 0)
        };
        Self { ids: roll(&self.ids), mask: roll(&self.mask), types: roll(&self.types) }
    }
}

fn shape(t: &Tensor) -> Vec<usize> {
    t.size().iter().map(|&d| d as usize).collect()
}

fn int32(t: &Tensor) -> DynValue {
    let values: Vec<i32> = Vec::<i64>::try_from(t.flatten(0, -1)).unwrap().into_iter().map(|v| v as i32).collect();
    OrtTensor::from_array((shape(t), values)).unwrap().into_dyn()
}

fn float32(t: &Tensor) -> DynValue {
    let values: Vec<f32> = Vec::try_from(t.contiguous().flatten(0, -1)).unwrap();
    OrtTensor::from_array((shape(t), values)).unwrap().into_dyn()
}

pub fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let difference = (a - b).abs();
    assert_eq!(difference.isfinite().all().int64_value(&[]), 1, "a value is not finite");
    difference.max().double_value(&[])
}
