//! Every architecture and head against transformers: files, outputs, gradients.

use std::path::PathBuf;

use limbeck_export::arch::{AttentionPattern, Capture, Head, Model, ModelOutput};
use limbeck_export::checkpoint::{self, Arrays, Checkpoint, Problem, array_of, file_arrays};
use limbeck_export::objective;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::reference::{Tensors, close, integers, path, tensors};

const LIMIT: f64 = 2e-5;

pub struct Case {
    name: String,
    pub folder: PathBuf,
    pub json: Value,
    pub want: Tensors,
    pub loaded: Checkpoint,
    model: Model,
    pub ids: Tensor,
    pub mask: Tensor,
    types: Option<Tensor>,
}

impl Case {
    pub fn read(name: &str) -> Self {
        let folder = path("family").join(name);
        let json: Value = serde_json::from_slice(&std::fs::read(folder.join("case.json")).unwrap()).unwrap();
        let (_, info) = checkpoint::read_model_config(&folder).unwrap();
        let loaded = checkpoint::load(&folder, info.head, Device::Cpu).unwrap();
        assert!(loaded.initialised.is_empty(), "{name}: not in the file: {:?}", loaded.initialised);
        Self {
            model: Model::new(&loaded.params, &loaded.config, info.head),
            ids: integers(&json["input_ids"]),
            mask: integers(&json["attention_mask"]),
            types: json.get("token_type_ids").map(integers),
            want: tensors(&format!("family/{name}/outputs.safetensors")),
            name: name.to_owned(),
            folder,
            json,
            loaded,
        }
    }

    fn run(&self, capture: &Capture, train: bool) -> ModelOutput {
        self.model.forward(&self.ids, &self.mask, self.types.as_ref(), capture, train)
    }

    /// `value` with zeros where its token is padding; axis 0 is the batch, axis 1 the length.
    fn without_padding(&self, value: &Tensor) -> Tensor {
        let mut keep = self.mask.to_kind(Kind::Float);
        while keep.dim() < value.dim() {
            keep = keep.unsqueeze(-1);
        }
        value * keep
    }

    /// Compares what is one value a token, outside of padding.
    fn tokens(&self, what: &str, own: &Tensor, reference: &str) {
        let want = self.without_padding(&self.want.get(reference));
        close(&format!("{}: {what}", self.name), &self.without_padding(own), &want, LIMIT);
    }

    fn texts(&self, what: &str, own: &Tensor, reference: &str) {
        close(&format!("{}: {what}", self.name), own, &self.want.get(reference), LIMIT);
    }

    fn compare_head(&self, own: &ModelOutput) {
        match self.loaded.info.head {
            Head::None => {}
            Head::Classification { .. } => self.texts("logits", &own.logits, "logits"),
            Head::Span => {
                self.tokens("start logits", &own.logits.select(-1, 0), "start_logits");
                self.tokens("end logits", &own.logits.select(-1, 1), "end_logits");
            }
            _ => self.tokens("logits", &own.logits, "logits"),
        }
        if let Some(sentence) = &own.sentence_logits {
            self.texts("sentence logits", sentence, "sentence_logits");
        }
        if self.loaded.info.head == Head::None {
            self.texts("pooled", own.pooled.as_ref().unwrap(), "pooled");
        }
    }

    /// Attention probabilities from the scores that the encoder gives, 0 between what is not a pair of tokens.
    fn probabilities(&self, scores: &Tensor, layer: usize) -> Tensor {
        let mask = self.mask.to_kind(Kind::Float).unsqueeze(1);
        let mut seen = mask.unsqueeze(-2) * mask.unsqueeze(-1);
        let pairs = seen.shallow_clone();
        if self.loaded.config.causal {
            let length = self.ids.size()[1];
            let position = Tensor::arange(length, (Kind::Int64, Device::Cpu));
            let away = position.unsqueeze(1) - position.unsqueeze(0);
            let mut visible = away.ge(0);
            if let AttentionPattern::Banded { width, stride, .. } = self.loaded.config.attention_pattern
                && self.loaded.config.attention_pattern.band(layer).is_some()
            {
                let mut inside = away.lt(width as i64);
                if let Some(stride) = stride {
                    inside = inside.logical_or(&away.remainder(stride as i64).eq(0));
                }
                visible = visible.logical_and(&inside);
            }
            seen *= visible.to_kind(Kind::Float);
        }
        (scores + (seen - 1.0) * f64::from(f32::MAX)).softmax(-1, Kind::Float) * pairs
    }

    fn loss(&self, own: &ModelOutput) -> Tensor {
        let targets = |key: &str| integers(&self.json["targets"][key]);
        let numbers = |key: &str| floats(&self.json["targets"][key]);
        match self.loaded.info.head {
            Head::None => {
                let keep = self.mask.to_kind(Kind::Float).unsqueeze(-1);
                let states = (own.encoded.last_hidden.square() * &keep).sum(Kind::Float) / keep.sum(Kind::Float);
                states + own.pooled.as_ref().unwrap().square().mean(Kind::Float)
            }
            Head::Classification { .. } => match self.loaded.info.problem {
                Problem::SingleLabelClassification => objective::cross_entropy(&own.logits, &targets("labels")),
                Problem::MultiLabelClassification => objective::binary_cross_entropy(&own.logits, &numbers("labels")),
                Problem::Regression => objective::mean_squared_error(&own.logits.squeeze(), &numbers("labels")),
            },
            Head::TokenClassification { .. } | Head::MaskedLm => {
                objective::cross_entropy(&own.logits, &targets("labels"))
            }
            Head::Span => {
                objective::span(&own.logits, &self.mask, &targets("start_positions"), &targets("end_positions"))
            }
            Head::Pretraining => {
                let albert = self.json["targets"].get("sentence_order_label").is_some();
                let sentence = targets(if albert { "sentence_order_label" } else { "next_sentence_label" });
                objective::cross_entropy(&own.logits, &targets("labels"))
                    + objective::cross_entropy(own.sentence_logits.as_ref().unwrap(), &sentence)
            }
            Head::ReplacedToken => objective::replaced_token(&own.logits, &self.mask, &targets("labels")),
            Head::CausalLm => objective::next_token(&own.logits, &targets("labels")),
            Head::Embedding { .. } => unreachable!("transformers has no such class"),
        }
    }
}

