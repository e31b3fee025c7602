//! Which parts of a model stay fp32 so that the rest may be int8 inside a budget.
//!
//! Greedy in both directions: all subsets of 12 layers would be 4096 runs over dev. From all int8, the unit with the
//! largest output error for what int8 saves there is given back to fp32, then the next, until the loss is inside the
//! budget; then each is taken back if the loss stays inside, until none can be. So no unit is fp32 needlessly, but
//! another choice of as many units may lose less. Errors of units are nearly independent and so nearly add up, which is
//! why those of each alone order them; the loss itself is measured anew for every choice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

/// Units that stay fp32, by number; the others are int8.
pub type Assignment = BTreeSet<usize>;

/// What is known of a unit before the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Mean squared difference of the model's outputs when this unit alone is int8.
    pub error: f64,
    /// What int8 saves there, above 0: [`saving`].
    pub saving: f64,
}

/// What int8 saves in a unit: its share of the layers' time plus its share of the weights' bytes. All layers take about
/// the same time, and the table takes none.
pub fn saving(layers: usize, of_layers: usize, weights: usize, of_weights: usize) -> f64 {
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    share(layers, of_layers) + share(weights, of_weights)
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What stays fp32.
    pub keep: Assignment,
    /// What is lost with it, in the unit of the budget.
    pub loss: f64,
    /// Whether that is inside the budget. If not, it is the least that any choice lost.
    pub inside: bool,
    /// For each unit of `keep`, if `inside`, what is lost when it is int8 too.
    pub without: BTreeMap<usize, f64>,
    /// How many choices were measured.
    pub measured: usize,
}

