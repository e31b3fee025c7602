//! The shape of a model in Hugging Face's `config.json`, read and written.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::head_info::HeadInfo;
use super::names::class_name;
use crate::arch::{Activation, AttentionPattern, Family, Head, ModelConfig, Sharing};
use crate::files;
use crate::quantize::FakeQuantization;

/// What limbeck adds to `config.json`: things for which Hugging Face has no key. transformers ignores it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Extension {
    #[serde(skip_serializing_if = "Option::is_none")]
    sharing: Option<Sharing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention_pattern: Option<AttentionPattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_projection: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pooled_relu: Option<bool>,
    /// What the weights were rounded to while they were trained; they themselves are fp32.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantize: Option<FakeQuantization>,
}

const EXTENSION: &str = "limbeck";

impl Extension {
    fn of(raw: &Value) -> Result<Self> {
        match raw.get(EXTENSION) {
            Some(value) => Extension::deserialize(value).with_context(|| format!("config.json: `{EXTENSION}`")),
            None => Ok(Extension::default()),
        }
    }
}

/// What the weights of a folder were rounded to while they were trained, if they were.
///
/// # Errors
/// A `config.json` that cannot be read.
pub fn trained_for(folder: &Path) -> Result<Option<FakeQuantization>> {
    let raw = super::read_config(folder)?;
    Ok(Extension::of(&raw).with_context(|| format!("in {}", folder.display()))?.quantize)
}

/// Writes into the `config.json` of a folder what its weights were rounded to, for [`trained_for`].
///
/// # Errors
/// A folder that cannot be written.
pub fn mark_trained_for(folder: &Path, quantize: Option<FakeQuantization>) -> Result<()> {
    let mut raw = super::read_config(folder)?;
    let extension = Extension { quantize, ..Extension::of(&raw)? };
    if let Some(keys) = raw.as_object_mut() {
        keys.insert(EXTENSION.to_owned(), json!(extension));
    }
    files::write_json(&folder.join("config.json"), &raw)
}

/// The keys of the tokens before and after a text.
const ENDS_OF_TEXT: [&str; 2] = ["bos_token_id", "eos_token_id"];

/// The ids of the tokens before and after a text that the `config.json` of a folder names.
///
/// # Errors
/// A `config.json` that cannot be read.
pub fn ends_of_text(folder: &Path) -> Result<[Option<u32>; 2]> {
    let raw = super::read_config(folder)?;
    Ok(ENDS_OF_TEXT.map(|name| raw.get(name).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok())))
}

/// Writes them into the `config.json` of a folder; what is `None` stays as it is.
///
/// # Errors
/// A folder that cannot be written.
pub fn name_ends_of_text(folder: &Path, ids: [Option<u32>; 2]) -> Result<()> {
    let mut raw = super::read_config(folder)?;
    if let Some(keys) = raw.as_object_mut() {
        let named = ENDS_OF_TEXT.into_iter().zip(ids).filter_map(|(name, id)| Some((name.to_owned(), json!(id?))));
        keys.extend(named);
    }
    files::write_json(&folder.join("config.json"), &raw)
}

/// Typed access to the keys of a `config.json`.
struct Keys<'a>(&'a Value);

impl Keys<'_> {
    fn optional(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.optional(key)
            .with_context(|| format!("config.json has no `{key}`"))?
            .as_u64()
            .filter(|&n| n > 0 && n < 1 << 31)
            .map(|n| n as usize)
            .with_context(|| format!("config.json: `{key}` must be a positive whole number"))
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.optional(key).is_some() { self.size(key) } else { Ok(default) }
    }

    fn rate(&self, key: &str, default: f64) -> Result<f64> {
        match self.optional(key) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .filter(|x| x.is_finite() && *x >= 0.0)
                .with_context(|| format!("config.json: `{key}` must be a number of at least 0")),
        }
    }

    fn token(&self, key: &str) -> Result<Option<usize>> {
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| usize::try_from(id).ok());
            id.filter(|&id| id < i32::MAX as usize)
                .with_context(|| format!("config.json: `{key}` must be a token id, not {value}"))
        };
        self.optional(key).map(id).transpose()
    }

    fn activation(&self, key: &str, default: &str) -> Result<Activation> {
        Ok(match self.optional(key).and_then(Value::as_str).unwrap_or(default) {
            "gelu" => Activation::GeluErf,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => bail!("config.json: {key} \"{other}\" is not supported; supported: gelu, gelu_new, relu"),
        })
    }

    /// Refuses a setting that would change the forward pass in a way that is not built.
    fn refuse(&self, key: &str, built: Value) -> Result<()> {
        match self.optional(key) {
            Some(value) if *value != built => bail!("config.json: {key} {value} is not supported; supported: {built}"),
            _ => Ok(()),
        }
    }
}

fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::GeluErf => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
    }
}

impl ModelConfig {
    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// A model type, activation or position scheme that is not built, a missing or impossible size.
    pub fn from_hf(raw: &Value) -> Result<Self> {
        let model_type = raw.get("model_type").and_then(Value::as_str).unwrap_or("");
        let Some(family) = Family::ALL.into_iter().find(|family| family.name() == model_type) else {
            if model_type.is_empty() {
                bail!("config.json has no `model_type`; a Hugging Face checkpoint names one, such as \"bert\"");
            }
            let known: Vec<_> = Family::ALL.iter().map(|family| family.name()).collect();
            bail!("config.json: model_type \"{model_type}\" is not supported; supported: {}", known.join(", "));
        };
        let keys = Keys(raw);
        let extension = Extension::of(raw)?;
        keys.refuse("tie_word_embeddings", json!(true))?;
        let mut config = match family {
            Family::DistilBert => from_distilbert(&keys)?,
            Family::Gpt2 => from_gpt2(&keys)?,
            _ => from_bert(&keys, family)?,
        };
        config.attention_pattern = extension.attention_pattern.unwrap_or(AttentionPattern::Dense);
        config.own_head_size = extension.head_size;
        config.pooled_relu = extension.pooled_relu.unwrap_or(false);
        if family == Family::Albert {
            config.sharing = match extension.sharing {
                Some(sharing @ (Sharing::Attention | Sharing::Ffn)) => sharing,
                Some(_) => bail!(
                    "config.json: `{EXTENSION}`: `sharing` is \"attention\" or \"ffn\"; for the rest use num_hidden_groups"
                ),
                None => albert_sharing(&keys, config.layers)?,
            };
            // transformers always maps E to H.
            config.embedding_projection = extension.embedding_projection.unwrap_or(true);
        } else if extension.sharing.is_some() || extension.embedding_projection.is_some() {
            bail!(
                "config.json: `{EXTENSION}`: `sharing` and `embedding_projection` are for model_type \"albert\" only"
            );
        }
        config.check()?;
        Ok(config)
    }

    /// Writes a Hugging Face `config.json` for a model with this head.
    pub fn to_hf(&self, info: &HeadInfo) -> Value {
        let mut raw = Map::new();
        let mut set = |key: &str, value: Value| raw.insert(key.to_owned(), value);
        set("architectures", json!([class_name(self.family, info.head)]));
        set("model_type", json!(self.family.name()));
        set("vocab_size", json!(self.vocab_size));
        set("initializer_range", json!(self.initializer_range));
        set("pad_token_id", json!(self.pad_id));
        match self.family {
            Family::DistilBert => to_distilbert(self, &mut set),
            Family::Gpt2 => to_gpt2(self, &mut set),
            _ => to_bert(self, &mut set),
        }
        if let Some(labels) = &info.labels {
            let ids: Map<_, _> = labels.iter().enumerate().map(|(i, l)| (i.to_string(), json!(l))).collect();
            let names: Map<_, _> = labels.iter().enumerate().map(|(i, l)| (l.clone(), json!(i))).collect();
            set("id2label", Value::Object(ids));
            set("label2id", Value::Object(names));
        }
        if matches!(info.head, Head::Classification { .. }) {
            set("problem_type", json!(info.problem));
        }
        let extension = Extension {
            sharing: matches!(self.sharing, Sharing::Attention | Sharing::Ffn).then_some(self.sharing),
            attention_pattern: (self.attention_pattern != AttentionPattern::Dense).then_some(self.attention_pattern),
            embedding_projection: (self.family == Family::Albert && !self.embedding_projection).then_some(false),
            head_size: self.own_head_size,
            pooled_relu: self.pooled_relu.then_some(true),
            quantize: None,
        };
        let extension = json!(extension);
        if extension.as_object().is_some_and(|keys| !keys.is_empty()) {
            set(EXTENSION, extension);
        }
        Value::Object(raw)
    }
}

