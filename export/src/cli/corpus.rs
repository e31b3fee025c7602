use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck_export::corpus::{CorpusOptions, curate};

/// Curate text to pretrain on: filters, duplicates, test sets
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck corpus links.jsonl --min-score 3 --exclude-site wikipedia.org --language eng --min-characters 200 \
    --near-duplicates 0.8 --against lambada.jsonl --against squad.json --against-key text \
    --against-key question --out webtext\n  \
    limbeck corpus CC-MAIN-0001.warc.gz CC-MAIN-0002.warc.gz --language eng --min-characters 500 --out crawl\n\n\
    Files are JSON Lines (keys `text` or `html`, `url`, `score`), plain text (an empty line between documents), web pages, WARC and\n\
    WET, each with .gz or without. Of pages the main text is kept (Readability). The result is JSON Lines, corpus-00000.jsonl and so\n\
    on, for `pretrain` and `tokenizer train`, and report.json. A run that was stopped goes on when started again.")]
pub(super) struct Corpus {
    /// Files to read, in this order
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Folder for the result
    #[arg(long)]
    out: PathBuf,
    /// Key of the text in JSON Lines, and in the result
    #[arg(long, default_value = "text")]
    text_key: String,
    /// Key of a web page in JSON Lines, where there is no text
    #[arg(long, default_value = "html")]
    html_key: String,
    /// Key of the address in JSON Lines
    #[arg(long, default_value = "url")]
    url_key: String,
    /// Key of the votes on the link in JSON Lines
    #[arg(long, default_value = "score")]
    score_key: String,
    /// Votes at least (WebText: 3); documents without any are removed
    #[arg(long, allow_negative_numbers = true)]
    min_score: Option<f64>,
    /// Host whose pages are removed with those below it, such as wikipedia.org; may be repeated
    #[arg(long, value_name = "SITE")]
    exclude_site: Vec<String>,
    /// Characters at least
    #[arg(long, default_value_t = 1)]
    min_characters: usize,
    /// Characters at most
    #[arg(long)]
    max_characters: Option<usize>,
    /// Language that is kept, by ISO 639-3: eng, deu, cmn; may be repeated
    #[arg(long, value_name = "CODE")]
    language: Vec<String>,
    /// How sure the language must be, from 0 to 1
    #[arg(long, default_value_t = 0.0, requires = "language")]
    min_confidence: f64,
    /// Test texts: documents with 13 words in a row of theirs are removed; also JSON, CSV and TSV; may be repeated
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Key or column of the test texts, at any depth of JSON; may be repeated; default: those of the text and of a web page
    #[arg(long, value_name = "KEY", requires = "against")]
    against_key: Vec<String>,
    /// Keep documents that are there twice
    #[arg(long)]
    keep_duplicates: bool,
    /// Remove documents so like one before them, as 0.8 (estimated Jaccard similarity of runs of 5 words)
    #[arg(long, value_name = "SHARE")]
    near_duplicates: Option<f64>,
    /// Documents read for each file of the result; what a stopped run loses at most
    #[arg(long, default_value_t = 20_000)]
    shard: usize,
    /// Threads; default: all cores
    #[arg(long)]
    threads: Option<usize>,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

impl Corpus {
    pub(super) fn run(self) -> Result<ExitCode> {
        let options = CorpusOptions {
            text_key: self.text_key,
            html_key: self.html_key,
            url_key: self.url_key,
            score_key: self.score_key,
            min_score: self.min_score,
            exclude_sites: self.exclude_site,
            min_characters: self.min_characters,
            max_characters: self.max_characters,
            languages: self.language,
            min_confidence: self.min_confidence,
            against: self.against,
            against_keys: self.against_key,
            exact_duplicates: !self.keep_duplicates,
            near_duplicates: self.near_duplicates,
            shard: self.shard,
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads.unwrap_or(0)).build()?;
        let reporter = super::reporter(false);
        let report = pool.install(|| curate(&self.files, &options, &self.out, &reporter))?;
        if self.json {
            super::print_json(&report)?;
        } else {
            super::print(&format!("{}Written to {}\n", report.table(), self.out.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn how_sure_the_language_is_needs_a_language() {
        let read = |more: &[&str]| {
            let command = Corpus::augment_args(clap::Command::new("corpus"));
            let matches = command.try_get_matches_from([&["corpus", "a.jsonl", "--out", "b"], more].concat())?;
            Corpus::from_arg_matches(&matches)
        };
        let error = read(&["--min-confidence", "0.5"]).err().unwrap().to_string();
        assert!(error.contains("--language"), "{error}");
        assert!(read(&["--min-confidence", "0.5", "--language", "eng"]).is_ok() && read(&[]).is_ok());
    }
}
