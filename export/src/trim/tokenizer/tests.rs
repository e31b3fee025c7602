use super::*;

const COVERED: [&str; 4] = ["the unhappy cat", "a cat sat, unhappily", "Cats & cats", "the theatre"];
/// Of words and characters that the corpus does not have.
const OTHER: [&str; 5] = ["dog", "happy happily", "zebra 7 é ü", "東 🙂", "unthe"];

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn added(tokens: &[(&str, u32)]) -> Value {
    let of = |(token, id): &(&str, u32)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    tokens.iter().map(of).collect::<Vec<_>>().into()
}

fn template(cls: (&str, u32), sep: (&str, u32)) -> Value {
    let piece = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let known = |(token, id): (&str, u32)| json!({"id": token, "ids": [id], "tokens": [token]});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    json!({"type": "TemplateProcessing", "single": [piece(cls.0), text("A"), piece(sep.0)],
           "pair": [piece(cls.0), text("A"), piece(sep.0), text("B"), piece(sep.0)],
           "special_tokens": {cls.0: known(cls), sep.0: known(sep)}})
}

pub(in crate::trim) fn word_piece() -> Value {
    let special = ["[PAD]", "unused", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let letters = ('a'..='z').flat_map(|c| [c.to_string(), format!("##{c}")]);
    let signs = ["&", ",", "7", "東京", "##é"].map(str::to_owned);
    let words = ["the", "cat", "##s", "sat", "dog", "un", "##happy", "##happi", "##ly", "happy", "##atre", "thea"];
    let tokens = special.into_iter().chain(words.map(str::to_owned)).chain(letters).chain(signs);
    let mut vocabulary = serde_json::Map::new();
    for token in tokens {
        let id = vocabulary.len();
        vocabulary.entry(token).or_insert(id.into());
    }
    json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(&[("[PAD]", 0), ("[UNK]", 2), ("[CLS]", 3), ("[SEP]", 4)]),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": false,
                       "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": template(("[CLS]", 3), ("[SEP]", 4)),
        "decoder": null, "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": vocabulary}})
}

/// Byte-level: every byte is a token, and these merges make words.
fn bytes() -> Value {
    let alphabet: Vec<String> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
        .into_iter()
        .map(String::from)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let merges = [
        ("t", "h"),
        ("a", "t"),
        ("th", "e"),
        ("\u{120}", "the"),
        ("c", "at"),
        ("u", "n"),
        ("p", "p"),
        ("h", "a"),
        ("ha", "pp"),
        ("happ", "y"),
        ("un", "happy"),
        ("\u{120}", "cat"),
        ("\u{120}", "unhappy"),
        ("cat", "s"),
        ("d", "o"),
        ("do", "g"),
        ("happ", "i"),
        ("s", "at"),
        ("z", "e"),
    ];
    let made = merges.iter().map(|(left, right)| format!("{left}{right}"));
    let special = ["<s>", "<pad>", "</s>", "<unk>"].map(str::to_owned);
    let tokens = special.into_iter().chain(alphabet).chain(made);
    let vocabulary: serde_json::Map<String, Value> = tokens.zip(0..).map(|(token, id)| (token, json!(id))).collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let merges: Vec<Value> = merges.iter().map(|(left, right)| json!([left, right])).collect();
    json!({"version": "1.0", "truncation": null,
        "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
                    "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": added(&[("<s>", 0), ("<pad>", 1), ("</s>", 2), ("<unk>", 3)]), "normalizer": null,
        "pre_tokenizer": bytes, "decoder": bytes,
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
                           "add_prefix_space": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocabulary, "merges": merges}})
}

fn unigram() -> Value {
    let special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)].map(|(t, s)| json!([t, s]));
    let words = ["▁the", "▁cat", "s", "▁sat", "▁un", "happy", "happi", "ly", "▁a", "▁dog", "atre", "▁cats", "東京"];
    let words = words.iter().zip(3..).map(|(word, rank)| json!([word, -f64::from(rank)]));
    let letters = ('a'..='z').filter(|c| *c != 's').chain("▁&,7C".chars()).map(|c| json!([c.to_string(), -12.0]));
    let vocabulary: Vec<Value> = special.into_iter().chain(words).chain(letters).collect();
    json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(&[("<s>", 0), ("<pad>", 1), ("</s>", 2), ("<unk>", 3)]), "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": template(("<s>", 0), ("</s>", 2)), "decoder": null,
        "model": {"type": "Unigram", "unk_id": 3, "byte_fallback": false, "vocab": vocabulary}})
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

