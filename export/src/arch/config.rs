//! What an encoder is made of, read from and written to Hugging Face `config.json`.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An architecture that limbeck can train and export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Post-norm encoder with absolute positions and segment types (Devlin 2019).
    Bert,
}

impl Family {
    /// The `model_type` of `config.json`, also the family name in a bundle's manifest.
    pub fn name(self) -> &'static str {
        match self {
            Family::Bert => "bert",
        }
    }
}

/// The feed-forward activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x/2 (1 + erf(x/sqrt 2))`, the `gelu` of Hugging Face BERT.
    GeluErf,
}

/// The shape of a model. Sizes are in units (not bytes); dropout rates are probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Architecture family.
    pub family: Family,
    /// Rows of the token embedding table.
    pub vocab_size: usize,
    /// Hidden size H.
    pub hidden_size: usize,
    /// Transformer layers L.
    pub layers: usize,
    /// Attention heads; divides the hidden size.
    pub attention_heads: usize,
    /// Width F of the feed-forward block.
    pub intermediate_size: usize,
    /// Rows of the position table: the longest sequence in tokens, special tokens included.
    pub max_positions: usize,
    /// Segment types.
    pub token_types: usize,
    /// Feed-forward activation.
    pub activation: Activation,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// Dropout after embeddings, attention output and feed-forward output, while training.
    pub hidden_dropout: f64,
    /// Dropout of attention probabilities, while training.
    pub attention_dropout: f64,
    /// Standard deviation of new weights (truncated normal).
    pub initializer_range: f64,
    /// Token id that pads a batch.
    pub pad_id: usize,
}

fn size(config: &Value, key: &str) -> Result<usize> {
    config
        .get(key)
        .with_context(|| format!("config.json has no `{key}`"))?
        .as_u64()
        .filter(|&n| n > 0 && n < 1 << 31)
        .map(|n| n as usize)
        .with_context(|| format!("config.json: `{key}` must be a positive whole number"))
}

fn rate(config: &Value, key: &str, default: f64) -> Result<f64> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(v) => v
            .as_f64()
            .filter(|x| x.is_finite() && *x >= 0.0)
            .with_context(|| format!("config.json: `{key}` must be a number of at least 0")),
    }
}

