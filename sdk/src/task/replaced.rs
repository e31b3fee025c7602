//! Which tokens of a text were put there in place of others.

use std::ops::Range;
use std::time::Instant;

use serde::Serialize;

use super::options::{Usage, call_options};
use super::reading::{Detail, Reading, read_one, require};
use super::rows::{self, Outcome};
use crate::bundle::{Activation, Task};
use crate::post::entities::word_ranges;
use crate::post::softmax::calibrated;
use crate::text::{Encoded, TextSpan, locate, whole_clusters};
use crate::{Aggregation, Cancel, Error, Model, Overflow, Result};

/// Options of a call that looks for replaced tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplacedOptions {
    /// How tokens become spans. Default: [`Aggregation::Max`], a word is as suspicious as the most suspicious of its
    /// tokens. [`Aggregation::Average`] takes the mean over them. With [`Aggregation::None`] spans are runs of
    /// neighbouring tokens, which may begin and end inside of words. The others speak of labels, and are refused.
    pub aggregation: Aggregation,
    /// The lowest probability at which a word, or a token, becomes a span. Default 0.5.
    pub threshold: f32,
    /// What to do with a text that is too long. Default: windows. Every word is read from the window that holds all of
    /// it and shows most of the text around it.
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl Default for ReplacedOptions {
    fn default() -> Self {
        ReplacedOptions {
            aggregation: Aggregation::Max,
            threshold: 0.5,
            overflow: Overflow::AutoWindow,
            cancel: None,
            deadline: None,
        }
    }
}

call_options!(ReplacedOptions);

impl ReplacedOptions {
    /// Sets how tokens become spans.
    pub fn aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = aggregation;
        self
    }
    /// Makes spans from this probability on.
    pub fn threshold(mut self, threshold: f32) -> Self {
        self.threshold = threshold;
        self
    }

    fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Error::InvalidArgument(format!("threshold is {} and must be from 0 to 1", self.threshold)));
        }
        match self.aggregation {
            Aggregation::Max | Aggregation::Average | Aggregation::None => Ok(()),
            Aggregation::First | Aggregation::Strict => Err(Error::InvalidArgument(
                "replaced tokens have no labels: the aggregation must be max, average or none".to_owned(),
            )),
        }
    }
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Replacements {
    /// What was likely replaced, in the order of the text; spans do not overlap. A word, or with
    /// [`Aggregation::None`] a run of tokens, with its probability; of a run that is the mean over its tokens.
    pub spans: Vec<Replaced>,
    /// Every token that was read, in the order of the text, without special tokens that the tokenizer adds.
    pub tokens: Vec<Replaced>,
    /// What was read and how long it took.
    #[serde(flatten)]
    pub usage: Usage,
}

/// A piece of the text, with how likely it was replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Replaced {
    /// How likely something else stood here.
    pub probability: f32,
    /// Where it stands. A word never cuts through what a reader sees as one character; a token may.
    pub span: TextSpan,
    /// The piece itself.
    pub text: String,
}

impl Model {
    /// Says of each token of a text how likely it was put there in place of another, with the default options, by a
    /// model that learned to tell a generator's guesses from the words of a text (the discriminator of Clark et al.
    /// 2020, section 2). Serves to find typing errors and corruption.
    ///
    /// # Errors
    /// Those of [`replaced_with`](Model::replaced_with).
    pub fn replaced(&self, text: &str) -> Result<Replacements> {
        self.replaced_with(text, &ReplacedOptions::default())
    }

    /// Says of each token of a text how likely it was put there in place of another.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model finds no replaced tokens; [`Error::InvalidArgument`] for options that make no
    /// sense; else those of [`classify_with`](Model::classify_with).
    pub fn replaced_with(&self, text: &str, options: &ReplacedOptions) -> Result<Replacements> {
        super::only(self.replaced_batch(&[text], options)?)
    }

    /// Looks for replaced tokens in many texts; answers come in the order of the texts.
    ///
    /// # Errors
    /// Those of [`replaced_with`](Model::replaced_with); the first error ends the whole call.
    pub fn replaced_batch(&self, texts: &[&str], options: &ReplacedOptions) -> Result<Vec<Replacements>> {
        require(self, &[Task::Replaced], "replaced")?;
        options.check()?;
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = texts
            .iter()
            .map(|text| read_one(self, text, Detail::Words, options.overflow, &limits, &mut rows))
            .collect::<Result<Vec<_>>>()?;
        let outcomes = rows::run(self, &rows, &limits, |_, output| Ok(output.values(0).to_vec()))?;
        readings.iter().zip(texts).map(|(reading, text)| self.replacements(text, reading, &outcomes, options)).collect()
    }

