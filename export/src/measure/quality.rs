//! Quality of a bundle of any task on labelled data, through the sdk.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use limbeck::{AnswerOptions, ClassifyOptions, EmbedOptions, Model, Overflow, TagOptions, Usage, similarity};
use serde::{Deserialize, Serialize};

use super::accuracy::{CHUNK, Evaluation, classify, evaluate};
use super::bootstrap::Outcomes;
use super::calibration::calibration_error;
use super::metrics::{Metrics, f1, macro_f1, matthews, pearson, spearman, squad_exact, squad_f1};
use crate::data::{Example, Question, Rows, TaggedText, entities_of, labels_of};
use crate::progress::Reporter;

/// How a bundle did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskQuality {
    /// The bundle's task.
    pub task: String,
    /// Number of examples.
    pub examples: usize,
    /// The measures by name; shares are from 0 to 1.
    pub metrics: Metrics,
    /// Texts that were longer than the model takes and were cut.
    pub truncated: usize,
    /// Tokens that were not read.
    pub tokens_dropped: usize,
    /// Texts that were read in several windows.
    pub windowed: usize,
    /// Of a model with one right label: right and wrong by label.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// Of a model with several labels or with entities: how well each label, or kind, was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_label: Vec<LabelQuality>,
    /// What each example adds to the headline, for intervals and comparisons.
    #[serde(skip, default = "no_outcomes")]
    pub outcomes: Outcomes,
}

fn no_outcomes() -> Outcomes {
    Outcomes::Right(Vec::new())
}

impl TaskQuality {
    /// The measure that stands for the others: name and value, 1 for all right.
    pub fn headline(&self) -> (&str, f64) {
        let names = ["accuracy", "micro_f1", "entity_f1", "f1", "spearman"];
        let found = names.iter().find_map(|&name| Some((name, *self.metrics.get(name)?)));
        found.unwrap_or(("nothing", 0.0))
    }

    /// A line for each of [`Self::by_label`] under a header, unless there are none or too many to look at.
    pub fn by_label_in_words(&self) -> String {
        const MOST: usize = 20;
        let mut text = String::new();
        if !(1..=MOST).contains(&self.by_label.len()) {
            return text;
        }
        let _ = writeln!(text, "  {:<24} {:>9} {:>9} {:>9} {:>9}", "", "precision", "recall", "F1", "support");
        for LabelQuality { label, precision, recall, f1, support, .. } in &self.by_label {
            let _ = writeln!(text, "  {label:<24} {precision:>9.4} {recall:>9.4} {f1:>9.4} {support:>9}");
        }
        text
    }
}

/// How well one of several labels, or the entities of one kind, were found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelQuality {
    /// The label or kind.
    pub label: String,
    /// How often it was given and is right.
    pub right: usize,
    /// How often it was given.
    pub predicted: usize,
    /// How often it is there.
    pub support: usize,
    /// Share of what was given that is right; 0 if it never was.
    pub precision: f64,
    /// Share of what is there that was given; 0 if it never is.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

impl LabelQuality {
    fn new(label: &str, [right, predicted, support]: [usize; 3]) -> Self {
        let share = |of: usize| right as f64 / of.max(1) as f64;
        Self {
            label: label.to_owned(),
            right,
            predicted,
            support,
            precision: share(predicted),
            recall: share(support),
            f1: f1(right, predicted, support),
        }
    }
}

/// Which label was taken for which.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Classes {
    /// Names, in the order of `confusion`.
    pub labels: Vec<String>,
    /// `confusion[true][predicted]`, counts.
    pub confusion: Vec<Vec<usize>>,
}