impl ModelConfig {
    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.attention_heads
    }

    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// A model type, activation or position scheme that is not built, a missing or impossible size.
    pub fn from_hf(config: &Value) -> Result<Self> {
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or("");
        let family = match model_type {
            "bert" => Family::Bert,
            "" => bail!("config.json has no `model_type`; a Hugging Face checkpoint names one, such as \"bert\""),
            other => bail!("config.json: model_type \"{other}\" is not supported yet; supported: bert"),
        };
        let activation = match config.get("hidden_act").and_then(Value::as_str).unwrap_or("gelu") {
            "gelu" => Activation::GeluErf,
            other => bail!("config.json: hidden_act \"{other}\" is not supported yet; supported: gelu"),
        };
        let positions = config.get("position_embedding_type").and_then(Value::as_str).unwrap_or("absolute");
        if positions != "absolute" {
            bail!("config.json: position_embedding_type \"{positions}\" is not supported yet; supported: absolute");
        }
        let read = Self {
            family,
            vocab_size: size(config, "vocab_size")?,
            hidden_size: size(config, "hidden_size")?,
            layers: size(config, "num_hidden_layers")?,
            attention_heads: size(config, "num_attention_heads")?,
            intermediate_size: size(config, "intermediate_size")?,
            max_positions: size(config, "max_position_embeddings")?,
            token_types: size(config, "type_vocab_size")?,
            activation,
            layer_norm_eps: rate(config, "layer_norm_eps", 1e-12)?,
            hidden_dropout: rate(config, "hidden_dropout_prob", 0.1)?,
            attention_dropout: rate(config, "attention_probs_dropout_prob", 0.1)?,
            initializer_range: rate(config, "initializer_range", 0.02)?,
            pad_id: config.get("pad_token_id").and_then(Value::as_u64).unwrap_or(0) as usize,
        };
        read.check()?;
        Ok(read)
    }

    /// Refuses shapes that cannot be built.
    pub fn check(&self) -> Result<()> {
        if !self.hidden_size.is_multiple_of(self.attention_heads) {
            bail!("hidden size {} is not a multiple of {} attention heads", self.hidden_size, self.attention_heads);
        }
        if self.pad_id >= self.vocab_size {
            bail!("pad token id {} is outside the vocabulary of {}", self.pad_id, self.vocab_size);
        }
        for (name, p) in [("hidden dropout", self.hidden_dropout), ("attention dropout", self.attention_dropout)] {
            if !(0.0..1.0).contains(&p) {
                bail!("{name} {p} must be at least 0 and below 1");
            }
        }
        Ok(())
    }

    /// Writes a Hugging Face `config.json`; `labels` adds the classification head's label map.
    pub fn to_hf(&self, labels: Option<&[String]>) -> Value {
        let mut config = json!({
            "architectures": [if labels.is_some() { "BertForSequenceClassification" } else { "BertModel" }],
            "model_type": self.family.name(),
            "attention_probs_dropout_prob": self.attention_dropout,
            "hidden_act": "gelu",
            "hidden_dropout_prob": self.hidden_dropout,
            "hidden_size": self.hidden_size,
            "initializer_range": self.initializer_range,
            "intermediate_size": self.intermediate_size,
            "layer_norm_eps": self.layer_norm_eps,
            "max_position_embeddings": self.max_positions,
            "num_attention_heads": self.attention_heads,
            "num_hidden_layers": self.layers,
            "pad_token_id": self.pad_id,
            "position_embedding_type": "absolute",
            "type_vocab_size": self.token_types,
            "vocab_size": self.vocab_size,
        });
        if let Some(labels) = labels {
            let ids: serde_json::Map<_, _> =
                labels.iter().enumerate().map(|(i, l)| (i.to_string(), json!(l))).collect();
            let names: serde_json::Map<_, _> = labels.iter().enumerate().map(|(i, l)| (l.clone(), json!(i))).collect();
            config["id2label"] = Value::Object(ids);
            config["label2id"] = Value::Object(names);
        }
        config
    }

    /// The classification labels of a `config.json`, in the order of the logits.
    ///
    /// # Errors
    /// An `id2label` whose keys are not 0, 1, 2, ...
    pub fn labels_from_hf(config: &Value) -> Result<Option<Vec<String>>> {
        let Some(map) = config.get("id2label").and_then(Value::as_object) else {
            return Ok(None);
        };
        let mut labels = vec![None; map.len()];
        for (key, value) in map {
            let index: usize =
                key.parse().with_context(|| format!("config.json: id2label key \"{key}\" is not a number"))?;
            let label = value.as_str().with_context(|| format!("config.json: id2label[{key}] is not text"))?;
            *labels.get_mut(index).with_context(|| {
                format!("config.json: id2label key {index} is out of range for {} labels", map.len())
            })? = Some(label.to_owned());
        }
        labels.into_iter().collect::<Option<Vec<_>>>().map(Some).context("config.json: id2label has a gap")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minilm() -> Value {
        json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 30522, "hidden_size": 384,
               "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536,
               "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12})
    }

    #[test]
    fn config_survives_a_round_trip() {
        let config = ModelConfig::from_hf(&minilm()).unwrap();
        let labels = vec!["negative".to_owned(), "positive".to_owned()];
        let written = config.to_hf(Some(&labels));
        assert_eq!(ModelConfig::from_hf(&written).unwrap(), config);
        assert_eq!(ModelConfig::labels_from_hf(&written).unwrap(), Some(labels));
    }

    #[test]
    fn refusals_name_the_key() {
        for (key, value, expected) in [
            ("model_type", json!("t5"), "model_type \"t5\""),
            ("hidden_act", json!("swish"), "hidden_act \"swish\""),
            ("vocab_size", json!(-1), "`vocab_size`"),
            ("num_attention_heads", json!(7), "7 attention heads"),
            ("position_embedding_type", json!("relative_key"), "position_embedding_type"),
        ] {
            let mut config = minilm();
            config[key] = value;
            let error = format!("{:#}", ModelConfig::from_hf(&config).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn label_gaps_are_refused() {
        let config = json!({"id2label": {"0": "a", "2": "b"}});
        assert!(ModelConfig::labels_from_hf(&config).is_err());
    }
}
