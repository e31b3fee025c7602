//! Dynamic masking: which tokens of a batch a masked language model has to guess, drawn anew for each batch.

mod words;

use anyhow::{Result, ensure};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::EncodedExample;
use super::batch::padded;
use crate::objective::IGNORED;

/// How tokens are masked. The defaults are DistilBERT's (Sanh 2019; `distiller.py`, `prepare_batch_mlm`), but for draws that
/// have their own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MaskingChoice", into = "MaskingChoice")]
pub struct Masking {
    /// How they are drawn.
    pub draw: Draw,
    /// Share of the tokens that are to be guessed.
    pub share: f64,
    /// With `draw = "batch"`: a token that occurs `c` times in the corpus has the weight `c` to the power of minus this
    /// (XLM, Lample 2019, section 3.2: rare tokens more often). 0 gives all the same.
    pub smoothing: f64,
    /// Share of the tokens to be guessed in whose place the mask stands, ...
    pub masked: f64,
    /// ... and share of those that stay. A token drawn from the whole vocabulary takes the place of the others.
    pub kept: f64,
    /// With `draw = "n-grams"`: the longest run of words that is masked together; 3 when absent.
    pub longest: Option<usize>,
    /// With `draw = "words"` and `"n-grams"`: at most this many tokens of a text (`max_predictions_per_seq`).
    pub most: Option<usize>,
}

/// What a recipe says of masking; the rest is as its objective has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskingChoice {
    /// [`Masking::draw`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draw: Option<Draw>,
    /// [`Masking::share`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// [`Masking::smoothing`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<f64>,
    /// [`Masking::masked`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<f64>,
    /// [`Masking::kept`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<f64>,
    /// [`Masking::longest`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<usize>,
    /// [`Masking::most`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

impl MaskingChoice {
    /// This, and what it does not say as `defaults` have it.
    ///
    /// # Errors
    /// Those of [`Masking::check`]; a smoothing of draws by anything but weights.
    pub fn over(self, defaults: Masking, stage: &str) -> Result<Masking> {
        let all = self.filled(defaults, stage)?;
        all.check(stage)?;
        Ok(all)
    }

    fn filled(self, defaults: Masking, stage: &str) -> Result<Masking> {
        let Self { draw, share, smoothing, masked, kept, longest, most } = self;
        let defaults = match draw {
            Some(Draw::ElectraCode) => Masking { masked: 0.85, kept: 0.15, ..defaults },
            _ => defaults,
        };
        let draw = draw.unwrap_or(defaults.draw);
        ensure!(
            smoothing.is_none() || draw == Draw::Batch,
            "{stage}: masking.smoothing is for draw = \"batch\" alone; leave it out"
        );
        Ok(Masking {
            draw,
            share: share.unwrap_or(defaults.share),
            smoothing: smoothing.unwrap_or(defaults.smoothing),
            masked: masked.unwrap_or(defaults.masked),
            kept: kept.unwrap_or(defaults.kept),
            longest: longest.or(defaults.longest),
            most: most.or(defaults.most),
        })
    }
}

/// A stage of a distillation; its other values are checked with it.
impl TryFrom<MaskingChoice> for Masking {
    type Error = anyhow::Error;

    fn try_from(said: MaskingChoice) -> Result<Self> {
        said.filled(Self::default(), "a stage")
    }
}

impl From<Masking> for MaskingChoice {
    fn from(all: Masking) -> Self {
        let Masking { draw, share, smoothing, masked, kept, longest, most } = all;
        let smoothing = (draw == Draw::Batch).then_some(smoothing);
        let [share, masked, kept] = [share, masked, kept].map(Some);
        Self { draw: Some(draw), share, smoothing, masked, kept, longest, most }
    }
}

