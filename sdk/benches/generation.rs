//! Text that is written, against Python's onnxruntime and candle with the same weights: time to the first token, and tokens a
//! second after it, greedy, with one thread. All take turns and must write the same tokens. Prints a JSON object for each length
//! of the prompt, with times by the clock and by the processor, which say more on a machine that others use too (Linux).
//! Run by `cargo xtask bench generation`, or by hand:
//!
//!     cargo bench -p limbeck --bench generation -- LM.limbeck PYTHON ROUNDS LENGTHS [GRAPH.onnx [CANDLE FOLDER]]
//!
//! PYTHON is an interpreter that has `onnxruntime` and `numpy`; it runs the graph of the bundle, and GRAPH.onnx, another
//! one of the same weights. CANDLE is `peer-candle-gpt2` of tests/peers, and FOLDER a Hugging Face folder of the same weights.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use limbeck::{GenerateOptions, Model};

#[path = "common/processor.rs"]
mod processor;

use processor::processor_seconds;

const TOKENS: usize = 32;

/// To the first token and for all others, in seconds of the clock and of the processor.
type Times = [f64; 4];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [bundle, python, rounds, lengths, others @ ..] = &arguments[..] else {
        eprintln!("give a bundle, a Python interpreter with onnxruntime, rounds and lengths; nothing was measured");
        return;
    };
    let rounds: usize = rounds.parse().expect("a number of rounds");
    let lengths: Vec<usize> = lengths.split(',').map(|length| length.parse().expect("a length")).collect();
    let runtime = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH, as `cargo xtask bench` sets it");
    let model = Model::builder().runtime_path(runtime).open(bundle).unwrap_or_else(|error| panic!("{bundle}: {error}"));
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["model.onnx", "model.onnx.data"] {
        let bytes = model.bundle().section(name).expect("a section");
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    let room = lengths.iter().max().copied().unwrap_or(0) + TOKENS;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/generation_peer.py");
    let start = |program: &str, words: &[&str]| Peer::start(Command::new(program).args(words).arg(room.to_string()));
    let graph = folder.path().join("model.onnx");
    let mut peers = vec![("python, buffers", start(python, &[script, graph.to_str().expect("a path in UTF-8")]))];
    if let [graph, rest @ ..] = others {
        peers.push(("python, growing", start(python, &[script, graph])));
        if let [candle, folder] = rest {
            peers.push(("candle", start(candle, &[folder])));
        }
    }

    for tokens in lengths {
        let prompt = prompt_of(&model, tokens);
        let ids = model.tokenize(&prompt).expect("tokens").ids;
        let (mut own, mut others): (Vec<Times>, Vec<Vec<Times>>) = (Vec::new(), vec![Vec::new(); peers.len()]);
        for round in 0..=rounds {
            let (written, times) = write(&model, &prompt);
            let theirs = peers.iter_mut().map(|(name, peer)| {
                let (other, times) = peer.write(&ids);
                assert_eq!(written, other, "{name} writes the same after {tokens} tokens");
                times
            });
            let theirs: Vec<Times> = theirs.collect();
            // The first round warms up.
            if round > 0 {
                own.push(times);
                others.iter_mut().zip(theirs).for_each(|(all, times)| all.push(times));
            }
        }
        let names = ["limbeck"].into_iter().chain(peers.iter().map(|(name, _)| *name));
        let engines: Vec<String> =
            names.zip([&own].into_iter().chain(&others)).map(|(name, times)| engine(name, times, &own)).collect();
        println!(
            "{{\"prompt_tokens\":{tokens},\"tokens\":{TOKENS},\"rounds\":{rounds},\"engines\":[{}]}}",
            engines.join(",")
        );
    }
    for (_, mut peer) in peers {
        peer.child.kill().expect("the peer ends");
        peer.child.wait().expect("the peer ends");
    }
}

/// Medians; ratios are those of each round to limbeck's.
fn engine(name: &str, times: &[Times], own: &[Times]) -> String {
    let clocks = ["clock", "processor"].iter().enumerate().map(|(clock, clock_name)| {
        let [first, next] = [0, 2].map(|part| times.iter().map(|times| times[part + clock]).collect::<Vec<_>>());
        let ratio = |(times, own): (f64, f64)| if own > 0.0 { times / own } else { 0.0 };
        let [first_ratio, next_ratio] = [0, 2].map(|part| {
            median(times.iter().zip(own).map(|(times, own)| ratio((times[part + clock], own[part + clock]))).collect())
        });
        format!(
            "\"{clock_name}\":{{\"first_token_ms\":{:.4},\"tokens_per_second\":{:.2},\"first_ratio\":{first_ratio:.4},\"next_ratio\":{next_ratio:.4}}}",
            median(first) * 1e3,
            (TOKENS - 1) as f64 / median(next).max(1e-9)
        )
    });
    format!("{{\"name\":\"{name}\",{}}}", clocks.collect::<Vec<_>>().join(","))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Text to tokens.
fn write(model: &Model, prompt: &str) -> (Vec<u32>, Times) {
    let options = GenerateOptions::new().max_new_tokens(TOKENS).ignore_eos(true);
    let clocks = || (Instant::now(), processor_seconds());
    let since = |(started, busy): (Instant, f64)| [started.elapsed().as_secs_f64(), processor_seconds() - busy];
    let start = clocks();
    let mut stream = model.generate(prompt, &options).expect("a stream");
    let mut written = vec![stream.next().expect("a first token").expect("a first token").id];
    let [first, first_busy] = since(start);
    let start = clocks();
    written.extend(stream.map(|piece| piece.expect("a token").id));
    let [next, next_busy] = since(start);
    (written, [first, first_busy, next, next_busy])
}

/// A prompt that the model reads as so many tokens.
fn prompt_of(model: &Model, tokens: usize) -> String {
    let mut prompts = [" good", " the", "0", "?", "a "].into_iter().map(|word| word.repeat(tokens));
    prompts.find(|prompt| model.tokenize(prompt).expect("tokens").ids.len() == tokens).expect("a word of one token")
}

struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(command: &mut Command) -> Peer {
        // candle's threads; Python's are set by the script.
        command.env("RAYON_NUM_THREADS", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the peer starts");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Peer { child, to, from: BufReader::new(from) }
    }

    /// What the peer writes after a prompt, and in what time.
    fn write(&mut self, prompt: &[u32]) -> (Vec<u32>, Times) {
        let words: Vec<String> = prompt.iter().map(u32::to_string).collect();
        writeln!(self.to, "{TOKENS} {}", words.join(" ")).expect("the peer listens");
        self.to.flush().expect("the peer listens");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the peer answers");
        let mut words = line.split_whitespace();
        let times = [(); 4].map(|()| words.next().and_then(|word| word.parse().ok()).expect("a time from the peer"));
        (words.map(|id| id.parse().expect("an id")).collect(), times)
    }
}
