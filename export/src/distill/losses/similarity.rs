//! A loss on how alike the tokens of a text are, in any width.

use anyhow::{Result, ensure};
use tch::Tensor;

use super::{dimensions, pair, query_key_pairs};

/// Mean squared difference of `H H^T / d` over pairs of tokens of a text, of hidden states `[batch, length, hidden]` of
/// width `d`: TextBrewer's `mmd_loss` of a layer with itself (Yang 2020, "NST"), after neuron selectivity transfer (Huang
/// 2017). The widths may differ. `mask` `[batch, length]`.
///
/// # Errors
/// Other texts or tokens.
pub fn state_similarities(student: &Tensor, teacher: &Tensor, mask: &Tensor) -> Result<Tensor> {
    for (whose, states) in [("student", student), ("teacher", teacher)] {
        dimensions(whose, "hidden states", states, &["batch", "length", "hidden"])?;
    }
    let (batch, length) = (student.size()[0], student.size()[1]);
    ensure!(
        teacher.size()[..2] == [batch, length],
        "the student's hidden states are {:?}, the teacher's {:?}: both need the same tokens",
        student.size(),
        teacher.size()
    );
    let pairs = query_key_pairs(mask, batch, length)?.squeeze_dim(1);
    let (student, teacher) = pair(student, teacher);
    let alike = |x: &Tensor| x.matmul(&x.transpose(1, 2)) / x.size()[2] as f64;
    // Products are in half precision under autocast.
    let (own, other) = pair(&alike(&student), &alike(&teacher));
    let kind = own.kind();
    let pairs = pairs.to_kind(kind);
    Ok(((own - other).square() * &pairs).sum(kind) / pairs.sum(kind).clamp_min(1.0))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_gradient, check_precision, mask, near, normal, number, refused};
    use super::*;

    #[test]
    fn what_is_alike_for_the_teacher_is_for_the_student() {
        let _turn = crate::seeded(36);
        let (s, both) = (normal(&[2, 5, 6], 1.0), mask(&[5, 3]));
        assert_eq!(number(state_similarities(&s, &s, &both)), 0.0);
        // A rotation leaves all products as they are, and so does a width twice as large that holds everything twice.
        let (rotation, _) = Tensor::linalg_qr(&normal(&[6, 6], 1.0), "reduced");
        assert!(number(state_similarities(&s.matmul(&rotation), &s, &both)) < 1e-28);
        assert!(number(state_similarities(&Tensor::cat(&[&s, &s], 2), &s, &both)) < 1e-28);
        // From 0 the loss is the mean square of the teacher's products.
        let t = normal(&[1, 4, 6], 1.0);
        let products = (t.matmul(&t.transpose(1, 2)) / 6.0).square().mean(tch::Kind::Double).double_value(&[]);
        near(number(state_similarities(&t.zeros_like(), &t, &mask(&[4]))), products, 1e-12);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let _turn = crate::seeded(37);
        let (s, t, mask) = (normal(&[2, 3, 4], 1.0), normal(&[2, 3, 6], 1.0), mask(&[3, 2]));
        check_gradient(&s, |s| state_similarities(s, &t, &mask));
        check_precision(&s, &t, |s, t| state_similarities(s, t, &mask));
    }

    #[test]
    fn padding_takes_no_part() {
        let _turn = crate::seeded(38);
        let (s, t) = (normal(&[2, 5, 4], 1.0), normal(&[2, 5, 8], 1.0));
        let cut = |x: &Tensor, row: i64, n: i64| x.narrow(0, row, 1).narrow(1, 0, n);
        let alone = |row, n| number(state_similarities(&cut(&s, row, n), &cut(&t, row, n), &mask(&[n])));
        let want = (25.0 * alone(0, 5) + 9.0 * alone(1, 3)) / 34.0;
        near(number(state_similarities(&s, &t, &mask(&[5, 3]))), want, 1e-12);
        assert_eq!(number(state_similarities(&s, &t, &mask(&[5, 3]).zeros_like())), 0.0);
    }

    #[test]
    fn mistakes_are_named() {
        let (s, mask) = (normal(&[2, 3, 4], 1.0), mask(&[3, 2]));
        refused(state_similarities(&s, &s.narrow(1, 0, 2), &mask), "both need the same tokens");
        refused(state_similarities(&s, &s, &mask.narrow(1, 0, 2)), "the mask is [2, 2], expected [2, 3]");
        refused(state_similarities(&s.get(0), &s, &mask), "expected [batch, length, hidden]");
    }
}
