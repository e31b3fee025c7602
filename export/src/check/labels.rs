//! Labels: rare, unseen, twice, numbers that are names and names that are numbers; numbers out of range.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::data::{Example, Goal, Rows, entities_of, labels_of, normalised};
use crate::pipeline::{PreparedData, margin};
use crate::recipe::{Recipe, TeacherSource};

/// Below this share of all training rows a class is called rare, where there are few classes.
const RARE: f64 = 0.02;
/// Where there are more classes than this, rare are those with fewer rows than [`FEW`], and not all are listed.
const MANY: usize = 20;
const FEW: usize = 5;
/// Beyond this, a new head takes long to reach the numbers: its first outputs are near 0.
const FAR: f64 = 20.0;

pub(super) fn check(data: &PreparedData, recipe: &Recipe, findings: &mut Findings) {
    let sets = [("train", &data.split.train), ("dev", &data.split.dev), ("test", &data.split.test)];
    match data.goal {
        Goal::Class | Goal::Labels | Goal::Tags => {
            counts(data, findings);
            unseen(data, &sets[1..], findings);
            twins(&data.labels, findings);
        }
        Goal::Value | Goal::Similarity { .. } => {
            for (name, rows) in sets {
                numbers(name, rows, data.goal, findings);
            }
        }
        Goal::Answers => {
            let Rows::Questions(questions) = &data.split.train else { return };
            let without = questions.iter().filter(|question| question.answers.is_empty()).count();
            findings.fact(format!("answers: {without} of {} training questions have none", questions.len()));
        }
    }
    match (&data.split.train, data.goal) {
        (Rows::Texts(rows), Goal::Class) => names(rows, recipe, findings),
        (Rows::Texts(rows), Goal::Labels) => several(rows, &data.labels, findings),
        (Rows::Tagged(texts), _) => {
            let tags = || texts.iter().map(|text| text.words.iter().map(|word| word.tag.as_str()));
            let all: usize = tags().map(|tags| entities_of(tags).len()).sum();
            let open = texts.iter().flat_map(|text| {
                let tags: Vec<&str> = text.words.iter().map(|word| word.tag.as_str()).collect();
                entities_of(tags.iter().copied()).into_iter().map(move |(first, ..)| tags[first].starts_with("I-"))
            });
            let open = open.filter(|open| *open).count();
            findings.fact(format!("entities: {all} to train on"));
            findings.weigh(open, all, 0.05, || {
                format!(
                    "tags: {open} of {all} entities begin with I- instead of B- (an older scheme); write them with B-"
                )
            });
        }
        _ => {}
    }
    let chance = data.chance_on_dev() * 100.0;
    if recipe.teacher.source == TeacherSource::Finetune {
        let what = match data.goal {
            Goal::Class => "largest class of dev alone",
            _ => "chance",
        };
        findings.fact(format!(
            "{what}: {} {chance:.1}; a teacher must reach {:.1}, or there is nothing to distil",
            data.goal.measure(),
            chance + margin(data.chance_on_dev())
        ));
    } else if data.goal == Goal::Class {
        findings.fact(format!("largest class of dev alone: {chance:.1}%; the teacher must beat it"));
    }
}

/// How many rows (of tags: words) have each label.
pub(super) fn label_counts(rows: &Rows, goal: Goal) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    let mut add = |label| *counts.entry(label).or_default() += 1;
    match rows {
        Rows::Texts(rows) if goal == Goal::Labels => {
            rows.iter().flat_map(|row| labels_of(&row.label)).for_each(&mut add)
        }
        Rows::Texts(rows) => rows.iter().map(|row| row.label.as_str()).for_each(&mut add),
        Rows::Tagged(rows) => rows.iter().flat_map(|row| &row.words).map(|word| word.tag.as_str()).for_each(&mut add),
        Rows::Questions(_) => {}
    }
    counts
}

fn counts(data: &PreparedData, findings: &mut Findings) {
    let counts = label_counts(&data.split.train, data.goal);
    let mut sorted: Vec<(&str, usize)> = counts.into_iter().collect();
    sorted.sort_by_key(|(label, count)| (*count, *label));
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return };
    if sorted.len() <= MANY {
        let all: Vec<String> = sorted.iter().rev().map(|(label, count)| format!("{label} {count}")).collect();
        findings.fact(format!("labels: {}", all.join(", ")));
    } else {
        findings.fact(format!("labels: {}, from {} ({}) to {} ({})", sorted.len(), most.0, most.1, least.0, least.1));
    }
    if data.goal == Goal::Tags {
        return;
    }
    let rows = data.split.train.len();
    let few = if sorted.len() <= MANY { rows as f64 * RARE } else { FEW as f64 };
    let rare: Vec<_> = sorted.iter().filter(|(_, count)| (*count as f64) < few).collect();
    match rare.as_slice() {
        [] => {}
        [(label, count)] => findings.warning(format!("label \"{label}\" has only {count} training rows; add some")),
        several => {
            let first: Vec<String> = several.iter().take(3).map(|(label, count)| format!("{label} {count}")).collect();
            findings.warning(format!(
                "{} labels have few training rows: {}{}; add some",
                several.len(),
                first.join(", "),
                if several.len() > 3 { ", ..." } else { "" }
            ));
        }
    }
}

