//! Whether a manifest and a list of labels make sense.

use std::collections::HashSet;

use super::generation::generation_tensors;
use super::{
    Activation, Batching, BundleError, ElementType, EntailmentSpec, GRAPH, LABELS, Manifest, Requires, SectionKind,
    TOKENIZER, Task, TensorSpec, WEIGHTS,
};

/// The most tokens of one input that any model may state.
const MAX_TOKENS: usize = 1 << 20;
const MAX_DIMENSION: usize = 1 << 24;
/// The most values of all heads of a layer that are kept for a token.
const MAX_KEPT: usize = 1 << 20;
/// The most tokens of a vocabulary that text is written with.
const MAX_WRITTEN: usize = 1 << 22;
const MAX_LABELS: usize = 100_000;
const MAX_LIST: usize = 4096;
const MAX_TEXT: usize = 1024;

/// The inputs this version can fill.
pub(crate) const INPUT_IDS: &str = "input_ids";
pub(crate) const ATTENTION_MASK: &str = "attention_mask";
pub(crate) const TOKEN_TYPE_IDS: &str = "token_type_ids";

/// Kind, name and name of the kind of the sections a task needs.
pub(super) fn sections_of(task: &Task) -> Vec<(SectionKind, &'static str, &'static str)> {
    let mut sections = vec![
        (SectionKind::Tokenizer, TOKENIZER, "tokenizer"),
        (SectionKind::Graph, GRAPH, "graph"),
        (SectionKind::Weights, WEIGHTS, "weights"),
    ];
    match task {
        Task::TextClassification | Task::PairClassification | Task::TokenClassification => {
            sections.push((SectionKind::Labels, LABELS, "labels"));
            sections
        }
        Task::QuestionAnswering
        | Task::SentenceEmbedding
        | Task::FillMask
        | Task::Order
        | Task::Replaced
        | Task::Generation => sections,
        // What a later task needs is for later versions to say.
        Task::Other(_) => Vec::new(),
    }
}

/// Checks every field that the library goes by.
pub(super) fn manifest(m: &Manifest) -> Result<(), BundleError> {
    let id_ok = m.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    require((1..=128).contains(&m.id.len()) && id_ok, "id", || "must be 1 to 128 of A-Z a-z 0-9 . _ -".into())?;
    text("version", &m.version)?;
    text("task", m.task.name())?;

    let a = &m.architecture;
    text("architecture.family", &a.family)?;
    range("architecture.layers", a.layers, 1, 1024)?;
    range("architecture.hidden_size", a.hidden_size, 1, MAX_DIMENSION)?;
    range("architecture.attention_heads", a.attention_heads, 1, a.hidden_size)?;
    range("architecture.intermediate_size", a.intermediate_size, 1, MAX_DIMENSION)?;
    // Token ids are 32-bit signed in the graph.
    range("architecture.vocab_size", a.vocab_size, 1, i32::MAX as usize)?;

    list("languages", m.languages.len())?;
    m.languages.iter().try_for_each(|language| text("languages", language))?;
    range("max_tokens", m.max_tokens, 1, MAX_TOKENS)?;
    range("tokenizer.pad_id", m.tokenizer.pad_id as usize, 0, a.vocab_size - 1)?;
    text("tokenizer.library", &m.tokenizer.library)?;
    text("tokenizer.version", &m.tokenizer.version)?;

    require(!m.opset.is_empty(), "opset", || "is empty".into())?;
    list("opset", m.opset.len())?;
    for (domain, version) in &m.opset {
        text("opset", domain)?;
        require(*version >= 1, "opset", || format!("has version 0 for `{domain}`"))?;
    }
    list("operators", m.operators.len())?;
    m.operators.iter().try_for_each(|operator| text("operators", operator))?;

    tensors("inputs", &m.inputs)?;
    tensors("outputs", &m.outputs)?;
    require(version_number(&m.requires.sdk).is_some(), "requires.sdk", || {
        format!("is `{}` and must be three numbers with dots", m.requires.sdk)
    })?;
    if let Some(quality) = &m.quality {
        require(quality.low <= quality.high, "quality.low", || "is above quality.high".into())?;
    }
    task(m)
}

