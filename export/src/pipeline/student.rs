//! Students: where their first weights come from, and the trainings that a run gives them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tch::Tensor;

use super::run::{Run, Trained, Training, on_labels};
use super::teacher::{Teacher, second_moment};
use crate::arch::{Head, ModelConfig, Params, new_head, parameter_layout};
use crate::checkpoint::{self, Directions, HeadInfo};
use crate::data::Encoder;
use crate::files;
use crate::recipe::{LossTerm, Recipe, StageRecipe, Start, TeacherSource, Texts};

/// Training texts whose hidden states show which directions matter.
const STATES_OF: usize = 1024;

/// The encoder whose weights and tokenizer a student takes.
#[derive(Clone, Copy)]
pub(super) struct Ancestor<'a> {
    /// The first teacher, or one made of the folder that was named for the student.
    pub model: &'a Teacher,
    /// Where it came from.
    pub folder: &'a Path,
    /// Whether it is one of the run's teachers.
    pub is_teacher: bool,
}

/// An ancestor and the shape that a student of it gets.
pub(super) struct Origin<'a> {
    run: Run<'a>,
    from: &'a Teacher,
    is_teacher: bool,
    tokenizer: PathBuf,
    pub config: ModelConfig,
    pub layer_map: Vec<usize>,
    info: HeadInfo,
    directions: OnceCell<Directions>,
    /// The encoder that the student reads texts with.
    encoder: Encoder,
}

/// One way to train a student: the recipe's, its control's, or an ablation's.
pub(super) struct Variant {
    /// Folder below the run's, before the seed: `student`, `control`, `ablation/without-labels`.
    pub folder: String,
    pub stages: Vec<StageRecipe>,
    pub start: Start,
}

impl Variant {
    pub(super) fn student(recipe: &Recipe) -> Self {
        Self { folder: "student".to_owned(), stages: recipe.stages.clone(), start: recipe.student.start }
    }

    /// The same student, start and training, on the labels alone.
    pub(super) fn control(recipe: &Recipe) -> Self {
        Self { folder: "control".to_owned(), stages: on_labels(&recipe.student.train), start: recipe.student.start }
    }

    /// The recipe with each loss left out in turn, without all losses on mapped layers where others stand beside them
    /// (TinyBERT's "w/o Trm": Jiao 2020, table 3), without each stage before the last, without losses of several stages in any
    /// of them, and from new weights.
    pub(super) fn ablations(recipe: &Recipe) -> Vec<(String, Self)> {
        let mut variants = Vec::new();
        let mut add = |name: String, folder: String, stages: Vec<StageRecipe>, start| {
            variants.push((name, Self { folder: format!("ablation/{folder}"), stages, start }));
        };
        let several = recipe.stages.len() > 1;
        for (index, stage) in recipe.stages.iter().enumerate() {
            let last = index + 1 == recipe.stages.len();
            if stage.losses.len() > 1 {
                for term in &stage.losses {
                    let mut stages = recipe.stages.clone();
                    stages[index].losses.retain(|other| other.name() != term.name());
                    if last && !stages[index].trains_head() {
                        continue;
                    }
                    let of = if several { format!("{}, {}", stage.name, term.name()) } else { term.name().to_owned() };
                    let folder = format!("without-{}-{}", stage.name, term.name());
                    add(format!("without {of}"), folder, stages, recipe.student.start);
                }
            }
            let of_layers = stage.losses.iter().filter(|term| term.reads_map()).count();
            if of_layers > 1 && of_layers < stage.losses.len() {
                let mut stages = recipe.stages.clone();
                stages[index].losses.retain(|term| !term.reads_map());
                let of = if several { format!("{}, layers", stage.name) } else { "layers".to_owned() };
                let folder = format!("without-{}-layers", stage.name);
                add(format!("without {of}"), folder, stages, recipe.student.start);
            }
            if !last {
                let mut stages = recipe.stages.clone();
                stages.remove(index);
                add(
                    format!("without the stage {}", stage.name),
                    format!("without-{}", stage.name),
                    stages,
                    recipe.student.start,
                );
            }
        }
        let names = recipe.stages.iter().flat_map(|stage| &stage.losses).map(LossTerm::name);
        for name in names.collect::<BTreeSet<_>>() {
            let has = |stage: &&StageRecipe| stage.losses.iter().any(|term| term.name() == name);
            let mut stages = recipe.stages.clone();
            stages.iter_mut().for_each(|stage| stage.losses.retain(|term| term.name() != name));
            let trains_head = stages.last().is_some_and(StageRecipe::trains_head);
            if recipe.stages.iter().filter(has).count() > 1 && trains_head {
                stages.retain(|stage| !stage.losses.is_empty());
                add(format!("without {name}"), format!("without-any-{name}"), stages, recipe.student.start);
            }
        }
        if recipe.student.start != Start::Random {
            add("from new weights".to_owned(), "random-start".to_owned(), recipe.stages.clone(), Start::Random);
        }
        apart(&mut variants, &recipe.seeds);
        variants
    }

