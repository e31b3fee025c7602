//! Which words of a text may be replaced.

use std::ops::Range;

use anyhow::Result;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::library;
use crate::data::TaggedText;

/// The stop list of the released `data_augmentation.py`: NLTK's English one without question words. Its forms with an
/// apostrophe are not here, because words end there. In order, for a binary search.
#[rustfmt::skip]
const STOP_WORDS: [&str; 145] = [
    "a", "about", "above", "after", "again", "against", "ain", "all", "am", "an", "and", "any", "are", "aren", "as", "at",
    "be", "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "couldn", "d", "did",
    "didn", "do", "does", "doesn", "doing", "don", "down", "during", "each", "few", "for", "from", "further", "had",
    "hadn", "has", "hasn", "have", "haven", "having", "he", "her", "here", "hers", "herself", "him", "himself", "his", "i",
    "if", "in", "into", "is", "isn", "it", "its", "itself", "just", "ll", "m", "ma", "me", "mightn", "more", "most",
    "mustn", "my", "myself", "needn", "no", "nor", "not", "now", "o", "of", "off", "on", "once", "only", "or", "other",
    "our", "ours", "ourselves", "out", "over", "own", "re", "s", "same", "shan", "she", "should", "shouldn", "so", "some",
    "such", "t", "than", "that", "the", "their", "theirs", "them", "themselves", "then", "there", "these", "they", "this",
    "those", "through", "to", "too", "under", "until", "up", "ve", "very", "was", "wasn", "we", "were", "weren", "while",
    "will", "with", "won", "wouldn", "y", "you", "your", "yours", "yourself", "yourselves",
];

/// A text is split as BERT's basic tokenizer splits it: at white space, which belongs to no word, and before and after
/// each character of punctuation. Words that consist of the letters a to z in either case and are not in the stop list
/// may be replaced; their byte ranges, in order.
pub(super) fn replaceable_words(text: &str) -> Result<Vec<Range<usize>>> {
    let mut split = PreTokenizedString::from(text);
    BertPreTokenizer.pre_tokenize(&mut split).map_err(library)?;
    let words = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let may = |word: &str| {
        let lower = word.to_ascii_lowercase();
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphabetic())
            && STOP_WORDS.binary_search(&lower.as_str()).is_err()
    };
    Ok(words.into_iter().filter(|(word, ..)| may(word)).map(|(_, (start, end), _)| start..end).collect())
}

/// The words of a tagged text that may be replaced: as above, where they are a word of the file, and tagged `O` unless
/// `entities` are replaced too.
pub(super) fn replaceable_tagged(text: &TaggedText, entities: bool) -> Result<Vec<Range<usize>>> {
    let own = |range: &Range<usize>| {
        let word = text.words.binary_search_by_key(&range.start, |word| word.start).ok().map(|at| &text.words[at]);
        word.is_some_and(|word| word.end == range.end && (entities || word.tag == "O"))
    };
    Ok(replaceable_words(&text.text)?.into_iter().filter(own).collect())
}

/// A candidate with its first letter in the case of the word's: an uncased model knows lower case only. The word itself
/// in another case is the word.
pub(super) fn in_case_of(word: &str, candidate: &str) -> String {
    if candidate.eq_ignore_ascii_case(word) {
        return word.to_owned();
    }
    let upper = word.starts_with(|first: char| first.is_ascii_uppercase());
    let mut letters = candidate.chars();
    match letters.next() {
        Some(first) if upper => first.to_uppercase().chain(letters).collect(),
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TaggedWord;

    #[test]
    fn only_words_of_letters_outside_the_stop_list() {
        assert!(STOP_WORDS.is_sorted());
        let text = "The  Film's \u{201c}plot\u{201d}: 3 stars, 2nd best!\tcaf\u{e9} cafe\u{301} \u{5317}\u{4eac} \
                    \u{43c}\u{438}\u{440} good\u{1F642} \u{1F642} dull-ish\nI DON'T care.";
        let words: Vec<&str> = replaceable_words(text).unwrap().into_iter().map(|range| &text[range]).collect();
        assert_eq!(words, ["Film", "plot", "stars", "best", "dull", "ish", "care"]);
        assert!(replaceable_words("").unwrap().is_empty());
    }

    #[test]
    fn whole_words_of_the_file_tagged_o() {
        let word = |start, end, tag: &str| TaggedWord { start, end, tag: tag.into() };
        let text = TaggedText {
            text: "Oslo well-known harbour".into(),
            words: vec![word(0, 4, "B-LOC"), word(5, 15, "O"), word(16, 23, "O")],
            source: String::new(),
        };
        let words = |entities| -> Vec<&str> {
            replaceable_tagged(&text, entities).unwrap().into_iter().map(|range| &text.text[range]).collect()
        };
        assert_eq!((words(false), words(true)), (vec!["harbour"], vec!["Oslo", "harbour"]));
    }

    #[test]
    fn the_first_letter_keeps_its_case() {
        assert_eq!(in_case_of("Film", "movie"), "Movie");
        assert_eq!(in_case_of("film", "Movie"), "movie");
        assert_eq!(in_case_of("FILM", "film"), "FILM");
        assert_eq!(in_case_of("Film", "\u{e9}tude"), "\u{c9}tude");
        assert_eq!(in_case_of("Film", "42"), "42");
    }
}
