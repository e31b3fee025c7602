//! What each filter removed.

use serde::{Deserialize, Serialize};

use super::overlap::SHORTEST;

/// How many documents and bytes of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Documents.
    pub documents: u64,
    /// Bytes of their text, of pages before extraction.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: usize) {
        self.documents += 1;
        self.bytes += bytes as u64;
    }

    fn with(self, other: Self) -> Self {
        Self { documents: self.documents + other.documents, bytes: self.bytes + other.bytes }
    }
}

/// What one filter removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The filter.
    pub filter: String,
    /// What it removed.
    pub removed: Amount,
    /// The first documents, by file and number.
    pub examples: Vec<String>,
}

/// The texts that must not be in the corpus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestTexts {
    /// All of them.
    pub texts: u64,
    /// Those of too few words to be told from other text: they were not looked for.
    pub too_short: u64,
}

/// A whole curation, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusReport {
    /// What was read.
    pub read: Amount,
    /// By filter, in the order in which they look.
    pub filters: Vec<Removed>,
    /// What was kept, as text.
    pub kept: Amount,
    /// Where there are test sets, and the curation is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_texts: Option<TestTexts>,
}

/// Examples that a report names, by filter.
const EXAMPLES: usize = 5;

impl CorpusReport {
    pub(super) fn new(filters: &[&str]) -> Self {
        let none =
            |filter: &&str| Removed { filter: (*filter).to_owned(), removed: Amount::default(), examples: Vec::new() };
        Self { filters: filters.iter().map(none).collect(), ..Self::default() }
    }

    pub(super) fn remove(&mut self, filter: &str, id: String, bytes: usize) {
        if let Some(own) = self.filters.iter_mut().find(|own| own.filter == filter) {
            own.removed.add(bytes);
            if own.examples.len() < EXAMPLES {
                own.examples.push(id);
            }
        }
    }

    /// Of two parts.
    pub(super) fn with(mut self, other: &Self) -> Self {
        self.read = self.read.with(other.read);
        self.kept = self.kept.with(other.kept);
        for (own, more) in self.filters.iter_mut().zip(&other.filters) {
            own.removed = own.removed.with(more.removed);
            own.examples.extend(more.examples.iter().take(EXAMPLES - own.examples.len().min(EXAMPLES)).cloned());
        }
        self
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = format!("{:<16}{:>12}{:>16}{:>9}\n", "", "documents", "bytes", "share");
        let share = |amount: Amount| 100.0 * amount.documents as f64 / self.read.documents.max(1) as f64;
        let row = |name: &str, amount: Amount| {
            format!("{name:<16}{:>12}{:>16}{:>8.1}%\n", amount.documents, amount.bytes, share(amount))
        };
        text += &row("read", self.read);
        for Removed { filter, removed, examples } in &self.filters {
            text += &row(&format!("- {filter}"), *removed);
            text += &examples.iter().map(|example| format!("    {example}\n")).collect::<String>();
        }
        text += &row("kept", self.kept);
        if let Some(TestTexts { texts, too_short }) = self.test_texts {
            text += &format!(
                "{texts} test texts, of which {too_short} have fewer than {SHORTEST} words and were not looked for\n"
            );
        }
        text
    }
}
