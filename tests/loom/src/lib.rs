//! The pool's lending under loom: every order in which threads can take, wait, give up and give back is tried.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --release --manifest-path tests/loom/Cargo.toml
//! ```
#![cfg(loom)]
#![allow(dead_code)]

#[path = "../../../sdk/src/runtime/lending.rs"]
mod lending;

/// In the place of the sdk's module of this name.
mod sync {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::PoisonError;
}

#[cfg(test)]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use loom::thread;

    use super::lending::Lending;

    type Patience = Result<Option<std::time::Duration>, &'static str>;

    fn patient() -> Patience {
        Ok(None)
    }

    /// Two threads more than things: nobody has what another has, nobody waits for ever, and no more are made than may
    /// be.
    #[test]
    fn everybody_gets_one() {
        for limit in [1, 2] {
            // Three threads have too many orders to try all: those with at most two forced switches, in which loom's
            // authors found nearly all mistakes to show.
            let mut model = loom::model::Builder::new();
            model.preemption_bound = Some(2);
            model.check(move || {
                let lending = Arc::new(Lending::new(AtomicUsize::new(0), limit));
                let made = Arc::new(AtomicUsize::new(1));
                let work = |lending: Arc<Lending<AtomicUsize>>, made: Arc<AtomicUsize>| {
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        Ok(AtomicUsize::new(0))
                    };
                    // As the pool does it.
                    let mut lent = lending.take_idle().map_or_else(|| lending.take(patient, make), Ok).unwrap();
                    let users = lent.get().unwrap();
                    assert_eq!(users.fetch_add(1, Ordering::Relaxed), 0, "two have the same");
                    users.fetch_sub(1, Ordering::Relaxed);
                };
                let threads: Vec<_> = (0..2)
                    .map(|_| {
                        let (lending, made) = (Arc::clone(&lending), Arc::clone(&made));
                        thread::spawn(move || work(lending, made))
                    })
                    .collect();
                work(Arc::clone(&lending), Arc::clone(&made));
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                assert!(made.load(Ordering::Relaxed) <= limit);
            });
        }
    }

    /// A waiter that is told to give up does so, though nothing is given back.
    #[test]
    fn a_waiter_gives_up() {
        loom::model(|| {
            let lending = Arc::new(Lending::new((), 1));
            let held = lending.take(patient, || Ok(())).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let waiter = {
                let (lending, stop) = (Arc::clone(&lending), Arc::clone(&stop));
                thread::spawn(move || {
                    let patience = || if stop.load(Ordering::SeqCst) { Err("cancelled") } else { Ok(None) };
                    lending.take(patience, || Ok(())).map(drop)
                })
            };
            stop.store(true, Ordering::SeqCst);
            lending.wake();
            assert_eq!(waiter.join().unwrap(), Err("cancelled"));
            drop(held);
        });
    }

    /// Making one fails: its place is free for the next, who must not wait for what never comes.
    #[test]
    fn a_failure_gives_its_place_back() {
        loom::model(|| {
            let lending = Arc::new(Lending::new((), 2));
            let held = lending.take(patient, || Ok(())).unwrap();
            let failing = {
                let lending = Arc::clone(&lending);
                thread::spawn(move || lending.take(patient, || Err("no memory")).map(drop))
            };
            // Either makes the second one or waits until the failed place is free.
            drop(lending.take(patient, || Ok(())).unwrap());
            // It may have got the one given back.
            assert!(matches!(failing.join().unwrap(), Ok(()) | Err("no memory")));
            drop(held);
        });
    }

    /// What is given back wakes one whose patience ends just then: the one who still waits gets it.
    #[test]
    fn giving_back_wakes_the_right_one() {
        loom::model(|| {
            let lending = Arc::new(Lending::new((), 1));
            let held = lending.take(patient, || Ok(())).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let fickle = {
                let (lending, stop) = (Arc::clone(&lending), Arc::clone(&stop));
                thread::spawn(move || {
                    let patience = || if stop.load(Ordering::SeqCst) { Err("cancelled") } else { Ok(None) };
                    let _ = lending.take(patience, || Ok(())).map(drop);
                })
            };
            let steady = {
                let lending = Arc::clone(&lending);
                thread::spawn(move || lending.take(patient, || Ok(())).map(drop).unwrap())
            };
            stop.store(true, Ordering::SeqCst);
            drop(held);
            fickle.join().unwrap();
            steady.join().unwrap();
        });
    }
}
