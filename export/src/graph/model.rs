//! A whole model as an ONNX graph.

use anyhow::{Result, bail, ensure};
use limbeck::bundle::{LOGITS_FROM, POSITION_IDS, past_name, present_name};
use ndarray::{Array2, Axis, s};

use super::activation::activate_with_bias;
use super::attention::{Projections, Surroundings};
use super::builder::{BuiltGraph, GraphBuilder};
use super::encoder_layer::{fits_int8_layers, fits_static_int8};
use super::heads::{kept_head_size, widen};
use super::linear::{Linear, Storage, Table, WeightMode, layer_norm, matrix, skip_layer_norm};
use super::positions::{Extent, distance_table, mask_bias};
use super::proto::DataType;
use super::{Arrays, GraphOptions, KeepFloat, Part, Profile};
use crate::arch::{Head, ModelConfig, parameter_layout};
use crate::quantize::{Activations, encoder_maps};

/// A graph while it is written.
pub(super) struct Writer<'a> {
    pub graph: GraphBuilder,
    pub arrays: &'a Arrays,
    pub config: &'a ModelConfig,
    pub head: Head,
    pub options: GraphOptions,
    /// What is fp32 though the options say int8.
    pub keep_float: &'a KeepFloat,
    /// The input `attention_mask`, where there is one.
    pub mask: Option<String>,
    /// The input [`LOGITS_FROM`], where there is one.
    pub logits_from: Option<String>,
}

/// Writes the graph of a model.
///
/// Inputs are int32 `[batch, length]`: `input_ids`, then `attention_mask` (1 token, 0 pad, on either side) and
/// `token_type_ids` when asked for. [`LOGITS_FROM`] is int64 `[1]`.
///
/// With a cache there are for each layer `past_key.N` and `past_value.N`, fp32, with outputs `present_key.N` and
/// `present_value.N`. In [`Profile::Portable`] they grow: `[batch, heads, past, head_size]`, of length 0 in a first run,
/// and the mask is `[batch, past + length]`. In [`Profile::Ort`] they are buffers `[batch, heads, room, head_size]`, each
/// input bound to the same memory as its output, and [`POSITION_IDS`] says what of them is filled; there is no mask,
/// and a run has one token of each row, or several of one row. Their `head_size` is [`kept_head_size`].
///
/// # Errors
/// A weight that is missing or of another shape than `config` implies; an option that the model does not have.
pub fn build(arrays: &Arrays, config: &ModelConfig, head: Head, options: GraphOptions) -> Result<BuiltGraph> {
    build_of_parts(arrays, config, head, options, &Parts::default())
}

/// What is stored otherwise than the rest, and what was measured for that.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Stored as [`GraphOptions::kept`] says.
    pub keep_float: KeepFloat,
    /// What the inputs of linear maps range over, for [`WeightMode::StaticInt8`].
    pub activations: Activations,
}

