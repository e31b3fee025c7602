//! The one helper of this repository: sets up what limbeck needs, then runs cargo.
//!
//! `cargo xtask --help` lists the verbs.

mod bench;
mod bindings;
mod cache;
mod clients;
mod command;
mod compile;
mod cross;
mod docs;
mod engines;
mod fetch;
mod header;
mod package;
mod pins;
mod progress;
mod python;
mod quickstart;
mod space;
mod test;
mod tools;
mod unpack;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
The helper of the limbeck repository.

Usage: cargo xtask VERB [OPTIONS]

Start here:
  quickstart   fetch, build, distil a sentiment model, run it from Rust and from C
  test         run every test and check

Then:
  limbeck -- ARGS   build the limbeck command line and run it with ARGS
  fetch             fetch engines, teacher and data into the cache, nothing else
  bench             run the library's benchmarks
  package           build the C library and pack it, for C, Python or Node; measure its size
  cross             build and run the C library for arm64 on Debian, type-check it for Android and iOS
  docs              regenerate the tables of README.md and docs/ from the committed results
  header            compare capi/include/limbeck.h with the sources it is generated from

`cargo xtask VERB --help` says more.

Environment:
  LIMBECK_CACHE     where fetched files are kept
                    (default: $XDG_CACHE_HOME/limbeck, else ~/.cache/limbeck)
  LIBTORCH          your own libtorch 2.11.0, the folder that has include/ and lib/
  LIBTORCH_USE_PYTORCH=1   use the torch 2.11.0 of `python3`
  ORT_DYLIB_PATH    your own ONNX Runtime library, 1.24 or newer
  LIMBECK_TEACHER   your own copy of the teacher: config.json, model.safetensors, tokenizer.json
  LIMBECK_ONNX_PYTHONPATH  a folder with the Python package `onnx`, for the tests of graphs
What is given this way is not fetched.
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    let Some((verb, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(ExitCode::FAILURE);
    };
    let help = match verb.as_str() {
        "quickstart" => quickstart::HELP,
        "test" => test::HELP,
        "limbeck" => compile::HELP,
        "fetch" => fetch::HELP,
        "bench" => bench::HELP,
        "package" => package::HELP,
        "cross" => cross::HELP,
        "docs" => docs::HELP,
        "header" => header::HELP,
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        other => bail!(
            "`{other}` is not a verb of xtask: use quickstart, test, limbeck, fetch, bench, package, cross, docs or header (see cargo xtask --help)"
        ),
    };
    // What follows `--` belongs to the program that is run, its --help included.
    let own = rest.iter().take_while(|argument| *argument != "--");
    if own.clone().any(|argument| argument == "--help" || argument == "-h") {
        print!("{help}");
        return Ok(ExitCode::SUCCESS);
    }
    match verb.as_str() {
        "quickstart" => quickstart::run(Arguments::new(verb, rest)),
        "test" => test::run(Arguments::new(verb, rest)),
        "limbeck" => compile::run_limbeck(rest),
        "fetch" => fetch::run(Arguments::new(verb, rest)),
        "bench" => bench::run(Arguments::new(verb, rest)),
        "package" => package::run(Arguments::new(verb, rest)),
        "cross" => cross::run(Arguments::new(verb, rest)),
        "docs" => docs::run(Arguments::new(verb, rest)),
        _ => header::run(Arguments::new(verb, rest)),
    }
}

/// The options of a verb: taken one by one, and none may be left over.
struct Arguments {
    verb: String,
    rest: Vec<String>,
}

impl Arguments {
    fn new(verb: &str, rest: &[String]) -> Self {
        Self { verb: verb.to_owned(), rest: rest.to_vec() }
    }

    /// Whether `--name` is there.
    fn flag(&mut self, name: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|argument| argument != name);
        self.rest.len() != before
    }

    /// The value of `--name VALUE` or `--name=VALUE`.
    fn value(&mut self, name: &str) -> Result<Option<String>> {
        let prefix = format!("{name}=");
        let Some(at) = self.rest.iter().position(|argument| argument == name || argument.starts_with(&prefix)) else {
            return Ok(None);
        };
        let argument = self.rest.remove(at);
        if let Some(value) = argument.strip_prefix(&prefix) {
            return Ok(Some(value.to_owned()));
        }
        if at == self.rest.len() {
            bail!("{name} needs a value (see cargo xtask {} --help)", self.verb);
        }
        Ok(Some(self.rest.remove(at)))
    }

    /// Ends the parse.
    fn finish(self) -> Result<()> {
        match self.rest.first() {
            None => Ok(()),
            Some(argument) => {
                bail!("`{argument}` means nothing to cargo xtask {} (see cargo xtask {0} --help)", self.verb)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    #[test]
    fn options_are_taken_and_leftovers_refused() {
        let words: Vec<String> = ["--filter", "parity", "--list"].map(str::to_owned).to_vec();
        let mut arguments = Arguments::new("test", &words);
        assert_eq!(arguments.value("--filter").unwrap().as_deref(), Some("parity"));
        assert!(arguments.flag("--list"));
        assert!(!arguments.flag("--list"));
        arguments.finish().unwrap();

        let mut arguments = Arguments::new("test", &["--filter=a=b".to_owned(), "x".to_owned()]);
        assert_eq!(arguments.value("--filter").unwrap().as_deref(), Some("a=b"));
        assert!(arguments.finish().unwrap_err().to_string().contains("`x`"));

        let mut arguments = Arguments::new("test", &["--filter".to_owned()]);
        assert!(arguments.value("--filter").unwrap_err().to_string().contains("needs a value"));
    }
}
