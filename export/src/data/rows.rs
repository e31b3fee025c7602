//! Labelled data of any task.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use anyhow::{Result, bail};
use rand::SeedableRng;

use super::split::{normalised, split_by_text, split_examples};
use super::{
    Encoder, Encoding, Example, Fractions, Goal, Question, Schema, Split, SplitReport, TaggedText, distinct_labels,
    distinct_of_several, hold_out, labels_of, read_examples, read_questions, read_tagged,
};

/// Tagged texts with other names for tags (`B-PERS`) or kinds (`PERS`). When some are given, tags that have none are an error.
fn renamed(mut texts: Vec<TaggedText>, rename: &BTreeMap<String, String>) -> Result<Vec<TaggedText>> {
    if rename.is_empty() {
        return Ok(texts);
    }
    for text in &mut texts {
        for word in text.words.iter_mut().filter(|word| word.tag != "O") {
            let (prefix, kind) = word.tag.split_once('-').unwrap_or(("", &word.tag));
            word.tag = match (rename.get(&word.tag), rename.get(kind)) {
                (Some(tag), _) if super::tagged::is_tag(tag) => tag.clone(),
                (Some(tag), _) => {
                    bail!("\"{tag}\", the new name of \"{}\", is no tag: O, B-X, I-X, E-X or S-X", word.tag)
                }
                (None, Some(kind)) => format!("{prefix}-{kind}"),
                (None, None) => {
                    let known: Vec<&str> = rename.keys().map(String::as_str).collect();
                    bail!(
                        "{}: the tag \"{}\" has no new name; there are some for {}",
                        text.source,
                        word.tag,
                        known.join(", ")
                    )
                }
            };
        }
    }
    Ok(texts)
}

/// The rows of a file.
#[derive(Clone, Debug)]
pub enum Rows {
    /// Texts, or pairs of texts, with labels or numbers.
    Texts(Vec<Example>),
    /// Texts whose words are tagged.
    Tagged(Vec<TaggedText>),
    /// Questions about texts.
    Questions(Vec<Question>),
}

impl Rows {
    /// Reads a file in the format that the goal needs: CoNLL for tags, SQuAD's for answers, else by `schema`.
    ///
    /// # Errors
    /// Those of the reader, with file and line.
    pub fn read(path: &Path, goal: Goal, schema: &Schema) -> Result<Rows> {
        Ok(match goal {
            Goal::Tags => Rows::Tagged(renamed(read_tagged(path)?, &schema.rename)?),
            Goal::Answers => Rows::Questions(read_questions(path)?),
            _ => Rows::Texts(read_examples(path, schema)?),
        })
    }

