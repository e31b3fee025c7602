//! What a tokenizer makes of the texts, measured once for all that is said of it.

use std::collections::HashMap;

use anyhow::Result;
use tokenizers::{EncodeInput, Encoding, ModelWrapper, Tokenizer};

use super::models::{Models, Opened};
use super::{Findings, Late};
use crate::data::{Encoder, Goal, Rows, Target};
use crate::pipeline::PreparedData;
use crate::progress::Reporter;
use crate::recipe::Recipe;

/// Texts that are tokenized at a time, on all cores.
const CHUNK: usize = 512;

/// The name of the set without labels.
pub(super) const UNLABELLED: &str = "unlabelled";

/// What one tokenizer makes of the sets.
pub(super) struct Measured {
    /// Hash of the tokenizer's file.
    pub tokenizer: String,
    /// The first model that has it.
    pub model: String,
    /// train, dev, test, and the texts without labels if there are some.
    pub sets: Vec<Set>,
}

/// One set in tokens.
#[derive(Default)]
pub(super) struct Set {
    pub name: &'static str,
    /// Tokens of each text, or of two that are read together, special tokens included, before anything is cut.
    pub whole: Vec<usize>,
    /// Tokens of each sequence that a model gets.
    pub seen: Vec<usize>,
    pub tokens: usize,
    pub unknown: usize,
    /// How often each unknown word occurs.
    pub unknown_words: HashMap<String, usize>,
    /// Whether second texts are marked by another token type.
    pub types: bool,
    /// Of tagged texts.
    pub words: usize,
    pub cut_words: usize,
    /// Of questions: windows of each, how many have an answer, and how many of these stand whole in no window.
    pub windows: Vec<usize>,
    pub answered: usize,
    pub lost: usize,
}

pub(super) fn measure(
    recipe: &Recipe,
    data: &PreparedData,
    unlabelled: Option<&Rows>,
    models: &Models,
    reporter: &Reporter,
    findings: &mut Findings,
) -> Vec<Measured> {
    let mut all: Vec<Measured> = Vec::new();
    let labelled = [("train", &data.split.train), ("dev", &data.split.dev), ("test", &data.split.test)];
    let parts: Vec<_> = labelled.into_iter().chain(unlabelled.map(|rows| (UNLABELLED, rows))).collect();
    for opened in models.all() {
        let Some(encoder) = &opened.encoder else { continue };
        if all.iter().any(|known| known.tokenizer == opened.tokenizer) {
            continue;
        }
        let mut sets = Vec::new();
        for &(name, rows) in &parts {
            match one(name, rows, recipe, data.goal, encoder, reporter) {
                Ok(set) => sets.push(set),
                Err(error) => findings.problem(format!("{name}, tokenizer of {}: {error:#}", opened.name)),
            }
        }
        if sets.len() == parts.len() {
            all.push(Measured { tokenizer: opened.tokenizer.clone(), model: opened.name.clone(), sets });
        }
    }
    all
}

/// What was measured of a model's tokenizer.
pub(super) fn of<'a>(texts: &'a [Measured], opened: &Opened) -> Option<&'a Measured> {
    texts.iter().find(|measured| measured.tokenizer == opened.tokenizer)
}

fn one(
    name: &'static str,
    rows: &Rows,
    recipe: &Recipe,
    goal: Goal,
    encoder: &Encoder,
    reporter: &Reporter,
) -> Result<Set> {
    let mut set = Set { name, ..Set::default() };
    let tokenizer = encoder.tokenizer();
    let unknown = unknown_id(tokenizer);
    let texts = rows.reads(goal);
    let bar = Late::new(reporter, "tokens", texts.len());
    for (chunk, first) in texts.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        let wanted: Vec<EncodeInput> = chunk
            .iter()
            .map(|(text, pair)| match pair {
                None => EncodeInput::from(*text),
                Some(pair) => EncodeInput::from((*text, *pair)),
            })
            .collect();
        let encoded = tokenizer.encode_batch(wanted, true).map_err(|error| anyhow::anyhow!("{error}"))?;
        for (index, (tokens, texts)) in encoded.iter().zip(chunk).enumerate() {
            set.add(tokens, *texts, unknown, recipe.max_tokens);
            if let Rows::Tagged(rows) = rows {
                let text = &rows[first + index];
                set.words += text.words.len();
                if tokens.len() > recipe.max_tokens {
                    // The last place is the closing special token's.
                    let cut = tokens.get_offsets()[recipe.max_tokens - 1].0;
                    set.cut_words += text.words.iter().filter(|word| word.start >= cut).count();
                }
            }
        }
        bar.advance(first + chunk.len());
    }
    if let Rows::Questions(questions) = rows {
        set.seen.clear();
        let bar = Late::new(reporter, "windows", questions.len());
        let mut done = 0;
        for chunk in questions.chunks(CHUNK) {
            for (question, windows) in chunk.iter().zip(encoder.question_windows(chunk, recipe.stride)?) {
                set.windows.push(windows.len());
                set.seen.extend(windows.iter().map(|window| window.ids.len()));
                set.answered += usize::from(!question.answers.is_empty());
                let none = |target: &Target| matches!(target, Target::Span { start: 0, .. });
                let lost = !question.answers.is_empty() && windows.iter().all(|window| none(&window.target));
                set.lost += usize::from(lost);
            }
            done += chunk.len();
            bar.advance(done);
        }
    }
    Ok(set)
}

impl Set {
    fn add(&mut self, tokens: &Encoding, texts: (&str, Option<&str>), unknown: Option<u32>, max_tokens: usize) {
        self.whole.push(tokens.len());
        self.seen.push(tokens.len().min(max_tokens));
        self.tokens += tokens.len();
        self.types |= tokens.get_type_ids().iter().any(|id| *id > 0);
        let Some(unknown) = unknown else { return };
        if !tokens.get_ids().contains(&unknown) {
            return;
        }
        let sequences = tokens.get_sequence_ids();
        for (place, _) in tokens.get_ids().iter().enumerate().filter(|(_, id)| **id == unknown) {
            self.unknown += 1;
            let text = if sequences[place] == Some(1) { texts.1.unwrap_or_default() } else { texts.0 };
            let (start, end) = tokens.get_offsets()[place];
            if let Some(word) = text.get(start..end) {
                *self.unknown_words.entry(word.to_owned()).or_default() += 1;
            }
        }
    }
}

/// The id that stands for words outside the vocabulary, if a tokenizer has one.
pub(super) fn unknown_id(tokenizer: &Tokenizer) -> Option<u32> {
    match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::WordLevel(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::BPE(model) => model.unk_token.as_ref().and_then(|token| tokenizer.token_to_id(token)),
        // Its field is private; the usual name is looked up.
        ModelWrapper::Unigram(_) => tokenizer.token_to_id("<unk>").or_else(|| tokenizer.token_to_id("[UNK]")),
    }
}
