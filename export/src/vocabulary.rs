//! Tokenizers made from text, by the trainers of HF `tokenizers`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::{BertNormalizer, Lowercase, NFKC, NFKD, Replace, Sequence, StripAccents};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    Tokenizer, Trainer,
};

use crate::data::pretrain::{Documents, read_documents};
use crate::files;

/// Kinds of tokenizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VocabularyKind {
    /// BERT's and ELECTRA's: words cut into pieces, `##` before those that go on
    #[value(name = "wordpiece")]
    #[serde(rename = "wordpiece")]
    WordPiece,
    /// ALBERT's: SentencePiece's unigram model, `▁` for spaces
    Unigram,
    /// GPT-2's: byte pairs, any text comes back as it was
    ByteBpe,
}

/// What a tokenizer is made of.
#[derive(Clone, Debug)]
pub struct VocabularyOptions {
    /// Its kind.
    pub kind: VocabularyKind,
    /// Tokens, special ones included.
    pub vocab_size: usize,
    /// Text is lower-cased and accents are stripped; never with byte pairs, which lose nothing.
    pub lowercase: bool,
    /// Pieces that are rarer do not become tokens (WordPiece, byte pairs).
    pub min_frequency: u64,
    /// Characters that are tokens at most, the frequent ones (WordPiece).
    pub limit_alphabet: usize,
    /// Longest text that the models will read, for `tokenizer_config.json`.
    pub max_tokens: usize,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vocabulary {
    /// Its kind.
    pub kind: VocabularyKind,
    /// Tokens in it.
    pub tokens: usize,
    /// Texts that it was made from.
    pub texts: usize,
    /// Their bytes.
    pub bytes: usize,
}

const BERT: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// As ALBERT's `spm_train` line has them.
const ALBERT: [&str; 5] = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"];
/// GPT-2's only one; the last of its vocabulary there, the first here.
const GPT2: [&str; 1] = ["<|endoftext|>"];

impl VocabularyKind {
    fn special(self) -> &'static [&'static str] {
        match self {
            VocabularyKind::WordPiece => &BERT,
            VocabularyKind::Unigram => &ALBERT,
            VocabularyKind::ByteBpe => &GPT2,
        }
    }
}

fn library(error: tokenizers::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// The words that a tokenizer cuts a text into before its model sees them.
fn words(tokenizer: &Tokenizer, text: &str) -> tokenizers::Result<Vec<String>> {
    let mut normalized = NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer.normalize(&mut normalized)?;
    }
    let mut cut = PreTokenizedString::from(normalized);
    if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut cut)?;
    }
    let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(splits.into_iter().map(|(word, ..)| word.to_owned()).collect())
}

/// The `limit` most frequent characters of the words, and those of them that stand inside of words, both in order. The trainer finds
/// them itself, but numbers the latter in the order of a hash map, and ties between pairs are decided by these numbers: the
/// same text would give another vocabulary each time.
fn alphabet<S: AsRef<str>>(tokenizer: &Tokenizer, texts: &[S], limit: usize) -> Result<(Vec<char>, Vec<char>)> {
    let (mut counts, mut inside) = (BTreeMap::<char, u64>::new(), BTreeSet::new());
    for text in texts {
        for word in words(tokenizer, text.as_ref()).map_err(library)? {
            for (place, c) in word.chars().enumerate() {
                *counts.entry(c).or_default() += 1;
                if place > 0 {
                    inside.insert(c);
                }
            }
        }
    }
    let mut order: Vec<(char, u64)> = counts.into_iter().collect();
    // Stable, so that of equals the first in the order of Unicode stay.
    order.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let kept: BTreeSet<char> = order.into_iter().take(limit).map(|(c, _)| c).collect();
    inside.retain(|c| kept.contains(c));
    Ok((kept.into_iter().collect(), inside.into_iter().collect()))
}

