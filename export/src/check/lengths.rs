//! Texts that are longer than a model reads.

use super::models::Models;
use super::texts::{Measured, Set, of};
use super::{Findings, percent};
use crate::recipe::Recipe;

/// From this share of the texts on, cutting is worth a warning.
const MANY: f64 = 0.01;

pub(super) fn check(recipe: &Recipe, models: &Models, texts: &[Measured], findings: &mut Findings) {
    // The student's tokenizer decides on the device; the same texts are longer or shorter for a teacher's own.
    for measured in texts {
        let own = models.origin().is_some_and(|origin| origin.tokenizer == measured.tokenizer);
        let by = if own { String::new() } else { format!(" for {}", measured.model) };
        let positions = models
            .all()
            .filter(|opened| of(texts, opened).is_some_and(|other| other.tokenizer == measured.tokenizer))
            .map(|opened| opened.config.max_positions())
            .min();
        for set in &measured.sets {
            lengths(set, &by, own, findings);
            if set.windows.is_empty() {
                cut(set, &by, recipe.max_tokens, positions.unwrap_or(usize::MAX), findings);
            } else {
                windows(set, &by, recipe, findings);
            }
        }
    }
}

/// The value that a share of the sorted values does not exceed (nearest rank).
fn percentile(sorted: &[usize], share: f64) -> usize {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// The smallest maximum that cuts less than [`MANY`] of the sorted lengths.
fn enough(sorted: &[usize]) -> usize {
    let allowed = ((sorted.len() as f64 * MANY).ceil() as usize).saturating_sub(1);
    sorted.get(sorted.len().saturating_sub(allowed + 1)).copied().unwrap_or(0)
}

fn lengths(set: &Set, by: &str, own: bool, findings: &mut Findings) {
    let mut sorted = set.whole.clone();
    sorted.sort_unstable();
    if own && let Some(longest) = sorted.last() {
        findings.fact(format!(
            "{}{by}: {} texts of {} tokens in the middle, {} at 95%, {} at 99%, {longest} at most",
            set.name,
            sorted.len(),
            percentile(&sorted, 0.5),
            percentile(&sorted, 0.95),
            percentile(&sorted, 0.99)
        ));
    }
}

fn cut(set: &Set, by: &str, max_tokens: usize, positions: usize, findings: &mut Findings) {
    let mut sorted = set.whole.clone();
    sorted.sort_unstable();
    let long: Vec<usize> = sorted.iter().copied().filter(|length| *length > max_tokens).collect();
    let lost: usize = long.iter().map(|length| length - max_tokens).sum();
    let words = match set.cut_words {
        0 => String::new(),
        cut => format!(", with them {cut} of {} words, whose tags are neither learned nor found", set.words),
    };
    findings.weigh(long.len(), sorted.len(), MANY, || {
        let enough = enough(&sorted);
        let fix = match enough <= positions {
            _ if long.len() as f64 * 100.0 < sorted.len() as f64 => String::new(),
            true => format!("; max_tokens = {enough} would cut fewer than 1%"),
            false => {
                format!("; for fewer than 1% it takes {enough}, more than the model's {positions}: shorten the texts")
            }
        };
        format!(
            "{}{by}: {} of {} texts ({}) are longer than max_tokens = {max_tokens} and lose {lost} of {} tokens \
             ({}){words}{fix}",
            set.name,
            long.len(),
            sorted.len(),
            percent(long.len(), sorted.len()),
            set.tokens,
            percent(lost, set.tokens)
        )
    });
}

fn windows(set: &Set, by: &str, recipe: &Recipe, findings: &mut Findings) {
    let all: usize = set.windows.iter().sum();
    findings.fact(format!(
        "{}{by}: {} questions in {all} windows of at most {} tokens: {:.1} each, {} at most",
        set.name,
        set.windows.len(),
        recipe.max_tokens,
        all as f64 / set.windows.len().max(1) as f64,
        set.windows.iter().max().unwrap_or(&0)
    ));
    findings.weigh(set.lost, set.answered, MANY, || {
        format!(
            "{}{by}: {} of {} answers ({}) stand whole in no window; let windows overlap by more than the longest answer \
             (stride, now {}), or raise max_tokens",
            set.name,
            set.lost,
            set.answered,
            percent(set.lost, set.answered),
            recipe.stride
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let sorted: Vec<usize> = (1..=200).collect();
        assert_eq!([0.5, 0.95, 0.99].map(|share| percentile(&sorted, share)), [100, 190, 198]);
        assert_eq!((percentile(&[7], 0.5), percentile(&[], 0.5)), (7, 0));
    }

    #[test]
    fn enough_cuts_fewer_than_one_in_a_hundred() {
        let sorted: Vec<usize> = (1..=200).collect();
        // 199 cuts one of 200; 198 would cut two, which is 1%.
        assert_eq!(enough(&sorted), 199);
        assert_eq!(enough(&[3, 5, 9]), 9, "of a few texts none may be cut");
        assert_eq!(enough(&[]), 0);
    }
}
