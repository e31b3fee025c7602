use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Args;
use limbeck_export::data::augment::{
    AugmentOptions, MaskedContext, PairCopies, Sources, VectorsFrom, augment_with_origins, record_path, save,
};
use limbeck_export::data::{Format, Goal, Rows};
use limbeck_export::device::training_device;
use limbeck_export::pack::TaskName;

use super::Columns;

/// More training data, by words that could stand in place of others (TinyBERT)
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck augment train.csv --task text-classification --masked-lm bert-base-uncased --vectors glove.6B.300d.txt --out more.jsonl\n  \
    limbeck augment rte.tsv --task pair-classification --pair-column hypothesis --masked-lm bert-base-uncased --preset tinybert-code:rte --out more.jsonl\n  \
    limbeck augment train.conll --task token-classification --masked-lm bert-base-uncased --copies 5 --out more.conll\n\n\
    Words are what stands between white space and punctuation; those of the letters a to z that are no stop words may be\n\
    replaced. One that is a token of the masked language model gives way to one of the likeliest tokens in its place, any\n\
    other to one of the nearest words by word vectors: those of --vectors, or else the token embeddings of --model, or\n\
    else of the masked language model itself. The paper had GloVe's. All else stays as it is, to the byte.\n\n\
    Rows are written as JSONL with text, pair, label and row (the row of the file that it is, or is a copy of, from 1),\n\
    or as CoNLL; more.augment.json beside them says how they were made. Augment what is trained on, nothing else: give\n\
    `limbeck finetune` a --dev of its own, or copies of its texts will choose the best epoch.\n\n\
    Presets: tinybert (the paper; the default), and tinybert-code:TASK with the released code's copies for cola (30),\n\
    mnli (10), mrpc (30), sst2 (20), stsb (30), qqp (10), qnli (20) and rte (30) and its way with pairs, --beside-last.")]
pub(super) struct Augment {
    /// Labelled data
    data: PathBuf,
    /// What the data are for
    #[arg(long, value_enum)]
    task: TaskName,
    /// Rows may have several labels or none: a JSON array, or `|` between them
    #[arg(long)]
    several_labels: bool,
    #[command(flatten)]
    columns: Columns,
    /// Hugging Face folder with a masked-LM head
    #[arg(long)]
    masked_lm: PathBuf,
    /// File of word vectors, a word and its numbers a line; its first 100,000 lines are read
    #[arg(long, conflicts_with = "model")]
    vectors: Option<PathBuf>,
    /// Hugging Face folder whose token embeddings are the word vectors; default: the masked language model
    #[arg(long)]
    model: Option<PathBuf>,
    /// File for the result, .jsonl or .conll
    #[arg(long)]
    out: PathBuf,
    /// Settings to begin with: tinybert, or tinybert-code:TASK
    #[arg(long, default_value = "tinybert")]
    preset: String,
    /// Copies drawn of a text; those that are there already are left out. Default: 20
    #[arg(long)]
    copies: Option<usize>,
    /// Probability that a word is replaced in a copy. Default: 0.4
    #[arg(long)]
    probability: Option<f64>,
    /// Candidates of a word, at most. Default: 15
    #[arg(long)]
    candidates: Option<usize>,
    /// Show the masked language model the masked text alone, without the text itself beside it
    #[arg(long)]
    alone: bool,
    /// Copies of the second text of a pair stand beside the last copy of the first, not beside the first itself
    #[arg(long)]
    beside_last: bool,
    /// Replace words of entities too, not only those tagged O
    #[arg(long)]
    entities: bool,
    /// Seed of every random choice
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Where the models run: auto, cpu or cuda
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads; default: all cores
    #[arg(long)]
    threads: Option<i32>,
    /// JSON lines of progress on standard output, the result last
    #[arg(long)]
    json: bool,
}

impl Augment {
    fn goal(&self) -> Result<Goal> {
        let classifier = matches!(self.task, TaskName::TextClassification | TaskName::PairClassification);
        ensure!(classifier || !self.several_labels, "--several-labels is for classification of texts and pairs");
        Ok(match self.task {
            TaskName::TextClassification | TaskName::PairClassification if self.several_labels => Goal::Labels,
            TaskName::TextClassification | TaskName::PairClassification => Goal::Class,
            TaskName::TokenClassification => Goal::Tags,
            // Labels are kept as they stand, whatever the highest is.
            TaskName::SentenceEmbedding => Goal::Similarity { highest: 1.0 },
            TaskName::QuestionAnswering => {
                bail!("questions cannot be augmented: a replaced word may be the answer, or what leads to it")
            }
            TaskName::FillMask => bail!("there is no labelled data for masked words"),
            TaskName::Order | TaskName::Replaced | TaskName::Generation => {
                bail!("there is no labelled data for {}", self.task.task().name())
            }
        })
    }

    fn options(&self) -> Result<AugmentOptions> {
        let mut options = AugmentOptions::preset(&self.preset)?;
        options.copies = self.copies.unwrap_or(options.copies);
        options.probability = self.probability.unwrap_or(options.probability);
        options.candidates = self.candidates.unwrap_or(options.candidates);
        options.entities = self.entities;
        if self.alone {
            options.context = MaskedContext::Alone;
        }
        if self.beside_last {
            options.pairs = PairCopies::BesideLast;
        }
        options.check()?;
        Ok(options)
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        let (goal, options) = (self.goal()?, self.options()?);
        ensure!(!self.entities || goal == Goal::Tags, "--entities is for token-classification");
        ensure!(
            goal == Goal::Tags || matches!(Format::of(&self.out), Ok(Format::Jsonl)),
            "--out {}: rows are written as JSONL; give a name that ends in .jsonl",
            self.out.display()
        );
        if let Some(threads) = self.threads {
            ensure!(threads > 0, "--threads must be at least 1");
            tch::set_num_threads(threads);
        }
        let schema = self.columns.schema_for(goal, &self.task.task())?;
        let rows = Rows::read(&self.data, goal, &schema)?;
        let same = |path: &PathBuf| path.canonicalize().ok();
        ensure!(
            same(&self.data) != same(&self.out) && same(&self.data) != same(&record_path(&self.out)),
            "--out {} would overwrite the data",
            self.out.display()
        );
        let vectors = match (&self.vectors, &self.model) {
            (Some(file), _) => VectorsFrom::File(file),
            (None, Some(folder)) => VectorsFrom::Model(folder),
            (None, None) => VectorsFrom::MaskedLm,
        };
        let reporter = super::reporter(self.json);
        let sources = Sources::load(&self.masked_lm, vectors, training_device(&self.device)?)?;
        let augmented = augment_with_origins(&rows, &sources, &options, self.seed, &reporter)?;
        let name = self.data.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let done = save(&self.out, &augmented, (&rows, &name, &schema), &sources, &options, self.seed)?;
        if self.json {
            reporter.event("augmented", &done);
        } else {
            super::print(&format!(
                "{}: {} rows of {}; of {} words that may be replaced {} have no candidate; {} of {} copies were there \
                 already\nNext: limbeck finetune --train {} and a --dev of its own\n",
                self.out.display(),
                done.rows_written,
                done.rows,
                done.counts.words,
                done.counts.without_candidates,
                done.counts.repeated,
                done.counts.drawn,
                self.out.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
