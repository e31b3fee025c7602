//! Texts that are hard to cut and to count.

/// Emoji, joined emoji, combining marks, composed and decomposed accents, ideographs, right to left, odd spaces,
/// controls, and what tokenizers drop.
pub const HARD: [&str; 24] = [
    "Ada met Babbage in London 🙂",
    "🙂Ada🙂met🙂",
    "👩‍👩‍👧 Ada 👨🏽‍🚀 London 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪🇫🇷",
    "cafe\u{301} Ada\u{308} naïve façade",
    "café Adä",
    "e\u{301}\u{302}\u{303} a\u{0327}b",
    "東京 Ada 大学で学ぶ",
    "日本語とAdaと漢字",
    "Ada في لندن מלון Ada",
    "שָׁלוֹם Ada",
    "नमस्ते Ada स्त्री",
    "ไทยAdaไทย",
    "한국어 Ada 각",
    "ŁÓDŹ İstanbul Ada ß ﬁ",
    "Ada\u{200b}met\u{200d}London\u{feff}",
    "Ada\u{a0}met\u{3000}London\u{2028}x",
    "\u{0}Ada\u{1}met\u{7f}",
    "Ada\tmet\r\nLondon\n",
    "   Ada   ",
    "A.D.A. 'n' O'Neil-Smith, e-mail: a@b.c (1,000.50 €)",
    "𝒜𝒹𝒶 𝕃𝕠𝕟𝕕𝕠𝕟",
    "❤️ ☎︎ 1️⃣ #️⃣",
    "ﷺ ½ Ⅷ ㎏",
    "Z̶a̷l̸g̵o̴ Ada",
];

/// The pieces that a span names in each of its three units.
pub fn pieces(text: &str, span: &limbeck::TextSpan) -> [String; 3] {
    let units: Vec<u16> = text.encode_utf16().collect();
    let chars: Vec<char> = text.chars().collect();
    [
        text[span.bytes.clone()].to_owned(),
        String::from_utf16(&units[span.utf16.clone()]).expect("whole characters"),
        chars[span.chars.clone()].iter().collect(),
    ]
}

/// Words without end.
pub fn long(words: usize) -> String {
    let words: Vec<&str> = ["the", "battery", "met", "ada", "wonderful", "in", "lond", "screen", "xyz", "phone"]
        .into_iter()
        .cycle()
        .take(words)
        .collect();
    words.join(" ")
}
