//! Draws that look at each text by itself: a fixed number of tokens, whole words, runs of words.

use rand::Rng;
use rand::seq::{SliceRandom, index};

use super::Masker;

/// ALBERT's longest n-gram.
pub(super) const LONGEST: usize = 3;

/// The length of a run of 1 to `longest` words: n with probability (1/n) / sum of 1/k (Lan 2020, equation 1).
pub(super) fn draw_length(longest: usize, rng: &mut impl Rng) -> usize {
    let total: f64 = (1..=longest).map(|n| 1.0 / n as f64).sum();
    let mut left = rng.random::<f64>() * total;
    for n in 1..longest {
        left -= 1.0 / n as f64;
        if left < 0.0 {
            return n;
        }
    }
    longest
}

impl Masker {
    fn maskable(&self, id: i64) -> bool {
        usize::try_from(id).ok().and_then(|id| self.weights.get(id)).is_some_and(|&weight| weight > 0.0)
    }

    fn maskable_columns(&self, row: &[i64]) -> Vec<usize> {
        row.iter().enumerate().filter(|(_, id)| self.maskable(**id)).map(|(column, _)| column).collect()
    }

    /// `ceil(share * tokens)` places of each text.
    pub(super) fn each_text(&self, rows: &[&[i64]], rng: &mut impl Rng) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (row, ids) in rows.iter().enumerate() {
            let columns = self.maskable_columns(ids);
            let count = (self.options.share * ids.len() as f64).ceil() as usize;
            let mut chosen = index::sample(rng, columns.len(), count.min(columns.len())).into_vec();
            chosen.sort_unstable();
            places.extend(chosen.into_iter().map(|at| (row, columns[at])));
        }
        places
    }

    /// `share * tokens` draws from each text, within the bound of the longest ([`super::Draw::ElectraCode`]).
    pub(super) fn electra_code(&self, rows: &[&[i64]], rng: &mut impl Rng) -> Vec<(usize, usize)> {
        let share = self.options.share;
        let most = ((share + 0.005) * self.longest_text as f64) as usize;
        let mut places = Vec::new();
        for (row, ids) in rows.iter().enumerate() {
            let columns = self.maskable_columns(ids);
            if columns.is_empty() {
                continue;
            }
            let count = ((share * ids.len() as f64).round_ties_even() as usize).min(most).max(1);
            let mut chosen: Vec<usize> = (0..count).map(|_| columns[rng.random_range(0..columns.len())]).collect();
            chosen.sort_unstable();
            chosen.dedup();
            places.extend(chosen.into_iter().map(|column| (row, column)));
        }
        places
    }

    /// Runs of up to `longest` words of each text, up to the number of tokens that is to be guessed.
    pub(super) fn runs_of_words(&self, rows: &[&[i64]], longest: usize, rng: &mut impl Rng) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (row, ids) in rows.iter().enumerate() {
            let words = self.words(ids);
            let most = self.options.most.unwrap_or(usize::MAX);
            let budget = ((self.options.share * ids.len() as f64).round() as usize).max(1).min(most);
            let mut chosen = vec![false; ids.len()];
            let mut count = 0;
            let mut order: Vec<usize> = (0..words.len()).collect();
            order.shuffle(rng);
            for first in order {
                if count >= budget {
                    break;
                }
                // A run that does not fit is tried with fewer words, as in ALBERT's code.
                let longest = longest.min(words.len() - first);
                let mut run = draw_length(longest, rng);
                let tokens = |run: usize| words[first..first + run].iter().flatten().copied();
                while run > 1 && count + tokens(run).count() > budget {
                    run -= 1;
                }
                if count + tokens(run).count() > budget || tokens(run).any(|column| chosen[column]) {
                    continue;
                }
                for column in tokens(run) {
                    chosen[column] = true;
                    count += 1;
                }
            }
            // A text of words that are all too long, as one in Chinese may be, has something to guess all the same.
            if count == 0 && !words.is_empty() {
                let word = &words[rng.random_range(0..words.len())];
                chosen[word[rng.random_range(0..word.len())]] = true;
            }
            places.extend(chosen.iter().enumerate().filter(|(_, chosen)| **chosen).map(|(column, _)| (row, column)));
        }
        places
    }

    /// The columns of each word of a text; special tokens are none and end the word before them.
    pub(super) fn words(&self, ids: &[i64]) -> Vec<Vec<usize>> {
        let mut words: Vec<Vec<usize>> = Vec::new();
        let mut open = false;
        for (column, &id) in ids.iter().enumerate() {
            if !self.maskable(id) {
                open = false;
                continue;
            }
            let continues = usize::try_from(id).ok().and_then(|id| self.continues.get(id)).copied().unwrap_or(false);
            match words.last_mut() {
                Some(word) if open && continues => word.push(column),
                _ => words.push(vec![column]),
            }
            open = true;
        }
        words
    }
}
