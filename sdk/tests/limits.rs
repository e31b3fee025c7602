//! Cancel tokens and deadlines, and bundles that ONNX Runtime must not see.

mod common;

use std::time::{Duration, Instant};

use common::{builder, data, labels, manifest, open, writer};
use limbeck::bundle::{ElementType, SectionKind, Task};
use limbeck::{BundleWriter, Cancel, ClassifyOptions, Code, Model, Overflow, runtime};

/// A model that takes long texts, and a text it works on for about a second.
fn slow() -> (Model, String) {
    (open(|m| m.max_tokens = 1 << 20), "fox ".repeat(150_000))
}

/// Runs `call` and returns how long it took after `moment`.
fn after(moment: Instant) -> Duration {
    Instant::now().saturating_duration_since(moment)
}

/// Runs a scenario that is made of moments: what else the machine does can spoil one, so it may be tried
/// again, a few times.
fn despite_other_work(scenario: impl Fn()) {
    const TRIES: usize = 6;
    for attempt in 1..=TRIES {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(&scenario)) {
            Ok(()) => return,
            Err(panic) if attempt == TRIES => std::panic::resume_unwind(panic),
            Err(_) => {}
        }
    }
}

#[test]
fn a_token_triggered_before_the_call() {
    let model = open(|_| {});
    let cancel = Cancel::new();
    let options = ClassifyOptions::new().cancel(cancel.clone());
    model.classify_with("a good film", &options).unwrap();
    cancel.cancel();
    assert_eq!(model.classify_with("a good film", &options).unwrap_err().code(), Code::Cancelled);
    assert_eq!(model.classify_batch(&[], &options).unwrap_err().code(), Code::Cancelled);
    model.classify("a good film").unwrap();
}

/// One run of ONNX Runtime is ended from another thread. The control says that
/// the run would have taken much longer.
#[test]
fn a_running_call_is_cancelled() {
    despite_other_work(|| {
        let (model, text) = slow();
        let start = Instant::now();
        let whole = model.classify(&text).unwrap();
        assert_eq!(whole.usage.windows, 1);
        let (whole, run) = (start.elapsed(), whole.usage.timings.inference);

        let cancel = Cancel::new();
        let options = ClassifyOptions::new().cancel(cancel.clone());
        // Shortly after the run has begun: nearly all of it still lies ahead.
        let wait = whole - run * 9 / 10;
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(wait);
            cancel.cancel();
            Instant::now()
        });
        let outcome = model.classify_with(&text, &options);
        let late = after(canceller.join().unwrap());
        assert_eq!(outcome.unwrap_err().code(), Code::Cancelled);
        assert!(late < run / 4, "it ended {late:?} after the cancel; a whole run takes {run:?}");
        // The session is as good as new.
        model.classify("a good film").unwrap();
    });
}

#[test]
fn a_running_call_ends_at_its_deadline() {
    despite_other_work(|| {
        let (model, text) = slow();
        let start = Instant::now();
        let run = model.classify(&text).unwrap().usage.timings.inference;
        let deadline = Instant::now() + start.elapsed() - run * 9 / 10;
        let outcome = model.classify_with(&text, &ClassifyOptions::new().deadline(deadline));
        let late = after(deadline);
        assert_eq!(outcome.unwrap_err().code(), Code::DeadlineExceeded);
        assert!(late < run / 4, "it ended {late:?} after the deadline; a whole run takes {run:?}");
        model.classify_with("a good film", &ClassifyOptions::new().timeout(Duration::from_secs(60))).unwrap();
    });
}

/// What long work promises: an answer to cancel and deadline within this time.
const PROMPT: Duration = Duration::from_millis(50);

/// Cancels a call `wait` after its start, and in another try lets a deadline pass then; both must end it promptly.
fn ends_promptly(wait: Duration, call: impl Fn(&ClassifyOptions) -> limbeck::Result<()>) {
    let cancel = Cancel::new();
    let options = ClassifyOptions::new().overflow(Overflow::AutoWindow).cancel(cancel.clone());
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(wait);
        cancel.cancel();
        Instant::now()
    });
    let outcome = call(&options);
    let late = after(canceller.join().unwrap());
    assert_eq!(outcome.unwrap_err().code(), Code::Cancelled);
    assert!(late < PROMPT, "it ended {late:?} after the cancel");
    let deadline = Instant::now() + wait;
    let outcome = call(&ClassifyOptions::new().overflow(Overflow::AutoWindow).deadline(deadline));
    let late = after(deadline);
    assert_eq!(outcome.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(late < PROMPT, "it ended {late:?} after the deadline");
}

