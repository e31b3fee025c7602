//! Memory that ONNX Runtime reads and writes from run to run.

use std::ffi::c_void;
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use ort::memory::MemoryInfo;
use ort::value::{PrimitiveTensorElementType, Shape, TensorRefMut};

use super::session::failed;
use crate::{Error, Result};

/// Numbers at one place, from when they are made until they are dropped. Unlike a `Vec` or a slice it may be written through a
/// pointer that was taken before, between two uses in Rust: it is held by a raw pointer, so that the compiler expects that.
pub(super) struct Buffer<T> {
    numbers: NonNull<[T]>,
}

// SAFETY: it owns its numbers as a `Box` does.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl<T: Copy + Default> Buffer<T> {
    /// Zeros, which take no memory until somebody touches them.
    pub(super) fn new(size: usize) -> Buffer<T> {
        Buffer { numbers: NonNull::from(Box::leak(vec![T::default(); size].into_boxed_slice())) }
    }
}

impl<T: PrimitiveTensorElementType + Debug> Buffer<T> {
    /// The numbers from `start` on, in the given shape, as ONNX Runtime is shown them.
    pub(super) fn tensor(&mut self, start: usize, shape: impl Into<Shape>) -> Result<TensorRefMut<'_, T>> {
        let shape = shape.into();
        let size = shape.num_elements();
        if start.checked_add(size).is_none_or(|end| end > self.numbers.len()) {
            return Err(Error::Internal(format!("{size} numbers from {start} on of {}", self.numbers.len())));
        }
        // SAFETY: `start` is within the numbers.
        let place = unsafe { self.numbers.cast::<T>().add(start) }.as_ptr().cast::<c_void>();
        // SAFETY: `size` numbers lie there, in the CPU's memory, and are borrowed for as long as the tensor lives.
        unsafe { TensorRefMut::from_raw(MemoryInfo::default(), place, shape) }.map_err(failed("run the model"))
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: they are owned and live. ONNX Runtime reads and writes only during a run, which takes what owns the buffer
        // by `&mut`.
        unsafe { self.numbers.as_ref() }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`.
        unsafe { self.numbers.as_mut() }
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: they came from a box, in `new`, and are given back once.
        drop(unsafe { Box::from_raw(self.numbers.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_where_they_are() {
        let mut buffer = Buffer::<i32>::new(3);
        assert_eq!(buffer[..], [0; 3]);
        let place = buffer.numbers.cast::<i32>();
        buffer[1] = 5;
        // SAFETY: within the buffer, which is not otherwise in use.
        unsafe { place.add(1).write(6) };
        assert_eq!(buffer[..], [0, 6, 0]);
        let moved = buffer;
        assert_eq!(moved.numbers.cast::<i32>(), place);
        assert!(Buffer::<f32>::new(0).is_empty());
    }
}
