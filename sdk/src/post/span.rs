//! Start and end logits to answers.

use super::softmax::softmax;

/// A piece of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Its first token.
    pub start: usize,
    /// Its last token.
    pub end: usize,
    /// Probability that the answer starts there times probability that it ends there.
    pub score: f32,
}

/// The best pieces of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Candidates {
    /// The best first.
    pub best: Vec<Candidate>,
    /// The same product for "there is no answer here".
    pub none: f32,
}

/// The `count` best pieces of at most `max_length` tokens. `start` and `end` hold the logits of the window's
/// tokens of the text, and before them those of the token that means "no answer". Devlin et al. 2019, section
/// 4.2 and 4.3, with the probabilities of each window for itself, as `transformers` has them.
pub(crate) fn candidates(start: &[f32], end: &[f32], max_length: usize, count: usize) -> Candidates {
    let (start, end) = (softmax(start), softmax(end));
    let none = start.first().zip(end.first()).map_or(0.0, |(start, end)| start * end);
    let mut best: Vec<Candidate> = Vec::new();
    for (first, &from) in start.iter().enumerate().skip(1) {
        for (last, &to) in end.iter().enumerate().skip(first).take(max_length) {
            let candidate = Candidate { start: first - 1, end: last - 1, score: from * to };
            if best.len() == count && best.last().is_none_or(|worst| worst.score >= candidate.score) {
                continue;
            }
            // Behind its equals, so that the piece that comes first in the text stays first.
            let place = best.partition_point(|other| other.score >= candidate.score);
            best.insert(place, candidate);
            best.truncate(count);
        }
    }
    Candidates { best, none }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_piece_is_found() {
        let start = [0.0, 5.0, 0.0, 0.0, 1.0];
        let end = [0.0, 0.0, 0.0, 4.0, 0.0];
        let found = candidates(&start, &end, 15, 2);
        assert_eq!((found.best[0].start, found.best[0].end), (0, 2));
        assert!(found.best[0].score > 0.8 && found.none < 1e-3);
        let short = candidates(&start, &end, 2, 1);
        assert_ne!((short.best[0].start, short.best[0].end), (0, 2));
    }

    #[test]
    fn a_window_without_text_has_no_answer() {
        let found = candidates(&[1.0], &[1.0], 15, 3);
        assert_eq!(found, Candidates { best: Vec::new(), none: 1.0 });
        assert_eq!(candidates(&[], &[], 15, 3), Candidates::default());
        assert!(candidates(&[0.0; 4], &[0.0; 4], 0, 3).best.is_empty());
        assert!(candidates(&[0.0; 4], &[0.0; 4], 3, 0).best.is_empty());
    }

    proptest! {
        #[test]
        fn candidates_are_the_best_of_all(
            logits in proptest::collection::vec((-8f32..8.0, -8f32..8.0), 1..40),
            max_length in 1usize..20,
            count in 1usize..12,
        ) {
            let (start, end): (Vec<f32>, Vec<f32>) = logits.into_iter().unzip();
            let found = candidates(&start, &end, max_length, count);
            let (p, q) = (softmax(&start), softmax(&end));
            let mut all: Vec<f32> = Vec::new();
            for (i, p) in p.iter().enumerate().skip(1) {
                all.extend(q.iter().skip(i).take(max_length).map(|q| p * q));
            }
            all.sort_by(|a, b| b.total_cmp(a));
            all.truncate(count);
            prop_assert_eq!(found.best.iter().map(|c| c.score).collect::<Vec<_>>(), all);
            for candidate in &found.best {
                prop_assert!(candidate.start <= candidate.end && candidate.end - candidate.start < max_length);
                prop_assert_eq!(candidate.score, p[candidate.start + 1] * q[candidate.end + 1]);
            }
        }
    }
}
