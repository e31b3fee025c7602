//! The cases of `tests/conformance`, which every language's binding runs, through the sdk; and the
//! command that writes what they expect: `LIMBECK_BLESS=1 cargo test -p limbeck-capi --test conformance`.

mod file;
mod sdk;
#[path = "../support/mod.rs"]
mod support;
mod writing;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use file::CaseFile;
use serde_json::{Value, json};

const BLESS: &str = "LIMBECK_BLESS=1 cargo test -p limbeck-capi --test conformance";

/// Nobody reads bundles while they are written.
static BUNDLES: Mutex<()> = Mutex::new(());

fn folder() -> PathBuf {
    support::root().join("tests/conformance")
}

fn blessing() -> bool {
    std::env::var_os("LIMBECK_BLESS").is_some_and(|value| value == "1")
}

/// All files of cases, by name.
fn files() -> Vec<CaseFile> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| !path.ends_with("statuses.json"))
        .collect();
    paths.sort();
    paths.into_iter().map(CaseFile::read).collect()
}

#[test]
fn the_sdk_answers_as_the_cases_say() {
    let _lock = BUNDLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = sdk::World::new(folder());
    let mut failures = Vec::new();
    for mut file in files() {
        let tolerance = file.tolerance;
        for case in &mut file.cases {
            // Text that is no text has no place in the sdk's signatures.
            if case.needs("bytes") {
                continue;
            }
            let found = world.run(case);
            if blessing() {
                case.bless(found);
            } else if let Some(difference) = file::difference(&case.expect, &found, tolerance) {
                failures.push(format!("{}: {}: {difference}", file.path.display(), case.name));
            }
        }
        if blessing() {
            std::fs::write(&file.path, file.to_text()).unwrap();
        }
    }
    assert!(failures.is_empty(), "{}\nif the changes are meant: {BLESS}", failures.join("\n"));
}

/// The bundles that the cases name, byte for byte.
#[test]
fn the_bundles_are_what_the_sources_give() {
    let _lock = BUNDLES.lock().unwrap_or_else(PoisonError::into_inner);
    let made = tempfile::tempdir().unwrap();
    support::tiny::write_all(made.path());
    let names = |folder: PathBuf| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let committed = folder().join("bundles");
    if blessing() {
        for name in names(made.path().to_owned()) {
            std::fs::copy(made.path().join(&name), committed.join(&name)).unwrap();
        }
    }
    assert_eq!(names(committed.clone()), names(made.path().to_owned()), "{BLESS}");
    for name in names(committed.clone()) {
        let [old, new] = [&committed, made.path()].map(|folder| std::fs::read(folder.join(&name)).unwrap());
        assert!(old == new, "{name} is not what capi/tests/support/tiny.rs writes: {BLESS}");
    }
}

/// The numbers and names by which bindings make their exceptions.
#[test]
fn the_statuses_are_those_of_the_header() {
    let header = std::fs::read_to_string(support::capi().join("include/limbeck.h")).unwrap();
    let statuses: Vec<Value> = header
        .split_once("typedef enum limbeck_status_code {")
        .and_then(|(_, rest)| rest.split_once('}'))
        .unwrap()
        .0
        .lines()
        .filter_map(|line| line.trim().split_once(',')?.0.split_once(" = "))
        .map(|(name, code)| json!({"code": code.parse::<i32>().unwrap(), "name": name}))
        .collect();
    assert!(statuses.len() > 20);
    let text = file::to_text(&json!({"format": 1, "statuses": statuses}));
    support::compare_with_snapshot(&folder().join("statuses.json"), &text, BLESS);
}

/// Every call has cases that answer and cases that fail, and no two cases have one name.
#[test]
fn no_call_is_forgotten() {
    let (mut answers, mut errors, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for file in files() {
        for case in file.cases {
            assert!(
                names.insert((file.path.clone(), case.name.clone())),
                "{}: twice {:?}",
                file.path.display(),
                case.name
            );
            let fails = case.expect.get("error").is_some()
                || case.expect["steps"]
                    .as_array()
                    .is_some_and(|steps| steps.iter().any(|step| step.get("error").is_some()));
            if fails { &mut errors } else { &mut answers }.insert(case.call.clone());
            if case.call == "slot" {
                answers.insert(case.call);
            }
        }
    }
    let calls: BTreeSet<String> = sdk::CALLS.map(str::to_owned).into();
    assert_eq!(answers, calls);
    assert_eq!(errors, calls);
    assert!(names.len() >= 100, "only {} cases", names.len());
}
