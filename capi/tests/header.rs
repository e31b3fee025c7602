//! `include/limbeck.h` is generated from `src/`, one section a file, committed,
//! and compared here. LIMBECK_BLESS=1 writes it anew. The committed header must
//! also compile alone as C99 and C++17 without a warning.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use cbindgen::{Braces, Builder, Config, DocumentationStyle, EnumConfig, ExportConfig, Language, Style};

/// The sections, in the order of the header. The second part names what the
/// section holds that no function of its own mentions.
const SECTIONS: &[(&str, &[&str])] = &[
    ("status", &["limbeck_status_code"]),
    ("text", &["limbeck_str", "limbeck_pair"]),
    ("error", &[]),
    ("version", &[]),
    ("log", &[]),
    ("env", &[]),
    ("bundle", &[]),
    ("open", &[]),
    ("model", &[]),
    ("cancel", &[]),
    ("call", &[]),
    ("result", &[]),
    ("item", &["limbeck_span"]),
    ("classify", &[]),
    ("entail", &[]),
    ("tag", &[]),
    ("answer", &[]),
    ("embed", &[]),
    ("fill_mask", &[]),
    ("order", &[]),
    ("replaced", &[]),
    ("generate", &["limbeck_token_function"]),
    ("prompt", &[]),
    ("head", &[]),
    ("slot", &[]),
];

#[test]
fn header_is_the_generated_one() {
    let generated = generate();
    support::compare_with_snapshot(
        &support::capi().join("include/limbeck.h"),
        &generated,
        "LIMBECK_BLESS=1 cargo test -p limbeck-capi --test header",
    );
}

/// It is meant to be read from the first line to the last.
#[test]
fn header_is_short_enough_to_read() {
    let lines = fs::read_to_string(support::capi().join("include/limbeck.h")).unwrap().lines().count();
    assert!(lines < 1250, "limbeck.h has {lines} lines");
}

/// Doxygen finds everything documented, and warns of nothing (`cargo xtask header --pages`).
#[test]
fn pages_have_no_warnings() {
    if !support::installed("doxygen") {
        support::skip("doxygen is not installed, the pages of limbeck.h were not made");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = fs::read_to_string(support::capi().join("Doxyfile")).unwrap();
    let file = folder.path().join("Doxyfile");
    fs::write(&file, format!("{settings}OUTPUT_DIRECTORY = {}\n", folder.path().display())).unwrap();
    let output = support::run(Command::new("doxygen").arg(&file).current_dir(support::capi()));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let page = fs::read_to_string(folder.path().join("limbeck.h/limbeck_8h.html")).unwrap();
    for function in support::header::functions() {
        assert!(page.contains(&function.name), "{}", function.name);
    }
}

#[test]
fn no_section_is_forgotten() {
    for entry in fs::read_dir(support::capi().join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let exports = fs::read_to_string(&path).unwrap().contains("no_mangle");
        if exports && name != "hooks" {
            assert!(SECTIONS.iter().any(|(section, _)| *section == name), "{name}.rs has exports and no section");
        }
    }
}

#[test]
fn header_compiles_alone_and_twice() {
    let folder = tempfile::tempdir().unwrap();
    let source = "#include <limbeck.h>\n#include <limbeck.h>\nint main(void) { return (int)sizeof(limbeck_usage) - (int)sizeof(limbeck_usage); }\n";
    for (compiler, extension, standard) in [
        ("gcc", "c", "c99"),
        ("gcc", "c", "c17"),
        ("g++", "cpp", "c++17"),
        ("clang", "c", "c99"),
        ("clang++", "cpp", "c++17"),
    ] {
        if !support::installed(compiler) {
            support::skip(&format!("{compiler} is not installed, the header was not compiled with it"));
            continue;
        }
        let file = folder.path().join(format!("alone.{extension}"));
        fs::write(&file, source).unwrap();
        support::run(
            Command::new(compiler)
                .arg(format!("-std={standard}"))
                .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"])
                .arg(support::capi().join("include"))
                .arg(&file),
        );
    }
}

fn generate() -> String {
    let src = support::capi().join("src");
    let mut header = String::new();
    header.push_str("/*\n");
    for line in module_docs(&src.join("lib.rs")) {
        header.push_str(format!(" * {line}").trim_end());
        header.push('\n');
    }
    header.push_str(
        " *\n * Generated from capi/src by capi/tests/header.rs; change it there.\n * MIT OR Apache-2.0\n */\n\n\
         /** @file */\n#ifndef LIMBECK_H\n#define LIMBECK_H\n\n\
         #include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n\
         #ifdef __cplusplus\nextern \"C\" {\n#endif\n",
    );
    for (name, include) in SECTIONS {
        let path = src.join(format!("{name}.rs"));
        let mut docs = module_docs(&path).into_iter();
        let title = docs.next().expect("a section has a title");
        writeln!(header, "\n/* ==== {title} {}", "=".repeat(WIDTH - title.len() - 12)).unwrap();
        header.pop();
        for line in docs {
            header.push_str(format!("\n * {line}").trim_end_matches(' '));
        }
        header.push_str(" */\n\n");
        header.push_str(&listed(&section(&path, include)));
        if *name == "version" {
            writeln!(
                header,
                "\n#define LIMBECK_VERSION \"{}\" /**< Version of this header, for people. */\n\n\
                 /** limbeck_abi_check for the header that the program was built with. */\n\
                 #define LIMBECK_CHECK_ABI(error) limbeck_abi_check(LIMBECK_ABI_VERSION, (error))",
                env!("CARGO_PKG_VERSION")
            )
            .unwrap();
        }
    }
    header.push_str("\n#ifdef __cplusplus\n} /* extern \"C\" */\n#endif\n\n#endif /* LIMBECK_H */\n");
    header
}

/// The `//!` lines of a file.
fn module_docs(path: &Path) -> Vec<String> {
    let source = fs::read_to_string(path).unwrap();
    source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned())
        .collect()
}

