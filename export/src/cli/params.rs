use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use limbeck_export::arch::{ElectraCost, ModelConfig, count_parameters, flops, preset, preset_names};
use limbeck_export::checkpoint::HeadInfo;
use serde_json::json;

use super::head::HeadChoice;

/// Count a model's parameters and arithmetic, exactly
#[derive(Args)]
#[command(after_help = "Examples:\n  limbeck params all-minilm-l6-v2\n  limbeck params albert-base --total\n  \
    limbeck params out/student --json\n  limbeck params bert-base-uncased --head span --length 384\n\n\
    Of a folder only config.json is read. `encoder` is the figure papers print: encoder with its pooler, where the \
    architecture has one, without a head.")]
pub(super) struct Params {
    /// Hugging Face model folder, or the name of a published shape (--list)
    #[arg(required_unless_present = "list")]
    model: Option<PathBuf>,
    /// Print only the encoder's count
    #[arg(long)]
    total: bool,
    /// Length in tokens for the FLOPs
    #[arg(long, default_value_t = 128)]
    length: usize,
    #[command(flatten)]
    head: HeadChoice,
    /// List the published shapes with their counts
    #[arg(long, conflicts_with_all = ["model", "total"])]
    list: bool,
    /// The counts as JSON
    #[arg(long)]
    json: bool,
}

/// The shape of a folder or a preset, its own head and what is to be known of it.
fn resolve(model: &std::path::Path, head: &HeadChoice) -> Result<(ModelConfig, HeadInfo, Option<&'static str>)> {
    if model.is_dir() {
        let (config, info) = head.own(model)?;
        return Ok((config, info, None));
    }
    let name = model.to_string_lossy();
    let Some(preset) = preset(&name) else {
        bail!(
            "{name} is not a folder with a config.json and not the name of a published shape; \
             see `limbeck params --list`"
        );
    };
    Ok((preset.config, HeadInfo::new(preset.head), preset.note))
}

fn list(json: bool) -> Result<()> {
    let count = |name: &str| preset(name).map(|preset| count_parameters(&preset.config, preset.head));
    let rows: Vec<_> = preset_names().into_iter().filter_map(|name| Some((name, count(name)?))).collect();
    if json {
        let rows: Vec<_> = rows.iter().map(|(name, count)| json!({"name": name, "parameters": count})).collect();
        return super::print_json(&rows);
    }
    let mut text = format!("{:<34}{:>16}{:>18}\n", "name", "encoder", "with its head");
    for (name, count) in rows {
        text += &format!("{name:<34}{:>16}{:>18}\n", count.encoder, count.total);
    }
    super::print(&text)
}

impl Params {
    pub(super) fn run(self) -> Result<ExitCode> {
        let Some(model) = self.model.as_deref().filter(|_| !self.list) else {
            list(self.json)?;
            return Ok(ExitCode::SUCCESS);
        };
        let (config, info, note) = resolve(model, &self.head)?;
        if !(1..=1 << 24).contains(&self.length) {
            bail!("--length {}: give a length of at least 1 token, at most {}", self.length, 1 << 24);
        }
        let head = self.head.choose(&info, model.is_dir().then_some(model))?;
        head.check(&config)?;
        let count = count_parameters(&config, head);
        let operations = flops(&config, self.length);
        let per_token = operations as f64 / self.length as f64;
        let electra = ElectraCost::of(&config, self.length).inference();
        if self.json {
            super::print_json(&json!({
                "config": config, "head": head, "parameters": count, "length": self.length, "flops": u64::try_from(operations).unwrap_or(u64::MAX),
                "flops_per_token": per_token, "electra_inference_flops": electra as f64, "note": note,
            }))?;
        } else if self.total {
            super::print(&format!("{}\n", count.encoder))?;
        } else {
            let mut text = format!(
                "embeddings {:>15}\nlayers     {:>15}  ({} layers)\npooler     {:>15}\nencoder    {:>15}\n\
                 head       {:>15}  ({})\ntotal      {:>15}\n{:.3} GFLOP for {} tokens, {:.3} MFLOP a token (matrix \
                 products of the layers)\n{:.3} GFLOP as ELECTRA's counter counts a classification (every operation, \
                 dense token lookups)\n",
                count.embeddings,
                count.layers,
                config.blocks().len(),
                count.pooler,
                count.encoder,
                count.head,
                head.name(),
                count.total,
                operations as f64 / 1e9,
                self.length,
                per_token / 1e6,
                electra as f64 / 1e9,
            );
            if let Some(note) = note {
                text += &format!("Note: {note}.\n");
            }
            super::print(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