/// A JSON array of numbers, or of arrays of them, as fp32.
fn floats(value: &Value) -> Tensor {
    fn collect(value: &Value, out: &mut Vec<f32>) {
        match value {
            Value::Array(list) => list.iter().for_each(|inner| collect(inner, out)),
            number => out.push(number.as_f64().unwrap() as f32),
        }
    }
    let mut numbers = Vec::new();
    collect(value, &mut numbers);
    let rows = value.as_array().unwrap().len() as i64;
    let flat = Tensor::from_slice(&numbers);
    if value[0].is_array() { flat.view([rows, -1]) } else { flat }
}

pub fn cases() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path("family"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 43);
    names
}

#[test]
fn every_case_equals_transformers_in_every_layer() {
    let _guard = tch::no_grad_guard();
    for name in cases() {
        let case = Case::read(&name);
        let own = case.run(&Capture::EVERYTHING, false);
        let config = &case.loaded.config;
        // transformers keeps one hidden state a repetition of inner layers.
        let inner = config.blocks().len() / config.layers;
        assert_eq!(own.encoded.hidden_states.len(), config.layers * inner + 1);
        for i in 0..=config.layers {
            let hidden = &own.encoded.hidden_states[i * inner];
            case.tokens(&format!("hidden state {i}"), hidden, &format!("hidden.{i}"));
        }
        assert_eq!(own.encoded.attention_scores.len(), config.layers * inner);
        for (&i, scores) in &own.encoded.attention_scores {
            case.texts(&format!("scores of layer {i}"), scores, &format!("scores.{i}"));
            let attention = case.probabilities(scores, i);
            case.texts(&format!("attention of layer {i}"), &attention, &format!("attention.{i}"));
        }
        case.compare_head(&own);
        // The fused attention, which gives no scores.
        let fused = case.run(&Capture { hidden_states: true, ..Capture::default() }, false);
        assert!(fused.encoded.attention_scores.is_empty());
        case.tokens("last hidden state", &fused.encoded.last_hidden, &format!("hidden.{}", config.layers));
        case.compare_head(&fused);
        // And the last layer for what the head reads alone.
        let alone = case.run(&Capture::LOGITS, false);
        let first = !config.causal && matches!(case.loaded.info.head, Head::Classification { .. });
        let computed = if first { 1 } else { fused.encoded.last_hidden.size()[1] };
        assert_eq!(alone.encoded.last_hidden.size()[1], computed, "{name}");
        case.compare_head(&alone);
    }
}

#[test]
fn losses_and_all_gradients_equal_transformers() {
    for name in cases() {
        let case = Case::read(&name);
        let (config, head) = (&case.loaded.config, case.loaded.info.head);
        let want = tensors(&format!("family/{name}/gradients.safetensors"));
        case.loaded.params.set_requires_grad(true);
        for capture in [Capture::default(), Capture::LOGITS, Capture::EVERYTHING] {
            // The configurations have no dropout, so training mode gives the same.
            let loss = case.loss(&case.run(&capture, true));
            let (own, expected) = (loss.double_value(&[]), case.json["loss"].as_f64().unwrap());
            assert!((own - expected).abs() <= 1e-5 * expected, "{name}: loss {own}, transformers {expected}");
            let (names, inputs): (Vec<&str>, Vec<&Tensor>) = case.loaded.params.iter().unzip();
            let gradients = Tensor::run_backward(&[loss], &inputs, false, false);
            let arrays: Arrays = names
                .into_iter()
                .zip(&inputs)
                .zip(gradients)
                .map(|((name, input), gradient)| {
                    // Parameters that no output depends on, such as the pooler of a model read by tokens.
                    let gradient = if gradient.defined() { gradient } else { input.zeros_like() };
                    (name.to_owned(), array_of(&gradient).unwrap())
                })
                .collect();
            let file = file_arrays(config, head, &arrays).unwrap();
            assert_eq!(file.keys().collect::<Vec<_>>(), want.iter().map(|(name, _)| name).collect::<Vec<_>>());
            let largest = want.iter().map(|(_, t)| t.abs().max().double_value(&[])).fold(0.0, f64::max);
            for (tensor, gradient) in &file {
                let reference = want.get(tensor);
                // A key's bias shifts all scores of a query alike: its true gradient is 0, and both are rounding.
                let own_size = reference.abs().max().double_value(&[]);
                let limit = (1e-4 * own_size).max(1e-6 * largest);
                let gradient = checkpoint::tensor_of(gradient);
                close(&format!("{name}: gradient of {tensor}"), &gradient, &reference, limit);
            }
        }
    }
}

#[test]
fn mask_and_types_take_part() {
    let case = Case::read("bert-classification");
    let _guard = tch::no_grad_guard();
    let all = case.mask.ones_like();
    for (what, mask, types) in [("mask", &all, case.types.as_ref()), ("types", &case.mask, None)] {
        let own = case.model.forward(&case.ids, mask, types, &Capture::default(), false);
        let difference = crate::reference::difference(&own.logits, &case.want.get("logits"));
        assert!(difference > 1e-2, "the references do not depend on the {what}");
    }
}