/// Makes a tokenizer from texts. WordPiece and byte pairs are the same each time; the scores of a unigram model are sums in
/// no fixed order, so that its last digits, and pieces that tie, may differ.
///
/// # Errors
/// A vocabulary too small for its characters; no text.
pub fn train_tokenizer<S: AsRef<str> + Send + Sync>(
    texts: impl Iterator<Item = S> + Send,
    options: &VocabularyOptions,
) -> Result<Tokenizer> {
    let VocabularyOptions { kind, vocab_size, lowercase, min_frequency, limit_alphabet, .. } = *options;
    let least = kind.special().len() + if kind == VocabularyKind::ByteBpe { 256 } else { 1 };
    ensure!(
        (least..=1 << 24).contains(&vocab_size),
        "--vocab-size {vocab_size}: this kind has {least} tokens at least, and no vocabulary more than {}",
        1 << 24
    );
    let special = kind.special().iter().map(|&token| AddedToken::from(token, true)).collect::<Vec<_>>();
    let template = |last: &str| -> Result<TemplateProcessing> {
        let ids = [("[CLS]", 2u32), ("[SEP]", 3)];
        let mut builder = TemplateProcessing::builder();
        builder.try_single(format!("[CLS] $A {last}")).map_err(anyhow::Error::msg)?;
        builder.try_pair(format!("[CLS] $A {last} $B:1 {last}:1")).map_err(anyhow::Error::msg)?;
        builder.special_tokens(ids.map(|(token, id)| (token.to_owned(), id)).to_vec());
        Ok(builder.build()?)
    };
    let texts: Vec<S> = texts.filter(|text| !text.as_ref().is_empty()).collect();
    let (mut tokenizer, mut trainer) = match kind {
        VocabularyKind::WordPiece => {
            let model = WordPiece::builder().unk_token("[UNK]".to_owned()).build().map_err(library)?;
            let mut tokenizer = Tokenizer::new(model);
            tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, None, lowercase)));
            tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
            tokenizer.with_post_processor(Some(template("[SEP]")?));
            tokenizer.with_decoder(Some(WordPieceDecoder::new("##".to_owned(), true)));
            let (alphabet, pieces) = alphabet(&tokenizer, &texts, limit_alphabet)?;
            let needed = special.len() + alphabet.len() + pieces.len();
            ensure!(
                needed <= vocab_size,
                "--vocab-size {vocab_size}: {} letters, {} of them inside of words too, and the special tokens are {needed} \
                 tokens; give at least as many, or a --limit-alphabet below {}",
                alphabet.len(),
                pieces.len(),
                alphabet.len()
            );
            let letters = alphabet.iter().map(char::to_string).chain(pieces.iter().map(|c| format!("##{c}")));
            let numbered = letters.map(|token| AddedToken::from(token, false));
            let trainer = WordPieceTrainer::builder()
                .vocab_size(vocab_size)
                .min_frequency(min_frequency)
                .limit_alphabet(alphabet.len())
                .initial_alphabet(alphabet.iter().copied().collect())
                .special_tokens(special.iter().cloned().chain(numbered).collect())
                .show_progress(false)
                .build();
            (tokenizer, TrainerWrapper::from(trainer))
        }
        VocabularyKind::Unigram => {
            let mut tokenizer = Tokenizer::new(Unigram::default());
            let normalizer = match lowercase {
                // As ALBERT's tokenizer of transformers.
                true => vec![
                    Replace::new("``", "\"").map_err(library)?.into(),
                    Replace::new("''", "\"").map_err(library)?.into(),
                    NFKD.into(),
                    StripAccents.into(),
                    Lowercase.into(),
                ],
                false => vec![NFKC.into()],
            };
            tokenizer.with_normalizer(Some(Sequence::new(normalizer)));
            let metaspace = Metaspace::new('▁', PrependScheme::Always, true);
            tokenizer.with_pre_tokenizer(Some(metaspace.clone()));
            tokenizer.with_decoder(Some(metaspace));
            tokenizer.with_post_processor(Some(template("[SEP]")?));
            let trainer = UnigramTrainer::builder()
                .vocab_size(u32::try_from(vocab_size)?)
                .unk_token(Some("<unk>".to_owned()))
                .special_tokens(special.clone())
                .show_progress(false)
                .build()?;
            (tokenizer, TrainerWrapper::from(trainer))
        }
        VocabularyKind::ByteBpe => {
            let mut tokenizer = Tokenizer::new(BPE::default());
            tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
            tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
            tokenizer.with_post_processor(Some(ByteLevel::new(false, false, true)));
            let trainer = BpeTrainer::builder()
                .vocab_size(vocab_size)
                .min_frequency(min_frequency)
                .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
                .special_tokens(special.clone())
                .show_progress(false)
                .build();
            (tokenizer, TrainerWrapper::from(trainer))
        }
    };
    let words = |text: &str| words(&tokenizer, text);
    let mut model = tokenizer.get_model().clone();
    trainer
        .feed(texts.iter().map(S::as_ref), words)
        .and_then(|()| trainer.train(&mut model))
        .map_err(library)
        .with_context(|| {
            format!(
                "no vocabulary of {vocab_size} tokens can be made of this text; give more text, or another --vocab-size"
            )
        })?;
    tokenizer.with_model(model);
    tokenizer.add_special_tokens(&special);
    ensure!(
        tokenizer.get_vocab_size(false) > kind.special().len() || kind == VocabularyKind::ByteBpe,
        "the text gives no tokens"
    );
    Ok(tokenizer)
}

/// What transformers' `AutoTokenizer` reads beside `tokenizer.json`.
fn tokenizer_config(options: &VocabularyOptions) -> Value {
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": options.max_tokens,
        "clean_up_tokenization_spaces": false,
    });
    let roles: &[(&str, usize)] = match options.kind {
        VocabularyKind::ByteBpe => &[("bos_token", 0), ("eos_token", 0), ("unk_token", 0)],
        _ => &[("pad_token", 0), ("unk_token", 1), ("cls_token", 2), ("sep_token", 3), ("mask_token", 4)],
    };
    for &(role, index) in roles {
        config[role] = json!(options.kind.special()[index]);
    }
    if options.kind != VocabularyKind::ByteBpe {
        config["model_input_names"] = json!(["input_ids", "token_type_ids", "attention_mask"]);
    }
    config
}

