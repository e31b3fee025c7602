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
    ("text", &["limbeck_str"]),
    ("error", &[]),
    ("version", &[]),
    ("env", &[]),
    ("bundle", &[]),
    ("model", &[]),
    ("cancel", &[]),
    ("classify", &[]),
    ("result", &[]),
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

#[test]
fn no_section_is_forgotten() {
    for entry in fs::read_dir(support::capi().join("src")).unwrap() {
        let path = entry.unwrap().path();
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
         #ifndef LIMBECK_H\n#define LIMBECK_H\n\n\
         #include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n\
         #ifdef __cplusplus\nextern \"C\" {\n#endif\n",
    );
    for (name, include) in SECTIONS {
        let path = src.join(format!("{name}.rs"));
        header.push_str("\n\n/* ======================================================================\n");
        for line in module_docs(&path) {
            header.push_str(format!(" * {line}").trim_end());
            header.push('\n');
        }
        header.push_str(" * ====================================================================== */\n\n");
        header.push_str(&section(&path, include));
        if *name == "version" {
            writeln!(
                header,
                "\n/** Version of this header, for people. */\n#define LIMBECK_VERSION \"{}\"\n\n\
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

/// Comments of one line on one line, and type names without `struct`: every
/// struct has a typedef of its name.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut tidied = String::new();
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        if line.trim() == "/**" && lines.get(i + 2).is_some_and(|end| end.trim() == "*/") {
            let comment = lines[i + 1].trim().trim_start_matches("* ");
            let indent = &line[..line.len() - line.trim_start().len()];
            writeln!(tidied, "{indent}/** {comment} */").unwrap();
            i += 3;
            continue;
        }
        let line =
            if line.starts_with("typedef") { line.to_owned() } else { line.replace("struct limbeck_", "limbeck_") };
        tidied.push_str(&line);
        tidied.push('\n');
        i += 1;
    }
    tidied
}
