//! Tokenizers that limbeck trains against those of PyPI `tokenizers`, from the same text (`make_tokenizers.py`).

use std::io::Write;
use std::path::PathBuf;

use limbeck_export::vocabulary::{VocabularyKind, VocabularyOptions, make_vocabulary, train_tokenizer};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::reference;

const KINDS: [(VocabularyKind, &str, usize); 3] = [
    (VocabularyKind::WordPiece, "wordpiece", 200),
    (VocabularyKind::Unigram, "unigram", 120),
    (VocabularyKind::ByteBpe, "byte-bpe", 400),
];

fn options(kind: VocabularyKind, vocab_size: usize) -> VocabularyOptions {
    let lowercase = kind == VocabularyKind::WordPiece;
    VocabularyOptions { kind, vocab_size, lowercase, min_frequency: 2, limit_alphabet: 1000, max_tokens: 128 }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

#[test]
fn trained_tokenizers_are_those_of_the_reference() {
    let reference = reference::json("trained-tokenizers.json");
    let corpus = texts(&reference["corpus"]);
    for (kind, name, size) in KINDS {
        let own = train_tokenizer(corpus.iter(), &options(kind, size)).unwrap();
        let model: Value = serde_json::from_str(&own.to_string(false).unwrap()).unwrap();
        let expected = &reference["kinds"][name];
        let compared = match kind {
            VocabularyKind::ByteBpe => {
                assert_eq!(model["model"]["vocab"], expected["vocab"]);
                assert_eq!(model["model"]["merges"], expected["merges"]);
                own
            }
            VocabularyKind::WordPiece => {
                // The reference's numbers, and what ties between pairs give, differ from run to run.
                let pieces = |vocab: &Value| -> Vec<String> { vocab.as_object().unwrap().keys().cloned().collect() };
                let (own, expected) = (pieces(&model["model"]["vocab"]), pieces(&expected["vocab"]));
                let both = own.iter().filter(|piece| expected.contains(piece)).count();
                // Four runs of the reference had 158 to 166 of 169 pieces in common.
                assert!(
                    own.len().abs_diff(expected.len()) <= 2 && both * 10 >= 9 * own.len(),
                    "{both} of {}",
                    own.len()
                );
                let short = |pieces: &[String]| {
                    let length = |piece: &String| piece.trim_start_matches("##").chars().count();
                    let mut short: Vec<_> = pieces.iter().filter(|piece| length(piece) == 1).cloned().collect();
                    short.sort();
                    short
                };
                assert_eq!(short(&own), short(&expected), "the alphabet");
                loaded(&reference["kinds"][name]["tokenizer"])
            }
            VocabularyKind::Unigram => {
                let pieces = |vocab: &Value| -> Vec<(String, f64)> {
                    let pair = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_f64().unwrap());
                    let mut pieces: Vec<_> = vocab.as_array().unwrap().iter().map(pair).collect();
                    pieces.sort_by(|a, b| a.0.cmp(&b.0));
                    pieces
                };
                // Scores are sums in the order of a hash map, and characters of no use are numbered in it.
                let (own, expected) = (pieces(&model["model"]["vocab"]), pieces(&expected["vocab"]));
                assert_eq!(own.len(), expected.len(), "{name}");
                for (own, expected) in own.iter().zip(&expected) {
                    assert!(own.0 == expected.0 && (own.1 - expected.1).abs() < 0.01, "{own:?} {expected:?}");
                }
                loaded(&reference["kinds"][name]["tokenizer"])
            }
        };
        for (text, expected) in texts(&reference["strings"]).into_iter().zip(expected["ids"].as_array().unwrap()) {
            assert_eq!(json!(ids(&compared, text)), *expected, "{name}: {text:?}");
        }
    }
}

fn loaded(file: &Value) -> Tokenizer {
    file.to_string().parse().unwrap()
}

/// Writes 100,000 strings and what limbeck makes of them to the folder that LIMBECK_FUZZ_TOKENIZERS names; then
/// `make_tokenizers.py FOLDER` compares.
#[test]
#[ignore = "writes the folder for make_tokenizers.py: LIMBECK_FUZZ_TOKENIZERS names where"]
fn a_hundred_thousand_strings() {
    let out = PathBuf::from(std::env::var("LIMBECK_FUZZ_TOKENIZERS").expect("LIMBECK_FUZZ_TOKENIZERS names a folder"));
    let reference = reference::json("trained-tokenizers.json");
    let corpus = out.join("corpus.txt");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(&corpus, texts(&reference["corpus"]).concat()).unwrap();
    let own: Vec<(&str, Tokenizer)> = KINDS
        .into_iter()
        .map(|(kind, name, size)| {
            let folder = out.join(name);
            make_vocabulary(std::slice::from_ref(&corpus), "text", &options(kind, size), &folder).unwrap();
            (name, Tokenizer::from_file(folder.join("tokenizer.json")).unwrap())
        })
        .collect();
    let lines = texts(&reference["corpus"]);
    let mut file = std::io::BufWriter::new(std::fs::File::create(out.join("fuzz.jsonl")).unwrap());
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut next = |below: u64| {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    };
    for round in 0..100_000 {
        let length = next(24);
        let text: String = match round % 4 {
            0 => (0..length).filter_map(|_| char::from_u32(next(0x11_0000) as u32)).collect(),
            1 => (0..length).map(|_| char::from(next(128) as u8)).collect(),
            2 => String::from_utf8_lossy(&(0..length).map(|_| next(256) as u8).collect::<Vec<_>>()).into_owned(),
            _ => {
                let line = lines[next(lines.len() as u64) as usize];
                line.chars().skip(next(20) as usize).take(length as usize * 2).collect()
            }
        };
        let mut case = json!({ "text": text });
        for (name, tokenizer) in &own {
            case[name] = json!(ids(tokenizer, &text));
        }
        writeln!(file, "{case}").unwrap();
    }
}
