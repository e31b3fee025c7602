//! Classifies texts with a bundle, and says how sure it is and how long it took.
//!
//! ```sh
//! cargo run --release -p limbeck --example sentiment -- BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//! ```

use std::process::ExitCode;

use limbeck::Model;

fn classify(bundle: &str, runtime: &str, texts: &[String]) -> limbeck::Result<()> {
    let model = Model::builder().runtime_path(runtime).open(bundle)?;
    model.warm_up()?;
    for text in texts {
        let answer = model.classify(text)?;
        let (best, usage) = (&answer.labels[0], &answer.usage);
        let time = usage.timings.tokenize + usage.timings.inference + usage.timings.post;
        println!(
            "{}  {:.3}  {:2} tokens  {:.2} ms  {text}",
            best.label,
            best.probability,
            usage.tokens_used,
            time.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, runtime, texts @ ..] = arguments.as_slice() else {
        eprintln!("usage: sentiment BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...");
        return ExitCode::from(2);
    };
    match classify(bundle, runtime, texts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", error.code().name());
            ExitCode::FAILURE
        }
    }
}
