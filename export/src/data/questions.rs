//! Questions about texts: files in the shape of SQuAD 1.1 and 2.0.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::read_text;

/// A question about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The file's id.
    pub id: String,
    /// The question.
    pub question: String,
    /// The text that answers it.
    pub context: String,
    /// The right answers as byte ranges of the text; none where the text has no answer.
    pub answers: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    question: String,
    #[serde(default)]
    is_impossible: bool,
    #[serde(default)]
    answers: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    text: String,
    /// In Unicode scalars, as Python counts.
    answer_start: usize,
}

/// Reads a SQuAD file.
///
/// # Errors
/// Not such a file; an answer that does not stand where the file says, by the question's id; a question without
/// answer that is not marked `is_impossible`; no questions.
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    let content = read_text(path)?;
    let file: File = serde_json::from_str(&content).with_context(|| {
        format!("{} is not in the shape of SQuAD: {{\"data\": [{{\"paragraphs\": [...]}}]}}", path.display())
    })?;
    let mut questions = Vec::new();
    for paragraph in file.data.into_iter().flat_map(|article| article.paragraphs) {
        // The byte at which each scalar begins.
        let starts: Vec<usize> = paragraph.context.char_indices().map(|(byte, _)| byte).collect();
        for Entry { id, question, is_impossible, answers } in paragraph.qas {
            let wrong = |what: &str| format!("{}, question {id}: {what}", path.display());
            if question.trim().is_empty() {
                bail!(wrong("the question is empty"));
            }
            let answers = if is_impossible { vec![] } else { answers };
            if answers.is_empty() && !is_impossible {
                bail!(wrong("no answers; set is_impossible where the text has none"));
            }
            let mut ranges = Vec::new();
            for Given { text, answer_start } in &answers {
                let start = starts.get(*answer_start).copied().unwrap_or(paragraph.context.len());
                if text.is_empty() || !paragraph.context[start..].starts_with(text.as_str()) {
                    bail!(wrong(&format!("the answer \"{text}\" does not stand at {answer_start} in the text")));
                }
                ranges.push((start, start + text.len()));
            }
            questions.push(Question { id, question, context: paragraph.context.clone(), answers: ranges });
        }
    }
    if questions.is_empty() {
        bail!("{} has no questions", path.display());
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_where_the_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        let read = |entry: &str| {
            let text = format!(
                "{{\"data\":[{{\"paragraphs\":[{{\"context\":\"\u{1F642} Zo\u{eb} ran\",\"qas\":[{entry}]}}]}}]}}"
            );
            std::fs::write(&path, text).unwrap();
            read_questions(&path).map_err(|error| error.to_string())
        };
        let found = read(r#"{"id":"1","question":"Who?","answers":[{"text":"Zoë","answer_start":2}]}"#).unwrap();
        assert_eq!(&found[0].context[found[0].answers[0].0..found[0].answers[0].1], "Zo\u{eb}");
        assert!(read(r#"{"id":"1","question":"Who?","is_impossible":true}"#).unwrap()[0].answers.is_empty());
        for (entry, expected) in [
            (r#"{"id":"q7","question":"Who?","answers":[{"text":"Zoë","answer_start":3}]}"#, "question q7: the answer"),
            (r#"{"id":"q7","question":"Who?","answers":[{"text":"Zoë","answer_start":99}]}"#, "does not stand at 99"),
            (r#"{"id":"q7","question":"Who?","answers":[]}"#, "is_impossible"),
            (r#"{"id":"q7","question":" ","is_impossible":true}"#, "is empty"),
        ] {
            let error = read(entry).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        std::fs::write(&path, "[]").unwrap();
        assert!(read_questions(&path).unwrap_err().to_string().contains("shape of SQuAD"));
    }
}
