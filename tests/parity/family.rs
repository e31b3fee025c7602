//! Every architecture and head against transformers: files, outputs, gradients.

use std::collections::BTreeMap;
use std::path::PathBuf;

use limbeck_export::arch::{AttentionPattern, Capture, Head, Model, ModelConfig, ModelOutput};
use limbeck_export::checkpoint::{self, Arrays, Checkpoint, HeadInfo, Problem, array_of, file_arrays, read_arrays};
use limbeck_export::objective;
use ndarray::ArrayD;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::reference::{Tensors, close, integers, path, tensors};

const LIMIT: f64 = 2e-5;
const EVERYTHING: Capture = Capture { hidden_states: true, attention_scores: true };

struct Case {
    name: String,
    folder: PathBuf,
    json: Value,
    want: Tensors,
    loaded: Checkpoint,
    model: Model,
    ids: Tensor,
    mask: Tensor,
    types: Option<Tensor>,
}

impl Case {
    fn read(name: &str) -> Self {
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

    fn run(&self, capture: Capture, train: bool) -> ModelOutput {
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

fn cases() -> Vec<String> {
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
        let own = case.run(EVERYTHING, false);
        let config = &case.loaded.config;
        // transformers keeps one hidden state a repetition of inner layers.
        let inner = config.blocks().len() / config.layers;
        assert_eq!(own.encoded.hidden_states.len(), config.layers * inner + 1);
        for i in 0..=config.layers {
            let hidden = &own.encoded.hidden_states[i * inner];
            case.tokens(&format!("hidden state {i}"), hidden, &format!("hidden.{i}"));
        }
        assert_eq!(own.encoded.attention_scores.len(), config.layers * inner);
        for (i, scores) in own.encoded.attention_scores.iter().enumerate() {
            case.texts(&format!("scores of layer {i}"), scores, &format!("scores.{i}"));
            let attention = case.probabilities(scores, i);
            case.texts(&format!("attention of layer {i}"), &attention, &format!("attention.{i}"));
        }
        case.compare_head(&own);
        // The fused attention, which gives no scores.
        let fused = case.run(Capture { hidden_states: true, attention_scores: false }, false);
        assert!(fused.encoded.attention_scores.is_empty());
        case.tokens("last hidden state", &fused.encoded.last_hidden, &format!("hidden.{}", config.layers));
        case.compare_head(&fused);
    }
}

#[test]
fn losses_and_all_gradients_equal_transformers() {
    for name in cases() {
        let case = Case::read(&name);
        let (config, head) = (&case.loaded.config, case.loaded.info.head);
        let want = tensors(&format!("family/{name}/gradients.safetensors"));
        case.loaded.params.set_requires_grad(true);
        for capture in [Capture::default(), EVERYTHING] {
            // The configurations have no dropout, so training mode gives the same.
            let loss = case.loss(&case.run(capture, true));
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
        let own = case.model.forward(&case.ids, mask, types, Capture::default(), false);
        let difference = crate::reference::difference(&own.logits, &case.want.get("logits"));
        assert!(difference > 1e-2, "the references do not depend on the {what}");
    }
}

/// The stored values of each tensor.
fn stored(path: &std::path::Path) -> BTreeMap<String, ArrayD<f32>> {
    read_arrays(path).unwrap()
}

#[test]
fn every_file_is_written_back_to_the_byte() {
    for name in cases() {
        let case = Case::read(&name);
        let (config, info) = (&case.loaded.config, &case.loaded.info);
        let folder = tempfile::tempdir().unwrap();
        checkpoint::save_model(folder.path(), config, info, &case.loaded.params, checkpoint::SHARD_BYTES).unwrap();
        let (own, theirs) = (folder.path().join("model.safetensors"), case.folder.join("model.safetensors"));
        assert_eq!(stored(&own), stored(&theirs), "{name}");
        assert_eq!(std::fs::read(&own).unwrap(), std::fs::read(&theirs).unwrap(), "{name}: same tensors, other bytes");
        // The configuration says the same to us, and has no key that changes the model for transformers.
        let (again, again_info) = checkpoint::read_model_config(folder.path()).unwrap();
        assert_eq!((&again, &again_info), (config, info), "{name}");
    }
}

#[test]
fn shards_are_written_and_read() {
    for name in ["gpt2-lm", "albert-groups"] {
        let case = Case::read(name);
        let (config, info) = (&case.loaded.config, &case.loaded.info);
        let folder = tempfile::tempdir().unwrap();
        let save = |limit| checkpoint::save_model(folder.path(), config, info, &case.loaded.params, limit).unwrap();
        save(4_000);
        assert!(!folder.path().join("model.safetensors").exists());
        let shards = std::fs::read_dir(folder.path()).unwrap().count() - 2;
        assert!(folder.path().join(format!("model-{shards:05}-of-{shards:05}.safetensors")).exists() && shards > 1);
        let read = checkpoint::load(folder.path(), info.head, Device::Cpu).unwrap();
        for (tensor, value) in case.loaded.params.iter() {
            assert_eq!(read.params.get(tensor).unwrap(), value, "{tensor}");
        }
        let index = folder.path().join("model.safetensors.index.json");
        let text = std::fs::read_to_string(&index).unwrap();
        let refuse = |changed: &str, message: &str| {
            std::fs::write(&index, changed).unwrap();
            let error = format!("{:#}", checkpoint::load(folder.path(), info.head, Device::Cpu).err().unwrap());
            assert!(error.contains(message), "{error}");
        };
        refuse(&text.replacen("model-0", "../model-0", 1), "is not the name of a file in this folder");
        refuse(&text.replacen("model-00001", "model-00009", 1), "is not listed there");
        refuse("{}", "model.safetensors.index.json");
        // A save in one file replaces the shards.
        save(checkpoint::SHARD_BYTES);
        assert!(!index.exists());
        assert_eq!(
            std::fs::read(folder.path().join("model.safetensors")).unwrap(),
            std::fs::read(case.folder.join("model.safetensors")).unwrap()
        );
    }
}

#[test]
fn half_precision_files_are_read() {
    let case = Case::read("roberta-classification");
    let (config, head) = (&case.loaded.config, case.loaded.info.head);
    let theirs = stored(&case.folder.join("model.safetensors"));
    for dtype in [safetensors::Dtype::F16, safetensors::Dtype::BF16] {
        let buffers: Vec<_> = theirs
            .iter()
            .map(|(name, array)| {
                let bytes: Vec<u8> = array
                    .iter()
                    .flat_map(|&v| match dtype {
                        safetensors::Dtype::F16 => half::f16::from_f32(v).to_le_bytes(),
                        _ => half::bf16::from_f32(v).to_le_bytes(),
                    })
                    .collect();
                (name.clone(), array.shape().to_vec(), bytes)
            })
            .collect();
        let views = buffers.iter().map(|(name, shape, bytes)| {
            (name.as_str(), safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        std::fs::copy(case.folder.join("config.json"), folder.path().join("config.json")).unwrap();
        let read = checkpoint::load(folder.path(), head, Device::Cpu).unwrap();
        let model = Model::new(&read.params, config, head);
        let _guard = tch::no_grad_guard();
        let own = model.forward(&case.ids, &case.mask, None, Capture::default(), false).logits;
        let difference = crate::reference::difference(&own, &case.want.get("logits"));
        assert!(difference > 0.0 && difference < 0.1, "{dtype:?}: {difference}");
    }
}

/// What transformers shares in whole layers only, limbeck writes as copies and reads back as one.
#[test]
fn partly_shared_layers_survive_a_file() {
    use limbeck_export::arch::Sharing;
    for sharing in [Sharing::Attention, Sharing::Ffn] {
        let config = ModelConfig { sharing, ..limbeck_tests::models::tiny("albert-e128-all") };
        let (info, turn) = (HeadInfo::new(Head::Pretraining), limbeck_tests::seeded(7));
        let params = limbeck_tests::models::draw(&config, info.head);
        drop(turn);
        let folder = tempfile::tempdir().unwrap();
        checkpoint::save_model(folder.path(), &config, &info, &params, checkpoint::SHARD_BYTES).unwrap();
        let read = checkpoint::load(folder.path(), info.head, Device::Cpu).unwrap();
        assert_eq!(read.config, config);
        for (tensor, value) in params.iter() {
            assert_eq!(read.params.get(tensor).unwrap(), value, "{tensor}");
        }
        // A copy that differs is not silently dropped.
        let path = folder.path().join("model.safetensors");
        let mut arrays = read_arrays(&path).unwrap();
        let part = if sharing == Sharing::Attention { "attention.key.bias" } else { "ffn.bias" };
        let copy = format!("albert.encoder.albert_layer_groups.2.albert_layers.0.{part}");
        arrays.get_mut(&copy).unwrap()[0] += 1.0;
        checkpoint::write_arrays(&path, &arrays, &BTreeMap::new()).unwrap();
        let error = format!("{:#}", checkpoint::load(folder.path(), info.head, Device::Cpu).err().unwrap());
        assert!(error.contains(&copy) && error.contains("differs from its copies"), "{error}");
    }
}

/// Writes a folder for each case, and for what transformers has no case of, with what limbeck makes of it, for
/// `check_checkpoints.py` to load with transformers.
#[test]
#[ignore = "writes the folders for check_checkpoints.py: LIMBECK_CHECKPOINTS names where"]
fn written_checkpoints_for_transformers() {
    use limbeck_export::arch::Sharing;
    let out = PathBuf::from(std::env::var_os("LIMBECK_CHECKPOINTS").expect("set LIMBECK_CHECKPOINTS to a folder"));
    let _guard = tch::no_grad_guard();
    let write = |name: &str,
                 config: &ModelConfig,
                 info: &HeadInfo,
                 params: &limbeck_export::arch::Params,
                 json: &Value,
                 shard_bytes: u64| {
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        checkpoint::save_model(&folder, config, info, params, shard_bytes).unwrap();
        std::fs::write(folder.join("case.json"), json.to_string()).unwrap();
        let types = json.get("token_type_ids").map(integers);
        let model = Model::new(params, config, info.head);
        let own = model.forward(
            &integers(&json["input_ids"]),
            &integers(&json["attention_mask"]),
            types.as_ref(),
            EVERYTHING,
            false,
        );
        let mut outputs: Vec<(String, Tensor)> = Vec::new();
        let inner = config.blocks().len() / config.layers;
        for i in 0..=config.layers {
            outputs.push((format!("hidden.{i}"), own.encoded.hidden_states[i * inner].shallow_clone()));
        }
        match info.head {
            Head::None => outputs.extend(own.pooled.map(|pooled| ("pooled".to_owned(), pooled))),
            Head::Span => {
                outputs.push(("start_logits".to_owned(), own.logits.select(-1, 0)));
                outputs.push(("end_logits".to_owned(), own.logits.select(-1, 1)));
            }
            _ => outputs.push(("logits".to_owned(), own.logits)),
        }
        outputs.extend(own.sentence_logits.map(|logits| ("sentence_logits".to_owned(), logits)));
        checkpoint::write_tensors(&folder.join("outputs.safetensors"), &outputs, &BTreeMap::new()).unwrap();
    };
    for name in cases() {
        let case = Case::read(&name);
        let (config, info) = (&case.loaded.config, &case.loaded.info);
        write(&name, config, info, &case.loaded.params, &case.json, checkpoint::SHARD_BYTES);
    }
    let gpt2 = Case::read("gpt2-lm");
    write("gpt2-shards", &gpt2.loaded.config, &gpt2.loaded.info, &gpt2.loaded.params, &gpt2.json, 4_000);
    let json = Case::read("albert-pretraining").json;
    let _turn = limbeck_tests::seeded(8);
    for (name, base, sharing) in [
        ("albert-shared-attention", "albert-e128-attention", Sharing::Attention),
        ("albert-shared-ffn", "albert-e128-ffn", Sharing::Ffn),
        ("albert-without-projection", "albert-e768-all", Sharing::All),
    ] {
        let config = ModelConfig { sharing, ..limbeck_tests::models::tiny(base) };
        let info = HeadInfo::new(Head::Pretraining);
        let params = limbeck_tests::models::draw(&config, info.head);
        write(name, &config, &info, &params, &json, checkpoint::SHARD_BYTES);
    }
}
