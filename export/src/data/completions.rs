//! Prompts with the completion that is right, as GPT-3's arithmetic files have them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::read_text;

/// A prompt and what should follow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Completion {
    /// The prompt, without examples.
    pub context: String,
    /// What should follow, usually with the space before it.
    pub completion: String,
    /// Completions to choose from, the right one among them; without any, text is written.
    #[serde(default)]
    pub choices: Vec<String>,
    /// What it is about: examples are taken from the same task, and scores are by task.
    #[serde(default)]
    pub task: String,
}

/// Reads a JSON Lines file: `{"context": "\n\nQ: What is 98 plus 45?\n\nA:", "completion": " 143"}` in each, and as one likes
/// `choices` and `task`. Other keys are not read.
///
/// # Errors
/// No such file, not UTF-8; by file and line broken JSON, a key that is missing, an empty context or completion, a
/// completion that is not among its choices, an empty choice; no line at all.
pub fn read_completions(path: &Path) -> Result<Vec<Completion>> {
    let text = read_text(path)?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", path.display(), index + 1);
        let row: Completion = serde_json::from_str(line)
            .with_context(|| format!("{}: a line has a \"context\" and a \"completion\"", place()))?;
        ensure!(!row.context.is_empty(), "{}: the context is empty", place());
        ensure!(!row.completion.trim().is_empty(), "{}: the completion is empty", place());
        ensure!(
            row.choices.is_empty() || row.choices.contains(&row.completion),
            "{}: the completion {:?} is not among the choices",
            place(),
            row.completion
        );
        ensure!(row.choices.iter().all(|choice| !choice.is_empty()), "{}: a choice is empty", place());
        rows.push(row);
    }
    ensure!(!rows.is_empty(), "{} has no rows", path.display());
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Vec<Completion>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        read_completions(file.path())
    }

    #[test]
    fn rows_are_as_gpt_3_published_them() {
        let rows =
            read("{\"context\": \"\\n\\nQ: What is 98 plus 45?\\n\\nA:\", \"completion\": \" 143\"}\n\n").unwrap();
        assert_eq!((rows.len(), rows[0].context.as_str()), (1, "\n\nQ: What is 98 plus 45?\n\nA:"));
        assert_eq!((rows[0].completion.as_str(), rows[0].task.as_str()), (" 143", ""));
        let rows = read(r#"{"context":"x","completion":" a","choices":[" a"," b"],"task":"t","more":1}"#).unwrap();
        assert_eq!((rows[0].choices.len(), rows[0].task.as_str()), (2, "t"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (content, named) in [
            ("\n{\"context\": \"x\"}", "line 2"),
            ("{\"context\": \"\", \"completion\": \" a\"}", "context is empty"),
            ("{\"context\": \"x\", \"completion\": \" \"}", "completion is empty"),
            ("{\"context\": \"x\", \"completion\": \" a\", \"choices\": [\"a\"]}", "not among the choices"),
            ("{\"context\": \"x\", \"completion\": \" a\", \"choices\": [\" a\", \"\"]}", "a choice is empty"),
            ("{\"context\"", "line 1"),
            ("\n", "no rows"),
        ] {
            let error = format!("{:#}", read(content).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
