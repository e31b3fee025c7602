//! A model folder whose vocabulary is that of a corpus.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ndarray::Axis;
use serde::Serialize;
use serde_json::Value;
use tch::Device;
use tokenizers::Tokenizer;

use super::tokenizer::{TrimmedTokenizer, count_tokens};
use crate::arch::{ModelConfig, Params, count_parameters};
use crate::checkpoint::{self, ArrayCheckpoint, load_arrays, read_pooling, save_model, tensor_of, tokenizer_path};
use crate::files;

/// What trimming did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VocabularyReport {
    /// Tokens before.
    pub tokens_before: usize,
    /// Tokens after.
    pub tokens_after: usize,
    /// Parameters before.
    pub parameters_before: u64,
    /// Parameters after.
    pub parameters_after: u64,
    /// Texts of the corpus.
    pub texts: usize,
    /// Texts of the corpus that are read as before, but for the numbers of tokens; all of them unless rare tokens were
    /// left out.
    pub texts_as_before: usize,
    /// Tokens of the corpus before.
    pub corpus_tokens_before: u64,
    /// Tokens of the corpus after: rare ones that were left out become several.
    pub corpus_tokens_after: u64,
}

/// Parameters with a row or a value for each token.
const BY_TOKEN: [&str; 2] = ["embeddings.words.weight", "head.decoder.bias"];

/// Writes `folder`'s model to `out` with the tokens that occur at least `min_count` times in `texts`, special tokens,
/// and what any other text may need. Texts whose tokens are all kept get the same tokens and the same outputs, which is
/// checked for the ids here.
///
/// # Errors
/// No texts; a tokenizer that cannot be trimmed; a text that is read otherwise although all its tokens were kept; a
/// folder that cannot be written, or that is `folder` itself.
pub fn trim_vocabulary(folder: &Path, texts: &[String], min_count: u64, out: &Path) -> Result<VocabularyReport> {
    ensure!(!texts.is_empty(), "the corpus has no texts");
    super::other_folder(folder, out)?;
    let file = tokenizer_path(folder)?;
    let json: Value = files::read_json(&file)?;
    let mut tokenizer = Tokenizer::from_file(&file).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
    tokenizer.with_truncation(None).map_err(|e| anyhow::anyhow!("{e}"))?;
    tokenizer.with_padding(None);
    let ArrayCheckpoint { config, info, mut arrays } = load_arrays(folder, None)?;

    let counts = count_tokens(&tokenizer, texts)?;
    let used: BTreeSet<u32> = counts.iter().filter(|(_, count)| **count >= min_count).map(|(&id, _)| id).collect();
    let pad = u32::try_from(config.pad_id).context("the padding token's id is too large")?;
    // Where positions count from the padding token, its id must not change.
    let mut always: BTreeSet<u32> = if config.first_position > 0 { (0..=pad).collect() } else { BTreeSet::from([pad]) };
    // Texts end with what no text has.
    let ends = checkpoint::ends_of_text(folder)?;
    always.extend(ends.into_iter().flatten().filter(|&id| tokenizer.id_to_token(id).is_some()));
    let trimmed = TrimmedTokenizer::new(&json, &used, &always)?;
    let last = trimmed.kept.last().copied().unwrap_or(0) as usize;
    ensure!(
        last < config.vocab_size,
        "{} has token id {last}, but the model's vocabulary ends at {}",
        file.display(),
        config.vocab_size - 1
    );

    let mut smaller = trimmed.open()?;
    smaller.with_truncation(None).map_err(|e| anyhow::anyhow!("{e}"))?;
    smaller.with_padding(None);
    let mut as_before = 0;
    let mut after = 0;
    for text in texts {
        let read = |tokenizer: &Tokenizer| {
            let encoding = tokenizer.encode_fast(text.as_str(), true).map_err(|e| anyhow::anyhow!("{e}"))?;
            Ok::<_, anyhow::Error>(encoding.get_ids().to_vec())
        };
        let (before, now) = (read(&tokenizer)?, read(&smaller)?);
        let expected: Option<Vec<u32>> = before.iter().map(|&id| trimmed.new_id(id)).collect();
        after += count_of(&smaller, text)?;
        if expected.as_ref() == Some(&now) {
            as_before += 1;
        } else if expected.is_some() {
            bail!("this tokenizer cannot be trimmed: it reads a text of the corpus otherwise: {text:?}");
        }
    }

    let parameters_before = count_parameters(&config, info.head).total;
    let rows: Vec<usize> = trimmed.kept.iter().map(|&id| id as usize).collect();
    for name in BY_TOKEN {
        if let Some(array) = arrays.get_mut(name) {
            *array = array.select(Axis(0), &rows);
        }
    }
    let pad_id = trimmed.new_id(pad).context("the padding token was left out")? as usize;
    let tokens_before = tokenizer.get_vocab_size(true);
    let small = ModelConfig { vocab_size: rows.len(), pad_id, ..config };
    let parameters = arrays.iter().map(|(name, array)| (name.clone(), tensor_of(array))).collect();
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    files::write_json(&out.join("tokenizer.json"), &trimmed.json)?;
    if let Some(pooling) = read_pooling(folder)? {
        checkpoint::write_pooling(out, pooling, small.hidden_size)?;
    }
    save_model(out, &small, &info, &Params::new(parameters, Device::Cpu), checkpoint::SHARD_BYTES)?;
    let ends = ends.map(|id| trimmed.new_id(id?));
    if ends != [None; 2] {
        checkpoint::name_ends_of_text(out, ends)?;
    }
    if let Some(quantize) = checkpoint::trained_for(folder)? {
        checkpoint::mark_trained_for(out, Some(quantize))?;
    }
    Ok(VocabularyReport {
        tokens_before,
        tokens_after: rows.len(),
        parameters_before,
        parameters_after: count_parameters(&small, info.head).total,
        texts: texts.len(),
        texts_as_before: as_before,
        corpus_tokens_before: counts.values().sum(),
        corpus_tokens_after: after,
    })
}

