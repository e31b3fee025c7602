//! Plain text for distillation without labels: which lines of a corpus are worth reading, and long ones in windows.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokenizers::ModelWrapper;

use super::encode::{library, wide};
use super::{EncodedExample, Encoder, Target};

/// Which sequences of a corpus are used. The defaults are those of DistilBERT's `lm_seqs_dataset.py`: of more than 11
/// tokens, of which less than half are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorpusFilter {
    /// Sequences with fewer tokens, special tokens included, are left out.
    pub min_tokens: usize,
    /// The share of unknown tokens must be below this.
    pub unknown_below: f64,
    /// A line longer than the model reads is cut into windows of as many tokens as fit between special tokens; else it
    /// loses its end.
    pub windows: bool,
}

impl Default for CorpusFilter {
    fn default() -> Self {
        Self { min_tokens: 12, unknown_below: 0.5, windows: true }
    }
}

/// How many lines of a corpus went where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorpusCount {
    /// Lines read.
    pub lines: usize,
    /// Lines longer than the model reads.
    pub long: usize,
    /// Sequences that were left out because they are short.
    pub short: usize,
    /// Sequences that were left out because too much of them is unknown.
    pub unknown: usize,
    /// Sequences that are used.
    pub used: usize,
}

impl CorpusCount {
    /// Of two parts of a corpus.
    pub fn with(self, other: Self) -> Self {
        Self {
            lines: self.lines + other.lines,
            long: self.long + other.long,
            short: self.short + other.short,
            unknown: self.unknown + other.unknown,
            used: self.used + other.used,
        }
    }
}

impl Encoder {
    /// The token for what the vocabulary does not have, where there is one.
    pub fn unknown(&self) -> Option<i64> {
        let tokenizer = self.tokenizer();
        let id = |token: &str| tokenizer.token_to_id(token).map(i64::from);
        match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => id(&model.unk_token),
            ModelWrapper::WordLevel(model) => id(&model.unk_token),
            ModelWrapper::BPE(model) => model.unk_token.as_deref().and_then(id),
            // The library keeps a Unigram's to itself.
            ModelWrapper::Unigram(_) => id("<unk>").or_else(|| id("[UNK]")),
        }
    }

    /// Tokens that are no text, and the unknown one: what is never masked.
    pub fn special_tokens(&self) -> Vec<i64> {
        let added = self.tokenizer().get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| i64::from(id));
        special.chain(self.unknown()).collect()
    }

    /// Whether another encoder gives tokens the same numbers.
    pub fn same_vocabulary(&self, other: &Self) -> bool {
        self.tokenizer().get_vocab(true) == other.tokenizer().get_vocab(true)
    }

    /// Encodes plain lines; targets are class 0 and mean nothing.
    ///
    /// # Errors
    /// A line that cannot be tokenized; special tokens that leave no room for a text.
    pub fn encode_corpus(&self, lines: &[String], filter: &CorpusFilter) -> Result<(Vec<EncodedExample>, CorpusCount)> {
        let unknown = self.unknown();
        let mut count = CorpusCount { lines: lines.len(), ..CorpusCount::default() };
        let mut examples = Vec::new();
        for line in lines {
            let tokens = self.tokenizer().encode(line.as_str(), true).map_err(library).context("the corpus")?;
            let (ids, special) = (wide(tokens.get_ids()), tokens.get_special_tokens_mask());
            let before = special.iter().take_while(|&&special| special == 1).count();
            let after = special[before..].iter().rev().take_while(|&&special| special == 1).count();
            let (start, rest) = ids.split_at(before);
            let (content, end) = rest.split_at(rest.len() - after);
            let room = self.max_tokens().saturating_sub(before + after);
            ensure!(room > 0, "special tokens leave no room for a text in max_tokens {}", self.max_tokens());
            count.long += usize::from(content.len() > room);
            let windows = if filter.windows { usize::MAX } else { 1 };
            for window in content.chunks(room).take(windows) {
                let ids = [start, window, end].concat();
                let share = ids.iter().filter(|&&id| Some(id) == unknown).count() as f64 / ids.len() as f64;
                if ids.len() < filter.min_tokens {
                    count.short += 1;
                } else if share >= filter.unknown_below {
                    count.unknown += 1;
                } else {
                    examples.push(EncodedExample::new(ids, Target::Class(0)));
                }
            }
            // A line of which the tokenizer leaves nothing.
            count.short += usize::from(content.is_empty());
        }
        count.used = examples.len();
        Ok((examples, count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::tests::encoder;
    use super::*;

    fn read(max_tokens: usize, lines: &[&str], filter: CorpusFilter) -> (Vec<Vec<i64>>, CorpusCount) {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let (examples, count) = encoder(max_tokens).encode_corpus(&lines, &filter).unwrap();
        (examples.into_iter().map(|example| example.ids).collect(), count)
    }

    #[test]
    fn long_lines_become_windows() {
        let filter = CorpusFilter { min_tokens: 4, ..CorpusFilter::default() };
        let (ids, count) = read(5, &["who ran far in oslo", "zoe", ""], filter);
        assert_eq!(ids, [vec![2, 4, 5, 13, 3], vec![2, 8, 9, 3]]);
        assert_eq!(count, CorpusCount { lines: 3, long: 1, short: 2, unknown: 0, used: 2 });
        let (ids, count) = read(5, &["who ran far in oslo"], CorpusFilter { windows: false, ..filter });
        assert_eq!((ids, count.long), (vec![vec![2, 4, 5, 13, 3]], 1));
    }

    #[test]
    fn short_and_unknown_sequences_are_left_out() {
        // 12 tokens with the special ones, and 11.
        let (twelve, eleven) = ("who ".repeat(10), "who ".repeat(9));
        // 6 of 12 unknown, and 5.
        let (half, less) = ("who ".repeat(4) + &"what ".repeat(6), "who ".repeat(5) + &"what ".repeat(5));
        let (ids, count) = read(32, &[&twelve, &eleven, &half, &less], CorpusFilter::default());
        assert_eq!(ids.iter().map(|ids| ids.iter().filter(|&&id| id == 1).count()).collect::<Vec<_>>(), [0, 5]);
        assert_eq!(count, CorpusCount { lines: 4, long: 0, short: 1, unknown: 1, used: 2 });
        let all = CorpusFilter { min_tokens: 0, unknown_below: 2.0, windows: true };
        assert_eq!(read(32, &[&twelve, &eleven, &half, &less], all).1.used, 4);
    }

    #[test]
    fn vocabularies_are_compared() {
        let own = encoder(8);
        assert_eq!((own.unknown(), own.special_tokens()), (Some(1), vec![1]));
        assert!(own.same_vocabulary(&encoder(16)));
    }
}
