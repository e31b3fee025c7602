//! Replacing a model under load.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use limbeck::{Code, Model, Slot};

/// The tiny model as this build, from bytes that all openings share.
fn opener() -> impl Fn(u64) -> Model {
    let builds: Vec<Arc<[u8]>> =
        (1..=3).map(|build| common::writer(|manifest| manifest.build = build).to_bytes().unwrap().into()).collect();
    move |build| common::builder().open_bytes(Arc::clone(&builds[build as usize - 1])).unwrap()
}

#[test]
fn models_are_published_and_taken_back() {
    let open = opener();
    let slot = Slot::new(open(1));
    let first = slot.model();
    assert_eq!(slot.roll_back().unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(slot.publish(open(2)).unwrap(), 2);
    assert_eq!(slot.model().bundle().manifest().build, 2);
    // Whoever holds the old one goes on with it.
    first.classify("the film").unwrap();
    assert_eq!(slot.roll_back().unwrap(), 3);
    assert!(Arc::ptr_eq(&slot.model(), &first));
    assert_eq!((slot.roll_back().unwrap(), slot.model().bundle().manifest().build), (4, 2));
    slot.forget_previous();
    assert!(slot.roll_back().is_err());
    assert_eq!(Arc::strong_count(&first), 1);
}

#[test]
fn what_must_not_be_published_leaves_the_model_in_use() {
    let open = opener();
    let slot = Slot::new(open(2));
    let before = slot.model();
    let error = slot.publish(open(1)).unwrap_err();
    assert_eq!(error.code(), Code::Rollback);
    assert!(error.to_string().contains("build 1"), "{error}");
    // One that fails its own self-test.
    let expected = slot.model().self_test_vector(&["the film"]).unwrap();
    let self_test = |by: f32| {
        let mut vector = expected.clone();
        vector.outputs[0].iter_mut().for_each(|value| *value += by);
        let test = limbeck::bundle::SelfTest { tolerance: 1e-3, vectors: vec![vector] };
        let bytes = common::writer(|manifest| manifest.build = 3).self_test(&test).to_bytes().unwrap();
        common::builder().open_bytes(bytes).unwrap()
    };
    assert_eq!(slot.publish(self_test(1.0)).unwrap_err().code(), Code::SelfTest);
    assert!(Arc::ptr_eq(&slot.model(), &before) && slot.generation() == 1);
    slot.publish(self_test(0.0)).unwrap();
}

/// Four threads classify while models are swapped; no call fails, and no model stays behind.
fn swap_under_load(swaps: u64) {
    let open = opener();
    let slot = Slot::new(open(1));
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut published: Vec<Weak<Model>> = vec![Arc::downgrade(&slot.model())];
    let (mut resident, mut most) = (0.0, 0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (slot, stop, calls) = (&slot, &stop, &calls);
            scope.spawn(move || {
                let texts = ["the film", "was not very good", "a", "the the the the the the"];
                while !stop.load(Ordering::Relaxed) {
                    let answer = slot.model().classify(texts[thread]).expect("no call fails");
                    assert_eq!(answer.labels.len(), 3);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 0..swaps {
            let model = Arc::new(open(1));
            // A weak reference keeps the memory of what it refers to, so those of dropped models go.
            published.retain(|model| model.strong_count() > 0);
            published.push(Arc::downgrade(&model));
            most = most.max(published.len());
            slot.publish(model).expect("a swap");
            if swap % 10 == 9 {
                slot.roll_back().expect("the way back");
            }
            if swap == swaps / 5 {
                resident = resident_mb();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let alive = published.iter().filter(|model| model.strong_count() > 0).count();
    assert_eq!(alive, 2, "the model in use and the one before");
    let growth = resident_mb() - resident;
    println!(
        "{swaps} swaps, {} calls, none failed; {alive} models alive, {most} at most; resident memory {resident:.1} MB after a fifth of the swaps, {growth:+.1} MB since",
        calls.load(Ordering::Relaxed)
    );
    // The one in use, the one before, the new one, and what each of four threads may still hold.
    assert!(most <= 7, "{most} models at a time");
    assert!(growth < 8.0, "{growth} MB more");
    assert!(calls.load(Ordering::Relaxed) > swaps / 10);
}

#[test]
fn swaps_under_load() {
    swap_under_load(400);
}

/// The promise of the documentation. Run by name: `cargo test -p limbeck --release --test slot -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes; the last result is in docs/soak.md"]
fn ten_thousand_swaps_under_load() {
    swap_under_load(10_000);
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
