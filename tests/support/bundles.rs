//! Small models of every task as bundles, beside the libtorch model that they were made of.

use std::path::Path;

use limbeck::bundle::Calibration;
use limbeck_export::arch::{Capture, Head, Model, ModelConfig, ModelOutput, Params};
use limbeck_export::checkpoint::{self, HeadInfo, Problem};
use limbeck_export::graph::{KeepFloat, Operators, WeightMode};
use limbeck_export::pack::{PackOptions, TaskName, draft};
use limbeck_export::quantize::{Activations, FakeQuantization};
use serde_json::json;
use tch::Tensor;
use tokenizers::Tokenizer;

use crate::cache;
use crate::models::{draw, tiny};

/// Words of the tokenizer beside single characters.
const WORDS: [&str; 22] = [
    "the",
    "battery",
    "life",
    "is",
    "awful",
    "but",
    "screen",
    "wonderful",
    "a",
    "phone",
    "good",
    "bad",
    "ada",
    "met",
    "in",
    "london",
    "who",
    "what",
    "wrote",
    "this",
    "about",
    "example",
];

/// A BERT tokenizer that splits most words into single letters.
pub fn word_pieces() -> serde_json::Value {
    let letters = ('a'..='z').chain('0'..='9').map(String::from);
    let pieces = ('a'..='z').chain('0'..='9').map(|c| format!("##{c}"));
    let signs = ".,;:!?-'\"()[]/".chars().map(String::from);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let tokens = special.iter().cloned().chain(letters).chain(pieces).chain(signs).chain(WORDS.map(str::to_owned));
    let vocabulary: serde_json::Map<_, _> = {
        let mut seen = std::collections::HashSet::new();
        tokens.filter(|token| seen.insert(token.clone())).enumerate().map(|(id, token)| (token, json!(id))).collect()
    };
    let added = |id: u32| {
        json!({"id": id, "content": special[id as usize], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let token = |id: &str, n: u32| json!({"id": id, "ids": [n], "tokens": [id]});
    let piece = |id: &str, kind: u32| json!({"SpecialToken": {"id": id, "type_id": kind}});
    let text = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..5).map(added).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0)],
            "pair": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0), text("B", 1), piece("[SEP]", 1)],
            "special_tokens": {"[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", 3)}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

/// A byte-level tokenizer as GPT-2's, with a few merges and `<|endoftext|>`.
pub fn byte_level() -> serde_json::Value {
    const MERGES: [(&str, &str); 16] = [
        ("\u{120}", "t"),
        ("h", "e"),
        ("\u{120}t", "he"),
        ("\u{120}", "a"),
        ("i", "n"),
        ("o", "n"),
        ("r", "e"),
        ("\u{120}", "s"),
        ("e", "r"),
        ("\u{10a}", "\u{10a}"),
        ("y", "e"),
        ("ye", "s"),
        ("\u{120}", "yes"),
        ("\u{120}", "n"),
        ("\u{120}n", "o"),
        ("\u{f0}", "\u{141}"),
    ];
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = 0x100..;
    let bytes: Vec<String> = (0..256)
        .map(|byte| if printable(byte) { byte } else { others.next().unwrap_or_default() })
        .filter_map(char::from_u32)
        .map(String::from)
        .collect();
    let merged = MERGES.iter().map(|(a, b)| format!("{a}{b}"));
    let end = "<|endoftext|>";
    let tokens = bytes.iter().cloned().chain(merged).chain([end.to_owned()]);
    let vocabulary: serde_json::Map<_, _> = tokens.enumerate().map(|(id, token)| (token, json!(id))).collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 256 + MERGES.len(), "content": end, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": MERGES.map(|(a, b)| format!("{a} {b}"))},
    })
}

/// What a bundle is made of; the rest is as small as can be.
#[derive(Clone)]
pub struct Recipe {
    /// The head.
    pub head: Head,
    /// Its labels.
    pub labels: Vec<String>,
    /// What the logits of a classifier mean.
    pub problem: Problem,
    /// What the model is for; by its head when `None`.
    pub task: Option<TaskName>,
    /// Longest text.
    pub max_tokens: usize,
    /// Storage of weights.
    pub weights: WeightMode,
    /// Storage of the token table, if another.
    pub table: Option<WeightMode>,
    /// What the nodes of the graph are.
    pub operators: Operators,
    /// What is stored as `kept`.
    pub keep_float: KeepFloat,
    /// fp32 by default.
    pub kept: WeightMode,
    /// How logits become probabilities and decisions.
    pub calibration: Option<Calibration>,
    /// Changes the architecture.
    pub config: fn(ModelConfig) -> ModelConfig,
}

