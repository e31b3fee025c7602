//! Losses on hidden states and on the embedding output, `[batch, length, hidden]`.

use anyhow::Result;
use tch::Tensor;

use super::{Padding, dimensions, pair, same_shape, shape, token_mean};

const AXES: [&str; 3] = ["batch", "length", "hidden"];

/// Mean squared difference `MSE(H_S W^T, H_T)` over tokens and the teacher's dimensions: TinyBERT's hidden and embedding
/// losses (Jiao 2020, section 3.1). `projection` `W` is `[teacher hidden, student hidden]`, learnt with the student;
/// without one, both models must have one width. `mask` `[batch, length]`.
pub fn hidden_states(
    student: &Tensor,
    teacher: &Tensor,
    mask: &Tensor,
    projection: Option<&Tensor>,
    padding: Padding,
) -> Result<Tensor> {
    dimensions("student", "hidden states", student, &AXES)?;
    dimensions("teacher", "hidden states", teacher, &AXES)?;
    shape("mask", mask, &student.size()[..2])?;
    let (mut student, teacher) = pair(student, teacher);
    if let Some(projection) = projection {
        shape("projection", projection, &[teacher.size()[2], student.size()[2]])?;
        student = student.linear(&projection.to_kind(student.kind()), None::<Tensor>);
    }
    let fix = "both need the same tokens, and a projection where the widths differ";
    same_shape("hidden states", &student, &teacher, fix)?;
    let squares = (student - &teacher).square();
    Ok(match padding {
        Padding::Counted => squares.mean(teacher.kind()),
        Padding::Excluded => token_mean(&squares.mean_dim([-1i64].as_slice(), false, teacher.kind()), mask),
    })
}

/// `1 - cos(student, teacher)` of two states of one width, mean over tokens (DistilBERT's `CosineEmbeddingLoss` with
/// target 1). `mask` `[batch, length]`.
pub fn hidden_cosine(student: &Tensor, teacher: &Tensor, mask: &Tensor) -> Result<Tensor> {
    dimensions("student", "hidden states", student, &AXES)?;
    let fix = "a cosine needs the same tokens and one width; `hidden_states` projects one width to another";
    same_shape("hidden states", student, teacher, fix)?;
    shape("mask", mask, &student.size()[..2])?;
    let (student, teacher) = pair(student, teacher);
    // eps as in torch's CosineEmbeddingLoss, which adds it to the squared norms.
    const EPSILON: f64 = 1e-12;
    let kind = student.kind();
    let dot = (&student * &teacher).sum_dim_intlist(-1, false, kind);
    let squares = |x: &Tensor| x.square().sum_dim_intlist(-1, false, kind) + EPSILON;
    let cosine = dot / (squares(&student) * squares(&teacher)).sqrt();
    let distance: Tensor = 1.0 - cosine;
    Ok(token_mean(&distance, mask))
}

