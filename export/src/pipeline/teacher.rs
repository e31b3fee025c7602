//! The teachers: fine-tuned here, ready-made, or only their answers; and what they give for a stage's texts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};

use super::data::Tokens;
use super::run::{Run, Training, on_labels};
use crate::arch::{Capture, Head, Layers, Model, ModelConfig, ModelOutput, Params};
use crate::checkpoint::{self, HeadInfo, SentencePooling};
use crate::data::{Batch, EncodedExample, Encoder, Goal, Rows};
use crate::distill::{CacheKey, Extent, Field, TeacherCache, read_teacher_file, rows_sha256};
use crate::files;
use crate::finetune::{head_for, load_for};
use crate::objective::Pupil;
use crate::progress::Reporter;
use crate::recipe::{Recipe, Relation, TeacherSource, TeacherState, Texts};
use crate::train::Outcome;

/// A teacher whose weights are here.
pub(super) struct Teacher {
    /// `teacher`, `teacher-2`: its folder below the run's.
    pub name: String,
    pub config: ModelConfig,
    pub info: HeadInfo,
    pub pooling: Option<SentencePooling>,
    pub params: Params,
    /// The encoder before it was fine-tuned, with a head that was never trained.
    pub pretrained: Option<Params>,
    /// How its fine-tuning went.
    pub outcome: Option<Outcome>,
    /// Hash of all that decides its weights.
    pub identity: String,
    pub encoder: Encoder,
}

impl Teacher {
    /// Whether it reads token types.
    pub(super) fn types(&self) -> bool {
        self.config.token_types > 1
    }

    fn model(&self, state: TeacherState) -> Result<Model> {
        let params = match state {
            TeacherState::Task => &self.params,
            TeacherState::Pretrained => self.pretrained.as_ref().context(
                "a stage learns from the pretrained encoder, but the teacher came finished; use from = \"task\"",
            )?,
        };
        Ok(Model::new(params, &self.config, self.info.head))
    }

    /// Makes the teacher of one folder.
    ///
    /// # Errors
    /// A folder that cannot be used; a teacher that has nothing to give.
    pub(super) fn make(run: &Run, folder: &Path, index: usize) -> Result<Self> {
        let Run { recipe, data, options, reporter, .. } = *run;
        let name = if index == 0 { "teacher".to_owned() } else { format!("teacher-{}", index + 1) };
        let (config, own) = checkpoint::read_shape(folder)?;
        let number = &recipe.data.columns.label;
        let (info, pooling) = head_for(data.goal, &data.labels, number, folder)?;
        let weights = checkpoint::weights_sha256(folder)?;
        let tokenizer = checkpoint::tokenizer_path(folder)?;
        let encoder = Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?;
        ensure!(
            recipe.max_tokens <= config.max_positions(),
            "max_tokens is {}, but {} has {} positions",
            recipe.max_tokens,
            folder.display(),
            config.max_positions()
        );
        if recipe.teacher.source == TeacherSource::Finished {
            let own = own.with_context(|| format!("{} has no head", folder.display()))?;
            ensure!(
                own.head == info.head && own.labels == info.labels || matches!(info.head, Head::Embedding { .. }),
                "{} was not made for this task: it has a {} head{}, the data need a {} head{}",
                folder.display(),
                own.head.name(),
                some(&own.labels),
                info.head.name(),
                some(&info.labels)
            );
            let params = checkpoint::load(folder, info.head, options.device)?.params;
            let identity = files::sha256_hex(format!("finished {weights} {}", run.task_identity()?).as_bytes());
            let teacher =
                Self { name, config, info, pooling, params, pretrained: None, outcome: None, identity, encoder };
            teacher.check(run, teacher.dev_score(run)?)?;
            return Ok(teacher);
        }
        tch::manual_seed(recipe.seeds[0] as i64);
        // The teacher comes as an encoder: a head of another task or other labels is not ours to keep.
        let params = load_for(folder, &config, &info, options.device)?;
        let pretrained = Some(params.deep_clone());
        let identity = files::sha256_hex(&serde_json::to_vec(&(
            "finetune",
            &weights,
            run.task_identity()?,
            &recipe.teacher.train,
            recipe.seeds[0],
        ))?);
        let mut teacher = Self { name, config, info, pooling, params, pretrained, outcome: None, identity, encoder };
        reporter.note(&format!("Teacher: fine-tuning {} on the labels", folder.display()));
        let trained = run.train(Training {
            name: &teacher.name,
            folder: options.out.join(&teacher.name),
            identity: &teacher.identity,
            config: &teacher.config,
            info: &teacher.info,
            pooling: teacher.pooling,
            params: Params::shared(&teacher.params),
            directions: None,
            tokenizer: &tokenizer,
            encoder: &teacher.encoder,
            stages: &on_labels(&recipe.teacher.train),
            teachers: &[],
            seed: recipe.seeds[0],
        })?;
        teacher.check(run, trained.dev())?;
        teacher.outcome = trained.stages.into_iter().next().map(|(_, outcome)| outcome);
        Ok(teacher)
    }

