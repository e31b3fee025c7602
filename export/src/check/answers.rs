//! A teacher that is only a file of answers.

use std::path::Path;

use super::Findings;
use super::agreement::Agreement;
use super::teacher::{MOST_LABELS, better_order};
use crate::data::{Goal, Rows};
use crate::distill::read_teacher_file;
use crate::pipeline::{PreparedData, above_chance, agreement, asked, margin};
use crate::recipe::Recipe;

/// Whether the file can be read, for the rows that it must answer, and how well it agrees with the labels.
pub(super) fn check(recipe: &Recipe, data: &PreparedData, answered: &Rows, folder: &Path, findings: &mut Findings) {
    let Some(file) = &recipe.teacher.answers else { return };
    let rows = &data.split.train;
    let read = asked(answered, data.goal)
        .and_then(|asked| read_teacher_file(&folder.join(file), data.goal, &asked, &data.labels))
        .and_then(|given| {
            let found = agreement(&given.logits, rows, data.goal, &data.labels)?;
            Ok((given, found))
        });
    let (given, (share, chance)) = match read {
        Ok(found) => found,
        Err(error) => return findings.problem(format!("teacher.answers: {error:#}")),
    };
    let (Rows::Texts(rows), Goal::Class) = (rows, data.goal) else {
        findings.fact(format!(
            "teacher: the answers of {file} have {} {:.1} on {} training rows; {} answers are for other texts",
            data.goal.measure(),
            share * 100.0,
            rows.len(),
            given.unused
        ));
        if let Err(error) =
            above_chance(&format!("teacher.answers: {file}"), data.goal, "the training rows", share, chance)
        {
            findings.problem(format!("{error:#}"));
        }
        return;
    };
    let chosen: Vec<i64> = Vec::try_from(given.logits.argmax(-1, false)).unwrap_or_default();
    let mut counts = Agreement::new(data.labels.len());
    for (row, chosen) in rows.iter().zip(chosen) {
        if let Some(right) = data.labels.iter().position(|label| *label == row.label) {
            counts.add(&[right], &[chosen as usize]);
        }
    }
    findings.fact(format!(
        "teacher: the answers of {file} are right for {:.1}% of {} training rows; the largest class alone is {:.1}%; \
         {} answers are for other texts",
        share * 100.0,
        rows.len(),
        chance * 100.0,
        given.unused
    ));
    let better = (data.labels.len() <= MOST_LABELS).then(|| better_order(&counts, data)).flatten();
    if let Some(better) = better {
        findings.problem(format!(
            "teacher.answers: {file} fits the labels far better in another order ({}): its lists are in the order {}; say \
             so in its first line, {{\"labels\": [...]}}",
            better.gain, better.order
        ));
    } else if (share - chance) * 100.0 < margin(chance) {
        let hint = match given.by_position {
            true => "; it has no texts: are its rows in the order of the training rows? Give each its `text`",
            false => "",
        };
        findings.problem(format!(
            "teacher.answers: {file} is right for {:.1}%, the largest class alone for {:.1}%: there is nothing to distil{hint}",
            share * 100.0,
            chance * 100.0
        ));
    }
}
