use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use limbeck::bundle::Task;
use limbeck::{
    Aggregation, AnswerOptions, ClassifyOptions, EmbedOptions, FillMaskOptions, Model, OrderOptions, Overflow,
    ReplacedOptions, TagOptions, Usage, ZeroShotOptions,
};
use serde::Serialize;

use super::engines::Engine;
use super::writing::Writing;

/// Answers that are shown of each text.
const TOP_K: usize = 3;

#[derive(Clone, Copy, ValueEnum)]
enum OverflowName {
    Error,
    Truncate,
    Window,
}

#[derive(Clone, Copy, ValueEnum)]
enum AggregationName {
    None,
    First,
    Average,
    Max,
    Strict,
}

impl AggregationName {
    fn aggregation(self) -> Aggregation {
        match self {
            AggregationName::None => Aggregation::None,
            AggregationName::First => Aggregation::First,
            AggregationName::Average => Aggregation::Average,
            AggregationName::Max => Aggregation::Max,
            AggregationName::Strict => Aggregation::Strict,
        }
    }
}

/// Run a bundle on texts
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck run sentiment.limbeck \"crisp screen, awful battery\"\n  \
    limbeck run entities.limbeck \"Ada Lovelace met Babbage in London\"\n  \
    limbeck run reader.limbeck --first \"Who wrote it?\" < document.txt\n  \
    limbeck run nli.limbeck --labels sports,politics \"The match ended 3 to 1.\"\n  \
    limbeck run order.limbeck --first \"He opened the door.\" \"Then he went in.\"\n  \
    limbeck run replaced.limbeck --threshold 0.3 \"The cat sat on teh mat.\"\n  \
    limbeck run sentiment.limbeck --json < sentences.txt\n  \
    limbeck run lm.limbeck \"Once upon a time\" --temperature 0.8 --top-p 0.95 --seed 1\n  \
    limbeck run lm.limbeck --labels \" good, bad\" $'Review: warm and clever\\nSentiment:'\n\n\
    A model of two texts takes the first by --first, or from each line: FIRST, a tab, SECOND.")]
pub(super) struct Run {
    /// Bundle
    bundle: PathBuf,
    /// Texts; without any, one text a line from standard input
    texts: Vec<String>,
    /// The question, or the first of two texts, for all texts
    #[arg(long, value_name = "TEXT")]
    first: Option<String>,
    /// Choose between these labels by what follows from the text; for models of pairs that know entailment. For models
    /// that write text: choose between these completions
    #[arg(long, value_delimiter = ',', value_name = "A,B,...")]
    labels: Vec<String>,
    /// How many labels, answers or guesses to show [default: 3]; for models that write text, among how many of the
    /// likeliest tokens to draw [default: all]
    #[arg(long)]
    top_k: Option<usize>,
    /// How tokens become entities, or replaced words [default: first; for replaced words max]
    #[arg(long, value_enum)]
    aggregation: Option<AggregationName>,
    /// Leave out entities and replaced words of a lower probability [default: 0; for replaced words 0.5]
    #[arg(long)]
    threshold: Option<f32>,
    /// Read the two texts whose order is asked for in both orders, and combine what the model says
    #[arg(long)]
    both_orders: bool,
    /// What to do with a text that is too long; default: what suits the task
    #[arg(long, value_enum)]
    overflow: Option<OverflowName>,
    /// One JSON object a text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
    // Last: its heading goes for all that follows.
    #[command(flatten)]
    writing: Writing,
}

/// What is shown of one text.
struct Shown {
    json: String,
    line: String,
    usage: Usage,
}

/// The JSON line of one text.
#[derive(Serialize)]
struct WithText<'a, T> {
    text: &'a str,
    #[serde(flatten)]
    answer: &'a T,
}

