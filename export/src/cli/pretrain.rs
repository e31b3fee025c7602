use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use limbeck_export::data::pretrain::{Documents, SentenceTask};
use limbeck_export::pretrain::{
    Distilled, EvaluateOn, EvaluateOptions, ModelRecipe, Objective, ObjectiveKind, PretrainOptions, PretrainRecipe,
    Pretrained, TeacherRecipe, evaluate, pretrain_together,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::parallel::Parallel;

/// Pretrain a language model on plain text: masked or replaced tokens, sentence order, next tokens
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck pretrain --recipe electra.toml --data corpus --out electra\n  \
    limbeck pretrain --preset gpt2 --layers 4 --hidden-size 128 --tokenizer tokenizer --train books.txt --objective clm \
    --max-tokens 128 --out tiny-gpt2\n  \
    limbeck pretrain --preset albert-base --layers 6 --hidden-size 256 --tokenizer tokenizer --train corpus.jsonl \
    --sentence sop --out albert\n  \
    limbeck pretrain --teacher tiny-gpt2 --layers 2 --train books.txt --max-tokens 128 --out tiny-distilgpt2\n  \
    limbeck pretrain --evaluate-on sop --model albert --held-out held-out.txt\n\n\
    Text is plain (an empty line between documents; for clm a file is one) or JSON Lines with a key `text`. Options stand in\n\
    place of what the recipe says. The result is a Hugging Face folder for finetune, distill, export and transformers; a\n\
    generator lies in its folder `generator`, and pretrain.json says what was done and what it cost. A run that was stopped goes\n\
    on where it was when started again with the same options.\n\n\
    With --teacher a causal model learns a larger one's distributions of next tokens and its last hidden states beside the text,\n\
    from half of its layers or from --preset. The same student without the teacher is trained first, in OUT/control; \
    pretrain.json\nhas the perplexities of all three on held-out text.")]
pub(super) struct Pretrain {
    /// Recipe (TOML); options do without
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Folder of the recipe's files; default: this one
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// Folder for the result
    #[arg(long, required_unless_present = "evaluate_on")]
    out: Option<PathBuf>,
    /// Tokenizer: a folder, or a tokenizer.json
    #[arg(long)]
    tokenizer: Option<String>,
    /// Published shape, with new weights (`limbeck params --list`)
    #[arg(long)]
    preset: Option<String>,
    /// Hugging Face folder to go on from; with --evaluate-on, to score
    #[arg(long)]
    model: Option<String>,
    /// Hugging Face folder of a causal model to learn from: the student is some of its layers, or --preset
    #[arg(long)]
    teacher: Option<String>,
    /// Do not train the same student without the teacher
    #[arg(long)]
    no_control: bool,
    /// With a teacher: exit with 3 where the student's perplexity is more than this many times the teacher's
    #[arg(long)]
    max_ratio: Option<f64>,
    /// Layers; with --teacher and no --preset: so many of the teacher's, half of them if not given
    #[arg(long)]
    layers: Option<usize>,
    /// Hidden size
    #[arg(long)]
    hidden_size: Option<usize>,
    /// Attention heads; default: one for each 64 of another hidden size
    #[arg(long)]
    attention_heads: Option<usize>,
    /// Width of the token table, for albert and electra
    #[arg(long)]
    embedding_size: Option<usize>,
    /// Text to train on; may be repeated
    #[arg(long)]
    train: Vec<String>,
    /// Text that is only looked at; may be repeated. Default: 2% of the documents, of a single one its end
    #[arg(long)]
    held_out: Vec<String>,
    /// Where a document of plain text ends: empty-lines, files or lines
    #[arg(long)]
    documents: Option<String>,
    /// What is learned: mlm, rtd, rtd-masked, replace-mlm, all-tokens-mlm or clm
    #[arg(long)]
    objective: Option<String>,
    /// What is learned of pairs of segments beside mlm: nsp or sop
    #[arg(long)]
    sentence: Option<String>,
    /// Length of the examples in tokens
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Passes over the text
    #[arg(long)]
    epochs: Option<usize>,
    /// Steps, in place of epochs
    #[arg(long, conflicts_with = "epochs")]
    steps: Option<u64>,
    /// Steps for this much arithmetic, by ELECTRA's counter
    #[arg(long, conflicts_with_all = ["epochs", "steps"])]
    flops: Option<f64>,
    /// Examples a step
    #[arg(long)]
    batch_size: Option<usize>,
    /// Peak learning rate
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Share of the steps that warm up
    #[arg(long)]
    warmup: Option<f64>,
    /// Seed of every random choice
    #[arg(long)]
    seed: Option<u64>,
    /// Train nothing: score --model on this
    #[arg(long, value_enum, requires = "model", conflicts_with_all = [
        "recipe", "out", "train", "tokenizer", "preset", "layers", "hidden_size", "attention_heads", "embedding_size",
        "objective", "sentence", "teacher", "no_control", "max_ratio", "epochs", "steps", "flops", "batch_size", "learning_rate", "warmup",
    ])]
    evaluate_on: Option<EvaluateOn>,
    #[command(flatten)]
    parallel: Parallel,
    /// Seconds between training checkpoints, at most
    #[arg(long, default_value_t = 30)]
    checkpoint_seconds: u64,
    /// JSON lines of progress on standard output, the result last
    #[arg(long)]
    json: bool,
}

