//! A tokenizer that marks the space before a word, as RoBERTa's.

use serde_json::json;

use super::*;

#[test]
fn words_give_way_to_tokens_of_their_own_form() {
    let _turn = crate::seeded(11);
    let marked = ["\u{120}film", "\u{120}plot", "\u{120}good", "\u{120}bad", "\u{120}is"];
    let bare = ["film", "plot", "good", "bad", "ing", "."];
    let special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];
    // Letters, so that any other word is several tokens.
    let letters: Vec<String> = ('a'..='z').map(String::from).chain(["\u{120}".to_owned()]).collect();
    let tokens = special.iter().chain(&marked).chain(&bare).map(|token| (*token).to_owned()).chain(letters);
    let vocabulary: Map<String, Value> = tokens.enumerate().map(|(id, token)| (token, id.into())).collect();
    let added = special.iter().enumerate().map(|(id, token)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    });
    let size = vocabulary.len();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": bytes, "decoder": bytes,
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
                           "add_prefix_space": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
                  "vocab": vocabulary, "merges": []}
    });
    let config = json!({"model_type": "roberta", "hidden_act": "gelu", "vocab_size": size, "hidden_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "type_vocab_size": 1,
        "max_position_embeddings": 66, "pad_token_id": 1, "initializer_range": 0.5});
    let folder = tempfile::tempdir().unwrap();
    save_random(folder.path(), Head::MaskedLm, &config, &tokenizer);
    let sources = Sources::load(folder.path(), VectorsFrom::MaskedLm, Device::Cpu).unwrap();
    // All tokens are candidates, so that only their form tells.
    let options = AugmentOptions { candidates: 1000, ..AugmentOptions::default() };
    let text = "film is good (plot) scene";
    let words = sources.replaceable(text, &options).unwrap();
    let found = |word: &str| {
        let own = words.iter().find(|found| &text[found.start..found.end] == word).unwrap();
        let mut candidates: Vec<&str> = own.candidates.iter().map(String::as_str).filter(|w| w.len() > 1).collect();
        candidates.sort_unstable();
        candidates
    };
    assert_eq!(found("good"), ["bad", "film", "good", "is", "plot"]);
    let inside = ["bad", "film", "good", "ing", "plot"];
    assert_eq!((found("film"), found("plot")), (inside.to_vec(), inside.to_vec()));
    // Several tokens: the nearest whole words.
    assert_eq!(found("scene"), ["bad", "film", "good", "is", "plot"]);
}
