//! The main text of a web page.

use dom_smoothie::{Config, Readability, TextMode};

/// Elements of a page at most: what has more takes long and is no article.
const ELEMENTS: usize = 50_000;

/// The text of a page's main part, by Readability's rules: paragraphs by lines, without menus, comments and scripts. `None`
/// where it finds none. In place of Dragnet and Newspaper (Radford 2019, section 2.1), which are Python.
pub(super) fn main_text(page: &str) -> Option<String> {
    if !is_tame(page) {
        return None;
    }
    let config = Config { max_elements_to_parse: ELEMENTS, text_mode: TextMode::Formatted, ..Config::default() };
    let mut readability = Readability::new(page, None, Some(config)).ok()?;
    let article = readability.parse().ok()?;
    let text = tidied(&article.text_content);
    (!text.is_empty()).then_some(text)
}

/// Elements inside of one another at most.
const DEPTH: usize = 256;
/// Elements that need no end.
const OPEN_ENDED: [&str; 24] = [
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p",
    "param", "source", "tbody", "td", "th", "thead", "tr", "track", "wbr",
];

/// Whether a page has neither very many elements nor very many inside of one another: parsing such takes time that
/// grows with the square of its length. Counted without parsing, so roughly.
fn is_tame(page: &str) -> bool {
    let (mut elements, mut depth) = (0usize, 0usize);
    for rest in page.split('<').skip(1) {
        let (ends, name) = rest.strip_prefix('/').map_or((false, rest), |name| (true, name));
        let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let name = &name[..length];
        if name.is_empty() || OPEN_ENDED.iter().any(|open| name.eq_ignore_ascii_case(open)) {
            elements += usize::from(!ends);
        } else if ends {
            depth = depth.saturating_sub(1);
        } else {
            elements += 1;
            depth += 1;
        }
        if elements > ELEMENTS || depth > DEPTH {
            return false;
        }
    }
    true
}

/// Lines without spaces at their ends and without empty ones.
fn tidied(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn menus_and_scripts_are_left_out() {
        let paragraph =
            "The keeper of the lighthouse climbed the stairs, lamp in hand, and counted every single step. ";
        let page = format!(
            "<html><head><title>Light</title><style>p {{}}</style></head><body><nav><ul><li><a href='/'>Home</a></li>\
             <li><a href='/b'>About us</a></li></ul></nav><article><h1>Light</h1><p>{0}</p><p>{0}</p><p>{0} 🙂</p></article>\
             <script>var x = 'secret';</script><footer>Copyright</footer></body></html>",
            paragraph.repeat(4)
        );
        let text = main_text(&page).unwrap();
        assert_eq!(text.matches("climbed the stairs").count(), 12, "{text}");
        assert!(text.contains('🙂') && text.lines().count() >= 3);
        for left_out in ["secret", "About us", "Copyright", "<p>"] {
            assert!(!text.contains(left_out), "{text}");
        }
        for nothing in ["", "<html></html>", "<p>"] {
            assert_eq!(main_text(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn hostile_pages_are_left_out_at_once() {
        for page in ["<div>".repeat(100_000), "<b><i>".repeat(1000), "<p a='".repeat(100_000), "<TD>".repeat(100_000)] {
            assert!(!is_tame(&page) && main_text(&page).is_none());
        }
        for page in ["<p>a<br>".repeat(1000), "<div><b>x</b></div>".repeat(2000), "a < b & c </ <".repeat(100)] {
            assert!(is_tame(&page));
        }
        // What passes does no harm.
        for page in
            ["<b><p>".repeat(100), "<![CDATA[<!--".repeat(100), "\u{0}\u{feff}\u{202e}<p>\u{1f642}</p>".repeat(100)]
        {
            let _ = main_text(&page);
        }
    }
}
