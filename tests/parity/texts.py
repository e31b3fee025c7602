"""Texts of the reference files. Written with escapes, so that no editor can change them."""

PARAGRAPH = (
    "The old lighthouse keeper climbed the stairs every evening, counting each of the hundred and ninety-nine "
    "steps, and at the top he lit the lamp whose beam swept over the grey water until the morning came. "
)

MINILM_TEXTS = [
    "Good.",
    "The battery life is awful, but the screen is wonderful!",
    "na\u00efve caf\u00e9 \u2014 \u00fcber-cool \U0001f642\U0001f468\u200d\U0001f469\u200d\U0001f467 \u5317\u4eac",
    "unaffable antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "https://example.com/a?b=c&d=%20 costs $3.50 (50% off!) at 10:30 a.m.",
    PARAGRAPH * 11,
]

_WRITTEN = [
    # Nothing, and next to nothing.
    "", " ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u2029", "\u200b", "\ufeff", "\u00ad",
    " \t\n\r \u00a0\u2003 ", "a", " a", "a ", " a ", "a  b", "a\tb\nc\r\nd", ".", "...", "\u2026",
    # NUL and control characters.
    "\x00", "a\x00b", "\x00\x00\x00", "hello\x00world", "\x01\x02\x03", "a\x07b\x08c", "\x1b[31mred\x1b[0m", "\x7f",
    "\x80\x9f", "tab\x0bvertical\x0cform", "\ufffd", "bad \ufffd\ufffd bytes", "a\u0085b",
    # Case, and letters whose lower case has another length.
    "HELLO World", "iPhone XS MAX", "\u0130stanbul", "I\u0307", "\u1e9e\u00df STRASSE Stra\u00dfe",
    "\u01c5 \u01f2 \ufb01 \ufb03 \ufb06", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u212a \u212b \u2126", "\u0149",
    # Accents, composed and not; marks without a letter, and far too many of them.
    "caf\u00e9", "cafe\u0301", "na\u00efve", "nai\u0308ve", "\u00c5ngstr\u00f6m A\u030angstro\u0308m",
    "\u1ec7 e\u0323\u0302 e\u0302\u0323", "\u0301", "\u0301\u0301\u0301", " \u0301a", "a\u0301\u0302\u0303\u0304\u0305b",
    "z\u0351\u036b\u0343\u036a\u0302\u036b\u033da\u0334\u0319\u0324\u031el\u0349g\u0321o\u031f", "\u0308\u0301x",
    "Z\u030c\u0301\u0327", "\u00e6 \u00f8 \u00f0 \u00fe \u0142 \u0111", "\u0410\u0306 \u0439 \u0438\u0306",
    # Emoji.
    "\U0001f642", "I \u2764\ufe0f NY", "\u2764", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "1\ufe0f\u20e3", "good\U0001f642good",
    "\U0001f642\U0001f642\U0001f642\U0001f642", "\U0001f9d1\U0001f3ff\u200d\U0001f4bb codes", "\u200d", "a\u200db", "\u200d\U0001f642\u200d",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\u263a\ufe0e\u263a\ufe0f", ":-) ;) <3",
    # Chinese, Japanese, Korean.
    "\u5317\u4eac\u6b22\u8fce\u4f60", "\u4e2d\u6587 and English \u6df7\u5408", "a\u4e2db", "\u6771\u4eac\u30bf\u30ef\u30fc",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c", "\u304c \u304b\u3099", "\uff8a\uff9f\uff9d", "\uff21\uff22\uff23\uff11\uff12\uff13",
    "\uc548\ub155\ud558\uc138\uc694", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u3400\u4dbf\u4e00\u9fff", "\U00020000\U0002a6df",
    "\U0002a700\U0002b73f\U0002b740\U0002b820", "\uf900\ufaff", "\U0002f800\U0002fa1f", "\u3001\u3002\u300c\u300d", "\u2e80\u2fd5", "\u3007",
    # Right to left, and marks that turn the direction.
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627", "\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
    "abc \u05d0\u05d1\u05d2 def", "\u202eevil\u202c", "\u200f\u200e\u061c", "\u2066a\u2069", "\ufdfa", "\u0661\u0662\u0663",
    # Other scripts.
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01", "\u0e01\u0e33 \u0e33", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0915\u094d\u0937", "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd",
    "\u0d1c\u0d4d\u0d1e", "\u17a2\u17bb\u17a1", "\u1019\u103c\u1014\u103a\u1019\u102c", "\u0f56\u0f7c\u0f51\u0f0b", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440",
    "\u1f08\u1fbd \u1fb3 \u1f81", "\u0531\u0587", "\u10d0\u10d1\u10d2 \u1c90", "\u13a0\u13a1 \uab70", "\U00010400\U00010428", "\U0001d49c\U0001d4d0\U0001d504",
    # The edges of the code space.
    "\ud7ff\ue000", "a\ud7ffb\ue000c", "\ue000\uf8ff", "\U000f0000\U000ffffd", "\U00100000\U0010fffd", "\ufffe\uffff",
    "\U0001ffff\U0010ffff", "\ufdd0", "\uffff", "\U0001fffe", "\ufff9\ufffa\ufffb", "\x7e\x7f\x80\x81", "\u07ff\u0800", "\uffff\U00010000",
    # Punctuation, numbers, addresses, markup, code.
    "don't can't won't", "don\u2019t", "\u201cquoted\u201d \u2018text\u2019", "a-b_c/d\\e", "!!!???", "#hashtag @mention", "$1,234.56", "3.14e-10",
    "50%", "\u20ac \u00a3 \u00a5 \u20bf", "1/2 \u00bd \u2153", "x\u00b2 + y\u00b3 = \u221e", "\u2460\u2461 \u24b6", "\u2122 \u00ae \u00a9", "^`~|<>=+",
    "https://www.example.com/path?query=1&x=%20#frag", "user.name+tag@example.co.uk", "C:\\Users\\name\\file.txt", "<b>bold</b> &amp; &#39;",
    "fn main() { println!(\"{}\", 1); }", "{\"a\": [1, null]}", "2026-01-31T23:59:60Z", "192.168.0.1:8080", "::1", "--flag=value", "\u2010\u2011\u2012\u2013\u2014\u2015", "a\u00b7b",
    # Special tokens written as text, and pieces of them.
    "[CLS]", "[SEP] [PAD] [MASK] [UNK]", "[cls]", "a[MASK]b", "[ MASK ]", "[MASK", "[[MASK]]", "##ing", "## ing", "[unused1]", "\u0301[CLS]",
    # Long words, where WordPiece gives up after 100 characters.
    "a" * 99, "a" * 100, "a" * 101, "x" * 1000, "\u00e9" * 100, "\u00e9" * 101, "e\u0301" * 60, "\U0001f642" * 101, "\U0001d400" * 100, "\u4e2d" * 1000,
    "antidisestablishmentarianism", "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft",
    "no" + "space" * 30, "-" * 1000, " " * 1000, ". " * 300, "ab " * 400, "\x00" * 1000, "a\u0301" * 500, "\u0301" * 1000, "\u200b" * 200,
]


def nasty_texts():
    """All texts: the written ones, then each of some interesting characters inside a word and alone."""
    texts = list(_WRITTEN)
    for code in (0x00, 0x09, 0x1F, 0x20, 0x7F, 0x85, 0xA0, 0xAD, 0x300, 0x34F, 0x61C, 0x180E, 0x1680, 0x200B, 0x200C,
                 0x200D, 0x2028, 0x205F, 0x2060, 0x20E3, 0x3000, 0xFE0F, 0xFEFF, 0xFFFC, 0xFFFD, 0xE0001, 0xE0100):
        texts.append(f"be{chr(code)}fore {chr(code)} after{chr(code)}")
    assert len(set(texts)) == len(texts), "a text occurs twice"
    return texts
