//! Runs of a causal model: some tokens more, with the keys and values of those before.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use ort::AsPointer;
use ort::session::{IoBinding, RunOptions};
use ort::value::{TensorRef, TensorRefMut, Value, ValueTypeMarker};

use super::cache::{Cache, CacheShape};
use super::cancel::Interrupt;
use super::limits::Limits;
use super::session::{ModelSession, Run, failed, is_wrong_logit, not_finite};
use crate::bundle::check::INPUT_IDS;
use crate::bundle::{LOGITS_FROM, Manifest, POSITION_IDS, past_name, present_name};
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

/// What all steps of a session need, made when it is opened and not for each token.
#[derive(Debug)]
pub(super) struct Steps {
    ids: CString,
    positions: CString,
    from: CString,
    logits: CString,
    /// The inputs and outputs of keys and values, in the order of [`Cache::buffers`].
    kept: Vec<(CString, CString)>,
    /// Room for the positions of a step.
    places: Vec<i32>,
    /// For calls that nobody ends; the others have their own, which stay ended.
    endless: Arc<Run>,
}

impl Steps {
    /// Of a model for generation.
    pub(super) fn new(manifest: &Manifest) -> Result<Steps> {
        let name = |name: &str| {
            CString::new(name).map_err(|_| Error::Inference {
                action: "load the model",
                message: "a tensor has a NUL in its name".to_owned(),
            })
        };
        let kept = |number: usize| {
            let (layer, kind) = (number / 2, ["key", "value"][number % 2]);
            Ok((name(&past_name(kind, layer))?, name(&present_name(kind, layer))?))
        };
        Ok(Steps {
            ids: name(INPUT_IDS)?,
            positions: name(POSITION_IDS)?,
            from: name(LOGITS_FROM)?,
            logits: name(manifest.outputs.first().map_or("", |output| output.name.as_str()))?,
            kept: (0..2 * CacheShape::of(manifest)?.layers).map(kept).collect::<Result<_>>()?,
            places: Vec::new(),
            endless: Arc::new(new_run()?),
        })
    }
}

fn new_run() -> Result<Run> {
    Ok(Run { options: RunOptions::new().map_err(failed(ACTION))? })
}

impl ModelSession {
    /// Reads some tokens after those in `cache`, whose keys and values are added to it, and puts the logits
    /// `[rows, length - logits_from, vocabulary]` into `logits`, which is as large. On an error the cache is as before.
    ///
    /// Everything large is bound where it lies: caches are read and written in place, logits come in `logits`. What a step
    /// allocates are the binding and the handles of what is bound; that does not depend on how much was read.
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

        let missing = || Error::Internal("a step of a model without a cache".to_owned());
        let Steps { ids, positions, from, logits: logits_name, kept, places, endless } =
            self.steps.as_mut().ok_or_else(missing)?;
        let first = [step.logits_from as i64];
        let lengths = step.rows.clone().map(|row| cache.length(row));
        places.clear();
        places.extend(lengths.flat_map(|read| (read..).take(length).map(|place| place as i32)));
        let dims = cache.dims(rows);
        let run = match limits.is_unlimited() {
            true => Arc::clone(endless),
            false => Arc::new(new_run()?),
        };
        {
            let mut bound = Bound::new(&self.session)?;
            for (name, values) in [(ids, step.ids), (positions, places)] {
                let tokens = TensorRef::from_array_view(([rows, length], values)).map_err(failed(ACTION))?;
                bound.input(name, &tokens)?;
            }
            let first = TensorRef::from_array_view(([1], &first[..])).map_err(failed(ACTION))?;
            bound.input(from, &first)?;
            let out = TensorRefMut::from_array_view_mut(([rows, wanted, vocabulary], &mut *logits))
                .map_err(failed(ACTION))?;
            bound.output(logits_name, &out)?;
            for ((past, present), buffer) in kept.iter().zip(cache.buffers(step.rows.clone())) {
                let buffer = buffer.ok_or_else(|| Error::Internal("a cache smaller than its shape".to_owned()))?;
                let buffer = TensorRefMut::from_array_view_mut((dims, buffer)).map_err(failed(ACTION))?;
                // Input and output are the same memory: by that the operator knows to add to it in place.
                bound.input(past, &buffer)?;
                bound.output(present, &buffer)?;
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
    fn input<T: ValueTypeMarker>(&mut self, name: &CStr, value: &Value<T>) -> Result<()> {
        // SAFETY: binding, name and value are live. ONNX Runtime counts references to a value's tensor; the memory
        // that the tensor lies in is borrowed for the whole of `step`, and the binding is gone before its end.
        let status = unsafe { (ort::api().BindInput)(self.binding.ptr_mut(), name.as_ptr(), value.ptr()) };
        taken(status)
    }

    fn output<T: ValueTypeMarker>(&mut self, name: &CStr, value: &Value<T>) -> Result<()> {
        // SAFETY: as in `input`; the memory is borrowed for writing, by the value's type.
        let status = unsafe { (ort::api().BindOutput)(self.binding.ptr_mut(), name.as_ptr(), value.ptr()) };
        taken(status)
    }
}

fn taken(status: ort::sys::OrtStatusPtr) -> Result<()> {
    // SAFETY: the status was just returned and is taken over here.
    unsafe { ort::Error::result_from_status(status) }.map_err(failed(ACTION))
}