/// The axes that the outputs of a task may have, output by output.
fn outputs_of(task: &Task) -> &'static [&'static [&'static [&'static str]]] {
    match task {
        Task::TextClassification | Task::PairClassification => &[&[&["batch", "labels"]]],
        Task::TokenClassification => &[&[&["batch", "length", "labels"]]],
        Task::QuestionAnswering => &[&[&["batch", "length"]], &[&["batch", "length"]]],
        Task::SentenceEmbedding => &[&[&["batch", "hidden"], &["batch", "length", "hidden"]]],
        Task::FillMask => &[&[&["batch", "length", "vocabulary"]]],
        Task::Order => &[&[&["batch", "orders"]]],
        Task::Replaced => &[&[&["batch", "length"]]],
        Task::Generation => &[&[&["batch", "wanted", "vocabulary"]]],
        Task::Other(_) => &[],
    }
}

fn task(m: &Manifest) -> Result<(), BundleError> {
    if let Task::Other(_) = m.task {
        return Ok(());
    }
    let has_input = |name| m.inputs.iter().any(|input| input.name == name);
    require(has_input(INPUT_IDS), "inputs", || format!("has no `{INPUT_IDS}`"))?;
    if m.task == Task::Generation {
        generation(m)?;
    }
    for input in m.inputs.iter().filter(|_| m.task != Task::Generation) {
        if ![INPUT_IDS, ATTENTION_MASK, TOKEN_TYPE_IDS].contains(&input.name.as_str()) {
            return Err(BundleError::UnknownFeature { what: "the graph input", value: input.name.clone() });
        }
        let integers = matches!(input.element, ElementType::Int32 | ElementType::Int64);
        require(integers && input.axes == ["batch", "length"], "inputs", || {
            format!("gives `{}` another type or other axes than integers of [batch, length]", input.name)
        })?;
    }
    // What is generated from is never padded.
    let takes_padding = m.task == Task::Generation || has_input(ATTENTION_MASK);
    require(m.batching == Batching::Single || takes_padding, "batching", || {
        format!("is `padded`, but the graph has no input `{ATTENTION_MASK}` to tell padding from text")
    })?;
    for (number, allowed) in outputs_of(&m.task).iter().enumerate() {
        let right = m.outputs.get(number).is_some_and(|output| {
            output.element == ElementType::Float32 && allowed.iter().any(|axes| output.axes == **axes)
        });
        require(right, "outputs", || {
            let allowed: Vec<String> = allowed.iter().map(|axes| format!("[{}]", axes.join(", "))).collect();
            format!("must have 32-bit floats of {} as number {}", allowed.join(" or "), number + 1)
        })?;
    }
    let missing = |field, there| require(there, field, || format!("is missing, and {} needs it", m.task.name()));
    match m.task {
        Task::TokenClassification => missing("tagging", m.tagging.is_some())?,
        Task::SentenceEmbedding => {
            missing("embedding", m.embedding.is_some())?;
            let dimensions = m.embedding.as_ref().map_or(0, |embedding| embedding.dimensions);
            range("embedding.dimensions", dimensions, 1, MAX_DIMENSION)?;
        }
        Task::FillMask => missing("tokenizer.mask_id", m.tokenizer.mask_id.is_some())?,
        Task::Order => activation(m, Activation::Softmax, "softmax")?,
        Task::Replaced => activation(m, Activation::Sigmoid, "sigmoid")?,
        _ => {}
    }
    let mask_fits = m.tokenizer.mask_id.is_none_or(|id| (id as usize) < m.architecture.vocab_size);
    require(mask_fits, "tokenizer.mask_id", || "is no id of the vocabulary".into())
}

/// Requires the one activation that a task has.
fn activation(m: &Manifest, only: Activation, name: &str) -> Result<(), BundleError> {
    require(m.activation == only, "activation", || format!("must be `{name}` for {}", m.task.name()))
}