fn count_of(tokenizer: &Tokenizer, text: &str) -> Result<u64> {
    Ok(tokenizer.encode_fast(text, false).map_err(|e| anyhow::anyhow!("{e}"))?.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Head, parameter_layout, preset};
    use crate::checkpoint::HeadInfo;
    use crate::trim::tokenizer::tests::word_piece;

    #[test]
    fn what_is_read_otherwise_is_told_at_any_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut json = word_piece();
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        // Of "caü" the longest beginning is "ca", after which "##ü" is unknown; without it "c" and "##aü" are known.
        for token in ["ca", "##aü"] {
            vocabulary.insert(token.to_owned(), vocabulary.len().into());
        }
        let vocab_size = vocabulary.len();
        files::write_json(&path("tokenizer.json"), &json).unwrap();
        let config = ModelConfig {
            vocab_size,
            hidden_size: 8,
            embedding_size: 8,
            intermediate_size: 16,
            layers: 1,
            attention_heads: 2,
            ..preset("bert-base-uncased").unwrap().config
        };
        let turn = crate::seeded(1);
        let params = Params::initialise(&parameter_layout(&config, Head::MaskedLm), Device::Cpu);
        drop(turn);
        let model = path("model");
        checkpoint::save(&model, &config, &HeadInfo::new(Head::MaskedLm), &params, &path("tokenizer.json")).unwrap();
        // Its last token, whose number changes where others go.
        let last = json["model"]["vocab"]["##aü"].as_u64().unwrap() as u32;
        checkpoint::name_ends_of_text(&model, [None, Some(last)]).unwrap();
        let trim = |texts: &[&str], min_count| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            trim_vocabulary(&model, &texts, min_count, &path("small"))
        };
        for min_count in [1, 2] {
            let error = trim(&["the caü", "the cat"], min_count).unwrap_err().to_string();
            assert!(error.contains("reads a text of the corpus otherwise: \"the caü\""), "{error}");
        }
        // Rare tokens that go are no mistake.
        let report = trim(&["the cat", "the dog", "the cat sat"], 2).unwrap();
        assert_eq!((report.texts, report.texts_as_before), (3, 1), "{report:?}");
        assert!(report.tokens_after < report.tokens_before);
        // What ends texts is kept, by its new number.
        let small: Value = files::read_json(&path("small/tokenizer.json")).unwrap();
        let wanted = small["model"]["vocab"]["##aü"].as_u64().unwrap() as u32;
        assert!(wanted < last);
        assert_eq!(checkpoint::ends_of_text(&path("small")).unwrap(), [None, Some(wanted)]);
    }
}
