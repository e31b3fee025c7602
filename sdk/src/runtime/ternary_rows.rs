//! `TernaryRows`, the lookup of a table of ternary weights, as a custom operator of ONNX Runtime.
//!
//! | input | shape | |
//! |---|---|---|
//! | `ids` | any | int32, rows of the table |
//! | `codes` | `[rows, ceil(width / 4)]`, constant | uint8, four codes a byte: [`crate::int8::pack_ternary`] |
//! | `scales` | `[rows]`, constant | fp32 |
//!
//! Attribute: `width`. Output: the shape of `ids`, then `width`; fp32, code times the scale of its row.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use limbeck_int8::all_ternary;

use super::int8_layers::{Constant, constant, values};
use crate::int8::TERNARY_ROWS;

/// Codes in a byte.
const CODES: usize = 4;

/// The operator.
pub(super) struct TernaryRows;

/// One table of one session.
pub(super) struct TernaryRowsKernel<'a> {
    codes: &'a [u8],
    scales: &'a [f32],
    width: usize,
    // Declared, and so dropped, after what reads them.
    _constants: [Constant<'a>; 2],
}

impl Operator for TernaryRows {
    type Kernel<'attr> = TernaryRowsKernel<'attr>;

    fn name(&self) -> &str {
        TERNARY_ROWS
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        use TensorElementType::{Float32, Int32, Uint8};
        [Int32, Uint8, Float32].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<TernaryRowsKernel<'attr>> {
        let wrong = |what: String| ort::Error::new(format!("{TERNARY_ROWS}: {what}"));
        let width: Option<i64> = context.get("width");
        let width = width.and_then(|width| usize::try_from(width).ok()).filter(|&width| width > 0);
        let width = width.ok_or_else(|| wrong("no attribute width, or one that is not above 0".to_owned()))?;
        let constants = [constant(context, 1).map_err(&wrong)?, constant(context, 2).map_err(&wrong)?];
        let (shape, codes) = values::<u8>(&constants[0]).map_err(&wrong)?;
        let (_, scales) = values::<f32>(&constants[1]).map_err(&wrong)?;
        let expected = [scales.len(), width.div_ceil(CODES)].map(|size| size as i64);
        if scales.is_empty() || shape != expected {
            return Err(wrong(format!("codes of the shape {shape:?} and {} scales for rows of {width}", scales.len())));
        }
        if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(wrong(format!("scales with {scale} among them")));
        }
        if !all_ternary(codes) {
            return Err(wrong("codes with -2 among them, where only -1, 0 and 1 may be".to_owned()));
        }
        Ok(TernaryRowsKernel { codes, scales, width, _constants: constants })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = context.inputs();
        let Some(ValueType::Tensor { shape, dimension_symbols, .. }) = inputs.into_iter().next() else {
            return Ok(());
        };
        let width: i64 = context.attr("width")?;
        if width <= 0 {
            return Err(ort::Error::new(format!("{TERNARY_ROWS}: rows of {width}")));
        }
        let ty = TensorElementType::Float32;
        let symbols = dimension_symbols.iter().cloned().chain([String::new()]);
        let dimension_symbols = SymbolicDimensions::new(symbols);
        let shape = Shape::new(shape.iter().copied().chain([width]));
        context.set_output(0, &ValueType::Tensor { ty, shape, dimension_symbols })
    }
}

impl Kernel for TernaryRowsKernel<'_> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // ONNX Runtime calls this from C++, which no panic may reach.
        catch_unwind(AssertUnwindSafe(|| self.try_compute(context))).unwrap_or_else(|_| {
            Err(ort::Error::new(format!("{TERNARY_ROWS} has panicked; this is a mistake in limbeck")))
        })
    }
}

impl TernaryRowsKernel<'_> {
    fn try_compute(&self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new(format!("{TERNARY_ROWS} was run without its input"));
        let input = context.input(0)?.ok_or_else(missing)?;
        let (shape, ids) = input.try_extract_tensor::<i32>()?;
        let shape: Vec<usize> = shape.iter().map(|&size| size.max(0) as usize).chain([self.width]).collect();
        let mut output = context.output(0, shape)?.ok_or_else(missing)?;
        let (_, out) = output.try_extract_tensor_mut::<f32>()?;
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(self.width)) {
            let row = usize::try_from(id).ok().filter(|&row| row < self.scales.len());
            let Some(row) = row else {
                return Err(ort::Error::new(format!(
                    "{TERNARY_ROWS} was asked for row {id} of a table of {}",
                    self.scales.len()
                )));
            };
            let bytes = self.width.div_ceil(CODES);
            read(&self.codes[row * bytes..][..bytes], self.scales[row], out);
        }
        Ok(())
    }
}

/// A row's values.
fn read(bytes: &[u8], scale: f32, out: &mut [f32]) {
    for (&byte, out) in bytes.iter().zip(out.chunks_mut(CODES)) {
        for (place, out) in out.iter_mut().enumerate() {
            // Two bits with their sign: up to the top of a byte and down again.
            let code = ((byte << (6 - 2 * place)) as i8) >> 6;
            *out = f32::from(code) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::int8::pack_ternary;

    #[test]
    fn rows_are_their_codes_times_their_scale() {
        let codes = [1, 0, -1, 1, 0, -1, -1];
        let mut out = [9.0; 7];
        read(&pack_ternary(&codes).unwrap(), 0.5, &mut out);
        assert_eq!(out, codes.map(|code| f32::from(code) * 0.5));
    }
}