/// PKD's patient loss of one layer (Sun 2019, section 3.2, equation 7): the squared distance of the states of the first
/// token (`[CLS]`), each divided by its norm, mean over texts. `projection` as of [`hidden_states`].
///
/// The released `patience_loss` divides by the number of dimensions and layers too: weights for it are as many times
/// larger.
pub fn patience(student: &Tensor, teacher: &Tensor, projection: Option<&Tensor>) -> Result<Tensor> {
    dimensions("student", "hidden states", student, &AXES)?;
    dimensions("teacher", "hidden states", teacher, &AXES)?;
    let (student, teacher) = pair(student, teacher);
    let (mut student, teacher) = (student.select(1, 0), teacher.select(1, 0));
    if let Some(projection) = projection {
        shape("projection", projection, &[teacher.size()[1], student.size()[1]])?;
        student = student.linear(&projection.to_kind(student.kind()), None::<Tensor>);
    }
    same_shape(
        "first states",
        &student,
        &teacher,
        "both need the same texts, and a projection where the widths differ",
    )?;
    let unit = |x: &Tensor| x / x.norm_scalaropt_dim(2.0, [-1i64].as_slice(), true).clamp_min(1e-12);
    let squares = (unit(&student) - unit(&teacher)).square();
    let kind = squares.kind();
    Ok(squares.sum_dim_intlist(-1, false, kind).mean(kind))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::testing::{check_gradient, check_precision, mask, near, normal, number, refused};
    use super::*;

    type Loss<'a> = &'a dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>;

    /// Every loss on states of one width, whose padding takes no part.
    fn each(check: impl Fn(Loss)) {
        check(&hidden_cosine);
        check(&|s, t, mask| hidden_states(s, t, mask, None, Padding::Excluded));
    }

    fn counted(s: &Tensor, t: &Tensor, mask: &Tensor) -> Result<Tensor> {
        hidden_states(s, t, mask, None, Padding::Counted)
    }

    #[test]
    fn a_student_equal_to_its_teacher_has_no_loss() {
        let _turn = crate::seeded(11);
        let (states, mask) = (normal(&[2, 5, 8], 2.0), mask(&[5, 3]));
        assert!(number(hidden_cosine(&states, &states, &mask)).abs() < 1e-12);
        assert_eq!(number(counted(&states, &states, &mask)), 0.0);
        let one = Tensor::eye(8, (Kind::Double, Device::Cpu));
        for projection in [None, Some(&one)] {
            assert_eq!(number(hidden_states(&states, &states, &mask, projection, Padding::Excluded)), 0.0);
        }
    }

    #[test]
    fn projections_map_the_student_to_the_teacher() {
        let _turn = crate::seeded(12);
        let (s, w, mask) = (normal(&[2, 5, 4], 1.0), normal(&[8, 4], 1.0), mask(&[5, 3]));
        let t = s.matmul(&w.tr());
        assert!(number(hidden_states(&s, &t, &mask, Some(&w), Padding::Excluded)) < 1e-28);
        // A constant difference of 0.5 in every dimension.
        near(number(hidden_states(&s, &(t + 0.5), &mask, Some(&w), Padding::Excluded)), 0.25, 1e-12);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let _turn = crate::seeded(13);
        let (s, t, mask) = (normal(&[2, 3, 4], 1.0), normal(&[2, 3, 4], 1.0), mask(&[3, 2]));
        each(|loss| check_gradient(&s, |s| loss(s, &t, &mask)));
        let (t, w) = (normal(&[2, 3, 5], 1.0), normal(&[5, 4], 1.0));
        for padding in [Padding::Excluded, Padding::Counted] {
            check_gradient(&s, |s| hidden_states(s, &t, &mask, Some(&w), padding));
            check_gradient(&w, |w| hidden_states(&s, &t, &mask, Some(w), padding));
        }
    }

    #[test]
    fn teachers_may_be_half() {
        let _turn = crate::seeded(14);
        let (s, t, mask) = (normal(&[2, 3, 4], 1.0), normal(&[2, 3, 4], 1.0), mask(&[3, 2]));
        each(|loss| check_precision(&s, &t, |s, t| loss(s, t, &mask)));
        check_precision(&s, &t, |s, t| counted(s, t, &mask));
        let w = normal(&[4, 4], 1.0).to_kind(Kind::Float);
        check_precision(&s, &t, |s, t| hidden_states(s, t, &mask, Some(&w), Padding::Excluded));
    }

    #[test]
    fn padding_takes_no_part_unless_counted() {
        let _turn = crate::seeded(15);
        let (s, t, both) = (normal(&[2, 5, 4], 1.0), normal(&[2, 5, 4], 1.0), mask(&[5, 3]));
        let cut = |x: &Tensor, row: i64, n: i64| x.narrow(0, row, 1).narrow(1, 0, n);
        let alone = |loss: Loss, row, n| number(loss(&cut(&s, row, n), &cut(&t, row, n), &mask(&[n])));
        each(|loss| {
            near(number(loss(&s, &t, &both)), (5.0 * alone(loss, 0, 5) + 3.0 * alone(loss, 1, 3)) / 8.0, 1e-12);
            assert_eq!(number(loss(&s, &t, &both.zeros_like())), 0.0);
        });
        // Without padding both ways are one, with it they are not.
        let excluded: Loss = &|s, t, mask| hidden_states(s, t, mask, None, Padding::Excluded);
        near(alone(&counted, 0, 5), alone(excluded, 0, 5), 1e-12);
        let (with, without) = (number(counted(&s, &t, &both)), number(excluded(&s, &t, &both)));
        assert!((with - without).abs() > 1e-3, "{with} {without}");
    }

    #[test]
    fn patience_compares_directions_of_the_first_token() {
        let _turn = crate::seeded(16);
        let (s, t) = (normal(&[3, 4, 6], 1.0), normal(&[3, 4, 6], 1.0));
        assert_eq!(number(patience(&s, &s, None)), 0.0);
        // Neither length nor other tokens count.
        assert!(number(patience(&(&s * 3.0), &s, None)) < 1e-28);
        let cosine = Tensor::cosine_similarity(&s.select(1, 0), &t.select(1, 0), 1, 1e-12).mean(Kind::Double);
        near(number(patience(&s, &t, None)), 2.0 - 2.0 * cosine.double_value(&[]), 1e-12);
        check_gradient(&s.narrow(1, 0, 1), |s| patience(s, &t.narrow(1, 0, 1), None));
        let w = normal(&[8, 6], 1.0);
        let wide = s.matmul(&w.tr());
        assert!(number(patience(&s, &wide, Some(&w))) < 1e-28);
        let other = normal(&[3, 4, 8], 1.0);
        check_gradient(&w, |w| patience(&s, &other, Some(w)));
        check_precision(&s, &t, |s, t| patience(s, t, None));
        refused(patience(&s, &other, None), "a projection where the widths differ");
        refused(patience(&s, &other, Some(&w.tr())), "the projection is [6, 8], expected [8, 6]");
        refused(patience(&s.get(0), &t, None), "expected [batch, length, hidden]");
    }

    #[test]
    fn mistakes_are_named() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let (s, t, mask) = (zeros(&[2, 3, 4]), zeros(&[2, 3, 6]), mask(&[3, 2]));
        each(|loss| refused(loss(&s, &t, &mask), "are [2, 3, 4], the teacher's [2, 3, 6]"));
        each(|loss| refused(loss(&s, &s, &mask.narrow(1, 0, 2)), "the mask is [2, 2], expected [2, 3]"));
        each(|loss| refused(loss(&s.get(0), &t, &mask), "are [3, 4], expected [batch, length, hidden]"));
        let turned = zeros(&[4, 6]);
        let loss = hidden_states(&s, &t, &mask, Some(&turned), Padding::Excluded);
        refused(loss, "the projection is [4, 6], expected [6, 4]");
    }
}