    /// The rows of several files together; none where there are no files.
    ///
    /// # Errors
    /// The first that could not be read.
    pub(crate) fn joined(files: impl IntoIterator<Item = Result<Rows>>) -> Result<Option<Rows>> {
        files.into_iter().try_fold(None, |all: Option<Rows>, rows| match all {
            None => rows.map(Some),
            Some(mut all) => {
                all.extend(rows?);
                Ok(Some(all))
            }
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Rows::Texts(rows) => rows.len(),
            Rows::Tagged(rows) => rows.len(),
            Rows::Questions(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most so many rows, drawn without replacement, the same each time: files are often sorted, or go round their
    /// labels.
    pub(crate) fn sample(&self, most: usize) -> Rows {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        let mut places = rand::seq::index::sample(&mut rng, self.len(), most.min(self.len())).into_vec();
        places.sort_unstable();
        let places = places.into_iter();
        match self {
            Rows::Texts(rows) => Rows::Texts(places.map(|place| rows[place].clone()).collect()),
            Rows::Tagged(rows) => Rows::Tagged(places.map(|place| rows[place].clone()).collect()),
            Rows::Questions(rows) => Rows::Questions(places.map(|place| rows[place].clone()).collect()),
        }
    }

    /// The rows without the first ones.
    pub(crate) fn after(&self, first: usize) -> Rows {
        match self {
            Rows::Texts(rows) => Rows::Texts(rows[first..].to_vec()),
            Rows::Tagged(rows) => Rows::Tagged(rows[first..].to_vec()),
            Rows::Questions(rows) => Rows::Questions(rows[first..].to_vec()),
        }
    }

    /// Takes about a `share` of the rows away for dev, the same on any machine. Rows about the same text stay together, and
    /// those with a label that no other row has are trained on.
    pub(crate) fn hold_out_known(self, share: f64, goal: Goal) -> (Rows, Rows) {
        let (mut train, dev) = self.hold_out(share);
        let dev = train.take_unknown(dev, goal);
        (train, dev)
    }

    /// Takes the rows of another set whose label these rows lack, and those about the same text; gives the others.
    fn take_unknown(&mut self, others: Rows, goal: Goal) -> Rows {
        fn part<T: Clone>(
            own: &mut Vec<T>,
            others: Vec<T>,
            labels: impl Fn(&T) -> Vec<String>,
            text: impl Fn(&T) -> &str,
        ) -> Vec<T> {
            let known: HashSet<String> = own.iter().flat_map(&labels).collect();
            let lacking = others.iter().filter(|row| labels(row).iter().any(|label| !known.contains(label)));
            let texts: HashSet<String> = lacking.map(|row| normalised(text(row))).collect();
            let (taken, left): (Vec<T>, Vec<T>) =
                others.into_iter().partition(|row| texts.contains(&normalised(text(row))));
            own.extend(taken);
            left
        }
        match (self, others) {
            (Rows::Texts(own), Rows::Texts(others)) if matches!(goal, Goal::Class | Goal::Labels) => {
                let labels = |row: &Example| match goal {
                    Goal::Labels => labels_of(&row.label).map(str::to_owned).collect(),
                    _ => vec![row.label.clone()],
                };
                Rows::Texts(part(own, others, labels, |row| &row.text))
            }
            (Rows::Tagged(own), Rows::Tagged(others)) => {
                let tags = |row: &TaggedText| row.words.iter().map(|word| word.tag.clone()).collect();
                Rows::Tagged(part(own, others, tags, |row| &row.text))
            }
            (_, others) => others,
        }
    }

    fn hold_out(self, share: f64) -> (Rows, Rows) {
        match self {
            Rows::Texts(rows) => both(hold_out(rows, |row| &row.text, share), Rows::Texts),
            Rows::Tagged(rows) => both(hold_out(rows, |row| &row.text, share), Rows::Tagged),
            Rows::Questions(rows) => both(hold_out(rows, |row| &row.context, share), Rows::Questions),
        }
    }

    /// Three disjoint sets, the same on any machine. Of texts with one label the shares hold in each file and label, and
    /// duplicates and contradictions are dropped; of other rows those about the same text stay together.
    ///
    /// # Errors
    /// Impossible shares, or a set that would be empty.
    pub fn split(self, goal: Goal, fractions: Fractions) -> Result<(Split, SplitReport)> {
        fractions.check()?;
        let (mut duplicates_dropped, mut contradictions_dropped) = (0, 0);
        let [train, dev, test] = match self {
            Rows::Texts(rows) if goal == Goal::Class => {
                let sets = split_examples(rows, fractions);
                (duplicates_dropped, contradictions_dropped) = (sets.duplicates, sets.contradictions);
                [sets.train, sets.dev, sets.test].map(Rows::Texts)
            }
            Rows::Texts(rows) => split_by_text(rows, |row| &row.text, fractions).map(Rows::Texts),
            Rows::Tagged(rows) => split_by_text(rows, |row| &row.text, fractions).map(Rows::Tagged),
            Rows::Questions(rows) => split_by_text(rows, |row| &row.context, fractions).map(Rows::Questions),
        };
        let mut train = train;
        let [dev, test] = [dev, test].map(|set| train.take_unknown(set, goal));
        let split = Split { train, dev, test };
        let report = SplitReport { duplicates_dropped, contradictions_dropped, ..split.sizes()? };
        Ok((split, report))
    }

    /// Appends rows of the same kind; rows of another kind are left out.
    pub(crate) fn extend(&mut self, other: Rows) {
        match (self, other) {
            (Rows::Texts(all), Rows::Texts(more)) => all.extend(more),
            (Rows::Tagged(all), Rows::Tagged(more)) => all.extend(more),
            (Rows::Questions(all), Rows::Questions(more)) => all.extend(more),
            _ => {}
        }
    }

    /// Drops the rows whose text, or pair of texts, is also in `other`; returns how many.
    pub(crate) fn drop_seen_in(&mut self, other: &Rows) -> usize {
        let seen: HashSet<String> = other.keys().into_iter().collect();
        self.keep(|key| !seen.contains(&key))
    }

    /// Drops the rows whose text, or pair of texts, came before; returns how many.
    pub(crate) fn drop_repeated(&mut self) -> usize {
        let mut seen = HashSet::new();
        self.keep(|key| seen.insert(key))
    }

    /// Drops the rows whose key is not to be kept; returns how many.
    fn keep(&mut self, wanted: impl FnMut(String) -> bool) -> usize {
        let mut fresh = self.keys().into_iter().map(wanted);
        let before = self.len();
        let mut keep = || fresh.next().unwrap_or(true);
        match self {
            Rows::Texts(rows) => rows.retain(|_| keep()),
            Rows::Tagged(rows) => rows.retain(|_| keep()),
            Rows::Questions(rows) => rows.retain(|_| keep()),
        }
        before - self.len()
    }

    /// The texts of each row as a model reads them: one, or two together.
    pub(crate) fn texts(&self) -> Vec<(&str, Option<&str>)> {
        match self {
            Rows::Texts(rows) => rows.iter().map(|row| (row.text.as_str(), row.pair.as_deref())).collect(),
            Rows::Tagged(rows) => rows.iter().map(|row| (row.text.as_str(), None)).collect(),
            Rows::Questions(rows) => {
                rows.iter().map(|row| (row.question.as_str(), Some(row.context.as_str()))).collect()
            }
        }
    }

    /// Each text by itself, second texts after their first.
    pub(crate) fn each_text(&self) -> impl Iterator<Item = &str> {
        self.texts().into_iter().flat_map(|(text, second)| [Some(text), second]).flatten()
    }

    /// What a model of a goal reads at a time: as [`Self::texts`]; of embeddings each text by itself.
    pub(crate) fn reads(&self, goal: Goal) -> Vec<(&str, Option<&str>)> {
        match goal {
            Goal::Similarity { .. } => self.each_text().map(|text| (text, None)).collect(),
            _ => self.texts(),
        }
    }

    /// What makes rows the same: their texts, without regard to case and white space; of pairs, and of questions and
    /// their texts, both with a line break between.
    pub(crate) fn keys(&self) -> Vec<String> {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        match self {
            Rows::Texts(rows) => rows
                .iter()
                .map(|row| format!("{}\n{}", plain(&row.text), row.pair.as_deref().map(plain).unwrap_or_default()))
                .collect(),
            Rows::Tagged(rows) => rows.iter().map(|row| plain(&row.text)).collect(),
            Rows::Questions(rows) => {
                rows.iter().map(|row| format!("{}\n{}", plain(&row.question), plain(&row.context))).collect()
            }
        }
    }

    /// Labels in the order of the logits: sorted, and for tags `O` first.
    pub(crate) fn labels(&self, goal: Goal) -> Result<Vec<String>> {
        match (self, goal) {
            (Rows::Texts(rows), Goal::Class) => distinct_labels(rows),
            (Rows::Texts(rows), Goal::Labels) => distinct_of_several(rows),
            (Rows::Tagged(rows), _) => {
                let tags: BTreeSet<&str> =
                    rows.iter().flat_map(|row| &row.words).map(|word| word.tag.as_str()).collect();
                if tags.iter().all(|&tag| tag == "O") {
                    bail!("no word is tagged with anything but O");
                }
                let others = tags.into_iter().filter(|&tag| tag != "O");
                Ok(std::iter::once("O").chain(others).map(str::to_owned).collect())
            }
            _ => Ok(vec![]),
        }
    }

    /// Tokenized, with what the goal asks for.
    pub(crate) fn encode(&self, goal: Goal, encoder: &Encoder, labels: &[String], stride: usize) -> Result<Encoding> {
        match (self, goal) {
            (Rows::Texts(rows), Goal::Labels) => encoder.encode_several(rows, labels),
            (Rows::Texts(rows), Goal::Value) => encoder.encode_values(rows),
            (Rows::Texts(rows), Goal::Similarity { highest }) => encoder.encode_apart(rows, highest),
            (Rows::Texts(rows), _) => encoder.encode(rows, labels),
            (Rows::Tagged(rows), _) => encoder.encode_tagged(rows, labels),
            (Rows::Questions(rows), _) => encoder.encode_questions(rows, stride),
        }
    }

    /// Their texts tokenized as a model of this goal reads them; targets are class 0 and mean nothing.
    ///
    /// # Errors
    /// A text that cannot be tokenized; questions.
    pub(crate) fn encode_unlabelled(&self, goal: Goal, encoder: &Encoder) -> Result<Encoding> {
        let apart = matches!(goal, Goal::Similarity { .. });
        match self {
            Rows::Questions(_) => bail!("questions cannot be read without their answers"),
            _ => encoder.encode_texts(&self.texts(), apart),
        }
    }
}

fn both<T>((first, second): (Vec<T>, Vec<T>), rows: fn(Vec<T>) -> Rows) -> (Rows, Rows) {
    (rows(first), rows(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, label: &str) -> Example {
        Example { text: text.to_owned(), label: label.to_owned(), pair: None, source: "x".to_owned() }
    }

    /// A label that one row alone has is learned, whatever set the row's text would fall in.
    #[test]
    fn rows_with_a_label_of_their_own_are_trained_on() {
        let alone = |number: usize| text(&format!("text {number}"), &format!("label {}", number % 100));
        let rows = || Rows::Texts((0..150).map(alone).collect());
        let (train, dev) = rows().hold_out_known(0.3, Goal::Class);
        let labels = |rows: &Rows| -> HashSet<String> {
            let Rows::Texts(rows) = rows else { unreachable!() };
            rows.iter().map(|row| row.label.clone()).collect()
        };
        assert_eq!((labels(&train).len(), train.len() + dev.len()), (100, 150));
        assert!(!dev.is_empty() && labels(&dev).is_subset(&labels(&train)));
        let fractions = Fractions { dev: 0.2, test: 0.2 };
        let (Split { train, dev, test }, _) = rows().split(Goal::Labels, fractions).unwrap();
        assert_eq!((labels(&train).len(), train.len() + dev.len() + test.len()), (100, 150));
        let tagged = |number: usize| {
            let mut text = TaggedText { text: String::new(), words: Vec::new(), source: "x".into() };
            text.push(&format!("word{number}"), &format!("B-{}", number % 20));
            text
        };
        let (train, dev) = Rows::Tagged((0..60).map(tagged).collect()).hold_out_known(0.5, Goal::Tags);
        assert_eq!((train.labels(Goal::Tags).unwrap().len(), train.len() + dev.len()), (21, 60), "with O");
        // What is the same text goes with it, or it would be dropped as a row that dev has too.
        let twice = Rows::Texts([text("Same", "a|b"), text("same", "a"), text("other", "a")].to_vec());
        let mut train = Rows::Texts(vec![text("first", "a")]);
        assert_eq!(train.take_unknown(twice, Goal::Labels).len(), 1);
        assert_eq!(train.len(), 3);
    }

    #[test]
    fn tags_get_other_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.conll");
        std::fs::write(&path, "Ada\tB-PERS\nLovelace\tI-PERS\nin\tO\nOslo\tB-GPE\n").unwrap();
        let read = |names: &[(&str, &str)]| {
            let rename = names.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
            Rows::read(&path, Goal::Tags, &Schema { rename, ..Schema::default() })
        };
        let kinds = read(&[("PERS", "PER"), ("B-GPE", "B-LOC")]).unwrap();
        assert_eq!(kinds.labels(Goal::Tags).unwrap(), ["O", "B-LOC", "B-PER", "I-PER"]);
        for (names, expected) in
            [(&[("PERS", "PER")][..], "the tag \"B-GPE\" has no new name"), (&[("B-GPE", "LOC")], "is no tag")]
        {
            let error = read(&[names, &[("PERS", "PER")]].concat()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_sample_is_of_different_rows_and_the_same_each_time() {
        let row = |number: usize| Example {
            text: number.to_string(),
            label: ["a", "b"][number % 2].to_owned(),
            pair: None,
            source: String::new(),
        };
        let rows = Rows::Texts((0..512).map(row).collect());
        let (sample, again) = (rows.sample(256), rows.sample(256));
        assert_eq!(sample.keys(), again.keys());
        assert_eq!(sample.keys().iter().collect::<HashSet<_>>().len(), 256);
        let Rows::Texts(drawn) = &sample else { unreachable!() };
        let of_a = drawn.iter().filter(|row| row.label == "a").count();
        assert!((90..166).contains(&of_a), "{of_a} of a label that is every second row's");
        assert_eq!(rows.sample(1000).len(), 512);
        assert!(Rows::Texts(vec![]).sample(5).is_empty());
    }
}
