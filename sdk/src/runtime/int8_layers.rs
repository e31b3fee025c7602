//! `EncoderLayer`, computed by [`limbeck_int8`], as a custom operator of ONNX Runtime.
//!
//! | input | shape | |
//! |---|---|---|
//! | `x` | `[batch, length, hidden]` | fp32 |
//! | `mask` | `[batch, length]`, optional | int32, 0 for padding |
//! | `bias` | `[1, heads or 1, length, length]`, optional | fp32, added to attention scores |
//! | for `query_key_value`, `attention_output`, `up`, `down`: codes, scales, sums, bias | [`crate::int8::PackedWeights`] | int8, fp32, int32, fp32 |
//! | for both normalizations: gain, bias | `[hidden]` | fp32 |
//!
//! Attributes: `heads`, `head_size` (hidden / heads where it is missing), `activation` (`gelu`, `gelu-tanh`, `relu`),
//! `epsilon`, `first_only` (0 or 1). Output:
//! `[batch, length, hidden]`, 0 where the mask is; with `first_only` `[batch, 1, hidden]`. Masked tokens are left out,
//! not masked: they cost nothing and change nothing.
//!
//! `TernaryEncoderLayer` is the same with codes of 2 bits, uint8 of [`limbeck_int8::Matrix::ternary`].

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{
    DynTensorValueType, PrimitiveTensorElementType, Shape, SymbolicDimensions, TensorElementType, ValueRef, ValueType,
};

use limbeck_int8::{Activation, Alone, Isa, Layer, Matrix, Norm, ScoreBias, Scratch, Texts, Workers};

use super::lock;
use super::ternary_rows::TernaryRows;
use crate::int8::{DOMAIN, ENCODER_LAYER, ROWS, TERNARY_ENCODER_LAYER};

/// Inputs before the constants.
const CONSTANTS: usize = 3;

/// The operators, for the sessions of one model that run on `threads` threads each.
pub(crate) fn domain(threads: usize) -> ort::Result<OperatorDomain> {
    let layer = |ternary| EncoderLayer { ternary, threads: threads.max(1), memory: Arc::default() };
    OperatorDomain::new(DOMAIN)?.add(layer(false))?.add(layer(true))?.add(TernaryRows)
}

/// The operator; its layers work one after the other in the same memory.
struct EncoderLayer {
    ternary: bool,
    threads: usize,
    memory: Arc<Mutex<Vec<Memory>>>,
}

/// A layer's inputs: texts filled up to one length.
struct Padded<'a> {
    x: &'a [f32],
    mask: Option<&'a [i32]>,
    bias: Option<&'a [f32]>,
    batch: usize,
    length: usize,
}

/// What a layer computes in.
#[derive(Default)]
struct Memory {
    /// Hidden states of the tokens that are no padding.
    rows: Vec<f32>,
    scratch: Scratch,
}

pub(super) type Constant<'a> = ValueRef<'a, DynTensorValueType>;

/// One layer of one session.
struct EncoderLayerKernel<'a> {
    layer: Layer<'a>,
    isa: Isa,
    threads: usize,
    memory: Arc<Mutex<Vec<Memory>>>,
    // Declared, and so dropped, after what reads them.
    _constants: Vec<Constant<'a>>,
}

impl Operator for EncoderLayer {
    type Kernel<'attr> = EncoderLayerKernel<'attr>;

