//! Runs of a causal model: some tokens more, with the keys and values of those before.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::Arc;

use ort::AsPointer;
use ort::session::IoBinding;
use ort::value::{Value, ValueTypeMarker};

use super::buffer::Buffer;
use super::cache::{Cache, CacheShape, Prefix};
use super::cancel::Interrupt;
use super::limits::{Limits, Watch};
use super::memory::CHUNK;
use super::run::Run;
use super::session::{ModelSession, failed, is_wrong_logit, not_finite};
use crate::bundle::check::INPUT_IDS;
use crate::bundle::{LOGITS_FROM, Manifest, POSITION_IDS, past_name, present_name};
use crate::{Error, Result};

const ACTION: &str = "run the model";

/// Tokens that go on from a cache.
pub(crate) struct Step<'a> {
    /// The rows of the cache that read: some of them one token each, or one of them up to [`CHUNK`].
    pub rows: Range<usize>,
    /// Token ids, row by row.
    pub ids: &'a [u32],
    /// From which of a row's tokens on logits are wanted; at most the last.
    pub logits_from: usize,
    /// Which of [`Decoder::logits`] are the first that it gives, counted in tokens.
    pub logits_at: usize,
}

/// Names of the tensors of a session's model.
#[derive(Debug)]
pub(super) struct Names {
    ids: CString,
    positions: CString,
    from: CString,
    logits: CString,
    /// The inputs and outputs of keys and values, in the order of [`Cache::buffers`].
    kept: Vec<(CString, CString)>,
}

impl Names {
    /// Of a model for generation.
    pub(super) fn new(manifest: &Manifest) -> Result<Names> {
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
        Ok(Names {
            ids: name(INPUT_IDS)?,
            positions: name(POSITION_IDS)?,
            from: name(LOGITS_FROM)?,
            logits: name(manifest.outputs.first().map_or("", |output| output.name.as_str()))?,
            kept: (0..2 * CacheShape::of(manifest)?.layers).map(kept).collect::<Result<_>>()?,
        })
    }
}

/// Reads the tokens of some rows, step by step: it has their keys and values, and all else that a run of the model reads and
/// writes. As nothing of that moves, steps of one shape share one binding, and none of them allocates anything here.
pub(crate) struct Decoder {
    // Declared, and so dropped, before the memory that it points to.
    bound: Option<Bound>,
    cache: Cache,
    ids: Buffer<i32>,
    positions: Buffer<i32>,
    from: Buffer<i64>,
    logits: Buffer<f32>,
    vocabulary: usize,
    limits: Limits,
    run: Arc<Run>,
    _watch: Option<Watch>,
}

impl Decoder {
    /// For `rows` rows of at most `capacity` tokens each, with room for the logits of so many tokens; its steps end by `limits`.
    pub(crate) fn new(
        manifest: &Manifest,
        rows: usize,
        capacity: usize,
        logits: usize,
        limits: Limits,
    ) -> Result<Decoder> {
        let vocabulary = manifest.architecture.vocab_size;
        let run = Run::new()?;
        // A call without limits pays nothing for them.
        let watch = match limits.is_unlimited() {
            true => None,
            false => Some(limits.watch(&(Arc::clone(&run) as Arc<dyn Interrupt>))?),
        };
        let together = rows.max(CHUNK);
        Ok(Decoder {
            bound: None,
            cache: Cache::new(CacheShape::of(manifest)?, rows, capacity)?,
            ids: Buffer::new(together),
            positions: Buffer::new(together),
            from: Buffer::new(1),
            logits: Buffer::new(logits.saturating_mul(vocabulary)),
            vocabulary,
            limits,
            run,
            _watch: watch,
        })
    }

    /// What has been read. It changes by what follows alone: it must stay the one that is bound.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Forgets all tokens, and has `rows` rows, at most as many as it was made with, which all begin with `prefix`.
    pub(crate) fn restart(&mut self, rows: usize, prefix: Option<&Prefix>) -> Result<()> {
        match prefix {
            Some(prefix) => self.cache.restart(rows, prefix)?,
            None => self.cache.reset(rows),
        }
        Ok(())
    }

    /// Forgets what a row holds.
    pub(crate) fn forget(&mut self, row: usize) {
        self.cache.forget(row);
    }

    /// Keeps only some rows, given in order.
    pub(crate) fn keep(&mut self, rows: &[usize]) {
        self.cache.keep(rows);
    }

    /// What ends its steps early.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The logits of some tokens, `[tokens, vocabulary]`: those that the steps gave, where they were told to put them. They
    /// may be changed.
    pub(crate) fn logits(&mut self, tokens: Range<usize>) -> &mut [f32] {
        self.logits.get_mut(tokens.start * self.vocabulary..tokens.end * self.vocabulary).unwrap_or_default()
    }

    /// For how many tokens' logits there is room.
    pub(crate) fn logits_room(&self) -> usize {
        self.logits.len().checked_div(self.vocabulary).unwrap_or(0)
    }

