//! How weights are stored in a graph, and the nodes that use them.

use anyhow::{Context, Result};
use limbeck::int8::{PackedWeights, TERNARY_ROWS, pack_ternary};
use ndarray::{ArrayView1, ArrayView2, Ix1, Ix2};

use super::blocks::BlockMatrix;
use super::builder::{GraphBuilder, Value};
use super::{Arrays, Form, Operators, Part, Profile};
use crate::quantize::{
    Bits, Blocks, Levels, Quantized, quantize_columns, quantize_rows, ternary_columns, ternary_rows,
};

/// Storage of matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightMode {
    /// fp32 `MatMul`.
    #[default]
    Float,
    /// Symmetric int8 weights, one scale a column; activations quantized to u8 at run time with one
    /// scale over the whole input.
    DynamicInt8,
    /// Symmetric int8 weights in encoder layers, which are nodes that the sdk computes ([`limbeck::int8`]), and in the
    /// token table; activations quantized at run time with a scale a token. All else is fp32. For post-norm encoders
    /// whose head is not over the vocabulary: [`super::fits_int8_layers`].
    Int8Layers,
    /// The same layers and table with weights -1, 0 and 1 times a scale for each output or row
    /// ([`crate::quantize::ternary_rows`]), of 2 bits each; for the same models.
    Ternary,
    /// Weights of 4 or 8 bits with a scale for each block (`MatMulNBits`, and `GatherBlockQuantized` for the token
    /// table, always without zero points); what is computed with them is fp32, or its activations are rounded to 8
    /// bits row by row where ONNX Runtime has kernels for that.
    Blocks(Blocks),
    /// Symmetric int8 weights in encoder layers, one scale an output; activations quantized to u8 with scales that were
    /// found beforehand ([`crate::quantize::Activations`]). The token table as in [`Self::Int8Layers`], all else fp32. For models whose
    /// head is not over the vocabulary.
    StaticInt8,
    /// fp16 weights, which become fp32 once when a session is made; rows of the token table when they are looked up.
    Half,
}

impl WeightMode {
    /// As a bundle's manifest has it.
    pub fn name(self) -> &'static str {
        match self {
            WeightMode::Float => "none",
            WeightMode::DynamicInt8 => "int8-dynamic",
            WeightMode::Int8Layers => "int8-by-token",
            WeightMode::Ternary => "ternary",
            WeightMode::Blocks(blocks) => match blocks.bits() {
                Bits::Four => "int4-weights",
                Bits::Eight => "int8-weights",
            },
            WeightMode::Half => "fp16",
            WeightMode::StaticInt8 => "int8-static",
        }
    }

    /// What a part is stored in that does not bear this: int8 where it is int4 or ternary, fp32 where it is anything else.
    pub fn fallback(self) -> WeightMode {
        match self {
            WeightMode::Blocks(blocks) if blocks.bits() == Bits::Four => WeightMode::Blocks(blocks.eight_bits()),
            WeightMode::Ternary => WeightMode::Int8Layers,
            _ => WeightMode::Float,
        }
    }

    /// The blocks, where weights are stored so.
    pub fn blocks(self) -> Option<Blocks> {
        if let WeightMode::Blocks(blocks) = self { Some(blocks) } else { None }
    }

    /// Whether encoder layers are nodes that the sdk computes.
    pub fn own_layers(self) -> bool {
        matches!(self, WeightMode::Int8Layers | WeightMode::Ternary)
    }

    /// What a weight is stored in, in a word.
    pub fn element(self) -> &'static str {
        match self {
            WeightMode::Float => "fp32",
            WeightMode::DynamicInt8 | WeightMode::Int8Layers | WeightMode::StaticInt8 => "int8",
            WeightMode::Blocks(blocks) => match blocks.bits() {
                Bits::Four => "int4",
                Bits::Eight => "int8",
            },
            WeightMode::Half => "fp16",
            WeightMode::Ternary => "ternary",
        }
    }
}

/// How products are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage {
    pub weights: WeightMode,
    pub profile: Profile,
    /// Of [`Profile::Ort`].
    pub operators: Operators,
}

impl Storage {
    /// Whether a part is one node of ONNX Runtime's own.
    pub(super) fn fuses(self, part: Part) -> bool {
        self.profile == Profile::Ort && self.operators.of(part) == Form::Fused
    }

    /// fp32, whatever the rest of the graph is.
    pub(super) fn float(self) -> Self {
        Self { weights: WeightMode::Float, ..self }
    }
}

