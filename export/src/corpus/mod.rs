//! Curation of text to pretrain on, in the way of WebText (Radford 2019, section 2.1) and GPT-3's data (Brown 2020,
//! appendices A and C): a row of filters over documents.

mod charset;
mod extract;
mod near;
mod overlap;
mod report;
mod source;
mod test_texts;
mod warc;
mod words;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use whatlang::Lang;

use crate::data::normalised;
use crate::files;
use crate::progress::Reporter;
use near::{Fingerprint, Index, Signature};
use overlap::TestSets;
pub use report::{Amount, CorpusReport, Removed, TestTexts};
use source::{All, Content, Document};

/// What is kept. Each filter is off where it is `None`, empty or false.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorpusOptions {
    /// Key of the text in JSON Lines, of those that are read and of those that are written.
    pub text_key: String,
    /// Key of a web page, where there is no text.
    pub html_key: String,
    /// Key of the address.
    pub url_key: String,
    /// Key of the votes on the link.
    pub score_key: String,
    /// Votes at least (WebText: 3); documents without are removed.
    pub min_score: Option<f64>,
    /// Sites whose pages are removed, with what is below them: `wikipedia.org`.
    pub exclude_sites: Vec<String>,
    /// Characters at least.
    pub min_characters: usize,
    /// Characters at most.
    pub max_characters: Option<usize>,
    /// Languages that are kept, by ISO 639-3: `eng`.
    pub languages: Vec<String>,
    /// Documents of fewer votes for their language are removed too: whatlang's confidence, from 0 to 1.
    pub min_confidence: f64,
    /// Texts that must not be in the corpus: what has 13 words in a row with one of them is removed.
    pub against: Vec<PathBuf>,
    /// Keys or columns of those texts; `text_key` and `html_key` where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against_keys: Vec<String>,
    /// Documents that were kept before, but for case and spaces, are removed.
    pub exact_duplicates: bool,
    /// So are those whose sets of runs of 5 words are so alike (estimated Jaccard similarity).
    pub near_duplicates: Option<f64>,
    /// Documents read for each file of the result: also what is lost at most when a run is stopped.
    pub shard: usize,
}

impl Default for CorpusOptions {
    fn default() -> Self {
        let key = |name: &str| name.to_owned();
        Self {
            text_key: key("text"),
            html_key: key("html"),
            url_key: key("url"),
            score_key: key("score"),
            min_score: None,
            exclude_sites: Vec::new(),
            min_characters: 1,
            max_characters: None,
            languages: Vec::new(),
            min_confidence: 0.0,
            against: Vec::new(),
            against_keys: Vec::new(),
            exact_duplicates: true,
            near_duplicates: None,
            shard: 20_000,
        }
    }
}

const BROKEN: &str = "broken";
const SCORE: &str = "score";
const SITE: &str = "site";
const NO_MAIN_TEXT: &str = "no main text";
const LENGTH: &str = "length";
const LANGUAGE: &str = "language";
const TEST_SETS: &str = "test sets";
const DUPLICATE: &str = "duplicate";
const NEAR_DUPLICATE: &str = "near-duplicate";
const FILTERS: [&str; 9] = [BROKEN, SCORE, SITE, NO_MAIN_TEXT, LENGTH, LANGUAGE, TEST_SETS, DUPLICATE, NEAR_DUPLICATE];

/// Documents that are looked at side by side: what is held in memory of the texts.
const AT_A_TIME: usize = 512;
const STATE: &str = "corpus.json";

impl CorpusOptions {
    fn check(&self) -> Result<Vec<Lang>> {
        ensure!(self.shard > 0, "a file of the result must have at least 1 document");
        ensure!(
            self.near_duplicates.is_none_or(|share| (0.3..=1.0).contains(&share)),
            "near-duplicates must be from 0.3 to 1, as 0.8 is"
        );
        ensure!((0.0..=1.0).contains(&self.min_confidence), "the confidence must be from 0 to 1");
        ensure!(
            self.max_characters.is_none_or(|most| most >= self.min_characters),
            "the most characters are fewer than the least"
        );
        self.exclude_sites.iter().try_for_each(|site| check_site(site))?;
        let language = |code: &String| {
            Lang::from_code(code.as_str())
                .with_context(|| format!("language \"{code}\" is not known; use ISO 639-3, such as eng, deu or cmn"))
        };
        ensure!(
            self.against_keys.is_empty() || !self.against.is_empty(),
            "keys of test texts are named, but no files of them"
        );
        self.languages.iter().map(language).collect()
    }

