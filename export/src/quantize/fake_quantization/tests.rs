use ndarray::{Array2, ArrayView2};
use tch::Device;

use super::*;
use crate::quantize::{Quantized, quantize_rows, ternary_rows as stored_ternary};

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.reshape([-1])).unwrap()
}

/// Rows of very different sizes, with zeros and a row of nothing else.
fn uneven() -> Array2<f32> {
    let value = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 4001) as f32 * 0.003 - 6.0;
    Array2::from_shape_fn((7, 83), |(i, j)| match i {
        3 => 0.0,
        _ if j % 11 == 5 => 0.0,
        _ => value(i, j) * 10f32.powi(i as i32 - 3),
    })
}

fn tensor(array: &Array2<f32>) -> Tensor {
    Tensor::from_slice(array.as_slice().unwrap()).view([array.nrows() as i64, array.ncols() as i64])
}

#[test]
fn weights_in_training_are_those_of_the_bundle() {
    let weight = uneven();
    type Stored = fn(&ArrayView2<f32>) -> Quantized;
    for (how, stored) in
        [(FakeQuantization::Int8, quantize_rows as Stored), (FakeQuantization::Ternary, stored_ternary as Stored)]
    {
        let Quantized { values: codes, scales } = stored(&weight.view());
        let expected = Array2::from_shape_fn(weight.dim(), |(i, j)| f32::from(codes[[i, j]]) * scales[i]);
        let found = values(&how.of_weights(&tensor(&weight)));
        assert_eq!(found, expected.into_raw_vec_and_offset().0, "{how:?}");
    }
}

#[test]
fn activations_are_rounded_to_the_nearest_code_of_their_row() {
    // The codes of a test of sdk/int8: 63.5 goes to the even 64.
    let x =
        Tensor::from_slice(&[0.5f32, -1.0, 0.004, 0.25, -0.0, 1.0, 0.0, 0.0, 0.0, 1e-40, -1e-41, 0.0]).view([2, 2, 3]);
    let step = 1.0 / 127.0f32;
    let codes = [64.0, -127.0, 1.0, 32.0, 0.0, 127.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(values(&of_activations(&x)), codes.map(|code: f32| code * step));
    // In bf16 they are not rounded a second time.
    let half = of_activations(&x.to_kind(Kind::BFloat16));
    assert_eq!((half.kind(), values(&half)[0]), (Kind::Float, 64.0 * step));
    assert!(values(&of_activations(&Tensor::from_slice(&[1.0f32, f32::NAN]))).iter().all(|x| x.is_nan()));
}

#[test]
fn gradients_are_those_at_the_rounded_point() {
    let _turn = crate::seeded(71);
    let options = (Kind::Float, Device::Cpu);
    let (weight, x) = (Tensor::randn([5, 8], options), Tensor::randn([3, 8], options));
    // Not linear in either, so that the point matters.
    let loss = |weight: &Tensor, x: &Tensor| x.linear::<Tensor>(weight, None).sin().sum(Kind::Float);
    for how in [FakeQuantization::Int8, FakeQuantization::Ternary] {
        let own = [weight.copy().set_requires_grad(true), x.copy().set_requires_grad(true)];
        loss(&how.of_weights(&own[0]), &of_activations(&own[1])).backward();
        let rounded = [how.of_weights(&weight), of_activations(&x)].map(|point| point.set_requires_grad(true));
        loss(&rounded[0], &rounded[1]).backward();
        let at_itself = [weight.copy().set_requires_grad(true), x.copy().set_requires_grad(true)];
        loss(&at_itself[0], &at_itself[1]).backward();
        for ((own, rounded), itself) in own.iter().zip(&rounded).zip(&at_itself) {
            assert_eq!(own.grad(), rounded.grad(), "{how:?}");
            assert_ne!(own.grad(), itself.grad(), "{how:?}");
        }
    }
}

#[test]
fn what_is_rounded_already_stays() {
    let weight = tensor(&uneven());
    let ternary = FakeQuantization::Ternary.of_weights(&weight);
    assert_eq!(FakeQuantization::Ternary.of_weights(&ternary), ternary);
    // The scale itself is rounded anew: a step of the last digit.
    let int8 = FakeQuantization::Int8.of_weights(&weight);
    let again = FakeQuantization::Int8.of_weights(&int8);
    assert!((&again - &int8).abs().le_tensor(&(int8.abs() * 3e-7)).all().int64_value(&[]) == 1);
}
