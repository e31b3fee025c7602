//! One ONNX Runtime session.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType};

use super::cancel::Interrupt;
use super::decoder::Names;
use super::environment;
use super::graph::{self, Graph};
use super::limits::Limits;
use super::log;
use super::memory::Size;
use super::provider::{self, Provider, ProviderReport};
use super::run::Run;
use super::weights::{self, Weights};
use crate::bundle::check::{ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS};
use crate::bundle::{ElementType, GRAPH, TOKENIZER, Task, TensorSpec, WEIGHTS};
use crate::{Bundle, BundleError, Error, Result};

const BATCH: &str = "batch";
const LENGTH: &str = "length";

/// How the sessions of one model are made.
pub(crate) struct SessionOptions {
    pub threads: usize,
    pub spinning: bool,
    pub providers: Vec<Provider>,
    /// Whether weights are rearranged for speed, which takes as much memory again.
    pub prepack: bool,
    prepacked: PrepackedWeights,
}

impl SessionOptions {
    /// For `threads` threads inside an operator, which spin when idle or not, on the first of `providers` that can
    /// be had, operator by operator. ONNX Runtime must be loaded.
    pub(crate) fn new(threads: usize, spinning: bool, providers: Vec<Provider>, prepack: bool) -> SessionOptions {
        SessionOptions { threads, spinning, providers, prepack, prepacked: PrepackedWeights::new() }
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("threads", &self.threads)
            .field("spinning", &self.spinning)
            .field("providers", &self.providers)
            .field("prepack", &self.prepack)
            .finish_non_exhaustive()
    }
}

/// Rows of one length, ready to run. All parts are row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub rows: usize,
    pub length: usize,
    pub ids: Vec<i32>,
    pub mask: Vec<i32>,
    pub types: Vec<i32>,
}

/// A session over the graph of a bundle.
#[derive(Debug)]
pub(crate) struct ModelSession {
    // Declared, and so dropped, before the memory it reads.
    pub(super) session: Session,
    _weights: Weights,
    pub(super) bundle: Bundle,
    providers: ProviderReport,
    /// Of the tensors of models with a cache.
    pub(super) names: Option<Names>,
}

impl ModelSession {
    /// Makes a session whose weights stay where the bundle has them mapped.
    pub(crate) fn new(bundle: &Bundle, options: &SessionOptions) -> Result<ModelSession> {
        let weights = bundle.bytes_of(WEIGHTS).ok_or_else(lost)?;
        let graph = read_graph(bundle)?;
        // A graph from elsewhere may make ONNX Runtime want to compute with
        // weights that are shared, which it cannot; then they are copied.
        let mut this = ModelSession::create(bundle, options, &graph, weights, true)
            .or_else(|_| ModelSession::create(bundle, options, &graph, weights, false))?;
        this.check_against_manifest()?;
        let manifest = bundle.manifest();
        this.names = (manifest.task == Task::Generation).then(|| Names::new(manifest)).transpose()?;
        Ok(this)
    }

    fn create(
        bundle: &Bundle,
        options: &SessionOptions,
        graph: &Graph,
        bytes: &[u8],
        share: bool,
    ) -> Result<ModelSession> {
        let builder = Session::builder(environment::environment(None)?).map_err(failed("set up a session"))?;
        let (mut builder, mut providers) = configure(builder, options).map_err(failed("set up a session"))?;
        // SAFETY: `bytes` belong to the bundle, which never changes and which
        // `ModelSession` keeps, with the weights, until its session is gone.
        // Should anything fail before, the builder makes no session.
        let weights = unsafe { weights::add(&mut builder, &graph.tensors, bytes, share) }
            .map_err(|message| Error::Inference { action: "load the model", message })?;
        let session = builder.commit_from_memory(&graph.bytes).map_err(|error| load_error(bundle, error.message()))?;
        provider::count_nodes(&session, &mut providers).map_err(failed("load the model"))?;
        Ok(ModelSession { session, _weights: weights, bundle: bundle.clone(), providers, names: None })
    }

    /// What runs it.
    pub(crate) fn providers(&self) -> &ProviderReport {
        &self.providers
    }

