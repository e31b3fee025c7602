//! Candidates from a masked language model, for words that are one token.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{Device, IndexOp, Tensor};

use super::vocabulary::Vocabulary;
use super::{AugmentOptions, MaskedContext, library};
use crate::arch::{Capture, Head, Model};
use crate::checkpoint;
use crate::data::{Batch, EncodedExample, Encoder, Target};
use crate::pack::mask_id;

/// Masked texts that are read at once have at most so many tokens, padding included, ...
const BATCH_TOKENS: usize = 4096;
/// ... and are at most so many: for each, logits over the whole vocabulary are at hand.
const BATCH_ROWS: usize = 256;
/// Logits that are closer than this may change places with the batch and the number of threads, which move them by some
/// 1e-5. Where the last candidate and the first that is none are that close, the text is read once more, alone.
const CLOSE: f32 = 5e-4;

/// A word's token, by its place in a text.
enum Pieces {
    /// One token, here.
    One(usize),
    /// Several tokens.
    Several,
    /// A part of a token, or beyond what the model reads.
    None,
}

/// A text as the model reads it.
struct Reading {
    example: EncodedExample,
    pieces: Vec<Pieces>,
}

/// A word to be masked.
struct Job {
    text: usize,
    word: usize,
    token: usize,
}

/// A masked language model.
pub(super) struct MaskedWords {
    model: Model,
    encoder: Encoder,
    /// Its tokens.
    pub vocabulary: Vocabulary,
    /// Its token embeddings, `[vocabulary, embedding]`.
    pub embeddings: Tensor,
    mask: i64,
    pad: usize,
    longest: usize,
    vocab_size: usize,
    types: bool,
    device: Device,
    /// See [`BATCH_ROWS`].
    pub batch_rows: usize,
}

impl MaskedWords {
    pub(super) fn load(folder: &Path, device: Device) -> Result<Self> {
        let loaded = checkpoint::load(folder, Head::MaskedLm, device)?;
        ensure!(
            !loaded.initialised.iter().any(|name| name.starts_with("head.")),
            "{} has no masked-LM head; give a masked language model, such as bert-base-uncased",
            folder.display()
        );
        let config = &loaded.config;
        let longest = config.max_positions();
        let encoder = Encoder::new(&checkpoint::tokenizer_path(folder)?, longest, config.vocab_size)?;
        let words = loaded.params.get("embeddings.words.weight").context("the model has no token embeddings")?;
        Ok(Self {
            model: Model::new(&loaded.params, config, Head::MaskedLm),
            vocabulary: Vocabulary::new(encoder.tokenizer()),
            encoder,
            embeddings: words.shallow_clone(),
            mask: mask_id(folder)?.into(),
            pad: config.pad_id,
            longest,
            vocab_size: config.vocab_size,
            types: config.token_types > 1,
            device,
            batch_rows: BATCH_ROWS,
        })
    }

