//! `limbeck`: distil, quantize, pack, measure and run language models for devices.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