/// A value by its name in recipes.
fn named<T: DeserializeOwned>(option: &str, name: &str) -> Result<T> {
    serde_json::from_value(json!(name)).map_err(|error| anyhow::anyhow!("--{option} {name}: {error}"))
}

impl Pretrain {
    /// The recipe, with what the options say in its place.
    fn recipe(&self) -> Result<PretrainRecipe> {
        let kind: Option<ObjectiveKind> = self.objective.as_deref().map(|name| named("objective", name)).transpose()?;
        let mut recipe = match &self.recipe {
            Some(path) => {
                let recipe = PretrainRecipe::read(path)?;
                ensure!(
                    kind.is_none_or(|kind| kind == recipe.objective.kind),
                    "--objective: the recipe's settings are for its own objective; change it there"
                );
                recipe
            }
            // A teacher is one of next tokens.
            None if self.teacher.is_some() => self.without_recipe(kind.unwrap_or(ObjectiveKind::Clm))?,
            None => self.without_recipe(kind.unwrap_or_default())?,
        };
        ensure!(
            self.preset.is_none() || self.model.is_none(),
            "give either --preset (new weights) or --model (a folder to go on from), not both"
        );
        if let Some(preset) = &self.preset {
            recipe.model.preset = Some(preset.clone());
            recipe.model.start = None;
        }
        if let Some(model) = &self.model {
            recipe.model = ModelRecipe { start: Some(model.clone()), ..Default::default() };
        }
        if let Some(teacher) = &self.teacher {
            let known = recipe.teacher.take().unwrap_or_else(|| TeacherRecipe::new(teacher));
            recipe.teacher = Some(TeacherRecipe { model: teacher.clone(), ..known });
        }
        ensure!(
            self.max_ratio.is_none_or(|most| most.is_finite() && most > 0.0),
            "--max-ratio must be above 0, as 1.2 is"
        );
        match &mut recipe.teacher {
            Some(teacher) => teacher.control &= !self.no_control,
            None => ensure!(
                self.max_ratio.is_none() && !self.no_control,
                "--max-ratio and --no-control are for students; name their teacher with --teacher"
            ),
        }
        let model = &mut recipe.model;
        let replaced = |own: &mut Option<usize>, given: Option<usize>| *own = given.or(*own);
        replaced(&mut model.layers, self.layers);
        replaced(&mut model.hidden_size, self.hidden_size);
        replaced(&mut model.attention_heads, self.attention_heads);
        replaced(&mut model.embedding_size, self.embedding_size);
        if self.tokenizer.is_some() {
            recipe.tokenizer.clone_from(&self.tokenizer);
        }
        if !self.train.is_empty() {
            recipe.data.train.clone_from(&self.train);
        }
        if !self.held_out.is_empty() {
            recipe.data.held_out.clone_from(&self.held_out);
            recipe.data.held_out_share = None;
        }
        if let Some(documents) = &self.documents {
            recipe.data.documents = Some(named("documents", documents)?);
        }
        if let Some(sentence) = &self.sentence {
            recipe.objective.sentence = named::<SentenceTask>("sentence", sentence)?;
        }
        recipe.max_tokens = self.max_tokens.unwrap_or(recipe.max_tokens);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        let train = &mut recipe.train;
        if let Some(epochs) = self.epochs {
            (train.epochs, train.steps) = (epochs, None);
        }
        train.steps = self.steps.or(train.steps);
        if self.flops.is_some() {
            (recipe.flops, train.steps) = (self.flops, None);
        } else if self.epochs.is_some() || self.steps.is_some() {
            recipe.flops = None;
        }
        if let Some(size) = self.batch_size {
            (train.batch_size, train.batch_tokens) = (size, None);
        }
        train.learning_rate = self.learning_rate.unwrap_or(train.learning_rate);
        train.warmup = self.warmup.unwrap_or(train.warmup);
        Ok(recipe)
    }

