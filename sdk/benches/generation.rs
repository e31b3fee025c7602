//! Tokens a second of text that is written, against Python's onnxruntime with the same graph and weights: both take
//! turns, greedy, with one thread, and must write the same tokens. Prints one JSON object, with tokens by the second of
//! the clock and by the second of the processor, which says more on a machine that others use too (Linux).
//!
//!     cargo bench -p limbeck --bench generation -- LM.limbeck PYTHON
//!
//! PYTHON is an interpreter that has `onnxruntime` and `numpy`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use limbeck::{GenerateOptions, Model};

const TOKENS: usize = 64;
const ROUNDS: usize = 7;
const PROMPT: &str = "The battery lasts all day, but the screen scratches easily.";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [bundle, python] = &arguments[..] else {
        eprintln!("give a bundle for generation and a Python interpreter with onnxruntime; nothing was measured");
        return;
    };
    let runtime = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH, as `cargo xtask bench` sets it");
    let model = Model::builder().runtime_path(runtime).open(bundle).unwrap_or_else(|error| panic!("{bundle}: {error}"));
    let prompt = model.tokenize(PROMPT).expect("tokens").ids;
    let mut peer = Peer::start(&model, python);
    let options = GenerateOptions::new().max_new_tokens(TOKENS).ignore_eos(true);
    // Tokens by the second: of the clock, then of the processor.
    let (mut own, mut other): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    for round in 0..=ROUNDS {
        let (started, busy) = (Instant::now(), processor_seconds());
        let written = model.generate(PROMPT, &options).expect("a stream").finish().expect("a text");
        let seconds = [started.elapsed().as_secs_f64(), processor_seconds() - busy];
        let (ids, theirs) = peer.write(&prompt);
        assert_eq!(written.ids, ids, "both write the same");
        // The first round warms up.
        if round > 0 {
            for clock in 0..2 {
                own[clock].push(TOKENS as f64 / seconds[clock]);
                other[clock].push(TOKENS as f64 / theirs[clock]);
            }
        }
    }
    let measured = ["clock", "processor"].iter().enumerate().map(|(clock, name)| {
        let mut ratios: Vec<f64> = own[clock].iter().zip(&other[clock]).map(|(own, other)| own / other).collect();
        format!(
            "\"{name}\":{{\"tokens_per_second\":{:.2},\"onnxruntime_python\":{:.2},\"ratio_median\":{:.3}}}",
            median(&mut own[clock].clone()),
            median(&mut other[clock].clone()),
            median(&mut ratios)
        )
    });
    println!(
        "{{\"bundle\":\"{bundle}\",\"prompt_tokens\":{},\"tokens\":{TOKENS},\"rounds\":{ROUNDS},{}}}",
        prompt.len(),
        measured.collect::<Vec<_>>().join(",")
    );
    peer.child.kill().expect("the peer ends");
    peer.child.wait().expect("the peer ends");
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds that this thread, which does all the work, had a processor; 0 where the system does not say.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(0.0, |ns| ns / 1e9)
}

struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Peer {
    fn start(model: &Model, python: &str) -> Peer {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["model.onnx", "model.onnx.data"] {
            let bytes = model.bundle().section(name).expect("a section");
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/generation_peer.py");
        let mut child = Command::new(python)
            .args([script.as_ref(), folder.path().join("model.onnx").as_os_str()])
            .arg(TOKENS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python interpreter starts");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Peer { child, to, from: BufReader::new(from), _folder: folder }
    }

    /// What the peer writes after a prompt, and in how many seconds of the clock and of the processor.
    fn write(&mut self, prompt: &[u32]) -> (Vec<u32>, [f64; 2]) {
        let words: Vec<String> = prompt.iter().map(u32::to_string).collect();
        writeln!(self.to, "{}", words.join(" ")).expect("the peer listens");
        self.to.flush().expect("the peer listens");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the peer answers");
        let mut words = line.split_whitespace();
        let mut seconds = || words.next().and_then(|word| word.parse().ok()).expect("a time from the peer");
        let seconds = [seconds(), seconds()];
        (words.map(|id| id.parse().expect("an id")).collect(), seconds)
    }
}