    fn keys_of_test_texts(&self) -> Vec<&str> {
        match self.against_keys.is_empty() {
            true => vec![&self.text_key, &self.html_key],
            false => self.against_keys.iter().map(String::as_str).collect(),
        }
    }
}

/// A document that passed the filters that look at it alone.
struct Passed {
    id: String,
    text: String,
    row: serde_json::Map<String, Value>,
    read: usize,
    fingerprint: Fingerprint,
    signature: Option<Signature>,
}

/// What the filters of single documents made of one: kept, or which one removed it and how long it was.
type Verdict = std::result::Result<Passed, (&'static str, String, usize)>;

struct Filters<'a> {
    options: &'a CorpusOptions,
    languages: Vec<Lang>,
    test_sets: TestSets,
}

impl Filters<'_> {
    /// Cheap filters look first.
    fn judge(&self, document: Document) -> Verdict {
        let Document { id, content, url, score, row } = document;
        let options = self.options;
        let (content, page) = match content {
            Content::Text(text) => (text, false),
            Content::Html(page) => (page, true),
            Content::Broken(reason) => return Err((BROKEN, format!("{id} ({reason})"), 0)),
        };
        let read = content.len();
        let removed = |filter| Err((filter, id.clone(), read));
        // A score that is not there is none.
        if options.min_score.is_some_and(|least| score.is_none_or(|own| own.is_nan() || own < least)) {
            return removed(SCORE);
        }
        if let Some(url) = &url
            && options.exclude_sites.iter().any(|site| is_of_site(url, site))
        {
            return removed(SITE);
        }
        let text = if page { extract::main_text(&content) } else { Some(content) };
        let Some(text) = text else { return removed(NO_MAIN_TEXT) };
        let characters = text.trim().chars().count();
        if characters < options.min_characters.max(1) || options.max_characters.is_some_and(|most| characters > most) {
            return removed(LENGTH);
        }
        if !self.languages.is_empty() {
            let found = whatlang::detect(&text);
            let fits = |found: &whatlang::Info| {
                self.languages.contains(&found.lang()) && found.confidence() >= options.min_confidence
            };
            if !found.as_ref().is_some_and(fits) {
                return removed(LANGUAGE);
            }
        }
        if self.test_sets.meets(&text) {
            return removed(TEST_SETS);
        }
        let normal = normalised(&text);
        let fingerprint = near::fingerprint(&normal);
        let signature = options.near_duplicates.map(|_| near::signature(&normal));
        Ok(Passed { id, text, row, read, fingerprint, signature })
    }
}

/// # Errors
/// What is no host, and so would exclude nothing.
fn check_site(site: &str) -> Result<()> {
    let host = host(site.trim()).trim_start_matches(['*', '.']);
    ensure!(
        !host.is_empty() && !site.contains(|c: char| matches!(c, '/' | ':' | '*') || c.is_whitespace()),
        "--exclude-site \"{site}\" excludes nothing; write the host alone, as {}: what is below it is excluded too",
        if host.is_empty() { "wikipedia.org" } else { host }
    );
    Ok(())
}

/// The host of an address.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default().trim_end_matches('.')
}

/// Whether an address is of a site or one below it.
fn is_of_site(url: &str, site: &str) -> bool {
    let (host, site) = (host(url).to_ascii_lowercase(), site.trim_start_matches('.').to_ascii_lowercase());
    host == site || host.strip_suffix(&site).is_some_and(|before| before.ends_with('.'))
}

