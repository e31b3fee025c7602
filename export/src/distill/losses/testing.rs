//! What the tests of the losses share.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

/// Normal fp64 values.
pub fn normal(shape: &[i64], deviation: f64) -> Tensor {
    Tensor::randn(shape, (Kind::Double, Device::Cpu)) * deviation
}

/// The mask of texts padded on the right.
pub fn mask(lengths: &[i64]) -> Tensor {
    let longest = lengths.iter().copied().max().unwrap();
    let row = |n: &i64| Tensor::arange(longest, (Kind::Int64, Device::Cpu)).lt(*n).to_kind(Kind::Int64);
    Tensor::stack(&lengths.iter().map(row).collect::<Vec<_>>(), 0)
}

pub fn number(loss: Result<Tensor>) -> f64 {
    let loss = loss.unwrap();
    assert_eq!(loss.size(), [0i64; 0], "a loss is a scalar");
    loss.double_value(&[])
}

/// Asserts that the relative difference is at most `limit`.
pub fn near(own: f64, want: f64, limit: f64) {
    assert!((own - want).abs() <= limit * want.abs().max(1e-3), "{own} {want}");
}

pub fn refused(loss: Result<Tensor>, message: &str) {
    let error = loss.unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

/// Compares the gradient at fp64 `at`, every element, with central differences.
pub fn check_gradient(at: &Tensor, loss: impl Fn(&Tensor) -> Result<Tensor>) {
    assert_eq!(at.kind(), Kind::Double);
    let leaf = at.detach().copy().set_requires_grad(true);
    let gradient = Tensor::run_backward(&[loss(&leaf).unwrap()], &[&leaf], false, false).remove(0).reshape([-1]);
    assert!(gradient.abs().max().double_value(&[]) > 1e-3, "a gradient of 0 proves nothing");
    let step = 1e-5;
    for i in 0..gradient.size()[0] {
        let at = |distance: f64| {
            let moved = at.detach().copy();
            let _ = moved.view([-1]).narrow(0, i, 1).g_add_scalar_(distance);
            number(loss(&moved))
        };
        let (own, numeric) = (gradient.double_value(&[i]), (at(step) - at(-step)) / (2.0 * step));
        assert!((own - numeric).abs() < 1e-8 * numeric.abs().max(1.0), "element {i}: {own} {numeric}");
    }
}

/// What holds of every loss: its precision is the student's, the teacher's may be half, and the teacher learns nothing.
pub fn check_precision(student: &Tensor, teacher: &Tensor, loss: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) {
    let single = student.to_kind(Kind::Float);
    let cached = teacher.to_kind(Kind::Half);
    let half = loss(&single, &cached).unwrap();
    assert_eq!(half.kind(), Kind::Float);
    assert_eq!(half, loss(&single, &cached.to_kind(Kind::Float)).unwrap());
    assert_eq!(loss(&student.to_kind(Kind::BFloat16), &cached).unwrap().kind(), Kind::Float);
    assert_eq!(loss(student, &cached).unwrap().kind(), Kind::Double);
    near(half.double_value(&[]), number(loss(student, teacher)), 2e-2);
    let (student, teacher) = (student.copy().set_requires_grad(true), teacher.copy().set_requires_grad(true));
    loss(&student, &teacher).unwrap().backward();
    assert!(student.grad().defined() && !teacher.grad().defined());
}