    fn name(&self) -> &str {
        if self.ternary { TERNARY_ENCODER_LAYER } else { ENCODER_LAYER }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        use TensorElementType::{Float32, Int8, Int32, Uint8};
        let codes = if self.ternary { Uint8 } else { Int8 };
        let mut inputs =
            vec![OperatorInput::required(Float32), OperatorInput::optional(Int32), OperatorInput::optional(Float32)];
        for _matrix in 0..4 {
            inputs.extend([codes, Float32, Int32, Float32].map(OperatorInput::required));
        }
        inputs.extend([Float32; 4].map(OperatorInput::required));
        inputs
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<EncoderLayerKernel<'attr>> {
        let wrong = |what: String| {
            ort::Error::new(format!("{}: {what}", context.node_name().unwrap_or_else(|_| ENCODER_LAYER.to_owned())))
        };
        let number = |name: &str| {
            let value: Option<i64> = context.get(name);
            let value = value.and_then(|value| usize::try_from(value).ok());
            value.ok_or_else(|| wrong(format!("no attribute {name}, or one below 0")))
        };
        let activation: Option<String> = context.get("activation");
        let activation = match activation.as_deref() {
            Some("gelu") => Activation::Gelu,
            Some("gelu-tanh") => Activation::GeluTanh,
            Some("relu") => Activation::Relu,
            other => return Err(wrong(format!("activation {}", other.unwrap_or("missing")))),
        };
        let epsilon: Option<f32> = context.get("epsilon");
        let constants = (CONSTANTS..CONSTANTS + 20)
            .map(|input| constant(context, input).map_err(&wrong))
            .collect::<ort::Result<Vec<Constant<'attr>>>>()?;
        let matrix = |first: usize, name: &str| matrix(&constants[first..], name, self.ternary).map_err(&wrong);
        let norm = |first: usize| norm(&constants[first..]).map_err(&wrong);
        let attention_norm = norm(16)?;
        let (hidden, heads) = (attention_norm.gain.len(), number("heads")?);
        let own: Option<i64> = context.get("head_size");
        let head_size = match own {
            Some(size) => usize::try_from(size).map_err(|_| wrong(format!("a head size of {size}")))?,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => return Err(wrong(format!("{heads} heads in a hidden size of {hidden}"))),
        };
        let layer = Layer {
            hidden,
            heads,
            head_size,
            activation,
            epsilon: epsilon.ok_or_else(|| wrong("no attribute epsilon".to_owned()))?,
            query_key_value: matrix(0, "query_key_value")?,
            attention_output: matrix(4, "attention_output")?,
            up: matrix(8, "up")?,
            down: matrix(12, "down")?,
            attention_norm,
            output_norm: norm(18)?,
            first_only: number("first_only")? == 1,
        };
        let layer = layer.check().map_err(|what| wrong(what.0))?;
        Ok(EncoderLayerKernel {
            layer,
            isa: Isa::best(),
            threads: self.threads,
            memory: Arc::clone(&self.memory),
            _constants: constants,
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = context.inputs();
        let Some(ValueType::Tensor { ty, shape, dimension_symbols }) = inputs.into_iter().next() else { return Ok(()) };
        let first_only: i64 = context.attr("first_only")?;
        if shape.len() != 3 {
            return Err(ort::Error::new(format!("{ENCODER_LAYER} takes [batch, length, hidden], not {shape:?}")));
        }
        let (shape, dimension_symbols) = match first_only {
            1 => (Shape::new([shape[0], 1, shape[2]]), SymbolicDimensions::empty(3)),
            _ => (shape, dimension_symbols),
        };
        context.set_output(0, &ValueType::Tensor { ty, shape, dimension_symbols })
    }
}

/// An input that must be a constant.
pub(super) fn constant<'a>(context: &KernelContext<'a>, input: usize) -> Result<Constant<'a>, String> {
    context.constant_input(input).map_err(|error| format!("input {input}: {}", error.message()))
}

/// Shape and values of a constant, for as long as its session.
pub(super) fn values<'a, T: PrimitiveTensorElementType>(
    constant: &Constant<'a>,
) -> Result<(Vec<i64>, &'a [T]), String> {
    let (shape, values) = constant.try_extract_tensor::<T>().map_err(|error| error.message().to_owned())?;
    // SAFETY: a constant input stays where it is for as long as the session, which 'a stands for; the values are those
    // of the tensor and not of the reference to it.
    let values = unsafe { std::slice::from_raw_parts(values.as_ptr(), values.len()) };
    Ok((shape.to_vec(), values))
}

/// The matrix that begins there.
fn matrix<'a>(constants: &[Constant<'a>], name: &str, ternary: bool) -> Result<Matrix<'a>, String> {
    let (scales, sums, bias) = (values(&constants[1])?.1, values(&constants[2])?.1, values(&constants[3])?.1);
    let matrix = if ternary {
        let (shape, codes) = values(&constants[0])?;
        Matrix::ternary(&shape, codes, scales, sums, bias)
    } else {
        let (shape, codes) = values(&constants[0])?;
        Matrix::new(&shape, codes, scales, sums, bias)
    };
    matrix.map_err(|what| format!("{name}: {what}"))
}

/// The normalization that begins there.
fn norm<'a>(constants: &[Constant<'a>]) -> Result<Norm<'a>, String> {
    Ok(Norm { gain: values(&constants[0])?.1, bias: values(&constants[1])?.1 })
}

/// The threads of the session.
struct SessionThreads<'a> {
    context: &'a ComputeContext,
    threads: usize,
}

// SAFETY: ONNX Runtime's `ParallelFor` may be called from any thread of a run; the context is only borrowed for it.
unsafe impl Sync for SessionThreads<'_> {}

impl Workers for SessionThreads<'_> {
    fn count(&self) -> usize {
        self.threads
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // No panic may cross ONNX Runtime's frames: it goes on in the thread that asked.
        let panicked = AtomicBool::new(false);
        let guarded = |number: usize| {
            if catch_unwind(AssertUnwindSafe(|| task(number))).is_err() {
                panicked.store(true, Ordering::Relaxed);
            }
        };
        // It can only fail when called with nothing to call.
        if self.context.par_for(tasks, 0, guarded).is_err() {
            Alone.run(tasks, task);
        }
        assert!(!panicked.load(Ordering::Relaxed), "a thread of {ENCODER_LAYER} has panicked");
    }
}

