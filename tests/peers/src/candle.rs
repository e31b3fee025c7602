//! candle, on the checkpoint. Its threads are those of RAYON_NUM_THREADS.

use std::fs;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use limbeck_peers::{Answer, Engine, Tokens, serve};
use serde_json::json;

struct Candle {
    tokens: Tokens,
    model: BertModel,
}

impl Engine for Candle {
    fn embed(&mut self, texts: &[String]) -> Result<Answer> {
        let batch = self.tokens.read(texts)?;
        let tensor = |values: &[i64]| Tensor::from_slice(values, (batch.rows, batch.columns), &Device::Cpu);
        let ids = tensor(&batch.ids)?;
        let hidden = self.model.forward(&ids, &ids.zeros_like()?, Some(&tensor(&batch.mask)?))?;
        batch.mean_vectors(&hidden.flatten_all()?.to_vec1::<f32>()?)
    }
}

fn main() -> Result<()> {
    serve(json!({"candle-transformers": "0.11.1"}), |options| {
        let config = options.model.join("config.json");
        let config = fs::read_to_string(&config).with_context(|| format!("reading {}", config.display()))?;
        let config: Config = serde_json::from_str(&config)?;
        let weights = options.model.join("model.safetensors");
        // SAFETY: nobody writes to the teacher's file while the benchmark runs.
        let weights = unsafe { VarBuilder::from_mmaped_safetensors(&[weights], DType::F32, &Device::Cpu)? };
        Ok(Candle { tokens: Tokens::open(options)?, model: BertModel::load(weights, &config)? })
    })
}