    /// An encoder that is no teacher: what a student starts from.
    ///
    /// # Errors
    /// A folder that cannot be used.
    pub(super) fn untrained(run: &Run, folder: &Path) -> Result<Self> {
        let Run { recipe, data, options, .. } = *run;
        let (config, _) = checkpoint::read_shape(folder)?;
        let (info, pooling) = head_for(data.goal, &data.labels, &recipe.data.columns.label, folder)?;
        let encoder = Encoder::new(&checkpoint::tokenizer_path(folder)?, recipe.max_tokens, config.vocab_size)?;
        tch::manual_seed(recipe.seeds[0] as i64);
        let params = load_for(folder, &config, &info, options.device)?;
        let identity = files::sha256_hex(format!("encoder {}", checkpoint::weights_sha256(folder)?).as_bytes());
        let pretrained = Some(params.deep_clone());
        Ok(Self {
            name: "encoder".to_owned(),
            config,
            info,
            pooling,
            params,
            pretrained,
            outcome: None,
            identity,
            encoder,
        })
    }

    fn dev_score(&self, run: &Run) -> Result<f64> {
        let model = self.model(TeacherState::Task)?;
        let tokens = run.encode(Texts::Train, &self.encoder)?;
        let pupil = Pupil { model: &model, goal: run.data.goal, labels: &run.data.labels, types: self.types() };
        Ok(tch::no_grad(|| pupil.score(&tokens.dev, self.config.pad_id, run.options.device)))
    }

    /// A teacher must beat what needs no model, or there is nothing to distil.
    fn check(&self, run: &Run, dev: f64) -> Result<()> {
        let chance = run.data.chance_on_dev();
        let what = if run.data.goal == Goal::Class { "the largest class alone" } else { "chance" };
        ensure!(
            (dev - chance) * 100.0 >= MARGIN,
            "{}: {} {:.1} on dev, and {what} {:.1}: there is nothing to distil; check the labels with `limbeck check`, or \
             train longer",
            self.name,
            run.data.goal.measure(),
            dev * 100.0,
            chance * 100.0
        );
        Ok(())
    }
}

/// A teacher must beat chance on dev by this many points of 100.
const MARGIN: f64 = 2.0;

fn some(labels: &Option<Vec<String>>) -> String {
    labels.as_ref().map_or(String::new(), |labels| format!(" for {}", crate::data::some_labels(labels)))
}

/// What the losses of a stage, or of several, need of a teacher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub logits: bool,
    /// Hidden states, 0 for the embeddings' output.
    pub hidden: Vec<usize>,
    /// Attention scores by layer.
    pub scores: Vec<usize>,
    /// Queries, keys or values by layer.
    pub relations: Vec<(Relation, usize)>,
}

/// The name of a field of queries, keys or values.
pub(super) fn relation_field(relation: Relation, layer: usize) -> String {
    match relation {
        Relation::Query => format!("query.{layer}"),
        Relation::Key => format!("key.{layer}"),
        Relation::Value => format!("value.{layer}"),
    }
}

impl Wanted {
    /// Adds what another stage needs.
    pub(super) fn merge(&mut self, other: &Wanted) {
        self.logits |= other.logits;
        self.hidden.extend(&other.hidden);
        self.scores.extend(&other.scores);
        self.relations.extend(&other.relations);
        self.hidden.sort_unstable();
        self.hidden.dedup();
        self.scores.sort_unstable();
        self.scores.dedup();
        self.relations.sort_unstable();
        self.relations.dedup();
    }

    /// Whether layers are needed, which one teacher alone can give.
    pub(super) fn layers(&self) -> bool {
        !(self.hidden.is_empty() && self.scores.is_empty() && self.relations.is_empty())
    }

    pub(super) fn capture(&self) -> Capture {
        let of = |layers: Vec<usize>| if layers.is_empty() { Layers::None } else { Layers::Of(layers) };
        Capture {
            hidden_states: !self.hidden.is_empty(),
            attention_scores: of(self.scores.clone()),
            projections: of(self.relations.iter().map(|(_, layer)| *layer).collect()),
        }
    }

