//! Which label each logit stands for, judged by what a model says.

/// How often each label was right where each logit was chosen.
pub(super) struct Agreement {
    /// `[right label][chosen logit]`, square.
    counts: Vec<Vec<usize>>,
    /// Choices and right labels in all.
    guessed: usize,
    there: usize,
}

impl Agreement {
    pub(super) fn new(labels: usize) -> Self {
        Self { counts: vec![vec![0; labels]; labels], guessed: 0, there: 0 }
    }

    /// Adds the right labels and the chosen logits of one decision; one each where just one label is right.
    pub(super) fn add(&mut self, right: &[usize], chosen: &[usize]) {
        self.there += right.len();
        self.guessed += chosen.len();
        for &right in right {
            for &chosen in chosen {
                if let Some(count) = self.counts.get_mut(right).and_then(|row| row.get_mut(chosen)) {
                    *count += 1;
                }
            }
        }
    }

    pub(super) fn decisions(&self) -> usize {
        self.there
    }

    /// Micro F1, which is the accuracy where just one label is right, if logit `i` stands for label `order[i]`.
    pub(super) fn share(&self, order: &[usize]) -> f64 {
        let right: usize = order.iter().enumerate().map(|(logit, &label)| self.counts[label][logit]).sum();
        2.0 * right as f64 / (self.guessed + self.there).max(1) as f64
    }

    /// The order that agrees best; of equals one that moves few labels. The assignment problem (Kuhn 1955), by shortest
    /// augmenting paths with potentials (Jonker and Volgenant 1987): `n^3` steps.
    pub(super) fn best(&self) -> Vec<usize> {
        let n = self.counts.len();
        // What is minimised; staying in place is a tie-breaker that no single count can outweigh.
        let scale = n as i64 + 1;
        let cost = |label: usize, logit: usize| -(self.counts[label][logit] as i64 * scale + i64::from(label == logit));
        // Labels and logits count from 1 here; 0 stands for none.
        let (mut of_label, mut of_logit) = (vec![0i64; n + 1], vec![0i64; n + 1]);
        let mut matched = vec![0usize; n + 1];
        for label in 1..=n {
            matched[0] = label;
            let mut logit = 0;
            let (mut least, mut from, mut done) = (vec![i64::MAX; n + 1], vec![0usize; n + 1], vec![false; n + 1]);
            loop {
                done[logit] = true;
                let row = matched[logit];
                let (mut delta, mut next) = (i64::MAX, 0);
                for column in (1..=n).filter(|&column| !done[column]) {
                    let reduced = cost(row - 1, column - 1) - of_label[row] - of_logit[column];
                    if reduced < least[column] {
                        (least[column], from[column]) = (reduced, logit);
                    }
                    if least[column] < delta {
                        (delta, next) = (least[column], column);
                    }
                }
                for column in 0..=n {
                    if done[column] {
                        of_label[matched[column]] += delta;
                        of_logit[column] -= delta;
                    } else if least[column] != i64::MAX {
                        least[column] -= delta;
                    }
                }
                logit = next;
                if matched[logit] == 0 {
                    break;
                }
            }
            while logit != 0 {
                matched[logit] = matched[from[logit]];
                logit = from[logit];
            }
        }
        matched[1..].iter().map(|label| label - 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[&[usize]]) -> Agreement {
        let mut agreement = Agreement::new(counts.len());
        for (right, row) in counts.iter().enumerate() {
            for (chosen, count) in row.iter().enumerate() {
                (0..*count).for_each(|_| agreement.add(&[right], &[chosen]));
            }
        }
        agreement
    }

    #[test]
    fn the_best_order_is_found() {
        // Label 0 is chosen as logit 2, label 1 as logit 0, label 2 as logit 1.
        let turned = of(&[&[1, 0, 9], &[8, 1, 1], &[2, 8, 0]]);
        assert_eq!(turned.best(), [1, 2, 0]);
        assert!((turned.share(&turned.best()) - 25.0 / 30.0).abs() < 1e-12);
        assert!((turned.share(&[0, 1, 2]) - 2.0 / 30.0).abs() < 1e-12);
        // The largest count first would leave 0 for the others: 10 + 0, less than 9 + 9.
        assert_eq!(of(&[&[10, 9], &[9, 0]]).best(), [1, 0]);
        // A model that says one thing only fits any order, and keeps its own.
        assert_eq!(of(&[&[5, 0, 0], &[5, 0, 0], &[5, 0, 0]]).best(), [0, 1, 2]);
        assert_eq!(of(&[&[3]]).best(), [0]);
    }

    #[test]
    fn every_order_of_a_small_matrix_is_beaten_or_met() {
        let mut state = 7u64;
        for _ in 0..50 {
            let mut next = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as usize % 12
            };
            let rows: Vec<Vec<usize>> = (0..4).map(|_| (0..4).map(|_| next()).collect()).collect();
            let agreement = of(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let best = agreement.share(&agreement.best());
            for a in 0..4 {
                for b in (0..4).filter(|b| *b != a) {
                    for c in (0..4).filter(|c| ![a, b].contains(c)) {
                        let d = 6 - a - b - c;
                        assert!(agreement.share(&[a, b, c, d]) <= best + 1e-12);
                    }
                }
            }
        }
    }

    #[test]
    fn several_labels_count_as_micro_f1() {
        let mut agreement = Agreement::new(2);
        agreement.add(&[0, 1], &[0]);
        agreement.add(&[], &[1]);
        assert_eq!(agreement.decisions(), 2);
        assert!((agreement.share(&[0, 1]) - 0.5).abs() < 1e-12, "one of two found, one of two right");
    }
}
