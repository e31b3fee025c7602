//! What a call costs beyond running the graph: calls through the library and bare ONNX Runtime runs take turns, on the
//! same session. And the memory of each model. Prints one JSON object; run by `cargo xtask bench`.

mod common;

use std::time::{Duration, Instant};

use limbeck::internals;

use common::{bundles, open, text_of};

const PAIRS: usize = 3000;
const WARM_UP: usize = 200;

fn main() {
    let Some(folder) = bundles() else { return };
    let mut arguments = std::env::args().skip(1);
    // One model a process, so that its memory is its own. cargo adds `--bench`.
    let Some(name) = arguments.find(|argument| argument.ends_with(".limbeck")) else {
        let program = std::env::current_exe().expect("this program");
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .expect("the bundles")
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| name.ends_with(".limbeck"))
            .collect();
        names.sort();
        for name in names {
            assert!(std::process::Command::new(&program).arg(name).status().expect("a child").success());
        }
        return;
    };
    let before = memory("VmRSS:");
    let started = Instant::now();
    let model = open(&name);
    let open_ms = started.elapsed().as_secs_f64() * 1e3;
    let opened = memory("VmRSS:");
    let mut cases = Vec::new();
    for tokens in [8, 32, 128] {
        let text = text_of(&model, tokens);
        let ids: Vec<i32> = model.tokenize(&text).expect("tokens").ids.iter().map(|&id| id as i32).collect();
        let mut whole = Vec::with_capacity(PAIRS);
        let mut bare = Vec::with_capacity(PAIRS);
        for pair in 0..WARM_UP + PAIRS {
            let call = || timed(|| drop(model.embed(&text).expect("a vector")));
            let run = || {
                timed(|| {
                    std::hint::black_box(internals::bare_run(&model, &ids).expect("a value"));
                })
            };
            // Each goes first every other time.
            let (a, b) = if pair % 2 == 0 {
                let a = call();
                (a, run())
            } else {
                let b = run();
                (call(), b)
            };
            if pair >= WARM_UP {
                whole.push(a);
                bare.push(b);
            }
        }
        let (whole, bare) = (median(&mut whole), median(&mut bare));
        cases.push(format!(
            "{{\"tokens\":{tokens},\"pairs\":{PAIRS},\"call_us\":{whole:.2},\"bare_us\":{bare:.2},\"overhead\":{:.5}}}",
            whole / bare - 1.0
        ));
    }
    println!(
        "{{\"bundle\":\"{name}\",\"open_ms\":{open_ms:.2},\"resident_before_mb\":{before:.2},\"resident_opened_mb\":{opened:.2},\
         \"resident_after_mb\":{:.2},\"peak_mb\":{:.2},\"cases\":[{}]}}",
        memory("VmRSS:"),
        memory("VmHWM:"),
        cases.join(",")
    );
}

fn timed(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

/// In microseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// A line of /proc/self/status in MB; 0 where there is none.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0 / 1e6
}
