use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use limbeck_export::pack::PackOptions;
use limbeck_export::tune::{TuneOptions, Tuning, tune};

use super::engines::Engine;

/// Whether and how the graph's operators are chosen, shared by `export` and `pack`
#[derive(Args)]
pub(super) struct Tune {
    /// Choose between equal operators (attention, activation, projections, norms) by measuring them on this machine, text in
    /// to answer out; without it, by what was measured before (docs/benchmarks.md)
    #[arg(long)]
    pub tune: bool,
    /// Lengths to measure, in tokens
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "16,64,128", requires = "tune")]
    tune_lengths: Vec<usize>,
    /// Numbers of threads to measure with
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "1", requires = "tune")]
    tune_threads: Vec<usize>,
    /// Milliseconds of a turn; each graph has eight, for each length and number of threads
    #[arg(long, value_name = "N", default_value_t = 150, requires = "tune")]
    tune_turn: u64,
    #[command(flatten)]
    engine: Engine,
}

/// Turns of each graph.
const ROUNDS: usize = 4;

impl Tune {
    /// Chooses the operators of what is to be packed, if asked to.
    pub(super) fn run(&self, model: &Path, options: &mut PackOptions) -> Result<Option<Tuning>> {
        if !self.tune {
            return Ok(None);
        }
        let tuned = TuneOptions {
            lengths: self.tune_lengths.clone(),
            threads: self.tune_threads.clone(),
            rounds: ROUNDS,
            turn: Duration::from_millis(self.tune_turn),
            runtime: self.engine.path(),
        };
        let found = tune(model, options, &tuned, &super::reporter(false))?;
        options.operators = found.operators;
        Ok(Some(found))
    }
}
