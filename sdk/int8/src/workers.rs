//! Work shared between threads.

use std::marker::PhantomData;
use std::ops::Range;

/// Threads that a run may use.
pub trait Workers: Sync {
    /// How many.
    fn count(&self) -> usize;

    /// Calls `task` with every number below `tasks`, at most [`Self::count`] at a time.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Workers for Alone {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// As many threads as tasks.
#[cfg(test)]
pub(super) struct Threads(pub usize);

#[cfg(test)]
impl Workers for Threads {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for number in 0..tasks {
                scope.spawn(move || task(number));
            }
        });
    }
}

/// Splits `0..whole` in pieces of about one size, a piece a worker, and calls `work` with the worker's number and its
/// piece. Fewer than `least` are not split off.
pub(super) fn split(workers: &dyn Workers, whole: usize, least: usize, work: &(dyn Fn(usize, Range<usize>) + Sync)) {
    let pieces = workers.count().min(whole / least.max(1)).max(1);
    if pieces == 1 {
        return work(0, 0..whole);
    }
    workers.run(pieces, &|piece| work(piece, whole * piece / pieces..whole * (piece + 1) / pieces));
}

/// A buffer of which several threads write different parts.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a, T> {
    start: *mut T,
    length: usize,
    _buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]`, whose parts are handed out under the promise of `part`.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: the same.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(super) fn new(buffer: &'a mut [T]) -> Self {
        Self { start: buffer.as_mut_ptr(), length: buffer.len(), _buffer: PhantomData }
    }

    /// Where a part begins.
    ///
    /// # Panics
    /// Outside of the buffer.
    pub(super) fn place(&self, range: Range<usize>) -> *mut T {
        assert!(range.start <= range.end && range.end <= self.length, "a part lies outside of its buffer");
        self.start.wrapping_add(range.start)
    }

    /// A part.
    ///
    /// # Panics
    /// Outside of the buffer.
    ///
    /// # Safety
    /// Parts that are in use at one time must not overlap.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: inside of the buffer, which is borrowed for 'a; the caller keeps parts apart.
        unsafe { std::slice::from_raw_parts_mut(self.place(range.clone()), range.len()) }
    }
}
