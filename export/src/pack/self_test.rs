//! Inputs with the outputs that libtorch computes for them, so that a device can check itself.

use std::path::Path;

use anyhow::Result;
use limbeck::bundle::{SelfTest, SelfTestVector};
use tch::{Device, Tensor};
use tokenizers::{EncodeInput, Tokenizer};

use super::task::Use;
use crate::arch::{Capture, Head, Model, ModelConfig, Params};
use crate::checkpoint::{Arrays, tensor_of};

/// Texts of several scripts and lengths.
const TEXTS: [&str; 4] = [
    "ok",
    "The battery lasts all day, but the screen scratches easily.",
    "Ada Lovelace met Charles Babbage in London in 1833. 🙂",
    "Ça coûte 3,50 € à la façade; 東京 عربي cafe\u{301}",
];
const PAIRS: [(&str, &str); 3] = [
    ("yes", "no"),
    ("Who met Babbage?", "Ada Lovelace met Charles Babbage in London in 1833. 🙂"),
    ("The battery lasts all day, but the screen scratches easily.", "The battery is good."),
];

/// How far outputs may be off: kernels of ONNX Runtime and of libtorch differ by rounding.
const TOLERANCE: f32 = 1e-3;
/// How far they may be off for weights of 8 bits, whose kernels differ more from processor to processor.
const INT8_TOLERANCE: f32 = 0.1;

/// The self-test of a model with weights of 8 bits: libtorch has no such model, so what `model` gives on this
/// machine is what is expected of others.
pub(super) fn record(model: &limbeck::Model, pairs: bool) -> Result<Option<SelfTest>> {
    let inputs: Vec<Vec<&str>> = match pairs {
        true => PAIRS.map(|(first, second)| vec![first, second]).to_vec(),
        false => TEXTS.map(|text| vec![text]).to_vec(),
    };
    let mut vectors = Vec::new();
    for texts in inputs {
        match model.self_test_vector(&texts) {
            Ok(vector) => vectors.push(vector),
            Err(limbeck::Error::TooLong { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((!vectors.is_empty()).then_some(SelfTest { tolerance: INT8_TOLERANCE, vectors }))
}

/// The self-test of a model, with outputs from libtorch; none if it takes no text as long as those here.
pub(super) fn make(
    arrays: &Arrays,
    config: &ModelConfig,
    usage: &Use,
    tokenizer: &Path,
    max_tokens: usize,
) -> Result<Option<SelfTest>> {
    let tensors = arrays.iter().map(|(name, array)| (name.clone(), tensor_of(array))).collect();
    let params = Params::new(tensors, Device::Cpu);
    let model = Model::new(&params, config, usage.head);
    let mut tokenizer = Tokenizer::from_file(tokenizer).map_err(|e| anyhow::anyhow!("{}: {e}", tokenizer.display()))?;
    tokenizer.with_truncation(None).map_err(|e| anyhow::anyhow!("{e}"))?;
    tokenizer.with_padding(None);
    let _no_grad = tch::no_grad_guard();
    let run = |input: EncodeInput, texts: Vec<String>| -> Result<Option<SelfTestVector>> {
        let tokens = tokenizer.encode(input, true).map_err(|e| anyhow::anyhow!("cannot tokenize: {e}"))?;
        if !(1..=max_tokens).contains(&tokens.len())
            || tokens.get_ids().iter().any(|&id| id as usize >= config.vocab_size)
        {
            return Ok(None);
        }
        let row =
            |values: &[u32]| Tensor::from_slice(&values.iter().map(|&v| i64::from(v)).collect::<Vec<_>>()).unsqueeze(0);
        let (ids, types) = (row(tokens.get_ids()), row(tokens.get_type_ids()));
        let types = (usage.pairs && config.token_types > 1).then_some(&types);
        let logits = model.forward(&ids, &ids.ones_like(), types, &Capture::default(), false).logits;
        let outputs = match usage.head {
            Head::Span => vec![logits.select(2, 0), logits.select(2, 1)],
            _ => vec![logits],
        };
        let sample = |output: &Tensor| -> Result<Vec<f32>> {
            Ok(SelfTest::sample(&Vec::<f32>::try_from(output.contiguous().view(-1))?))
        };
        let outputs = outputs.iter().map(sample).collect::<Result<_>>()?;
        Ok(Some(SelfTestVector { texts, ids: tokens.get_ids().to_vec(), outputs }))
    };
    let mut vectors = Vec::new();
    if usage.pairs {
        for (first, second) in PAIRS {
            vectors.extend(run((first, second).into(), vec![first.to_owned(), second.to_owned()])?);
        }
    } else {
        for text in TEXTS {
            vectors.extend(run(text.into(), vec![text.to_owned()])?);
        }
    }
    Ok((!vectors.is_empty()).then_some(SelfTest { tolerance: TOLERANCE, vectors }))
}