    /// Its folder for one of the seeds, below the run's.
    fn folder_of(folder: &str, seed: u64, seeds: &[u64]) -> String {
        if seeds.first() == Some(&seed) { folder.to_owned() } else { format!("{folder}-seed-{seed}") }
    }
}

/// Numbers the folder of a variant that for some seed is another's: without the loss `labels` of a stage `a` and without a
/// stage `a-labels` are both `without-a-labels`. No stage's name has the dot.
fn apart(variants: &mut [(String, Variant)], seeds: &[u64]) {
    let mut taken = BTreeSet::new();
    let of_seeds =
        |folder: &str| -> Vec<String> { seeds.iter().map(|&seed| Variant::folder_of(folder, seed, seeds)).collect() };
    for (_, variant) in variants {
        let (name, mut number) = (variant.folder.clone(), 2);
        while of_seeds(&variant.folder).iter().any(|folder| taken.contains(folder)) {
            variant.folder = format!("{name}.{number}");
            number += 1;
        }
        taken.extend(of_seeds(&variant.folder));
    }
}

impl<'a> Origin<'a> {
    pub(super) fn new(run: Run<'a>, ancestor: Ancestor<'a>) -> Result<Self> {
        let recipe = run.recipe;
        let Ancestor { model: from, folder, is_teacher } = ancestor;
        let config = recipe.student.config(&from.config)?;
        let layer_map = match &recipe.student.layer_map {
            Some(map) => map.clone(),
            None => checkpoint::evenly_spaced_layers(from.config.blocks().len(), config.blocks().len()),
        };
        let tokenizer = checkpoint::tokenizer_path(folder)?;
        let encoder = Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?;
        let info = from.info.clone();
        info.head.check(&config)?;
        Ok(Self { run, from, is_teacher, tokenizer, config, layer_map, info, directions: OnceCell::new(), encoder })
    }

    /// Whether the ancestor came with a trained head; that of another encoder is as new as any.
    fn is_finished(&self) -> bool {
        self.is_teacher && self.run.recipe.teacher.source == TeacherSource::Finished
    }

    fn weights(&self, start: Start) -> Result<&Params> {
        match start {
            Start::Pretrained if self.is_finished() => Ok(&self.from.params),
            Start::Pretrained => {
                self.from.pretrained.as_ref().context("there are no weights from before the teacher was fine-tuned")
            }
            _ => Ok(&self.from.params),
        }
    }

    /// The teacher's directions that a narrower student keeps; all where it is as wide.
    fn directions(&self, start: Start) -> Result<&Directions> {
        if let Some(found) = self.directions.get() {
            return Ok(found);
        }
        let found = if self.config.hidden_size == self.from.config.hidden_size {
            Directions::all(self.config.hidden_size)
        } else {
            let all = self.run.sets.unlabelled.is_some();
            let tokens = self.run.encode(if all { Texts::Unlabelled } else { Texts::Train }, &self.encoder)?;
            let examples = &tokens.train[..tokens.train.len().min(STATES_OF)];
            let moment =
                second_moment(self.weights(start)?, self.from, examples, self.run.options.device, self.run.reporter)?;
            let directions = Directions::principal(&moment, self.config.hidden_size)?;
            self.run.reporter.note(&format!(
                "Student: {} of {} directions of the encoder's hidden states, which hold {:.1}% of their energy",
                self.config.hidden_size,
                self.from.config.hidden_size,
                directions.kept * 100.0
            ));
            directions
        };
        Ok(self.directions.get_or_init(|| found))
    }

    /// A student's first weights; `seed` decides those that are new, a head that was never trained among them.
    pub(super) fn first_weights(&self, start: Start, seed: u64) -> Result<Params> {
        tch::manual_seed(seed as i64);
        let (config, head) = (&self.config, self.info.head);
        if start == Start::Random {
            return Ok(Params::initialise(&parameter_layout(config, head), self.run.options.device));
        }
        let weights = self.weights(start)?;
        let directions = self.directions(start)?;
        let params =
            checkpoint::student_from_teacher(weights, &self.from.config, config, &self.layer_map, head, directions)?;
        if start == Start::Teacher || self.is_finished() {
            return Ok(params);
        }
        Ok(params.with(new_head(config, head, self.run.options.device)))
    }

    /// The masked-LM head that a student has in stages that look at its guesses: the encoder's, or a new one.
    fn masked_lm(&self, start: Start) -> Result<BTreeMap<String, Tensor>> {
        match &self.from.masked_lm {
            Some(own) if start != Start::Random => {
                let directions = self.directions(start)?;
                checkpoint::head_from_teacher(own, &self.from.config, &self.config, Head::MaskedLm, directions)
            }
            _ => Ok(new_head(&self.config, Head::MaskedLm, self.run.options.device).into_iter().collect()),
        }
    }