    fn fields(&self, config: &ModelConfig, goal: Goal, labels: usize) -> Vec<Field> {
        let width = config.hidden_size;
        let mut fields = Vec::new();
        if self.logits {
            fields.push(Field::new(
                LOGITS,
                match goal {
                    Goal::Class | Goal::Labels => Extent::Text(labels),
                    Goal::Value => Extent::Text(1),
                    Goal::Tags => Extent::Token(labels),
                    Goal::Answers => Extent::Token(2),
                    Goal::Similarity { .. } => Extent::Text(width),
                },
            ));
        }
        fields.extend(self.hidden.iter().map(|state| Field::new(format!("hidden.{state}"), Extent::Token(width))));
        let heads = config.attention_heads;
        fields.extend(self.scores.iter().map(|layer| Field::new(format!("scores.{layer}"), Extent::Pair(heads))));
        let relations = self.relations.iter();
        fields.extend(relations.map(|&(of, layer)| Field::new(relation_field(of, layer), Extent::Token(width))));
        fields
    }

    /// The fields of one side of a batch.
    fn gather(&self, output: &ModelOutput) -> Result<BTreeMap<String, Tensor>> {
        let mut found = BTreeMap::new();
        if self.logits {
            // A number is one logit already.
            found.insert(LOGITS.to_owned(), output.logits.shallow_clone());
        }
        let encoded = &output.encoded;
        for &state in &self.hidden {
            let tensor = encoded.hidden_states.get(state).with_context(|| format!("no hidden state {state}"))?;
            found.insert(format!("hidden.{state}"), tensor.shallow_clone());
        }
        for &layer in &self.scores {
            let tensor = encoded.attention_scores.get(&layer).with_context(|| format!("no scores of layer {layer}"))?;
            found.insert(format!("scores.{layer}"), tensor.shallow_clone());
        }
        for &(of, layer) in &self.relations {
            let all = encoded.projections.get(&layer).with_context(|| format!("no projections of layer {layer}"))?;
            let tensor = match of {
                Relation::Query => &all.query,
                Relation::Key => &all.key,
                Relation::Value => &all.value,
            };
            found.insert(relation_field(of, layer), tensor.shallow_clone());
        }
        Ok(found)
    }
}

/// The field of what the head gives; of embeddings, the vectors.
pub(super) const LOGITS: &str = "logits";

/// Where a stage's teacher outputs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Computed once and kept on disk.
    Cache,
    /// Computed anew in every step: what the cache is measured against.
    EachStep,
}

/// What one teacher gives for a set of examples.
enum Outputs {
    /// By side, computed when asked for.
    Live(Vec<Side>),
    /// By side: of pairs that are read apart there are two.
    Cached(Vec<TeacherCache>),
    /// `[examples, labels]`, from a file.
    Answers(Tensor),
}

/// What all teachers give for the training texts and for dev.
pub(super) struct Lessons {
    /// By teacher, with the weight of its answers (which add up to 1).
    train: Vec<(f64, Outputs)>,
    dev: Vec<(f64, Outputs)>,
    goal: Goal,
}

/// Which texts a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Train,
    Dev,
}

impl Lessons {
    /// Computes, or finds on disk, what `wanted` names for a stage's texts.
    pub(super) fn learn(
        run: &Run,
        teachers: &[Teacher],
        on: Texts,
        state: TeacherState,
        wanted: &Wanted,
        student: &Tokens,
        source: Source,
    ) -> Result<Self> {
        if let Some(answers) = &run.recipe.teacher.answers {
            return Self::from_file(run, &run.options.data.join(answers), student);
        }
        let mut lessons = Self { train: Vec::new(), dev: Vec::new(), goal: run.data.goal };
        let weights = weights(run.recipe, teachers.len())?;
        for (index, (teacher, weight)) in teachers.iter().zip(weights).enumerate() {
            let wanted =
                if index == 0 { wanted.clone() } else { Wanted { logits: wanted.logits, ..Wanted::default() } };
            if wanted == Wanted::default() {
                continue;
            }
            let tokens = run.encode(on, &teacher.encoder)?;
            let by_token = wanted.layers() || matches!(run.data.goal, Goal::Tags | Goal::Answers);
            if by_token {
                ensure!(
                    same_lengths(&tokens.train, &student.train) && same_lengths(&tokens.dev, &student.dev),
                    "{} cuts texts into other tokens than the student: only its answers to whole texts can be learned; \
                     leave the losses on layers out, or give the student the teacher's tokenizer",
                    teacher.name
                );
            }
            let make = |examples: &[EncodedExample]| {
                let sides = Side::of(run, teacher, state, &wanted, examples)?;
                Ok::<_, anyhow::Error>(match source {
                    Source::Cache => Outputs::Cached(cached(run, teacher, state, &sides)?),
                    Source::EachStep => Outputs::Live(sides),
                })
            };
            lessons.train.push((weight, make(&tokens.train)?));
            lessons.dev.push((weight, make(&tokens.dev)?));
        }
        Ok(lessons)
    }

