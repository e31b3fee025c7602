//! A teacher, data and recipe in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use limbeck_export::arch::{Head, ModelConfig, Params, parameter_layout};
use limbeck_export::checkpoint::{self, HeadInfo};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const POSITIVE: [&str; 4] = ["good", "great", "fine", "lovely"];
pub const NEGATIVE: [&str; 4] = ["bad", "awful", "poor", "dull"];
pub const NEUTRAL: [&str; 12] =
    ["the", "film", "food", "was", "a", "very", "place", "phone", "i", "think", "service", "it"];

/// Where the tests train: `LIMBECK_TEST_DEVICE`, else the CPU.
pub fn device() -> &'static str {
    static DEVICE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    DEVICE.get_or_init(|| std::env::var("LIMBECK_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned()))
}

/// Everything a distillation needs, removed when dropped.
pub struct World {
    folder: TempDir,
}

impl World {
    pub fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        world.write_teacher(Head::None);
        world.write_data();
        std::fs::write(world.recipe(), RECIPE).unwrap();
        world
    }

    pub fn teacher(&self) -> PathBuf {
        self.folder.path().join("tiny-teacher")
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    pub fn recipe(&self) -> PathBuf {
        self.folder.path().join("recipe.toml")
    }

    /// The program under test with ONNX Runtime at hand.
    pub fn limbeck(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limbeck"));
        command.args(arguments).env("ORT_DYLIB_PATH", crate::cache::onnxruntime()).env("OMP_WAIT_POLICY", "PASSIVE");
        command
    }

    pub fn distill(&self, more: &[&str]) -> Command {
        self.distill_by(&self.recipe(), more)
    }

    pub fn distill_by(&self, recipe: &Path, more: &[&str]) -> Command {
        let mut command = self.limbeck(&["distill", "--device", device()]);
        command.arg("--recipe").arg(recipe).arg("--teacher").arg(self.teacher());
        command.arg("--data").arg(self.folder.path()).arg("--out").arg(self.folder.path().join("out")).args(more);
        command
    }

    pub fn check(&self) -> Command {
        let mut command = self.limbeck(&["check"]);
        command.arg("--recipe").arg(self.recipe()).arg("--teacher").arg(self.teacher());
        command.arg("--data").arg(self.folder.path());
        command
    }

    /// Runs a verb that prints one JSON value.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.limbeck(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Writes the teacher, with a head.
    pub fn write_teacher(&self, head: Head) {
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        let words = special.iter().chain(&POSITIVE).chain(&NEGATIVE).chain(&NEUTRAL);
        let vocabulary: serde_json::Map<String, Value> =
            words.enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
        let size = vocabulary.len();
        let added: Vec<Value> = special
            .iter()
            .enumerate()
            .map(|(id, token)| {
                json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                       "normalized": false, "special": true})
            })
            .collect();
        let piece = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
        let special_token = |id: &str, n: u32| json!({"id": id, "ids": [n], "tokens": [id]});
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                           "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]")],
                "pair": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]"),
                         {"Sequence": {"id": "B", "type_id": 1}}, piece("[SEP]")],
                "special_tokens": {"[CLS]": special_token("[CLS]", 2), "[SEP]": special_token("[SEP]", 3)}},
            "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": vocabulary}
        });
        let config = ModelConfig::from_hf(&json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": size,
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
            "max_position_embeddings": 32, "type_vocab_size": 2, "hidden_dropout_prob": 0.05, "initializer_range": 0.05}))
        .unwrap();
        // A fixed pattern, not libtorch's generator: the tests of this program run side by side, and all
        // must start from the same teacher.
        let params = Params::initialise(&parameter_layout(&config, head), tch::Device::Cpu);
        let fixed = params
            .iter()
            .map(|(name, tensor)| {
                let count = tensor.numel();
                let salt = name.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
                let values: Vec<f32> =
                    (0..count as u64).map(|i| noise(salt ^ i.wrapping_mul(0x9E37_79B9)) * 0.08).collect();
                let value = if name.ends_with("norm.weight") {
                    tensor.copy()
                } else {
                    tch::Tensor::from_slice(&values).view(&tensor.size()[..])
                };
                (name.to_owned(), value)
            })
            .collect();
        params.copy_from(&fixed).unwrap();
        let path = self.folder.path().join("tokenizer-source.json");
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        checkpoint::save(&self.teacher(), &config, &HeadInfo::new(head), &params, &path).unwrap();
    }

    fn write_data(&self) {
        let mut rows = String::from("text,label\n");
        for i in 0..400usize {
            let (label, words) = if i % 2 == 0 { ("positive", POSITIVE) } else { ("negative", NEGATIVE) };
            let pick =
                |list: &[&'static str], salt: usize| list[(hash((i * 16 + salt) as u64) % list.len() as u64) as usize];
            let text = format!(
                "{} {} {} {} {}",
                pick(&NEUTRAL, 1),
                pick(&NEUTRAL, 2),
                pick(&words, 3),
                pick(&NEUTRAL, 5),
                pick(&NEUTRAL, 7)
            );
            rows += &format!("{text},{label}\n");
        }
        std::fs::write(self.data("all.csv"), rows).unwrap();
    }
}

/// A number from -1 to 1.
fn noise(x: u64) -> f32 {
    (hash(x) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// splitmix64.
pub fn hash(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const RECIPE: &str = r#"
id = "tiny"
max_tokens = 16
seeds = [3]

[data]
files = ["all.csv"]

[teacher.train]
epochs = 6
batch_size = 16
learning_rate = 3e-3

[student]
layers = 1

[student.train]
epochs = 4
batch_size = 16
learning_rate = 3e-3

[bundle]
max_drop = 10.0
"#;

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