/// BERT, RoBERTa, MPNet, ALBERT and ELECTRA, whose keys are the same.
fn from_bert(keys: &Keys, family: Family) -> Result<ModelConfig> {
    keys.refuse("position_embedding_type", json!("absolute"))?;
    keys.refuse("is_decoder", json!(false))?;
    keys.refuse("add_cross_attention", json!(false))?;
    let counts_from_pad = matches!(family, Family::Roberta | Family::Mpnet);
    let hidden_size = keys.size("hidden_size")?;
    let embedding_size = match family {
        Family::Albert | Family::Electra => keys.size_or("embedding_size", 128)?,
        _ => hidden_size,
    };
    let pad_id = keys.token("pad_token_id")?.unwrap_or(usize::from(counts_from_pad));
    if family == Family::Mpnet {
        // So it is written into transformers' MPNet.
        keys.refuse("relative_attention_num_buckets", json!(32))?;
    }
    let dropout = if family == Family::Albert { 0.0 } else { 0.1 };
    let hidden_dropout = keys.rate("hidden_dropout_prob", dropout)?;
    let head_key = if family == Family::Albert { "classifier_dropout_prob" } else { "classifier_dropout" };
    Ok(ModelConfig {
        family,
        vocab_size: keys.size("vocab_size")?,
        embedding_size,
        embedding_projection: embedding_size != hidden_size,
        hidden_size,
        layers: keys.size("num_hidden_layers")?,
        attention_heads: keys.size("num_attention_heads")?,
        own_head_size: None,
        intermediate_size: keys.size("intermediate_size")?,
        position_rows: keys.size("max_position_embeddings")?,
        // transformers' MPNet counts from 2 whatever its padding token.
        first_position: match family {
            Family::Mpnet => 2,
            _ if counts_from_pad => pad_id + 1,
            _ => 0,
        },
        token_types: if family == Family::Mpnet { 0 } else { keys.size("type_vocab_size")? },
        relative_buckets: if family == Family::Mpnet { keys.size("relative_attention_num_buckets")? } else { 0 },
        activation: keys.activation("hidden_act", if family == Family::Albert { "gelu_new" } else { "gelu" })?,
        pre_norm: false,
        causal: false,
        sharing: Sharing::None,
        attention_pattern: AttentionPattern::Dense,
        pooler: family != Family::Electra,
        pooled_relu: false,
        layer_norm_eps: keys.rate("layer_norm_eps", 1e-12)?,
        embedding_dropout: hidden_dropout,
        hidden_dropout,
        attention_dropout: keys.rate("attention_probs_dropout_prob", dropout)?,
        head_dropout: keys.rate(head_key, if family == Family::Albert { 0.1 } else { hidden_dropout })?,
        initializer_range: keys.rate("initializer_range", 0.02)?,
        pad_id,
    })
}

fn to_bert(config: &ModelConfig, set: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let family = config.family;
    set("hidden_size", json!(config.hidden_size));
    set("num_hidden_layers", json!(config.layers));
    set("num_attention_heads", json!(config.attention_heads));
    set("intermediate_size", json!(config.intermediate_size));
    set("max_position_embeddings", json!(config.position_rows));
    set("hidden_act", json!(activation_name(config.activation)));
    set("hidden_dropout_prob", json!(config.hidden_dropout));
    set("attention_probs_dropout_prob", json!(config.attention_dropout));
    set("layer_norm_eps", json!(config.layer_norm_eps));
    if matches!(family, Family::Albert | Family::Electra) {
        set("embedding_size", json!(config.embedding_size));
    }
    if family == Family::Mpnet {
        set("relative_attention_num_buckets", json!(config.relative_buckets));
    } else {
        set("position_embedding_type", json!("absolute"));
        set("type_vocab_size", json!(config.token_types));
    }
    if family != Family::Albert {
        set("classifier_dropout", json!(config.head_dropout));
        return;
    }
    set("classifier_dropout_prob", json!(config.head_dropout));
    // Partly shared layers are written as layers of their own that hold copies.
    let (groups, inner) = match config.sharing {
        Sharing::All => (1, 1),
        Sharing::Groups { groups, inner } => (groups, inner),
        Sharing::None | Sharing::Attention | Sharing::Ffn => (config.layers, 1),
    };
    set("num_hidden_groups", json!(groups));
    set("inner_group_num", json!(inner));
}

fn albert_sharing(keys: &Keys, layers: usize) -> Result<Sharing> {
    Ok(match (keys.size_or("num_hidden_groups", 1)?, keys.size_or("inner_group_num", 1)?) {
        (1, 1) => Sharing::All,
        (groups, 1) if groups == layers => Sharing::None,
        (groups, inner) => Sharing::Groups { groups, inner },
    })
}

