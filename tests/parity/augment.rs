//! Candidates for words, against transformers and against a forward pass by hand.

use limbeck_export::arch::{Capture, Head, Model};
use limbeck_export::checkpoint;
use limbeck_export::data::augment::{AugmentOptions, MaskedContext, Replaceable, Sources, VectorsFrom};
use limbeck_tests::cache;
use tch::{Device, Tensor};
use tokenizers::Tokenizer;

use crate::reference::json;

const CANDIDATES: usize = 15;

fn candidates(sources: &Sources, text: &str, word: &str, context: MaskedContext) -> Vec<String> {
    let options = AugmentOptions { candidates: CANDIDATES, context, ..AugmentOptions::default() };
    let words = sources.replaceable(text, &options).unwrap();
    let own = |found: &&Replaceable| &text[found.start..found.end] == word;
    let mut found = words.iter().find(own).unwrap_or_else(|| panic!("{word} in {text}")).candidates.clone();
    found.sort();
    found
}

/// The words among ids, in the order of `candidates`.
fn words(tokenizer: &Tokenizer, ids: impl IntoIterator<Item = u32>, upper: bool) -> Vec<String> {
    let tokens = ids.into_iter().map(|id| tokenizer.id_to_token(id).unwrap());
    let in_case = |word: String| if upper { word[..1].to_uppercase() + &word[1..] } else { word };
    let mut words: Vec<String> = tokens.filter(|token| !token.starts_with("##")).map(in_case).collect();
    words.sort();
    words
}

#[test]
fn candidates_are_the_likeliest_words() {
    let _guard = tch::no_grad_guard();
    let folder = cache::bert_tiny_masked_lm();
    let sources = Sources::load(&folder, VectorsFrom::MaskedLm, Device::Cpu).unwrap();
    let tokenizer = Tokenizer::from_file(checkpoint::tokenizer_path(&folder).unwrap()).unwrap();
    let mask = tokenizer.token_to_id("[MASK]").unwrap();

    // The masked text alone: transformers' best tokens for its mask.
    let reference = json("bert-mlm.json");
    for (index, word) in ["Berlin", "terrible"].into_iter().enumerate() {
        let text = reference["texts"][index]["text"].as_str().unwrap().replace("[MASK]", word);
        let best = reference["masked"][index]["top_ids"][0].as_array().unwrap();
        let best = best.iter().take(CANDIDATES).map(|id| id.as_u64().unwrap() as u32);
        let expected = words(&tokenizer, best, word == "Berlin");
        assert_eq!(candidates(&sources, &text, word, MaskedContext::Alone), expected, "{text}");
    }

    // With the text beside it: ids, types and mask made by hand, the whole model run.
    let text = "The battery life is terrible, but the screen is wonderful!";
    let loaded = checkpoint::load(&folder, Head::MaskedLm, Device::Cpu).unwrap();
    let model = Model::new(&loaded.params, &loaded.config, Head::MaskedLm);
    let own: Vec<u32> = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
    let special = |name: &str| tokenizer.token_to_id(name).unwrap();
    for word in ["battery", "terrible", "screen", "wonderful"] {
        let id = tokenizer.token_to_id(word).unwrap();
        let masked: Vec<u32> = own.iter().map(|&own| if own == id { mask } else { own }).collect();
        let first = [&[special("[CLS]")], &masked[..], &[special("[SEP]")]].concat();
        let both = [&first[..], &own, &[special("[SEP]")]].concat();
        let types: Vec<i64> = (0..both.len()).map(|place| i64::from(place >= first.len())).collect();
        let place = both.iter().position(|&own| own == mask).unwrap();
        let ids: Vec<i64> = both.iter().map(|&id| i64::from(id)).collect();
        let (ids, types) = (Tensor::from_slice(&ids).unsqueeze(0), Tensor::from_slice(&types).unsqueeze(0));
        let logits = model.forward(&ids, &ids.ones_like(), Some(&types), &Capture::default(), false).logits;
        let (_, best) = logits.get(0).get(place as i64).topk(CANDIDATES as i64, -1, true, true);
        let best: Vec<i64> = Vec::try_from(best).unwrap();
        let expected = words(&tokenizer, best.into_iter().map(|id| id as u32), false);
        let found = candidates(&sources, text, word, MaskedContext::WithOriginal);
        assert_eq!(found, expected, "{word}");
        assert_ne!(found, candidates(&sources, text, word, MaskedContext::Alone), "{word}: the context counts");
    }
}
