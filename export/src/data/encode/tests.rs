use super::*;
use crate::data::TaggedWord;

/// Words of the list are tokens; `##` pieces go on with a word.
pub(in crate::data) fn encoder(max_tokens: usize) -> Encoder {
    let words =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "who", "ran", "zoe", "##y", "in", "oslo", "st", ".", "olav", "far"];
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let piece = |id: &str| serde_json::json!({"SpecialToken": {"id": id, "type_id": 0}});
    let special = |id: &str, n: u32| serde_json::json!({"id": id, "ids": [n], "tokens": [id]});
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]")],
            "pair": [piece("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, piece("[SEP]"),
                     {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {"[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3)}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary}
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    Encoder::new(&path, max_tokens, words.len()).unwrap()
}

fn example(text: &str, pair: Option<&str>, label: &str) -> Example {
    Example { text: text.into(), pair: pair.map(str::to_owned), label: label.into(), source: "x.csv".into() }
}

#[test]
fn texts_and_pairs_keep_their_last_special_token() {
    let encoded = encoder(4)
        .encode(&[example("who ran in oslo", None, "a"), example("ran", None, "b")], &["a".into(), "b".into()]);
    let encoded = encoded.unwrap();
    assert_eq!((encoded.truncated, encoded.tokens_dropped), (1, 2));
    assert_eq!(encoded.examples[0], EncodedExample::new(vec![2, 4, 5, 3], Target::Class(0)));
    let pair = encoder(6).encode_values(&[example("who ran in oslo", Some("zoe"), " 2.5")]).unwrap();
    assert_eq!((pair.truncated, pair.tokens_dropped), (1, 2));
    assert_eq!(pair.examples[0].ids, [2, 4, 5, 3, 6, 3]);
    assert_eq!((&pair.examples[0].types[..], &pair.examples[0].target), (&[0, 0, 0, 0, 1, 1][..], &Target::Value(2.5)));
    let apart = encoder(6).encode_apart(&[example("who ran", Some("zoe"), "1")], 5.0).unwrap();
    assert_eq!((&apart.examples[0].ids[..], &apart.examples[0].partner[..]), (&[2, 4, 5, 3][..], &[2, 6, 3][..]));
    assert_eq!(apart.examples[0].target, Target::Value(0.2));
    let error = encoder(6).encode_values(&[example("who", None, "much")]).unwrap_err();
    assert_eq!(error.to_string(), "x.csv: the label \"much\" is no number");
}

#[test]
fn several_labels_hold_or_not() {
    let labels = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let encode = |label| encoder(8).encode_several(&[example("ran", None, label)], &labels);
    assert_eq!(encode("c|a").unwrap().examples[0].target, Target::Labels(vec![1.0, 0.0, 1.0]));
    assert_eq!(encode("").unwrap().examples[0].target, Target::Labels(vec![0.0; 3]));
    assert!(encode("a|d").unwrap_err().to_string().contains("label \"d\" is not among"));
}

#[test]
fn words_have_one_tag_each() {
    // "Zoey" is two pieces of one word, "St." two words of the tokenizer.
    let text = "Zoey ran far St. Olav";
    let tags = ["B-PER", "O", "O", "B-LOC", "I-LOC"];
    let mut start = 0;
    let words = text.split(' ').zip(tags).map(|(word, tag)| {
        let own = TaggedWord { start, end: start + word.len(), tag: tag.into() };
        start = own.end + 1;
        own
    });
    let text = TaggedText { text: text.into(), words: words.collect(), source: "x".into() };
    let labels: Vec<String> = ["O", "B-PER", "B-LOC", "I-LOC"].map(str::to_owned).into();
    let encoded = encoder(16).encode_tagged(std::slice::from_ref(&text), &labels).unwrap();
    let n = IGNORED;
    assert_eq!(encoded.examples[0].ids, [2, 6, 7, 5, 13, 10, 11, 12, 3]);
    assert_eq!(encoded.examples[0].target, Target::Tokens(vec![n, 1, n, 0, 0, 2, 3, 3, n]));
    let cut = encoder(5).encode_tagged(&[text], &labels).unwrap();
    assert_eq!(cut.examples[0].target, Target::Tokens(vec![n, 1, n, 0, n]));
    assert_eq!(cut.tokens_dropped, 4);
}

/// Words of the file in which the tokenizer sees several: what ends with the word ends with its last.
#[test]
fn entities_of_one_word_end_where_it_does() {
    let tagged = |words: &[(&str, &str)]| {
        let mut text = TaggedText { text: String::new(), words: Vec::new(), source: "x".into() };
        words.iter().for_each(|(word, tag)| text.push(word, tag));
        text
    };
    let all: Vec<String> = ["O", "B-X", "I-X", "E-X", "S-X"].map(str::to_owned).to_vec();
    let targets = |words: &[(&str, &str)], labels: &[String]| {
        let encoded = encoder(32).encode_tagged(&[tagged(words)], labels).unwrap();
        let Target::Tokens(targets) = encoded.examples[0].target.clone() else { unreachable!() };
        let named = targets.into_iter().filter(|&target| target != IGNORED);
        named.map(|target| labels[target as usize].clone()).collect::<Vec<_>>()
    };
    assert_eq!(targets(&[("st.olav.", "S-X"), ("ran", "O")], &all), ["B-X", "I-X", "I-X", "E-X", "O"]);
    assert_eq!(
        targets(&[("oslo", "S-X"), ("st.", "B-X"), ("olav.", "E-X")], &all),
        ["S-X", "B-X", "I-X", "I-X", "E-X"]
    );
    assert_eq!(targets(&[("far.", "O")], &all), ["O", "O"]);
    for words in [&[("st.olav", "S-X"), ("in", "O")][..], &[("in", "O"), ("oslo", "B-X"), ("st.olav", "E-X")]] {
        let tags = targets(words, &all);
        assert_eq!(super::super::entities_of(tags.iter().map(String::as_str)).len(), 1, "{tags:?}");
    }
    // Labels without the tag that would be right: the file's own, and none.
    assert_eq!(targets(&[("st.", "S-X"), ("in", "O")], &["O".to_owned(), "S-X".to_owned()]), ["S-X", "O"]);
}

#[test]
fn answers_are_looked_for_in_windows() {
    let context = "zoey ran in oslo far far far";
    let answer = context.find("oslo").unwrap();
    let question = |answers: Vec<(usize, usize)>| Question {
        id: "1".into(),
        question: "who ran".into(),
        context: context.into(),
        answers,
    };
    let encode = |answers| encoder(10).encode_questions(&[question(answers)], 2).unwrap().examples;
    // [CLS] who ran [SEP] and five tokens of the text, two of them again.
    let windows = encode(vec![(answer, answer + 4)]);
    assert_eq!(windows[0].ids, [2, 4, 5, 3, 6, 7, 5, 8, 9, 3]);
    assert_eq!(windows[0].types, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    let spans: Vec<_> = windows.iter().map(|window| window.target.clone()).collect();
    let span = |start, end| Target::Span { start, end };
    assert_eq!(spans, [span(8, 8), span(5, 5)]);
    // Half a word is answered by the whole token.
    assert_eq!(encode(vec![(1, 3)])[0].target, span(4, 4));
    assert!(encode(vec![]).iter().all(|window| window.target == span(0, 0)));
    let error = encoder(8).encode_questions(&[question(vec![])], 2).unwrap_err();
    assert!(error.to_string().contains("--stride"), "{error}");
}
