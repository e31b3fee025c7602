//! limbeck, on a bundle.

use anyhow::Result;
use limbeck::{EmbedOptions, Model};
use limbeck_peers::{Answer, Engine, serve};
use serde_json::json;

struct Limbeck(Model);

impl Engine for Limbeck {
    fn embed(&mut self, texts: &[String]) -> Result<Answer> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let answers = self.0.embed_batch(&texts, &EmbedOptions::new())?;
        let tokens = answers.iter().map(|answer| answer.usage.tokens_used).collect();
        Ok(Answer { vectors: answers.into_iter().map(|answer| answer.vector).collect(), tokens })
    }
}

fn main() -> Result<()> {
    // The orchestrator knows which version it is.
    serve(json!({}), |options| {
        let mut builder = Model::builder().threads(options.threads);
        if let Some(runtime) = std::env::var_os("ORT_DYLIB_PATH") {
            builder = builder.runtime_path(runtime);
        }
        Ok(Limbeck(builder.open(&options.model)?))
    })
}