/// Runs a bundle on labelled data. Long texts are cut where the task is classification, else read in windows.
///
/// # Errors
/// Data that are not the task's, a label that the bundle does not have, or an error of the sdk.
pub fn task_quality(model: &Model, rows: &Rows, reporter: &Reporter) -> Result<TaskQuality> {
    let manifest = model.bundle().manifest();
    let mut run = Run { model, reporter, used: Used::default(), by_label: Vec::new() };
    let mut classes = None;
    let (metrics, outcomes) = match rows {
        Rows::Texts(examples) => {
            if manifest.embedding.is_some() {
                run.similarities(examples)?
            } else {
                match manifest.activation {
                    limbeck::bundle::Activation::Softmax => {
                        let found = evaluate(model, examples, reporter, "eval")?;
                        let metrics = of_classes(&found);
                        (run.used.truncated, run.used.tokens_dropped) = (found.truncated, found.tokens_dropped);
                        classes = Some(Classes { labels: found.labels, confusion: found.confusion });
                        (metrics, Outcomes::Right(found.correct))
                    }
                    limbeck::bundle::Activation::Sigmoid => run.several_labels(examples)?,
                    _ => run.values(examples)?,
                }
            }
        }
        Rows::Tagged(texts) => run.entities(texts)?,
        Rows::Questions(questions) => run.answers(questions)?,
    };
    let Used { truncated, tokens_dropped, windowed } = run.used;
    Ok(TaskQuality {
        task: manifest.task.name().to_owned(),
        examples: rows.len(),
        metrics,
        truncated,
        tokens_dropped,
        windowed,
        classes,
        by_label: run.by_label,
        outcomes,
    })
}

/// The share of texts that a bundle says are not its business.
///
/// # Errors
/// An error of the sdk.
pub fn share_out_of_scope(model: &Model, examples: &[Example]) -> Result<f64> {
    let mut out = 0;
    for chunk in examples.chunks(CHUNK) {
        out += classify(model, chunk, &ClassifyOptions::new().top_k(1))?.iter().filter(|a| !a.in_scope).count();
    }
    Ok(out as f64 / examples.len().max(1) as f64)
}

fn named<const N: usize>(values: [(&str, f64); N]) -> Metrics {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn of_classes(found: &Evaluation) -> Metrics {
    named([
        ("accuracy", found.value),
        ("accuracy_low", found.low),
        ("accuracy_high", found.high),
        ("majority", found.majority),
        ("macro_f1", macro_f1(&found.confusion)),
        ("matthews", matthews(&found.confusion)),
        ("calibration_error", calibration_error(&found.confidence, &found.correct)),
    ])
}

#[derive(Default)]
struct Used {
    truncated: usize,
    tokens_dropped: usize,
    windowed: usize,
}

struct Run<'a> {
    model: &'a Model,
    reporter: &'a Reporter,
    used: Used,
    by_label: Vec<LabelQuality>,
}