    /// The candidates of words of texts, `None` for a word of several tokens: of the `options.candidates` likeliest tokens
    /// in its place those that are words in the form of its own token. So there may be fewer, as in the released code,
    /// which takes the likeliest tokens and then drops `##` pieces. `progress` hears of words done and words in all.
    pub(super) fn candidates(
        &self,
        texts: &[(&str, Vec<Range<usize>>)],
        options: &AugmentOptions,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Vec<Vec<Option<Vec<String>>>>> {
        let readings: Vec<Reading> =
            texts.iter().map(|(text, words)| self.read(text, words, options.context)).collect::<Result<_>>()?;
        let mut found: Vec<Vec<_>> = Vec::with_capacity(texts.len());
        let mut jobs = Vec::new();
        for (text, reading) in readings.iter().enumerate() {
            let several = |pieces: &Pieces| (!matches!(pieces, Pieces::Several)).then(Vec::new);
            found.push(reading.pieces.iter().map(several).collect());
            jobs.extend(reading.pieces.iter().enumerate().filter_map(|(word, pieces)| match *pieces {
                Pieces::One(token) => Some(Job { text, word, token }),
                _ => None,
            }));
        }
        let length = |job: &Job| readings[job.text].example.ids.len();
        jobs.sort_by_key(length);
        let (mut done, wanted) = (0, options.candidates.min(self.vocab_size));
        while done < jobs.len() {
            // The longest of a batch comes last.
            let fits = |rows: usize, job: &Job| rows <= self.batch_rows && rows * length(job) <= BATCH_TOKENS;
            let more = jobs[done + 1..].iter().zip(2..).take_while(|(job, rows)| fits(*rows, job)).count();
            let size = 1 + more;
            let batch = &jobs[done..done + size];
            for (job, ids) in batch.iter().zip(self.likeliest(&readings, batch, wanted)?) {
                let own = readings[job.text].example.ids[job.token] as u32;
                // A word that the tokenizer does not know stands as one that begins.
                let begins = self.vocabulary.word(own).is_none_or(|word| word.begins);
                let words = ids.into_iter().filter_map(|id| self.vocabulary.word(id));
                let words = words.filter(|word| word.begins == begins).map(|word| word.text.clone());
                found[job.text][job.word] = Some(words.collect());
            }
            done += size;
            progress(done, jobs.len());
        }
        Ok(found)
    }

    /// Tokenizes a text and finds its words there. What is longer than the model reads is cut at the end, as in the
    /// released code.
    fn read(&self, text: &str, words: &[Range<usize>], context: MaskedContext) -> Result<Reading> {
        let tokenizer = self.encoder.tokenizer();
        let tokens = match context {
            MaskedContext::WithOriginal => tokenizer.encode((text, text), true),
            MaskedContext::Alone => tokenizer.encode(text, true),
        };
        let tokens = tokens.map_err(library)?;
        let sequences = tokens.get_sequence_ids();
        let first = |token: &usize| sequences[*token] == Some(0);
        let own: Vec<(usize, (usize, usize))> = (0..tokens.len())
            .filter(first)
            .map(|token| (token, tokens.get_offsets()[token]))
            .filter(|(_, (start, end))| start < end)
            .collect();
        let mut from = 0;
        let pieces = words.iter().map(|word| {
            while own.get(from).is_some_and(|(_, (_, end))| *end <= word.start) {
                from += 1;
            }
            let mut within = own[from..].iter().take_while(|(_, (start, _))| *start < word.end);
            match (within.next(), within.next()) {
                (Some(&(token, (start, end))), None) => {
                    let whole = text.get(start..end).is_some_and(|piece| piece.trim() == &text[word.clone()]);
                    if whole && token < self.longest { Pieces::One(token) } else { Pieces::None }
                }
                (Some(_), Some(_)) => Pieces::Several,
                _ => Pieces::None,
            }
        });
        let pieces = pieces.collect();
        let cut = |ids: &[u32]| ids.iter().take(self.longest).map(|&id| i64::from(id)).collect();
        // Targets are not asked for.
        let mut example = EncodedExample::new(cut(tokens.get_ids()), Target::Class(0));
        if self.types {
            example.types = cut(tokens.get_type_ids());
        }
        Ok(Reading { example, pieces })
    }

    /// The `count` likeliest tokens in each job's place, by id.
    fn likeliest(&self, readings: &[Reading], jobs: &[Job], count: usize) -> Result<Vec<Vec<u32>>> {
        let logits = self.logits(readings, jobs)?;
        let beyond = (count + 1).min(self.vocab_size);
        let (values, ids) = logits.topk(beyond as i64, -1, true, true);
        let (values, ids) = (values.to_device(Device::Cpu), ids.to_device(Device::Cpu));
        let mut found = Vec::with_capacity(jobs.len());
        for (row, job) in jobs.iter().enumerate() {
            let values: Vec<f32> = Vec::try_from(values.i(row as i64))?;
            let clear = beyond == count || values[count - 1] - values[count] >= CLOSE;
            let mut ids: Vec<u32> = if clear {
                let ids: Vec<i64> = Vec::try_from(ids.i(row as i64))?;
                ids[..count].iter().map(|&id| id as u32).collect()
            } else {
                let alone = self.logits(readings, std::slice::from_ref(job))?;
                highest(&Vec::try_from(alone.to_device(Device::Cpu).view([-1]))?, count)
            };
            // All are equally likely to be drawn; their order must not depend on the last digits of logits.
            ids.sort_unstable();
            found.push(ids);
        }
        Ok(found)
    }

    /// The logits in the jobs' places, `[jobs, vocabulary]`.
    fn logits(&self, readings: &[Reading], jobs: &[Job]) -> Result<Tensor> {
        let masked = jobs.iter().map(|job| {
            let mut example = readings[job.text].example.clone();
            example.ids[job.token] = self.mask;
            example
        });
        let batch = Batch::new(&masked.collect::<Vec<_>>(), (0..jobs.len()).collect(), self.pad, self.device);
        let length = batch.ids.size()[1] as usize;
        let places: Vec<i64> = jobs.iter().enumerate().map(|(row, job)| (row * length + job.token) as i64).collect();
        tch::no_grad(|| {
            let (ids, mask, types) = (&batch.ids, &batch.mask, batch.types.as_ref());
            let hidden = self.model.encoder().forward(ids, mask, types, &Capture::default(), false).last_hidden;
            let hidden = hidden.flatten(0, 1).index_select(0, &Tensor::from_slice(&places).to_device(self.device));
            self.model.masked_lm_logits(&hidden).context("the model has no masked-LM head")
        })
    }
}

/// The places of the `count` highest values; of equal ones the first.
fn highest(values: &[f32], count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..values.len() as u32).collect();
    ids.sort_unstable_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]).then(a.cmp(&b)));
    ids.truncate(count);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_logits_the_first_token_counts() {
        assert_eq!(highest(&[1.0, 3.0, 2.0, 3.0, 2.0], 3), [1, 3, 2]);
        assert_eq!(highest(&[1.0, 3.0], 9), [1, 0]);
    }
}
