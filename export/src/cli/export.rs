use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use limbeck_export::arch::Head;
use limbeck_export::checkpoint::{load_arrays, read_shape};
use limbeck_export::files;
use limbeck_export::graph::{GraphOptions, Profile, WEIGHTS_NAME, WeightMode, build, describe};
use limbeck_export::pack::{PackOptions, TaskName, check_form, graph_of};
use serde_json::json;

use super::head::HeadChoice;
use super::tune::Tune;

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    /// ONNX Runtime's own operators where they are faster
    Ort,
    /// Standard operators only
    Portable,
}

/// Write a Hugging Face model folder as an ONNX graph, without a tracer
#[derive(Args)]
#[command(
    after_help = "Examples:\n  limbeck export out/student --out onnx\n  limbeck export all-minilm-l6-v2 --head embedding \
    --mask --out onnx\n  limbeck export gpt2 --cache --out onnx\n  limbeck export out/student --profile portable \
    --int8 --out onnx\n  limbeck export out/student --mask --tune --tune-lengths 16,32 --tune-threads 1,2 --out onnx\n\nWrites model.onnx, its weights in model.onnx.data, and model.onnx.md, which says what the \
    graph takes and gives, as `limbeck inspect onnx/model.onnx` does.\n\n--tune measures the graph that a bundle has, and \
    the options must ask for that one: with --mask unless --int8, with --token-types for pairs, without --hidden and --cache."
)]
pub(super) struct Export {
    /// Hugging Face model folder: BERT, RoBERTa, MPNet, DistilBERT, ALBERT, ELECTRA or GPT-2
    model: PathBuf,
    /// Folder for the graph
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    head: HeadChoice,
    /// For which engines
    #[arg(long, value_enum, default_value = "ort")]
    profile: ProfileName,
    /// Weights as int8, activations quantized at run time
    #[arg(long)]
    int8: bool,
    /// Take an attention_mask, for padded batches; not with --cache in the profile ort
    #[arg(long)]
    mask: bool,
    /// Take token_type_ids, for pairs of texts
    #[arg(long)]
    token_types: bool,
    /// Give the last hidden state too
    #[arg(long)]
    hidden: bool,
    #[command(flatten)]
    tune: Tune,
    /// Take and give keys and values of earlier tokens (GPT-2)
    #[arg(long)]
    cache: bool,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Export {
    /// Refuses what would not be the graph that is measured, which is that of the bundle.
    fn check_measured(&self, head: Head, packed: &PackOptions) -> Result<()> {
        if matches!(self.profile, ProfileName::Portable) {
            bail!("--tune chooses between operators of ONNX Runtime; the portable profile has none of them");
        }
        if self.cache || head == Head::CausalLm {
            bail!("--tune times models that read texts, and this one writes text: leave --tune out");
        }
        if self.hidden {
            bail!("--tune does not measure graphs that give the last hidden state: leave --hidden or --tune out");
        }
        let (measured, graph) = graph_of(&self.model, packed).context("--tune measures the model as a bundle")?;
        let same = match (head, measured) {
            // Of length 1 or not, the nodes to choose are the same.
            (Head::Embedding { pooling, .. }, Head::Embedding { pooling: other, .. }) => pooling == other,
            (head, measured) => head == measured,
        };
        if !same {
            bail!(
                "--tune measures this folder as `limbeck pack` would, with --head {} and its own pooling: write that \
                 graph, or leave --tune out",
                measured.name()
            );
        }
        for (name, asked, measured) in
            [("--mask", self.mask, graph.mask), ("--token-types", self.token_types, graph.token_types)]
        {
            if asked != measured {
                let change = if measured { "give" } else { "leave out" };
                bail!(
                    "--tune measures the graph of a bundle: {change} {name} to write that graph, or leave --tune out"
                );
            }
        }
        Ok(())
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        let (_, own) = self.head.own(&self.model)?;
        let head = self.head.choose(&own, Some(&self.model))?;
        let weights = if self.int8 { WeightMode::DynamicInt8 } else { WeightMode::Float };
        let (config, _) = read_shape(&self.model)?;
        // As the graph that is written has them: all positions.
        let max_tokens = Some(config.max_positions());
        let task = Some(TaskName::of_head(head));
        let mut packed = PackOptions { weights, max_tokens, task, ..PackOptions::default() };
        if self.tune.tune {
            self.check_measured(head, &packed)?;
        }
        let tuning = self.tune.run(&self.model, &mut packed)?;
        check_form(&self.model, weights)?;
        let model = load_arrays(&self.model, Some(head))?;
        let options = GraphOptions {
            profile: match self.profile {
                ProfileName::Ort => Profile::Ort,
                ProfileName::Portable => Profile::Portable,
            },
            weights,
            operators: packed.operators,
            mask: self.mask,
            token_types: self.token_types,
            hidden_output: self.hidden,
            cache: self.cache,
            ..GraphOptions::default()
        };
        let graph = build(&model.arrays, &model.config, head, options)?;
        if self.out.is_file() {
            bail!("{} is a file; give a folder with --out", self.out.display());
        }
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        // The graph comes last: one that is there has its weights.
        let path = self.out.join("model.onnx");
        files::write_bytes(&self.out.join(WEIGHTS_NAME), &graph.weights)?;
        files::write_bytes(&path, &graph.model)?;
        let description = describe(&graph.model)?;
        let words = format!(
            "# {}: {} head\n\nWritten by limbeck {} with profile {}. Weights: {WEIGHTS_NAME} ({:.1} MB).{}\n\n{}",
            model.config.family.name(),
            head.name(),
            env!("CARGO_PKG_VERSION"),
            serde_json::to_value(options.profile)?.as_str().unwrap_or_default(),
            graph.weights.len() as f64 / 1e6,
            tuning.as_ref().map_or(String::new(), |t| format!(
                " Fastest on {}: {}.\n\n```text\n{}```",
                t.machine.cpu,
                t.operators,
                t.table()
            )),
            description.markdown()
        );
        files::write_bytes(&self.out.join("model.onnx.md"), words.as_bytes())?;
        let bytes = graph.model.len() + graph.weights.len();
        if self.json {
            super::print_json(&json!({"graph": path, "bytes": bytes, "description": description, "tuning": tuning}))?;
        } else {
            super::print(&format!(
                "{}Wrote {} and its weights, {:.1} MB\n{description}",
                tuning.map(|tuning| tuning.table()).unwrap_or_default(),
                path.display(),
                bytes as f64 / 1e6
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
