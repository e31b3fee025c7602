//! Losses between student and teacher.

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

/// Weights of the DistilBERT-type loss for a task: soft targets, hidden-state cosine, hard labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistilWeights {
    /// Softens both distributions; the soft loss is multiplied by its square.
    pub temperature: f64,
    /// Weight of [`soft_target`].
    pub soft: f64,
    /// Weight of [`hidden_cosine`].
    pub cosine: f64,
    /// Weight of cross-entropy with the labels.
    pub hard: f64,
}

impl Default for DistilWeights {
    /// Temperature 2 and the ratios of DistilBERT's README command (5, 1 and 2, its hard loss being MLM).
    fn default() -> Self {
        Self { temperature: 2.0, soft: 5.0, cosine: 1.0, hard: 2.0 }
    }
}

/// `T^2 KL(softmax(teacher/T) || softmax(student/T))`, mean over rows of `[rows, classes]` logits
/// (Hinton 2015; DistilBERT `distiller.py`).
pub fn soft_target(student: &Tensor, teacher: &Tensor, temperature: f64) -> Tensor {
    let student = (student / temperature).log_softmax(-1, Kind::Float);
    let teacher = (teacher / temperature).log_softmax(-1, Kind::Float);
    let rows = student.size()[0] as f64;
    student.kl_div(&teacher, Reduction::Sum, true) * (temperature * temperature / rows)
}

/// `1 - cos(student, teacher)` of `[batch, length, hidden]` states, mean over the tokens that `mask`
/// (`[batch, length]`, 1 or 0) keeps (DistilBERT's `CosineEmbeddingLoss` with target 1).
pub fn hidden_cosine(student: &Tensor, teacher: &Tensor, mask: &Tensor) -> Tensor {
    let keep = mask.to_kind(Kind::Float);
    // eps as in torch's CosineEmbeddingLoss, which adds it to the squared norms.
    const EPSILON: f64 = 1e-12;
    let dot = (student * teacher).sum_dim_intlist(-1, false, Kind::Float);
    let squares = |x: &Tensor| x.square().sum_dim_intlist(-1, false, Kind::Float) + EPSILON;
    let cosine = dot / (squares(student) * squares(teacher)).sqrt();
    let distance: Tensor = 1.0 - cosine;
    (distance * &keep).sum(Kind::Float) / keep.sum(Kind::Float)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    const F: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn a_student_equal_to_its_teacher_has_no_loss() {
        let _turn = crate::seeded(1);
        let logits = Tensor::randn([4, 7], F) * 3.0;
        assert!(soft_target(&logits, &logits, 2.0).double_value(&[]).abs() < 1e-6);
        let hidden = Tensor::randn([2, 5, 8], F);
        let mask = Tensor::ones([2, 5], F);
        assert!(hidden_cosine(&hidden, &hidden, &mask).double_value(&[]).abs() < 1e-6);
    }

    #[test]
    fn temperature_scales_as_published() {
        // Doubling T and the logits leaves the distributions equal, so only T^2 changes.
        let _turn = crate::seeded(2);
        let (s, t) = (Tensor::randn([3, 4], F), Tensor::randn([3, 4], F));
        let one = soft_target(&s, &t, 1.0).double_value(&[]);
        let two = soft_target(&(&s * 2.0), &(&t * 2.0), 2.0).double_value(&[]);
        assert!((two - 4.0 * one).abs() < 1e-5 * two.abs(), "{one} {two}");
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let _turn = crate::seeded(3);
        let d = (Kind::Double, Device::Cpu);
        let s = Tensor::randn([2, 3], d).set_requires_grad(true);
        let t = Tensor::randn([2, 3], d);
        let temperature = 2.0;
        // soft_target works in fp32; the same formula in fp64 is the reference here.
        let reference = |s: &Tensor| {
            let p = (&t / temperature).softmax(-1, Kind::Double);
            let log_q = (s / temperature).log_softmax(-1, Kind::Double);
            let kl = (&p * (p.log() - log_q)).sum(Kind::Double) / 2.0;
            kl * temperature * temperature
        };
        let grad = Tensor::run_backward(&[soft_target(&s, &t, temperature)], &[&s], false, false).remove(0);
        for row in 0..2 {
            for column in 0..3 {
                let step = 1e-4;
                let bump = Tensor::zeros([2, 3], d);
                let _ = bump.get(row).get(column).fill_(step);
                let up = reference(&(s.detach() + &bump)).double_value(&[]);
                let down = reference(&(s.detach() - &bump)).double_value(&[]);
                let numeric = (up - down) / (2.0 * step);
                let own = grad.double_value(&[row, column]);
                assert!((own - numeric).abs() < 1e-4 * numeric.abs().max(0.1), "{own} {numeric}");
            }
        }
    }

    #[test]
    fn padding_takes_no_part() {
        let _turn = crate::seeded(4);
        let (s, t) = (Tensor::randn([1, 3, 4], F), Tensor::randn([1, 3, 4], F));
        let mask = Tensor::from_slice(&[1i64, 1, 0]).view([1, 3]);
        let short = hidden_cosine(&s.narrow(1, 0, 2), &t.narrow(1, 0, 2), &Tensor::ones([1, 2], F));
        let padded = hidden_cosine(&s, &t, &mask);
        assert!((short - padded).abs().double_value(&[]) < 1e-6);
    }
}