impl Kernel for EncoderLayerKernel<'_> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // ONNX Runtime calls this from C++, which no panic may reach.
        catch_unwind(AssertUnwindSafe(|| self.try_compute(context))).unwrap_or_else(|_| {
            Err(ort::Error::new(format!("{ENCODER_LAYER} has panicked; this is a mistake in limbeck")))
        })
    }
}

impl EncoderLayerKernel<'_> {
    fn try_compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new(format!("{ENCODER_LAYER} was run without its input"));
        let input = context.input(0)?.ok_or_else(missing)?;
        let (shape, x) = input.try_extract_tensor::<f32>()?;
        let &[batch, length, hidden] = &shape[..] else { return Err(missing()) };
        if usize::try_from(hidden) != Ok(self.layer.hidden) {
            return Err(ort::Error::new(format!(
                "{ENCODER_LAYER} was given a hidden size of {hidden} in place of {}",
                self.layer.hidden
            )));
        }
        let (batch, length) = (batch.max(0) as usize, length.max(0) as usize);
        let mask = context.input(1)?;
        let mask = match &mask {
            Some(mask) => {
                let (shape, mask) = mask.try_extract_tensor::<i32>()?;
                if mask.len() != batch * length {
                    return Err(ort::Error::new(format!("{ENCODER_LAYER} was given a mask of the shape {shape:?}")));
                }
                Some(mask)
            }
            None => None,
        };
        let bias = context.input(2)?;
        let bias = match &bias {
            Some(bias) => {
                let (shape, bias) = bias.try_extract_tensor::<f32>()?;
                let square = length * length;
                if bias.len() != square && bias.len() != square * self.layer.heads {
                    return Err(ort::Error::new(format!("{ENCODER_LAYER} was given a bias of the shape {shape:?}")));
                }
                Some(bias)
            }
            None => None,
        };

        let results = if self.layer.first_only { 1 } else { length };
        let mut output = context.output(0, [batch, results, self.layer.hidden])?.ok_or_else(missing)?;
        let (_, out) = output.try_extract_tensor_mut::<f32>()?;
        let mut memory = lock(&self.memory).pop().unwrap_or_default();
        let threads = SessionThreads { context, threads: self.threads };
        let mut first = 0;
        let padded = Padded { x, mask, bias, batch, length };
        while first < batch {
            first = self.some(&padded, first, out, &threads, &mut memory);
        }
        lock(&self.memory).push(memory);
        Ok(())
    }

    /// Runs as many texts as fit together, from `first` on; gives the next.
    fn some(
        &self,
        &Padded { x, mask, bias, batch, length }: &Padded,
        first: usize,
        out: &mut [f32],
        workers: &dyn Workers,
        Memory { rows, scratch }: &mut Memory,
    ) -> usize {
        let hidden = self.layer.hidden;
        let (mut places, mut texts): (Vec<usize>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
        let mut next = first;
        while next < batch && (next == first || places.len() + length <= ROWS) {
            let start = places.len();
            places.extend((0..length).filter(|place| mask.is_none_or(|mask| mask[next * length + place] != 0)));
            texts.push(start..places.len());
            next += 1;
        }
        // A text without any token takes no part.
        let some: Vec<Range<usize>> = texts.iter().filter(|text| !text.is_empty()).cloned().collect();
        let about = Texts { rows: &some, bias: bias.map(|values| ScoreBias { values, length, places: &places }) };
        let mut run = |rows: &mut [f32]| {
            if !some.is_empty() {
                self.layer.run(self.isa, workers, about, rows, scratch);
            }
        };
        // Where nothing is padded and all tokens are wanted, in the place of the result.
        if !self.layer.first_only && places.len() == (next - first) * length {
            let all = first * length * hidden..next * length * hidden;
            let out = &mut out[all.clone()];
            out.copy_from_slice(&x[all]);
            run(out);
            return next;
        }
        rows.clear();
        for (number, text) in (first..next).zip(&texts) {
            for place in &places[text.clone()] {
                let at = number * length + place;
                rows.extend_from_slice(&x[at * hidden..(at + 1) * hidden]);
            }
        }
        run(rows);
        let mut done = rows.chunks_exact(hidden);
        for (number, text) in (first..next).zip(&texts) {
            if self.layer.first_only {
                let out = &mut out[number * hidden..(number + 1) * hidden];
                match if text.is_empty() { None } else { done.next() } {
                    Some(row) => out.copy_from_slice(row),
                    None => out.fill(0.0),
                }
                continue;
            }
            let out = &mut out[number * length * hidden..(number + 1) * length * hidden];
            if text.len() < length {
                out.fill(0.0);
            }
            for place in &places[text.clone()] {
                if let Some(row) = done.next() {
                    out[place * hidden..(place + 1) * hidden].copy_from_slice(row);
                }
            }
        }
        next
    }
}
