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
    if !is_shallow(&readability) {
        return None;
    }
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
/// Elements that hold text alone, up to their end.
const RAW: [&str; 8] = ["iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"];
/// Languages of their own, in which a slash ends an element.
const FOREIGN: [&str; 2] = ["math", "svg"];
/// Elements in those that hold HTML again.
const HTML_AGAIN: [&str; 9] = ["annotation-xml", "desc", "foreignobject", "mi", "mn", "mo", "ms", "mtext", "title"];
/// Elements of HTML whose beginning ends those languages; `font` does so with some attributes.
#[rustfmt::skip]
const BREAKOUT: [&str; 45] = [
    "b", "big", "blockquote", "body", "br", "center", "code", "dd", "div", "dl", "dt", "em", "embed", "font", "h1",
    "h2", "h3", "h4", "h5", "h6", "head", "hr", "i", "img", "li", "listing", "menu", "meta", "nobr", "ol", "p", "pre",
    "ruby", "s", "small", "span", "strike", "strong", "sub", "sup", "table", "tt", "u", "ul", "var",
];
/// Elements beyond which an end does not reach; so are those of [`HTML_AGAIN`].
const WALLS: [&str; 6] = ["applet", "caption", "marquee", "object", "table", "template"];

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether a page has neither very many elements nor very many inside of one another: parsing such takes time that
/// grows with the square of its length. Counted without parsing, so roughly.
fn is_tame(page: &str) -> bool {
    // In scripts and comments too: a page can be made so that the parser finds them elsewhere than here. An end by itself
    // can make an element as well.
    let (mut starts, mut ends) = (0usize, 0usize);
    for rest in page.split('<').skip(1) {
        starts += usize::from(begins_name(rest));
        ends += usize::from(rest.strip_prefix('/').is_some_and(begins_name));
    }
    starts <= ELEMENTS && ends <= ELEMENTS && nests_little(page)
}

fn begins_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// Whether few elements at a time wait for their end.
fn nests_little(page: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    // A script or comment without end is counted like the page. It is looked for once, or time would grow with the square.
    let mut passes_over = true;
    while let Some((_, behind)) = rest.split_once('<') {
        rest = behind;
        if passes_over && let Some(comment) = rest.strip_prefix("!--") {
            match comment_end(comment) {
                Some(end) => rest = &comment[end..],
                None => passes_over = false,
            }
            continue;
        }
        let (ends, tag) = rest.strip_prefix('/').map_or((false, rest), |tag| (true, tag));
        if !begins_name(tag) {
            continue;
        }
        let length = tag.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(length);
        // What is no whole tag is none for the parser either.
        let Some((end, slash)) = tag_end(attributes) else { break };
        rest = &attributes[end..];
        if ends {
            close(&mut open, name);
            continue;
        }
        if is_foreign(&open) {
            if is_one_of(name, &BREAKOUT) {
                while is_foreign(&open) {
                    open.pop();
                }
            } else if slash {
                continue;
            }
        }
        if is_one_of(name, &OPEN_ENDED) {
            continue;
        }
        if passes_over && is_one_of(name, &RAW) && !is_foreign(&open) {
            match raw_end(rest, name) {
                Some(end) => {
                    rest = &rest[end..];
                    continue;
                }
                None => passes_over = false,
            }
        }
        if !(slash && is_one_of(name, &FOREIGN)) {
            open.push(name);
        }
        if open.len() > DEPTH {
            return false;
        }
    }
    true
}

/// Whether what follows is SVG or MathML.
fn is_foreign(open: &[&str]) -> bool {
    let last = open.iter().rev().find(|name| is_one_of(name, &FOREIGN) || is_one_of(name, &HTML_AGAIN));
    last.is_some_and(|name| is_one_of(name, &FOREIGN))
}

/// Ends the nearest element of a name. Those inside of it stay: the parser takes some of them up again.
fn close(open: &mut Vec<&str>, name: &str) {
    if let Some(place) = open.iter().rposition(|own| own.eq_ignore_ascii_case(name))
        && !open[place + 1..].iter().any(|own| is_one_of(own, &WALLS) || is_one_of(own, &HTML_AGAIN))
    {
        open.remove(place);
    }
}

/// Where a comment has ended, of what follows `<!--`.
fn comment_end(comment: &str) -> Option<usize> {
    if let Some(at) = [">", "->"].iter().find(|end| comment.starts_with(**end)) {
        return Some(at.len());
    }
    let end = comment.find("-->")?;
    Some(comment[..end].find("--!>").map_or(end + 3, |end| end + 4))
}

