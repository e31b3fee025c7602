//! What counts as a word where texts are compared.

/// Whether a character is of a script that sets no spaces between words: Thai, Lao, Myanmar, Khmer, Han, hiragana, katakana.
pub(super) fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}' | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' | '\u{1aff0}'..='\u{1b16f}')
}

/// Words between spaces; each character of a script without spaces is one by itself.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let mut start = 0;
        for (at, c) in word.char_indices().filter(|(_, c)| stands_alone(*c)) {
            let end = at + c.len_utf8();
            words.extend([&word[start..at], &word[at..end]].into_iter().filter(|word| !word.is_empty()));
            start = end;
        }
        words.extend(Some(&word[start..]).filter(|word| !word.is_empty()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_words_where_there_are_no_spaces() {
        assert_eq!(words(" one  don't\ttwo-three\n"), ["one", "don't", "two-three"]);
        assert_eq!(words("ünder ελλ 한국어 ก"), ["ünder", "ελλ", "한국어", "ก"]);
        assert_eq!(words("Rust语言1.0很 好,"), ["Rust", "语", "言", "1.0", "很", "好", ","]);
        assert_eq!(words("ラー々ひ𠀀"), ["ラ", "ー", "々", "ひ", "𠀀"]);
        for text in ["ไทย", "ລາວ", "ខ្មែរ", "မြန်မာ"] {
            assert_eq!(words(text).len(), text.chars().count(), "{text}");
        }
        assert!(words(" \n").is_empty());
    }
}
