//! What Kotlin holds is a number, never a pointer; what it stands for lives here. So a handle that was closed is found
//! to be closed, from whatever thread, and a call that runs while another thread closes its model ends undisturbed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use limbeck_sdk::{Bundle, Cancel, FewShotHead, Model, Slot};

use crate::failure::Failure;

/// What a number can stand for.
#[derive(Clone)]
pub(crate) enum Handle {
    Bundle(Bundle),
    Model(Arc<Model>),
    Head(Arc<FewShotHead>),
    Slot(Arc<Slot>),
    Cancel(Cancel),
}

impl Handle {
    fn name(&self) -> &'static str {
        match self {
            Self::Bundle(_) => Bundle::NAME,
            Self::Model(_) => Arc::<Model>::NAME,
            Self::Head(_) => Arc::<FewShotHead>::NAME,
            Self::Slot(_) => Arc::<Slot>::NAME,
            Self::Cancel(_) => Cancel::NAME,
        }
    }
}

/// A type of which there are handles.
pub(crate) trait Handled: Sized {
    const NAME: &'static str;
    fn wrap(self) -> Handle;
    fn of(handle: &Handle) -> Option<Self>;
}

macro_rules! handled {
    ($($variant:ident $type:ty, $name:literal;)*) => {$(
        impl Handled for $type {
            const NAME: &'static str = $name;
            fn wrap(self) -> Handle {
                Handle::$variant(self)
            }
            fn of(handle: &Handle) -> Option<Self> {
                match handle {
                    Handle::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        }
    )*};
}

handled! {
    Bundle Bundle, "bundle";
    Model Arc<Model>, "model";
    Head Arc<FewShotHead>, "head";
    Slot Arc<Slot>, "slot";
    Cancel Cancel, "cancel token";
}

static OPEN: LazyLock<RwLock<HashMap<i64, Handle>>> = LazyLock::new(RwLock::default);
/// Numbers are never used again.
static NEXT: AtomicI64 = AtomicI64::new(1);

/// A number for what Kotlin is to hold.
pub(crate) fn give(value: impl Handled) -> i64 {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OPEN.write().unwrap_or_else(PoisonError::into_inner).insert(number, value.wrap());
    number
}

/// What a number stands for.
pub(crate) fn get<T: Handled>(number: i64) -> Result<T, Failure> {
    let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    let handle = open.get(&number).ok_or_else(|| closed(T::NAME))?;
    T::of(handle).ok_or_else(|| Failure::internal(format!("a {} was given for a {}", handle.name(), T::NAME)))
}

/// Forgets a number. What it stands for goes when the last call that uses it has ended.
pub(crate) fn close(number: i64) -> Result<(), Failure> {
    // Dropped after the lock: to free a model takes its time.
    let handle = OPEN.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    handle.map(drop).ok_or_else(|| closed("handle"))
}

/// How many are open.
pub(crate) fn open() -> usize {
    OPEN.read().unwrap_or_else(PoisonError::into_inner).len()
}

fn closed(name: &str) -> Failure {
    Failure::argument(format!("the {name} is closed: do not use it after close()"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_handle_is_known_as_one_and_its_number_is_not_used_again() {
        let first = give(Cancel::new());
        let kept: Cancel = get(first).unwrap();
        close(first).unwrap();
        let second = give(Cancel::new());
        assert_ne!(first, second);
        assert!(get::<Cancel>(first).err().unwrap().to_string().contains("the cancel token is closed"));
        assert!(close(first).unwrap_err().to_string().contains("closed"));
        // Who holds it goes on.
        kept.cancel();
        assert!(kept.is_cancelled());
        assert!(get::<Arc<Model>>(second).err().unwrap().to_string().contains("a cancel token was given for a model"));
        close(second).unwrap();
    }
}
