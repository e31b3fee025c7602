//! Labels of tokens to entities.

use std::ops::Range;

use crate::bundle::TagScheme;

/// How the tokens of a word, and words side by side, become one entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// They do not: each token that is not outside is an answer of its own, with its full label (`B-PER`). The
    /// one choice by which a word can be split.
    None,
    /// A word has the label of its first token, as models are usually trained.
    #[default]
    First,
    /// A word has the label with the highest mean probability over its tokens.
    Average,
    /// A word has the label of the token that is most certain.
    Max,
    /// As [`Aggregation::First`], and only entities whose labels follow the rules of their scheme count: in BIO
    /// one begins with `B-`, in BIOES it also ends with `E-` or is a single `S-`. The others let an entity begin
    /// with any label.
    Strict,
}

/// What a label says of a token's place in an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Begin,
    Inside,
    End,
    Single,
}

/// A label taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'a> {
    place: Place,
    kind: &'a str,
}

impl<'a> Tag<'a> {
    fn read(label: &'a str, scheme: TagScheme) -> Tag<'a> {
        let tag = |place, kind| Tag { place, kind };
        match (label.split_once('-'), scheme) {
            _ if label == "O" => tag(Place::Outside, ""),
            (Some(("B", kind)), TagScheme::Bio | TagScheme::Bioes) => tag(Place::Begin, kind),
            (Some(("I" | "M", kind)), TagScheme::Bioes) | (Some(("I", kind)), TagScheme::Bio) => {
                tag(Place::Inside, kind)
            }
            (Some(("E" | "L", kind)), TagScheme::Bioes) => tag(Place::End, kind),
            (Some(("S" | "U", kind)), TagScheme::Bioes) => tag(Place::Single, kind),
            _ => tag(Place::Inside, label),
        }
    }
}

/// An entity, or with [`Aggregation::None`] a token, that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found<'a> {
    /// Its tokens.
    pub tokens: Range<usize>,
    /// Its label, without the mark of its place if tokens were put together.
    pub label: &'a str,
    /// Mean probability of the labels of its words.
    pub score: f32,
}

/// A token or a word with the label it was given.
struct Unit<'a> {
    tokens: Range<usize>,
    tag: Tag<'a>,
    score: f32,
}

/// Finds the entities of a text. `probabilities` holds for each token a row with a value for each label; `words`
/// says for each token which word it belongs to.
pub(crate) fn decode<'a>(
    probabilities: &[f32],
    words: &[usize],
    labels: &'a [String],
    scheme: TagScheme,
    aggregation: Aggregation,
) -> Vec<Found<'a>> {
    let rows: Vec<&[f32]> = probabilities.chunks_exact(labels.len().max(1)).take(words.len()).collect();
    let label = |index: usize| labels.get(index).map_or("O", String::as_str);
    if aggregation == Aggregation::None {
        let found = rows.iter().enumerate().map(|(at, row)| {
            let (best, score) = highest(row);
            Found { tokens: at..at + 1, label: label(best), score }
        });
        return found.filter(|found| found.label != "O").collect();
    }
    let units: Vec<Unit<'a>> = word_ranges(&words[..rows.len()])
        .map(|tokens| {
            let (best, score) = word_label(&rows[tokens.clone()], aggregation);
            Unit { tokens, tag: Tag::read(label(best), scheme), score }
        })
        .collect();
    if aggregation == Aggregation::Strict { strict(&units, scheme) } else { lenient(&units) }
}

/// The tokens of each word.
pub(crate) fn word_ranges(words: &[usize]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut end = 0;
    words.chunk_by(|a, b| a == b).map(move |word| {
        let start = end;
        end += word.len();
        start..end
    })
}

/// Label and probability of the word with these tokens.
fn word_label(rows: &[&[f32]], aggregation: Aggregation) -> (usize, f32) {
    match aggregation {
        Aggregation::Average => {
            let columns = rows.first().map_or(0, |row| row.len());
            let mean = |column: usize| {
                let sum: f64 = rows.iter().map(|row| f64::from(row[column])).sum();
                (sum / rows.len() as f64) as f32
            };
            highest(&(0..columns).map(mean).collect::<Vec<_>>())
        }
        Aggregation::Max => {
            let tokens = rows.iter().map(|row| highest(row));
            tokens.reduce(|best, token| if token.1 > best.1 { token } else { best }).unwrap_or((0, 0.0))
        }
        _ => rows.first().map_or((0, 0.0), |row| highest(row)),
    }
}