/// What was kept so far, to tell what comes again. A document costs 20 to 40 bytes, and where near-duplicates are looked
/// for what [`Index`] says more.
struct Kept {
    exact: Option<HashSet<Fingerprint>>,
    near: Option<Index>,
}

impl Kept {
    fn new(options: &CorpusOptions) -> Self {
        Self { exact: options.exact_duplicates.then(HashSet::new), near: options.near_duplicates.map(Index::new) }
    }

    /// Which filter removes a document; it is remembered where none does.
    fn judge(&mut self, fingerprint: Fingerprint, signature: Option<&Signature>) -> Option<&'static str> {
        if self.exact.as_ref().is_some_and(|seen| seen.contains(&fingerprint)) {
            return Some(DUPLICATE);
        }
        if let Some((near, signature)) = self.near.as_mut().zip(signature) {
            if near.has_alike(signature) {
                return Some(NEAR_DUPLICATE);
            }
            near.add(signature.clone());
        }
        if let Some(exact) = &mut self.exact {
            exact.insert(fingerprint);
        }
        None
    }
}

/// How far a curation has come, in `corpus.json`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Hash of options and files.
    identity: String,
    /// Reports of the files of the result that are whole.
    shards: Vec<CorpusReport>,
    /// Of test sets.
    #[serde(default)]
    test_texts: Option<TestTexts>,
    /// Whether all is read.
    done: bool,
}