#[test]
fn a_long_batch_ends_promptly() {
    let model = open(|_| {});
    let texts = vec!["the film was not very good"; 60_000];
    // Early, while texts are tokenized, and later, while batches run.
    for part in [0.1, 0.7] {
        despite_other_work(|| {
            // Timed in each try: other work that has ended since would have the batch done before the cancel.
            let start = Instant::now();
            model.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
            let whole = start.elapsed();
            assert!(whole > 4 * PROMPT, "the batch takes only {whole:?}, which proves nothing");
            ends_promptly(whole.mul_f64(part), |options| model.classify_batch(&texts, options).map(drop));
        });
    }
}

#[test]
fn a_text_of_many_windows_ends_promptly() {
    let model = open(|m| m.max_tokens = 32);
    let text = "fox ".repeat(200_000);
    despite_other_work(|| {
        let start = Instant::now();
        let answer = model.classify_with(&text, &ClassifyOptions::new().overflow(Overflow::AutoWindow)).unwrap();
        let (whole, usage) = (start.elapsed(), answer.usage);
        assert!(usage.windows > 1000 && usage.timings.inference > 4 * PROMPT, "{usage:?} proves nothing");
        let wait = whole - usage.timings.inference.mul_f64(0.6);
        ends_promptly(wait, |options| model.classify_with(&text, options).map(drop));
    });
}

#[test]
fn a_deadline_that_has_passed() {
    let model = open(|_| {});
    let options = ClassifyOptions::new().deadline(Instant::now());
    assert_eq!(model.classify_with("a good film", &options).unwrap_err().code(), Code::DeadlineExceeded);
    // So far away that the clock cannot say when: the same as none.
    let options = ClassifyOptions::new().timeout(Duration::MAX);
    model.classify_with("a good film", &options).unwrap();
}

/// With one session, a second call waits; it must not wait past its limits.
#[test]
fn a_waiting_call_gives_up_too() {
    let (model, text) = &slow();
    // One run of several seconds; told to end when the others have given up.
    let text = text.repeat(4);
    let stop = Cancel::new();
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let options = ClassifyOptions::new().cancel(stop.clone());
            model.classify_with(&text, &options).unwrap_err().code()
        });
        // Calls answer until the holder has the session; from then on they wait. On a machine that is busy with other work a
        // call may give up before that, for being slow: so both must, one after the other.
        let (cancelled, late) = loop {
            assert!(!holder.is_finished(), "the holder ended before other calls had to wait");
            let cancel = Cancel::new();
            let options = ClassifyOptions::new().cancel(cancel.clone());
            let waiter = scope.spawn(move || model.classify_with("a good film", &options).map(drop));
            std::thread::sleep(Duration::from_millis(50));
            cancel.cancel();
            let cancelled = waiter.join().unwrap();
            let options = ClassifyOptions::new().timeout(Duration::from_millis(50));
            let late = model.classify_batch(&["a good film"; 100], &options).map(drop);
            if let (Err(cancelled), Err(late)) = (cancelled, late) {
                break (cancelled.code(), late.code());
            }
        };
        assert_eq!((cancelled, late), (Code::Cancelled, Code::DeadlineExceeded));
        assert!(!holder.is_finished(), "both gave up while the session was in use");

        stop.cancel();
        assert_eq!(holder.join().unwrap(), Code::Cancelled);
    });
}

fn opened(writer: BundleWriter) -> limbeck::Error {
    builder().open_bytes(writer.to_bytes().unwrap()).unwrap_err()
}

#[test]
fn a_graph_that_points_out_of_its_bundle_is_refused() {
    let graph = data("tiny.onnx");
    let place = b"model.onnx.data";
    let at = graph.windows(place.len()).position(|window| window == place).unwrap();
    let mut elsewhere = graph.clone();
    elsewhere[at..at + place.len()].copy_from_slice(b"/etc/ssh/secret");
    let make = |graph: Vec<u8>, weights: Vec<u8>| {
        BundleWriter::new(manifest()).classifier(data("tokenizer.json"), graph, weights, &labels())
    };
    let error = opened(make(elsewhere, data("tiny.data")));
    assert_eq!(error.code(), Code::Malformed);
    assert!(error.to_string().contains("/etc/ssh/secret"), "{error}");

    let mut short = data("tiny.data");
    short.pop();
    let error = opened(make(graph, short));
    assert!(error.to_string().contains("lie outside"), "{error}");

    for garbage in [&b""[..], b"\xff\xff\xff", b"no graph at all"] {
        let error = opened(make(garbage.to_vec(), data("tiny.data")));
        assert!([Code::Malformed, Code::Inference].contains(&error.code()), "{error}");
    }
}

