//! The same texts twice: inside a set, between sets, with other labels, with their sides swapped.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::data::{Part, UNSPLIT};
use super::{Findings, counted, percent, shown};
use crate::data::{Goal, Rows, labels_of, normalised};

/// From this share of the rows on, what is twice is worth a warning.
const MANY: f64 = 0.01;
/// Examples that are shown.
const SHOWN: usize = 3;

/// A row: its part and its place there.
type Place = (usize, usize);

/// Rows that were found, of which the first few are kept to be shown.
#[derive(Default)]
struct Found {
    count: usize,
    first: Vec<(Place, Place)>,
}

impl Found {
    fn add(&mut self, earlier: Place, row: Place) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push((earlier, row));
        }
    }

    fn say(&self, parts: &[Part]) -> String {
        let one = |(earlier, row): &(Place, Place)| {
            let (first, second) = (place(parts, *earlier), place(parts, *row));
            let places = if first == second { first } else { format!("{first} and {second}") };
            format!("{} ({places})", text(parts, *row))
        };
        self.first.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// Returns how many rows have the text of another with another label, in other case.
pub(super) fn check(parts: &[Part], goal: Goal, findings: &mut Findings) -> usize {
    let keys: Vec<Vec<String>> = parts.iter().map(|part| part.rows.keys()).collect();
    let mut first: HashMap<(&str, &str), Place> = HashMap::new();
    let mut within: HashMap<&str, Found> = HashMap::new();
    let mut between: HashMap<(&str, &str), Found> = HashMap::new();
    let (mut other_label, mut by_case) = (Found::default(), 0);
    let mut labels: HashMap<&str, (Place, Option<String>)> = HashMap::new();
    let roles: Vec<&str> = parts.iter().fold(Vec::new(), |mut roles, part| {
        if !roles.contains(&part.role) {
            roles.push(part.role);
        }
        roles
    });
    for (index, part) in parts.iter().enumerate() {
        for (row, key) in keys[index].iter().enumerate() {
            let here = (index, row);
            match first.get(&(part.role, key.as_str())) {
                Some(earlier) => within.entry(part.role).or_default().add(*earlier, here),
                None => {
                    for role in roles.iter().filter(|role| **role != part.role) {
                        if let Some(earlier) = first.get(&(*role, key.as_str())) {
                            between.entry((role, part.role)).or_default().add(*earlier, here);
                        }
                    }
                    first.insert((part.role, key), here);
                }
            }
            let label = label(&part.rows, row, goal);
            let (earlier, known) = labels.entry(key).or_insert_with(|| (here, label.clone()));
            if *known != label {
                other_label.add(*earlier, here);
                let same = raw(&parts[earlier.0].rows, earlier.1) == raw(&part.rows, row);
                by_case += usize::from(!same);
            }
        }
    }
    let rows = |role: &str| parts.iter().filter(|part| part.role == role).map(|part| part.rows.len()).sum::<usize>();
    for role in &roles {
        let Some(found) = within.get(role) else { continue };
        let dropped = *role == UNSPLIT && goal == Goal::Class;
        findings.weigh(found.count, rows(role), if dropped { f64::INFINITY } else { MANY }, || {
            let fix = match (dropped, *role) {
                (true, _) => "; they are dropped",
                (false, "train" | UNSPLIT) => "; they count several times in training: remove them",
                _ => "; they count several times in the score: remove them",
            };
            let share = percent(found.count, rows(role));
            format!("{role}: {} of the set ({share}) repeated{fix}: {}", counted(found.count, "row"), found.say(parts))
        });
    }
    for (one, other) in [("train", "dev"), ("train", "test"), ("dev", "test")] {
        let Some(found) = between.get(&(one, other)) else { continue };
        let fix = match one {
            "train" => "distill leaves them out of train",
            _ => "what chooses must not be what reports: remove them from one",
        };
        findings.warning(format!(
            "{one} and {other} share {}; {fix}: {}",
            counted(found.count, "text"),
            found.say(parts)
        ));
    }
    let all = parts.iter().map(|part| part.rows.len()).sum();
    findings.weigh(other_label.count, all, MANY, || {
        let fix = if roles == [UNSPLIT] && goal == Goal::Class {
            "; all of them are dropped"
        } else {
            "; keep the right one"
        };
        let one = |(earlier, row): &(Place, Place)| {
            let label = |place: &Place| label(&parts[place.0].rows, place.1, goal).unwrap_or_default();
            let (first, second) = (shown(&label(earlier)), shown(&label(row)));
            format!(
                "{} is {first} ({}) and {second} ({})",
                text(parts, *row),
                place(parts, *earlier),
                place(parts, *row)
            )
        };
        let first: Vec<_> = other_label.first.iter().map(one).collect();
        let rows = counted(other_label.count, "row");
        format!("{rows} with the text of another and another label{fix}: {}", first.join("; "))
    });
    swapped(parts, &keys, findings);
    contexts(parts, findings);
    by_case
}

/// Pairs that stand in one set as (a, b) and in another as (b, a), those that a split may tear apart so, and those inside a set.
fn swapped(parts: &[Part], keys: &[Vec<String>], findings: &mut Findings) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    let (mut apart, mut inside, mut unsplit, mut all) = (Found::default(), Found::default(), Found::default(), 0);
    for (index, part) in parts.iter().enumerate() {
        let Rows::Texts(rows) = &part.rows else { return };
        all += rows.len();
        for (row, (example, key)) in rows.iter().zip(&keys[index]).enumerate() {
            let Some(pair) = &example.pair else { continue };
            let turned = format!("{}\n{}", normalised(pair), normalised(&example.text));
            match seen.get(turned.as_str()).filter(|_| turned != *key) {
                Some(earlier) if parts[earlier.0].role != part.role => apart.add(*earlier, (index, row)),
                Some(earlier) if part.role == UNSPLIT => unsplit.add(*earlier, (index, row)),
                Some(earlier) => inside.add(*earlier, (index, row)),
                None => {}
            }
            seen.entry(key).or_insert((index, row));
        }
    }
    findings.weigh(apart.count, all, 0.0, || {
        format!(
            "{} of two sets, with the texts swapped, which distill does not see; remove them from one: {}",
            counted(apart.count, "pair"),
            apart.say(parts)
        )
    });
    findings.weigh(unsplit.count, all, 0.0, || {
        format!(
            "{} twice in the files, with the texts swapped, of which distill may put one into train and one into test; remove one: {}",
            counted(unsplit.count, "pair"),
            unsplit.say(parts)
        )
    });
    findings.weigh(inside.count, all, f64::INFINITY, || {
        format!("{} twice in a set, with the texts swapped: {}", counted(inside.count, "pair"), inside.say(parts))
    });
}