/// Place and value of the first of the highest values.
fn highest(values: &[f32]) -> (usize, f32) {
    values
        .iter()
        .copied()
        .enumerate()
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .unwrap_or((0, 0.0))
}

fn join<'a>(units: &[Unit<'a>]) -> Option<Found<'a>> {
    let (first, last) = (units.first()?, units.last()?);
    let sum: f64 = units.iter().map(|unit| f64::from(unit.score)).sum();
    let score = (sum / units.len() as f64) as f32;
    Some(Found { tokens: first.tokens.start..last.tokens.end, label: first.tag.kind, score })
}

/// Entities where a label that follows no rule still belongs to one.
fn lenient<'a>(units: &[Unit<'a>]) -> Vec<Found<'a>> {
    let goes_on = |before: &Unit<'_>, next: &Unit<'_>| {
        let open = matches!(before.tag.place, Place::Begin | Place::Inside);
        open && matches!(next.tag.place, Place::Inside | Place::End) && before.tag.kind == next.tag.kind
    };
    units
        .chunk_by(goes_on)
        .filter(|units| units.first().is_some_and(|unit| unit.tag.place != Place::Outside))
        .filter_map(join)
        .collect()
}

/// Entities whose labels follow the scheme; the rest is nothing.
fn strict<'a>(units: &[Unit<'a>], scheme: TagScheme) -> Vec<Found<'a>> {
    if scheme == TagScheme::Plain {
        return lenient(units);
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(unit) = units.get(at) {
        let start = at;
        at += 1;
        let whole = match unit.tag.place {
            Place::Single => true,
            Place::Begin => {
                let same = |unit: &&Unit<'_>, place| unit.tag.place == place && unit.tag.kind == units[start].tag.kind;
                while units.get(at).is_some_and(|unit| same(&unit, Place::Inside)) {
                    at += 1;
                }
                let ended = units.get(at).is_some_and(|unit| same(&unit, Place::End));
                at += usize::from(ended);
                ended || scheme == TagScheme::Bio
            }
            _ => false,
        };
        found.extend(whole.then(|| join(&units[start..at])).flatten());
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELS: [&str; 9] = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC"];

    fn labels() -> Vec<String> {
        LABELS.map(str::to_owned).to_vec()
    }

    /// Probabilities where each token's label has 0.6 and the others share the rest.
    fn sure(tags: &[&str]) -> Vec<f32> {
        let row = |tag: &&str| LABELS.map(|label| if label == *tag { 0.6 } else { 0.05 });
        tags.iter().flat_map(row).collect()
    }

    fn spans(tags: &[&str], scheme: TagScheme, aggregation: Aggregation) -> Vec<(Range<usize>, String)> {
        let words: Vec<usize> = (0..tags.len()).collect();
        let labels = labels();
        let found = decode(&sure(tags), &words, &labels, scheme, aggregation);
        found.into_iter().map(|found| (found.tokens, found.label.to_owned())).collect()
    }

    #[test]
    fn bio() {
        use Aggregation::{First, Strict};
        use TagScheme::Bio;
        let (per, loc) = ("PER".to_owned(), "LOC".to_owned());
        let tags = ["B-PER", "I-PER", "O", "I-LOC", "I-LOC", "B-LOC", "I-PER", "B-PER", "B-PER"];
        let all = [(0..2, &per), (3..5, &loc), (5..6, &loc), (6..7, &per), (7..8, &per), (8..9, &per)];
        assert_eq!(spans(&tags, Bio, First), all.map(|(range, label)| (range, label.clone())));
        let well_formed = [(0..2, &per), (5..6, &loc), (7..8, &per), (8..9, &per)];
        assert_eq!(spans(&tags, Bio, Strict), well_formed.map(|(range, label)| (range, label.clone())));
    }

    #[test]
    fn bioes() {
        use Aggregation::{Average, Strict};
        use TagScheme::Bioes;
        let (per, loc) = ("PER".to_owned(), "LOC".to_owned());
        let tags = ["B-PER", "I-PER", "E-PER", "S-LOC", "E-LOC", "B-LOC", "I-LOC", "O", "B-PER", "E-LOC"];
        let all = [(0..3, &per), (3..4, &loc), (4..5, &loc), (5..7, &loc), (8..9, &per), (9..10, &loc)];
        assert_eq!(spans(&tags, Bioes, Average), all.map(|(range, label)| (range, label.clone())));
        let well_formed = [(0..3, &per), (3..4, &loc)];
        assert_eq!(spans(&tags, Bioes, Strict), well_formed.map(|(range, label)| (range, label.clone())));
    }

    #[test]
    fn plain_labels_are_kinds() {
        assert_eq!(Tag::read("B-PER", TagScheme::Plain), Tag { place: Place::Inside, kind: "B-PER" });
        let tags = ["B-PER", "B-PER", "I-PER", "O"];
        let expected = [(0..2, "B-PER".to_owned()), (2..3, "I-PER".to_owned())];
        assert_eq!(spans(&tags, TagScheme::Plain, Aggregation::First), expected);
        assert_eq!(spans(&tags, TagScheme::Plain, Aggregation::Strict), expected);
    }

    #[test]
    fn tokens_alone() {
        let expected = [(0..1, "B-PER".to_owned()), (2..3, "I-LOC".to_owned())];
        assert_eq!(spans(&["B-PER", "O", "I-LOC"], TagScheme::Bio, Aggregation::None), expected);
    }

    /// One word of three tokens, by each way to choose its label.
    #[test]
    fn a_word_has_one_label() {
        let labels: Vec<String> = ["O", "B-A", "B-B"].map(str::to_owned).to_vec();
        let rows = [[0.2, 0.5, 0.3], [0.0, 0.1, 0.9], [0.8, 0.15, 0.05]].concat();
        let word = |aggregation| {
            let found = decode(&rows, &[4, 4, 4], &labels, TagScheme::Bio, aggregation);
            found.into_iter().map(|found| (found.tokens, found.label, found.score)).collect::<Vec<_>>()
        };
        assert_eq!(word(Aggregation::First), [(0..3, "A", 0.5)]);
        assert_eq!(word(Aggregation::Max), [(0..3, "B", 0.9)]);
        let average = word(Aggregation::Average);
        assert_eq!((&average[0].0, average[0].1), (&(0..3), "B"));
        assert!((average[0].2 - 1.25 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn the_score_of_an_entity_is_the_mean_of_its_words() {
        let labels: Vec<String> = ["O", "B-A", "I-A"].map(str::to_owned).to_vec();
        let rows = [[0.1, 0.9, 0.0], [0.2, 0.3, 0.5]].concat();
        let found = decode(&rows, &[0, 1], &labels, TagScheme::Bio, Aggregation::First);
        assert_eq!(found.len(), 1);
        assert!((found[0].score - 0.7).abs() < 1e-6);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(decode(&[], &[], &labels(), TagScheme::Bio, Aggregation::First).is_empty());
        assert!(decode(&[0.5; 9], &[], &labels(), TagScheme::Bio, Aggregation::None).is_empty());
        assert!(decode(&[], &[0, 1], &labels(), TagScheme::Bioes, Aggregation::Strict).is_empty());
    }

    proptest! {
        #[test]
        fn entities_are_whole_words_in_order(
            tags in proptest::collection::vec((0usize..9, 1usize..4), 0..40),
            scheme in 0usize..3,
            aggregation in 0usize..4,
        ) {
            let scheme = [TagScheme::Bio, TagScheme::Bioes, TagScheme::Plain][scheme];
            let aggregation =
                [Aggregation::First, Aggregation::Average, Aggregation::Max, Aggregation::Strict][aggregation];
            let words: Vec<usize> =
                tags.iter().enumerate().flat_map(|(word, &(_, tokens))| std::iter::repeat_n(word, tokens)).collect();
            let rows: Vec<f32> =
                tags.iter().flat_map(|&(tag, tokens)| sure(&vec![LABELS[tag]; tokens])).collect();
            let labels = labels();
            let mut end = 0;
            for found in decode(&rows, &words, &labels, scheme, aggregation) {
                prop_assert!(found.tokens.start >= end && !found.tokens.is_empty());
                end = found.tokens.end;
                prop_assert!(found.tokens.start == 0 || words[found.tokens.start] != words[found.tokens.start - 1]);
                prop_assert!(end == words.len() || words[end] != words[end - 1]);
                prop_assert!(found.label != "O" && (0.0..=1.0).contains(&found.score));
            }
        }

        #[test]
        fn strict_entities_are_among_the_lenient_ones_in_bio(tags in proptest::collection::vec(0usize..9, 0..40)) {
            let tags: Vec<&str> = tags.into_iter().map(|tag| LABELS[tag]).collect();
            let lenient = spans(&tags, TagScheme::Bio, Aggregation::First);
            for entity in spans(&tags, TagScheme::Bio, Aggregation::Strict) {
                prop_assert!(lenient.contains(&entity), "{entity:?} is not in {lenient:?}");
            }
        }
    }
}
