//! A tiny world that is in order, and what is found when something in it is not.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::{CheckOptions, Findings, check};
use crate::arch::{ModelConfig, Params, parameter_layout};
use crate::checkpoint::{self, HeadInfo};
use crate::progress::{Output, Reporter};
use crate::recipe::Recipe;

mod data;
mod models;

const WORDS: [&str; 18] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "film", "food", "good", "bad", "fine", "poor", "was", "it", "very",
    "paris", "so", "##s",
];

/// Files in a folder that goes away with it.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        world.model("model", &tiny(), None, &tokenizer());
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// A folder of random weights; a head that says its first label, always.
    pub(crate) fn model(&self, name: &str, config: &Value, labels: Option<&[&str]>, tokenizer: &Value) {
        let _turn = crate::seeded(5);
        let config = ModelConfig::from_hf(config).unwrap();
        let labels = labels.map(|labels| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>());
        let info = labels.map_or(HeadInfo::new(crate::arch::Head::None), |labels| HeadInfo::classifier(&labels));
        let params = Params::initialise(&parameter_layout(&config, info.head), Device::Cpu);
        if let (Some(weight), Some(bias)) = (params.get("head.output.weight"), params.get("head.output.bias")) {
            let _guard = tch::no_grad_guard();
            let _ = weight.shallow_clone().zero_();
            bias.shallow_clone().copy_(&Tensor::from_slice(&[1f32, 0.0, 0.0][..bias.numel()]));
        }
        let source = self.path("tokenizer-source.json");
        std::fs::write(&source, tokenizer.to_string()).unwrap();
        checkpoint::save(&self.path(name), &config, &info, &params, &source).unwrap();
    }

    /// What is found with a recipe, teachers and perhaps another student.
    fn check(&self, recipe: &str, teachers: &[&str], student: Option<&str>) -> Findings {
        self.check_with(recipe, teachers, student, |_| {})
    }

    /// The same with further options.
    fn check_with(
        &self,
        recipe: &str,
        teachers: &[&str],
        student: Option<&str>,
        change: impl FnOnce(&mut CheckOptions),
    ) -> Findings {
        let _turn = crate::seeded(5);
        self.write("recipe.toml", recipe);
        let recipe = Recipe::read(&self.path("recipe.toml")).unwrap();
        let mut options = CheckOptions {
            teachers: teachers.iter().map(|name| self.path(name)).collect(),
            student: student.map(|name| self.path(name)),
            data: self.folder.path().to_owned(),
            masked_lm: None,
            latency: None,
            device: Device::Cpu,
        };
        change(&mut options);
        check(&recipe, &options, &Reporter::new(Output::Silent)).unwrap()
    }
}

pub(crate) fn tiny() -> Value {
    json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": WORDS.len(), "hidden_size": 16,
           "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 24,
           "type_vocab_size": 2, "pad_token_id": 0})
}

pub(crate) fn with(mut value: Value, changes: Value) -> Value {
    let object = value.as_object_mut().unwrap();
    object.extend(changes.as_object().unwrap().clone());
    value
}

pub(crate) fn tokenizer() -> Value {
    let vocabulary: serde_json::Map<String, Value> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let special = |id: &str, types: u32| json!({"SpecialToken": {"id": id, "type_id": types}});
    let token = |id: &str, n: u32| json!({"id": id, "ids": [n], "tokens": [id]});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [special("[CLS]", 0), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]", 0),
                     {"Sequence": {"id": "B", "type_id": 1}}, special("[SEP]", 1)],
            "special_tokens": {"[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", 3)}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary}
    })
}

/// Different sentences, half of them good.
fn sentences(count: usize) -> Vec<(String, &'static str)> {
    let fillers = ["the film", "a film", "the food", "a food", "it"];
    (0..count)
        .map(|row| {
            let (word, label) = [("good", "good"), ("bad", "bad"), ("fine", "good"), ("poor", "bad")][row % 4];
            let so = ["so", "very", "was"];
            let number = row / 4;
            let text = format!(
                "{} {} {} {word} {}",
                fillers[number % 5],
                so[number / 5 % 3],
                so[number / 15 % 3],
                fillers[number / 45 % 5]
            );
            (text, label)
        })
        .collect()
}

fn csv(rows: &[(String, &str)]) -> String {
    rows.iter().fold("text,label\n".to_owned(), |all, (text, label)| all + &format!("{text},{label}\n"))
}

/// Three files of different sentences.
pub(crate) fn clean(world: &World) {
    let rows = sentences(240);
    for (name, rows) in [("train.csv", &rows[..160]), ("dev.csv", &rows[160..200]), ("test.csv", &rows[200..])] {
        world.write(name, &csv(rows));
    }
}

pub(crate) const RECIPE: &str = "id = \"x\"\nmax_tokens = 12\n[data]\ntrain = \"train.csv\"\ndev = \"dev.csv\"\ntest = \"test.csv\"\n\
                      [student]\nlayers = 1\n";

fn assert_found(list: &[String], expected: &[&str]) {
    assert!(list.iter().any(|text| expected.iter().all(|part| text.contains(part))), "{expected:?} in {list:#?}");
}

#[test]
fn what_is_in_order_gives_no_alarm() {
    let world = World::new();
    clean(&world);
    let findings = world.check(RECIPE, &["model"], None);
    assert!(findings.warnings.is_empty() && findings.problems.is_empty(), "{findings:#?}");
    for expected in [
        &["data: 160 to train on, 40 dev, 40 test"][..],
        &["labels: good 80, bad 80"],
        &["accuracy 50.0; a teacher must reach 52.0"],
        &["train: 160 texts of"],
        &["student: bert, 1 layers x 16"],
        &["an epoch of the training rows", "for the teacher and", "for the student"],
    ] {
        assert_found(&findings.facts, expected);
    }
}

#[test]
fn shown_texts_are_short() {
    assert_eq!(super::shown("a\n b"), "\"a b\"");
    assert!(super::shown(&"ab ".repeat(90)).ends_with("...\"") && super::shown(&"ab ".repeat(90)).len() < 70);
    assert_eq!([super::percent(0, 5), super::percent(1, 9999), super::percent(1, 8)], ["0.0%", "<0.1%", "12.5%"]);
}

pub(crate) fn replace(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}
