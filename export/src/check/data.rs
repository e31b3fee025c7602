//! The recipe's files: whether they can be read, and what stands in them.

use std::path::Path;

use super::{Findings, duplicates, labels, near};
use crate::checkpoint;
use crate::data::{Goal, Rows};
use crate::pipeline::{PreparedData, Unlabelled, labels_of_finished, prepare, read_file};
use crate::progress::Reporter;
use crate::recipe::{Recipe, TeacherSource};

/// The rows of one file as they stand there.
pub(super) struct Part {
    /// `train`, `dev`, `test`, or `the data` where the recipe splits it.
    pub role: &'static str,
    pub file: String,
    pub rows: Rows,
}

/// The role of files that are still to be split.
pub(super) const UNSPLIT: &str = "the data";

/// What is known of the data.
pub(super) struct Data {
    pub prepared: Option<PreparedData>,
    /// The texts without labels, if a stage reads them.
    pub unlabelled: Option<Unlabelled>,
    /// Rows whose text occurs with another label and in other case.
    pub by_case: usize,
}

/// `teacher` is the first one's folder, whose labels count where it is finished, as in a run.
pub(super) fn check(
    recipe: &Recipe,
    goal: Goal,
    (folder, teacher): (&Path, Option<&Path>),
    reporter: &Reporter,
    findings: &mut Findings,
) -> Data {
    let mut data = Data { prepared: None, unlabelled: None, by_case: 0 };
    let mut parts = Vec::new();
    for (role, file) in files(recipe) {
        match read_file(recipe, goal, folder, file) {
            Ok(rows) => parts.push(Part { role, file: file.to_owned(), rows }),
            Err(error) => findings.problem(format!("data: {error:#}")),
        }
    }
    if parts.len() < files(recipe).count() {
        return data;
    }
    data.by_case = duplicates::check(&parts, goal, findings);
    drop(parts);
    match prepare(recipe, folder) {
        Ok(mut prepared) => {
            if recipe.teacher.source == TeacherSource::Finished
                && let Some((_, own)) = teacher.and_then(|teacher| checkpoint::read_shape(teacher).ok())
                && let Ok(labels) = labels_of_finished(&prepared.split.train, prepared.goal, own.ok().as_ref())
            {
                prepared.labels = labels;
            }
            let report = &prepared.report;
            findings.fact(format!(
                "data: {} to train on, {} dev, {} test; {} duplicates and {} contradictions dropped",
                report.train, report.dev, report.test, report.duplicates_dropped, report.contradictions_dropped
            ));
            labels::check(&prepared, recipe, findings);
            near::check(&prepared.split, reporter, findings);
            match Unlabelled::read(recipe, &prepared, folder) {
                Ok(Some(unlabelled)) => {
                    findings.fact(format!("data.unlabelled: {}", unlabelled.told()));
                    data.unlabelled = Some(unlabelled);
                }
                Ok(None) => {}
                Err(error) => findings.problem(format!("data: {error:#}")),
            }
            data.prepared = Some(prepared);
        }
        Err(error) => findings.problem(format!("data: {error:#}")),
    }
    data
}

fn files(recipe: &Recipe) -> impl Iterator<Item = (&'static str, &str)> {
    let data = &recipe.data;
    let sets = [("train", &data.train), ("dev", &data.dev), ("test", &data.test)];
    let sets = sets.into_iter().filter_map(|(role, file)| Some((role, file.as_deref()?)));
    data.files.iter().map(|file| (UNSPLIT, file.as_str())).chain(sets)
}