    /// Whether no other provider has a part in it.
    pub(super) fn runs_on_the_cpu(&self) -> bool {
        self.providers.nodes.is_empty()
    }

    /// Runs a batch and shows its outputs, those that the task reads, to `read`.
    pub(crate) fn run<R>(
        &mut self,
        batch: &Batch,
        limits: &Limits,
        read: impl FnOnce(&[Output<'_>]) -> Result<R>,
    ) -> Result<R> {
        limits.check()?;
        let manifest = self.bundle.manifest();
        let inputs = manifest
            .inputs
            .iter()
            .map(|input| Ok((Cow::Borrowed(input.name.as_str()), value(input, batch)?)))
            .collect::<Result<Vec<(Cow<'_, str>, SessionInputValue<'_>)>>>()?;

        let run = Run::new()?;
        // A call without limits pays nothing for them.
        let watch = match limits.is_unlimited() {
            true => None,
            false => Some(limits.watch(&(Arc::clone(&run) as Arc<dyn Interrupt>))?),
        };
        let outcome = self.session.run_with_options(inputs, &run.options);
        drop(watch);
        // ONNX Runtime has no code for a run that was ended on request, so our
        // own state tells. It also goes first when the run had just finished:
        // what a caller has given up on is not returned.
        limits.check()?;
        let values = outcome.map_err(failed("run the model"))?;

        let mut outputs = Vec::with_capacity(2);
        for spec in manifest.outputs.iter().take(outputs_read(&manifest.task)) {
            let name = &spec.name;
            let value = values.get(name).ok_or_else(|| inference(format!("there is no output `{name}`")))?;
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(failed("run the model"))?;
            let expected = expected_shape(&self.bundle, spec, batch);
            if shape.as_ref() != expected {
                return Err(inference(format!(
                    "the output `{name}` has the shape {:?} where {expected:?} was expected",
                    shape.as_ref()
                )));
            }
            let is_wrong: fn(&f32) -> bool = match manifest.task {
                Task::SentenceEmbedding => |value| !value.is_finite(),
                _ => is_wrong_logit,
            };
            if let Some(value) = values.iter().copied().find(is_wrong) {
                return Err(not_finite(name, value));
            }
            let per_token = spec.axes.get(1).is_some_and(|axis| axis == LENGTH);
            outputs.push(Output { values, rows: batch.rows, length: batch.length, per_token });
        }
        let read = read(&outputs)?;
        // What is read of large outputs takes its time too.
        limits.check()?;
        Ok(read)
    }

    /// Runs one row with nothing around it: see `internals::bare_run`.
    #[cfg(feature = "internals")]
    pub(crate) fn bare_run(&mut self, ids: &[i32]) -> Result<f32> {
        let failed = failed("run the model");
        let tensor = |values: Vec<i32>| Tensor::from_array(([1, ids.len()], values)).map_err(&failed);
        let ids_alone = self.session.inputs().len() == 1;
        let values = if ids_alone {
            self.session.run(ort::inputs![INPUT_IDS => tensor(ids.to_vec())?])
        } else {
            self.session
                .run(ort::inputs![INPUT_IDS => tensor(ids.to_vec())?, ATTENTION_MASK => tensor(vec![1; ids.len()])?])
        };
        let values = values.map_err(&failed)?;
        let (_, output) = values[0].try_extract_tensor::<f32>().map_err(&failed)?;
        Ok(output.first().copied().unwrap_or_default())
    }

    fn check_against_manifest(&self) -> Result<()> {
        let manifest = self.bundle.manifest();
        let problem = |text: String| Err(self.bundle.error(BundleError::Graph(text)));
        for outlet in self.session.inputs() {
            let Some(input) = manifest.inputs.iter().find(|input| input.name == outlet.name()) else {
                return problem(format!("it has an input `{}` that the manifest does not list", outlet.name()));
            };
            if outlet.dtype().tensor_type() != Some(element(input.element)) {
                return problem(format!("its input `{}` has another type than the manifest says", input.name));
            }
        }
        for input in &manifest.inputs {
            if !self.session.inputs().iter().any(|outlet| outlet.name() == input.name) {
                return problem(format!("it has no input `{}`", input.name));
            }
        }
        let read = match manifest.task {
            Task::Generation => manifest.outputs.len(),
            ref task => outputs_read(task),
        };
        for spec in manifest.outputs.iter().take(read) {
            let Some(outlet) = self.session.outputs().iter().find(|outlet| outlet.name() == spec.name) else {
                return problem(format!("it has no output `{}`", spec.name));
            };
            if outlet.dtype().tensor_type() != Some(element(spec.element)) {
                return problem(format!("its output `{}` has another type than the manifest says", spec.name));
            }
            let (Some(axis), Some(shape)) = (spec.axes.last(), outlet.dtype().tensor_shape()) else { continue };
            // A free dimension is checked after every run instead.
            if let (Some(expected), Some(&found)) = (size_of_axis(&self.bundle, axis), shape.last())
                && found >= 0
                && found != expected as i64
            {
                let name = &spec.name;
                return problem(format!("its output `{name}` has {found} columns for {expected} {axis}"));
            }
        }
        Ok(())
    }
}

pub(super) fn lost() -> Error {
    Error::Internal("the bundle has lost its graph or weights".to_owned())
}

pub(super) fn read_graph(bundle: &Bundle) -> Result<Graph> {
    let graph = bundle.bytes_of(GRAPH).ok_or_else(lost)?;
    let weights = bundle.bytes_of(WEIGHTS).ok_or_else(lost)?;
    graph::read(graph, WEIGHTS, weights.len()).map_err(|problem| bundle.error(problem))
}

/// How large a model is, as far as its memory depends on it.
pub(crate) fn size(bundle: &Bundle) -> Result<Size> {
    let graph = read_graph(bundle)?;
    let tokenizer = bundle.bytes_of(TOKENIZER).map_or(0, <[u8]>::len);
    Ok(Size::new(bundle.manifest(), bundle.labels().len(), tokenizer, graph.bytes.len(), &graph.tensors))
}

/// What the graph gave for a batch under one name.
pub(crate) struct Output<'a> {
    values: &'a [f32],
    rows: usize,
    length: usize,
    per_token: bool,
}

impl<'a> Output<'a> {
    #[cfg(test)]
    pub(crate) fn new(values: &'a [f32], rows: usize, length: usize, per_token: bool) -> Output<'a> {
        Output { values, rows, length, per_token }
    }

    /// The values of one row that has so many tokens: without those of its padding, token by token, if the output
    /// has values for each token.
    pub(crate) fn row(&self, row: usize, tokens: usize) -> &'a [f32] {
        let size = self.values.len().checked_div(self.rows).unwrap_or(0);
        let values = self.values.get(row * size..(row + 1) * size).unwrap_or_default();
        if !self.per_token {
            return values;
        }
        let columns = size.checked_div(self.length).unwrap_or(0);
        values.get(..tokens * columns).unwrap_or_default()
    }
}

/// How many outputs a task reads; a graph may have more.
pub(crate) fn outputs_read(task: &Task) -> usize {
    if matches!(task, Task::QuestionAnswering) { 2 } else { 1 }
}

/// Size of an axis that does not change from batch to batch.
fn size_of_axis(bundle: &Bundle, axis: &str) -> Option<usize> {
    let manifest = bundle.manifest();
    match axis {
        "labels" => Some(bundle.labels().len()),
        // In order, swapped.
        "orders" => Some(2),
        "hidden" => Some(manifest.embedding.as_ref().map_or(manifest.architecture.hidden_size, |e| e.dimensions)),
        "head_size" => manifest.generation.as_ref().map(|spec| spec.head_size),
        "vocabulary" => Some(manifest.architecture.vocab_size),
        _ => None,
    }
}

fn expected_shape(bundle: &Bundle, spec: &TensorSpec, batch: &Batch) -> Vec<i64> {
    let size = |axis: &String| match axis.as_str() {
        BATCH => batch.rows as i64,
        LENGTH => batch.length as i64,
        other => size_of_axis(bundle, other).map_or(-1, |size| size as i64),
    };
    spec.axes.iter().map(size).collect()
}

pub(super) fn configure(
    builder: SessionBuilder,
    options: &SessionOptions,
) -> ort::Result<(SessionBuilder, ProviderReport)> {
    let builder = builder
        // Told, not guessed: ONNX Runtime takes any file that has "ORTM" in the
        // right place for one of its own format, which nobody here has checked.
        .with_config_entry("session.load_model_format", "ONNX")?
        // Nothing but the CPU, whatever the library would choose by itself.
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        // It keeps, for every length seen, what the longest needed.
        .with_memory_pattern(false)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(options.threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(options.spinning)?
        .with_inter_op_spinning(false)?
        .with_prepacking(options.prepack)?
        .with_prepacked_weights(&options.prepacked)?
        .with_log_level(log::to_ort(log::lowest()))?;
    #[cfg(feature = "int8-kernel")]
    let builder = builder.with_operators(super::int8_layers::domain(options.threads)?)?;
    provider::register(builder, &options.providers)
}

/// What ONNX Runtime said about a model that it does not load, and where it misses an operator, which one, with what
/// to do about it: reduced builds and old ones miss some.
fn load_error(bundle: &Bundle, message: &str) -> Error {
    let action = "load the model";
    let missing = ["is not a registered function/op", "Could not find an implementation for", "No Op registered for"];
    if !missing.iter().any(|sign| message.contains(sign)) {
        return Error::Inference { action, message: message.to_owned() };
    }
    // Named as in the manifest, the longest name first, so that none is taken for the end of another.
    let mut operators: Vec<&String> = bundle.manifest().operators.iter().collect();
    operators.sort_by_key(|operator| std::cmp::Reverse(operator.len()));
    let named = |operator: &&&String| {
        let name = operator.rsplit(':').next().unwrap_or(operator);
        message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
    };
    let operator = operators.iter().find(named).map_or("one of its operators", |operator| operator.as_str());
    let runtime = environment::loaded();
    let (version, path) = runtime.map_or(("", "".into()), |info| (info.version.as_str(), info.path.to_string_lossy()));
    Error::Inference {
        action,
        message: format!(
            "the library {path} (version {version}) has no {operator}; use a full build, or one that was made with the operators in the model's manifest. It said: {message}"
        ),
    }
}

fn value<'a>(input: &TensorSpec, batch: &Batch) -> Result<SessionInputValue<'a>> {
    let values = match input.name.as_str() {
        INPUT_IDS => &batch.ids,
        ATTENTION_MASK => &batch.mask,
        TOKEN_TYPE_IDS => &batch.types,
        other => return Err(Error::Internal(format!("no values for the input `{other}`"))),
    };
    let shape = [batch.rows, batch.length];
    match input.element {
        ElementType::Int32 => Tensor::from_array((shape, values.clone())).map(Into::into),
        _ => Tensor::from_array((shape, values.iter().map(|&v| i64::from(v)).collect::<Vec<_>>())).map(Into::into),
    }
    .map_err(failed("run the model"))
}

fn element(element: ElementType) -> TensorElementType {
    match element {
        ElementType::Int32 => TensorElementType::Int32,
        ElementType::Int64 => TensorElementType::Int64,
        ElementType::Float32 => TensorElementType::Float32,
    }
}

pub(super) fn inference(message: String) -> Error {
    Error::Inference { action: "run the model", message }
}

/// A logit of -inf is that of a label or token that cannot be; everything else that is not finite answers nothing.
pub(super) fn is_wrong_logit(value: &f32) -> bool {
    value.is_nan() || *value == f32::INFINITY
}

/// An output that holds a value of which no answer can be made.
pub(crate) fn not_finite(output: &str, value: f32) -> Error {
    let what = if value.is_nan() { "a value that is not a number" } else { "an infinite value" };
    inference(format!(
        "the output `{output}` holds {what}: the model left the range of fp32, or its weights are damaged; check it with \
         `limbeck verify`"
    ))
}

pub(super) fn failed<R>(action: &'static str) -> impl Fn(ort::Error<R>) -> Error {
    move |error| Error::Inference { action, message: error.message().to_owned() }
}
