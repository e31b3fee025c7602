mod marks;

use std::path::Path;

use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::arch::{Head, ModelConfig, Params, parameter_layout};
use crate::checkpoint::{self, HeadInfo};
use crate::data::{Question, Schema, read_examples, read_tagged};
use crate::progress::Output;

const WORDS: [&str; 24] = [
    "film", "movie", "plot", "story", "good", "great", "bad", "dull", "actor", "scene", "cat", "dog", "tree", "house",
    "river", "stone", "music", "sound", "harb", "##our", "li", "##ght", "##s", "the",
];
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const POSITIONS: usize = 64;

/// A masked language model of random weights that knows [`WORDS`].
fn model(folder: &Path, head: Head) {
    let words = SPECIAL.iter().chain(&WORDS);
    let vocabulary: Map<String, Value> = words.enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let size = vocabulary.len();
    let added = SPECIAL.iter().enumerate().map(|(id, token)| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    });
    let piece = |id: &str, of: u32| json!({"SpecialToken": {"id": id, "type_id": of}});
    let text = |id: &str, of: u32| json!({"Sequence": {"id": id, "type_id": of}});
    let special = |id: &str, n: u32| json!({"id": id, "ids": [n], "tokens": [id]});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0)],
            "pair": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0), text("B", 1), piece("[SEP]", 1)],
            "special_tokens": {"[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3)}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary}
    });
    let config = json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": size, "hidden_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "type_vocab_size": 2,
        "max_position_embeddings": POSITIONS, "initializer_range": 0.5});
    save_random(folder, head, &config, &tokenizer);
}

fn save_random(folder: &Path, head: Head, config: &Value, tokenizer: &Value) {
    let config = ModelConfig::from_hf(config).unwrap();
    let params = Params::initialise(&parameter_layout(&config, head), Device::Cpu);
    let source = folder.join("source.json");
    std::fs::write(&source, tokenizer.to_string()).unwrap();
    checkpoint::save(folder, &config, &HeadInfo::new(head), &params, &source).unwrap();
}

fn sources() -> Sources {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), Head::MaskedLm);
    Sources::load(folder.path(), VectorsFrom::MaskedLm, Device::Cpu).unwrap()
}

fn example(text: &str, pair: Option<&str>, label: &str) -> Example {
    Example { text: text.into(), pair: pair.map(str::to_owned), label: label.into(), source: "x.csv".into() }
}

fn run(rows: &Rows, sources: &Sources, options: &AugmentOptions, seed: u64) -> Augmented {
    augment_with_origins(rows, sources, options, seed, &Reporter::new(Output::Silent)).unwrap()
}

fn texts(augmented: &Augmented) -> &[Example] {
    let Rows::Texts(rows) = &augmented.rows else { panic!("texts stay texts") };
    rows
}

#[test]
fn each_word_is_replaced_as_often_as_it_should_be() {
    let _turn = crate::seeded(1);
    let sources = sources();
    // Every word of letters: those of one token have themselves among their candidates or not, those of several never.
    let text = "film movie plot story good great bad dull actor scene cat dog tree house harbour lights film music";
    let options = AugmentOptions { copies: 1000, candidates: 12, ..AugmentOptions::default() };
    let words = sources.replaceable(text, &options).unwrap();
    let augmented = run(&Rows::Texts(vec![example(text, None, "a")]), &sources, &options, 5);
    // With so many words hardly a copy comes twice, so that leaving those out does not shift the rates.
    assert!(augmented.counts.repeated < 10, "{:?}", augmented.counts);
    let copies: Vec<Vec<&str>> = texts(&augmented)[1..].iter().map(|row| row.text.split(' ').collect()).collect();
    let (mut replaced, mut expected, mut selves) = (0.0, 0.0, 0);
    for (place, word) in words.iter().enumerate() {
        let own = &text[word.start..word.end];
        let same = word.candidates.iter().filter(|candidate| *candidate == own).count();
        selves += same;
        let rate = options.probability * (1.0 - same as f64 / word.candidates.len() as f64);
        let seen = copies.iter().filter(|copy| copy[place] != own).count() as f64 / copies.len() as f64;
        // Four standard deviations.
        let bound = 4.0 * (rate * (1.0 - rate) / copies.len() as f64).sqrt();
        assert!((seen - rate).abs() < bound, "{own}: {seen}, expected {rate}");
        assert!(copies.iter().all(|copy| copy[place] == own || word.candidates.iter().any(|c| c == copy[place])));
        (replaced, expected) = (replaced + seen, expected + rate);
    }
    assert_eq!(words.len(), 18);
    assert!(selves > 0 && selves < 18, "{selves} words are among their own candidates: both cases must be there");
    assert!((replaced - expected).abs() / expected < 0.03, "{replaced} {expected}");
}

