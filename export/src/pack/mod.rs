//! From a model folder to a bundle.

mod self_test;
mod task;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use limbeck::bundle as format;
use limbeck::{BundleWriter, Calibration, Manifest};
use ndarray::{Axis, Slice};

pub use task::TaskName;
use task::Use;
pub(crate) use task::mask_id;

use crate::TOKENIZERS_VERSION;
use crate::arch::{Head, ModelConfig, count_parameters};
use crate::checkpoint::{Arrays, load_arrays, read_model_config, tokenizer_path, trained_for};
use crate::graph::{
    BuiltGraph, GraphOptions, KeepFloat, Operators, Parts, Unit, WeightMode, build_of_parts, fits_int8_layers, units,
};
use crate::quantize::{Activations, FakeQuantization};

/// What the model folder does not say.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Bundle id.
    pub id: String,
    /// Model version.
    pub version: String,
    /// Build number.
    pub build: u64,
    /// What the model is for; by its head when `None`.
    pub task: Option<TaskName>,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// Longest text in tokens; 128, or as many positions as the model has, when `None`.
    pub max_tokens: Option<usize>,
    /// Storage of weights; [`WeightMode::DynamicInt8`] in place of [`WeightMode::Int8Layers`] where a model has no
    /// such layers.
    pub weights: WeightMode,
    /// Storage of the token table, if not that of `weights`.
    pub table: Option<WeightMode>,
    /// What the nodes of the graph are.
    pub operators: Operators,
    /// What is stored as `kept` beside [`WeightMode::Int8Layers`], [`WeightMode::Ternary`] or [`WeightMode::Blocks`].
    pub keep_float: KeepFloat,
    /// fp32 by default.
    pub kept: WeightMode,
    /// What the inputs of linear maps range over, for [`WeightMode::StaticInt8`].
    pub activations: Activations,
    /// How logits become probabilities and decisions.
    pub calibration: Option<Calibration>,
    /// Where the model came from.
    pub provenance: Option<format::Provenance>,
}

impl PackOptions {
    fn parts(&self) -> Parts {
        Parts { keep_float: self.keep_float.clone(), activations: self.activations.clone() }
    }
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            id: "model".to_owned(),
            version: "0.1.0".to_owned(),
            build: 1,
            task: None,
            languages: Vec::new(),
            max_tokens: None,
            weights: WeightMode::Float,
            table: None,
            operators: Operators::default(),
            keep_float: KeepFloat::default(),
            kept: WeightMode::Float,
            activations: Activations::default(),
            calibration: None,
            provenance: None,
        }
    }
}

const DEFAULT_MAX_TOKENS: usize = 128;

/// The longest text in tokens: what is asked for, or 128, or as many positions as the model has if those are fewer.
pub(crate) fn fitting_tokens(asked: Option<usize>, config: &ModelConfig) -> Result<usize> {
    let positions = config.max_positions();
    let tokens = asked.unwrap_or(DEFAULT_MAX_TOKENS.min(positions));
    // Two special tokens and one of text.
    ensure!(
        (3..=positions).contains(&tokens),
        "max_tokens {tokens} must be from 3 to the model's {positions} positions"
    );
    Ok(tokens)
}

/// What of a model with such weights can be stored in another form; nothing where all of it is in one.
///
/// # Errors
/// A folder without the head that the task needs.
pub fn units_of(folder: &Path, task: Option<TaskName>, weights: WeightMode) -> Result<Vec<Unit>> {
    let (config, info) = read_model_config(folder)?;
    let usage = task::find(folder, &info, &config, task)?;
    let has_units = match weights {
        WeightMode::Int8Layers | WeightMode::Ternary => fits_int8_layers(&config, usage.head),
        WeightMode::Blocks(_) => true,
        WeightMode::Float | WeightMode::DynamicInt8 | WeightMode::StaticInt8 | WeightMode::Half => false,
    };
    Ok(if has_units { units(&config) } else { Vec::new() })
}

/// The head and the options of the graph that [`draft`] makes of a folder.
///
/// # Errors
/// Those of [`draft`].
pub fn graph_of(folder: &Path, options: &PackOptions) -> Result<(Head, GraphOptions)> {
    let (config, info) = read_model_config(folder)?;
    let usage = task::find(folder, &info, &config, options.task)?;
    Ok((usage.head, graph_options(&config, &usage, options)?))
}

fn graph_options(config: &ModelConfig, usage: &Use, options: &PackOptions) -> Result<GraphOptions> {
    let weights = match options.weights {
        WeightMode::Int8Layers if !fits_int8_layers(config, usage.head) => {
            if !options.keep_float.is_empty() {
                bail!("no part of a {} with this head can stay fp32 beside int8", config.family.name());
            }
            WeightMode::DynamicInt8
        }
        WeightMode::Ternary if !fits_int8_layers(config, usage.head) => bail!(
            "ternary weights are for encoders of the BERT kind whose head is not over the vocabulary; a {} with this head \
             has none; int4-weights is for every model",
            config.family.name()
        ),
        weights => weights,
    };
    let generates = usage.generation.is_some();
    Ok(GraphOptions {
        weights,
        table: options.table,
        kept: options.kept,
        operators: options.operators,
        mask: weights != WeightMode::DynamicInt8 && !generates,
        token_types: usage.pairs && config.token_types > 1,
        cache: generates,
        logits_from: generates,
        ..GraphOptions::default()
    })
}

