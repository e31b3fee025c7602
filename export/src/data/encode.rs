//! Text to token ids for training, with the bundle's own tokenizer.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use super::{Example, Question, TaggedText, Target, labels_of, some_labels};
use crate::objective::IGNORED;

/// A tokenized example.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedExample {
    /// Token ids with special tokens, at most the encoder's maximum.
    pub ids: Vec<i64>,
    /// Token types, where two texts are read together; else empty.
    pub types: Vec<i64>,
    /// The ids of the second text, where each is read by itself; else empty.
    pub partner: Vec<i64>,
    /// What is right.
    pub target: Target,
}

impl EncodedExample {
    /// One text.
    pub fn new(ids: Vec<i64>, target: Target) -> Self {
        Self { ids, types: Vec::new(), partner: Vec::new(), target }
    }
}

/// Tokenized examples and what did not fit.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    /// In the order of the input.
    pub examples: Vec<EncodedExample>,
    /// Texts longer than the maximum.
    pub truncated: usize,
    /// Tokens that were cut from them.
    pub tokens_dropped: usize,
}

/// A tokenizer with a fixed maximum length.
pub struct Encoder {
    tokenizer: Tokenizer,
    max_tokens: usize,
    /// The same that cuts pairs, made where the first one is too long: a copy for each would take longer than the text.
    cutting_pairs: OnceLock<Tokenizer>,
}