#[test]
fn rows_are_at_most_one_more_than_copies_and_keep_their_labels() {
    let _turn = crate::seeded(2);
    let sources = sources();
    let rows = vec![
        example("good film", None, "a|b"),
        example("the 3 of 42", None, ""),
        example("Great story, bad music.", None, "1.5"),
        example("good", None, "a"),
    ];
    let options = AugmentOptions { copies: 7, ..AugmentOptions::default() };
    let augmented = run(&Rows::Texts(rows.clone()), &sources, &options, 1);
    let all = texts(&augmented);
    for (index, row) in rows.iter().enumerate() {
        let own: Vec<&Example> =
            all.iter().zip(&augmented.origins).filter(|(_, origin)| **origin == index).map(|(row, _)| row).collect();
        assert_eq!(own[0], row);
        assert!(own.len() <= 8);
        assert!(own.iter().all(|copy| copy.label == row.label && copy.source == row.source && copy.pair.is_none()));
        let distinct: std::collections::HashSet<&str> = own.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(distinct.len(), own.len(), "a copy came twice");
    }
    assert!(augmented.origins.is_sorted());
    assert_eq!(augmented.origins.iter().filter(|&&origin| origin == 1).count(), 1, "nothing to replace");
    let AugmentCounts { words, drawn, repeated, .. } = augmented.counts;
    assert_eq!((words, drawn), (2 + 4 + 1, 28));
    assert_eq!(all.len(), 4 + drawn - repeated);
}

#[test]
fn what_is_no_word_stays_to_the_byte() {
    let _turn = crate::seeded(3);
    let sources = sources();
    let text = "  The FILM\u{a0}is \u{201c}good\u{201d},\tisn't it?\r\n2 cats & 1 caf\u{e9} \u{1F642}bad \u{1F642} \
                \u{5317}\u{4eac} \u{43c}\u{438}\u{440} -- Dull-ish!! ";
    let options = AugmentOptions { copies: 200, probability: 1.0, ..AugmentOptions::default() };
    let words = sources.replaceable(text, &options).unwrap();
    let own: Vec<&str> = words.iter().map(|word| &text[word.start..word.end]).collect();
    assert_eq!(own, ["FILM", "good", "cats", "Dull", "ish"]);
    let augmented = run(&Rows::Texts(vec![example(text, None, "a")]), &sources, &options, 5);
    assert!(augmented.rows.len() > 100);
    for row in texts(&augmented) {
        let (mut rest, mut done) = (row.text.as_str(), 0);
        for word in &words {
            rest = rest.strip_prefix(&text[done..word.start]).unwrap();
            let (taken, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap());
            assert!(taken == &text[word.start..word.end] || word.candidates.iter().any(|c| c == taken), "{taken}");
            let upper = |text: &str| text.starts_with(char::is_uppercase);
            assert_eq!(upper(taken), upper(&text[word.start..]));
            rest = after;
            done = word.end;
        }
        assert_eq!(rest, &text[done..]);
    }
}

