//! The text of panics, taken without printing it. The library for the JVM takes this file in with `#[path]`.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the panic hook, which would print. The library holds its own copy
/// of Rust's standard library, so this is not seen by Rust code elsewhere in
/// the process. Left out of the unit tests: they want panics printed.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if !cfg!(test) {
            std::panic::set_hook(Box::new(|info| {
                let text = info.to_string();
                let _ = LAST.try_with(|last| last.replace(Some(text)));
            }));
        }
    });
}

pub(crate) fn of(payload: Box<dyn Any + Send>) -> String {
    let text = LAST.try_with(|last| last.take()).ok().flatten();
    let text = text
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    // Dropping a payload runs foreign code, which could panic again.
    if !payload.is::<&str>() && !payload.is::<String>() {
        std::mem::forget(payload);
    }
    text
}