/// A matrix `[in, out]` and bias `[out]` as ONNX wants them (torch stores `[out, in]`), made of one or several maps
/// of the same input side by side. Its constants are called after the parameter, so that layers that share it share
/// them; values are only read where a constant is first written.
pub(super) struct Linear<'a> {
    parameter: String,
    /// Each `[in, out]`.
    weights: Vec<ArrayView2<'a, f32>>,
    biases: Vec<ArrayView1<'a, f32>>,
}

impl<'a> Linear<'a> {
    /// `PARAMETER.weight` and, where the layout has it, `PARAMETER.bias`.
    pub(super) fn read(arrays: &'a Arrays, parameter: &str) -> Result<Self> {
        let weight = matrix(arrays, &format!("{parameter}.weight"))?.reversed_axes();
        let bias_name = format!("{parameter}.bias");
        let bias = arrays.contains_key(&bias_name).then(|| vector(arrays, &bias_name)).transpose()?;
        Ok(Self { parameter: parameter.to_owned(), weights: vec![weight], biases: bias.into_iter().collect() })
    }

    /// Several maps of the same input side by side, one product instead of several. All have a bias.
    pub(super) fn side_by_side(parameter: &str, parts: &[&Self]) -> Self {
        Self {
            parameter: parameter.to_owned(),
            weights: parts.iter().flat_map(|part| part.weights.iter().copied()).collect(),
            biases: parts.iter().flat_map(|part| part.biases.iter().copied()).collect(),
        }
    }

    /// The bias as a constant, for operators that take it themselves.
    pub(super) fn bias(&self, graph: &mut GraphBuilder) -> Option<String> {
        let length = self.biases.iter().map(|bias| bias.len()).sum();
        let values = self.biases.iter().flat_map(|bias| bias.iter().copied());
        (length > 0).then(|| graph.floats(&format!("{}.bias", self.parameter), &[length], values))
    }

    /// Codes, scales, sums of codes and bias as [`limbeck::int8`] takes them: constants, whose names are given. Codes are
    /// ternary where the layer is, else int8.
    pub(super) fn packed(&self, graph: &mut GraphBuilder, mode: WeightMode) -> Result<[String; 4]> {
        let [codes, scales, sums, bias] =
            ["codes", "scales", "sums", "packed_bias"].map(|part| format!("{}.{part}", self.parameter));
        if !graph.has_constant(&codes) {
            let (mut packed, mut biases) = (PackedWeights::default(), Vec::new());
            for (number, weight) in self.weights.iter().enumerate() {
                let quantized: Quantized = match mode {
                    WeightMode::Ternary => ternary_columns(weight),
                    _ => quantize_columns(weight),
                };
                let values = quantized.values.as_standard_layout();
                let scales: Vec<f32> = quantized.scales.to_vec();
                let part = limbeck::int8::pack(values.as_slice().unwrap_or_default(), &scales)?;
                biases.extend(self.biases.get(number).iter().flat_map(|bias| bias.iter().copied()));
                packed.append(part);
                biases.resize(packed.scales.len(), 0.0);
            }
            let columns = [packed.scales.len()];
            let shape = packed.shape();
            match mode {
                WeightMode::Ternary => graph.bytes(&codes, &shape[..3], &pack_ternary(&packed.codes)?),
                _ => graph.int8s(&codes, &shape, packed.codes),
            };
            graph.floats(&scales, &columns, packed.scales);
            graph.int32s(&sums, &columns, packed.sums);
            graph.floats(&bias, &columns, biases);
        }
        Ok([codes, scales, sums, bias])
    }

    /// `x W`, without the bias.
    pub(super) fn product(&self, graph: &mut GraphBuilder, name: &str, x: &str, storage: Storage) -> String {
        self.emit(graph, name, x, storage, None)
    }

    /// `x W + b`.
    pub(super) fn apply(&self, graph: &mut GraphBuilder, name: &str, x: &str, storage: Storage) -> String {
        let bias = self.bias(graph);
        self.emit(graph, name, x, storage, bias)
    }

    /// Codes `[in, out]` under this name, and scales, whose name is given.
    fn int8_constants(&self, graph: &mut GraphBuilder, name: &str, shape: [usize; 2]) -> String {
        let scale_name = format!("{}.scale", self.parameter);
        if !graph.has_constant(name) {
            // Scales are one a column, so each part is quantized by itself.
            let parts: Vec<_> = self.weights.iter().map(quantize_columns).collect();
            let row = |i| parts.iter().flat_map(move |part| part.values.row(i).to_vec());
            graph.int8s(name, &shape, (0..shape[0]).flat_map(row));
            let scales = parts.iter().flat_map(|part| part.scales.iter().copied());
            graph.floats(&scale_name, &[shape[1]], scales);
        }
        scale_name
    }