/// Checks what is fed from token to token: every tensor is written and read by its place in memory.
fn generation(m: &Manifest) -> Result<(), BundleError> {
    let a = &m.architecture;
    let missing = || "is missing, and generation needs it".to_owned();
    let Some(spec) = &m.generation else { return require(false, "generation", missing) };
    range("generation.head_size", spec.head_size, 1, MAX_DIMENSION)?;
    // There are logits of all of them at each step, and the bytes of each are known from the start.
    range("architecture.vocab_size", a.vocab_size, 1, MAX_WRITTEN)?;
    // Kept for every token.
    let width = a.attention_heads.saturating_mul(spec.head_size);
    require(width <= MAX_KEPT, "generation.head_size", || {
        format!("makes {width} values of all heads, and {MAX_KEPT} are allowed")
    })?;
    list("generation.eos_ids", spec.eos_ids.len())?;
    let ids = spec.eos_ids.iter().chain(&spec.bos_id);
    require(ids.into_iter().all(|&id| (id as usize) < a.vocab_size), "generation", || {
        "names a token that is no id of the vocabulary".into()
    })?;
    let grows = |input: &TensorSpec| input.axes.iter().any(|axis| axis == "past");
    require(!m.inputs.iter().any(grows), "inputs", || {
        "are of a form that no release has: keys and values that grow from run to run; pack the model again".into()
    })?;
    let (inputs, outputs) = generation_tensors(a.layers);
    for (field, found, expected) in
        [("inputs", &m.inputs[..], &inputs), ("outputs", m.outputs.get(1..).unwrap_or_default(), &outputs)]
    {
        require(found.len() == expected.len(), field, || {
            format!("has {} entries where a causal model of {} layers has others", found.len(), a.layers)
        })?;
        if let Some((found, expected)) = found.iter().zip(expected).find(|(found, expected)| found != expected) {
            return require(false, field, || {
                format!(
                    "has `{}` where `{}` of {:?} [{}] belongs",
                    found.name,
                    expected.name,
                    expected.element,
                    expected.axes.join(", ")
                )
            });
        }
    }
    Ok(())
}

fn tensors(field: &'static str, tensors: &[TensorSpec]) -> Result<(), BundleError> {
    require((1..=MAX_LIST).contains(&tensors.len()), field, || format!("must have 1 to {MAX_LIST} entries"))?;
    let mut seen = HashSet::new();
    for tensor in tensors {
        text(field, &tensor.name)?;
        require(seen.insert(&tensor.name), field, || format!("has `{}` twice", tensor.name))?;
        require(tensor.axes.len() <= 8, field, || format!("gives `{}` more than 8 axes", tensor.name))?;
        tensor.axes.iter().try_for_each(|axis| text(field, axis))?;
    }
    Ok(())
}

/// Checks the label names against the activation.
pub(super) fn labels(labels: &[String], manifest: &Manifest) -> Result<(), BundleError> {
    let fail = |why: String| Err(BundleError::Labels(why));
    if labels.is_empty() || labels.len() > MAX_LABELS {
        return fail(format!("number {}; there must be 1 to {MAX_LABELS}", labels.len()));
    }
    if manifest.activation == Activation::Softmax && labels.len() < 2 {
        return fail("number 1, but softmax chooses between at least 2".into());
    }
    let mut seen = HashSet::new();
    for label in labels {
        if label.is_empty() || label.len() > MAX_TEXT {
            return fail(format!("have one of {} bytes; each must have 1 to {MAX_TEXT}", label.len()));
        }
        if !seen.insert(label) {
            return fail(format!("have `{label}` twice"));
        }
    }
    if let Some(EntailmentSpec { entailment, contradiction }) = manifest.entailment {
        let both = [entailment, contradiction].iter().all(|&index| index < labels.len());
        require(both && entailment != contradiction, "entailment", || {
            format!("names the labels {entailment} and {contradiction}, which must be two of {}", labels.len())
        })?;
    }
    Ok(())
}

/// Checks that this library is not older than a bundle asks for.
pub(crate) fn library_version(requires: &Requires) -> Result<(), BundleError> {
    let have = env!("CARGO_PKG_VERSION");
    if version_number(&requires.sdk) > version_number(have) {
        return Err(BundleError::NeedsNewer {
            what: "the limbeck library",
            needed: requires.sdk.clone(),
            have: have.to_owned(),
        });
    }
    Ok(())
}