    /// Trains a student one way from one seed.
    ///
    /// # Errors
    /// Those of its stages.
    pub(super) fn train(&self, variant: &Variant, teachers: &[Teacher], seed: u64) -> Result<Trained> {
        let recipe = self.run.recipe;
        let folder = Variant::folder_of(&variant.folder, seed, &recipe.seeds);
        let identity = files::sha256_hex(&serde_json::to_vec(&(
            &self.from.identity,
            self.run.task_identity()?,
            &self.config,
            &self.layer_map,
            variant.start,
        ))?);
        let params = self.first_weights(variant.start, seed)?;
        let guesses = variant.stages.iter().any(StageRecipe::guesses);
        let masked_lm = if guesses { self.masked_lm(variant.start)? } else { BTreeMap::new() };
        let directions = match variant.start {
            Start::Random => None,
            start if self.config.hidden_size != self.from.config.hidden_size => Some(self.directions(start)?),
            _ => None,
        };
        ensure!(
            variant.stages.last().is_some_and(StageRecipe::trains_head),
            "{folder}: no loss is left that trains the head"
        );
        self.run.train(Training {
            name: &folder,
            folder: self.run.options.out.join(&folder),
            identity: &identity,
            config: &self.config,
            info: &self.info,
            pooling: self.from.pooling,
            params,
            masked_lm,
            directions,
            tokenizer: &self.tokenizer,
            encoder: &self.encoder,
            stages: &variant.stages,
            teachers,
            seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ablations(head: &str, stages: &str) -> Vec<(String, Variant)> {
        let text = format!("id = \"a\"\n{head}\n[data]\nfiles = [\"a.csv\"]\n[student]\nlayers = 2\n{stages}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        Variant::ablations(&Recipe::read(&path).unwrap())
    }

    #[test]
    fn no_two_variants_share_a_folder() {
        let stage = |name: &str| {
            format!(
                "[[stages]]\nname = \"{name}\"\nlosses = [{{ loss = \"labels\" }}, {{ loss = \"soft-targets\" }}]\n"
            )
        };
        let stages: String = ["a", "a-labels", "a-seed-6", "end"].map(stage).concat();
        let variants = ablations("seeds = [5, 6]", &stages);
        let mut folders: Vec<String> = variants
            .iter()
            .flat_map(|(_, variant)| [5, 6].map(|seed| Variant::folder_of(&variant.folder, seed, &[5, 6])))
            .collect();
        let all = folders.len();
        folders.sort();
        folders.dedup();
        assert_eq!((folders.len(), all), (28, 28), "{folders:#?}");
        let of = |name: &str| &variants.iter().find(|(other, _)| other == name).unwrap().1.folder;
        assert_eq!(of("without a, labels"), "ablation/without-a-labels");
        assert_eq!(of("without the stage a-labels"), "ablation/without-a-labels.2");
        assert_eq!(of("without the stage a"), "ablation/without-a");
        assert_eq!(of("without the stage a-seed-6"), "ablation/without-a-seed-6.2");
    }

    #[test]
    fn losses_of_several_stages_are_left_out_of_all_too() {
        let stages = |name: &str| -> Vec<(String, Vec<&str>)> {
            let variants = ablations("method = \"xtremedistil\"", "");
            let (_, variant) = variants.into_iter().find(|(other, _)| other == name).unwrap();
            let named = |stage: &StageRecipe| (stage.name.clone(), stage.losses.iter().map(LossTerm::name).collect());
            variant.stages.iter().map(named).collect()
        };
        let first = ("representation".to_owned(), vec!["hidden-states", "embeddings"]);
        // The stage that had nothing else is gone with it.
        assert_eq!(stages("without soft-targets"), [first.clone(), ("prediction".to_owned(), vec!["labels"])]);
        assert_eq!(stages("without prediction, soft-targets").len(), 3);
        assert_eq!(stages("without prediction, labels")[0], first);
    }

    #[test]
    fn tinybert_without_its_parts() {
        let variants = ablations("method = \"tinybert\"", "");
        let losses = |name: &str| -> Vec<Vec<&str>> {
            let (_, variant) = variants.iter().find(|(other, _)| other == name).unwrap();
            variant.stages.iter().map(|stage| stage.losses.iter().map(LossTerm::name).collect()).collect()
        };
        let names: Vec<&str> = variants.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "without intermediate, attention-scores",
                "without intermediate, hidden-states",
                "without intermediate, embeddings",
                "without intermediate, layers",
                "without the stage intermediate",
                "from new weights"
            ]
        );
        assert_eq!(losses("without intermediate, layers")[0], ["embeddings"]);
        assert_eq!(losses("without the stage intermediate").len(), 1);
    }
}