fn from_distilbert(keys: &Keys) -> Result<ModelConfig> {
    let hidden_size = keys.size("dim")?;
    let hidden_dropout = keys.rate("dropout", 0.1)?;
    Ok(ModelConfig {
        family: Family::DistilBert,
        vocab_size: keys.size("vocab_size")?,
        embedding_size: hidden_size,
        embedding_projection: false,
        hidden_size,
        layers: keys.size("n_layers")?,
        attention_heads: keys.size("n_heads")?,
        own_head_size: None,
        intermediate_size: keys.size("hidden_dim")?,
        position_rows: keys.size("max_position_embeddings")?,
        first_position: 0,
        token_types: 0,
        relative_buckets: 0,
        activation: keys.activation("activation", "gelu")?,
        pre_norm: false,
        causal: false,
        sharing: Sharing::None,
        attention_pattern: AttentionPattern::Dense,
        pooler: false,
        pooled_relu: false,
        // transformers has no key for it.
        layer_norm_eps: 1e-12,
        embedding_dropout: hidden_dropout,
        hidden_dropout,
        attention_dropout: keys.rate("attention_dropout", 0.1)?,
        head_dropout: keys.rate("seq_classif_dropout", 0.2)?,
        initializer_range: keys.rate("initializer_range", 0.02)?,
        pad_id: keys.token("pad_token_id")?.unwrap_or(0),
    })
}

fn to_distilbert(config: &ModelConfig, set: &mut impl FnMut(&str, Value) -> Option<Value>) {
    set("dim", json!(config.hidden_size));
    set("n_layers", json!(config.layers));
    set("n_heads", json!(config.attention_heads));
    set("hidden_dim", json!(config.intermediate_size));
    set("max_position_embeddings", json!(config.position_rows));
    set("activation", json!(activation_name(config.activation)));
    set("dropout", json!(config.hidden_dropout));
    set("attention_dropout", json!(config.attention_dropout));
    set("seq_classif_dropout", json!(config.head_dropout));
    set("qa_dropout", json!(config.head_dropout));
    set("sinusoidal_pos_embds", json!(false));
}

fn from_gpt2(keys: &Keys) -> Result<ModelConfig> {
    keys.refuse("scale_attn_weights", json!(true))?;
    keys.refuse("scale_attn_by_inverse_layer_idx", json!(false))?;
    keys.refuse("add_cross_attention", json!(false))?;
    let hidden_size = keys.size("n_embd")?;
    let vocab_size = keys.size("vocab_size")?;
    let hidden_dropout = keys.rate("resid_pdrop", 0.1)?;
    Ok(ModelConfig {
        family: Family::Gpt2,
        vocab_size,
        embedding_size: hidden_size,
        embedding_projection: false,
        hidden_size,
        layers: keys.size("n_layer")?,
        attention_heads: keys.size("n_head")?,
        own_head_size: None,
        intermediate_size: keys.size_or("n_inner", 4 * hidden_size)?,
        position_rows: keys.size("n_positions")?,
        first_position: 0,
        token_types: 0,
        relative_buckets: 0,
        activation: keys.activation("activation_function", "gelu_new")?,
        pre_norm: true,
        causal: true,
        sharing: Sharing::None,
        attention_pattern: AttentionPattern::Dense,
        pooler: false,
        pooled_relu: false,
        layer_norm_eps: keys.rate("layer_norm_epsilon", 1e-5)?,
        embedding_dropout: keys.rate("embd_pdrop", 0.1)?,
        hidden_dropout,
        attention_dropout: keys.rate("attn_pdrop", 0.1)?,
        head_dropout: keys.rate("classifier_dropout", hidden_dropout)?,
        initializer_range: keys.rate("initializer_range", 0.02)?,
        // GPT-2 has no padding token of its own: the end of text serves, which is the last of its vocabulary.
        pad_id: keys
            .token("pad_token_id")?
            .or(keys.token("eos_token_id")?.filter(|&id| id < vocab_size))
            .unwrap_or(vocab_size - 1),
    })
}

fn to_gpt2(config: &ModelConfig, set: &mut impl FnMut(&str, Value) -> Option<Value>) {
    set("n_embd", json!(config.hidden_size));
    set("n_layer", json!(config.layers));
    set("n_head", json!(config.attention_heads));
    set("n_inner", json!(config.intermediate_size));
    set("n_positions", json!(config.position_rows));
    set("activation_function", json!(activation_name(config.activation)));
    set("embd_pdrop", json!(config.embedding_dropout));
    set("resid_pdrop", json!(config.hidden_dropout));
    set("attn_pdrop", json!(config.attention_dropout));
    set("classifier_dropout", json!(config.head_dropout));
    set("layer_norm_epsilon", json!(config.layer_norm_eps));
}

#[cfg(test)]
mod tests;
