//! The text of pages, by what they or their servers say of its encoding.

/// Names of windows-1252 (WHATWG Encoding, section 4.2): pages that say ISO 8859-1 or ASCII mean it too.
const WINDOWS_1252: [&str; 17] = [
    "ansi_x3.4-1968",
    "ascii",
    "cp1252",
    "cp819",
    "csisolatin1",
    "ibm819",
    "iso-8859-1",
    "iso-ir-100",
    "iso8859-1",
    "iso88591",
    "iso_8859-1",
    "iso_8859-1:1987",
    "l1",
    "latin1",
    "us-ascii",
    "windows-1252",
    "x-cp1252",
];

/// Characters 0x80 to 0x9f of windows-1252; the others are those of ISO 8859-1.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Bytes of a page in which it must name its encoding.
const PRESCAN: usize = 1024;

/// The text of a page; `content_type` is what its server says. UTF-8 is taken for it whatever is said, for it is hardly ever
/// anything else; windows-1252 where that is said.
///
/// # Errors
/// Another encoding, by name.
pub(super) fn decoded(page: Vec<u8>, content_type: Option<&str>) -> Result<String, String> {
    let named = content_type.and_then(named).or_else(|| of_meta(&page));
    let said = named.as_deref().unwrap_or("utf-8");
    // These write everything in ASCII, so they look like UTF-8.
    if said.starts_with("iso-2022-") || ["hz-gb-2312", "utf-7"].contains(&said) {
        return Err(format!("a page in the encoding {said}"));
    }
    String::from_utf8(page).or_else(|error| match said {
        said if WINDOWS_1252.contains(&said) => Ok(error.into_bytes().into_iter().map(of_windows_1252).collect()),
        "utf-8" | "utf8" => Err("not UTF-8".to_owned()),
        _ => Err(format!("a page in the encoding {said}")),
    })
}

fn of_windows_1252(byte: u8) -> char {
    HIGH.get(usize::from(byte).wrapping_sub(0x80)).copied().unwrap_or(char::from(byte))
}

/// What a page's meta tag names.
fn of_meta(page: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(&page[..page.len().min(PRESCAN)]).to_ascii_lowercase();
    start.split("<meta").skip(1).find_map(|tag| named(tag.split('>').next()?))
}

/// The encoding that follows `charset=`, in lower case.
fn named(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let values = text.split("charset").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('='));
    let names = values.map(|value| {
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        value.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '/' | ',')).next().unwrap_or_default()
    });
    names.map(|name| name.chars().take(40).collect::<String>()).find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_by_what_is_said_of_them() {
        let read = |page: &[u8], content_type| decoded(page.to_vec(), content_type);
        let latin = b"<p>caf\xe9 \x80\x93\x81\xff</p>";
        let text = "<p>café €“\u{81}ÿ</p>";
        for content_type in
            ["text/html; charset=ISO-8859-1", "text/html;Charset = \"latin1\" ; x=y", "a; charset='cp1252'"]
        {
            assert_eq!(read(latin, Some(content_type)).unwrap(), text, "{content_type}");
        }
        for meta in [
            "<META http-equiv=\"Content-Type\" content=\"text/html; charset=windows-1252\">",
            "<meta name=a><meta charset=iso-8859-1/>",
            "<meta charset = 'us-ascii' >",
        ] {
            let page = [meta.as_bytes(), latin].concat();
            assert_eq!(read(&page, Some("text/html")).unwrap(), format!("{meta}{text}"));
        }
        // The server's word counts more.
        let page = [b"<meta charset=latin1>", &latin[..]].concat();
        assert_eq!(read(&page, Some("text/html; charset=koi8-r")).unwrap_err(), "a page in the encoding koi8-r");
        assert_eq!(read(&page, Some("text/html; charset=UTF-8")).unwrap_err(), "not UTF-8");
        assert_eq!(read(latin, None).unwrap_err(), "not UTF-8");
        assert_eq!(read(b"<meta charset=shift_jis>\x83", None).unwrap_err(), "a page in the encoding shift_jis");
        assert_eq!(read(b"<p>charset=latin1 \xe9", None).unwrap_err(), "not UTF-8", "not in a meta tag");
        // UTF-8 is told by itself, but not from what is written in ASCII.
        assert_eq!(read("é".as_bytes(), Some("text/html; charset=latin1")).unwrap(), "é");
        assert_eq!(
            read(b"\x1b$B", Some("text/html; charset=ISO-2022-JP")).unwrap_err(),
            "a page in the encoding iso-2022-jp"
        );
    }
}
