//! Runs of a causal model: some tokens more, with the keys and values of those before.

use std::ffi::CString;
use std::ops::Range;
use std::sync::Arc;

use ort::AsPointer;
use ort::session::{IoBinding, RunOptions};
use ort::value::{TensorRef, TensorRefMut, Value, ValueTypeMarker};

use super::cache::Cache;
use super::cancel::Interrupt;
use super::limits::Limits;
use super::session::{ModelSession, Run, failed, inference, is_wrong_logit, not_finite};
use crate::bundle::check::INPUT_IDS;
use crate::bundle::{LOGITS_FROM, POSITION_IDS, past_name, present_name};
use crate::{Error, Result};

const ACTION: &str = "run the model";

/// Tokens that go on from a cache.
pub(crate) struct Step<'a> {
    /// The rows of the cache that read: some of them one token each, or one of them any number.
    pub rows: Range<usize>,
    /// Token ids, row by row.
    pub ids: &'a [i32],
    /// From which of a row's tokens on logits are wanted; at most the last.
    pub logits_from: usize,
}

impl ModelSession {
    /// Reads some tokens after those in `cache`, whose keys and values are added to it, and puts the logits
    /// `[rows, length - logits_from, vocabulary]` into `logits`, which is as large. On an error the cache is as before.
    ///
    /// Everything large is bound where it lies: caches are read and written in place, logits come in `logits`.
    pub(crate) fn step(
        &mut self,
        cache: &mut Cache,
        step: &Step<'_>,
        logits: &mut [f32],
        limits: &Limits,
    ) -> Result<()> {
        limits.check()?;
        let rows = step.rows.len();
        let length = step.ids.len().checked_div(rows).unwrap_or(0);
        let wanted = length.saturating_sub(step.logits_from);
        let vocabulary = self.bundle.manifest().architecture.vocab_size;
        let fits = (length == 1 || (length > 1 && rows == 1))
            && step.ids.len() == rows * length
            && wanted > 0
            && logits.len() == rows * wanted * vocabulary
            && step.rows.end <= cache.rows()
            && step.rows.clone().all(|row| cache.length(row) + length <= cache.capacity());
        if !fits {
            return Err(Error::Internal(format!("a step of {rows} rows and {length} tokens that do not fit")));
        }

        let from = [step.logits_from as i64];
        let places = step.rows.clone().flat_map(|row| (cache.length(row)..).take(length).map(|place| place as i32));
        let places: Vec<i32> = places.collect();
        let dims = cache.dims(rows);
        let run = Arc::new(Run { options: RunOptions::new().map_err(failed(ACTION))? });
        {
            let mut bound = Bound::new(&self.session)?;
            for (name, values) in [(INPUT_IDS, step.ids), (POSITION_IDS, &places)] {
                let tokens = TensorRef::from_array_view(([rows, length], values)).map_err(failed(ACTION))?;
                bound.input(name, &tokens)?;
            }
            let from = TensorRef::from_array_view(([1], &from[..])).map_err(failed(ACTION))?;
            bound.input(LOGITS_FROM, &from)?;
            let out = TensorRefMut::from_array_view_mut(([rows, wanted, vocabulary], &mut *logits))
                .map_err(failed(ACTION))?;
            let name = self.bundle.manifest().outputs.first().map_or("", |output| output.name.as_str());
            bound.output(name, &out)?;
            for (number, buffer) in cache.buffers(step.rows.clone()).enumerate() {
                let (layer, kind) = (number / 2, ["key", "value"][number % 2]);
                let buffer = buffer.ok_or_else(|| Error::Internal("a cache smaller than its shape".to_owned()))?;
                let buffer = TensorRefMut::from_array_view_mut((dims, buffer)).map_err(failed(ACTION))?;
                // Input and output are the same memory: by that the operator knows to add to it in place.
                bound.input(&past_name(kind, layer), &buffer)?;
                bound.output(&present_name(kind, layer), &buffer)?;
            }
            let watch = match limits.is_unlimited() {
                true => None,
                false => Some(limits.watch(&(Arc::clone(&run) as Arc<dyn Interrupt>))?),
            };
            let outcome = self.session.run_binding_with_options(&bound.binding, &run.options).map(drop);
            drop(watch);
            // As in `run`: what a caller has given up on is not returned, and our own state tells why a run ended.
            limits.check()?;
            outcome.map_err(failed(ACTION))?;
        }
        // In parts that the compiler looks at many values of at a time: there may be a vocabulary of them for each token.
        let wrong = |part: &[f32]| part.iter().fold(false, |found, value| found | is_wrong_logit(value));
        if let Some(part) = logits.chunks(1024).find(|part| wrong(part)) {
            let value = part.iter().copied().find(is_wrong_logit);
            return Err(not_finite("logits", value.unwrap_or(f32::NAN)));
        }
        cache.advance(step.rows.clone(), length);
        Ok(())
    }
}

/// Inputs and outputs of one run, at the places where they lie.
struct Bound {
    binding: IoBinding,
}

impl Bound {
    fn new(session: &ort::session::Session) -> Result<Bound> {
        Ok(Bound { binding: session.create_binding().map_err(failed(ACTION))? })
    }

    /// `IoBinding::bind_input` of `ort` copies what it does not own, and these are the caches.
    fn input<T: ValueTypeMarker>(&mut self, name: &str, value: &Value<T>) -> Result<()> {
        let name = c_name(name)?;
        // SAFETY: binding, name and value are live. ONNX Runtime counts references to a value's tensor; the memory
        // that the tensor lies in is borrowed for the whole of `step`, and the binding is gone before its end.
        let status = unsafe { (ort::api().BindInput)(self.binding.ptr_mut(), name.as_ptr(), value.ptr()) };
        taken(status)
    }

    fn output<T: ValueTypeMarker>(&mut self, name: &str, value: &Value<T>) -> Result<()> {
        let name = c_name(name)?;
        // SAFETY: as in `input`; the memory is borrowed for writing, by the value's type.
        let status = unsafe { (ort::api().BindOutput)(self.binding.ptr_mut(), name.as_ptr(), value.ptr()) };
        taken(status)
    }
}

fn c_name(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| inference("a tensor has a NUL in its name".to_owned()))
}

fn taken(status: ort::sys::OrtStatusPtr) -> Result<()> {
    // SAFETY: the status was just returned and is taken over here.
    unsafe { ort::Error::result_from_status(status) }.map_err(failed(ACTION))
}
