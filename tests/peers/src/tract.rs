//! tract, on the plain fp32 graph.

use std::path::PathBuf;

use anyhow::{Context, Result};
use limbeck_peers::{Answer, Batch, Engine, Tokens, serve};
use serde_json::json;
use tract_onnx::prelude::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

struct Tract {
    tokens: Tokens,
    graph: PathBuf,
    /// tract is fast with fixed shapes only: one plan a shape, made when a call first needs it. Of several shapes the
    /// last is kept, for the benchmark goes through them one after the other.
    plan: Option<((usize, usize), Arc<TypedRunnableModel>)>,
}

impl Tract {
    fn plan(&mut self, batch: &Batch) -> Result<&Arc<TypedRunnableModel>> {
        let shape = (batch.rows, batch.columns);
        if self.plan.as_ref().is_none_or(|(of, _)| *of != shape) {
            // The old one is dropped first: two of them need twice the memory.
            self.plan = None;
            let mut model = tract_onnx::onnx().model_for_path(&self.graph)?.with_input_names(INPUTS)?;
            for input in 0..INPUTS.len() {
                model = model.with_input_fact(input, i64::fact([batch.rows, batch.columns]).into())?;
            }
            self.plan = Some((shape, model.into_optimized()?.into_runnable()?));
        }
        self.plan.as_ref().map(|(_, plan)| plan).context("no plan")
    }
}

impl Engine for Tract {
    fn embed(&mut self, texts: &[String]) -> Result<Answer> {
        let batch = self.tokens.read(texts)?;
        let plan = self.plan(&batch)?;
        let tensor = |values: &[i64]| -> Result<TValue> {
            Ok(Tensor::from_shape(&[batch.rows, batch.columns], values)?.into_tvalue())
        };
        let types = vec![0; batch.ids.len()];
        let outputs = plan.run(tvec!(tensor(&batch.ids)?, tensor(&batch.mask)?, tensor(&types)?))?;
        let hidden = outputs.first().context("no output")?.to_plain_array_view::<f32>()?;
        batch.mean_vectors(hidden.as_slice().context("hidden states in pieces")?)
    }
}

fn main() -> Result<()> {
    serve(json!({"tract-onnx": "0.23.9"}), |options| {
        if options.threads > 1 {
            set_default_executor(Executor::multithread(options.threads));
        }
        // The plan is made with the first call: it needs to know the shape.
        Ok(Tract { tokens: Tokens::open(options)?, graph: options.model.clone(), plan: None })
    })
}