    fn replacements(
        &self,
        text: &str,
        reading: &Reading,
        outcomes: &[Outcome<Vec<f32>>],
        options: &ReplacedOptions,
    ) -> Result<Replacements> {
        let mut usage = reading.usage;
        let outcomes = outcomes.get(reading.rows.clone()).unwrap_or_default();
        usage.timings.inference = rows::time_of(outcomes);
        let start = Instant::now();

        let tokens = &reading.texts[0];
        let by_token = reading.by_token(self, outcomes, 1)?;
        let logits: Vec<f32> = by_token.into_iter().flatten().copied().collect();
        let probabilities = calibrated(Activation::Sigmoid, &logits, self.bundle().calibration().temperature);
        let each = probabilities.iter().enumerate().map(|(at, &value)| (tokens.bytes_of(at..at + 1), value)).collect();
        let found = spans(text, tokens, &probabilities, options);
        let (spans, tokens) = (pieces(text, found), pieces(text, each));
        usage.timings.post = start.elapsed();
        Ok(Replacements { spans, tokens, usage })
    }
}

/// The bytes of the words, or runs of tokens, whose probability is high enough; in order, without overlap.
/// `probabilities` are those of the first tokens.
fn spans(text: &str, tokens: &Encoded, probabilities: &[f32], options: &ReplacedOptions) -> Vec<(Range<usize>, f32)> {
    let mean = |values: &[f32]| {
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        (sum / values.len().max(1) as f64) as f32
    };
    let passes = |value: f32| value >= options.threshold;
    let mut found: Vec<(Range<usize>, f32)> = Vec::new();
    // What the tokenizer takes for two words, or cuts into tokens, may be one character to a reader.
    let add = |found: &mut Vec<(Range<usize>, f32)>, bytes: Range<usize>, probability: f32| match found.last_mut() {
        Some((before, most)) if bytes.start < before.end => {
            before.end = before.end.max(bytes.end);
            *most = most.max(probability);
        }
        _ => found.push((bytes, probability)),
    };
    if options.aggregation == Aggregation::None {
        let mut end = 0;
        for run in probabilities.chunk_by(|&a, &b| passes(a) == passes(b)) {
            let start = end;
            end += run.len();
            if run.first().is_some_and(|&value| passes(value)) {
                let bytes = tokens.bytes_of(start..end);
                if !bytes.is_empty() {
                    add(&mut found, bytes, mean(run));
                }
            }
        }
        return found;
    }
    for word in word_ranges(tokens.words.get(..probabilities.len()).unwrap_or_default()) {
        let of_word = probabilities.get(word.clone()).unwrap_or_default();
        let probability = match options.aggregation {
            Aggregation::Average => mean(of_word),
            _ => of_word.iter().copied().fold(0.0, f32::max),
        };
        let bytes = whole_clusters(text, tokens.bytes_of(word));
        if !passes(probability) || bytes.is_empty() {
            continue;
        }
        add(&mut found, bytes, probability);
    }
    found
}

