use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use limbeck_export::vocabulary::{Vocabulary, VocabularyKind, VocabularyOptions, make_vocabulary};

/// Make a tokenizer from text
#[derive(Args)]
pub(super) struct TokenizerVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Train(Train),
}

/// Train a tokenizer on files of text, with HF tokenizers' trainers
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck tokenizer train --kind wordpiece --vocab-size 8000 --lowercase --out tokenizer corpus.txt\n  \
    limbeck tokenizer train --kind byte-bpe --vocab-size 4000 --out gpt2-tokenizer books.txt more.jsonl\n\n\
    The folder has tokenizer.json and tokenizer_config.json, which limbeck and transformers' AutoTokenizer load. Files are plain\n\
    text, or JSON Lines with a key `text`. Byte pairs keep every text as it is, case included.")]
struct Train {
    /// Text
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Which kind
    #[arg(long, value_enum)]
    kind: VocabularyKind,
    /// Tokens, special ones included
    #[arg(long)]
    vocab_size: usize,
    /// Folder for the result
    #[arg(long)]
    out: PathBuf,
    /// Lower-case text and strip accents
    #[arg(long)]
    lowercase: bool,
    /// Pieces that are rarer do not become tokens (wordpiece, byte-bpe)
    #[arg(long, default_value_t = 2)]
    min_frequency: u64,
    /// Characters that are tokens at most (wordpiece)
    #[arg(long, default_value_t = 1000)]
    limit_alphabet: usize,
    /// Longest text that the models will read, for transformers
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Key of the text in JSON Lines
    #[arg(long, default_value = "text")]
    text_column: String,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl TokenizerVerb {
    pub(super) fn run(self) -> Result<ExitCode> {
        let What::Train(train) = self.what;
        let Train { kind, vocab_size, lowercase, min_frequency, limit_alphabet, max_tokens, .. } = train;
        anyhow::ensure!(
            !(lowercase && kind == VocabularyKind::ByteBpe),
            "--lowercase: byte pairs keep every text as it is; use wordpiece or unigram"
        );
        let options = VocabularyOptions { kind, vocab_size, lowercase, min_frequency, limit_alphabet, max_tokens };
        let made = make_vocabulary(&train.files, &train.text_column, &options, &train.out)?;
        if train.json {
            super::print_json(&made)?;
        } else {
            let Vocabulary { tokens, texts, bytes, .. } = made;
            let few = if tokens < vocab_size { ", which is all that the text gives" } else { "" };
            super::print(&format!(
                "{}: {tokens} tokens{few}, from {texts} lines of {bytes} bytes\n\
                 Next: limbeck pretrain --tokenizer {} --preset NAME --train FILE --out FOLDER\n",
                train.out.display(),
                train.out.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
