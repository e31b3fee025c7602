//! Giving ONNX Runtime the weights where they lie.
//!
//! It has three ways to take weights from memory. Measured with version 1.24.4
//! by growth of private memory, for a graph whose weights are one large table
//! that is used as it is:
//!
//! | way | weights | growth |
//! |---|---|---|
//! | as a file in memory, `AddExternalInitializersFromMemory` | 24 MB | 73 MB |
//! | tensor by tensor, `AddExternalInitializers` | 48 MB | 49 MB |
//! | tensor by tensor, `AddInitializer` | 48 MB | nothing |
//!
//! Only the last one also lets sessions share what ONNX Runtime rearranges for
//! speed: with eight matrices of 4 MB, a second session then costs its working
//! memory and not 33 MB more. But ONNX Runtime does not compute with such
//! tensors while it loads a graph, so the second way is right for small ones,
//! which its fusions look into, and for those that are folded into others.
//! `tests/memory.rs` and `tests/classify.rs` hold on to all this.

use std::ffi::CString;
use std::ptr;

use ort::AsPointer;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::SessionBuilder;
use ort::sys::{ONNXTensorElementDataType as Element, OrtValue};

use super::graph::ExternalTensor;

/// Tensors below this many bytes are copied.
const SMALL: usize = 16 * 1024;

/// Weights in use by a session.
#[derive(Debug)]
pub(super) struct Weights {
    _values: Vec<Value>,
}

/// Tells the session to be where its external tensors are. Without `share`
/// they are all copied, which every graph can live with.
///
/// # Safety
/// `weights` must stay where they are, unchanged, and the value returned must
/// be kept, until the session made by `builder` is gone.
pub(super) unsafe fn add(
    builder: &mut SessionBuilder,
    tensors: &[ExternalTensor],
    weights: &[u8],
    share: bool,
) -> Result<Weights, String> {
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
        .map_err(|error| error.to_string())?;
    let mut values = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let name = CString::new(tensor.name.as_str()).map_err(|_| "a tensor has a NUL in its name".to_owned())?;
        let data = weights.get(tensor.range.clone()).ok_or("a tensor lies outside of the weights")?;
        let element = element(tensor.element).ok_or("a tensor has an unknown element type")?;
        let value = Value::over(&memory, data, &tensor.shape, element)?;
        let at = value.0.cast_const();
        let options = builder.ptr_mut();
        // SAFETY: one name and one value, as stated. The name is copied; value
        // and data stay, as the caller promises.
        let status = unsafe {
            if share && data.len() >= SMALL && !tensor.folded {
                (ort::api().AddInitializer)(options, name.as_ptr(), at)
            } else {
                (ort::api().AddExternalInitializers)(options, &name.as_ptr(), &at, 1)
            }
        };
        // SAFETY: the status was just returned and is taken over here.
        unsafe { ort::Error::result_from_status(status) }.map_err(|error| error.to_string())?;
        values.push(value);
    }
    Ok(Weights { _values: values })
}

/// A tensor over memory that is not its own.
#[derive(Debug)]
struct Value(*mut OrtValue);

// SAFETY: nothing but dropping is done with it, and ONNX Runtime counts the
// references to a value atomically.
unsafe impl Send for Value {}

impl Value {
    fn over(memory: &MemoryInfo, data: &[u8], shape: &[i64], element: Element) -> Result<Value, String> {
        let mut value = ptr::null_mut();
        // SAFETY: pointers and lengths belong together. The data are only ever
        // read, although the function's type does not say so. `graph` has
        // checked that they are as many as shape and type need; ONNX Runtime
        // checks it again.
        unsafe {
            let status = (ort::api().CreateTensorWithDataAsOrtValue)(
                memory.ptr(),
                data.as_ptr().cast_mut().cast(),
                data.len(),
                shape.as_ptr(),
                shape.len(),
                element,
                &mut value,
            );
            ort::Error::result_from_status(status).map_err(|error| error.to_string())?;
        }
        Ok(Value(value))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the value came from ONNX Runtime and is released once.
        unsafe { (ort::api().ReleaseValue)(self.0) }
    }
}

/// The element type by its number in onnx.proto, for those that
/// [`super::graph::element_bits`] knows.
fn element(number: u64) -> Option<Element> {
    use Element::*;
    Some(match number {
        1 => ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        2 => ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        3 => ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        4 => ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        5 => ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        6 => ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        7 => ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        9 => ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        10 => ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        11 => ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        12 => ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        13 => ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        16 => ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        21 => ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4,
        22 => ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::graph;

    #[test]
    fn both_lists_of_element_types_agree() {
        for number in 0..40 {
            assert_eq!(super::element(number).is_some(), graph::element_bits(number).is_some(), "{number}");
            if let Some(element) = super::element(number) {
                assert_eq!(element as u64, number);
            }
        }
    }
}