/// Makes a tokenizer from files of plain text or JSON Lines (key `text_key`) and writes its folder.
///
/// # Errors
/// As [`train_tokenizer`]; a file that cannot be read; a folder that cannot be written.
pub fn make_vocabulary(
    texts: &[PathBuf],
    text_key: &str,
    options: &VocabularyOptions,
    out: &Path,
) -> Result<Vocabulary> {
    let mut all = Vec::new();
    for path in texts {
        // Lines with their ends, so that byte pairs learn of them.
        for document in read_documents(path, Documents::Files, text_key)? {
            all.extend(document.split_inclusive('\n').map(str::to_owned));
        }
    }
    ensure!(!all.is_empty(), "no text; name files");
    let tokenizer = train_tokenizer(all.iter().map(String::as_str), options)?;
    let text = tokenizer.to_string(true).map_err(library)?;
    files::write_json(&out.join("tokenizer_config.json"), &tokenizer_config(options))?;
    // The one that makes the folder a tokenizer comes last.
    files::write_bytes(&out.join("tokenizer.json"), text.as_bytes())?;
    Ok(Vocabulary {
        kind: options.kind,
        tokens: tokenizer.get_vocab_size(true),
        texts: all.len(),
        bytes: all.iter().map(String::len).sum(),
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const TEXT: &str =
        "The keeper climbed the stairs, counting; at the top he lit the lamp.\nThen the grey morning came.\n";

    fn options(kind: VocabularyKind, vocab_size: usize) -> VocabularyOptions {
        VocabularyOptions {
            kind,
            vocab_size,
            lowercase: false,
            min_frequency: 1,
            limit_alphabet: 1000,
            max_tokens: 128,
        }
    }

    #[test]
    fn byte_pairs_give_any_text_back() {
        let tokenizer = train_tokenizer(TEXT.lines(), &options(VocabularyKind::ByteBpe, 300)).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 300);
        assert_eq!(tokenizer.token_to_id("<|endoftext|>"), Some(0));
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for round in 0..2000 {
            let text: String = match round % 3 {
                0 => {
                    let bytes: Vec<u8> = (0..rng.random_range(0..60)).map(|_| rng.random()).collect();
                    String::from_utf8_lossy(&bytes).into_owned()
                }
                1 => (0..rng.random_range(0..30)).map(|_| rng.random::<char>()).collect(),
                _ => (0..rng.random_range(0..60)).map(|_| char::from(rng.random_range(0u8..128))).collect(),
            };
            let tokens = tokenizer.encode(text.as_str(), true).unwrap();
            assert_eq!(tokenizer.decode(tokens.get_ids(), false).unwrap(), text);
        }
    }

    #[test]
    fn special_tokens_stand_where_the_models_have_them() {
        for kind in [VocabularyKind::WordPiece, VocabularyKind::Unigram] {
            let tokenizer = train_tokenizer(TEXT.lines(), &options(kind, 60)).unwrap();
            let id = |token: &str| tokenizer.token_to_id(token).unwrap();
            assert_eq!(kind.special().iter().map(|token| id(token)).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
            let pair = tokenizer.encode(("the lamp", "came"), true).unwrap();
            let (ids, types) = (pair.get_ids(), pair.get_type_ids());
            assert_eq!((ids[0], ids[ids.len() - 1], types[types.len() - 1]), (2, 3, 1));
            assert!(!ids.contains(&1) && tokenizer.get_vocab_size(true) <= 60);
        }
    }

    #[test]
    fn the_same_text_gives_the_same_vocabulary() {
        let more: String = (0..40).map(|i| format!("{} {TEXT}", ["lampless", "stairway", "topmost"][i % 3])).collect();
        for kind in [VocabularyKind::WordPiece, VocabularyKind::ByteBpe] {
            let make = || train_tokenizer(more.lines(), &options(kind, 300)).unwrap().to_string(false).unwrap();
            let first = make();
            assert!((0..5).all(|_| make() == first), "{kind:?}");
        }
    }

    #[test]
    fn case_and_accents_go_where_they_are_to() {
        for kind in [VocabularyKind::WordPiece, VocabularyKind::Unigram] {
            let lower = VocabularyOptions { lowercase: true, ..options(kind, 60) };
            let tokenizer = train_tokenizer(TEXT.lines(), &lower).unwrap();
            let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
            assert_eq!(ids("THE Lámp"), ids("the lamp"));
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let error = |kind, size| format!("{:#}", train_tokenizer(TEXT.lines(), &options(kind, size)).unwrap_err());
        assert!(error(VocabularyKind::ByteBpe, 200).contains("257 tokens at least"));
        assert!(error(VocabularyKind::WordPiece, 3).contains("6 tokens at least"));
        let many = error(VocabularyKind::WordPiece, 40);
        assert!(many.contains("--limit-alphabet") && many.contains("--vocab-size 40"), "{many}");
        let few = VocabularyOptions { limit_alphabet: 10, ..options(VocabularyKind::WordPiece, 40) };
        assert!(train_tokenizer(TEXT.lines(), &few).unwrap().get_vocab_size(true) <= 40);
        assert!(error(VocabularyKind::Unigram, 8).contains("no vocabulary of 8 tokens"));
    }
}