#[test]
fn a_graph_must_be_what_the_manifest_says() {
    let message = |writer: BundleWriter| {
        let error = opened(writer);
        assert_eq!(error.code(), Code::Malformed, "{error}");
        error.to_string()
    };
    assert!(message(writer(|m| m.inputs[0].element = ElementType::Int64)).contains("another type"));
    assert!(message(writer(|m| m.outputs[0].name = "scores".into())).contains("no output `scores`"));
    let two = ["a", "b"].map(str::to_owned);
    let fewer =
        BundleWriter::new(manifest()).classifier(data("tokenizer.json"), data("tiny.onnx"), data("tiny.data"), &two);
    assert!(message(fewer).contains("3 columns for 2 labels"));
    let types = writer(|m| {
        let mut types = m.inputs[0].clone();
        types.name = "token_type_ids".into();
        m.inputs.push(types);
    });
    assert!(message(types).contains("no input `token_type_ids`"));
    let unlisted = writer(|m| {
        m.batching = limbeck::bundle::Batching::Single;
        m.inputs.truncate(1);
    });
    assert!(message(unlisted).contains("`attention_mask` that the manifest does not list"));
    assert!(message(writer(|m| m.max_tokens = 2)).contains("leaves no room"));
}

#[test]
fn bundles_for_later_versions_say_what_to_update() {
    let message = |writer: BundleWriter| {
        let error = opened(writer);
        assert_eq!(error.code(), Code::Incompatible, "{error}");
        error.to_string()
    };
    assert!(message(writer(|m| m.requires.sdk = "9.0.0".into())).contains("limbeck library 9.0.0"));
    assert!(message(writer(|m| m.requires.onnxruntime_api = 99)).contains("ONNX Runtime 1.99"));
    assert!(message(writer(|m| m.tokenizer.library = "other".into())).contains("`other`"));
    assert!(message(writer(|m| m.task = Task::Other("translation".into()))).contains("`translation`"));
}

#[test]
fn tokenizers_that_cannot_be_used() {
    let make = |tokenizer: Vec<u8>| {
        opened(BundleWriter::new(manifest()).classifier(tokenizer, data("tiny.onnx"), data("tiny.data"), &labels()))
    };
    assert_eq!(make(b"{}".to_vec()).code(), Code::Tokenizer);
    assert_eq!(make(br#"{"a":1,"a":2}"#.to_vec()).code(), Code::Malformed);
    let small = opened(writer(|m| m.architecture.vocab_size = 3));
    assert_eq!(small.code(), Code::Tokenizer);
}

#[test]
fn settings_out_of_range() {
    for builder in
        [builder().threads(0), builder().sessions(0), builder().threads(100_000), builder().sessions(1 << 40)]
    {
        let error = builder.open_bytes(writer(|_| {}).to_bytes().unwrap()).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let more = builder().threads(2).open_bytes(writer(|_| {}).to_bytes().unwrap()).unwrap();
    more.classify("a good film").unwrap();
}

#[test]
fn unknown_sections_that_may_be_skipped_are_no_hindrance() {
    let bytes = writer(|_| {}).section(SectionKind::Other("hologram".into()), "x", *b"new").to_bytes().unwrap();
    builder().open_bytes(bytes).unwrap().classify("a good film").unwrap();
}

#[test]
fn a_process_has_one_runtime() {
    let info = runtime::load(Some(&common::runtime())).unwrap();
    assert!(info.version.starts_with("1."), "{info:?}");
    assert_eq!(runtime::loaded(), Some(&info));
    assert_eq!(runtime::load(None).unwrap(), info);
    assert_eq!(runtime::load(Some(&common::runtime())).unwrap(), info);

    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("libonnxruntime.so");
    std::fs::copy(common::runtime(), &other).unwrap();
    let error = runtime::load(Some(&other)).unwrap_err();
    assert_eq!(error.code(), Code::RuntimeIncompatible);
    let text = error.to_string();
    assert!(text.contains(other.to_str().unwrap()) && text.contains(info.path.to_str().unwrap()), "{text}");
}