impl Recipe {
    /// A model with this head and labels, of at most 40 tokens.
    pub fn new(head: Head, labels: &[&str]) -> Recipe {
        Recipe {
            head,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            problem: Problem::SingleLabelClassification,
            task: None,
            max_tokens: 40,
            weights: WeightMode::Float,
            table: None,
            operators: Operators::default(),
            keep_float: KeepFloat::default(),
            kept: WeightMode::Float,
            calibration: None,
            config: |config| config,
        }
    }

    /// A classifier of one text.
    pub fn classifier(labels: &[&str]) -> Recipe {
        Recipe::new(Head::Classification { labels: labels.len() }, labels)
    }

    /// Makes the bundle of randomly drawn weights. Hold [`crate::seeded`] while it is made.
    pub fn make(&self) -> Made {
        self.of_folder(|_| Activations::default()).expect("a draft")
    }

    /// [`Recipe::make`] with what `find` says of activations, given the folder of the model and its fp32 bundle.
    pub fn make_calibrated(&self, find: impl FnOnce(&Path, &limbeck::Model) -> Activations) -> Made {
        let find = |folder: &Path| {
            let plain = Recipe { weights: WeightMode::Float, table: None, ..self.clone() };
            let draft = draft(folder, &plain.options(Activations::default())).expect("a draft");
            let bundle = draft.to_bytes().expect("a bundle");
            let builder = limbeck::Model::builder().runtime_path(cache::onnxruntime());
            find(folder, &builder.open_bytes(bundle).expect("a model"))
        };
        self.of_folder(find).expect("a draft")
    }

    /// Shows `look` the model's folder and its bundle, opened. Hold [`crate::seeded`] meanwhile.
    pub fn look(&self, look: impl FnOnce(&Path, &limbeck::Model)) {
        self.make_calibrated(|folder, model| {
            look(folder, model);
            Activations::default()
        });
    }

    /// Why no bundle can be made.
    ///
    /// # Panics
    /// If one can.
    pub fn refusal(&self) -> String {
        match self.of_folder(|_| Activations::default()) {
            Ok(_) => panic!("nothing is wrong with it"),
            Err(error) => format!("{error:#}"),
        }
    }

    fn options(&self, activations: Activations) -> PackOptions {
        PackOptions {
            task: self.task,
            max_tokens: Some(self.max_tokens),
            weights: self.weights,
            table: self.table,
            operators: self.operators,
            keep_float: self.keep_float.clone(),
            kept: self.kept,
            activations,
            calibration: self.calibration.clone(),
            ..PackOptions::default()
        }
    }

    fn of_folder(&self, find: impl FnOnce(&Path) -> Activations) -> anyhow::Result<Made> {
        let (json, preset) = match self.head {
            Head::CausalLm => (byte_level().to_string(), "gpt2"),
            _ => (word_pieces().to_string(), "bert-base-uncased"),
        };
        let tokenizer = Tokenizer::from_bytes(&json).expect("a tokenizer");
        let config = tiny(preset);
        let config = (self.config)(ModelConfig {
            vocab_size: tokenizer.get_vocab_size(true),
            position_rows: self.max_tokens.max(80),
            pad_id: 0,
            ..config
        });
        let params = draw(&config, self.head);
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("source.json");
        std::fs::write(&source, &json).expect("a tokenizer file");
        let labels = (!self.labels.is_empty()).then(|| self.labels.clone());
        let info = HeadInfo { head: self.head, labels, problem: self.problem };
        checkpoint::save(folder.path(), &config, &info, &params, &source).expect("a model folder");
        let options = self.options(find(folder.path()));
        let mut draft = draft(folder.path(), &options)?;
        let bundle = draft.to_bytes().expect("a bundle");
        let model = limbeck::Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bundle).expect("a model");
        draft.record_self_test(&model).expect("a self-test");
        let bundle = draft.to_bytes().expect("a bundle");
        Ok(Made { bundle, head: self.head, config, params, tokenizer })
    }
}

