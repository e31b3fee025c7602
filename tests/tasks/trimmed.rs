//! Models whose vocabulary was trimmed to a corpus.

use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::pack::{PackOptions, draft};
use limbeck_export::trim::trim_vocabulary;
use limbeck_tests::bundles::Recipe;
use limbeck_tests::models::tiny;
use limbeck_tests::{cache, seeded};

const CORPUS: [&str; 4] =
    ["the battery is awful", "a good phone, good screen!", "ada met bad babbage", "what about this (example)?"];
/// With words whose tokens are gone.
const OTHER: [&str; 4] = ["wonderful life in london", "who wrote it", "zzz 99 🙂", ""];

fn opened(folder: &std::path::Path) -> limbeck::Model {
    let options = PackOptions { max_tokens: Some(40), ..PackOptions::default() };
    let bundle = draft(folder, &options).unwrap().to_bytes().unwrap();
    limbeck::Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bundle).unwrap()
}

#[test]
fn outputs_of_covered_texts_are_the_same() {
    let texts = CORPUS.map(str::to_owned);
    let distilbert: fn(ModelConfig) -> ModelConfig = |config| {
        let (vocab_size, position_rows) = (config.vocab_size, config.position_rows);
        ModelConfig { vocab_size, position_rows, pad_id: 0, ..tiny("distilbert-base-uncased") }
    };
    let bert: fn(ModelConfig) -> ModelConfig = |config| ModelConfig { vocab_size: config.vocab_size + 7, ..config };
    for config in [bert, distilbert] {
        let _turn = seeded(170);
        Recipe { config, ..Recipe::classifier(&["a", "b", "c"]) }.look(|folder, whole| {
            let out = tempfile::tempdir().unwrap();
            let report = trim_vocabulary(folder, &texts, 1, out.path()).unwrap();
            assert!(report.tokens_after < report.tokens_before, "{report:?}");
            assert!(report.parameters_after < report.parameters_before);
            assert_eq!((report.texts_as_before, report.corpus_tokens_after), (4, report.corpus_tokens_before));
            let small = opened(out.path());
            for text in CORPUS {
                let (before, after) = (whole.classify(text).unwrap(), small.classify(text).unwrap());
                for (before, after) in before.labels.iter().zip(&after.labels) {
                    // Not one bit: the rows are the same, only their places are others.
                    assert_eq!((&before.label, before.logit), (&after.label, after.logit), "{text}");
                }
            }
            for text in OTHER {
                assert!(small.classify(text).is_ok(), "{text}");
                assert!(small.tokenize(text).unwrap().ids.len() >= whole.tokenize(text).unwrap().ids.len());
            }
        });
    }
}

#[test]
fn heads_over_the_vocabulary_lose_the_same_rows() {
    let _turn = seeded(171);
    let recipe = Recipe::new(Head::MaskedLm, &[]);
    recipe.look(|folder, whole| {
        let out = tempfile::tempdir().unwrap();
        trim_vocabulary(folder, &CORPUS.map(str::to_owned), 1, out.path()).unwrap();
        let small = opened(out.path());
        let guesses = |model: &limbeck::Model| model.fill_mask("the [MASK] is bad").unwrap().masks[0].guesses.clone();
        let (before, after) = (guesses(whole), guesses(&small));
        // Of tokens that both have, the order is the same.
        let rank = |token: &str| before.iter().position(|guess| guess.token == token);
        let ranks: Vec<usize> = after.iter().filter_map(|guess| rank(&guess.token)).collect();
        assert!(ranks.len() > 1 && ranks.is_sorted(), "{before:?}\n{after:?}");
    });
}

#[test]
fn rare_tokens_can_go_and_wrong_folders_are_refused() {
    let _turn = seeded(172);
    Recipe::classifier(&["a", "b"]).look(|folder, _| {
        let out = tempfile::tempdir().unwrap();
        let texts = CORPUS.map(str::to_owned);
        let all = trim_vocabulary(folder, &texts, 1, out.path()).unwrap();
        let common = trim_vocabulary(folder, &texts, 2, out.path()).unwrap();
        assert!(common.tokens_after < all.tokens_after && common.texts_as_before < 4, "{common:?}");
        assert!(common.corpus_tokens_after > common.corpus_tokens_before);
        let error =
            |texts: &[String], out: &std::path::Path| trim_vocabulary(folder, texts, 1, out).unwrap_err().to_string();
        assert!(error(&texts, folder).contains("is the model itself"));
        assert!(error(&[], out.path()).contains("no texts"));
    });
}
