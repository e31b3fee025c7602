//! Losses on attention scores as the encoder captures them: `[batch, heads, query, key]`, before softmax.

use anyhow::{Result, ensure};
use tch::Tensor;

use super::{Padding, dimensions, mean_divergence, pair, query_key_pairs, same_shape};

/// Scores that fit one another, in one precision, and the pairs to compare.
fn comparable(student: &Tensor, teacher: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    for (whose, scores) in [("student", student), ("teacher", teacher)] {
        dimensions(whose, "attention scores", scores, &["batch", "heads", "query", "key"])?;
    }
    let (own, other) = (student.size(), teacher.size());
    ensure!(
        own[1] == other[1],
        "the student has {} attention heads, the teacher {}: attention is compared head by head; give the student as \
         many, or distil relations, which need no equal heads",
        own[1],
        other[1]
    );
    same_shape("attention scores", student, teacher, "both need the same tokens")?;
    let pairs = query_key_pairs(mask, own[0], own[2])?;
    let (student, teacher) = pair(student, teacher);
    Ok((student, teacher, pairs))
}

/// Mean squared difference of scores before softmax, `1/h sum_i MSE(A_i^S, A_i^T)`: TinyBERT's attention loss (Jiao 2020,
/// section 3.1, which found scores better than distributions). The mean goes over heads and over pairs of tokens.
///
/// With [`Padding::Counted`] it goes over all pairs. There, captured scores are 0 on both sides, where the released code
/// has 0 for padded keys only: what it compares between padded queries and tokens is left out.
///
/// # Errors
/// Another number of heads, or other shapes that do not fit.
pub fn attention_scores(student: &Tensor, teacher: &Tensor, mask: &Tensor, padding: Padding) -> Result<Tensor> {
    let (student, teacher, pairs) = comparable(student, teacher, mask)?;
    let (kind, heads) = (student.kind(), student.size()[1]);
    let squares = (student - teacher).square();
    Ok(match padding {
        Padding::Counted => squares.mean(kind),
        Padding::Excluded => {
            let pairs = pairs.to_kind(kind);
            // Over heads first: what is left is as many times smaller.
            (squares.sum_dim_intlist([1i64].as_slice(), true, kind) * &pairs).sum(kind)
                / (pairs.sum(kind).clamp_min(1.0) * heads as f64)
        }
    })
}