    fn without_recipe(&self, kind: ObjectiveKind) -> Result<PretrainRecipe> {
        ensure!(!self.train.is_empty(), "no text to train on; give --recipe FILE, or --train FILE");
        ensure!(
            self.preset.is_some() != self.model.is_some() || self.teacher.is_some(),
            "give --recipe FILE, or either --preset NAME (new weights) or --model FOLDER (to go on from), or --teacher FOLDER \
             (to learn from)"
        );
        let text = format!(
            "[model]\npreset = \"bert-base-uncased\"\n[data]\ntrain = [\"-\"]\n[objective]\nkind = {}\n",
            json!(kind)
        );
        PretrainRecipe::parse(&format!("tokenizer = \"-\"\n{text}")).map(|mut recipe| {
            recipe.tokenizer = None;
            recipe.model = ModelRecipe::default();
            recipe.objective = Objective::new(kind);
            recipe
        })
    }

    fn evaluate(&self, on: EvaluateOn) -> Result<ExitCode> {
        let documents: Option<Documents> =
            self.documents.as_deref().map(|name| named("documents", name)).transpose()?;
        ensure!(!self.held_out.is_empty(), "no text to score on; give --held-out FILE");
        let processes = self.parallel.join()?;
        let model = self.model.as_deref().context("--evaluate-on scores a folder; give --model")?;
        let scored = evaluate(&EvaluateOptions {
            model: self.data.join(model),
            on,
            files: self.held_out.iter().map(|name| self.data.join(name)).collect(),
            documents,
            text: "text".to_owned(),
            end_of_text: None,
            max_tokens: self.max_tokens,
            seed: self.seed.unwrap_or(7),
            device: processes.device,
        })?;
        if self.json {
            super::print_json(&json!(scored))?;
        } else {
            let held_out = &scored.held_out;
            let head = if scored.untrained_head { "; its head for pairs is untrained" } else { "" };
            super::print(&format!("{}, {} examples{head}\n", held_out.told(), held_out.examples))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        limbeck_export::memory::keep_freed_memory();
        if let Some(on) = self.evaluate_on {
            return self.evaluate(on);
        }
        let recipe = self.recipe()?;
        let processes = self.parallel.join()?;
        let options = PretrainOptions {
            recipe,
            folder: self.data,
            out: self.out.context("give --out FOLDER")?,
            device: processes.device,
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
        };
        let (leads, reporter) = (processes.leads(), processes.reporter(self.json));
        let done = pretrain_together(&options, processes.group.group(), &reporter)?;
        processes.group.finish();
        if !leads {
            return Ok(ExitCode::SUCCESS);
        }
        if self.json {
            reporter.event("pretrained", &done);
        } else {
            let out = options.out.display();
            let Pretrained { held_out, outcome, flops, parameters, distilled, .. } = &done;
            let beside = distilled.as_ref().map_or(String::new(), Distilled::told);
            let next = match options.recipe.objective.kind {
                ObjectiveKind::Clm => format!("limbeck pack {out} -o lm.limbeck"),
                _ => format!("limbeck finetune --model {out} --task text-classification --train FILE --out FOLDER"),
            };
            super::print(&format!(
                "{out}: {}\n{beside}{parameters} parameters, {} steps, {:.3e} FLOPs by ELECTRA's counter, {:.0} tokens/s\n\
                 Next: {next}\n",
                held_out.told(),
                outcome.steps,
                flops.electra,
                outcome.tokens_per_second
            ))?;
        }
        let ratio = done.distilled.as_ref().map(|distilled| distilled.ratio);
        if let Some((ratio, most)) = ratio.zip(self.max_ratio).filter(|(ratio, most)| ratio > most) {
            eprintln!("The student's perplexity is {ratio:.3} times the teacher's, more than --max-ratio {most}");
            return Ok(ExitCode::from(3));
        }
        Ok(ExitCode::SUCCESS)
    }
}
