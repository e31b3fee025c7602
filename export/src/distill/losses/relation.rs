//! Losses on relations: how alike one layer's queries, keys or values are among themselves.

use anyhow::{Result, ensure};
use tch::Tensor;

use super::{dimensions, mean_divergence, pair, query_key_pairs};

/// `KL(teacher || student)` of `softmax(X X^T / sqrt(d))` over tokens, mean over relation heads and over tokens, where `X`
/// is each head's slice, of width `d`, of projections `[batch, length, hidden]` before the heads are split.
///
/// Of values, with as many relation heads as attention heads, this is MiniLM's value relation (Wang 2020, section 3.2); of
/// queries, of keys and of values, with any number, they are MiniLMv2's Q-Q, K-K and V-V relations (Wang 2021,
/// section 3.1). The models may differ in width and attention heads.
///
/// # Errors
/// A width that the relation heads do not divide, or other texts.
pub fn relations(student: &Tensor, teacher: &Tensor, mask: &Tensor, relation_heads: usize) -> Result<Tensor> {
    for (whose, states) in [("student", student), ("teacher", teacher)] {
        dimensions(whose, "projections", states, &["batch", "length", "hidden"])?;
        let width = states.size()[2];
        ensure!(
            relation_heads > 0 && width % relation_heads as i64 == 0,
            "the {whose}'s width {width} cannot be cut into {relation_heads} relation heads; choose a number that \
             divides both widths"
        );
    }
    let (batch, length) = (student.size()[0], student.size()[1]);
    ensure!(
        teacher.size()[..2] == [batch, length],
        "the student's projections are {:?}, the teacher's {:?}: both need the same tokens",
        student.size(),
        teacher.size()
    );
    let pairs = query_key_pairs(mask, batch, length)?;
    let (student, teacher) = pair(student, teacher);
    let relate = |x: &Tensor| {
        let x = x.reshape([batch, length, relation_heads as i64, -1]).transpose(1, 2);
        let width = x.size()[3] as f64;
        x.matmul(&x.transpose(-1, -2)) / width.sqrt()
    };
    Ok(mean_divergence(&relate(&student), &relate(&teacher), &pairs))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::attention_distributions;
    use super::super::testing::{check_gradient, check_precision, mask, near, normal, number, refused};
    use super::*;

    #[test]
    fn a_student_equal_to_its_teacher_has_no_loss() {
        let _turn = crate::seeded(31);
        let (states, mask) = (normal(&[2, 5, 12], 1.0), mask(&[5, 3]));
        for heads in [1, 3, 12] {
            assert!(number(relations(&states, &states, &mask, heads)).abs() < 1e-14);
        }
        // A rotation of every head's space leaves all relations as they are.
        let (rotation, _) = Tensor::linalg_qr(&normal(&[6, 6], 1.0), "reduced");
        let rotated = states.reshape([2, 5, 2, 6]).matmul(&rotation).reshape([2, 5, 12]);
        assert!(number(relations(&rotated, &states, &mask, 2)).abs() < 1e-12);
        assert!(number(relations(&rotated, &states, &mask, 3)) > 1e-3);
    }

    #[test]
    fn a_relation_is_an_attention_of_states_to_themselves() {
        let _turn = crate::seeded(32);
        let (s, t, mask) = (normal(&[2, 5, 6], 1.0), normal(&[2, 5, 10], 1.0), mask(&[5, 3]));
        // Head by head, from the states' slices.
        let scores = |x: &Tensor| {
            let width = x.size()[2] / 2;
            let head = |i| {
                let slice = x.narrow(2, i * width, width);
                slice.matmul(&slice.transpose(1, 2)) / (width as f64).sqrt()
            };
            Tensor::stack(&[head(0), head(1)], 1)
        };
        near(
            number(relations(&s, &t, &mask, 2)),
            number(attention_distributions(&scores(&s), &scores(&t), &mask)),
            1e-12,
        );
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let _turn = crate::seeded(33);
        let (s, t, mask) = (normal(&[2, 3, 4], 1.0), normal(&[2, 3, 6], 1.0), mask(&[3, 2]));
        for heads in [1, 2] {
            check_gradient(&s, |s| relations(s, &t, &mask, heads));
        }
    }

    #[test]
    fn teachers_may_be_half() {
        let _turn = crate::seeded(34);
        let (s, t, mask) = (normal(&[2, 3, 4], 1.0), normal(&[2, 3, 6], 1.0), mask(&[3, 2]));
        check_precision(&s, &t, |s, t| relations(s, t, &mask, 2));
        let (s, t) = (normal(&[2, 2, 3, 3], 1.0), normal(&[2, 2, 3, 3], 1.0));
        let pairs = query_key_pairs(&mask, 2, 3).unwrap();
        check_precision(&s, &t, |s, t| Ok(mean_divergence(s, t, &pairs)));
    }

    #[test]
    fn padding_takes_no_part() {
        let _turn = crate::seeded(35);
        let (s, t) = (normal(&[2, 5, 4], 1.0), normal(&[2, 5, 8], 1.0));
        let cut = |x: &Tensor, row: i64, n: i64| x.narrow(0, row, 1).narrow(1, 0, n);
        let alone = |row, n| number(relations(&cut(&s, row, n), &cut(&t, row, n), &mask(&[n]), 2));
        let want = (5.0 * alone(0, 5) + 3.0 * alone(1, 3)) / 8.0;
        near(number(relations(&s, &t, &mask(&[5, 3]), 2)), want, 1e-12);
    }

    #[test]
    fn mistakes_are_named() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let (s, t, mask) = (zeros(&[2, 3, 6]), zeros(&[2, 3, 8]), mask(&[3, 2]));
        refused(relations(&s, &t, &mask, 3), "the teacher's width 8 cannot be cut into 3 relation heads");
        refused(relations(&s, &t, &mask, 4), "the student's width 6 cannot be cut into 4 relation heads");
        refused(relations(&s, &t, &mask, 0), "0 relation heads");
        refused(relations(&s, &t.narrow(1, 0, 2), &mask, 2), "both need the same tokens");
        refused(relations(&s, &t, &mask.narrow(1, 0, 2), 2), "the mask is [2, 2], expected [2, 3]");
        refused(relations(&s.get(0), &t, &mask, 2), "expected [batch, length, hidden]");
    }
}
