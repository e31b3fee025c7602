//! The recipe of `limbeck distill --recipe auto`: all that a data folder and a task leave open, decided here.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Recipe;
use crate::pack::TaskName;

/// What the files of data are called after `train.`, `dev.` and `test.`.
const ENDINGS: [&str; 5] = ["jsonl", "json", "csv", "tsv", "conll"];

impl Recipe {
    /// A recipe for a folder with one file each of `train`, `dev` and `test` (as `train.tsv`), columns and labels by
    /// their default names (`text`, of pairs `pair` too, `label`), by [`super::Method::LayersFirst`]. The student's shape is a placeholder that the search for a
    /// latency replaces.
    ///
    /// # Errors
    /// A file that is missing or there twice.
    pub fn auto(task: TaskName, folder: &Path) -> Result<Self> {
        let pairs = matches!(task, TaskName::PairClassification | TaskName::SentenceEmbedding);
        let [train, dev, test] = ["train", "dev", "test"].map(|role| set_file(folder, role));
        Self::parse(&format!(
            "id = \"{}\"\ntask = {}\nmethod = \"layers-first\"\n\
             [data]\ntrain = \"{}\"\ndev = \"{}\"\ntest = \"{}\"\n{}\
             [teacher.train]\nepochs = 3\nlearning_rate = 1e-4\n\
             [student]\nlayers = 1\n\
             [student.train]\nepochs = 5\nlearning_rate = 2e-4\n",
            id(folder),
            toml::Value::try_from(task)?,
            train?,
            dev?,
            test?,
            if pairs { "columns = { pair = \"pair\" }\n" } else { "" }
        ))
    }
}

/// The bundle's name: that of the folder, as far as a bundle may have it.
fn id(folder: &Path) -> String {
    let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let kept: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(100).collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() { "student".to_owned() } else { kept.to_owned() }
}

fn set_file(folder: &Path, role: &str) -> Result<String> {
    let names = ENDINGS.iter().map(|ending| format!("{role}.{ending}"));
    let mut found = names.filter(|name| folder.join(name).is_file());
    let first = found.next().with_context(|| {
        format!(
            "there is no {role} file in {}: --recipe auto reads {role}.jsonl, .json, .csv, .tsv or .conll; files of other \
             names, or one file to be split, need a recipe of your own",
            folder.display()
        )
    })?;
    if let Some(second) = found.next() {
        bail!(
            "{} has both {first} and {second}; which is the {role} set? Remove one, or write a recipe",
            folder.display()
        );
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_three_sets_is_a_recipe() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("My Data!");
        std::fs::create_dir(&folder).unwrap();
        for name in ["train.tsv", "dev.jsonl"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let error = format!("{:#}", Recipe::auto(TaskName::TextClassification, &folder).unwrap_err());
        assert!(error.contains("there is no test file") && error.contains("test.jsonl"), "{error}");
        std::fs::write(folder.join("test.csv"), "").unwrap();
        let recipe = Recipe::auto(TaskName::TokenClassification, &folder).unwrap();
        assert_eq!((recipe.id.as_str(), recipe.data.dev.as_deref()), ("my-data", Some("dev.jsonl")));
        assert_eq!(recipe.stages.len(), 2);
        // What is written out is a recipe as any other.
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
        std::fs::write(folder.join("test.tsv"), "").unwrap();
        let error = format!("{:#}", Recipe::auto(TaskName::TextClassification, &folder).unwrap_err());
        assert!(error.contains("both test.csv and test.tsv"), "{error}");
    }
}