/// What cbindgen makes of one file: its types, then its functions.
fn section(path: &Path, include: &[&str]) -> String {
    let config = Config {
        language: Language::C,
        style: Style::Both,
        braces: Braces::SameLine,
        no_includes: true,
        documentation_style: DocumentationStyle::Doxy,
        line_length: 80,
        usize_is_size_t: true,
        enumeration: EnumConfig { prefix_with_name: false, ..EnumConfig::default() },
        export: ExportConfig {
            include: include.iter().map(|name| (*name).to_owned()).collect(),
            ..ExportConfig::default()
        },
        ..Config::default()
    };
    let bindings = Builder::new().with_config(config).with_src(path).generate().unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    tidy(String::from_utf8(text).unwrap().trim())
}

/// Comments and declarations filled up to the width of the page, short comments
/// behind what they are about, and type names without `struct`: every struct has a
/// typedef of its name.
fn tidy(text: &str) -> String {
    let mut tidied = String::new();
    let mut lines = text.lines().peekable();
    let mut about: Option<String> = None;
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let plain = || line.replace("struct limbeck_", "limbeck_");
        if line.trim() == "/**" {
            let words = lines.by_ref().take_while(|line| line.trim() != "*/").flat_map(|line| {
                let line = line.trim().trim_start_matches('*').trim();
                assert!(!line.is_empty(), "a comment of the header with paragraphs cannot be filled");
                line.split_whitespace()
            });
            let words = words.collect::<Vec<_>>().join(" ");
            let next = lines.peek().copied().unwrap_or_default();
            let short = next.len() + " /**<  */".len() + words.chars().count() <= WIDTH;
            match short && (next.starts_with("  ") || next.starts_with("#define")) {
                true => about = Some(words),
                false => tidied.push_str(&comment(indent, &words)),
            }
        } else if about.is_some() || line.starts_with('#') {
            match about.take() {
                Some(words) => writeln!(tidied, "{} /**< {words} */", plain()).unwrap(),
                None => writeln!(tidied, "{line}").unwrap(),
            }
            if line.starts_with('#') && lines.peek().is_some_and(|line| line.is_empty()) {
                let blank = lines.next().unwrap_or_default();
                // Constants that belong together stand together.
                let mut rest = lines.clone().skip_while(|line| line.trim().starts_with(['/', '*']));
                if !rest.next().is_some_and(|line| line.starts_with('#')) {
                    writeln!(tidied, "{blank}").unwrap();
                }
            }
        } else if !line.starts_with(['#', ' ', '}', '/']) && line.contains('(') {
            let mut code = line.to_owned();
            while !code.ends_with(';') {
                code.push_str(&format!(" {}", lines.next().expect("a declaration ends with a semicolon").trim()));
            }
            tidied.push_str(&declaration(&code.replace("struct limbeck_", "limbeck_")));
        } else if line.starts_with("typedef struct") {
            writeln!(tidied, "{line}").unwrap();
        } else {
            writeln!(tidied, "{}", plain()).unwrap();
        }
    }
    tidied
}

/// Functions of one line with a comment of one line stand together without blank
/// lines, and of several _init calls in a row the first comment serves for all.
fn listed(section: &str) -> String {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for block in section.trim_end().split("\n\n") {
        blocks.push(block.lines().collect());
    }
    let one = |block: &[&str]| matches!(block, [comment, code] if comment.starts_with("/**") && code.ends_with(");"));
    let init = |block: &[&str]| one(block) && block[1].contains("_init(");
    let mut text = String::new();
    for (i, block) in blocks.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|before| blocks.get(before));
        let again = before.is_some_and(|before| init(before) && init(block));
        if before.is_some_and(|before| !(one(before) && one(&blocks[i]) && (init(&blocks[i]) || !init(before)))) {
            text.push('\n');
        }
        match again {
            true => writeln!(text, "{} /**< As above. */", block[1]).unwrap(),
            false => block.iter().for_each(|line| writeln!(text, "{line}").unwrap()),
        }
    }
    text
}

/// The longest line of the header.
const WIDTH: usize = 100;

fn comment(indent: &str, text: &str) -> String {
    // The end of the comment is kept on the line of its last word.
    let mut lines = filled(&format!("{text}\u{a0}*/"), WIDTH - indent.len() - 4);
    if let Some(last) = lines.last_mut() {
        *last = last.replace('\u{a0}', " ");
    }
    format!("{indent}/** {}\n", lines.join(&format!("\n{indent} *  ")))
}

/// A declaration; what does not fit on its line stands below.
fn declaration(code: &str) -> String {
    let code = code.replace("( ", "(");
    if code.len() <= WIDTH {
        return format!("{code}\n");
    }
    let start = code.rfind('(').unwrap_or(0) + 1;
    let parameters: Vec<String> =
        code[start..].split(", ").map(|parameter| format!("{},", parameter.replace(' ', "\u{a0}"))).collect();
    let parameters = parameters.join(" ");
    let parameters = parameters.trim_end_matches(',');
    let head = &code[..start];
    // Or on lines of their own, where that makes less lines.
    let (beside, below) = (filled(parameters, WIDTH - start), filled(parameters, WIDTH - 4));
    let text = match below.len() + 1 < beside.len() {
        true => format!("{head}\n    {}\n", below.join("\n    ")),
        false => format!("{head}{}\n", beside.join(&format!("\n{}", " ".repeat(start)))),
    };
    text.replace('\u{a0}', " ")
}

/// Words in lines of at most `width` characters; the hard space does not part words.
fn filled(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
