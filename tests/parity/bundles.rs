//! Classifiers of every architecture as bundles: the sdk answers what tch computes.

use limbeck::Model as Bundle;
use limbeck_export::arch::{Capture, Model, ModelConfig};
use limbeck_export::checkpoint::{self, HeadInfo};
use limbeck_export::pack;
use limbeck_tests::models::{architectures, draw};
use limbeck_tests::seeded;
use serde_json::json;
use tch::{Kind, Tensor};

const WORDS: [&str; 12] =
    ["the", "battery", "life", "is", "awful", "but", "screen", "wonderful", "a", "phone", "good", "bad"];
/// Where the words begin in the vocabulary: after the special tokens.
const FIRST_WORD: i64 = 5;

/// A tokenizer of whole words, its padding token where the model wants it.
fn tokenizer(pad: usize) -> serde_json::Value {
    let mut special = ["[A]", "[B]", "[CLS]", "[SEP]", "[UNK]"];
    special[pad] = "[PAD]";
    let vocabulary: serde_json::Map<_, _> =
        special.iter().chain(&WORDS).enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let token = |id: &str, n: u32| json!({"id": id, "ids": [n], "tokens": [id]});
    let piece = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "post_processor": {"type": "TemplateProcessing",
            "single": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]")],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", 3)}},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    })
}

#[test]
fn every_architecture_answers_through_the_sdk() {
    let _turn = seeded(61);
    let _guard = tch::no_grad_guard();
    let labels = ["negative", "neutral", "positive"].map(str::to_owned);
    let info = HeadInfo::classifier(&labels);
    let texts: Vec<Vec<usize>> = vec![vec![0, 1, 2, 3, 4, 5, 0, 6, 3, 7], vec![10], vec![8, 10, 9], vec![]];
    for (name, config) in architectures() {
        let config = ModelConfig { pad_id: config.pad_id.min(1), ..config };
        let params = draw(&config, info.head);
        let model = Model::new(&params, &config, info.head);
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source.json");
        std::fs::write(&source, tokenizer(config.pad_id).to_string()).unwrap();
        checkpoint::save(folder.path(), &config, &info, &params, &source).unwrap();
        let options = pack::PackOptions { id: "family".into(), max_tokens: Some(64), ..pack::PackOptions::default() };
        let bundle = pack::draft(folder.path(), &options).unwrap().to_bytes().unwrap();
        let bundle = Bundle::builder().runtime_path(limbeck_tests::cache::onnxruntime()).open_bytes(bundle).unwrap();
        let written: Vec<String> =
            texts.iter().map(|text| text.iter().map(|&w| WORDS[w]).collect::<Vec<_>>().join(" ")).collect();
        let written: Vec<&str> = written.iter().map(String::as_str).collect();
        let answers = bundle.classify_batch(&written, &Default::default()).unwrap();
        for (text, answer) in texts.iter().zip(&answers) {
            let ids: Vec<i64> =
                [2].into_iter().chain(text.iter().map(|&word| FIRST_WORD + word as i64)).chain([3]).collect();
            let ids = Tensor::from_slice(&ids).unsqueeze(0);
            let logits = model.forward(&ids, &ids.ones_like(), None, &Capture::default(), false).logits;
            let want = Vec::<f32>::try_from(logits.softmax(-1, Kind::Float).get(0)).unwrap();
            for score in &answer.labels {
                let index = labels.iter().position(|label| *label == score.label).unwrap();
                let difference = (f64::from(score.probability) - f64::from(want[index])).abs();
                assert!(difference <= 1e-5, "{name}, {text:?}: {} differs by {difference:e}", score.label);
            }
            assert_eq!(answer.usage.tokens_used, ids.size()[1] as usize);
        }
    }
}