fn pieces(text: &str, found: Vec<(Range<usize>, f32)>) -> Vec<Replaced> {
    let (ranges, probabilities): (Vec<Range<usize>>, Vec<f32>) = found.into_iter().unzip();
    let located = locate(text, &ranges).into_iter().zip(probabilities);
    located.map(|(span, probability)| Replaced { probability, text: span.of(text).to_owned(), span }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    /// Tokens over a text, each with the number of its word.
    fn encoded(tokens: &[(Range<usize>, usize)]) -> Encoded {
        Encoded {
            ids: vec![0; tokens.len()],
            offsets: tokens.iter().map(|(bytes, _)| bytes.clone()).collect(),
            words: tokens.iter().map(|(_, word)| *word).collect(),
        }
    }

    fn found(aggregation: Aggregation, threshold: f32) -> Vec<(Range<usize>, f32)> {
        let text = "the batt ery 🙂 fi lm";
        let tokens = encoded(&[(0..3, 0), (4..8, 1), (8..12, 1), (13..17, 2), (18..20, 3), (20..23, 3)]);
        let options = ReplacedOptions::new().aggregation(aggregation).threshold(threshold);
        spans(text, &tokens, &[0.25, 0.125, 0.875, 0.5, 0.75, 0.25], &options)
    }

    #[test]
    fn words_and_runs_of_tokens() {
        assert_eq!(found(Aggregation::Max, 0.5), [(4..12, 0.875), (13..17, 0.5), (18..23, 0.75)]);
        assert_eq!(found(Aggregation::Average, 0.5), [(4..12, 0.5), (13..17, 0.5), (18..23, 0.5)]);
        assert_eq!(found(Aggregation::Average, 0.51), []);
        assert_eq!(found(Aggregation::None, 0.5), [(8..20, (0.875 + 0.5 + 0.75) / 3.0)]);
        assert_eq!(found(Aggregation::None, 0.8), [(8..12, 0.875)]);
        assert_eq!(found(Aggregation::Max, 1.0), []);
        // Everything, each character once.
        assert_eq!(found(Aggregation::Max, 0.0).len(), 4);
        assert_eq!(found(Aggregation::None, 0.0).len(), 1);
    }

    #[test]
    fn two_words_of_one_character_are_one_span() {
        // A letter and its accent, apart for the tokenizer.
        let text = "e\u{301} a";
        let tokens = encoded(&[(0..1, 0), (1..3, 1), (4..5, 2)]);
        let options = ReplacedOptions::new();
        assert_eq!(spans(text, &tokens, &[0.6, 0.9, 0.1], &options), [(0..3, 0.9)]);
        assert_eq!(spans(text, &tokens, &[0.1, 0.9, 0.1], &options), [(0..3, 0.9)]);
        // Tokens without text, and tokens that were not read.
        let tokens = encoded(&[(0..0, 0), (0..3, 1), (4..5, 2)]);
        assert_eq!(spans(text, &tokens, &[0.9, 0.7], &options), [(0..3, 0.7)]);
        let tokenwise = ReplacedOptions::new().aggregation(Aggregation::None);
        assert_eq!(spans(text, &tokens, &[0.9], &tokenwise), []);
        assert_eq!(spans("", &Encoded::default(), &[], &options), []);
        // Bytes of one character, each with the place of all of it.
        let tokens = encoded(&[(0..4, 0), (0..4, 0), (0..4, 0), (4..5, 1)]);
        assert_eq!(spans("🙂a", &tokens, &[0.9, 0.1, 0.7, 0.1], &tokenwise), [(0..4, 0.9)]);
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        ReplacedOptions::new().check().unwrap();
        for bad in [
            ReplacedOptions::new().threshold(-0.1),
            ReplacedOptions::new().threshold(f32::NAN),
            ReplacedOptions::new().aggregation(Aggregation::First),
            ReplacedOptions::new().aggregation(Aggregation::Strict),
        ] {
            assert!(matches!(bad.check(), Err(Error::InvalidArgument(_))), "{bad:?}");
        }
    }

    proptest! {
        /// Any text, cut into tokens at any characters: spans are in order, apart, and whole clusters; the piece is the
        /// same in all three units.
        #[test]
        fn spans_are_apart_and_whole(
            text in "(\\PC|[\u{300}-\u{36f}]|\u{200d}|[🙂👩🏽🇩🇪]|e\u{301}| ){0,24}",
            cuts in proptest::collection::vec((any::<bool>(), any::<bool>(), 0f32..1.0), 0..200),
            threshold in 0f32..1.0,
            mean in any::<bool>(),
        ) {
            let mut tokens: Vec<(Range<usize>, usize)> = Vec::new();
            let mut probabilities: Vec<f32> = Vec::new();
            for (i, (start, c)) in text.char_indices().enumerate() {
                let end = start + c.len_utf8();
                let (joins, same_word, value) = cuts.get(i).copied().unwrap_or((false, false, 0.5));
                match tokens.last_mut() {
                    Some((bytes, _)) if joins => bytes.end = end,
                    last => {
                        let word = last.map_or(0, |(_, word)| *word + usize::from(!same_word));
                        tokens.push((start..end, word));
                        probabilities.push(value);
                    }
                }
            }
            let aggregation = if mean { Aggregation::Average } else { Aggregation::Max };
            let options = ReplacedOptions::new().aggregation(aggregation).threshold(threshold);
            let borders: Vec<usize> =
                text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
            let mut end = 0;
            let of_text = pieces(&text, spans(&text, &encoded(&tokens), &probabilities, &options));
            for piece in &of_text {
                let TextSpan { bytes, utf16, chars } = &piece.span;
                prop_assert!(bytes.start >= end && bytes.start < bytes.end);
                end = bytes.end;
                prop_assert!(borders.contains(&bytes.start) && borders.contains(&bytes.end));
                prop_assert!(piece.probability >= threshold);
                let units: Vec<u16> = text.encode_utf16().collect();
                prop_assert_eq!(&String::from_utf16(&units[utf16.clone()]).unwrap(), &piece.text);
                let scalars: Vec<char> = text.chars().collect();
                prop_assert_eq!(&scalars[chars.clone()].iter().collect::<String>(), &piece.text);
                prop_assert_eq!(&text[bytes.clone()], &piece.text);
            }
            // Nothing that passes is missing.
            for (word, value) in tokens.iter().zip(&probabilities) {
                if !mean && *value >= threshold {
                    let holds = |piece: &Replaced| {
                        piece.span.bytes.start <= word.0.start && word.0.end <= piece.span.bytes.end
                    };
                    prop_assert!(of_text.iter().any(holds));
                }
            }
            // Runs of tokens are apart too, and hold exactly the tokens that pass.
            let runs = spans(&text, &encoded(&tokens), &probabilities, &options.aggregation(Aggregation::None));
            for ((bytes, _), value) in tokens.iter().zip(&probabilities) {
                let inside = runs.iter().any(|(run, _)| run.start <= bytes.start && bytes.end <= run.end);
                prop_assert_eq!(inside, *value >= threshold);
            }
        }
    }
}