    fn emit(&self, graph: &mut GraphBuilder, name: &str, x: &str, storage: Storage, bias: Option<String>) -> String {
        let shape = [self.weights[0].nrows(), self.weights.iter().map(|weight| weight.ncols()).sum()];
        let weight_name = format!("{}.weight", self.parameter);
        let levels = match storage.weights {
            WeightMode::StaticInt8 => graph.activations.of_input(&self.parameter),
            _ => None,
        };
        match storage.weights {
            WeightMode::StaticInt8 if let Some(levels) = levels => {
                let scale_name = self.int8_constants(graph, &weight_name, shape);
                static_product(graph, name, x, [&weight_name, &scale_name], (&self.parameter, levels), bias, storage)
            }
            WeightMode::Float | WeightMode::Int8Layers | WeightMode::Ternary | WeightMode::StaticInt8 => {
                let row = |i| self.weights.iter().flat_map(move |weight| weight.row(i).to_vec());
                let weight = graph.floats(&weight_name, &shape, (0..shape[0]).flat_map(row));
                let product = graph.node(&format!("{name}.product"), "MatMul", &[x, &weight], &[]);
                add_bias(graph, name, product, bias)
            }
            WeightMode::DynamicInt8 => {
                let scale_name = self.int8_constants(graph, &weight_name, shape);
                int8_product(graph, name, x, &weight_name, &scale_name, bias, storage.profile)
            }
            WeightMode::Blocks(blocks) => {
                let maps: Vec<_> = self.weights.iter().map(|weight| weight.t()).collect();
                let matrix = BlockMatrix::new(graph, &self.parameter, &maps, blocks);
                matrix.product(graph, &format!("{name}.product"), x, bias.as_deref())
            }
            WeightMode::Half => {
                let row = |i| self.weights.iter().flat_map(move |weight| weight.row(i).to_vec());
                graph.halves(&weight_name, &shape, (0..shape[0]).flat_map(row));
                let weight = widened(graph, &weight_name);
                let product = graph.node(&format!("{name}.product"), "MatMul", &[x, &weight], &[]);
                add_bias(graph, name, product, bias)
            }
        }
    }
}

fn add_bias(graph: &mut GraphBuilder, name: &str, product: String, bias: Option<String>) -> String {
    match bias {
        Some(bias) => graph.node(&format!("{name}.sum"), "Add", &[&product, &bias], &[]),
        None => product,
    }
}

/// `x W + b` with int8 `W` `[in, out]` and one scale a column; `x` is quantized at run time.
pub(super) fn int8_product(
    graph: &mut GraphBuilder,
    name: &str,
    x: &str,
    weight: &str,
    scale: &str,
    bias: Option<String>,
    profile: Profile,
) -> String {
    match profile {
        Profile::Ort => {
            let mut inputs = vec![x, weight, scale];
            // Symmetric weights have no zero point; the bias comes after its empty place.
            if let Some(bias) = &bias {
                inputs.extend(["", bias]);
            }
            graph.contrib(&format!("{name}.product"), "DynamicQuantizeMatMul", &inputs, &[])
        }
        Profile::Portable => {
            let [codes, step, zero] = graph.outputs(&format!("{name}.quantized"), "DynamicQuantizeLinear", &[x]);
            let sums = graph.node(&format!("{name}.integers"), "MatMulInteger", &[&codes, weight, &zero], &[]);
            let sums = graph.node(&format!("{name}.cast"), "Cast", &[&sums], &[("to", Value::Int(1))]);
            let scales = graph.node(&format!("{name}.scales"), "Mul", &[&step, scale], &[]);
            let product = graph.node(&format!("{name}.product"), "Mul", &[&sums, &scales], &[]);
            add_bias(graph, name, product, bias)
        }
    }
}