impl Run<'_> {
    fn count(&mut self, usage: &Usage) {
        self.used.truncated += usize::from(usage.tokens_dropped > 0);
        self.used.tokens_dropped += usage.tokens_dropped;
        self.used.windowed += usize::from(usage.windows > 1);
    }

    /// Runs `items` in chunks with a progress bar.
    fn each<T>(&mut self, items: &[T], mut run: impl FnMut(&mut Self, &[T]) -> Result<()>) -> Result<()> {
        let bar = self.reporter.bar("eval", items.len() as u64, 0);
        for (index, chunk) in items.chunks(CHUNK).enumerate() {
            run(self, chunk)?;
            bar.advance((index * CHUNK + chunk.len()) as u64, "evaluating");
        }
        bar.finish();
        Ok(())
    }

    fn several_labels(&mut self, examples: &[Example]) -> Result<(Metrics, Outcomes)> {
        let labels = self.model.bundle().labels().to_vec();
        // Right, guessed and there, by label.
        let mut counts = vec![[0usize; 3]; labels.len()];
        let (mut exact, mut each) = (0, Vec::new());
        self.each(examples, |run, chunk| {
            for (example, answer) in chunk.iter().zip(classify(run.model, chunk, &ClassifyOptions::new())?) {
                run.count(&answer.usage);
                let mut truth = vec![false; labels.len()];
                for label in labels_of(&example.label) {
                    let index = labels
                        .iter()
                        .position(|l| l == label)
                        .with_context(|| format!("{}: label \"{label}\" is not one of the bundle's", example.source))?;
                    truth[index] = true;
                }
                exact += usize::from(answer.labels.iter().all(|scored| scored.holds == truth[scored.index]));
                let mut own = [0; 3];
                for scored in &answer.labels {
                    let there = truth[scored.index];
                    let found = [there && scored.holds, scored.holds, there].map(usize::from);
                    for (k, one) in found.into_iter().enumerate() {
                        counts[scored.index][k] += one;
                        own[k] += one;
                    }
                }
                each.push(own);
            }
            Ok(())
        })?;
        let total = |k: usize| counts.iter().map(|count| count[k]).sum::<usize>();
        self.by_label = labels.iter().zip(&counts).map(|(label, &counts)| LabelQuality::new(label, counts)).collect();
        let by_label: f64 = self.by_label.iter().map(|label| label.f1).sum();
        let metrics = named([
            ("micro_f1", f1(total(0), total(1), total(2))),
            ("macro_f1", by_label / labels.len().max(1) as f64),
            ("all_right", exact as f64 / examples.len().max(1) as f64),
        ]);
        Ok((metrics, Outcomes::Counts(each)))
    }

    fn values(&mut self, examples: &[Example]) -> Result<(Metrics, Outcomes)> {
        let (mut values, mut truth) = (Vec::new(), Vec::new());
        self.each(examples, |run, chunk| {
            for (example, answer) in chunk.iter().zip(classify(run.model, chunk, &ClassifyOptions::new())?) {
                run.count(&answer.usage);
                truth.push(example.value()?);
                values.push(f64::from(answer.labels.first().context("the sdk gave no value")?.logit));
            }
            Ok(())
        })?;
        let squares: f64 = values.iter().zip(&truth).map(|(value, truth)| (value - truth).powi(2)).sum();
        let error = (squares / values.len().max(1) as f64).sqrt();
        let metrics = named([
            ("pearson", pearson(&values, &truth)),
            ("spearman", spearman(&values, &truth)),
            ("root_mean_squared_error", error),
        ]);
        Ok((metrics, Outcomes::Values(values.into_iter().zip(truth).collect())))
    }

    fn similarities(&mut self, examples: &[Example]) -> Result<(Metrics, Outcomes)> {
        let (mut cosines, mut truth) = (Vec::new(), Vec::new());
        let options = EmbedOptions::new().overflow(Overflow::AutoWindow);
        self.each(examples, |run, chunk| {
            let mut texts = Vec::new();
            for example in chunk {
                let second = example.pair.as_deref().with_context(|| format!("{}: no second text", example.source))?;
                texts.extend([example.text.as_str(), second]);
                truth.push(example.value()?);
            }
            let vectors = run.model.embed_batch(&texts, &options)?;
            vectors.iter().for_each(|vector| run.count(&vector.usage));
            for pair in vectors.chunks_exact(2) {
                cosines.push(f64::from(similarity(&pair[0].vector, &pair[1].vector)?));
            }
            Ok(())
        })?;
        let metrics = named([("pearson", pearson(&cosines, &truth)), ("spearman", spearman(&cosines, &truth))]);
        Ok((metrics, Outcomes::Values(cosines.into_iter().zip(truth).collect())))
    }

    fn entities(&mut self, texts: &[TaggedText]) -> Result<(Metrics, Outcomes)> {
        let mut each = Vec::new();
        // Right, guessed and there, by kind.
        let mut kinds: BTreeMap<String, [usize; 3]> = BTreeMap::new();
        let options = TagOptions::new().overflow(Overflow::AutoWindow);
        self.each(texts, |run, chunk| {
            let plain: Vec<&str> = chunk.iter().map(|text| text.text.as_str()).collect();
            for (text, answer) in chunk.iter().zip(run.model.tag_batch(&plain, &options)?) {
                run.count(&answer.usage);
                let tags = text.words.iter().map(|word| word.tag.as_str());
                let truth: Vec<(usize, usize, &str)> = entities_of(tags)
                    .into_iter()
                    .map(|(first, last, kind)| (text.words[first].start, text.words[last].end, kind))
                    .collect();
                let mut right = 0;
                for found in &answer.entities {
                    let holds = truth.contains(&(found.span.bytes.start, found.span.bytes.end, &found.label));
                    right += usize::from(holds);
                    let own = kinds.entry(found.label.clone()).or_default();
                    own[0] += usize::from(holds);
                    own[1] += 1;
                }
                truth.iter().for_each(|(.., kind)| kinds.entry((*kind).to_owned()).or_default()[2] += 1);
                each.push([right, answer.entities.len(), truth.len()]);
            }
            Ok(())
        })?;
        self.by_label = kinds.iter().map(|(kind, &counts)| LabelQuality::new(kind, counts)).collect();
        let [right, guessed, there] = [0, 1, 2].map(|k| each.iter().map(|count: &[usize; 3]| count[k]).sum());
        let share = |of: usize| right as f64 / of.max(1) as f64;
        let metrics = named([
            ("entity_f1", f1(right, guessed, there)),
            ("entity_precision", share(guessed)),
            ("entity_recall", share(there)),
        ]);
        Ok((metrics, Outcomes::Counts(each)))
    }

    /// Where questions may have no answer, none is given when it scores higher (SQuAD 2).
    fn answers(&mut self, questions: &[Question]) -> Result<(Metrics, Outcomes)> {
        let may_lack = questions.iter().any(|question| question.answers.is_empty());
        let (mut exact, mut overlaps) = (0.0, Vec::new());
        let options = AnswerOptions::new().top_k(1);
        self.each(questions, |run, chunk| {
            let pairs: Vec<(&str, &str)> = chunk.iter().map(|q| (q.question.as_str(), q.context.as_str())).collect();
            for (question, answer) in chunk.iter().zip(run.model.answer_batch(&pairs, &options)?) {
                run.count(&answer.usage);
                let best = if may_lack { answer.best() } else { answer.answers.first() };
                let given = best.map_or("", |answer| answer.text.as_str());
                let right: Vec<&str> = match question.answers.as_slice() {
                    [] => vec![""],
                    answers => answers.iter().map(|&(start, end)| &question.context[start..end]).collect(),
                };
                exact += f64::from(u8::from(right.iter().any(|right| squad_exact(given, right))));
                overlaps.push(right.iter().map(|right| squad_f1(given, right)).fold(0.0, f64::max));
            }
            Ok(())
        })?;
        let count = questions.len().max(1) as f64;
        let metrics = named([("exact", exact / count), ("f1", overlaps.iter().sum::<f64>() / count)]);
        Ok((metrics, Outcomes::Shares(overlaps)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_in_lines_where_they_are_few() {
        let of = |count: usize| TaskQuality {
            task: "token-classification".to_owned(),
            examples: 9,
            metrics: Metrics::new(),
            truncated: 0,
            tokens_dropped: 0,
            windowed: 0,
            classes: None,
            by_label: (0..count).map(|label| LabelQuality::new(&format!("K{label}"), [3, 4, 6])).collect(),
            outcomes: no_outcomes(),
        };
        let text = of(2).by_label_in_words();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["precision", "recall", "F1", "support"]);
        assert_eq!(lines[2], ["K1", "0.7500", "0.5000", "0.6000", "6"]);
        assert_eq!((of(0).by_label_in_words(), of(21).by_label_in_words()), (String::new(), String::new()));
        let never = LabelQuality::new("K", [0, 0, 0]);
        assert_eq!((never.precision, never.recall, never.f1), (0.0, 0.0, 0.0));
        let again: TaskQuality = serde_json::from_str(&serde_json::to_string(&of(2)).unwrap()).unwrap();
        assert_eq!(again.by_label, of(2).by_label);
        assert!(again.classes.is_none());
    }
}