/// Labels of dev and test that are not learned, and labels that nothing there shows.
fn unseen(data: &PreparedData, sets: &[(&str, &Rows)], findings: &mut Findings) {
    for (name, rows) in sets {
        let counts = label_counts(rows, data.goal);
        let strange: Vec<String> = counts
            .iter()
            .filter(|(label, _)| !data.labels.iter().any(|known| known == *label))
            .map(|(label, count)| format!("\"{label}\" ({count})"))
            .collect();
        if !strange.is_empty() {
            findings.problem(format!(
                "{name} has labels that train has not: {}; add training rows, or rename them (data.columns.rename)",
                strange.join(", ")
            ));
        }
        let missing: Vec<&str> = data
            .labels
            .iter()
            .map(String::as_str)
            .filter(|label| *label != "O" && !counts.contains_key(label))
            .collect();
        if !missing.is_empty() {
            findings.warning(format!(
                "{name} has no row for {} of {} labels, so that nothing shows how well they are learned: {}{}",
                missing.len(),
                data.labels.len(),
                missing[..missing.len().min(3)].join(", "),
                if missing.len() > 3 { ", ..." } else { "" }
            ));
        }
    }
}

/// Labels that are one but for case and white space.
fn twins(labels: &[String], findings: &mut Findings) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for label in labels {
        if let Some(first) = seen.insert(normalised(label), label) {
            findings.warning(format!(
                "labels \"{first}\" and \"{label}\" differ only in case or white space; make them one with \
                 data.columns.rename"
            ));
        }
    }
}

/// Names that look like numbers, several names in one, or nearly as many names as rows.
fn names(rows: &[Example], recipe: &Recipe, findings: &mut Findings) {
    let labels: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    let values: Option<Vec<f64>> = labels.iter().map(|label| label.trim().parse().ok()).collect();
    if let Some(values) = values {
        let whole = values.iter().all(|value| value.fract() == 0.0);
        if !whole || values.len() > MANY {
            findings.warning(format!(
                "the {} labels are numbers, and each is learned as a name of its own; labels = \"number\" learns them as \
                 numbers",
                labels.len()
            ));
        } else if recipe.data.columns.rename.is_empty() {
            let all: Vec<&str> = labels.iter().copied().collect();
            findings.fact(format!(
                "hint: the labels are called {}; data.columns.rename can give them words, which the bundle then says",
                all.join(", ")
            ));
        }
    } else if rows.len() >= MANY && labels.len() * 2 > rows.len() {
        findings.warning(format!(
            "{} different labels in {} training rows: is \"{}\" the column of the label (data.columns.label)?",
            labels.len(),
            rows.len(),
            recipe.data.columns.label
        ));
    }
    let joined = rows.iter().filter(|row| row.label.contains('|')).count();
    findings.weigh(joined, 1, 1.0, || {
        format!("{joined} labels hold a \"|\"; if rows have several labels, say labels = \"several\"")
    });
}

fn several(rows: &[Example], labels: &[String], findings: &mut Findings) {
    let each: Vec<usize> = rows.iter().map(|row| labels_of(&row.label).count()).collect();
    let (none, all) = (each.iter().filter(|count| **count == 0).count(), each.iter().sum::<usize>());
    findings.fact(format!(
        "labels a row: {:.1}; {none} of {} training rows have none",
        all as f64 / rows.len().max(1) as f64,
        rows.len()
    ));
    if each.iter().all(|count| *count == 1) && labels.len() > 1 {
        findings.warning("every training row has just one label; labels = \"one\" learns to choose among them");
    }
    for label in labels {
        let count = rows.iter().filter(|row| labels_of(&row.label).any(|own| own == label)).count();
        if count == rows.len() {
            findings.warning(format!("every training row has the label \"{label}\": there is nothing to learn of it"));
        }
    }
}

fn numbers(set: &str, rows: &Rows, goal: Goal, findings: &mut Findings) {
    let Rows::Texts(rows) = rows else { return };
    let values: Result<Vec<f64>, _> = rows.iter().map(Example::value).collect();
    let mut values = match values {
        Ok(values) => values,
        Err(error) => return findings.problem(format!("{set}: {error:#}; are these names? Then labels = \"one\"")),
    };
    values.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else { return };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let mut distinct = values.clone();
    distinct.dedup();
    findings.fact(format!("{set}: numbers from {low} to {high}, {mean:.2} in the mean"));
    if distinct.len() == 1 {
        return findings.problem(format!("{set}: all numbers are {low}; there is nothing to learn or to compare"));
    }
    if distinct.len() == 2 && goal == Goal::Value && set == "train" {
        findings.warning(format!(
            "{set}: only two numbers, {low} and {high}: these look like names; labels = \"one\" learns them so"
        ));
    }
    match goal {
        Goal::Similarity { highest } => {
            let beyond = values.iter().filter(|value| **value > highest).count();
            if beyond > 0 {
                findings.problem(format!(
                    "{set}: {beyond} of {} similarities are above highest = {highest} (up to {high}), which no cosine \
                     reaches; say highest = {high}",
                    values.len()
                ));
            }
            if high <= highest / 2.0 {
                findings.warning(format!(
                    "{set}: no similarity is above {high}, but highest = {highest} stands for the same meaning; say \
                     highest = {high} if {high} does"
                ));
            }
            if low < -highest {
                findings.problem(format!("{set}: a similarity of {low} is below -{highest}, which no cosine reaches"));
            }
        }
        _ if set == "train" && (low.abs().max(high.abs()) > FAR) => findings.warning(format!(
            "{set}: numbers up to {:.0} are far from a new head's first outputs, which are near 0, and take long to reach; \
             divide them in the file",
            low.abs().max(high.abs())
        )),
        _ => {}
    }
}