/// [`build`] with [`WeightMode::Int8Layers`], [`WeightMode::Ternary`] or [`WeightMode::Blocks`], some parts of which are stored as
/// [`GraphOptions::kept`] says.
///
/// # Errors
/// Those of [`build`]; a part that the model does not have, or that another one shares weights with; another mode.
pub fn build_of_parts(
    arrays: &Arrays,
    config: &ModelConfig,
    head: Head,
    options: GraphOptions,
    Parts { keep_float, activations }: &Parts,
) -> Result<BuiltGraph> {
    head.check(config)?;
    if options.weights == WeightMode::StaticInt8 {
        ensure!(fits_static_int8(head), "a {} head is over the vocabulary: it has no static int8", head.name());
        if let Some(missing) = encoder_maps(config).into_iter().find(|map| activations.of_input(map).is_none()) {
            bail!("nothing is known of the inputs of `{missing}`: static int8 needs calibration data");
        }
    }
    if !keep_float.is_empty() {
        let has_parts = options.weights.own_layers() || options.weights.blocks().is_some();
        ensure!(has_parts, "{} weights are stored as a whole: no part can be another", options.weights.name());
        ensure!(keep_float.whole(config)? == *keep_float, "layers that share weights are stored together");
    }
    ensure!(!options.cache || config.causal, "{} has no key/value cache: it is not causal", config.family.name());
    let pools = matches!(head, Head::Classification { .. } | Head::Embedding { .. });
    ensure!(!options.cache || !pools, "a {} head reads all tokens at once: it has no use for a cache", head.name());
    let kept = options.cache && options.profile == Profile::Ort;
    ensure!(!(kept && options.mask), "a graph with a cache for ONNX Runtime takes no mask: its rows are never padded");
    ensure!(!options.logits_from || head == Head::CausalLm, "a {} head has no logits to choose from", head.name());
    let any_own =
        [options.weights, options.kept].into_iter().chain(options.table.filter(|&table| table == WeightMode::Ternary));
    ensure!(
        !any_own.into_iter().any(WeightMode::own_layers)
            || (fits_int8_layers(config, head) && options.profile == Profile::Ort && !options.cache),
        "a {} with a {} head has no layers that limbeck computes itself, or not with these options",
        config.family.name(),
        head.name()
    );
    let blocks = |mode: WeightMode| matches!(mode, WeightMode::Blocks(_));
    let any_blocks = [options.weights, options.kept].into_iter().chain(options.table).any(blocks);
    ensure!(
        !any_blocks || options.profile == Profile::Ort,
        "weights by block need operators of ONNX Runtime, which the portable profile does not have"
    );
    ensure!(!options.token_types || config.token_types > 0, "{} has no token types", config.family.name());
    for spec in parameter_layout(config, head) {
        if spec.name.starts_with("pooler.") && !head.reads_pooler(config) {
            continue;
        }
        let shape: Option<Vec<i64>> = arrays.get(&spec.name).map(|a| a.shape().iter().map(|&d| d as i64).collect());
        ensure!(
            shape.as_ref() == Some(&spec.shape),
            "tensor `{}` has shape {shape:?}, expected {:?}",
            spec.name,
            spec.shape
        );
    }
    let wider = (kept && kept_head_size(config) != config.head_size()).then(|| widen(arrays, config));
    let mut writer = Writer {
        graph: GraphBuilder::default(),
        arrays: wider.as_ref().unwrap_or(arrays),
        config,
        head,
        options,
        keep_float,
        mask: None,
        logits_from: None,
    };
    writer.graph.activations = activations.clone();
    writer.write()?;
    Ok(writer.graph.finish(&format!("limbeck-{}", head.name())))
}