/// Reads `inputs` and writes what passes to `out`: `corpus-00000.jsonl` and so on, rows as they came, those of pages with
/// the text under `text_key` in place of the page; `report.json`. Documents are judged side by side, but what is kept does
/// not depend on how many threads there are. A run that was stopped goes on after the last file that is whole.
///
/// # Errors
/// Files that cannot be read or written; options that cannot be; a folder that holds another corpus.
pub fn curate(inputs: &[PathBuf], options: &CorpusOptions, out: &Path, reporter: &Reporter) -> Result<CorpusReport> {
    let languages = options.check()?;
    ensure!(!inputs.is_empty(), "no files to read");
    let identity = identity(inputs, options)?;
    let _lock = files::lock_folder(out)?;
    let state_path = out.join(STATE);
    let mut state = State { identity: identity.clone(), shards: Vec::new(), test_texts: None, done: false };
    if state_path.is_file() {
        state = files::read_json(&state_path)?;
        ensure!(
            state.identity == identity,
            "{} holds another corpus, made from other files or with other options; give another --out, or remove it",
            out.display()
        );
    }
    let total = |state: &State| state.shards.iter().fold(CorpusReport::new(&FILTERS), |all, part| all.with(part));
    // Also of one that is done: it may have been stopped before this was written.
    let reported = |state: &State| -> Result<CorpusReport> {
        let report = CorpusReport { test_texts: state.test_texts, ..total(state) };
        files::write_json(&out.join("report.json"), &json!({"schema": 1, "options": options, "report": report}))?;
        Ok(report)
    };
    if state.done {
        reporter.note(&format!("Done before: {}", out.display()));
        return reported(&state);
    }
    let filters = Filters { options, languages, test_sets: TestSets::read(&options.against, options)? };
    state.test_texts = (!options.against.is_empty()).then_some(filters.test_sets.counted);
    let mut kept = Kept::new(options);
    let mut documents = All::new(inputs, options);
    resume(&state, &mut documents, &mut kept, out, reporter)?;
    let bar = reporter.bar("corpus", inputs_bytes(inputs), 0);
    let mut bytes = 0u64;
    loop {
        let number = state.shards.len();
        let mut report = CorpusReport::new(&FILTERS);
        let (mut read, mut ended) = (0, false);
        files::write_atomic(&shard_path(out, number), |file| {
            while read < options.shard && !ended {
                let wanted = AT_A_TIME.min(options.shard - read);
                let some = documents.take(wanted)?;
                ended = some.len() < wanted;
                read += some.len();
                let verdicts: Vec<Verdict> = some.into_par_iter().map(|document| filters.judge(document)).collect();
                for verdict in verdicts {
                    bytes += write(verdict, &options.text_key, &mut kept, &mut report, file)?;
                }
                bar.advance(
                    bytes.min(inputs_bytes(inputs)),
                    &format!("{} documents", total(&state).read.documents + report.read.documents),
                );
            }
            Ok(())
        })?;
        if report.kept.documents == 0 {
            // Other verbs take an empty file for a mistake.
            let path = shard_path(out, number);
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        state.done = ended;
        state.shards.push(report);
        files::write_json(&state_path, &state)?;
        if ended {
            break;
        }
    }
    bar.finish();
    reported(&state)
}

/// Judges a document among the others and writes it where it stays. How many bytes were read for it.
fn write(
    verdict: Verdict,
    text_key: &str,
    kept: &mut Kept,
    report: &mut CorpusReport,
    file: &mut impl Write,
) -> Result<u64> {
    let (filter, id, bytes) = match verdict {
        Err(removed) => removed,
        Ok(mut passed) => match kept.judge(passed.fingerprint, passed.signature.as_ref()) {
            Some(filter) => (filter, passed.id, passed.read),
            None => {
                report.read.add(passed.read);
                report.kept.add(passed.text.len());
                passed.row.insert(text_key.to_owned(), Value::String(passed.text));
                serde_json::to_writer(&mut *file, &passed.row)?;
                file.write_all(b"\n")?;
                return Ok(passed.read as u64);
            }
        },
    };
    report.read.add(bytes);
    report.remove(filter, id, bytes);
    Ok(bytes as u64)
}

/// Passes over what was read before and remembers what was kept of it.
fn resume(state: &State, documents: &mut All, kept: &mut Kept, out: &Path, reporter: &Reporter) -> Result<()> {
    let read: u64 = state.shards.iter().map(|shard| shard.read.documents).sum();
    if read > 0 {
        reporter.note(&format!("Going on after {read} documents"));
    }
    let mut left = read;
    while left > 0 {
        let some = documents.take(AT_A_TIME.min(left as usize))?.len() as u64;
        ensure!(some > 0, "the files have become shorter; remove {} and start again", out.display());
        left -= some;
    }
    for (number, _) in state.shards.iter().enumerate().filter(|(_, shard)| shard.kept.documents > 0) {
        let paths = [shard_path(out, number)];
        let mut shard = All::new(&paths, documents.options);
        loop {
            let some = shard.take(AT_A_TIME)?;
            if some.is_empty() {
                break;
            }
            let own: Vec<_> = some
                .into_par_iter()
                .map(|document| match document.content {
                    Content::Text(text) => {
                        let normal = normalised(&text);
                        Ok((near::fingerprint(&normal), near::signature(&normal)))
                    }
                    _ => Err(document.id),
                })
                .collect();
            for document in own {
                let (fingerprint, signature) = document
                    .map_err(|id| anyhow::anyhow!("{id} is damaged; remove {} and start again", out.display()))?;
                if let Some(exact) = &mut kept.exact {
                    exact.insert(fingerprint);
                }
                if let Some(near) = &mut kept.near {
                    near.add(signature);
                }
            }
        }
    }
    Ok(())
}

fn shard_path(out: &Path, number: usize) -> PathBuf {
    out.join(format!("corpus-{number:05}.jsonl"))
}

fn inputs_bytes(inputs: &[PathBuf]) -> u64 {
    inputs.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum()
}

/// Of what decides the result. Inputs count by name and length: they may be too long to be read twice.
fn identity(inputs: &[PathBuf], options: &CorpusOptions) -> Result<String> {
    let file = |path: &PathBuf| -> Result<(String, u64)> {
        let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        Ok((path.display().to_string(), length))
    };
    let inputs = inputs.iter().map(file).collect::<Result<Vec<_>>>()?;
    let against = options.against.iter().map(|path| files::sha256_file(path)).collect::<Result<Vec<_>>>()?;
    Ok(files::sha256_hex(&serde_json::to_vec(&(inputs, options, against))?))
}

#[cfg(test)]
mod tests;