    fn from_file(run: &Run, path: &Path, student: &Tokens) -> Result<Self> {
        let Rows::Texts(rows) = &run.data.split.train else {
            bail!("a teacher's answers as a file are for classification; this is {}", run.recipe.task.task().name())
        };
        ensure!(run.data.goal == Goal::Class, "a teacher's answers as a file are for rows with one label each");
        let texts: Vec<_> = rows.iter().map(|row| (row.text.clone(), row.pair.clone())).collect();
        let file = read_teacher_file(path, &texts, &run.data.labels)?;
        ensure!(student.train.len() == texts.len(), "a teacher's answers as a file cannot be used on augmented rows");
        run.reporter.note(&format!("Teacher: answers to {} of {} rows", file.matched, texts.len()));
        Ok(Self { train: vec![(1.0, Outputs::Answers(file.logits))], dev: Vec::new(), goal: run.data.goal })
    }

    /// Bytes of all caches.
    pub(super) fn bytes(&self) -> u64 {
        let sizes = self.train.iter().chain(&self.dev).map(|(_, outputs)| match outputs {
            Outputs::Cached(sides) => sides.iter().map(TeacherCache::size_bytes).sum(),
            Outputs::Live(_) | Outputs::Answers(_) => 0,
        });
        sizes.sum()
    }

    /// Whether dev can be compared with the teacher too.
    pub(super) fn has_dev(&self) -> bool {
        !self.dev.is_empty()
    }

    /// The fields of one side of a batch, padded as its longest text; of several teachers the weighted mean of what
    /// their heads give, and of embeddings their vectors one after the other, so that cosines are weighted means.
    pub(super) fn batch(
        &self,
        set: Set,
        indices: &[usize],
        side: usize,
        fields: &[String],
        device: Device,
    ) -> Result<BTreeMap<String, Tensor>> {
        let teachers = if set == Set::Train { &self.train } else { &self.dev };
        let mut all: BTreeMap<String, Tensor> = BTreeMap::new();
        for (index, (weight, outputs)) in teachers.iter().enumerate() {
            // Layers are the first teacher's.
            let asked: Vec<&str> =
                fields.iter().map(String::as_str).filter(|name| index == 0 || *name == LOGITS).collect();
            let found = match outputs {
                Outputs::Live(sides) => {
                    let mut found =
                        tch::no_grad(|| sides.get(side).context("the teacher has no such side")?.outputs(indices))?;
                    found.retain(|name, _| asked.contains(&name.as_str()));
                    found
                }
                Outputs::Cached(sides) => {
                    let cache = sides.get(side).context("the teacher has no such side")?;
                    cache.batch(indices, &asked, device)?
                }
                Outputs::Answers(logits) => {
                    let rows: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
                    let rows = logits.index_select(0, &Tensor::from_slice(&rows)).to_device(device);
                    BTreeMap::from([(LOGITS.to_owned(), rows)])
                }
            };
            for (name, tensor) in found {
                let several = teachers.len() > 1 && name == LOGITS;
                let tensor = match (several, self.goal) {
                    (false, _) => tensor,
                    (true, Goal::Similarity { .. }) => {
                        let norms = tensor.norm_scalaropt_dim(2.0, [1i64].as_slice(), true).clamp_min(1e-12);
                        tensor / norms * weight.sqrt()
                    }
                    (true, _) => tensor * *weight,
                };
                match all.remove(&name) {
                    None => all.insert(name, tensor),
                    Some(sum) => {
                        let joined = if matches!(self.goal, Goal::Similarity { .. }) {
                            Tensor::cat(&[sum, tensor], 1)
                        } else {
                            sum + tensor
                        };
                        all.insert(name, joined)
                    }
                };
            }
        }
        Ok(all)
    }
}

fn weights(recipe: &Recipe, teachers: usize) -> Result<Vec<f64>> {
    let given = &recipe.teacher.weights;
    ensure!(
        given.is_empty() || given.len() == teachers,
        "teacher.weights has {} numbers for {teachers} teachers",
        given.len()
    );
    let weights = if given.is_empty() { vec![1.0; teachers] } else { given.clone() };
    let sum: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|weight| weight / sum).collect())
}

