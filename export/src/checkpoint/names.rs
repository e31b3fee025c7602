//! Where each parameter lives in a Hugging Face file.
//!
//! A new architecture needs its [`Names`] here, its keys in `config.rs` and, where its classification head starts
//! in a new way, a line in `arch::head`.

use crate::arch::{Family, Head, ModelConfig, Sharing};

/// How a parameter is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Whole,
    /// GPT-2's `Conv1D`: `[in, out]`.
    Transposed,
    /// The n-th third of the columns of a `Conv1D` that makes query, key and value.
    Third(usize),
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The tensor's name, without the family's prefix.
    pub name: String,
    pub form: Form,
    /// Part of the encoder, which a model with a head puts under the family's prefix.
    pub in_encoder: bool,
}

/// Names of one family's modules. An empty name: there is no such module.
struct Names {
    /// What a model with a head puts before its encoder's names.
    prefix: &'static str,
    /// The start of the names of transformers' classes.
    class: &'static str,
    words: &'static str,
    positions: &'static str,
    types: &'static str,
    embedding_norm: &'static str,
    projection: &'static str,
    /// `{}` stands for the number of the layer.
    layer: &'static str,
    /// Query, key, value, output, norm.
    attention: [&'static str; 5],
    /// Up, down, norm.
    ffn: [&'static str; 3],
    final_norm: &'static str,
    pooler: &'static str,
    /// Dense layer and output of the sequence classifier.
    classifier: [&'static str; 2],
    /// Dense layer, norm and what holds the decoder's bias in the masked-LM head.
    masked_lm: [&'static str; 3],
    /// Sentence order or next sentence.
    sentence: &'static str,
}

const BERT: Names = Names {
    prefix: "bert",
    class: "Bert",
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    types: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    projection: "embeddings_project",
    layer: "encoder.layer.{}",
    attention: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
    ],
    ffn: ["intermediate.dense", "output.dense", "output.LayerNorm"],
    final_norm: "",
    pooler: "pooler.dense",
    classifier: ["", "classifier"],
    masked_lm: ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions"],
    sentence: "cls.seq_relationship",
};

const ROBERTA: Names = Names {
    prefix: "roberta",
    class: "Roberta",
    classifier: ["classifier.dense", "classifier.out_proj"],
    masked_lm: ["lm_head.dense", "lm_head.layer_norm", "lm_head"],
    ..BERT
};

const MPNET: Names = Names {
    prefix: "mpnet",
    class: "MPNet",
    attention: ["attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o", "attention.LayerNorm"],
    ..ROBERTA
};

const DISTILBERT: Names = Names {
    prefix: "distilbert",
    class: "DistilBert",
    layer: "transformer.layer.{}",
    attention: ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm"],
    ffn: ["ffn.lin1", "ffn.lin2", "output_layer_norm"],
    classifier: ["pre_classifier", "classifier"],
    masked_lm: ["vocab_transform", "vocab_layer_norm", "vocab_projector"],
    ..BERT
};

const ALBERT: Names = Names {
    prefix: "albert",
    class: "Albert",
    projection: "encoder.embedding_hidden_mapping_in",
    layer: "encoder.albert_layer_groups.{}",
    attention: ["attention.query", "attention.key", "attention.value", "attention.dense", "attention.LayerNorm"],
    ffn: ["ffn", "ffn_output", "full_layer_layer_norm"],
    pooler: "pooler",
    masked_lm: ["predictions.dense", "predictions.LayerNorm", "predictions"],
    sentence: "sop_classifier.classifier",
    ..BERT
};

const ELECTRA: Names = Names {
    prefix: "electra",
    class: "Electra",
    classifier: ["classifier.dense", "classifier.out_proj"],
    masked_lm: ["generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head"],
    ..BERT
};

const GPT2: Names = Names {
    prefix: "transformer",
    class: "GPT2",
    words: "wte",
    positions: "wpe",
    layer: "h.{}",
    attention: ["attn.c_attn", "attn.c_attn", "attn.c_attn", "attn.c_proj", "ln_1"],
    ffn: ["mlp.c_fc", "mlp.c_proj", "ln_2"],
    final_norm: "ln_f",
    classifier: ["", "score"],
    ..BERT
};

const REPLACED_TOKEN: [&str; 2] = ["discriminator_predictions.dense", "discriminator_predictions.dense_prediction"];

fn names(family: Family) -> &'static Names {
    match family {
        Family::Bert => &BERT,
        Family::Roberta => &ROBERTA,
        Family::Mpnet => &MPNET,
        Family::DistilBert => &DISTILBERT,
        Family::Albert => &ALBERT,
        Family::Electra => &ELECTRA,
        Family::Gpt2 => &GPT2,
    }
}

/// What a model with a head puts before the names of its encoder.
pub(super) fn prefix(family: Family) -> &'static str {
    names(family).prefix
}

/// transformers' class for a head.
pub(super) fn class_name(family: Family, head: Head) -> String {
    let suffix = match head {
        Head::None | Head::Embedding { .. } => "Model",
        Head::Classification { .. } => "ForSequenceClassification",
        Head::TokenClassification { .. } => "ForTokenClassification",
        Head::Span => "ForQuestionAnswering",
        Head::MaskedLm => "ForMaskedLM",
        Head::Pretraining | Head::ReplacedToken => "ForPreTraining",
        Head::CausalLm => "LMHeadModel",
    };
    format!("{}{suffix}", names(family).class)
}

/// The layers of the file that hold attention block (or feed-forward block) `block`. More than one: copies, since
/// transformers can share whole layers only.
fn layers_of(config: &ModelConfig, attention: bool, block: usize) -> Vec<String> {
    let layer = |i: usize| names(config.family).layer.replace("{}", &i.to_string());
    if config.family != Family::Albert {
        return vec![layer(block)];
    }
    let group = |group: usize, inner: usize| format!("{}.albert_layers.{inner}", layer(group));
    match config.sharing {
        Sharing::Groups { inner, .. } => vec![group(block / inner, block % inner)],
        Sharing::Attention if attention => (0..config.layers).map(|i| group(i, 0)).collect(),
        Sharing::Ffn if !attention => (0..config.layers).map(|i| group(i, 0)).collect(),
        _ => vec![group(block, 0)],
    }
}

/// Where parameter `name` (of `arch::parameter_layout`) is in a file.
pub(super) fn places(config: &ModelConfig, head: Head, name: &str) -> Vec<Place> {
    let names = names(config.family);
    let conv1d = config.family == Family::Gpt2;
    let (module, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let place =
        |module: &str, form: Form, in_encoder: bool| Place { name: format!("{module}.{kind}"), form, in_encoder };
    let block = |rest: &str, attention: bool| {
        let (index, part) = rest.split_once('.').unwrap_or((rest, ""));
        let at = |parts: &[&str]| match parts.iter().position(|&p| p == part) {
            Some(at) => at,
            None => unreachable!("`{part}` is not a part of a block"),
        };
        let (module, third) = if attention {
            let at = at(&["query", "key", "value", "output", "norm"]);
            (names.attention[at], (at < 3).then_some(at))
        } else {
            (names.ffn[at(&["up", "down", "norm"])], None)
        };
        let form = match third {
            Some(third) if conv1d => Form::Third(third),
            _ if conv1d && kind == "weight" && part != "norm" => Form::Transposed,
            _ => Form::Whole,
        };
        let layers = layers_of(config, attention, index.parse().unwrap_or(0));
        layers.iter().map(|layer| place(&format!("{layer}.{module}"), form, true)).collect()
    };
    if let Some(rest) = module.strip_prefix("encoder.attention.") {
        return block(rest, true);
    }
    if let Some(rest) = module.strip_prefix("encoder.ffn.") {
        return block(rest, false);
    }
    let (module, in_encoder) = match module {
        "embeddings.words" => (names.words, true),
        "embeddings.positions" => (names.positions, true),
        "embeddings.types" => (names.types, true),
        "embeddings.norm" => (names.embedding_norm, true),
        "embeddings.projection" => (names.projection, true),
        "encoder.relative_bias" => ("encoder.relative_attention_bias", true),
        "encoder.norm" => (names.final_norm, true),
        "pooler" => (names.pooler, true),
        "head.dense" => match head {
            Head::Classification { .. } => (names.classifier[0], false),
            Head::ReplacedToken => (REPLACED_TOKEN[0], false),
            _ => (names.masked_lm[0], false),
        },
        "head.output" => match head {
            Head::Classification { .. } => (names.classifier[1], false),
            Head::TokenClassification { .. } => ("classifier", false),
            Head::ReplacedToken => (REPLACED_TOKEN[1], false),
            _ => ("qa_outputs", false),
        },
        "head.norm" => (names.masked_lm[1], false),
        "head.decoder" => (names.masked_lm[2], false),
        "head.sentence" => (names.sentence, false),
        unknown => unreachable!("`{unknown}` is not a module of a layout"),
    };
    vec![place(module, Form::Whole, in_encoder)]
}

/// The name of a file's tensor without the family's prefix and with today's LayerNorm names (once `gamma`, `beta`).
pub(super) fn plain_name(family: Family, file_name: &str) -> String {
    let prefix = prefix(family);
    let name = file_name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or(file_name);
    match name.rsplit_once('.') {
        Some((stem, "gamma")) if stem.ends_with("LayerNorm") => format!("{stem}.weight"),
        Some((stem, "beta")) if stem.ends_with("LayerNorm") => format!("{stem}.bias"),
        _ => name.to_owned(),
    }
}

/// Buffers that old versions of transformers stored and that hold no weights.
pub(super) fn is_buffer(plain: &str) -> bool {
    let gpt2_mask = plain.starts_with("h.") && (plain.ends_with(".attn.bias") || plain.ends_with(".attn.masked_bias"));
    gpt2_mask || ["embeddings.position_ids", "embeddings.token_type_ids"].contains(&plain)
}

/// Decoders of language-model heads that some files store a second time; `true` in the pair for the token table,
/// `false` for the bias.
pub(super) fn tied_copy(plain: &str) -> Option<bool> {
    match plain {
        "cls.predictions.decoder.weight"
        | "lm_head.decoder.weight"
        | "predictions.decoder.weight"
        | "vocab_projector.weight"
        | "generator_lm_head.weight"
        | "lm_head.weight" => Some(true),
        "cls.predictions.decoder.bias" | "lm_head.decoder.bias" | "predictions.decoder.bias" => Some(false),
        _ => None,
    }
}

/// Tensors of heads, which a model with another head leaves aside.
pub(super) fn belongs_to_a_head(plain: &str) -> bool {
    const STEMS: [&str; 14] = [
        "cls.",
        "classifier.",
        "pre_classifier.",
        "qa_outputs.",
        "score.",
        "lm_head.",
        "vocab_transform.",
        "vocab_layer_norm.",
        "vocab_projector.",
        "predictions.",
        "sop_classifier.",
        "generator_predictions.",
        "generator_lm_head.",
        "discriminator_predictions.",
    ];
    plain.starts_with("pooler.") || STEMS.iter().any(|stem| plain.starts_with(stem))
}

/// Parameters that a pretrained encoder may lack when it gets a new task.
pub(super) fn may_be_new(name: &str) -> bool {
    name.starts_with("head.") || name.starts_with("pooler.")
}