/// How the tokens to be guessed are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// `ceil(share * tokens)` of the whole batch, without replacement, by the tokens' weights. Special tokens count
    /// among the batch's tokens, but are never drawn.
    #[default]
    Batch,
    /// Each token that is not special by itself, all with the same probability (Devlin 2019, section 3.1).
    EachToken,
    /// `ceil(share * tokens)` of each text, without replacement, all alike (Clark 2020, section 2: k = ceil(0.15 n)).
    EachText,
    /// As ELECTRA's released code draws them (`mask` of `pretrain_helpers.py`): `share * tokens` of each text, rounded half to
    /// even, at least 1 and at most `int((share + 0.005) * tokens)` of the longest text; with replacement, so that some are drawn
    /// twice and fewer are masked. Where nothing else is said, 85% of them are masked and 15% stay, as there.
    ElectraCode,
    /// Whole words, up to `round(share * tokens)` tokens of a text (google-research/bert, whole word masking).
    Words,
    /// Runs of 1 to `longest` whole words, n of them with probability (1/n) / sum(1/k) (Lan 2020, section 3.3), up to as many
    /// tokens as for `words` (google-research/albert, `create_masked_lm_predictions`).
    #[serde(rename = "n-grams")]
    NGrams,
}

impl Default for Masking {
    fn default() -> Self {
        let share = 0.15;
        Self { draw: Draw::Batch, share, smoothing: 0.7, masked: 0.8, kept: 0.1, longest: None, most: None }
    }
}

impl Masking {
    /// Refuses shares that are none, and bounds that the draw does not read.
    pub fn check(&self, stage: &str) -> Result<()> {
        ensure!(self.share > 0.0 && self.share < 1.0, "{stage}: masking.share must be above 0 and below 1");
        ensure!(
            self.smoothing >= 0.0 && self.smoothing.is_finite(),
            "{stage}: masking.smoothing must be 0 or more, as 0.7 is"
        );
        let (masked, kept) = (self.masked, self.kept);
        ensure!(
            masked >= 0.0 && kept >= 0.0 && masked + kept <= 1.0,
            "{stage}: masking.masked and masking.kept must be 0 or more, and at most 1 together"
        );
        ensure!(
            self.longest.is_none_or(|n| (1..=16).contains(&n)) && self.most != Some(0),
            "{stage}: masking.longest must be from 1 to 16, masking.most at least 1"
        );
        ensure!(
            self.longest.is_none() || self.draw == Draw::NGrams,
            "{stage}: masking.longest is for draw = \"n-grams\" alone; leave it out"
        );
        ensure!(
            self.most.is_none() || matches!(self.draw, Draw::Words | Draw::NGrams),
            "{stage}: masking.most is for draw = \"words\" or \"n-grams\"; leave it out"
        );
        Ok(())
    }
}

/// Masks batches.
pub struct Masker {
    options: Masking,
    /// By token; 0 for those that are never masked.
    weights: Vec<f64>,
    /// By token: whether it goes on with the word before it. Empty where each token is a word.
    continues: Vec<bool>,
    mask_id: i64,
    /// Tokens of the corpus' longest text.
    longest_text: usize,
}

/// A masked batch.
#[derive(Debug)]
pub struct Masked {
    /// `[batch, length]` int64: what is read.
    pub ids: Tensor,
    /// `[batch, length]` int64: the token that was there, [`IGNORED`] where none is to be guessed.
    pub targets: Tensor,
}

impl Masker {
    /// A masker for a vocabulary of `vocab_size`, with weights from how often `corpus` has each token (at least once, as
    /// in `train.py`). `special` tokens are never masked.
    ///
    /// # Errors
    /// A token beyond the vocabulary; a corpus of special tokens only.
    pub fn new(
        options: Masking,
        corpus: &[EncodedExample],
        vocab_size: usize,
        special: &[i64],
        mask_id: i64,
    ) -> Result<Self> {
        let mut counts = vec![0u64; vocab_size];
        let place = |id: i64| usize::try_from(id).ok().filter(|&place| place < vocab_size);
        for &id in corpus.iter().flat_map(|example| &example.ids) {
            let Some(place) = place(id) else { anyhow::bail!("token {id} is beyond the vocabulary of {vocab_size}") };
            counts[place] += 1;
        }
        ensure!(place(mask_id).is_some(), "the mask token {mask_id} is beyond the vocabulary of {vocab_size}");
        let mut weights: Vec<f64> = counts.iter().map(|&c| (c.max(1) as f64).powf(-options.smoothing)).collect();
        for place in special.iter().chain([&mask_id]).filter_map(|&id| place(id)) {
            weights[place] = 0.0;
        }
        let some = counts.iter().zip(&weights).any(|(&count, &weight)| count > 0 && weight > 0.0);
        ensure!(some, "the corpus has special tokens only: there is nothing to mask");
        let longest_text = corpus.iter().map(|example| example.ids.len()).max().unwrap_or(0);
        Ok(Self { options, weights, continues: Vec::new(), mask_id, longest_text })
    }

