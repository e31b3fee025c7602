//! Tokenizers: unknown words, case, special tokens, token types, and whether student and teachers cut texts alike.

use std::collections::HashMap;

use super::models::{Models, Opened};
use super::texts::{Measured, of};
use super::{Findings, percent};
use crate::arch::Family;
use crate::data::{Goal, Rows};
use crate::pipeline::PreparedData;
use crate::recipe::{LossTerm, Recipe, Texts};

/// From this share of unknown tokens on, a vocabulary does not fit.
const MANY_UNKNOWN: f64 = 0.01;
/// A tokenizer with fewer of a model's tokens than this is probably another model's.
const MOST_ROWS: f64 = 0.9;

/// `by_case` rows have the text of another, in other case, with another label.
pub(super) fn check(
    recipe: &Recipe,
    data: &PreparedData,
    models: &Models,
    texts: &[Measured],
    by_case: usize,
    findings: &mut Findings,
) {
    let mut seen: Vec<&str> = Vec::new();
    for opened in models.all() {
        if !seen.contains(&opened.tokenizer.as_str()) {
            seen.push(&opened.tokenizer);
            unknown(opened, texts, findings);
            case(opened, data, by_case, findings);
        }
        special(opened, findings);
    }
    types(models, data, texts, findings);
    alike(recipe, data.goal, models, texts, findings);
}

fn unknown(opened: &Opened, texts: &[Measured], findings: &mut Findings) {
    let Some(measured) = of(texts, opened) else { return };
    for set in &measured.sets {
        findings.weigh(set.unknown, set.tokens, MANY_UNKNOWN, || {
            let mut words: Vec<(&String, &usize)> = set.unknown_words.iter().collect();
            words.sort_by_key(|(word, count)| (std::cmp::Reverse(**count), *word));
            let first: Vec<String> = words.iter().take(5).map(|(word, count)| format!("\"{word}\" {count}")).collect();
            let fix = match set.unknown as f64 >= set.tokens as f64 * MANY_UNKNOWN {
                true => "; take a model whose vocabulary has them",
                false => "",
            };
            format!(
                "{}, tokenizer of {}: {} of {} tokens ({}) are unknown words, the commonest {}{fix}",
                set.name,
                opened.name,
                set.unknown,
                set.tokens,
                percent(set.unknown, set.tokens),
                first.join(", ")
            )
        });
    }
}

/// Whether a tokenizer takes capitals away.
fn lowers(opened: &Opened) -> bool {
    let Some(encoder) = &opened.encoder else { return false };
    let ids = |text: &str| encoder.tokenizer().encode(text, false).map(|tokens| tokens.get_ids().to_vec()).ok();
    // Of words that are unknown either way nothing could be told.
    ["Paris", "A", "The"].iter().all(|word| ids(word).is_some() && ids(word) == ids(&word.to_lowercase()))
}

fn case(opened: &Opened, data: &PreparedData, by_case: usize, findings: &mut Findings) {
    if !lowers(opened) {
        return;
    }
    if by_case > 0 {
        findings.fact(format!(
            "hint: {by_case} rows differ from another with another label by case alone, which the tokenizer of {} takes \
             away; a cased model could tell them apart",
            opened.name
        ));
    }
    let Rows::Tagged(rows) = &data.split.train else { return };
    // Entities begin with a capital, other words do not.
    let (mut inside, mut outside) = ((0, 0), (0, 0));
    for text in rows {
        for word in &text.words {
            let capital = text.text[word.start..word.end].chars().next().is_some_and(char::is_uppercase);
            let counts = if word.tag == "O" { &mut outside } else { &mut inside };
            counts.0 += usize::from(capital);
            counts.1 += 1;
        }
    }
    let share = |(capitals, words): (usize, usize)| capitals as f64 / f64::max(words as f64, 1.0);
    if share(inside) > 0.6 && share(outside) < 0.4 {
        findings.fact(format!(
            "hint: {} of the words in entities begin with a capital and {} of the others, but the tokenizer of {} takes \
             case away; a cased model has it easier",
            percent(inside.0, inside.1),
            percent(outside.0, outside.1),
            opened.name
        ));
    }
}