/// Texts that are asked about in two sets, by other questions.
fn contexts(parts: &[Part], findings: &mut Findings) {
    let of = |role: &str| -> HashSet<&str> {
        let rows = parts.iter().filter(|part| part.role == role);
        rows.filter_map(|part| if let Rows::Questions(rows) = &part.rows { Some(rows) } else { None })
            .flatten()
            .map(|question| question.context.as_str())
            .collect()
    };
    for (one, other) in [("train", "dev"), ("train", "test"), ("dev", "test")] {
        let (first, second) = (of(one), of(other));
        let mut shared: Vec<_> = second.iter().filter(|context| first.contains(*context)).collect();
        shared.sort_unstable();
        if let Some(text) = shared.first() {
            findings.warning(format!(
                "{} of {} texts that {other} asks about stand in {one} too, so that its answers are easier there than \
                 elsewhere; keep each text in one set: {}",
                shared.len(),
                second.len(),
                shown(text)
            ));
        }
    }
}

/// A row's label, alike where it means the same.
fn label(rows: &Rows, row: usize, goal: Goal) -> Option<String> {
    match rows {
        Rows::Texts(rows) if goal == Goal::Labels => {
            let names: BTreeSet<&str> = labels_of(&rows[row].label).collect();
            Some(names.into_iter().collect::<Vec<_>>().join("|"))
        }
        Rows::Texts(rows) => match (goal, rows[row].value()) {
            (Goal::Value | Goal::Similarity { .. }, Ok(value)) => Some(value.to_string()),
            _ => Some(rows[row].label.clone()),
        },
        Rows::Tagged(rows) => Some(rows[row].words.iter().map(|word| word.tag.as_str()).collect::<Vec<_>>().join(" ")),
        Rows::Questions(_) => None,
    }
}

/// The text but for its white space.
fn raw(rows: &Rows, row: usize) -> Vec<&str> {
    match rows {
        Rows::Texts(rows) => {
            rows[row].text.split_whitespace().chain(rows[row].pair.iter().flat_map(|p| p.split_whitespace())).collect()
        }
        Rows::Tagged(rows) => rows[row].text.split_whitespace().collect(),
        Rows::Questions(rows) => rows[row].question.split_whitespace().collect(),
    }
}

/// What a row says, shortened.
fn text(parts: &[Part], (part, row): Place) -> String {
    match &parts[part].rows {
        Rows::Texts(rows) => match &rows[row].pair {
            None => shown(&rows[row].text),
            Some(pair) => format!("{} + {}", shown(&rows[row].text), shown(pair)),
        },
        Rows::Tagged(rows) => shown(&rows[row].text),
        Rows::Questions(rows) => shown(&rows[row].question),
    }
}

/// Where it stands: the file, and the line or the question where that is known.
fn place(parts: &[Part], (part, row): Place) -> String {
    let Part { file, rows, .. } = &parts[part];
    match rows {
        Rows::Texts(_) => file.clone(),
        Rows::Tagged(rows) => format!("{file} {}", rows[row].source.rsplit(", ").next().unwrap_or_default()),
        Rows::Questions(rows) => format!("{file} question {}", rows[row].id),
    }
}
