use super::*;
use crate::progress::Output;

const PARAGRAPH: &str =
    "The keeper of the lighthouse climbed the stairs with his lamp and counted every single step on the way up. ";

fn english(number: usize) -> String {
    let words = ["river", "stone", "window", "garden", "morning", "letter", "engine", "harbour", "winter", "market"];
    (0..40)
        .map(|i| format!("the {} of number {} was seen by the ", words[(number * 7 + i * i) % 10], number * 40 + i))
        .collect()
}

fn row(text: &str, more: Value) -> String {
    let mut row = more;
    row["text"] = json!(text);
    format!("{row}\n")
}

fn run(rows: &str, options: &CorpusOptions) -> (CorpusReport, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    std::fs::write(&path, rows).unwrap();
    let out = folder.path().join("out");
    let report = curate(&[path], options, &out, &Reporter::new(Output::Silent)).unwrap();
    (report, kept(&out))
}

fn kept(out: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for number in 0.. {
        // One of which nothing is kept is not there.
        if number == 20 {
            break;
        }
        let Ok(text) = std::fs::read_to_string(shard_path(out, number)) else { continue };
        assert!(!text.is_empty());
        rows.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    rows
}

fn removed(report: &CorpusReport, filter: &str) -> u64 {
    report.filters.iter().find(|own| own.filter == filter).unwrap().removed.documents
}

#[test]
fn each_filter_removes_its_own() {
    let german =
        "Der Wärter des Leuchtturms stieg jeden Abend die Treppe hinauf und zählte dabei jede einzelne Stufe. "
            .repeat(3);
    let page = format!("<html><body><article><p>{0}</p><p>{0}</p></article></body></html>", PARAGRAPH.repeat(5));
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("test.tsv");
    let asked = "what is asked here is how many lamps the harbour of the northern town has got today";
    std::fs::write(&test, format!("id\tquestion\n1\t{asked}\n2\tof few words\n")).unwrap();
    let rows = [
        row(&english(1), json!({"score": 3, "url": "https://example.org/a", "author": "x"})),
        row(&english(2), json!({"score": 2})),
        row(&english(3), json!({})),
        row(&english(4), json!({"score": 9, "url": "http://en.m.wikipedia.org:80/wiki/X"})),
        row(&english(5), json!({"score": 9, "url": "http://notwikipedia.org/"})),
        row("short", json!({"score": 9})),
        row(&german, json!({"score": 9})),
        row(
            &format!(
                "{} Here is how many lamps the harbour of the northern town has got today? {}",
                english(6),
                english(7)
            ),
            json!({"score": 9}),
        ),
        row(&english(1).to_uppercase(), json!({"score": 9})),
        row(&english(5).replace("number 201", "number two hundred and one"), json!({"score": 9})),
        format!("{}\n", json!({"html": page, "score": 4})),
        format!("{}\n", json!({"html": "<html></html>", "score": 4})),
        "{broken\n\n".to_owned(),
        "{\"score\": 5}\n".to_owned(),
    ]
    .concat();
    let options = CorpusOptions {
        min_score: Some(3.0),
        exclude_sites: vec!["wikipedia.org".to_owned()],
        min_characters: 100,
        languages: vec!["eng".to_owned()],
        against: vec![test],
        against_keys: vec!["question".to_owned()],
        near_duplicates: Some(0.8),
        ..CorpusOptions::default()
    };
    let (report, kept) = run(&rows, &options);
    for (filter, count) in [
        (BROKEN, 2),
        (SCORE, 2),
        (SITE, 1),
        (NO_MAIN_TEXT, 1),
        (LENGTH, 1),
        (LANGUAGE, 1),
        (TEST_SETS, 1),
        (DUPLICATE, 1),
        (NEAR_DUPLICATE, 1),
    ] {
        assert_eq!(removed(&report, filter), count, "{filter}\n{}", report.table());
    }
    assert_eq!(report.test_texts, Some(TestTexts { texts: 2, too_short: 1 }));
    assert!(report.table().ends_with("2 test texts, of which 1 have fewer than 8 words and were not looked for\n"));
    assert_eq!((report.read.documents, report.kept.documents, kept.len()), (14, 3, 3));
    assert_eq!(kept[0]["author"], "x", "rows keep what they had");
    assert!(kept[2]["text"].as_str().unwrap().contains("climbed the stairs") && kept[2].get("html").is_none());
    assert!(report.filters[0].examples[0].starts_with("in.jsonl:13 ("), "{report:?}");
    assert!(
        report.table().contains("near-duplicate") && report.table().contains("\n    in.jsonl:13 ("),
        "{}",
        report.table()
    );
    // Without filters all that can be read stays, but for what is there twice.
    assert_eq!(run(&rows, &CorpusOptions::default()).1.len(), 10);
    assert_eq!(run(&rows, &CorpusOptions { exact_duplicates: false, ..CorpusOptions::default() }).1.len(), 11);
}

#[test]
fn stopped_and_started_again_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let text = |i: usize| if i % 5 == 4 { english(i - 4) } else { english(i) };
    let rows: String = (0..60).map(|i| row(&text(i), json!({"i": i}))).collect();
    let path = folder.path().join("in.jsonl");
    std::fs::write(&path, rows).unwrap();
    let options = CorpusOptions { shard: 10, near_duplicates: Some(0.9), ..CorpusOptions::default() };
    let reporter = Reporter::new(Output::Silent);
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let inputs = [path];
    let report = curate(&inputs, &options, &whole, &reporter).unwrap();
    assert_eq!(report.read.documents, 60);
    assert!(removed(&report, DUPLICATE) == 12, "{}", report.table());
    curate(&inputs, &options, &broken, &reporter).unwrap();
    // As a kill after the third file leaves it, with the fourth half written under another name.
    let mut state: State = files::read_json(&broken.join(STATE)).unwrap();
    state.shards.truncate(3);
    state.done = false;
    files::write_json(&broken.join(STATE), &state).unwrap();
    for number in 3..7 {
        let _ = std::fs::remove_file(shard_path(&broken, number));
    }
    std::fs::remove_file(broken.join("report.json")).unwrap();
    std::fs::write(broken.join(".limbeck-half.tmp"), "{\"te").unwrap();
    assert_eq!(curate(&inputs, &options, &broken, &reporter).unwrap(), report);
    assert_eq!(kept(&broken), kept(&whole));
    assert_eq!(std::fs::read(broken.join("report.json")).unwrap(), std::fs::read(whole.join("report.json")).unwrap());
    // A kill between the last file and the report.
    std::fs::remove_file(broken.join("report.json")).unwrap();
    assert_eq!(curate(&inputs, &options, &broken, &reporter).unwrap(), report, "done is done");
    assert_eq!(std::fs::read(broken.join("report.json")).unwrap(), std::fs::read(whole.join("report.json")).unwrap());
    let other = CorpusOptions { shard: 11, ..options };
    let error = curate(&inputs, &other, &broken, &reporter).unwrap_err().to_string();
    assert!(error.contains("another corpus"), "{error}");
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let rows: String = (0..300).map(|i| row(&english(i % 170), json!({}))).collect();
    let options = CorpusOptions { near_duplicates: Some(0.7), ..CorpusOptions::default() };
    let with = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| run(&rows, &options))
    };
    assert_eq!(with(1), with(4));
}