/// Finds what must stay fp32. `measure` gives what a choice loses; no choice is measured twice, and one unit at least is
/// always int8.
///
/// # Errors
/// Those of `measure`.
pub fn search(
    candidates: &[Candidate],
    budget: f64,
    mut measure: impl FnMut(&Assignment) -> Result<f64>,
) -> Result<Found> {
    let mut known: BTreeMap<Assignment, f64> = BTreeMap::new();
    let mut loss_of = |keep: &Assignment| -> Result<f64> {
        if let Some(&loss) = known.get(keep) {
            return Ok(loss);
        }
        let loss = measure(keep)?;
        known.insert(keep.clone(), loss);
        Ok(loss)
    };
    let rate = |unit: usize| candidates[unit].error / candidates[unit].saving;
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| rate(b).total_cmp(&rate(a)));

    let mut keep = Assignment::new();
    let mut loss = loss_of(&keep)?;
    let mut best = (keep.clone(), loss);
    let mut given_back = Vec::new();
    let mut next = order.into_iter().take(candidates.len().saturating_sub(1));
    // A loss that is no number is outside.
    let inside = |loss: f64| loss <= budget;
    while !inside(loss) {
        let Some(unit) = next.next() else {
            let (keep, loss) = best;
            return Ok(Found { keep, loss, inside: false, without: BTreeMap::new(), measured: known.len() });
        };
        keep.insert(unit);
        given_back.push(unit);
        loss = loss_of(&keep)?;
        if loss < best.1 || best.1.is_nan() {
            best = (keep.clone(), loss);
        }
    }

    // What saves most first; of those that save as much, the one whose error is smallest.
    given_back.reverse();
    given_back.sort_by(|&a, &b| candidates[b].saving.total_cmp(&candidates[a].saving));
    let mut without = BTreeMap::new();
    // From the start again after each that could be: taking one back may leave room that was not there before.
    'again: loop {
        without.clear();
        for &unit in given_back.iter().filter(|unit| keep.contains(unit)) {
            let mut fewer = keep.clone();
            fewer.remove(&unit);
            let less = loss_of(&fewer)?;
            if inside(less) {
                (keep, loss) = (fewer, less);
                continue 'again;
            }
            without.insert(unit, less);
        }
        return Ok(Found { keep, loss, inside: true, without, measured: known.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units that save as much each.
    fn alike(errors: &[f64]) -> Vec<Candidate> {
        errors.iter().map(|&error| Candidate { error, saving: 1.0 }).collect()
    }

    /// Each unit in int8 loses its own, and losses add up.
    fn sum<'l>(losses: &'l [f64]) -> impl FnMut(&Assignment) -> Result<f64> + 'l {
        |keep| Ok((0..losses.len()).filter(|unit| !keep.contains(unit)).map(|unit| losses[unit]).sum())
    }

    fn kept(found: &Found) -> Vec<usize> {
        found.keep.iter().copied().collect()
    }

    #[test]
    fn all_int8_inside_the_budget_is_measured_once() {
        let found = search(&alike(&[1.0, 2.0]), 0.5, sum(&[0.2, 0.3])).unwrap();
        assert!(found.inside && found.keep.is_empty() && found.measured == 1, "{found:?}");
        // A model without units is all or nothing.
        let nothing = search(&[], 0.5, |_| Ok(0.6)).unwrap();
        assert!(!nothing.inside && nothing.loss == 0.6 && nothing.measured == 1);
    }

    #[test]
    fn the_one_bad_layer_is_found() {
        let losses = [0.1, 0.0, 9.0, 0.1];
        let found = search(&alike(&losses), 0.5, sum(&losses)).unwrap();
        assert_eq!((kept(&found), found.inside, found.measured), (vec![2], true, 2));
        assert!((found.loss - 0.2).abs() < 1e-12);
        assert!((found.without[&2] - 9.2).abs() < 1e-12);
    }

    #[test]
    fn what_was_given_back_needlessly_is_taken_back() {
        // Outputs suffer most from unit 0, the score from unit 2 alone.
        let found = search(&alike(&[5.0, 4.0, 3.0, 1.0]), 0.5, sum(&[0.2, 0.2, 2.0, 0.0])).unwrap();
        assert_eq!(kept(&found), [2]);
        assert!((found.loss - 0.4).abs() < 1e-12);
        // Unit 2 last joined, so it is known to be needed: 0, 01, 012; then 02 and 2 are tried.
        assert_eq!(found.measured, 6);
        assert_eq!(found.without.keys().collect::<Vec<_>>(), [&2]);
    }

    #[test]
    fn a_loss_that_does_not_grow_with_int8_is_followed_until_nothing_can_be_taken_back() {
        // 1 cannot be taken back before 0 was.
        let loss = |keep: &Assignment| {
            Ok(match keep.iter().copied().collect::<Vec<_>>()[..] {
                [] => 0.9,
                [0] | [1] => 0.8,
                [0, 1] => 0.7,
                [0, 1, 2] => 0.1,
                [0, 2] => 0.6,
                [1, 2] => 0.4,
                [2] => 0.3,
                _ => unreachable!(),
            })
        };
        let found = search(&alike(&[4.0, 3.0, 2.0, 1.0]), 0.5, loss).unwrap();
        assert_eq!((kept(&found), found.loss), (vec![2], 0.3));
        for unit in &found.keep {
            assert!(found.without[unit] > 0.5, "unit {unit} is fp32 needlessly");
        }
    }

    #[test]
    fn a_budget_that_cannot_be_kept_gives_the_best_that_was_reached() {
        let losses = [1.0, 2.0, 3.0];
        let found = search(&alike(&losses), 0.5, sum(&losses)).unwrap();
        // One unit stays int8, so this is the least.
        assert_eq!((kept(&found), found.inside, found.loss), (vec![1, 2], false, 1.0));
        // The best need not be the last, and of equals it is the fastest.
        let found = search(&alike(&losses), 0.5, |keep| Ok([3.0, 2.0, 2.0][keep.len()])).unwrap();
        assert_eq!((kept(&found), found.loss), (vec![2], 2.0));
        assert!(!search(&alike(&losses), 0.5, |_| Ok(f64::NAN)).unwrap().inside);
        assert!(search(&alike(&losses), 0.5, |_| anyhow::bail!("no dev")).is_err());
    }

    #[test]
    fn error_is_weighed_against_what_is_saved() {
        // The table has the larger error and three quarters of the bytes.
        let table = Candidate { error: 1.0, saving: saving(0, 2, 60, 80) };
        let layer = Candidate { error: 0.9, saving: saving(1, 2, 10, 80) };
        assert_eq!((table.saving, layer.saving), (0.75, 0.625));
        let one_is_enough = |keep: &Assignment| Ok(if keep.is_empty() { 1.0 } else { 0.0 });
        let found = search(&[layer, layer, table], 0.5, one_is_enough).unwrap();
        assert_eq!(kept(&found), [0]);
    }

    #[test]
    fn what_saves_most_is_taken_back_first() {
        let unit = |error, saving| Candidate { error, saving };
        // Given back in this order. Unit 2 is needed, and either of the others.
        let candidates = [unit(20.0, 2.0), unit(4.0, 0.5), unit(5.0, 1.0), unit(0.0, 1.0)];
        let loss = |keep: &Assignment| Ok(if keep.contains(&2) && keep.len() > 1 { 0.4 } else { 0.6 });
        assert_eq!(kept(&search(&candidates, 0.5, loss).unwrap()), [1, 2]);
    }
}