/// Where the end of an element that holds text alone begins.
fn raw_end(text: &str, name: &str) -> Option<usize> {
    let ends = |&(at, _): &(usize, &str)| {
        let rest = &text.as_bytes()[at + 2..];
        let after = rest.get(name.len()).is_some_and(|&c| c.is_ascii_whitespace() || matches!(c, b'/' | b'>'));
        after && rest[..name.len()].eq_ignore_ascii_case(name.as_bytes())
    };
    text.match_indices("</").find(ends).map(|(at, _)| at)
}

/// Where a tag has ended, of what follows its name, and whether a slash ends it.
fn tag_end(attributes: &str) -> Option<(usize, bool)> {
    let bytes = attributes.as_bytes();
    let (mut at, mut named, mut slash) = (0, false, false);
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'>' => return Some((at, slash)),
            b'=' if named => {
                at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                let quote = *bytes.get(at)?;
                let value = match quote {
                    b'"' | b'\'' => bytes[at + 1..].iter().position(|&byte| byte == quote)? + 2,
                    _ => bytes[at..].iter().position(|&byte| byte.is_ascii_whitespace() || byte == b'>')?,
                };
                at += value;
                (named, slash) = (false, false);
            }
            b'/' => (named, slash) = (false, true),
            _ => (named, slash) = (named || !byte.is_ascii_whitespace(), false),
        }
    }
}

/// Whether no more elements are inside of one another than [`DEPTH`]: Readability calls itself for each and would leave the
/// stack. Exact where [`is_tame`] is not.
fn is_shallow(readability: &Readability) -> bool {
    let mut to_see = vec![(readability.doc.root(), 0)];
    while let Some((node, depth)) = to_see.pop() {
        if depth > DEPTH {
            return false;
        }
        to_see.extend(node.children_it(false).filter(|child| child.is_element()).map(|child| (child, depth + 1)));
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

    fn article(more: &str) -> String {
        let paragraph =
            "The keeper of the lighthouse climbed the stairs, lamp in hand, and counted every single step. ".repeat(5);
        format!("<html><body>{more}<article><p>{paragraph}</p><p>{paragraph}</p></article></body></html>")
    }

    #[test]
    fn drawings_scripts_and_comments_are_not_nested() {
        for more in [
            format!(
                "<svg viewBox='0 0 9 9'><title>a</title>{}</svg>",
                "<path d=\"M0 0>\" /><use href='#a'/>".repeat(300)
            ),
            "<svg><g><path d='M0'/></g></svg>".repeat(300),
            format!("<svg><foreignObject><div>a</div></foreignObject>{}</svg>", "<rect/>".repeat(300)),
            format!("<math><mrow>{}</mrow></math>", "<mspace/>".repeat(300)),
            format!("<script>for (;;) {{ {} }}</script>", "if (i<n) x(); ".repeat(300)),
            format!("<STYLE>{}</Style >", "/* <b> */".repeat(300)),
            format!("<textarea>{}</textarea>", "<b>".repeat(300)),
            format!("<!--{}-->", "<b>".repeat(300)),
            "<!--><b></b><!---><b></b><!-- <b> --!><b></b>".repeat(300),
            "<img src='a' /><br/><input value='>'/>".repeat(300),
            format!("<a title='{}'>a</a>", "<b>".repeat(300)),
        ] {
            assert!(main_text(&article(&more)).is_some_and(|text| text.contains("climbed the stairs")), "{more}");
        }
    }

    #[test]
    fn nothing_hides_nesting() {
        let deep = "<div>".repeat(300);
        for more in [
            // No slash ends an element of HTML, nor what a value ends with.
            "<div/>".repeat(300),
            "<svg></svg>".to_owned() + &"<path/>".repeat(300),
            "<svg><p>".to_owned() + &"<path/>".repeat(300),
            "<svg><desc>".to_owned() + &"<path/>".repeat(300),
            "<svg>".to_owned() + &"<div/>".repeat(300),
            "<svg>".to_owned() + &"<g id=a/>".repeat(300),
            // What has no end, or none where it seems to have one.
            format!("<script>{deep}"),
            format!("<script>{deep}</scripts>"),
            format!("<!--{deep}"),
            format!("<!-->{deep}-->"),
            format!("<!--->{deep}-->"),
            format!("<!-- --!>{deep}-->"),
            format!("<svg><style>{}</style>", "<g>".repeat(300)),
            format!("<a =\">{deep}<a b=\">"),
            // Ends of what was not begun, or is out of their reach.
            "<div></b>".repeat(300),
            "<div><table></div>".repeat(300),
        ] {
            assert!(!is_tame(&article(&more)), "{more}");
        }
        // Where the count is wrong, the parsed page is not.
        let spans = "<span>".repeat(200) + "<div>" + &"</span>".repeat(200);
        for more in [spans.repeat(2), "<ul><li>".repeat(200)] {
            let page = article(&more);
            assert!(is_tame(&page) && main_text(&page).is_none(), "{more}");
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