/// `x W + b` with int8 `W` `[in, out]` and one scale a column; `x` is quantized to the levels of that parameter.
fn static_product(
    graph: &mut GraphBuilder,
    name: &str,
    x: &str,
    [weight, scale]: [&str; 2],
    (parameter, levels): (&str, Levels),
    bias: Option<String>,
    storage: Storage,
) -> String {
    let step = graph.floats(&format!("{parameter}.input_scale"), &[], [levels.scale]);
    let zero = graph.bytes(&format!("{parameter}.input_zero_point"), &[], &[levels.zero_point]);
    let codes = graph.node(&format!("{name}.quantized"), "QuantizeLinear", &[x, &step, &zero], &[]);
    if storage.profile == Profile::Ort {
        let mut inputs = vec![codes.as_str(), weight, &step, scale, &zero];
        // Symmetric weights have no zero point; the bias comes after its empty place.
        if let Some(bias) = &bias {
            inputs.extend(["", bias]);
        }
        return graph.contrib(&format!("{name}.product"), "MatMulIntegerToFloat", &inputs, &[]);
    }
    let sums = graph.node(&format!("{name}.integers"), "MatMulInteger", &[&codes, weight, &zero], &[]);
    let sums = graph.node(&format!("{name}.cast"), "Cast", &[&sums], &[("to", Value::Int(1))]);
    let scales = graph.node(&format!("{name}.scales"), "Mul", &[&step, scale], &[]);
    let product = graph.node(&format!("{name}.product"), "Mul", &[&sums, &scales], &[]);
    add_bias(graph, name, product, bias)
}

/// An fp16 constant as fp32, once for all that use it; ONNX Runtime computes that when it loads the graph.
fn widened(graph: &mut GraphBuilder, constant: &str) -> String {
    let name = format!("{constant}.float");
    if !graph.has_node(&name) {
        graph.node(&name, "Cast", &[constant], &[("to", Value::Int(1))]);
    }
    name
}

/// A table of rows, `[rows, width]`, looked up by ids.
pub(super) struct Table {
    form: TableForm,
    width: usize,
}

/// The constants of a table.
enum TableForm {
    Float(String),
    /// Codes, and the scale of each row, `[rows, 1]`.
    Int8(String, String),
    /// Codes of 2 bits, and the scale of each row, `[rows]`.
    Ternary(String, String),
    Blocks(BlockMatrix),
    Half(String),
}

impl Table {
    pub(super) fn new(
        graph: &mut GraphBuilder,
        parameter: &str,
        table: &ArrayView2<f32>,
        mode: WeightMode,
    ) -> Result<Self> {
        let (shape, width) = ([table.nrows(), table.ncols()], table.ncols());
        let weight_name = format!("{parameter}.weight");
        let form = match mode {
            WeightMode::Float => TableForm::Float(graph.floats(&weight_name, &shape, table.iter().copied())),
            WeightMode::DynamicInt8 | WeightMode::Int8Layers | WeightMode::StaticInt8 => {
                let quantized = quantize_rows(table);
                let weight = graph.int8s(&weight_name, &shape, quantized.values.iter().copied());
                let scales = quantized.scales.iter().copied();
                TableForm::Int8(weight, graph.floats(&format!("{parameter}.scale"), &[shape[0], 1], scales))
            }
            WeightMode::Ternary => {
                let quantized = ternary_rows(table);
                let mut codes = Vec::new();
                for row in quantized.values.rows() {
                    codes.extend(pack_ternary(&row.to_vec())?);
                }
                let weight = graph.bytes(&weight_name, &[shape[0], codes.len() / shape[0].max(1)], &codes);
                let scales = quantized.scales.iter().copied();
                TableForm::Ternary(weight, graph.floats(&format!("{parameter}.scale"), &[shape[0]], scales))
            }
            WeightMode::Blocks(blocks) => {
                TableForm::Blocks(BlockMatrix::new(graph, parameter, &[table.view()], blocks.symmetric()))
            }
            WeightMode::Half => TableForm::Half(graph.halves(&weight_name, &shape, table.iter().copied())),
        };
        Ok(Self { form, width })
    }

    /// The rows that `ids` name.
    pub(super) fn rows(&self, graph: &mut GraphBuilder, name: &str, ids: &str) -> String {
        let axis = || [("axis", Value::Int(0))];
        let to_float = || [("to", Value::Int(1))];
        match &self.form {
            TableForm::Float(weight) => graph.node(name, "Gather", &[weight, ids], &axis()),
            TableForm::Int8(weight, scale) => {
                let rows = graph.node(&format!("{name}.rows"), "Gather", &[weight, ids], &axis());
                let scales = graph.node(&format!("{name}.scales"), "Gather", &[scale, ids], &axis());
                let cast = graph.node(&format!("{name}.cast"), "Cast", &[&rows], &to_float());
                graph.node(name, "Mul", &[&cast, &scales], &[])
            }
            TableForm::Ternary(codes, scales) => {
                graph.own(name, TERNARY_ROWS, &[ids, codes, scales], &[("width", Value::Int(self.width as i64))])
            }
            TableForm::Blocks(matrix) => matrix.rows(graph, name, ids),
            TableForm::Half(weight) => {
                let rows = graph.node(&format!("{name}.rows"), "Gather", &[weight, ids], &axis());
                graph.node(name, "Cast", &[&rows], &to_float())
            }
        }
    }

