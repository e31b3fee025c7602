//! Guessing masked words.

use limbeck::{Error, FillMaskOptions, Overflow};
use limbeck_export::arch::Head;
use limbeck_export::measure::text_of_tokens;
use limbeck_export::pack::{PackOptions, draft};
use limbeck_tests::bundles::{Recipe, values};
use limbeck_tests::{cache, seeded};
use tch::Kind;

use crate::texts::{long, pieces};

#[test]
fn guesses_are_those_of_libtorch() {
    let _turn = seeded(98);
    let made = Recipe::new(Head::MaskedLm, &[]).make();
    let model = made.open();
    assert_eq!(model.mask_token().as_deref(), Some("[MASK]"));
    for text in ["the [MASK] is awful", "[MASK]", "🙂 [MASK] met [MASK] in é [MASK]!", "[MASK][MASK]"] {
        let tokens = made.tokenizer.encode(text, true).unwrap();
        let probabilities = values(&made.logits_of(text).softmax(-1, Kind::Float));
        let filled = model.fill_mask_with(text, &FillMaskOptions::new().top_k(3)).unwrap();
        let places: Vec<usize> = (0..tokens.len()).filter(|&at| tokens.get_ids()[at] == 4).collect();
        assert_eq!(filled.masks.len(), places.len());
        for (mask, at) in filled.masks.iter().zip(places) {
            assert_eq!(pieces(text, &mask.span), ["[MASK]"; 3].map(str::to_owned));
            let row = &probabilities[at * made.config.vocab_size..][..made.config.vocab_size];
            assert_eq!(mask.guesses.len(), 3);
            assert!(mask.guesses.is_sorted_by(|a, b| a.probability >= b.probability));
            let most = row.iter().copied().fold(0.0, f32::max);
            assert!((mask.guesses[0].probability - most).abs() < 1e-5);
            for guess in &mask.guesses {
                assert!((guess.probability - row[guess.id as usize]).abs() < 1e-5);
                assert_eq!(made.tokenizer.id_to_token(guess.id), Some(guess.token.clone()));
            }
        }
    }
    for text in ["", "no mask here"] {
        let error = model.fill_mask(text).unwrap_err();
        assert!(matches!(&error, Error::InvalidArgument(text) if text.contains("[MASK]")), "{error}");
    }
}

#[test]
fn masks_of_long_texts_are_guessed_where_most_is_seen() {
    let _turn = seeded(99);
    let model = Recipe::new(Head::MaskedLm, &[]).make().open();
    let text = format!("{} [MASK] {} [MASK] {} [MASK]", long(30), long(30), long(30));
    let filled = model.fill_mask(&text).unwrap();
    assert_eq!((filled.masks.len(), filled.usage.tokens_dropped), (3, 0));
    for (mask, start) in filled.masks.iter().zip(text.match_indices("[MASK]").map(|found| found.0)) {
        assert_eq!(mask.span.bytes, start..start + 6);
        assert_eq!(mask.guesses.len(), 5);
    }
    let cut = model.fill_mask_with(&text, &FillMaskOptions::new().overflow(Overflow::Truncate)).unwrap();
    assert!(cut.masks.len() < 3 && cut.usage.tokens_dropped > 0);
}

/// Texts that are timed hold the model's own mask, which is not `[MASK]` in RoBERTa and MPNet.
#[test]
fn made_up_texts_hold_the_tokenizers_mask() {
    let _turn = seeded(100);
    Recipe::new(Head::MaskedLm, &[]).look(|folder, _| {
        let file = folder.join("tokenizer.json");
        let other = std::fs::read_to_string(&file).unwrap().replace("[MASK]", "<mask>");
        std::fs::write(&file, other).unwrap();
        let options = PackOptions { max_tokens: Some(40), ..PackOptions::default() };
        let bundle = draft(folder, &options).unwrap().to_bytes().unwrap();
        let model = limbeck::Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bundle).unwrap();
        let text = text_of_tokens(&model, 8, "no way out").unwrap();
        assert!(text.ends_with(" <mask>"), "{text}");
        assert_eq!(model.fill_mask(&text).unwrap().usage.tokens_used, 8);
        // No word of this tokenizer is less than a token, nor are there fewer tokens than special ones.
        let error = text_of_tokens(&model, 1, "no way out").unwrap_err().to_string();
        assert!(error.contains("cannot make a text of 1 tokens") && error.ends_with("; no way out"), "{error}");
    });
}