impl Writer<'_> {
    pub(super) fn storage(&self) -> Storage {
        let GraphOptions { weights, profile, operators, .. } = self.options;
        Storage { weights, profile, operators }
    }

    /// Of a layer's products.
    pub(super) fn storage_of(&self, layer: usize) -> Storage {
        match self.keep_float.layers.contains(&layer) {
            true => Storage { weights: self.options.kept, ..self.storage() },
            false => self.storage(),
        }
    }

    fn table_mode(&self) -> WeightMode {
        match self.keep_float.table {
            true => self.options.kept,
            false => self.options.table.unwrap_or(self.options.weights),
        }
    }

    fn write(&mut self) -> Result<()> {
        let ids = self.graph.input("input_ids", DataType::Int32, &["batch", "length"]);
        let places = self.keeps().then(|| self.graph.input(POSITION_IDS, DataType::Int32, &["batch", "length"]));
        if self.options.mask {
            let length = if self.options.cache { "total" } else { "length" };
            self.mask = Some(self.graph.input("attention_mask", DataType::Int32, &["batch", length]));
        }
        let types =
            self.options.token_types.then(|| self.graph.input("token_type_ids", DataType::Int32, &["batch", "length"]));
        self.logits_from = self.options.logits_from.then(|| self.graph.input(LOGITS_FROM, DataType::Int64, &["one"]));
        let blocks = self.config.blocks();
        let pasts = self.cache_inputs(blocks.len());
        let extent = match (&places, pasts.first()) {
            (Some(places), _) => Extent::placed(&ids, places),
            (None, Some([key, _])) => Extent::after(&ids, key),
            (None, None) => Extent::whole(&ids),
        };
        let ends = extent.ends(&mut self.graph);
        let table = self.table_mode();
        let words =
            Table::new(&mut self.graph, "embeddings.words", &matrix(self.arrays, "embeddings.words.weight")?, table)?;
        let mut x = self.embeddings(&ids, types.as_deref(), &words, &extent)?;
        let biases = self.distance_biases(blocks.len(), &extent)?;
        // An fp32 block of several layers is stored in one form, and so written in one.
        let last_is_shared =
            blocks.last().is_some_and(|last| blocks.iter().filter(|block| block.0 == last.0).count() > 1);
        let own = |layer: usize| self.storage_of(layer).weights.own_layers();
        let own: Vec<bool> = (0..blocks.len()).map(own).collect();
        let last_is_own = own.last() == Some(&true);
        let last_first_only = self.reads_first_token_only() && (last_is_own || !last_is_shared);
        let mask = self.mask.clone();
        // limbeck's own layers read the mask as it is.
        let in_parts = !self.storage().fuses(Part::Attention) && own.contains(&false);
        let adds_mask = in_parts || (last_first_only && !last_is_own);
        let mask_bias = mask.as_ref().filter(|_| adds_mask).map(|mask| mask_bias(&mut self.graph, mask));
        for (layer, &block) in blocks.iter().enumerate() {
            let around = Surroundings {
                config: self.config,
                mask: mask.as_deref(),
                mask_bias: mask_bias.as_deref(),
                distance_bias: biases[layer].as_deref(),
                past: pasts.get(layer).map(|[key, value]| [key.as_str(), value.as_str()]),
                present: pasts.get(layer).map(|_| ["key", "value"].map(|kind| present_name(kind, layer))),
                ends: ends.as_ref(),
                first_only: last_first_only && layer + 1 == blocks.len(),
            };
            x = if own[layer] {
                self.encoder_layer(layer, block, &x, &around)?
            } else {
                self.layer(layer, block, &x, around)?
            };
        }
        if self.config.pre_norm {
            x = self.norm("encoder.norm", "encoder.normed", &x)?;
        }
        self.head(&x, &words, &extent)?;
        for layer in 0..pasts.len() {
            for kind in ["key", "value"] {
                let axes = self.cache_axes(if self.keeps() { "room" } else { "total" });
                let axes: Vec<&str> = axes.iter().map(String::as_str).collect();
                self.graph.output(&present_name(kind, layer), DataType::Float, &axes);
            }
        }
        Ok(())
    }

    fn cache_axes(&self, length: &str) -> [String; 4] {
        let size = if self.keeps() { kept_head_size(self.config) } else { self.config.head_size() };
        ["batch".to_owned(), self.config.attention_heads.to_string(), length.to_owned(), size.to_string()]
    }

    /// Whether keys and values stay in buffers, and do not grow.
    fn keeps(&self) -> bool {
        self.options.cache && self.options.profile == Profile::Ort
    }

    fn cache_inputs(&mut self, layers: usize) -> Vec<[String; 2]> {
        if !self.options.cache {
            return vec![];
        }
        let axes = self.cache_axes(if self.keeps() { "room" } else { "past" });
        let axes: Vec<&str> = axes.iter().map(String::as_str).collect();
        let mut input = |kind: &str, layer| self.graph.input(&past_name(kind, layer), DataType::Float, &axes);
        (0..layers).map(|layer| ["key", "value"].map(|kind| input(kind, layer))).collect()
    }

    /// Whether nothing but the first token of the last layer is used.
    fn reads_first_token_only(&self) -> bool {
        self.head.reads_first_token_only(self.config) && !self.config.pre_norm && !self.options.hidden_output
    }

    fn norm(&mut self, parameter: &str, name: &str, x: &str) -> Result<String> {
        layer_norm(&mut self.graph, self.arrays, parameter, name, x, self.config.layer_norm_eps)
    }

    fn embeddings(&mut self, ids: &str, types: Option<&str>, words: &Table, extent: &Extent) -> Result<String> {
        let mut positions: Array2<f32> =
            matrix(self.arrays, "embeddings.positions.weight")?.slice(s![self.config.first_position.., ..]).to_owned();
        let type_rows =
            (self.config.token_types > 0).then(|| matrix(self.arrays, "embeddings.types.weight")).transpose()?;
        if let (Some(rows), None) = (&type_rows, types) {
            positions += &rows.index_axis(Axis(0), 0);
        }
        let mask = self.mask.clone();
        let graph = &mut self.graph;
        let mut x = words.rows(graph, "embeddings.words", ids);
        let rows = extent.position_rows(graph, &positions, mask.as_deref())?;
        x = graph.node("embeddings.sum", "Add", &[&x, &rows], &[]);
        if let (Some(rows), Some(types)) = (&type_rows, types) {
            let rows =
                Table::new(graph, "embeddings.types", rows, WeightMode::Float)?.rows(graph, "embeddings.types", types);
            x = graph.node("embeddings.typed", "Add", &[&x, &rows], &[]);
        }
        if !self.config.pre_norm {
            x = self.norm("embeddings.norm", "embeddings.normed", &x)?;
        }
        if self.config.embedding_projection {
            let projection = Linear::read(self.arrays, "embeddings.projection")?;
            let storage = self.storage();
            x = projection.apply(&mut self.graph, "embeddings.projection", &x, storage);
        }
        Ok(x)
    }

    /// Each layer's bias by distance; layers with the same one share it.
    fn distance_biases(&mut self, layers: usize, extent: &Extent) -> Result<Vec<Option<String>>> {
        let relative = (self.config.relative_buckets > 0)
            .then(|| matrix(self.arrays, "encoder.relative_bias.weight"))
            .transpose()?;
        let fused_causal = self.keeps() || self.storage().fuses(Part::Attention);
        let mut made: Vec<(Option<Array2<f32>>, Option<String>)> = Vec::new();
        let mut biases = Vec::new();
        for layer in 0..layers {
            let table = distance_table(self.config, relative.as_ref(), layer, fused_causal);
            let known = made.iter().find(|(other, _)| *other == table).map(|(_, name)| name.clone());
            biases.push(known.unwrap_or_else(|| {
                let bias = table.as_ref().map(|table| {
                    let name = format!("distance_bias.{}", made.len());
                    extent.by_distance(&mut self.graph, &name, table)
                });
                made.push((table, bias.clone()));
                bias
            }));
        }
        Ok(biases)
    }

    /// One layer: an attention block and a feed-forward block, each with its residual and norm.
    fn layer(&mut self, layer: usize, block: (usize, usize), x: &str, around: Surroundings) -> Result<String> {
        let (attention, ffn) = (format!("encoder.attention.{}", block.0), format!("encoder.ffn.{}", block.1));
        let (storage, config, name) = (self.storage_of(layer), self.config, format!("layer.{layer}"));
        let normed = |writer: &mut Self, part: &str, parameter: &str, x: &str| {
            writer.norm(&format!("{parameter}.norm"), &format!("{name}.{part}.normed"), x)
        };

        let input = if config.pre_norm { normed(self, "attention", &attention, x)? } else { x.to_owned() };
        let first = around.first_only.then(|| {
            let (zero, one) = (self.graph.ints(&[0]), self.graph.ints(&[1]));
            self.graph.node(&format!("{name}.first"), "Slice", &[x, &zero, &one, &one], &[])
        });
        let first_bias = match (&first, around.distance_bias) {
            (Some(_), Some(bias)) => {
                let (zero, one, two) = (self.graph.ints(&[0]), self.graph.ints(&[1]), self.graph.ints(&[2]));
                Some(self.graph.node(&format!("{name}.first_bias"), "Slice", &[bias, &zero, &one, &two], &[]))
            }
            _ => None,
        };
        let around = Surroundings { distance_bias: first_bias.as_deref().or(around.distance_bias), ..around };
        let graph = &mut self.graph;
        let projections = Projections::read(self.arrays, &attention)?;
        let attend_name = format!("{name}.attention");
        let context = projections.attend(graph, &attend_name, &input, first.as_deref(), &around, storage);
        let output = Linear::read(self.arrays, &format!("{attention}.output"))?;
        let residual = first.as_deref().unwrap_or(x);
        let x = self.after_block(&output, (&format!("{name}.attention"), &attention), &context, residual, storage)?;

        let input = if config.pre_norm { normed(self, "ffn", &ffn, &x)? } else { x.clone() };
        let graph = &mut self.graph;
        let up = Linear::read(self.arrays, &format!("{ffn}.up"))?;
        let product = up.product(graph, &format!("{name}.ffn.up"), &input, storage);
        let bias = up.bias(graph).unwrap_or_default();
        let activated = format!("{name}.ffn.activated");
        let active = activate_with_bias(graph, &activated, &product, &bias, config.activation, storage);
        let down = Linear::read(self.arrays, &format!("{ffn}.down"))?;
        self.after_block(&down, (&format!("{name}.ffn"), &ffn), &active, &x, storage)
    }

    /// A block's last map, the residual, and the norm where it follows the block. `name` is that of the block's nodes and of
    /// its parameters.
    fn after_block(
        &mut self,
        map: &Linear,
        (name, parameter): (&str, &str),
        x: &str,
        residual: &str,
        storage: Storage,
    ) -> Result<String> {
        let (graph, normed) = (&mut self.graph, format!("{name}.normed"));
        let parameter = format!("{parameter}.norm");
        if storage.fuses(Part::ResidualNorm) && storage.weights == WeightMode::Float && !self.config.pre_norm {
            let product = map.product(graph, &format!("{name}.output"), x, storage);
            let bias = map.bias(graph).unwrap_or_default();
            let summands = [product.as_str(), residual, &bias];
            return skip_layer_norm(graph, self.arrays, &parameter, &normed, summands, self.config.layer_norm_eps);
        }
        let given = map.apply(graph, &format!("{name}.output"), x, storage);
        let x = graph.node(&format!("{name}.residual"), "Add", &[&given, residual], &[]);
        if self.config.pre_norm { Ok(x) } else { self.norm(&parameter, &normed, &x) }
    }
}
