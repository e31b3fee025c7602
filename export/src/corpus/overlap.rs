//! Text of test sets in text to train on.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::Result;

use super::near::shingles;
use super::report::TestTexts;
use super::{CorpusOptions, test_texts};

/// Words of a run that tells a test text (Brown 2020, appendix C).
pub(super) const GRAM: usize = 13;

/// Words in lower case without punctuation (Brown 2020, appendix C), between single spaces.
pub(super) fn plain_words(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let before = plain.len();
        if before > 0 {
            plain.push(' ');
        }
        let start = plain.len();
        plain.extend(word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase));
        if plain.len() == start {
            plain.truncate(before);
        }
    }
    plain
}

/// Shorter texts are looked for as a whole if they have this many words (the least of GPT-3's choices of n).
pub(super) const SHORTEST: usize = 8;

/// Runs of words of test sets, by their length.
#[derive(Default)]
pub(super) struct TestSets {
    runs: BTreeMap<usize, HashSet<u64>>,
    /// How many texts there are, and how many of them are not looked for.
    pub counted: TestTexts,
}

impl TestSets {
    /// Of files ([`test_texts`]).
    ///
    /// # Errors
    /// A file that cannot be read, or a row in it.
    pub(super) fn read(files: &[PathBuf], options: &CorpusOptions) -> Result<Self> {
        let mut own = Self::default();
        files.iter().try_for_each(|path| test_texts::read(path, options, &mut |text| own.add(&text)))?;
        Ok(own)
    }

    fn add(&mut self, text: &str) {
        let plain = plain_words(text);
        let count = plain.split(' ').count().min(GRAM);
        self.counted.texts += 1;
        if count >= SHORTEST {
            self.runs.entry(count).or_default().extend(shingles(&plain, count));
        } else {
            self.counted.too_short += 1;
        }
    }

    /// Whether a text has a run of them. `plain` is what [`plain_words`] gave.
    pub(super) fn meets(&self, plain: &str) -> bool {
        let words = plain.split(' ').count();
        let enough = self.runs.iter().filter(|(count, _)| **count <= words);
        enough.into_iter().any(|(&count, runs)| shingles(plain, count).iter().any(|run| runs.contains(run)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(texts: &[&str]) -> TestSets {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.txt");
        std::fs::write(&path, texts.join("\n\n")).unwrap();
        TestSets::read(&[path], &CorpusOptions::default()).unwrap()
    }

    #[test]
    fn words_lose_case_and_punctuation() {
        assert_eq!(plain_words(" \"Hello,\tWORLD!\" -- don't  3.5 🙂 Ünder"), "hello world dont 35 ünder");
        assert_eq!(plain_words(" ... "), "");
    }

    #[test]
    fn thirteen_words_in_common_are_found_and_twelve_are_not() {
        let test = "a b c d e f g h i j k l m n o p";
        let sets = sets(&[test, "one two three four five six seven eight nine", "too short to tell"]);
        assert_eq!(sets.counted, TestTexts { texts: 3, too_short: 1 });
        let meets = |text: &str| sets.meets(&plain_words(text));
        assert!(meets("x x B, c d e f g h i j k l m n. y"), "13 of them");
        assert!(!meets("x x b c d e f g h i j k l m y y n o p"), "12");
        assert!(meets("zero One two three four five six seven eight nine! ten"));
        assert!(!meets("one two three four five six seven eight") && !meets("too short to tell") && !meets(""));
    }
}