#[test]
fn covered_texts_are_read_as_before_and_no_text_is_lost() {
    for (name, json, unknown) in [("WordPiece", word_piece(), 2), ("BPE", bytes(), 3), ("Unigram", unigram(), 3)] {
        let tokenizer = Tokenizer::from_bytes(serde_json::to_vec(&json).unwrap()).unwrap();
        let used: BTreeSet<u32> = count_tokens(&tokenizer, &texts(&COVERED)).unwrap().into_keys().collect();
        let trimmed = TrimmedTokenizer::new(&json, &used, &BTreeSet::new()).unwrap();
        let smaller = trimmed.open().unwrap();
        let (before, after) = (tokenizer.get_vocab_size(true), smaller.get_vocab_size(true));
        assert!(after < before && after == trimmed.kept.len(), "{name}: {before}, {after}");
        assert!(tokenizer.token_to_id("dog").or(tokenizer.token_to_id("▁dog")).is_some(), "{name}");
        assert!(smaller.token_to_id("dog").is_none() && smaller.token_to_id("▁dog").is_none(), "{name}");
        for text in COVERED {
            let expected: Vec<u32> =
                ids(&tokenizer, text).iter().map(|&id| trimmed.new_id(id).expect("a token of the corpus")).collect();
            assert_eq!(ids(&smaller, text), expected, "{name}: {text}");
        }
        let new_unknown = trimmed.new_id(unknown).unwrap();
        for text in OTHER {
            let lost = |ids: &[u32], unknown: u32| ids.iter().filter(|&&id| id == unknown).count();
            let (was, is) = (lost(&ids(&tokenizer, text), unknown), lost(&ids(&smaller, text), new_unknown));
            assert!(is <= was, "{name}: {text}: {was} unknown, now {is}");
            assert!(ids(&smaller, text).iter().all(|&id| (id as usize) < trimmed.kept.len()), "{name}: {text}");
        }
        // What BPE and Unigram leave of a text is all of it.
        assert!(ids(&smaller, "dog").len() > ids(&tokenizer, "dog").len(), "{name}");
    }
}

#[test]
fn characters_without_a_token_keep_those_that_have_them() {
    let trimmed = TrimmedTokenizer::new(&word_piece(), &BTreeSet::new(), &BTreeSet::from([1])).unwrap();
    let smaller = trimmed.open().unwrap();
    assert!(smaller.token_to_id("東京").is_some() && smaller.token_to_id("##é").is_some());
    assert!(smaller.token_to_id("unused").is_some() && smaller.token_to_id("the").is_none());
}

#[test]
fn bytes_that_stand_for_unknown_characters_stay() {
    let mut json = unigram();
    json["model"]["byte_fallback"] = json!(true);
    let pieces = json["model"]["vocab"].as_array_mut().unwrap();
    // Each character of `<0x..>` has a token of its own.
    pieces.extend("<>0123456789ABDEF".chars().filter(|c| *c != '7').map(|c| json!([c.to_string(), -12.0])));
    pieces.extend((0..256).map(|byte| json!([format!("<0x{byte:02X}>"), -20.0])));
    let tokenizer = Tokenizer::from_bytes(serde_json::to_vec(&json).unwrap()).unwrap();
    let used: BTreeSet<u32> = count_tokens(&tokenizer, &texts(&COVERED)).unwrap().into_keys().collect();
    let trimmed = TrimmedTokenizer::new(&json, &used, &BTreeSet::new()).unwrap();
    let smaller = trimmed.open().unwrap();
    assert!(smaller.get_vocab_size(true) < tokenizer.get_vocab_size(true));
    for text in ["é", "🙂 ü"] {
        let expected: Vec<u32> = ids(&tokenizer, text).iter().map(|&id| trimmed.new_id(id).unwrap()).collect();
        assert!(ids(&smaller, text) == expected && !expected.contains(&trimmed.new_id(3).unwrap()), "{text}");
    }
}

#[test]
fn what_cannot_be_trimmed_is_refused() {
    let none = BTreeSet::new();
    let error = |json: &Value| TrimmedTokenizer::new(json, &none, &none).err().unwrap().to_string();
    let mut suffixed = bytes();
    suffixed["model"]["end_of_word_suffix"] = json!("</w>");
    assert!(error(&suffixed).contains("end_of_word_suffix"));
    let mut other = word_piece();
    other["model"]["type"] = json!("Odd");
    assert!(error(&other).contains("the kind Odd"));
    assert!(error(&json!({})).contains("no vocabulary"));
    let mut processor = word_piece();
    processor["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([999]);
    assert!(error(&processor).contains("999"));
}