/// `KL(teacher || student)` of the attention distributions, softmax over keys, mean over heads and queries that are
/// tokens: the attention transfer of MiniLM (Wang 2020, section 3.1), which takes the last layer only.
///
/// # Errors
/// Another number of heads, or other shapes that do not fit.
pub fn attention_distributions(student: &Tensor, teacher: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (student, teacher, pairs) = comparable(student, teacher, mask)?;
    Ok(mean_divergence(&student, &teacher, &pairs))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::testing::{check_gradient, check_precision, mask, near, normal, number, refused};
    use super::*;

    type Loss<'a> = &'a dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>;

    fn each(check: impl Fn(Loss)) {
        check(&attention_distributions);
        check(&|s, t, mask| attention_scores(s, t, mask, Padding::Excluded));
    }

    /// Scores as the encoder captures them, 0 where padded.
    fn captured(heads: i64, mask: &Tensor) -> Tensor {
        let (batch, length) = mask.size2().unwrap();
        let keep = query_key_pairs(mask, batch, length).unwrap().to_kind(Kind::Double);
        normal(&[batch, heads, length, length], 2.0) * keep
    }

    #[test]
    fn a_student_equal_to_its_teacher_has_no_loss() {
        let _turn = crate::seeded(21);
        let mask = mask(&[5, 3]);
        let scores = captured(3, &mask);
        assert_eq!(number(attention_scores(&scores, &scores, &mask, Padding::Excluded)), 0.0);
        assert_eq!(number(attention_scores(&scores, &scores, &mask, Padding::Counted)), 0.0);
        assert!(number(attention_distributions(&scores, &scores, &mask)).abs() < 1e-14);
    }

    #[test]
    fn a_constant_on_a_row_changes_scores_but_not_distributions() {
        let _turn = crate::seeded(22);
        let mask = mask(&[4]);
        let (s, t) = (captured(2, &mask), captured(2, &mask));
        let moved = s.copy();
        let _ = moved.narrow(2, 1, 1).g_add_scalar_(3.0);
        let distributions = |s: &Tensor| number(attention_distributions(s, &t, &mask));
        near(distributions(&moved), distributions(&s), 1e-12);
        let scores = |s: &Tensor| number(attention_scores(s, &t, &mask, Padding::Excluded));
        assert!((scores(&moved) - scores(&s)).abs() > 0.1);
        // From the teacher's own scores: 3 squared, in one row of four.
        let moved = &t + (&moved - &s);
        near(scores(&moved), 9.0 / 4.0, 1e-12);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let _turn = crate::seeded(23);
        let mask = mask(&[3, 2]);
        let (s, t) = (captured(2, &mask), captured(2, &mask));
        each(|loss| check_gradient(&s, |s| loss(s, &t, &mask)));
        check_gradient(&s, |s| attention_scores(s, &t, &mask, Padding::Counted));
    }

    #[test]
    fn teachers_may_be_half() {
        let _turn = crate::seeded(24);
        let mask = mask(&[3, 2]);
        let (s, t) = (captured(2, &mask), captured(2, &mask));
        each(|loss| check_precision(&s, &t, |s, t| loss(s, t, &mask)));
        check_precision(&s, &t, |s, t| attention_scores(s, t, &mask, Padding::Counted));
    }

    #[test]
    fn padding_takes_no_part_unless_counted() {
        let _turn = crate::seeded(25);
        let both = mask(&[5, 3]);
        // Not 0 where padded: the mask alone must do.
        let (s, t) = (normal(&[2, 3, 5, 5], 2.0), normal(&[2, 3, 5, 5], 2.0));
        let cut = |x: &Tensor, row: i64, n: i64| x.narrow(0, row, 1).narrow(2, 0, n).narrow(3, 0, n);
        let alone = |loss: Loss, row, n| number(loss(&cut(&s, row, n), &cut(&t, row, n), &mask(&[n])));
        let scores: Loss = &|s, t, mask| attention_scores(s, t, mask, Padding::Excluded);
        let pairs = (25.0 * alone(scores, 0, 5) + 9.0 * alone(scores, 1, 3)) / 34.0;
        near(number(scores(&s, &t, &both)), pairs, 1e-12);
        let distributions: Loss = &attention_distributions;
        let queries = (5.0 * alone(distributions, 0, 5) + 3.0 * alone(distributions, 1, 3)) / 8.0;
        near(number(distributions(&s, &t, &both)), queries, 1e-12);
        each(|loss| assert_eq!(number(loss(&s, &t, &both.zeros_like())), 0.0));
        // What is captured is 0 where padded, and counts in the number of pairs: 50 for 34.
        let keep = query_key_pairs(&both, 2, 5).unwrap().to_kind(Kind::Double);
        let counted = attention_scores(&(&s * &keep), &(&t * &keep), &both, Padding::Counted);
        near(number(counted), pairs * 34.0 / 50.0, 1e-12);
    }

    #[test]
    fn a_mask_of_pairs_is_causal() {
        let _turn = crate::seeded(26);
        let (s, t) = (normal(&[1, 2, 4, 4], 2.0), normal(&[1, 2, 4, 4], 2.0));
        let seen = Tensor::ones([1, 4, 4], (Kind::Int64, Device::Cpu)).tril(0);
        // Query by query, among the keys before it and its own.
        let (mut divergences, mut squares) = (0.0, 0.0);
        for query in 0..4 {
            let cut = |x: &Tensor| x.select(2, query).narrow(2, 0, query + 1);
            let p = cut(&t).softmax(-1, Kind::Double);
            let q = cut(&s).softmax(-1, Kind::Double);
            divergences += (&p * (p.log() - q.log())).sum(Kind::Double).double_value(&[]);
            squares += (cut(&s) - cut(&t)).square().sum(Kind::Double).double_value(&[]);
        }
        near(number(attention_distributions(&s, &t, &seen)), divergences / 8.0, 1e-12);
        near(number(attention_scores(&s, &t, &seen, Padding::Excluded)), squares / 20.0, 1e-12);
    }

    #[test]
    fn mistakes_are_named() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let (s, t, mask) = (zeros(&[2, 4, 3, 3]), zeros(&[2, 12, 3, 3]), mask(&[3, 2]));
        each(|loss| refused(loss(&s, &t, &mask), "4 attention heads, the teacher 12: attention is compared head by"));
        each(|loss| refused(loss(&s, &t, &mask), "distil relations"));
        each(|loss| refused(loss(&s, &zeros(&[2, 4, 5, 5]), &mask), "both need the same tokens"));
        each(|loss| refused(loss(&s, &s, &mask.narrow(1, 0, 2)), "the mask is [2, 2], expected [2, 3]"));
        each(|loss| refused(loss(&s.get(0), &t, &mask), "expected [batch, heads, query, key]"));
    }
}