pub(super) fn library(error: tokenizers::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

pub(super) fn wide(ids: &[u32]) -> Vec<i64> {
    ids.iter().map(|&id| i64::from(id)).collect()
}

/// The tag of one of the words that the tokenizer sees in a word of the file; none where it is the file's. An entity that
/// ends with the word ends with its last one.
fn tag_of_piece(tag: &str, place: usize, of: usize) -> Option<String> {
    let (prefix, kind) = tag.split_once('-').filter(|_| of > 1)?;
    let (first, last) = (place == 0, place + 1 == of);
    let prefix = match prefix {
        "S" if first => "B",
        "S" | "E" if last => "E",
        _ if first && prefix != "E" => return None,
        _ => "I",
    };
    Some(format!("{prefix}-{kind}"))
}

/// The index of a label.
fn index_of(labels: &[String], label: &str, source: &str) -> Result<usize> {
    labels
        .iter()
        .position(|l| l == label)
        .with_context(|| format!("{source}: label \"{label}\" is not among the model's: {}", some_labels(labels)))
}

impl Encoder {
    /// Reads `tokenizer.json`; its own truncation and padding are switched off.
    ///
    /// # Errors
    /// An unreadable tokenizer, or one whose ids do not fit a model of `vocab_size`.
    pub fn new(tokenizer: &Path, max_tokens: usize, vocab_size: usize) -> Result<Self> {
        let path = tokenizer.display();
        let mut tokenizer = Tokenizer::from_file(tokenizer).map_err(library).with_context(|| {
            format!("{path} is not a tokenizer that HF tokenizers {} reads", crate::TOKENIZERS_VERSION)
        })?;
        tokenizer.with_truncation(None).map_err(library)?;
        tokenizer.with_padding(None);
        let highest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if highest >= vocab_size {
            bail!("{path} has token id {highest}, but the model's vocabulary ends at {}", vocab_size - 1);
        }
        Ok(Self { tokenizer, max_tokens, cutting_pairs: OnceLock::new() })
    }

    /// Longest text in tokens, special tokens included.
    pub(super) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokenizer, which neither truncates nor pads.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Encodes examples of which each has one label, among `labels`.
    pub fn encode(&self, examples: &[Example], labels: &[String]) -> Result<Encoding> {
        self.texts(examples, |example| Ok(Target::Class(index_of(labels, &example.label, &example.source)?)))
    }

    /// Encodes examples of which each has any number of labels, among `labels`.
    pub fn encode_several(&self, examples: &[Example], labels: &[String]) -> Result<Encoding> {
        self.texts(examples, |example| {
            let mut holds = vec![0.0; labels.len()];
            for label in labels_of(&example.label) {
                holds[index_of(labels, label, &example.source)?] = 1.0;
            }
            Ok(Target::Labels(holds))
        })
    }

    /// Encodes examples whose label is a number.
    pub fn encode_values(&self, examples: &[Example]) -> Result<Encoding> {
        self.texts(examples, |example| Ok(Target::Value(example.value()? as f32)))
    }

    /// Encodes pairs of texts, each by itself, with their similarity: from 0 to `highest` in the file, to 1 here.
    pub fn encode_apart(&self, examples: &[Example], highest: f64) -> Result<Encoding> {
        let mut encoding = Encoding::default();
        for example in examples {
            let second = example.pair.as_deref().with_context(|| format!("{}: no second text", example.source))?;
            let mut encoded = EncodedExample::new(vec![], Target::Value((example.value()? / highest) as f32));
            encoded.ids = self.one(&example.text, &example.source, &mut encoding)?;
            encoded.partner = self.one(second, &example.source, &mut encoding)?;
            encoding.examples.push(encoded);
        }
        Ok(encoding)
    }

    fn texts(&self, examples: &[Example], target: impl Fn(&Example) -> Result<Target>) -> Result<Encoding> {
        let mut encoding = Encoding::default();
        for example in examples {
            let target = target(example)?;
            let encoded = match &example.pair {
                None => EncodedExample::new(self.one(&example.text, &example.source, &mut encoding)?, target),
                Some(second) => self.two(&example.text, second, target, &mut encoding)?,
            };
            encoding.examples.push(encoded);
        }
        Ok(encoding)
    }

    /// Encodes texts alone; targets are class 0 and mean nothing. Second texts are read with the first, or `apart`.
    ///
    /// # Errors
    /// A text that cannot be tokenized.
    pub fn encode_texts(&self, texts: &[(&str, Option<&str>)], apart: bool) -> Result<Encoding> {
        const NONE: Target = Target::Class(0);
        let mut encoding = Encoding::default();
        for (index, &(text, second)) in texts.iter().enumerate() {
            let source = format!("text {}", index + 1);
            let encoded = match second {
                Some(second) if !apart => self.two(text, second, NONE, &mut encoding)?,
                _ => {
                    let ids = self.one(text, &source, &mut encoding)?;
                    let partner = second.map(|second| self.one(second, &source, &mut encoding)).transpose()?;
                    EncodedExample { partner: partner.unwrap_or_default(), ..EncodedExample::new(ids, NONE) }
                }
            };
            encoding.examples.push(encoded);
        }
        Ok(encoding)
    }

    /// One text; the closing special token stays.
    fn one(&self, text: &str, source: &str, encoding: &mut Encoding) -> Result<Vec<i64>> {
        let tokens = self.tokenizer.encode(text, true).map_err(library);
        let mut ids = wide(tokens.with_context(|| format!("{source}: cannot tokenize"))?.get_ids());
        if ids.len() > self.max_tokens {
            encoding.truncated += 1;
            encoding.tokens_dropped += ids.len() - self.max_tokens;
            let last = ids[ids.len() - 1];
            ids.truncate(self.max_tokens);
            ids[self.max_tokens - 1] = last;
        }
        Ok(ids)
    }

    /// Two texts read together, cut longest first.
    fn two(&self, first: &str, second: &str, target: Target, encoding: &mut Encoding) -> Result<EncodedExample> {
        let mut tokens = self.tokenizer.encode((first, second), true).map_err(library)?;
        if tokens.len() > self.max_tokens {
            encoding.truncated += 1;
            encoding.tokens_dropped += tokens.len() - self.max_tokens;
            let cutting = match self.cutting_pairs.get() {
                Some(made) => made,
                None => {
                    let made = self.cutting(TruncationStrategy::LongestFirst, 0)?;
                    self.cutting_pairs.get_or_init(|| made)
                }
            };
            tokens = cutting.encode((first, second), true).map_err(library)?;
        }
        Ok(EncodedExample { types: wide(tokens.get_type_ids()), ..EncodedExample::new(wide(tokens.get_ids()), target) })
    }

    fn cutting(&self, strategy: TruncationStrategy, stride: usize) -> Result<Tokenizer> {
        let mut tokenizer = self.tokenizer.clone();
        let direction = TruncationDirection::Right;
        let truncation = TruncationParams { max_length: self.max_tokens, strategy, stride, direction };
        tokenizer.with_truncation(Some(truncation)).map_err(library)?;
        Ok(tokenizer)
    }

    /// Encodes tagged texts. The first token of a word carries its tag. Where the tokenizer sees several words in one
    /// word of the file, the first token of each further one goes on with the entity, and the last one's ends it where the
    /// word does (`S-X` is then `B-X` ... `E-X`). Other tokens carry none, as those whose tag the labels lack.
    pub fn encode_tagged(&self, texts: &[TaggedText], labels: &[String]) -> Result<Encoding> {
        let mut encoding = Encoding::default();
        for text in texts {
            let tokens = self.tokenizer.encode(text.text.as_str(), true).map_err(library)?;
            let mut ids = wide(tokens.get_ids());
            let mut targets = vec![IGNORED; ids.len()];
            // Of each word of the file, the first tokens of the words that the tokenizer sees in it.
            let mut firsts: Vec<Vec<usize>> = vec![Vec::new(); text.words.len()];
            let (mut word, mut last) = (0, None);
            for (token, (&(start, end), piece)) in tokens.get_offsets().iter().zip(tokens.get_word_ids()).enumerate() {
                if start == end || piece.is_none() {
                    continue;
                }
                while text.words.get(word).is_some_and(|w| w.end <= start) {
                    word += 1;
                }
                let Some(own) = firsts.get_mut(word) else { break };
                if last != Some((word, *piece)) {
                    own.push(token);
                }
                last = Some((word, *piece));
            }
            for (own, tokens) in text.words.iter().zip(&firsts) {
                for (place, &token) in tokens.iter().enumerate() {
                    let known = |tag: String| labels.iter().position(|label| *label == tag);
                    targets[token] = match tag_of_piece(&own.tag, place, tokens.len()).map(known) {
                        Some(Some(index)) => index as i64,
                        Some(None) if place > 0 => IGNORED,
                        _ => index_of(labels, &own.tag, &text.source)? as i64,
                    };
                }
            }
            if ids.len() > self.max_tokens {
                encoding.truncated += 1;
                encoding.tokens_dropped += ids.len() - self.max_tokens;
                let last = ids[ids.len() - 1];
                ids.truncate(self.max_tokens);
                targets.truncate(self.max_tokens);
                ids[self.max_tokens - 1] = last;
                targets[self.max_tokens - 1] = IGNORED;
            }
            encoding.examples.push(EncodedExample::new(ids, Target::Tokens(targets)));
        }
        Ok(encoding)
    }

    /// Encodes questions with windows of their texts that overlap by `stride` tokens. A window that does not hold the
    /// whole answer has the first token as answer, which stands for none (Devlin 2019, section 4.3).
    ///
    /// # Errors
    /// A question that leaves no room for a text.
    pub fn encode_questions(&self, questions: &[Question], stride: usize) -> Result<Encoding> {
        let examples = self.question_windows(questions, stride)?.into_iter().flatten().collect();
        Ok(Encoding { examples, ..Encoding::default() })
    }

    /// [`Self::encode_questions`], each question's windows by themselves.
    pub(crate) fn question_windows(&self, questions: &[Question], stride: usize) -> Result<Vec<Vec<EncodedExample>>> {
        let cutting = self.cutting(TruncationStrategy::OnlySecond, stride)?;
        let mut all = Vec::with_capacity(questions.len());
        for question in questions {
            let mut windows = Vec::new();
            let own = self.tokenizer.encode(question.question.as_str(), false).map_err(library)?.len();
            // Two or three special tokens, the overlap, and at least one token to go on.
            ensure!(
                own + stride + 5 <= self.max_tokens,
                "question {}: {own} tokens, which with an overlap of {stride} leave no room for the text in {}; raise \
                 --max-tokens or lower --stride (in a recipe max_tokens and stride)",
                question.id,
                self.max_tokens
            );
            let tokens = (question.question.as_str(), question.context.as_str());
            let first = cutting.encode(tokens, true).map_err(library)?;
            for window in std::iter::once(&first).chain(first.get_overflowing()) {
                let sequences = window.get_sequence_ids();
                let at = |wanted: usize, side: fn(&(usize, usize)) -> usize| {
                    window.get_offsets().iter().zip(&sequences).position(|(range, sequence)| {
                        *sequence == Some(1) && side(range) == wanted && range.0 < range.1
                    })
                };
                let cover = |byte: usize| {
                    window
                        .get_offsets()
                        .iter()
                        .zip(&sequences)
                        .position(|(range, sequence)| *sequence == Some(1) && range.0 <= byte && byte < range.1)
                };
                let found = question.answers.first().and_then(|&(start, end)| {
                    let first = at(start, |range| range.0).or_else(|| cover(start))?;
                    let last = at(end, |range| range.1).or_else(|| cover(end - 1))?;
                    (first <= last).then_some((first, last))
                });
                let (start, end) = found.unwrap_or((0, 0));
                let target = Target::Span { start, end };
                let types = wide(window.get_type_ids());
                windows.push(EncodedExample { types, ..EncodedExample::new(wide(window.get_ids()), target) });
            }
            all.push(windows);
        }
        Ok(all)
    }
}

#[cfg(test)]
pub(super) mod tests;