#[test]
fn a_seed_gives_one_result_whatever_the_batch_threads_and_other_rows() {
    let _turn = crate::seeded(4);
    let mut sources = sources();
    let text = |row: usize| (0..3 + row % 9).map(|i| WORDS[(row * 7 + i * 5) % 18]).collect::<Vec<_>>().join(" ");
    let rows: Vec<Example> = (0..40).map(|row| example(&text(row), None, "a")).collect();
    let options = AugmentOptions { copies: 4, candidates: 9, ..AugmentOptions::default() };
    let all = Rows::Texts(rows.clone());
    let first = run(&all, &sources, &options, 1);
    let threads = tch::get_num_threads();
    for (batch_rows, threads) in [(1, 1), (7, 2), (256, 1)] {
        sources.masked.batch_rows = batch_rows;
        tch::set_num_threads(threads);
        assert_eq!(texts(&run(&all, &sources, &options, 1)), texts(&first), "batches of {batch_rows}");
    }
    tch::set_num_threads(threads);
    assert_ne!(texts(&run(&all, &sources, &options, 2)), texts(&first));
    let fewer = run(&Rows::Texts(rows[..11].to_vec()), &sources, &options, 1);
    assert_eq!(texts(&fewer), &texts(&first)[..fewer.rows.len()]);
    // Rows with the same text, and the two sides of a pair, draw for themselves.
    let same = example(&text(8), Some(&text(8)), "a");
    let twice = run(&Rows::Texts(vec![same.clone(), same.clone()]), &sources, &options, 1);
    let changed = |row: usize, second: bool| -> Vec<&str> {
        let own = texts(&twice).iter().zip(&twice.origins).filter(|(_, origin)| **origin == row).map(|(row, _)| row);
        let sides = own.map(|row| if second { row.pair.as_deref().unwrap_or_default() } else { row.text.as_str() });
        sides.filter(|side| *side != same.text).collect()
    };
    assert!(changed(0, false) != changed(1, false) && changed(0, false) != changed(0, true));
    let hash = |rows: &Rows, options: &AugmentOptions, seed| identity(rows, &sources, options, seed).unwrap();
    let own = hash(&all, &options, 1);
    assert_eq!(own, hash(&all, &options, 1));
    assert_ne!(own, hash(&all, &options, 2));
    assert_ne!(own, hash(&all, &AugmentOptions::default(), 1));
    assert_ne!(own, hash(&Rows::Texts(rows[1..].to_vec()), &options, 1));
}

#[test]
fn pairs_apart_and_beside_the_last() {
    let _turn = crate::seeded(5);
    let sources = sources();
    let (first, second) = ("good film, dull plot", "The cat and the dog.");
    let rows = Rows::Texts(vec![example(first, Some(second), "same")]);
    let run = |pairs| run(&rows, &sources, &AugmentOptions { pairs, copies: 6, ..AugmentOptions::default() }, 3);
    let (apart, beside) = (run(PairCopies::Apart), run(PairCopies::BesideLast));
    let (apart, beside) = (texts(&apart), texts(&beside));
    assert_eq!(apart.len(), beside.len());
    assert!(apart.len() <= 13 && apart.iter().all(|row| row.label == "same"));
    let firsts = apart.iter().filter(|row| row.pair.as_deref() == Some(second)).count();
    assert!(firsts > 2 && apart.len() - firsts > 2);
    assert!(apart[firsts..].iter().all(|row| row.text == first && row.pair.as_deref() != Some(second)));
    assert_eq!(apart[..firsts], beside[..firsts]);
    let last = &apart[firsts - 1].text;
    for (apart, beside) in apart[firsts..].iter().zip(&beside[firsts..]) {
        assert_eq!((&beside.text, &beside.pair), (last, &apart.pair));
    }
}

