//! Text of test sets in text to train on.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::Result;

use super::near::hash;
use super::report::TestTexts;
use super::words::{stands_alone, words};
use super::{CorpusOptions, test_texts};

/// Words of a run that tells a test text (Brown 2020, appendix C).
const GRAM: usize = 13;
/// Characters of a script without spaces that count as much as a word: 13 of them are often but a turn of phrase, as
/// することができるようになった is.
const CHARACTERS: usize = 2;

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

/// The length of a word, in characters of a script without spaces.
fn length(word: &str) -> usize {
    if word.starts_with(stands_alone) { 1 } else { CHARACTERS }
}

/// Hashes of the shortest runs of at least such a length, from every word on.
fn runs(words: &[&str], least: usize) -> Vec<u64> {
    let (mut hashes, mut end, mut own) = (Vec::new(), 0, 0);
    for start in 0..words.len() {
        while own < least {
            let Some(word) = words.get(end) else { return hashes };
            own += length(word);
            end += 1;
        }
        hashes.push(hash(&words[start..end]));
        own -= length(words[start]);
    }
    hashes
}

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
        let words = words(&plain);
        let whole: usize = words.iter().map(|word| length(word)).sum();
        self.counted.texts += 1;
        if whole >= SHORTEST * CHARACTERS {
            let least = whole.min(GRAM * CHARACTERS);
            self.runs.entry(least).or_default().extend(runs(&words, least));
        } else {
            self.counted.too_short += 1;
        }
    }

    /// Whether a text has a run of them.
    pub(super) fn meets(&self, text: &str) -> bool {
        if self.runs.is_empty() {
            return false;
        }
        let plain = plain_words(text);
        let words = words(&plain);
        self.runs.iter().any(|(&least, own)| runs(&words, least).iter().any(|run| own.contains(run)))
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
        let meets = |text: &str| sets.meets(text);
        assert!(meets("x x B, c d e f g h i j k l m n. y"), "13 of them");
        assert!(!meets("x x b c d e f g h i j k l m y y n o p"), "12");
        assert!(meets("zero One two three four five six seven eight nine! ten"));
        assert!(!meets("one two three four five six seven eight") && !meets("too short to tell") && !meets(""));
    }

    #[test]
    fn characters_in_common_are_found_where_there_are_no_spaces() {
        let test = "今日は、灯台の番人が嵐の夜に消えたランプをもう一度ともすために階段をのぼっていった。";
        let sets = sets(&[test, "ใครเป็นผู้ดูแลประภาคาร", "誰の灯台ですか"]);
        assert_eq!(sets.counted, TestTexts { texts: 3, too_short: 1 });
        let plain: Vec<char> = plain_words(test).chars().collect();
        let with = |count: usize| format!("前の文。{}・後の文", plain[3..3 + count].iter().collect::<String>());
        assert!(sets.meets(&with(26)) && sets.meets(&with(30)) && !sets.meets(&with(25)));
        assert!(sets.meets("ก ใครเป็น ผู้ดูแลประภาคาร?ก") && !sets.meets("ใครเป็นผู้ดูแล"));
        // Words count twice as much.
        let mixed = self::sets(&["「Rust 1.0」という言語で書かれた plain な program を読むのはだれですか"]);
        assert!(
            mixed.meets("(rust 10 という言語で書かれた Plain な program を読むのはだれ")
                && !mixed.meets("rust 10 という言語で書かれた")
        );
    }
}