fn same_lengths(first: &[EncodedExample], second: &[EncodedExample]) -> bool {
    first.len() == second.len()
        && first.iter().zip(second).all(|(a, b)| a.ids.len() == b.ids.len() && a.partner.len() == b.partner.len())
}

/// The texts of one side of a set of examples, and the teacher that reads them.
struct Side {
    model: Model,
    wanted: Wanted,
    examples: Vec<EncodedExample>,
    fields: Vec<Field>,
    pad_id: usize,
    types: bool,
    device: Device,
}

impl Side {
    /// One, or two where the texts of a pair are read each by itself.
    fn of(
        run: &Run,
        teacher: &Teacher,
        state: TeacherState,
        wanted: &Wanted,
        examples: &[EncodedExample],
    ) -> Result<Vec<Self>> {
        let sides = if examples.iter().any(|example| !example.partner.is_empty()) { 2 } else { 1 };
        let own = |side| {
            let own = examples.iter().map(|example| match side {
                0 => EncodedExample { partner: Vec::new(), ..example.clone() },
                _ => EncodedExample::new(example.partner.clone(), example.target.clone()),
            });
            own.collect()
        };
        (0..sides)
            .map(|side| {
                Ok(Self {
                    model: teacher.model(state)?,
                    wanted: wanted.clone(),
                    examples: own(side),
                    fields: wanted.fields(&teacher.config, run.data.goal, run.data.labels.len()),
                    pad_id: teacher.config.pad_id,
                    types: teacher.types(),
                    device: run.options.device,
                })
            })
            .collect()
    }

    /// The teacher's outputs for some examples, padded as the longest of them.
    fn outputs(&self, indices: &[usize]) -> Result<BTreeMap<String, Tensor>> {
        let batch = Batch::new(&self.examples, indices.to_vec(), self.pad_id, self.device);
        let types = batch.types.as_ref().filter(|_| self.types);
        self.wanted.gather(&self.model.forward(&batch.ids, &batch.mask, types, &self.wanted.capture(), false))
    }
}

/// The outputs on disk, by side.
fn cached(run: &Run, teacher: &Teacher, state: TeacherState, sides: &[Side]) -> Result<Vec<TeacherCache>> {
    let mut caches = Vec::new();
    for side in sides {
        let rows = side.examples.iter().flat_map(|example| [example.ids.as_slice(), example.types.as_slice()]);
        let key = CacheKey {
            teacher: format!(
                "{}-{}",
                teacher.identity,
                if state == TeacherState::Task { "task" } else { "pretrained" }
            ),
            data: rows_sha256(rows),
            augmentation: None,
            max_tokens: run.recipe.max_tokens,
            fields: side.fields.clone(),
        };
        let lengths: Vec<usize> = side.examples.iter().map(|example| example.ids.len()).collect();
        let mut cache = TeacherCache::open(&run.options.cache, &key, &lengths, run.reporter)?;
        cache.fill(&mut |indices| side.outputs(indices), run.reporter)?;
        caches.push(cache);
    }
    Ok(caches)
}

/// The second moment of a teacher's hidden states, embeddings and all layers, over some texts: `[H, H]`, fp64.
pub(super) fn second_moment(
    params: &Params,
    teacher: &Teacher,
    examples: &[EncodedExample],
    device: Device,
    reporter: &Reporter,
) -> Result<Tensor> {
    let model = Model::new(params, &teacher.config, teacher.info.head);
    let width = teacher.config.hidden_size as i64;
    let mut sum = Tensor::zeros([width, width], (Kind::Double, Device::Cpu));
    let capture = Capture { hidden_states: true, ..Capture::default() };
    let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
    let bar = reporter.bar("directions", examples.len() as u64, 0);
    let _guard = tch::no_grad_guard();
    let mut done = 0;
    for indices in crate::data::in_order_batches(&lengths, 64) {
        let batch = Batch::new(examples, indices, teacher.config.pad_id, device);
        let types = batch.types.as_ref().filter(|_| teacher.types());
        let output = model.forward(&batch.ids, &batch.mask, types, &capture, false);
        let keep = batch.float_mask();
        for state in &output.encoded.hidden_states {
            let rows = (state * &keep).reshape([-1, width]);
            sum += rows.tr().matmul(&rows).to_device(Device::Cpu).to_kind(Kind::Double);
        }
        done += batch.indices.len() as u64;
        bar.advance(done, "teacher");
    }
    bar.finish();
    Ok(sum)
}