/// The three numbers of `major.minor.patch`.
pub(crate) fn version_number(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.');
    let mut number = || {
        let part = parts.next()?;
        // `parse` alone would take "+1".
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let numbers = [number()?, number()?, number()?];
    parts.next().is_none().then_some(numbers)
}

fn require(holds: bool, field: &str, reason: impl FnOnce() -> String) -> Result<(), BundleError> {
    if holds { Ok(()) } else { Err(BundleError::ManifestField { field: field.to_owned(), reason: reason() }) }
}

fn range(field: &str, value: usize, low: usize, high: usize) -> Result<(), BundleError> {
    require((low..=high).contains(&value), field, || format!("is {value} and must be from {low} to {high}"))
}

fn list(field: &str, length: usize) -> Result<(), BundleError> {
    require(length <= MAX_LIST, field, || format!("has {length} entries and may have {MAX_LIST}"))
}

fn text(field: &str, value: &str) -> Result<(), BundleError> {
    require((1..=MAX_TEXT).contains(&value.len()), field, || {
        format!("has a text of {} bytes; 1 to {MAX_TEXT} are allowed", value.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{ElementType, GenerationSpec, test_manifest};

    /// A causal model of two layers.
    fn causal() -> Manifest {
        let mut m = test_manifest();
        m.task = Task::Generation;
        (m.architecture.layers, m.batching) = (2, Batching::Padded);
        m.generation = Some(GenerationSpec { head_size: 4, eos_ids: vec![1], bos_id: Some(1) });
        let logits = ["batch", "wanted", "vocabulary"].map(str::to_owned).to_vec();
        let (inputs, presents) = generation_tensors(2);
        m.inputs = inputs;
        m.outputs = vec![TensorSpec { name: "logits".to_owned(), element: ElementType::Float32, axes: logits }];
        m.outputs.extend(presents);
        m
    }

    #[test]
    fn order_and_replaced_have_one_shape_and_one_activation() {
        let good = |task: Task| {
            let mut m = test_manifest();
            let (activation, axis) = match task {
                Task::Order => (Activation::Softmax, "orders"),
                _ => (Activation::Sigmoid, "length"),
            };
            (m.task, m.activation) = (task, activation);
            m.outputs[0].axes[1] = axis.to_owned();
            m
        };
        type Change = fn(&mut Manifest);
        let changes: [(Task, &str, Change); 6] = [
            (Task::Order, "`softmax` for order", |m| m.activation = Activation::Sigmoid),
            (Task::Order, "[batch, orders]", |m| m.outputs[0].axes[1] = "labels".to_owned()),
            (Task::Replaced, "`sigmoid` for replaced", |m| m.activation = Activation::None),
            (Task::Replaced, "[batch, length]", |m| m.outputs[0].axes.push("labels".to_owned())),
            (Task::Replaced, "32-bit floats", |m| m.outputs[0].element = ElementType::Int32),
            (Task::Replaced, "outputs", |m| m.outputs.clear()),
        ];
        for (task, expected, change) in changes {
            let mut changed = good(task);
            manifest(&changed).unwrap();
            assert!(sections_of(&changed.task).iter().all(|(kind, ..)| *kind != SectionKind::Labels));
            change(&mut changed);
            let error = manifest(&changed).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn causal_models_say_all_that_is_fed_back() {
        manifest(&causal()).unwrap();
        type Change = fn(&mut Manifest);
        let changes: [(&str, Change); 13] = [
            ("generation", |m| m.generation = None),
            ("head_size", |m| m.generation.as_mut().unwrap().head_size = 0),
            ("head_size", |m| m.generation.as_mut().unwrap().head_size = MAX_KEPT + 1),
            ("vocabulary", |m| m.generation.as_mut().unwrap().eos_ids.push(u32::MAX)),
            ("vocabulary", |m| m.generation.as_mut().unwrap().bos_id = Some(u32::MAX)),
            ("inputs", |m| drop(m.inputs.pop())),
            ("inputs", |m| m.inputs.swap(3, 4)),
            ("inputs", |m| m.inputs[3].axes[3] = "hidden".to_owned()),
            ("inputs", |m| m.inputs[1].name = ATTENTION_MASK.to_owned()),
            ("pack the model again", |m| m.inputs[3].axes[2] = "past".to_owned()),
            ("outputs", |m| drop(m.outputs.pop())),
            ("outputs", |m| m.outputs[1].element = ElementType::Int32),
            ("outputs", |m| m.outputs[0].axes[1] = "length".to_owned()),
        ];
        for (number, (expected, change)) in changes.into_iter().enumerate() {
            let mut changed = causal();
            change(&mut changed);
            let error = manifest(&changed).unwrap_err().to_string();
            assert!(error.contains(expected), "{number}: {error}");
        }
    }
}
