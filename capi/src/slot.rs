//! SLOT
//!
//! Replacing a model while it is in use: calls in flight end on the model they
//! began with, later ones use the new one, and none fails for it.

use std::sync::Arc;

use limbeck_sdk::Slot;

use crate::error::limbeck_error;
use crate::ffi::{self, guard};
use crate::model::limbeck_model;
use crate::status::limbeck_status;

/// A place for a model that can be replaced under load. A const handle may be used
/// from many threads, to publish too. The models put into it live as long as it
/// holds them, whatever is freed beside it.
pub struct limbeck_slot {
    slot: Slot,
}

/// Makes a slot with its first model, which also stays yours to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_slot_new(
    model: *const limbeck_model,
    out: *mut *mut limbeck_slot,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model) = unsafe { (ffi::out(out, "out")?, ffi::handle(model, "model")?) };
        ffi::give(out, limbeck_slot { slot: Slot::new(Arc::clone(&model.model)) });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// The model in use, as a handle of your own to free. Ask anew for each call, or
/// for each piece of work that must see one model throughout; it costs nothing to
/// speak of.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_slot_model(
    slot: *const limbeck_slot,
    out: *mut *mut limbeck_model,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, slot) = unsafe { (ffi::out(out, "out")?, ffi::handle(slot, "slot")?) };
        ffi::give(out, limbeck_model::new(slot.slot.model()));
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Counts up with every change of the model, from 1; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_slot_generation(slot: *const limbeck_slot) -> u64 {
    // SAFETY: `slot` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(slot, 0, |slot| slot.slot.generation()) }
}

/// Puts a model in use, if it does the task of the one before, is no older build of
/// it, and passes its own self-test; else the model before stays. The model also
/// stays yours to free. `generation` may be NULL; it gets the new generation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_slot_publish(
    slot: *const limbeck_slot,
    model: *const limbeck_model,
    generation: *mut u64,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (generation, slot, model) =
            unsafe { (ffi::optional_out(generation), ffi::handle(slot, "slot")?, ffi::handle(model, "model")?) };
        let new = slot.slot.publish(Arc::clone(&model.model))?;
        if let Some(generation) = generation {
            *generation = new;
        }
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Goes back to the model before, which stayed in memory; going back again returns
/// to the newer one. LIMBECK_INVALID_ARGUMENT if there is none. `generation` is as
/// in limbeck_slot_publish.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_slot_roll_back(
    slot: *const limbeck_slot,
    generation: *mut u64,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (generation, slot) = unsafe { (ffi::optional_out(generation), ffi::handle(slot, "slot")?) };
        let new = slot.slot.roll_back()?;
        if let Some(generation) = generation {
            *generation = new;
        }
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Gives the memory of the model before back, once the calls that use it have ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_slot_forget_previous(slot: *const limbeck_slot) {
    // SAFETY: `slot` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(slot, (), |slot| slot.slot.forget_previous()) }
}

/// Frees a slot. NULL is allowed. Handles of its models stay good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_slot_free(slot: *mut limbeck_slot) {
    // SAFETY: `slot` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(slot) }
}