    /// Reads some tokens after those that its rows hold, whose keys and values are added to them in place, and puts the logits
    /// `[rows, length - logits_from, vocabulary]` where `step` says. On an error it holds what it held before.
    pub(crate) fn step(&mut self, session: &mut ModelSession, step: &Step<'_>) -> Result<()> {
        self.limits.check()?;
        let rows = step.rows.len();
        let length = step.ids.len().checked_div(rows).unwrap_or(0);
        let wanted = length.saturating_sub(step.logits_from);
        let logits = step.logits_at..step.logits_at + rows * wanted;
        let fits = (length == 1 || (length > 1 && rows == 1))
            && step.ids.len() == rows * length
            && step.ids.len() <= self.ids.len()
            && wanted > 0
            && logits.end <= self.logits_room()
            && step.rows.end <= self.cache.rows()
            && step.rows.clone().all(|row| self.cache.length(row) + length <= self.cache.capacity());
        if !fits {
            return Err(Error::Internal(format!("a step of {rows} rows and {length} tokens that do not fit")));
        }

        self.from[0] = step.logits_from as i64;
        self.ids.iter_mut().zip(step.ids).for_each(|(place, &id)| *place = id as i32);
        let read = step.rows.clone().map(|row| self.cache.length(row));
        let positions = read.flat_map(|read| (read..).take(length).map(|position| position as i32));
        self.positions.iter_mut().zip(positions).for_each(|(place, position)| *place = position);

        let shape = StepShape { rows: step.rows.clone(), length, wanted, logits_at: step.logits_at };
        // Taken out: after an error it is bound anew.
        let bound = match self.bound.take().filter(|bound| bound.shape == shape && bound.is_of(session)) {
            Some(bound) => bound,
            None => self.bind(session, shape)?,
        };
        let outcome = session.session.run_binding_with_options(&bound.binding, &self.run.options).map(drop);
        // As in `ModelSession::run`: what a caller has given up on is not returned, and our own state tells why a run ended.
        self.limits.check()?;
        outcome.map_err(failed(ACTION))?;
        // An input that a device needs elsewhere is copied when it is bound, and not with each run.
        self.bound = Some(bound).filter(|_| session.runs_on_the_cpu());

        // In parts that the compiler looks at many values of at a time: there may be a vocabulary of them for each token.
        let logits = self.logits(logits);
        let wrong = |part: &[f32]| part.iter().fold(false, |found, value| found | is_wrong_logit(value));
        if let Some(part) = logits.chunks(1024).find(|part| wrong(part)) {
            let value = part.iter().copied().find(is_wrong_logit);
            return Err(not_finite("logits", value.unwrap_or(f32::NAN)));
        }
        self.cache.advance(step.rows.clone(), length);
        Ok(())
    }

    /// Binds everything where it lies.
    fn bind(&mut self, session: &ModelSession, shape: StepShape) -> Result<Bound> {
        let missing = || Error::Internal("a step of a model without a cache".to_owned());
        let names = session.names.as_ref().ok_or_else(missing)?;
        let (rows, tokens) = (shape.rows.len(), [shape.rows.len(), shape.length]);
        let dims = self.cache.dims(rows);
        let row = dims[1..].iter().product::<usize>();
        let (logits_start, logits_dims) = (shape.logits_at * self.vocabulary, [rows, shape.wanted, self.vocabulary]);
        let start = shape.rows.start * row;

        let binding = session.session.create_binding().map_err(failed(ACTION))?;
        let mut bound = Bound { binding, session: session.session.ptr().addr(), shape };
        bound.input(&names.ids, &*self.ids.tensor(0, tokens)?)?;
        bound.input(&names.positions, &*self.positions.tensor(0, tokens)?)?;
        bound.input(&names.from, &*self.from.tensor(0, [1_usize])?)?;
        bound.output(&names.logits, &*self.logits.tensor(logits_start, logits_dims)?)?;
        for ((past, present), buffer) in names.kept.iter().zip(self.cache.buffers()) {
            let tensor = buffer.tensor(start, dims)?;
            // Input and output are the same memory: by that the operator knows to add to it in place.
            bound.input(past, &tensor)?;
            bound.output(present, &tensor)?;
        }
        Ok(bound)
    }
}

/// What the tensors of a step have in common with those of another, apart from their values.
#[derive(PartialEq, Eq)]
struct StepShape {
    rows: Range<usize>,
    length: usize,
    wanted: usize,
    logits_at: usize,
}

/// Inputs and outputs of runs, at the places where they lie.
struct Bound {
    binding: IoBinding,
    /// The address of the session that it is for; the binding keeps it in use.
    session: usize,
    shape: StepShape,
}

// SAFETY: nothing is done with the binding through a shared reference to a decoder, which alone has it.
unsafe impl Sync for Bound {}

impl Bound {
    fn is_of(&self, session: &ModelSession) -> bool {
        self.session == session.session.ptr().addr()
    }

    /// `IoBinding::bind_input` of `ort` copies what it does not own, and these are the caches.
    fn input<T: ValueTypeMarker>(&mut self, name: &CStr, value: &Value<T>) -> Result<()> {
        // SAFETY: binding, name and value are live. ONNX Runtime counts references to a value's tensor. The memory that the
        // tensor lies in belongs to a buffer of the decoder that has this binding and runs it, and is dropped after it.
        let status = unsafe { (ort::api().BindInput)(self.binding.ptr_mut(), name.as_ptr(), value.ptr()) };
        taken(status)
    }

    fn output<T: ValueTypeMarker>(&mut self, name: &CStr, value: &Value<T>) -> Result<()> {
        // SAFETY: as in `input`; the decoder is borrowed for writing whenever it runs.
        let status = unsafe { (ort::api().BindOutput)(self.binding.ptr_mut(), name.as_ptr(), value.ptr()) };
        taken(status)
    }
}

fn taken(status: ort::sys::OrtStatusPtr) -> Result<()> {
    // SAFETY: the status was just returned and is taken over here.
    unsafe { ort::Error::result_from_status(status) }.map_err(failed(ACTION))
}