#[test]
fn files_of_all_kinds_are_read() {
    use flate2::{Compression, write::GzEncoder};
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    let body = "one text of an archive 🙂";
    write!(zipped, "WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: {}\r\n\r\n{body}\r\n\r\n", body.len())
        .unwrap();
    let page = format!("<html><body><article><p>{0}</p></article></body></html>", PARAGRAPH.repeat(8));
    let inputs = [
        file("a.txt", b"\xef\xbb\xbffirst document\nof two lines\n\n\n second document"),
        file("b.wet.gz", &zipped.finish().unwrap()),
        file("c.html", page.as_bytes()),
        file("d.jsonl", b"{\"text\": \"row\"}\n\xff\xfe\n"),
        file("e.txt", b""),
    ];
    let out = folder.path().join("out");
    let report = curate(&inputs, &CorpusOptions::default(), &out, &Reporter::new(Output::Silent)).unwrap();
    let texts: Vec<String> = kept(&out).iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts[..3], ["first document\nof two lines\n", " second document", body]);
    assert!(texts[3].contains("lighthouse") && texts[4] == "row" && texts.len() == 5);
    assert_eq!(removed(&report, BROKEN), 1);
    let error = |name: &str| {
        let out = folder.path().join("other");
        curate(&[file(name, b"x")], &CorpusOptions::default(), &out, &Reporter::new(Output::Silent)).unwrap_err()
    };
    assert!(format!("{:#}", error("x.pdf")).contains("cannot tell what"));
    assert!(format!("{:#}", error("x.warc")).contains("not a web archive"));
}

#[test]
fn sites_are_told_by_their_hosts() {
    for (url, is) in [
        ("https://wikipedia.org", true),
        ("http://user@De.Wikipedia.org:8080/x?y", true),
        ("en.wikipedia.org/wiki/X", true),
        ("//en.wikipedia.org/wiki/X", true),
        ("https://en.wikipedia.org./wiki/X", true),
        ("https://notwikipedia.org/", false),
        ("https://example.org/wikipedia.org", false),
        ("", false),
    ] {
        assert_eq!(is_of_site(url, "wikipedia.org"), is, "{url}");
    }
}

