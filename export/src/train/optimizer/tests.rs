use tch::{Device, Kind};

use super::*;

const F: (Kind, Device) = (Kind::Float, Device::Cpu);
const D: (Kind, Device) = (Kind::Double, Device::Cpu);

fn params(tensors: &[(&str, Tensor)]) -> Params {
    Params::new(tensors.iter().map(|(name, t)| (name.to_string(), t.copy())).collect(), Device::Cpu)
}

fn double(tensor: &Tensor) -> Tensor {
    tensor.detach().to_kind(Kind::Double)
}

fn close(name: &str, own: &Tensor, want: &Tensor, tolerance: f64) {
    let difference = (double(own) - want).abs().max().double_value(&[]);
    assert!(difference <= tolerance, "{name}: {difference}");
}

fn lamb(bias_correction: bool) -> OptimizerOptions {
    OptimizerOptions { kind: OptimizerKind::Lamb, epsilon: 1e-6, bias_correction, ..Default::default() }
}

#[test]
fn a_lamb_step_by_hand() {
    // w = (3, 4), g = (1, 0) / 10: m = g / 10, v = g^2 / 1000, so m / sqrt(v) = (sqrt(10), 0); epsilon is lost
    // beside sqrt(v) = 0.003162 but for a part in 3162. With decay 0.5: u = (3.1613 + 1.5, 2), |w| = 5.
    let own = params(&[("a.weight", Tensor::from_slice(&[3f32, 4.0])), ("a.bias", Tensor::from_slice(&[3f32, 4.0]))]);
    let options = OptimizerOptions { weight_decay: 0.5, clip_norm: 0.0, ..lamb(false) };
    let mut optimizer = Optimizer::new(&own, options, 1.0);
    let gradient = Tensor::from_slice(&[0.1f32, 0.0]);
    optimizer.step(&own, &[gradient.shallow_clone(), gradient], 0.2).unwrap();
    let moved = 0.01 / (0.1 * 0.001f64.sqrt() + 1e-6);
    assert!((moved - 3.1613).abs() < 1e-4);
    // A bias: neither decay nor ratio.
    close("bias", own.get("a.bias").unwrap(), &Tensor::from_slice(&[3.0 - 0.2 * moved, 4.0]), 1e-6);
    let (u0, u1) = (moved + 1.5, 2f64);
    let ratio = 5.0 / (u0 * u0 + u1 * u1).sqrt();
    assert!((ratio - 0.98576).abs() < 1e-5, "{ratio}");
    let want = Tensor::from_slice(&[3.0 - 0.2 * ratio * u0, 4.0 - 0.2 * ratio * u1]);
    close("weight", own.get("a.weight").unwrap(), &want, 1e-6);
}

#[test]
fn lamb_equals_its_formula_in_fp64() {
    let _turn = crate::seeded(21);
    for corrected in [false, true] {
        let names = ["encoder.ffn.0.norm.weight", "encoder.ffn.0.up.bias", "encoder.ffn.0.up.weight", "zero.weight"];
        let shapes: [&[i64]; 4] = [&[5], &[7], &[7, 5], &[4]];
        let start: Vec<(&str, Tensor)> = names.into_iter().zip(shapes.map(|s| Tensor::randn(s, F))).collect();
        let own = params(&start);
        // A new tensor of zeros has no norm to go by.
        let _ = tch::no_grad(|| own.get("zero.weight").unwrap().shallow_clone().zero_());
        let mut want: Vec<[Tensor; 3]> =
            own.iter().map(|(_, t)| [double(t), double(t).zeros_like(), double(t).zeros_like()]).collect();
        let mut optimizer = Optimizer::new(&own, lamb(corrected), 1.0);
        for count in 1..=6 {
            let gradients: Vec<Tensor> = shapes.map(|s| Tensor::randn(s, F) * 0.3).into_iter().collect();
            optimizer.step(&own, &gradients, 0.01).unwrap();
            let norm = gradients.iter().map(|g| double(g).square().sum(Kind::Double).double_value(&[])).sum::<f64>();
            let scale = (norm.sqrt() + 1e-6).max(1.0);
            for ((name, gradient), [w, m, v]) in names.iter().zip(&gradients).zip(&mut want) {
                let g = double(gradient) / scale;
                *m = &*m * 0.9 + &g * 0.1;
                *v = &*v * 0.999 + g.square() * 0.001;
                let (c1, c2) =
                    if corrected { (1.0 - 0.9f64.powi(count), 1.0 - 0.999f64.powi(count)) } else { (1.0, 1.0) };
                let mut u = (&*m / c1) / ((&*v / c2).sqrt() + 1e-6);
                let mut ratio = 1.0;
                if name.ends_with(".weight") && !name.ends_with("norm.weight") {
                    u += &*w * 0.01;
                    let (a, b) = (w.norm().double_value(&[]), u.norm().double_value(&[]));
                    ratio = if a > 0.0 && b > 0.0 { a / b } else { 1.0 };
                }
                *w = &*w - u * (0.01 * ratio);
            }
            for ((name, tensor), [w, ..]) in own.iter().zip(&want) {
                close(&format!("{name} after step {count}"), tensor, w, 2e-6);
            }
        }
    }
}

