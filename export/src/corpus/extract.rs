//! The main text of a web page.

use dom_smoothie::{Config, Readability, TextMode};

/// Elements of a page at most: what has more takes long and is no article.
const ELEMENTS: usize = 50_000;

/// The text of a page's main part, by Readability's rules: paragraphs by lines, without menus, comments and scripts. `None`
/// where it finds none. In place of Dragnet and Newspaper (Radford 2019, section 2.1), which are Python.
pub(super) fn main_text(page: &str) -> Option<String> {
    let config = Config { max_elements_to_parse: ELEMENTS, text_mode: TextMode::Formatted, ..Config::default() };
    let mut readability = Readability::new(page, None, Some(config)).ok()?;
    let article = readability.parse().ok()?;
    let text = tidied(&article.text_content);
    (!text.is_empty()).then_some(text)
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
}