    /// The same with words of several tokens: whether each token of the vocabulary goes on with the word before it.
    pub fn with_words(self, continues: Vec<bool>) -> Self {
        Self { continues, ..self }
    }

    /// Masks some texts and pads them to the longest, all by the numbers that `rng` gives.
    pub fn mask(&self, rows: &[&[i64]], pad_id: usize, rng: &mut impl Rng, device: Device) -> Masked {
        let mut ids: Vec<Vec<i64>> = rows.iter().map(|row| row.to_vec()).collect();
        let mut targets: Vec<Vec<i64>> = rows.iter().map(|row| vec![IGNORED; row.len()]).collect();
        let Masking { masked, kept, .. } = self.options;
        for (row, column) in self.draw(rows, rng) {
            let id = &mut ids[row][column];
            targets[row][column] = *id;
            let fate: f64 = rng.random();
            if fate < masked {
                *id = self.mask_id;
            } else if fate >= masked + kept {
                *id = rng.random_range(0..self.weights.len()) as i64;
            }
        }
        fn slices(rows: &[Vec<i64>]) -> Vec<&[i64]> {
            rows.iter().map(Vec::as_slice).collect()
        }
        let (ids, _) = padded(&slices(&ids), pad_id as i64, device);
        let (targets, _) = padded(&slices(&targets), IGNORED, device);
        Masked { ids, targets }
    }

    /// Places of the tokens to be guessed, in order.
    fn draw(&self, rows: &[&[i64]], rng: &mut impl Rng) -> Vec<(usize, usize)> {
        let weight = |id: i64| usize::try_from(id).ok().and_then(|id| self.weights.get(id)).copied().unwrap_or(0.0);
        let places = rows
            .iter()
            .enumerate()
            .flat_map(|(row, ids)| ids.iter().enumerate().map(move |(column, &id)| ((row, column), weight(id))));
        let ordinary = places.filter(|(_, weight)| *weight > 0.0);
        let share = self.options.share;
        match self.options.draw {
            Draw::EachText => self.each_text(rows, rng),
            Draw::ElectraCode => self.electra_code(rows, rng),
            Draw::Words => self.runs_of_words(rows, 1, rng),
            Draw::NGrams => self.runs_of_words(rows, self.options.longest.unwrap_or(words::LONGEST), rng),
            Draw::EachToken => ordinary.filter(|_| rng.random::<f64>() < share).map(|(place, _)| place).collect(),
            Draw::Batch => {
                let tokens: usize = rows.iter().map(|row| row.len()).sum();
                let count = (share * tokens as f64).ceil() as usize;
                // Without replacement: the first of exponential clocks of these rates (Efraimidis 2006).
                let clock = |rng: &mut dyn rand::RngCore, weight: f64| -(1.0 - rng.random::<f64>()).ln() / weight;
                let mut keys: Vec<_> = ordinary.map(|(place, weight)| (clock(rng, weight), place)).collect();
                if count < keys.len() {
                    keys.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0));
                    keys.truncate(count);
                }
                let mut chosen: Vec<_> = keys.into_iter().map(|(_, place)| place).collect();
                chosen.sort_unstable();
                chosen
            }
        }
    }
}

#[cfg(test)]
mod tests;