/// Refuses other forms of a model that was trained in ternary weights than those: its fp32 values were never run.
fn as_trained(folder: &Path, options: &PackOptions) -> Result<()> {
    check_form(folder, options.weights)?;
    let whole = options.table.is_none_or(|table| table == options.weights) && options.keep_float.is_empty();
    ensure!(
        whole || trained_for(folder)? != Some(FakeQuantization::Ternary),
        "{} was trained with all of its layers and its token table in ternary weights: no part of it can be stored otherwise",
        folder.display()
    );
    Ok(())
}

/// Refuses to store a model that was trained in ternary weights as anything else.
///
/// # Errors
/// That, or a `config.json` that cannot be read.
pub fn check_form(folder: &Path, weights: WeightMode) -> Result<()> {
    let ternary = trained_for(folder)? == Some(FakeQuantization::Ternary);
    ensure!(
        !ternary || weights == WeightMode::Ternary,
        "{} was trained with ternary weights, and with the values that it keeps in fp32 it is another model: \
         `limbeck quantize --mode ternary` stores it as it was trained",
        folder.display()
    );
    Ok(())
}

/// A bundle that is complete but for what measuring adds to its manifest.
pub struct Draft {
    /// Quality, latency and the measured drop may be filled in before writing.
    pub manifest: Manifest,
    /// How logits become probabilities and decisions.
    pub calibration: Option<Calibration>,
    graph: BuiltGraph,
    tokenizer: Vec<u8>,
    labels: Option<Vec<String>>,
    self_test: Option<format::SelfTest>,
    pairs: bool,
}

/// Builds graph and manifest of a model from a Hugging Face folder. An fp32 model has a self-test whose outputs
/// libtorch computes; [`Draft::record_self_test`] makes one for int8.
///
/// Graphs take a mask, so texts can be padded into batches; those of causal models take rows of several lengths together
/// without. Only dynamic int8 computes one activation scale over its
/// whole input; such a bundle asks the sdk to run each text alone, which makes an answer independent of batch mates and
/// padding, and needs no mask.
///
/// # Errors
/// A folder without tokenizer or without the head that the task needs, or an impossible `max_tokens` or `keep_float`.
pub fn draft(folder: &Path, options: &PackOptions) -> Result<Draft> {
    let (config, info) = read_model_config(folder)?;
    as_trained(folder, options)?;
    let usage = task::find(folder, &info, &config, options.task)?;
    let mut arrays = read_arrays(folder, &usage)?;
    let parameters = count_parameters(&config, usage.head).total;
    // Memory of a causal model grows with what is written, not with what could be: it keeps its whole context.
    let generates = usage.generation.is_some();
    let asked = options.max_tokens.or(generates.then_some(config.max_positions()));
    let max_tokens = fitting_tokens(asked, &config)?;
    let config = keep_positions(&mut arrays, config, max_tokens);
    let graph_options = graph_options(&config, &usage, options)?;
    let GraphOptions { weights, table, token_types, .. } = graph_options;
    let single = weights == WeightMode::DynamicInt8;
    let graph = build_of_parts(&arrays, &config, usage.head, graph_options, &options.parts())?;
    let tokenizer_file = tokenizer_path(folder)?;
    let self_test = match weights {
        WeightMode::Float if table.is_none() => self_test::make(&arrays, &config, &usage, &tokenizer_file, max_tokens)?,
        _ => None,
    };
    let tokenizer =
        std::fs::read(&tokenizer_file).with_context(|| format!("cannot read {}", tokenizer_file.display()))?;
    let axes = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    let tensor =
        |name: &str, element, names: &[&str]| format::TensorSpec { name: name.to_owned(), element, axes: axes(names) };
    let input = |name: &str| tensor(name, format::ElementType::Int32, &["batch", "length"]);
    let mut inputs = vec![input("input_ids")];
    inputs.extend((!single).then(|| input("attention_mask")));
    inputs.extend(token_types.then(|| input("token_type_ids")));
    let output = |&(name, names): &(&str, &[&str])| tensor(name, format::ElementType::Float32, names);
    let mut outputs: Vec<_> = usage.outputs.iter().map(output).collect();
    if generates {
        let (all, presents) = format::generation_tensors(config.blocks().len());
        inputs = all;
        outputs.extend(presents);
    }
    let manifest = Manifest {
        id: options.id.clone(),
        version: options.version.clone(),
        build: options.build,
        task: usage.task,
        architecture: format::Architecture {
            family: config.family.name().to_owned(),
            layers: config.layers,
            hidden_size: config.hidden_size,
            attention_heads: config.attention_heads,
            intermediate_size: config.intermediate_size,
            vocab_size: config.vocab_size,
            parameters,
        },
        languages: options.languages.clone(),
        max_tokens,
        activation: usage.activation,
        tagging: usage.tagging,
        embedding: usage.embedding,
        entailment: usage.entailment,
        generation: usage.generation,
        inputs,
        outputs,
        batching: if single { format::Batching::Single } else { format::Batching::Padded },
        opset: graph.opset.clone(),
        operators: graph.operators.clone(),
        requires: format::Requires { sdk: env!("CARGO_PKG_VERSION").to_owned(), onnxruntime_api: 24 },
        tokenizer: format::TokenizerSpec {
            library: "tokenizers".to_owned(),
            version: TOKENIZERS_VERSION.to_owned(),
            pad_id: config.pad_id as u32,
            mask_id: usage.mask_id,
        },
        provenance: options.provenance.clone(),
        quality: None,
        latency: None,
        quantization: Some(contract(weights, options)),
    };
    let calibration = options.calibration.clone();
    Ok(Draft { manifest, calibration, graph, tokenizer, labels: usage.labels, self_test, pairs: usage.pairs })
}