#[test]
fn adamw_without_bias_correction_is_bert_s() {
    // google-research/bert, optimization.py: no correction, epsilon beside sqrt(v).
    let own = params(&[("a.weight", Tensor::from_slice(&[1f32, -2.0]))]);
    let options = OptimizerOptions { bias_correction: false, clip_norm: 0.0, epsilon: 1e-6, ..Default::default() };
    let mut optimizer = Optimizer::new(&own, options, 1.0);
    let (mut m, mut v, mut w) = (0.0, 0.0, 1.0);
    for step in 1..=5 {
        let g = 0.1 * f64::from(step);
        optimizer.step(&own, &[Tensor::from_slice(&[g as f32, 0.0])], 0.01).unwrap();
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        w -= 0.01 * (m / (v.sqrt() + 1e-6) + 0.01 * w);
        let value = own.get("a.weight").unwrap().double_value(&[0]);
        assert!((value - w).abs() < 1e-6, "step {step}: {value} for {w}");
    }
}

#[test]
fn the_norm_is_that_of_all_gradients_together() {
    let _turn = crate::seeded(22);
    let gradients: Vec<Tensor> = [3i64, 1, 700].map(|n| Tensor::randn([n, 5], F) * n as f64).into_iter().collect();
    let want = Tensor::cat(&gradients.iter().map(|g| double(g).flatten(0, -1)).collect::<Vec<_>>(), 0).norm();
    let with_a_gap = [&gradients[0], &Tensor::new(), &gradients[1], &gradients[2]].map(Tensor::shallow_clone);
    let norm = global_norm(&with_a_gap).unwrap();
    assert_eq!((norm.kind(), norm.size()), (Kind::Float, vec![]));
    let (norm, want) = (norm.double_value(&[]), want.double_value(&[]));
    assert!((norm - want).abs() < 1e-6 * want, "{norm} {want}");
    assert_eq!(global_norm(&[]).unwrap().double_value(&[]), 0.0);
}

#[test]
fn gradients_of_any_layout_are_read_right() {
    let _turn = crate::seeded(23);
    let one = Tensor::from(4f32);
    let whole = Tensor::randn([3, 2], F);
    let layouts =
        [whole.shallow_clone(), whole.shallow_clone(), whole.tr().contiguous().tr(), one.expand([3, 2], false)];
    let plain: Vec<Tensor> = layouts.iter().map(|g| Tensor::zeros([3, 2], F) + g).collect();
    let stepped = |gradients: &[Tensor]| {
        let own = params(&["a", "b", "c", "d"].map(|name| (name, Tensor::ones([3, 2], F))));
        let options = OptimizerOptions { clip_norm: 0.5, epsilon: 1.0, ..Default::default() };
        let norm = Optimizer::new(&own, options, 1.0).step(&own, gradients, 0.1).unwrap();
        assert!(norm > 0.5, "not clipped");
        own
    };
    let (want, own) = (stepped(&plain), stepped(&layouts));
    for (name, tensor) in want.iter() {
        close(name, own.get(name).unwrap(), &double(tensor), 1e-7);
    }
    assert_eq!(one.double_value(&[]), 4.0, "what others see is left alone");
}

#[test]
fn a_norm_that_is_not_finite_changes_nothing() {
    for kind in [OptimizerKind::AdamW, OptimizerKind::Lamb] {
        let own = params(&[("a.weight", Tensor::ones([3], F)), ("b.weight", Tensor::ones([2], F))]);
        let mut optimizer = Optimizer::new(&own, OptimizerOptions { kind, ..Default::default() }, 1.0);
        let bad = [Tensor::ones([3], F), Tensor::from_slice(&[f32::INFINITY, 0.0])];
        let error = optimizer.step(&own, &bad, 0.1).unwrap_err().to_string();
        assert!(error.contains("gradient norm is inf"), "{error}");
        assert_eq!(optimizer.steps(), 0);
        assert!(own.iter().all(|(_, t)| t.min().double_value(&[]) == 1.0 && t.max().double_value(&[]) == 1.0));
        assert!(optimizer.state().iter().all(|(_, t)| t.abs().max().double_value(&[]) == 0.0));
        let wrong = optimizer.step(&own, &[Tensor::ones([3], F)], 0.1).unwrap_err().to_string();
        assert!(wrong.contains("other parameters"), "{wrong}");
        let wrong = optimizer.step(&own, &[Tensor::ones([3], F), Tensor::ones([3], F)], 0.1).unwrap_err().to_string();
        assert!(wrong.contains("`b.weight` has shape [3]"), "{wrong}");
    }
}

#[test]
fn a_layer_s_rate_is_its_factor_s() {
    // Adam's first step is the learning rate, whatever the gradient.
    for kind in [OptimizerKind::AdamW, OptimizerKind::Lamb] {
        let names = ["embeddings.words.weight", "encoder.ffn.0.up.bias", "encoder.ffn.1.up.bias", "head.output.bias"];
        let own = params(&names.map(|name| (name, Tensor::zeros([2], F))));
        let mut optimizer = Optimizer::new(&own, OptimizerOptions { kind, ..Default::default() }, 0.5);
        let gradients: Vec<Tensor> = names.iter().map(|_| Tensor::full([2], 0.01, F)).collect();
        optimizer.step(&own, &gradients, 0.1).unwrap();
        for (name, want) in names.into_iter().zip([0.025, 0.05, 0.1, 0.1]) {
            close(name, own.get(name).unwrap(), &Tensor::full([2], -want, D), 1e-6);
        }
    }
}