#[test]
fn words_keep_their_tags() {
    let _turn = crate::seeded(6);
    let sources = sources();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.conll");
    std::fs::write(&path, "Cat\tB-PER\nharbour\tI-PER\nlights\tO\n,\tO\nZo\u{eb}\tB-PER\ngood\tO\n\nfilm\tO\n")
        .unwrap();
    let rows = read_tagged(&path).unwrap();
    let tagged = |entities| {
        let options = AugmentOptions { copies: 9, probability: 0.9, entities, ..AugmentOptions::default() };
        run(&Rows::Tagged(rows.clone()), &sources, &options, 3)
    };
    let (outside, everywhere) = (tagged(false), tagged(true));
    for (augmented, entities) in [(&outside, false), (&everywhere, true)] {
        let Rows::Tagged(texts) = &augmented.rows else { panic!("tagged texts stay tagged texts") };
        assert!(texts.len() > 8 && texts[0] == rows[0]);
        let mut changed = [false; 6];
        for (text, _) in texts.iter().zip(&augmented.origins).filter(|(_, origin)| **origin == 0) {
            let words = words_of(text);
            let joined: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
            assert_eq!(joined.join(" "), text.text);
            for (place, (own, original)) in words.iter().zip(words_of(&rows[0])).enumerate() {
                assert_eq!(own.1, original.1);
                changed[place] |= own.0 != original.0;
            }
        }
        assert_eq!(changed, [entities, entities, true, false, false, true]);
    }
    // What is written is read back.
    let out = folder.path().join("out.conll");
    let options = AugmentOptions::default();
    let record =
        save(&out, &outside, (&Rows::Tagged(rows.clone()), "x.conll", &Schema::default()), &sources, &options, 3)
            .unwrap();
    let read = read_tagged(&out).unwrap();
    let Rows::Tagged(texts) = &outside.rows else { panic!("tagged texts stay tagged texts") };
    assert_eq!(read.len(), record.rows_written);
    assert!(read.iter().zip(texts).all(|(read, own)| read.text == own.text && read.words == own.words));
}

fn words_of(text: &TaggedText) -> Vec<(String, String)> {
    text.words.iter().map(|word| (text.text[word.start..word.end].to_owned(), word.tag.clone())).collect()
}

#[test]
fn files_are_read_back_and_say_what_they_are() {
    let _turn = crate::seeded(7);
    let sources = sources();
    let folder = tempfile::tempdir().unwrap();
    let rows =
        Rows::Texts(vec![example("good \"film\"\n\u{1F642}", Some("bad cat"), "a"), example("dog", Some("x"), "b")]);
    let options = AugmentOptions { copies: 3, ..AugmentOptions::default() };
    let augmented = run(&rows, &sources, &options, 9);
    let out = folder.path().join("out.jsonl");
    // Under the names of the columns that they come from.
    let columns =
        Schema { text: "first".into(), pair: Some("to \"it\"".into()), label: "class".into(), ..Schema::default() };
    let record = save(&out, &augmented, (&rows, "x.csv", &columns), &sources, &options, 9).unwrap();
    let read = read_examples(&out, &columns).unwrap();
    assert!(
        read.iter().zip(texts(&augmented)).all(|(a, b)| (&a.text, &a.pair, &a.label) == (&b.text, &b.pair, &b.label))
    );
    let numbers: Vec<usize> = std::fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["row"].as_u64().unwrap() as usize)
        .collect();
    assert_eq!(numbers, augmented.origins.iter().map(|origin| origin + 1).collect::<Vec<_>>());
    assert_eq!((record.rows, record.rows_written, record.seed), (2, read.len(), 9));
    assert_eq!(record.sha256, crate::files::sha256_file(&out).unwrap());
    assert_eq!(record.identity, identity(&rows, &sources, &options, 9).unwrap());
    let beside: Augmentation = crate::files::read_json(&folder.path().join("out.augment.json")).unwrap();
    assert_eq!(beside, record);
}