/// How a model is stored, and what that promises.
fn contract(weights: WeightMode, options: &PackOptions) -> format::Quantization {
    let mixed = if options.keep_float.is_empty() { "" } else { "-mixed" };
    let blocks = [Some(weights), options.table].into_iter().flatten().find_map(WeightMode::blocks);
    let (batches, processors) = match weights {
        WeightMode::Float | WeightMode::Half => ("rounding", "rounding"),
        WeightMode::Int8Layers | WeightMode::Ternary => ("rounding", "layers"),
        WeightMode::Blocks(_) | WeightMode::StaticInt8 => ("rounding", "codes"),
        WeightMode::DynamicInt8 => ("alone", "codes"),
    };
    format::Quantization {
        mode: format!("{}{mixed}", weights.name()),
        table: options.table.filter(|table| *table != weights).map(|table| table.element().to_owned()),
        block_size: blocks.map(|blocks| blocks.size() as u32),
        batches: Some(batches.to_owned()),
        processors: Some(processors.to_owned()),
        measured_drop: None,
    }
}

/// The parameters of a folder's model for that use. A head for sentence order stands beside a masked-LM head, and is a
/// classifier of two labels on the pooled first token.
fn read_arrays(folder: &Path, usage: &Use) -> Result<Arrays> {
    if usage.task != format::Task::Order {
        return Ok(load_arrays(folder, Some(usage.head))?.arrays);
    }
    let arrays = load_arrays(folder, Some(Head::Pretraining))?.arrays;
    let own = arrays.into_iter().filter_map(|(name, array)| match name.strip_prefix("head.") {
        None => Some((name, array)),
        Some(part) => Some((format!("head.output.{}", part.strip_prefix("sentence.")?), array)),
    });
    Ok(own.collect())
}

/// Leaves out the rows of the position table that no text of at most `max_tokens` reaches.
fn keep_positions(arrays: &mut Arrays, config: ModelConfig, max_tokens: usize) -> ModelConfig {
    let rows = config.position_rows.min(config.first_position + max_tokens);
    if let Some(table) = arrays.get_mut("embeddings.positions.weight") {
        table.slice_axis_inplace(Axis(0), Slice::from(..rows));
    }
    ModelConfig { position_rows: rows, ..config }
}

impl Draft {
    /// Label names in logit order; empty if the task has none.
    pub fn labels(&self) -> &[String] {
        self.labels.as_deref().unwrap_or_default()
    }

    fn writer(&self) -> BundleWriter {
        let (tokenizer, graph) = (self.tokenizer.clone(), &self.graph);
        let writer = BundleWriter::new(self.manifest.clone());
        let writer = match &self.labels {
            Some(labels) => writer.classifier(tokenizer, graph.model.clone(), graph.weights.clone(), labels),
            None => writer.model(tokenizer, graph.model.clone(), graph.weights.clone()),
        };
        let writer = self.calibration.iter().fold(writer, BundleWriter::calibration);
        self.self_test.iter().fold(writer, BundleWriter::self_test)
    }

    /// Gives a model without self-test one: what `model`, opened from [`Draft::to_bytes`], gives on this machine.
    ///
    /// # Errors
    /// Those of running it.
    pub fn record_self_test(&mut self, model: &limbeck::Model) -> Result<()> {
        if self.self_test.is_none() {
            self.self_test = self_test::record(model, self.pairs)?;
        }
        Ok(())
    }

    /// The model as the bundle will have it.
    ///
    /// # Errors
    /// A bundle that does not open.
    pub fn open(&self) -> Result<limbeck::Model> {
        Ok(limbeck::Model::builder().open_bytes(self.to_bytes()?)?)
    }

    /// The bundle in memory, for measuring before it is written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(self.writer().to_bytes()?)
    }

    /// Writes the bundle; returns its size in bytes.
    pub fn write(&self, path: &Path) -> Result<u64> {
        Ok(self.writer().write(path)?)
    }
}
