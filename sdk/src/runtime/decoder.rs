//! Runs of a causal model: some tokens more, with the keys and values of those before.

use std::ffi::CString;
use std::sync::Arc;

use ort::AsPointer;
use ort::session::{IoBinding, RunOptions};
use ort::value::{TensorRef, TensorRefMut, Value, ValueTypeMarker};

use super::cache::Cache;
use super::cancel::Interrupt;
use super::limits::Limits;
use super::session::{ModelSession, Run, failed, inference};
use crate::bundle::check::{ATTENTION_MASK, INPUT_IDS};
use crate::bundle::{LOGITS_FROM, past_name, present_name};
use crate::{Error, Result};

const ACTION: &str = "run the model";

/// Tokens that go on from a cache, all parts row by row.
pub(crate) struct Step<'a> {
    /// Token ids, `[rows, length]`.
    pub ids: &'a [i32],
    /// 1 for a token and 0 for padding, `[rows, past + length]`; not read by a model without mask.
    pub mask: &'a [i32],
    /// From which of these tokens on logits are wanted; at most the last.
    pub logits_from: usize,
}

impl ModelSession {
    /// Reads some tokens after those in `cache`, whose keys and values are added to it, and leaves the logits
    /// `[rows, length - logits_from, vocabulary]` in `logits`. On an error the cache is as before.
    ///
    /// Everything large is bound where it lies: caches are read and written in place, logits come in `logits`.
    pub(crate) fn step(
        &mut self,
        cache: &mut Cache,
        step: &Step<'_>,
        logits: &mut Vec<f32>,
        limits: &Limits,
    ) -> Result<()> {
        limits.check()?;
        let (rows, past) = (cache.rows(), cache.length());
        let length = step.ids.len().checked_div(rows).unwrap_or(0);
        let total = past + length;
        let masked = self.bundle.manifest().inputs.iter().any(|input| input.name == ATTENTION_MASK);
        let whole = length > 0 && step.ids.len() == rows * length && step.logits_from < length;
        if !whole || total > cache.capacity() || (masked && step.mask.len() != rows * total) {
            return Err(Error::Internal(format!("a step of {rows} rows, {past} and {length} tokens that do not fit")));
        }
        let wanted = length - step.logits_from;
        let vocabulary = self.bundle.manifest().architecture.vocab_size;
        logits.clear();
        logits.resize(rows * wanted * vocabulary, 0.0);

        let from = [step.logits_from as i64];
        let (past_dims, present_dims) = (cache.dims(past), cache.dims(total));
        let (past_size, present_size) = (past_dims.iter().product(), present_dims.iter().product());
        let run = Arc::new(Run { options: RunOptions::new().map_err(failed(ACTION))? });
        {
            let mut bound = Bound::new(&self.session)?;
            let ids = TensorRef::from_array_view(([rows, length], step.ids)).map_err(failed(ACTION))?;
            bound.input(INPUT_IDS, &ids)?;
            if masked {
                let mask = TensorRef::from_array_view(([rows, total], step.mask)).map_err(failed(ACTION))?;
                bound.input(ATTENTION_MASK, &mask)?;
            }
            let from = TensorRef::from_array_view(([1], &from[..])).map_err(failed(ACTION))?;
            bound.input(LOGITS_FROM, &from)?;
            let out = TensorRefMut::from_array_view_mut(([rows, wanted, vocabulary], &mut logits[..]))
                .map_err(failed(ACTION))?;
            let name = self.bundle.manifest().outputs.first().map_or("", |output| output.name.as_str());
            bound.output(name, &out)?;
            let Cache { now, next, .. } = &mut *cache;
            for (number, (now, next)) in now.iter().zip(next).enumerate() {
                let (layer, kind) = (number / 2, ["key", "value"][number % 2]);
                let (Some(now), Some(next)) = (now.get(..past_size), next.get_mut(..present_size)) else {
                    return Err(Error::Internal("a cache smaller than its shape".to_owned()));
                };
                let now = TensorRef::from_array_view((past_dims, now)).map_err(failed(ACTION))?;
                bound.input(&past_name(kind, layer), &now)?;
                let next = TensorRefMut::from_array_view_mut((present_dims, next)).map_err(failed(ACTION))?;
                bound.output(&present_name(kind, layer), &next)?;
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
        if logits.iter().any(|value| value.is_nan()) {
            return Err(inference("the output `logits` holds a value that is not a number".to_owned()));
        }
        cache.advance(length);
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