impl Run {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.engine.load()?;
        let model = Model::open(&self.bundle)?;
        let task = &model.bundle().manifest().task;
        ensure!(
            self.labels.is_empty() || matches!(task, Task::PairClassification | Task::Generation),
            "--labels needs a model for pairs of texts or one that writes text; this one is for {}",
            task.name()
        );
        ensure!(
            !self.both_orders || *task == Task::Order,
            "--both-orders needs a model for order; this one is for {}",
            task.name()
        );
        ensure!(
            self.aggregation.is_none() || matches!(task, Task::TokenClassification | Task::Replaced),
            "--aggregation needs a model for entities or replaced tokens; this one is for {}",
            task.name()
        );
        ensure!(
            self.threshold.is_none() || matches!(task, Task::TokenClassification | Task::Replaced),
            "--threshold needs a model for entities or replaced tokens; this one is for {}",
            task.name()
        );
        let two = matches!(task, Task::PairClassification | Task::QuestionAnswering | Task::Order);
        ensure!(
            self.first.is_none() || two && self.labels.is_empty(),
            "--first needs a model that reads two texts, without --labels; this one is for {}",
            task.name()
        );
        let shows_some = matches!(
            task,
            Task::TextClassification
                | Task::PairClassification
                | Task::QuestionAnswering
                | Task::FillMask
                | Task::Generation
        );
        ensure!(
            self.top_k.is_none() || shows_some && (self.labels.is_empty() || *task == Task::Generation),
            "--top-k is for labels, answers, guesses and tokens to draw among, not for {}",
            if self.labels.is_empty() { task.name() } else { "--labels, which are all shown" }
        );
        ensure!(
            self.overflow.is_none() || *task != Task::Generation,
            "--overflow is for models that read; what a model that writes does without room is said by its own options"
        );
        if let Some(option) = self.writing.given() {
            ensure!(
                *task == Task::Generation,
                "{option} needs a model that writes text; this one is for {}",
                task.name()
            );
            ensure!(self.labels.is_empty(), "{option} is for text that is written; with --labels none is");
        }
        let texts: Box<dyn Iterator<Item = std::io::Result<String>>> = if self.texts.is_empty() {
            Box::new(std::io::stdin().lines())
        } else {
            Box::new(self.texts.clone().into_iter().map(Ok))
        };
        for (index, text) in texts.enumerate() {
            let text =
                text.map_err(|e| anyhow::anyhow!("standard input, line {}: {e}; it must be UTF-8 text", index + 1))?;
            if *task == Task::Generation {
                self.writing.run(&model, &text, &self.labels, self.top_k.unwrap_or(0), self.json)?;
                continue;
            }
            let Shown { json, line, usage } = self.answer(&model, &text)?;
            if self.json {
                super::print(&format!("{json}\n"))?;
            } else {
                let dropped = match usage.tokens_dropped {
                    0 => String::new(),
                    n => format!("  ({n} tokens were not read; see --overflow)"),
                };
                super::print(&format!("{text}\n  {line}{dropped}\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn overflow(&self, default: Overflow) -> Overflow {
        match self.overflow {
            None => default,
            Some(OverflowName::Error) => Overflow::Error,
            Some(OverflowName::Truncate) => Overflow::Truncate,
            Some(OverflowName::Window) => Overflow::AutoWindow,
        }
    }

    /// The two texts of a line.
    fn two<'a>(&'a self, text: &'a str) -> Result<(&'a str, &'a str)> {
        match &self.first {
            Some(first) => Ok((first, text)),
            None => text.split_once('\t').with_context(|| {
                format!("the model reads two texts: give the first by --first, or put a tab between them in `{text}`")
            }),
        }
    }

    fn answer(&self, model: &Model, line: &str) -> Result<Shown> {
        fn shown<T: Serialize>(text: &str, answer: &T, line: String, usage: Usage) -> Result<Shown> {
            Ok(Shown { json: serde_json::to_string(&WithText { text, answer })?, line, usage })
        }
        let text = line;
        let percent = |p: f32| format!("{:.1}%", p * 100.0);
        let classified = |answer: limbeck::Classification| {
            let labels = answer.labels.iter().map(|l| match model.bundle().manifest().activation {
                limbeck::bundle::Activation::None => format!("{} {:.3}", l.label, l.logit),
                _ => format!("{} {}{}", l.label, percent(l.probability), if l.holds { " *" } else { "" }),
            });
            let scope = if answer.in_scope { "" } else { "  (out of scope)" };
            let line = labels.collect::<Vec<_>>().join("  ") + scope;
            shown(text, &answer, line, answer.usage)
        };
        match &model.bundle().manifest().task {
            Task::TextClassification => {
                let options = ClassifyOptions::new()
                    .top_k(self.top_k.unwrap_or(TOP_K))
                    .overflow(self.overflow(Overflow::Truncate));
                classified(model.classify_with(text, &options)?)
            }
            Task::PairClassification if !self.labels.is_empty() => {
                let options = ZeroShotOptions::new().overflow(self.overflow(Overflow::Truncate));
                let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
                let answer = model.zero_shot_with(text, &labels, &options)?;
                let labels = answer.labels.iter().map(|l| format!("{} {}", l.label, percent(l.probability)));
                shown(text, &answer, labels.collect::<Vec<_>>().join("  "), answer.usage)
            }
            Task::PairClassification => {
                let (first, second) = self.two(text)?;
                let options = ClassifyOptions::new()
                    .top_k(self.top_k.unwrap_or(TOP_K))
                    .overflow(self.overflow(Overflow::Truncate));
                classified(model.classify_pair_with(first, second, &options)?)
            }
            Task::TokenClassification => {
                let mut options = TagOptions::new().overflow(self.overflow(Overflow::AutoWindow));
                options.threshold = self.threshold.unwrap_or(options.threshold);
                options.aggregation = self.aggregation.map_or(options.aggregation, AggregationName::aggregation);
                let answer = model.tag_with(text, &options)?;
                let entities = answer.entities.iter().map(|e| format!("{} [{} {}]", e.text, e.label, percent(e.score)));
                let line = entities.collect::<Vec<_>>().join("  ");
                shown(text, &answer, if line.is_empty() { "nothing found".to_owned() } else { line }, answer.usage)
            }
            Task::QuestionAnswering => {
                let (question, text) = self.two(text)?;
                let options = AnswerOptions::new()
                    .top_k(self.top_k.unwrap_or(TOP_K))
                    .overflow(self.overflow(Overflow::AutoWindow));
                let answer = model.answer_with(question, text, &options)?;
                let answers = answer.answers.iter().map(|a| format!("\"{}\" {}", a.text, percent(a.score)));
                shown(text, &answer, answers.collect::<Vec<_>>().join("  "), answer.usage)
            }
            Task::SentenceEmbedding => {
                let options = EmbedOptions::new().overflow(self.overflow(Overflow::Truncate));
                let answer = model.embed_with(text, &options)?;
                let first: Vec<String> = answer.vector.iter().take(4).map(|v| format!("{v:.4}")).collect();
                let line = format!("{} values: {} ...", answer.vector.len(), first.join(" "));
                shown(text, &answer, line, answer.usage)
            }
            Task::FillMask => {
                let options = FillMaskOptions::new()
                    .top_k(self.top_k.unwrap_or(TOP_K))
                    .overflow(self.overflow(Overflow::AutoWindow));
                let answer = model.fill_mask_with(text, &options)?;
                let masks = answer.masks.iter().map(|mask| {
                    let guesses = mask.guesses.iter().map(|g| format!("{} {}", g.text, percent(g.probability)));
                    guesses.collect::<Vec<_>>().join("  ")
                });
                shown(text, &answer, masks.collect::<Vec<_>>().join("  |  "), answer.usage)
            }
            Task::Order => {
                let (first, second) = self.two(text)?;
                let options =
                    OrderOptions::new().both_orders(self.both_orders).overflow(self.overflow(Overflow::Truncate));
                let answer = model.order_with(first, second, &options)?;
                shown(text, &answer, format!("in this order {}", percent(answer.probability)), answer.usage)
            }
            Task::Replaced => {
                let mut options = ReplacedOptions::new().overflow(self.overflow(Overflow::AutoWindow));
                options.threshold = self.threshold.unwrap_or(options.threshold);
                options.aggregation = self.aggregation.map_or(options.aggregation, AggregationName::aggregation);
                let answer = model.replaced_with(text, &options)?;
                let spans = answer.spans.iter().map(|span| format!("{} {}", span.text, percent(span.probability)));
                let line = spans.collect::<Vec<_>>().join("  ");
                shown(text, &answer, if line.is_empty() { "nothing found".to_owned() } else { line }, answer.usage)
            }
            other => bail!("this program cannot run models for {}", other.name()),
        }
    }
}