#[test]
fn a_word_without_candidates_stays() {
    let _turn = crate::seeded(8);
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), Head::MaskedLm);
    let file = folder.path().join("vectors.txt");
    std::fs::write(&file, "light 1 0 0\nlamp 1 0.1 0\nsun 0.5 0.5 0\nLamp 1 0.2 0\nnight -1 0 0\n").unwrap();
    let sources = Sources::load(folder.path(), VectorsFrom::File(&file), Device::Cpu).unwrap();
    let options = AugmentOptions { candidates: 2, ..AugmentOptions::default() };
    let words = sources.replaceable("Light harbour lamp", &options).unwrap();
    let candidates: Vec<Vec<&str>> = words.iter().map(|w| w.candidates.iter().map(String::as_str).collect()).collect();
    // By cosine; `harbour` has no vector, and `lamp` is known to neither: one unknown token for the model.
    assert_eq!(candidates[..2], [vec!["Lamp", "Lamp"], vec![]]);
    // What is beyond the model's positions cannot be masked.
    let long = vec!["film"; POSITIONS].join(" ");
    let words = sources.replaceable(&long, &options).unwrap();
    assert!(!words[POSITIONS - 2].candidates.is_empty() && words[POSITIONS - 1].candidates.is_empty());
    let row = example(&long, None, "a");
    let copies = run(&Rows::Texts(vec![row]), &sources, &AugmentOptions { probability: 1.0, ..options }, 1);
    assert!(copies.rows.len() > 1 && texts(&copies).iter().all(|row| row.text.ends_with(" film")));
    assert_eq!(copies.counts.without_candidates, 1);
}

#[test]
fn pieces_are_near_the_words_that_their_mean_is_near() {
    let _turn = crate::seeded(9);
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), Head::None);
    let masked = tempfile::tempdir().unwrap();
    model(masked.path(), Head::MaskedLm);
    let sources = Sources::load(masked.path(), VectorsFrom::Model(folder.path()), Device::Cpu).unwrap();
    let options = AugmentOptions { candidates: 5, ..AugmentOptions::default() };
    let found = sources.replaceable("harbour", &options).unwrap().remove(0).candidates;
    // By hand: the mean of the two pieces against each word, in double precision.
    let table = checkpoint::load(folder.path(), Head::None, Device::Cpu).unwrap();
    let table = table.params.get("embeddings.words.weight").unwrap().to_kind(Kind::Double);
    let id = |word: &str| (SPECIAL.len() + WORDS.iter().position(|w| *w == word).unwrap()) as i64;
    let mean: Tensor = (table.get(id("harb")) + table.get(id("##our"))) / 2.0;
    let cosine = |word: &str| {
        let other = table.get(id(word));
        (mean.dot(&other) / (mean.norm() * other.norm())).double_value(&[])
    };
    let mut words: Vec<&str> = WORDS.into_iter().filter(|word| !word.starts_with("##")).collect();
    words.sort_by(|a, b| cosine(b).total_cmp(&cosine(a)));
    assert_eq!(found, words[..5]);
}

#[test]
fn what_cannot_be_augmented_is_told() {
    let _turn = crate::seeded(10);
    let sources = sources();
    let question = Question { id: "1".into(), question: "who".into(), context: "cat".into(), answers: vec![] };
    let silent = Reporter::new(Output::Silent);
    let options = AugmentOptions::default();
    let error = augment(&Rows::Questions(vec![question]), &sources, &options, 1, &silent).unwrap_err();
    assert!(error.to_string().contains("questions cannot be augmented"), "{error}");
    let rows = Rows::Texts(vec![example("cat", None, "a")]);
    let none = AugmentOptions { copies: 0, ..options };
    assert!(augment(&rows, &sources, &none, 1, &silent).unwrap_err().to_string().contains("copies is 0"));
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), Head::None);
    let error = Sources::load(folder.path(), VectorsFrom::MaskedLm, Device::Cpu).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("has no masked-LM head"), "{error}");
}
