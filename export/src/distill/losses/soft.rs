//! Losses on what the heads give: the teacher's answers in place of labels.

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{divergence, log_softmax_among, pair, same_shape, shape};

/// What a sum over rows and classes is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Averaging {
    /// The number of rows.
    #[default]
    Rows,
    /// The number of rows times that of classes, as in TinyBERT's released code (`task_distill.py`).
    RowsAndClasses,
}

/// Logits of one shape, divided by the temperature.
fn softened(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<(Tensor, Tensor)> {
    ensure!(temperature > 0.0, "the temperature is {temperature}, it must be above 0");
    same_shape("logits", student, teacher, "both need the same texts and the same labels or vocabulary")?;
    ensure!(student.dim() > 0, "logits need a dimension of classes");
    let (student, teacher) = pair(student, teacher);
    Ok((student / temperature, teacher / temperature))
}

/// The number of rows of `[..., classes]`, at least 1.
fn rows(logits: &Tensor) -> f64 {
    let size = logits.size();
    size[..size.len() - 1].iter().product::<i64>().max(1) as f64
}

/// `T^2 KL(softmax(teacher/T) || softmax(student/T))`, mean over rows of `[..., classes]` logits
/// (Hinton 2015; DistilBERT `distiller.py`). For tokens, see [`kept_rows`].
pub fn soft_targets(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let (student, teacher) = softened(student, teacher, temperature)?;
    let log = |x: &Tensor| x.log_softmax(-1, x.kind());
    Ok(divergence(&log(&student), &log(&teacher)) * (temperature * temperature / rows(&student)))
}

/// `-sum softmax(teacher/t) log softmax(student/t)` of `[..., classes]` logits, without a factor `t^2`: TinyBERT's
/// prediction loss (Jiao 2020, section 3.1; `soft_cross_entropy` in `task_distill.py`). Its least value, where the
/// student equals the teacher, is the entropy of the teacher's answers, not 0.
pub fn soft_cross_entropy(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
    averaging: Averaging,
) -> Result<Tensor> {
    let (student, teacher) = softened(student, teacher, temperature)?;
    let total = -(teacher.softmax(-1, teacher.kind()) * student.log_softmax(-1, student.kind())).sum(student.kind());
    let classes = student.size()[student.dim() - 1].max(1) as f64;
    Ok(match averaging {
        Averaging::Rows => total / rows(&student),
        Averaging::RowsAndClasses => total / (rows(&student) * classes),
    })
}

/// Independent labels: `T^2 KL(Bernoulli(sigmoid(teacher/T)) || Bernoulli(sigmoid(student/T)))`, mean over rows and labels
/// of `[..., labels]` logits: [`soft_targets`] of each label's two answers. A mean over labels as the binary cross-entropy
/// of their own loss is, so that the weights of the two mean the same whatever the number of labels.
pub fn soft_labels(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let (student, teacher) = softened(student, teacher, temperature)?;
    let answer = |sign: f64| divergence(&(&student * sign).log_sigmoid(), &(&teacher * sign).log_sigmoid());
    let labels = student.size()[student.dim() - 1].max(1) as f64;
    Ok((answer(1.0) + answer(-1.0)) * (temperature * temperature / (rows(&student) * labels)))
}

/// Answer spans: `T^2 KL(teacher || student)` of where the answer starts, over each text's tokens, and of where it ends;
/// mean of both and over texts. `[batch, length, 2]` logits, `mask` `[batch, length]`. DistilBERT's second step for
/// SQuAD (`run_squad_w_distillation.py`, which lets padding take part).
pub fn soft_spans(student: &Tensor, teacher: &Tensor, mask: &Tensor, temperature: f64) -> Result<Tensor> {
    let (student, teacher) = softened(student, teacher, temperature)?;
    let &[batch, length, 2] = student.size().as_slice() else {
        bail!("the student's span logits are {:?}, expected [batch, length, 2]", student.size());
    };
    shape("mask", mask, &[batch, length])?;
    let keep = mask.ne(0).unsqueeze(1);
    let log = |x: &Tensor| log_softmax_among(&x.transpose(1, 2), &keep);
    let factor = temperature * temperature / (2 * batch.max(1)) as f64;
    Ok(divergence(&log(&student), &log(&teacher)) * factor)
}

/// The rows of `[batch, length, classes]` logits that `mask` `[batch, length]` keeps, `[kept, classes]`: for
/// [`soft_targets`] of tokens, of all that are not padding (DistilBERT) or of some.
pub fn kept_rows(logits: &Tensor, mask: &Tensor) -> Result<Tensor> {
    ensure!(logits.dim() == 3, "the logits are {:?}, expected [batch, length, classes]", logits.size());
    shape("mask", mask, &logits.size()[..2])?;
    let kept = mask.reshape([-1]).nonzero().squeeze_dim(-1);
    Ok(logits.flatten(0, 1).index_select(0, &kept))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::testing::{check_gradient, check_precision, mask, near, normal, number, refused};
    use super::*;

    /// Every loss on logits of `[rows, classes]`.
    fn each(check: impl Fn(&dyn Fn(&Tensor, &Tensor, f64) -> Result<Tensor>)) {
        check(&soft_targets);
        check(&soft_labels);
        check(&|s, t, temperature| soft_cross_entropy(s, t, temperature, Averaging::Rows));
        check(&|s, t, temperature| soft_cross_entropy(s, t, temperature, Averaging::RowsAndClasses));
    }

    #[test]
    fn a_student_equal_to_its_teacher_has_nothing_to_learn() {
        let _turn = crate::seeded(1);
        let logits = normal(&[4, 7], 3.0);
        assert!(number(soft_targets(&logits, &logits, 2.0)).abs() < 1e-14);
        assert!(number(soft_labels(&logits, &logits, 2.0)).abs() < 1e-14);
        let spans = normal(&[2, 5, 2], 3.0);
        assert!(number(soft_spans(&spans, &spans, &mask(&[5, 3]), 2.0)).abs() < 1e-14);
        // A cross-entropy is then the teacher's entropy, its least value.
        let p = logits.softmax(-1, Kind::Double);
        let entropy = -(&p * p.log()).sum(Kind::Double).double_value(&[]) / 4.0;
        near(number(soft_cross_entropy(&logits, &logits, 1.0, Averaging::Rows)), entropy, 1e-12);
        each(|loss| {
            let student = logits.copy().set_requires_grad(true);
            loss(&student, &logits, 2.0).unwrap().backward();
            assert!(student.grad().abs().max().double_value(&[]) < 1e-15);
        });
    }

    #[test]
    fn temperature_scales_as_published() {
        // Doubling T and the logits leaves the distributions equal, so only T^2 changes, where there is one.
        let _turn = crate::seeded(2);
        let (s, t) = (normal(&[3, 4], 1.0), normal(&[3, 4], 1.0));
        let ratio = |loss: &dyn Fn(&Tensor, &Tensor, f64) -> Result<Tensor>| {
            number(loss(&(&s * 2.0), &(&t * 2.0), 2.0)) / number(loss(&s, &t, 1.0))
        };
        near(ratio(&soft_targets), 4.0, 1e-12);
        near(ratio(&soft_labels), 4.0, 1e-12);
        near(ratio(&|s, t, temperature| soft_cross_entropy(s, t, temperature, Averaging::Rows)), 1.0, 1e-12);
        let spans = |t: &Tensor| t.reshape([1, 6, 2]);
        let loss = |s: &Tensor, t: &Tensor, temperature| soft_spans(&spans(s), &spans(t), &mask(&[6]), temperature);
        near(ratio(&loss), 4.0, 1e-12);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let _turn = crate::seeded(3);
        let (s, t) = (normal(&[3, 4], 1.5), normal(&[3, 4], 1.5));
        each(|loss| check_gradient(&s, |s| loss(s, &t, 2.0)));
        let (s, t, mask) = (normal(&[2, 4, 2], 1.5), normal(&[2, 4, 2], 1.5), mask(&[4, 2]));
        check_gradient(&s, |s| soft_spans(s, &t, &mask, 0.5));
        check_gradient(&s, |s| soft_targets(&kept_rows(s, &mask)?, &kept_rows(&t, &mask)?, 2.0));
    }

    #[test]
    fn teachers_may_be_half() {
        let _turn = crate::seeded(4);
        let (s, t) = (normal(&[3, 4], 1.5), normal(&[3, 4], 1.5));
        each(|loss| check_precision(&s, &t, |s, t| loss(s, t, 2.0)));
        let (s, t, mask) = (normal(&[2, 4, 2], 1.5), normal(&[2, 4, 2], 1.5), mask(&[4, 2]));
        check_precision(&s, &t, |s, t| soft_spans(s, t, &mask, 2.0));
        check_precision(&s, &t, |s, t| soft_targets(&kept_rows(s, &mask)?, &kept_rows(t, &mask)?, 2.0));
    }

    #[test]
    fn losses_of_labels_and_classes_agree_where_they_must() {
        let _turn = crate::seeded(5);
        let (s, t) = (normal(&[5, 1], 2.0), normal(&[5, 1], 2.0));
        // One label is two classes, of which one's logit is 0.
        let two = |x: &Tensor| Tensor::cat(&[x, &x.zeros_like()], 1);
        near(number(soft_labels(&s, &t, 2.0)), number(soft_targets(&two(&s), &two(&t), 2.0)), 1e-12);
        // Several are as much as one; and as their binary cross-entropy with answers for labels, but for the entropy of these.
        let many = |x: &Tensor| x.expand([5, 7], false);
        near(number(soft_labels(&many(&s), &many(&t), 2.0)), number(soft_labels(&s, &t, 2.0)), 1e-12);
        let (s, t) = (normal(&[5, 4], 2.0), normal(&[5, 4], 2.0));
        let hard = |x: &Tensor| crate::objective::binary_cross_entropy(x, &t.sigmoid()).double_value(&[]);
        near(number(soft_labels(&s, &t, 1.0)), hard(&s) - hard(&t), 1e-10);
        // A cross-entropy is a KL divergence and the teacher's entropy.
        let (s, t) = (normal(&[5, 3], 2.0), normal(&[5, 3], 2.0));
        let entropy = number(soft_cross_entropy(&t, &t, 1.0, Averaging::Rows));
        let rows = number(soft_cross_entropy(&s, &t, 1.0, Averaging::Rows));
        near(rows - entropy, number(soft_targets(&s, &t, 1.0)), 1e-12);
        near(number(soft_cross_entropy(&s, &t, 1.0, Averaging::RowsAndClasses)), rows / 3.0, 1e-12);
    }

    #[test]
    fn padding_takes_no_part() {
        let _turn = crate::seeded(6);
        let (s, t, both) = (normal(&[2, 5, 2], 2.0), normal(&[2, 5, 2], 2.0), mask(&[5, 3]));
        let cut = |x: &Tensor, row: i64, n: i64| x.narrow(0, row, 1).narrow(1, 0, n);
        let span = |row, n| number(soft_spans(&cut(&s, row, n), &cut(&t, row, n), &mask(&[n]), 2.0));
        near(number(soft_spans(&s, &t, &both, 2.0)), (span(0, 5) + span(1, 3)) / 2.0, 1e-12);
        let rows = kept_rows(&s, &both).unwrap();
        assert_eq!(rows, Tensor::cat(&[s.get(0), s.get(1).narrow(0, 0, 3)], 0));
        // A text of nothing but padding, as an empty choice of tokens, has no loss.
        let none = mask(&[5, 3]).zeros_like();
        assert_eq!(number(soft_spans(&s, &t, &none, 2.0)), 0.0);
        assert_eq!(number(soft_targets(&kept_rows(&s, &none).unwrap(), &kept_rows(&t, &none).unwrap(), 2.0)), 0.0);
    }

    #[test]
    fn mistakes_are_named() {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let (three, two) = (zeros(&[4, 3]), zeros(&[4, 1]));
        each(|loss| refused(loss(&three, &two, 2.0), "logits are [4, 3], the teacher's [4, 1]: both need"));
        each(|loss| refused(loss(&three, &three, 0.0), "temperature is 0"));
        let spans = zeros(&[2, 4, 2]);
        refused(soft_spans(&spans, &spans, &mask(&[3, 3]), 2.0), "the mask is [2, 3], expected [2, 4]");
        refused(soft_spans(&three, &three, &mask(&[3, 3]), 2.0), "expected [batch, length, 2]");
        refused(kept_rows(&spans, &mask(&[3, 3])), "the mask is [2, 3], expected [2, 4]");
        refused(kept_rows(&three, &mask(&[3, 3])), "expected [batch, length, classes]");
    }
}