/// A bundle and the model it was made of.
pub struct Made {
    /// The bundle.
    pub bundle: Vec<u8>,
    head: Head,
    /// The architecture.
    pub config: ModelConfig,
    params: Params,
    /// The bundle's tokenizer.
    pub tokenizer: Tokenizer,
}

impl Made {
    /// The same bundle beside a model that rounds weights and activations while it runs, as in training.
    pub fn rounded(self, rounding: FakeQuantization) -> Self {
        Self { params: self.params.fake_quantized(Some(rounding)), ..self }
    }

    /// The bundle, opened.
    pub fn open(&self) -> limbeck::Model {
        self.open_with(|builder| builder)
    }

    /// The bundle, opened with other settings.
    pub fn open_with(&self, change: impl FnOnce(limbeck::ModelBuilder) -> limbeck::ModelBuilder) -> limbeck::Model {
        let builder = limbeck::Model::builder().runtime_path(cache::onnxruntime());
        change(builder).open_bytes(self.bundle.clone()).expect("a model")
    }

    /// The logits that libtorch computes for one row of ids and token types.
    pub fn logits(&self, ids: &[u32], types: &[u32]) -> Tensor {
        self.output(ids, types).logits
    }

    /// All that libtorch computes for one row of ids and token types.
    pub fn output(&self, ids: &[u32], types: &[u32]) -> ModelOutput {
        let _no_grad = tch::no_grad_guard();
        let row =
            |values: &[u32]| Tensor::from_slice(&values.iter().map(|&v| i64::from(v)).collect::<Vec<_>>()).unsqueeze(0);
        let (ids, types) = (row(ids), row(types));
        let model = Model::new(&self.params, &self.config, self.head);
        model.forward(&ids, &ids.ones_like(), Some(&types), &Capture::default(), false)
    }

    /// [`Made::logits`] of a text, or of two, with their special tokens.
    pub fn logits_of<'s>(&self, text: impl Into<tokenizers::EncodeInput<'s>>) -> Tensor {
        let tokens = self.tokenizer.encode(text, true).expect("tokens");
        self.logits(tokens.get_ids(), tokens.get_type_ids())
    }

    /// How far the logits of a classifier are from libtorch's in fp32, as part of their length, over those texts that
    /// have at most 40 tokens.
    pub fn logits_error<T: AsRef<str>>(&self, model: &limbeck::Model, texts: &[T]) -> f32 {
        let (mut error, mut size) = (0.0, 0.0);
        let short = |text: &&str| self.tokenizer.encode(*text, true).expect("tokens").len() <= 40;
        for text in texts.iter().map(AsRef::as_ref).filter(short) {
            let expected = values(&self.logits_of(text));
            let found = logits(&model.classify(text).expect("an answer"));
            error += expected.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            size += expected.iter().map(|a| a.powi(2)).sum::<f32>();
        }
        (error / size).sqrt()
    }
}

/// The logits of an answer, in the order of the labels.
pub fn logits(answer: &limbeck::Classification) -> Vec<f32> {
    let mut logits = vec![0.0; answer.labels.len()];
    answer.labels.iter().for_each(|label| logits[label.index] = label.logit);
    logits
}

/// A bundle with its manifest or its other sections changed, its hashes right, opened.
///
/// # Errors
/// What the library says of it.
pub fn open_changed(
    bundle: &[u8],
    manifest: impl FnOnce(&mut limbeck::Manifest),
    change: impl Fn(&str, &mut Vec<u8>),
) -> limbeck::Result<limbeck::Model> {
    let bundle = limbeck::Bundle::from_bytes(bundle.to_vec()).expect("a bundle");
    let mut changed = bundle.manifest().clone();
    manifest(&mut changed);
    let sections = bundle.sections().iter().filter(|section| section.name != "manifest.json");
    let writer = sections.fold(limbeck::BundleWriter::new(changed), |writer, section| {
        let mut bytes = bundle.section(&section.name).expect("a section").into_owned();
        change(&section.name, &mut bytes);
        writer.section(section.kind.clone(), section.name.clone(), bytes)
    });
    limbeck::Model::builder().runtime_path(cache::onnxruntime()).open_bytes(writer.to_bytes()?)
}

/// The values of a tensor, row by row.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::<f32>::try_from(tensor.contiguous().view(-1)).expect("values")
}

/// The place of the largest value, the first of equals.
pub fn argmax(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

/// The largest difference between values that belong together.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