/// The texts that are kept of a file, and the report.
fn of_file(name: &str, bytes: &[u8]) -> (Vec<String>, CorpusReport) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let out = folder.path().join("out");
    let report = curate(&[path], &CorpusOptions::default(), &out, &Reporter::new(Output::Silent)).unwrap();
    let texts = kept(&out).iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    (texts, report)
}

#[test]
fn a_document_with_a_broken_line_is_one_broken_document() {
    let (texts, report) = of_file("a.txt", b"one\n\nbefore\n\xff\n\xfe\nafter\n\n\xff\n\ntwo\n");
    assert_eq!(texts, ["one\n", "two\n"]);
    assert_eq!((report.read.documents, removed(&report, BROKEN)), (4, 2), "{}", report.table());
}

#[test]
fn pages_are_broken_that_are_too_long_or_in_an_encoding_that_is_not_read() {
    use flate2::{Compression, write::GzEncoder};
    let page = format!("<html><body><article><p>{0}</p></article></body></html>", PARAGRAPH.repeat(8));
    let latin = [page.replace("stairs", "stairs of the caf").as_bytes(), b"\xe9"].concat();
    let (texts, report) = of_file("a.html", &latin);
    assert_eq!((texts.len(), removed(&report, BROKEN)), (0, 1));
    let (texts, _) = of_file("a.html", &[b"<meta charset=latin1>", &latin[..]].concat());
    assert!(texts[0].contains("stairs of the caf"), "{texts:?}");
    let mut long = GzEncoder::new(Vec::new(), Compression::fast());
    long.write_all(page.as_bytes()).unwrap();
    (0..64).for_each(|_| long.write_all(&[b' '; 1 << 20]).unwrap());
    let (texts, report) = of_file("a.html.gz", &long.finish().unwrap());
    assert_eq!((texts.len(), removed(&report, BROKEN)), (0, 1), "{}", report.table());
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_row() {
    let (texts, report) = of_file("a.jsonl", "\u{feff}{\"text\": \"one\"}\n{\"text\": \"two\"}\n".as_bytes());
    assert_eq!((texts, removed(&report, BROKEN)), (vec!["one".to_owned(), "two".to_owned()], 0));
}

#[test]
fn rows_keep_a_text_under_another_key() {
    let page = format!("<html><body><article><p>{0}</p></article></body></html>", PARAGRAPH.repeat(8));
    let rows =
        format!("{}\n{}\n", json!({"body": "one", "text": "summary"}), json!({"html": page, "text": "of a page"}));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    std::fs::write(&path, rows).unwrap();
    let options = CorpusOptions { text_key: "body".to_owned(), shard: 1, ..CorpusOptions::default() };
    let (inputs, out, reporter) = ([path], folder.path().join("out"), Reporter::new(Output::Silent));
    curate(&inputs, &options, &out, &reporter).unwrap();
    let whole = kept(&out);
    assert_eq!(whole[0], json!({"body": "one", "text": "summary"}));
    assert!(whole[1]["body"].as_str().unwrap().contains("lighthouse") && whole[1]["text"] == "of a page");
    // A run that goes on reads what it wrote.
    let mut state: State = files::read_json(&out.join(STATE)).unwrap();
    state.shards.truncate(1);
    state.done = false;
    files::write_json(&out.join(STATE), &state).unwrap();
    curate(&inputs, &options, &out, &reporter).unwrap();
    assert_eq!(kept(&out), whole);
}

#[test]
fn sites_that_exclude_nothing_are_refused() {
    for (site, host) in [
        ("https://wikipedia.org", "wikipedia.org"),
        ("https://user@en.wikipedia.org:80/wiki?x", "en.wikipedia.org"),
        ("*.wikipedia.org", "wikipedia.org"),
        ("example.com/", "example.com"),
        ("example.com:80", "example.com"),
        (" example.com", "example.com"),
        ("", "wikipedia.org"),
        ("*", "wikipedia.org"),
    ] {
        let options = CorpusOptions { exclude_sites: vec![site.to_owned()], ..CorpusOptions::default() };
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains(&format!("\"{site}\"")) && error.contains(&format!("as {host}:")), "{error}");
    }
    let sites = ["wikipedia.org", ".wikipedia.org", "localhost"].map(str::to_owned).to_vec();
    assert!(CorpusOptions { exclude_sites: sites, ..CorpusOptions::default() }.check().is_ok());
}