    /// `x T^T + b`: scores of every row, for `x` `[batch, length, width]` whose batch and length are the
    /// two numbers of `shape`. The table is not stored a second time.
    pub(super) fn decode(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &str,
        shape: &str,
        bias: Option<String>,
        storage: Storage,
    ) -> String {
        let weight = match &self.form {
            TableForm::Int8(weight, scale) => {
                let weight = graph.node(&format!("{name}.columns"), "Transpose", &[weight], &[]);
                let all = graph.ints(&[-1]);
                let scale = graph.node(&format!("{name}.column_scales"), "Reshape", &[scale, &all], &[]);
                return int8_product(graph, name, x, &weight, &scale, bias, storage.profile);
            }
            TableForm::Blocks(matrix) => return matrix.product(graph, name, x, bias.as_deref()),
            TableForm::Ternary(..) => unreachable!("a model with a head over the vocabulary has no ternary weights"),
            TableForm::Float(weight) => weight.clone(),
            TableForm::Half(weight) => widened(graph, weight),
        };
        // Gemm reads a matrix transposed where it lies; MatMul cannot.
        let rows = graph.ints(&[-1, self.width as i64]);
        let rows = graph.node(&format!("{name}.rows"), "Reshape", &[x, &rows], &[]);
        let mut inputs = vec![rows.as_str(), &weight];
        inputs.extend(bias.as_deref());
        let scores = graph.node(&format!("{name}.scores"), "Gemm", &inputs, &[("transB", Value::Int(1))]);
        let rest = graph.ints(&[-1]);
        let whole = graph.node(&format!("{name}.shape"), "Concat", &[shape, &rest], &[("axis", Value::Int(0))]);
        graph.node(&format!("{name}.reshaped"), "Reshape", &[&scores, &whole], &[])
    }
}

/// LayerNormalization over the last axis.
pub(super) fn layer_norm(
    graph: &mut GraphBuilder,
    arrays: &Arrays,
    parameter: &str,
    name: &str,
    x: &str,
    epsilon: f64,
) -> Result<String> {
    let [gamma, beta] = norm_constants(graph, arrays, parameter)?;
    let attributes = [("axis", Value::Int(-1)), ("epsilon", Value::Float(epsilon as f32))];
    Ok(graph.node(name, "LayerNormalization", &[x, &gamma, &beta], &attributes))
}

/// The norm of `x + bias + residual` as one node of ONNX Runtime's own.
pub(super) fn skip_layer_norm(
    graph: &mut GraphBuilder,
    arrays: &Arrays,
    parameter: &str,
    name: &str,
    [x, residual, bias]: [&str; 3],
    epsilon: f64,
) -> Result<String> {
    let [gamma, beta] = norm_constants(graph, arrays, parameter)?;
    let mut inputs = vec![x, residual, &gamma, &beta];
    if !bias.is_empty() {
        inputs.push(bias);
    }
    Ok(graph.contrib(name, "SkipLayerNormalization", &inputs, &[("epsilon", Value::Float(epsilon as f32))]))
}

/// Gain and bias of a norm.
fn norm_constants(graph: &mut GraphBuilder, arrays: &Arrays, parameter: &str) -> Result<[String; 2]> {
    let constant = |graph: &mut GraphBuilder, part: &str| {
        let name = format!("{parameter}.{part}");
        let values = vector(arrays, &name)?;
        Ok::<_, anyhow::Error>(graph.floats(&name, &[values.len()], values.iter().copied()))
    };
    Ok([constant(graph, "weight")?, constant(graph, "bias")?])
}

pub(crate) fn matrix<'a>(arrays: &'a Arrays, name: &str) -> Result<ArrayView2<'a, f32>> {
    let array = arrays.get(name).with_context(|| format!("tensor `{name}` is missing"))?;
    array.view().into_dimensionality::<Ix2>().with_context(|| format!("tensor `{name}` is not a matrix"))
}

pub(super) fn vector<'a>(arrays: &'a Arrays, name: &str) -> Result<ArrayView1<'a, f32>> {
    let array = arrays.get(name).with_context(|| format!("tensor `{name}` is missing"))?;
    array.view().into_dimensionality::<Ix1>().with_context(|| format!("tensor `{name}` is not a vector"))
}
