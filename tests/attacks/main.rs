//! Damaged, foreign and hostile bundles: each must give its own error, from a file and from memory,
//! without a panic, in a message that names the file and the part.
//!
//! The files are made here from one small valid bundle; nothing is random, so a failing case has a name.

mod base;
mod case;
mod content;
mod damage;
mod header;
mod models;
mod onnx;
mod raw;
mod trust;

use std::collections::HashSet;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use case::{Case, Cases, Outcome};
use limbeck::{Bundle, BundleOptions, Error};

/// All cases that [`Bundle`] alone decides.
fn cases() -> Vec<Case> {
    let sections = base::sections();
    let base = raw::build(&sections);
    let names: Vec<String> = sections.iter().map(|section| section.name.clone()).collect();
    let mut cases = Cases::default();
    cases.opens("the base bundle", base.bytes.clone());
    damage::add(&mut cases, &base, &names);
    header::add(&mut cases, &sections, &base);
    content::add(&mut cases, &sections);
    trust::add(&mut cases, &sections);
    cases.0
}

/// What is wrong with an outcome, if anything. `file` is what the message must call the bundle.
fn complaint<T>(case: &Case, file: &str, result: std::thread::Result<Result<T, Error>>) -> Option<String> {
    let error = match (result, case.outcome) {
        (Err(_), _) => return Some("it panicked".into()),
        (Ok(Ok(_)), Outcome::Opens) => return None,
        (Ok(Ok(_)), expected) => return Some(format!("it opened; expected {expected:?}")),
        (Ok(Err(error)), Outcome::Opens) => return Some(format!("it was refused: {error}")),
        (Ok(Err(error)), Outcome::Refused(code)) if error.code() != code => {
            return Some(format!("expected {code:?}, found {:?}: {error}", error.code()));
        }
        (Ok(Err(error)), Outcome::Refused(_)) => error,
    };
    let message = error.to_string();
    if !message.contains(file) {
        return Some(format!("the message does not name the bundle `{file}`: {message}"));
    }
    match &case.names {
        Some(name) if !message.contains(name) => Some(format!("the message does not name `{name}`: {message}")),
        _ if message.len() > file.len() + 1000 => Some(format!("the message has {} bytes", message.len())),
        _ => None,
    }
}

/// Opens a case in every way there is: by path, from memory, as a part of a file that can be mapped and of one
/// that cannot, and from a stream. All must say the same.
fn try_all(case: &Case, path: &Path, options: &BundleOptions) -> Vec<String> {
    let length = case.bytes.len() as u64;
    let part = |offset: usize| {
        let mut file = tempfile::tempfile()?;
        file.write_all(&vec![0xAA; offset])?;
        file.write_all(&case.bytes)?;
        file.write_all(&[0xBB; 100])?;
        Ok(file)
    };
    let inside = |offset| {
        let file = part(offset).unwrap_or_else(|error: std::io::Error| panic!("a temporary file: {error}"));
        options.open_file(file, offset as u64, Some(length))
    };
    let by_path = path.display().to_string();
    type Open<'a> = &'a dyn Fn() -> Result<Bundle, Error>;
    let ways: [(&str, &str, Open); 5] = [
        ("file", &by_path, &|| options.open(path)),
        ("memory", "<memory>", &|| options.open_bytes(case.bytes.clone())),
        ("mapped part", "<file>", &|| inside(192)),
        ("part", "<file>", &|| inside(101)),
        ("stream", "<reader>", &|| options.open_reader(case.bytes.as_slice(), Some(length))),
    ];
    let complain = |(way, file, open): (&str, &str, Open)| {
        complaint(case, file, catch_unwind(AssertUnwindSafe(open))).map(|text| format!("{way}: {text}"))
    };
    ways.into_iter().filter_map(complain).collect()
}

/// Tries all cases; returns how many had to be refused.
fn try_cases(cases: &[Case], options: &BundleOptions) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("damaged.limbeck");
    let (mut wrong, mut names) = (Vec::new(), HashSet::new());
    for case in cases {
        assert!(names.insert(case.name.as_str()), "two cases are called `{}`", case.name);
        std::fs::write(&path, &case.bytes).expect("the temporary folder can be written");
        wrong.extend(try_all(case, &path, options).into_iter().map(|text| format!("{}: {text}", case.name)));
    }
    let refused = cases.iter().filter(|case| case.outcome != Outcome::Opens).count();
    println!("{refused} bundles that must be refused, {} that must open", cases.len() - refused);
    assert!(wrong.is_empty(), "{} wrong outcomes:\n{}", wrong.len(), wrong.join("\n"));
    refused
}

#[test]
fn every_damaged_bundle_gives_its_own_error() {
    let cases = cases();
    let refused = try_cases(&cases, &Bundle::options());
    assert!(refused >= 200, "only {refused} damaged bundles");
}

/// The cases are only as good as the base: it must be what the library itself writes.
#[test]
fn the_base_bundle_is_the_librarys_own() {
    let own = raw::build(&base::sections()).bytes;
    let library = base::written_by_the_library();
    assert_eq!(own.len(), library.len());
    let first = own.iter().zip(&library).position(|(a, b)| a != b);
    assert_eq!(first, None, "first differing byte");
}

#[test]
fn paths_that_are_no_files_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, code) in [
        (folder.path().join("nowhere.limbeck"), limbeck::Code::NotFound),
        (folder.path().to_owned(), limbeck::Code::Io),
    ] {
        let error = Bundle::open(&path).expect_err("there is no file");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