fn special(opened: &Opened, findings: &mut Findings) {
    let Some(encoder) = &opened.encoder else { return };
    let (tokenizer, name, config) = (encoder.tokenizer(), &opened.name, &opened.config);
    let ids =
        |special: bool| tokenizer.encode("a", special).map(|tokens| tokens.get_ids().to_vec()).unwrap_or_default();
    let (bare, whole) = (ids(false), ids(true));
    let around = whole.len() > bare.len() + 1 && whole.first() != bare.first() && whole.last() != bare.last();
    if !around && config.family != Family::Gpt2 {
        findings.problem(format!(
            "tokenizer of {name}: it does not put a special token before and after a text, which a {} was trained with; \
             give tokenizer.json the post-processor of the model",
            config.family.name()
        ));
    }
    // Some vocabularies hold both names.
    let pads: Vec<u32> = ["[PAD]", "<pad>"].iter().filter_map(|token| tokenizer.token_to_id(token)).collect();
    if let Some(pad) = pads.first().filter(|_| pads.iter().all(|pad| *pad as usize != config.pad_id)) {
        findings.warning(format!(
            "tokenizer of {name}: its padding token is {pad}, the model's {} (pad_token_id of config.json); is it this \
             model's tokenizer?",
            config.pad_id
        ));
    }
    let size = tokenizer.get_vocab_size(true);
    if (size as f64) < config.vocab_size as f64 * MOST_ROWS {
        findings.warning(format!(
            "tokenizer of {name}: it has {size} tokens, the model {} rows for them; is it this model's tokenizer?",
            config.vocab_size
        ));
    }
}

/// Whether two texts that are read together can be told apart.
fn types(models: &Models, data: &PreparedData, texts: &[Measured], findings: &mut Findings) {
    let together = match &data.split.train {
        Rows::Texts(rows) => !matches!(data.goal, Goal::Similarity { .. }) && rows.iter().any(|row| row.pair.is_some()),
        Rows::Tagged(_) => false,
        Rows::Questions(_) => true,
    };
    if !together {
        return;
    }
    for opened in models.all() {
        let marked = of(texts, opened).is_some_and(|measured| measured.sets.iter().any(|set| set.types));
        if !opened.types() {
            findings.fact(format!(
                "{} has no token types: only the special tokens between them tell it where the second text begins",
                opened.name
            ));
        } else if !marked && of(texts, opened).is_some() {
            findings.warning(format!(
                "tokenizer of {}: it gives both texts of a pair the same token type, but the model has types; give the \
                 pair of tokenizer.json's post-processor type_id 1 for the second text",
                opened.name
            ));
        }
    }
    let Some(origin) = models.origin() else { return };
    for teacher in models.teachers.iter().filter(|teacher| teacher.types() && !origin.types()) {
        findings.warning(format!(
            "{} reads token types, and the student, made from {}, has none: it must learn without them where the second \
             text begins",
            teacher.name, origin.name
        ));
    }
}

/// Losses that compare token with token need the same tokens.
fn alike(recipe: &Recipe, goal: Goal, models: &Models, texts: &[Measured], findings: &mut Findings) {
    let Some(origin) = models.origin() else { return };
    let Some(own) = of(texts, origin) else { return };
    for (index, teacher) in models.teachers.iter().enumerate() {
        let Some(other) = of(texts, teacher) else { continue };
        let differ: HashMap<&str, bool> =
            own.sets.iter().zip(&other.sets).map(|(own, other)| (own.name, own.seen != other.seen)).collect();
        // Test is read by the student alone.
        if !differ.iter().any(|(&set, &differs)| differs && set != "test") {
            continue;
        }
        // Of further teachers only the answers are learned.
        let by_token = |term: &LossTerm| {
            (index == 0 && term.reads_layers())
                || (matches!(goal, Goal::Tags | Goal::Answers) && term.reads_head() && term.name() != "labels")
        };
        let broken: Vec<String> = recipe
            .stages
            .iter()
            // Those on a corpus are compared by its lines.
            .filter(|stage| stage.on != Texts::Corpus)
            .flat_map(|stage| {
                stage
                    .losses
                    .iter()
                    .filter(|term| by_token(term))
                    .map(|term| format!("{} ({})", term.name(), stage.name))
            })
            .collect();
        let what = format!(
            "the tokenizer of {} cuts texts into other tokens than the student's ({})",
            teacher.name, origin.name
        );
        if broken.is_empty() {
            findings.fact(format!("{what}; the recipe's losses compare whole texts and do not mind"));
        } else {
            findings.problem(format!(
                "{what}, so that these losses have nothing to compare: {}; leave them out, or give the student the \
                 teacher's tokenizer",
                broken.join(", ")
            ));
        }
    }
}
