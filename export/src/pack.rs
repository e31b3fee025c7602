//! From a model folder to a bundle.

use std::path::Path;

use anyhow::{Context, Result, bail};
use limbeck::bundle as format;
use limbeck::{BundleWriter, Manifest};

use crate::TOKENIZERS_VERSION;
use crate::arch::{Head, count_parameters};
use crate::checkpoint::{ArrayCheckpoint, Problem, load_arrays, tokenizer_path};
use crate::graph::{BuiltGraph, GraphOptions, WeightMode, build};

/// What the model folder does not say.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// Bundle id.
    pub id: String,
    /// Model version.
    pub version: String,
    /// Build number.
    pub build: u64,
    /// BCP 47 tags.
    pub languages: Vec<String>,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Storage of weights.
    pub weights: WeightMode,
    /// Where the model came from.
    pub provenance: Option<format::Provenance>,
}

/// A bundle that is complete but for what measuring adds to its manifest.
pub struct Draft {
    /// Quality, latency and the measured drop may be filled in before writing.
    pub manifest: Manifest,
    graph: BuiltGraph,
    tokenizer: Vec<u8>,
    labels: Vec<String>,
}

/// Builds graph and manifest of a text classifier from a Hugging Face model folder.
///
/// fp32 graphs take a mask, so texts can be padded into batches. Dynamic int8 computes one activation
/// scale over its whole input; such a bundle asks the sdk to run each text alone, which makes an answer
/// independent of batch mates and padding, and needs no mask.
///
/// # Errors
/// A folder without classification head or tokenizer, or an impossible `max_tokens`.
pub fn draft(folder: &Path, options: &PackOptions) -> Result<Draft> {
    let ArrayCheckpoint { config, info, arrays } = load_arrays(folder, None)?;
    let (head, Some(labels)) = (info.head, info.labels) else {
        bail!("{} has no classification head; train one with `limbeck distill`", folder.display());
    };
    if !matches!(head, Head::Classification { .. }) || info.problem != Problem::SingleLabelClassification {
        bail!(
            "{} has a {} head ({:?}); bundles are made of single-label classifiers only, so far",
            folder.display(),
            head.name(),
            info.problem
        );
    }
    let positions = config.max_positions();
    if !(3..=positions).contains(&options.max_tokens) {
        bail!("max_tokens {} must be from 3 to the model's {positions} positions", options.max_tokens);
    }
    let single = options.weights == WeightMode::DynamicInt8;
    let graph_options = GraphOptions { weights: options.weights, mask: !single, ..GraphOptions::default() };
    let graph = build(&arrays, &config, head, graph_options)?;
    let tokenizer = tokenizer_path(folder)?;
    let tokenizer = std::fs::read(&tokenizer).with_context(|| format!("cannot read {}", tokenizer.display()))?;
    let axes = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    let input = |name: &str| format::TensorSpec {
        name: name.to_owned(),
        element: format::ElementType::Int32,
        axes: axes(&["batch", "length"]),
    };
    let mut inputs = vec![input("input_ids")];
    inputs.extend((!single).then(|| input("attention_mask")));
    let manifest = Manifest {
        id: options.id.clone(),
        version: options.version.clone(),
        build: options.build,
        task: format::Task::TextClassification,
        architecture: format::Architecture {
            family: config.family.name().to_owned(),
            layers: config.layers,
            hidden_size: config.hidden_size,
            attention_heads: config.attention_heads,
            intermediate_size: config.intermediate_size,
            vocab_size: config.vocab_size,
            parameters: count_parameters(&config, head).total,
        },
        languages: options.languages.clone(),
        max_tokens: options.max_tokens,
        activation: format::Activation::Softmax,
        tagging: None,
        embedding: None,
        entailment: None,
        inputs,
        outputs: vec![format::TensorSpec {
            name: crate::graph::LOGITS.to_owned(),
            element: format::ElementType::Float32,
            axes: axes(&["batch", "labels"]),
        }],
        batching: if single { format::Batching::Single } else { format::Batching::Padded },
        opset: graph.opset.clone(),
        operators: graph.operators.clone(),
        requires: format::Requires { sdk: env!("CARGO_PKG_VERSION").to_owned(), onnxruntime_api: 24 },
        tokenizer: format::TokenizerSpec {
            library: "tokenizers".to_owned(),
            version: TOKENIZERS_VERSION.to_owned(),
            pad_id: config.pad_id as u32,
            mask_id: None,
        },
        provenance: options.provenance.clone(),
        quality: None,
        latency: None,
        quantization: Some(format::Quantization {
            mode: if single { "int8-dynamic" } else { "none" }.to_owned(),
            measured_drop: None,
        }),
    };
    Ok(Draft { manifest, graph, tokenizer, labels })
}

impl Draft {
    /// Label names in logit order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    fn writer(&self) -> BundleWriter {
        BundleWriter::new(self.manifest.clone()).classifier(
            self.tokenizer.clone(),
            self.graph.model.clone(),
            self.graph.weights.clone(),
            &self.labels,
        )
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
