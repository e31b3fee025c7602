//! What a step of writing allocates: in the library and in ONNX Runtime, which is why `malloc` itself is counted. The library
//! asks for the text of the token and nothing else: all that a run reads and writes is bound once. ONNX Runtime's own part does
//! not depend on the context: it makes names, lists of inputs and outputs, and tensors for what one operator gives the next,
//! whose memory comes from its arena. What Rust code asks for is counted beside it, so that the library's part has its own bound.
#![cfg(target_env = "gnu")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use limbeck::{Cancel, GenerateOptions, Model};
use limbeck_export::arch::{Head, ModelConfig};
use limbeck_tests::bundles::Recipe;
use limbeck_tests::{cache, seeded};

static COUNTING: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static RUST_CALLS: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    if COUNTING.load(Ordering::Relaxed) {
        BYTES.fetch_add(bytes, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

/// The system's, of which calls are counted.
struct Counting;

fn count_rust() {
    RUST_CALLS.fetch_add(usize::from(COUNTING.load(Ordering::Relaxed)), Ordering::Relaxed);
}

#[global_allocator]
static COUNTED: Counting = Counting;

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_rust();
        // SAFETY: by this function's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_rust();
        // SAFETY: by this function's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_rust();
        // SAFETY: by this function's contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: by this function's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
}

/// Takes the place of glibc's for the whole process, ONNX Runtime included, and counts.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    count(size);
    // SAFETY: glibc's own, by its other name.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(number: usize, size: usize) -> *mut c_void {
    count(number.saturating_mul(size));
    // SAFETY: as in `malloc`.
    unsafe { __libc_calloc(number, size) }
}

/// # Safety
/// `memory` is NULL or came from this allocator.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    count(size);
    // SAFETY: as in `malloc`; `memory` by this function's contract.
    unsafe { __libc_realloc(memory, size) }
}

#[unsafe(no_mangle)]
extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    count(size);
    // SAFETY: as in `malloc`.
    unsafe { __libc_memalign(alignment, size) }
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    memalign(alignment, size)
}

/// # Safety
/// `memory` is a place for a pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(memory: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    const ENOMEM: c_int = 12;
    let found = memalign(alignment, size);
    if found.is_null() {
        return ENOMEM;
    }
    // SAFETY: by this function's contract.
    unsafe { *memory = found };
    0
}

const CONTEXT: usize = 2048;

/// Bytes and calls of each step, and those of the calls that Rust code made; the first step reads the prompt.
fn steps(model: &Model, options: &GenerateOptions, tokens: usize) -> Vec<[usize; 3]> {
    let mut stream = model.generate("the", options).unwrap();
    let mut steps = Vec::with_capacity(tokens);
    for _ in 0..tokens {
        let before = [&BYTES, &CALLS, &RUST_CALLS].map(|counter| counter.load(Ordering::Relaxed));
        COUNTING.store(true, Ordering::Relaxed);
        let piece = stream.next();
        COUNTING.store(false, Ordering::Relaxed);
        piece.unwrap().unwrap();
        let after = [&BYTES, &CALLS, &RUST_CALLS].map(|counter| counter.load(Ordering::Relaxed));
        steps.push(std::array::from_fn(|at| after[at] - before[at]));
    }
    steps
}

#[test]
#[ignore = "run by the other test in a process of its own"]
fn writer() {
    let bundle = {
        let _turn = seeded(120);
        let config = |config| ModelConfig { position_rows: CONTEXT, ..config };
        Recipe { max_tokens: CONTEXT, config, ..Recipe::new(Head::CausalLm, &[]) }.make().bundle
    };
    let model = Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bundle).unwrap();
    let tokens = CONTEXT - 8;
    let plain = GenerateOptions::new().max_new_tokens(tokens).ignore_eos(true);
    let drawn = plain.clone().temperature(1.0).top_p(0.9).repetition_penalty(1.1).log_probabilities(true);
    let limited = plain.clone().cancel(Cancel::new()).timeout(Duration::from_secs(3600));
    for (name, options) in [("greedy", plain), ("drawn", drawn), ("limited", limited)] {
        let steps = steps(&model, &options, tokens);
        // The middle one of some steps: what is written grows, and so, now and then, does the room for it.
        let usual = |from: usize| {
            let mut some = steps[from..from + 64].to_vec();
            some.sort_unstable();
            some[32]
        };
        let most = |from: usize| steps[from..from + 512].iter().map(|step| step[0]).max().unwrap_or(0);
        let (early, late) = (usual(16), usual(tokens - 65));
        println!(
            "\n{name}: a step allocates {} bytes in {} calls, {} of them Rust's, at context 16, {} in {} at {tokens}; at \
             most {} and {}",
            early[0],
            early[1],
            early[2],
            late[0],
            late[1],
            most(16),
            most(tokens - 513)
        );
        assert!(late.iter().zip(&early).all(|(late, early)| late <= early), "{name}: {early:?} {late:?}");
        // Nor does any step, now and then, allocate as much as keys and values of the context.
        assert!(most(tokens - 513) <= 2 * early[0], "{name}: {early:?} {}", most(tokens - 513));
        // The library's part: the text of the token, which its caller is given.
        assert!(early[2] <= 1, "{name}: {} calls", early[2]);
        assert!(early[0] > 0 && early[1] > early[2], "nothing was counted");
        println!("measured {name}");
    }
}

/// Keys and values of 2,000 tokens take 1.5 MB in this model, and a step allocates as little after them as after 16.
#[test]
fn a_step_allocates_as_little_however_long_the_context_is() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "steps::writer", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for name in ["greedy", "drawn", "limited"] {
        let measured = text.contains(&format!("measured {name}"));
        assert!(measured, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    for line in text.lines().filter(|line| line.contains("a step allocates")) {
        println!("{line}");
    }
}
