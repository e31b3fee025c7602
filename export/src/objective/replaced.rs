//! Replaced tokens (Clark 2020): what a generator puts in the place of masked tokens, and the losses of ELECTRA's ablations.

use tch::{Kind, Tensor};

/// A token for each row of `[n, vocabulary]` logits, drawn from their softmax by Gumbel noise from libtorch's generator: the
/// largest of `z - ln(-ln u)`. No gradient flows through it. `[n]` int64.
pub fn sample(logits: &Tensor) -> Tensor {
    tch::no_grad(|| {
        let logits = logits.detach().to_kind(Kind::Float);
        // -ln u of a uniform number is an exponential one, which is never 0.
        let noise = logits.empty_like().exponential(1.0).log();
        (logits - noise).argmax(-1, false)
    })
}

/// The text that the discriminator reads and what was replaced in it: `[batch, length]` int64 both. At the flat places `at`
/// `[n]` of `original` stand the tokens `drawn` `[n]`; one that is the original's is not replaced (Clark 2020, section 2).
pub fn corrupt(original: &Tensor, at: &Tensor, drawn: &Tensor) -> (Tensor, Tensor) {
    let corrupted = original.reshape([-1]).index_copy(0, at, drawn).view_as(original);
    let replaced = corrupted.ne_tensor(original).to_kind(Kind::Int64);
    (corrupted, replaced)
}

/// The loss of "all-tokens MLM" (Clark 2020, section 3.5 and appendix G): the model guesses every token with a mechanism to copy. With
/// the copy probability `D = sigmoid(copy)`, token x has the probability `D [x = read] + (1 - D) softmax(logits)_x`.
/// Mean of `-log` over tokens. `logits` `[n, vocabulary]`, `copy` `[n]`, `read` and `original` `[n]` int64.
pub fn all_tokens(logits: &Tensor, copy: &Tensor, read: &Tensor, original: &Tensor) -> Tensor {
    let kind = logits.kind();
    let guess = logits.log_softmax(-1, kind).gather(-1, &original.unsqueeze(-1), false).squeeze_dim(-1);
    let guessed = guess + (-copy).log_sigmoid();
    let copied = copy.log_sigmoid().where_self(&read.eq_tensor(original), &copy.full_like(f64::from(f32::MIN)));
    -guessed.logaddexp(&copied).mean(kind)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Reduction};

    use super::*;
    use crate::objective::replaced_token;

    const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

    #[test]
    fn samples_follow_the_softmax() {
        let _turn = crate::seeded(3);
        let wanted = Tensor::from_slice(&[0.5f64, 0.3, 0.15, 0.05]);
        let drawn = sample(&wanted.log().expand([40_000, 4], true));
        let share = drawn.one_hot(4).to_kind(Kind::Double).mean_dim(0, false, Kind::Double);
        assert!((share - wanted).abs().max().double_value(&[]) < 0.01);
        // A generator that knows nothing: the share of replaced tokens is 1 - 1/V.
        let vocabulary = 8;
        let original = Tensor::randint(vocabulary, [100, 400], (Kind::Int64, Device::Cpu));
        let at = Tensor::arange(40_000, (Kind::Int64, Device::Cpu));
        let uniform = Tensor::zeros([40_000, vocabulary], (Kind::Float, Device::Cpu));
        let (_, replaced) = corrupt(&original, &at, &sample(&uniform));
        let share = replaced.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((share - (1.0 - 1.0 / vocabulary as f64)).abs() < 0.006, "{share}");
    }

    #[test]
    fn a_generator_that_is_always_right_replaces_nothing() {
        let _turn = crate::seeded(1);
        let original = Tensor::from_slice(&[5i64, 6, 7, 8, 9, 0]).view([2, 3]);
        let at = Tensor::from_slice(&[0i64, 4]);
        let sure = Tensor::from_slice(&[5i64, 9]).one_hot(10).to_kind(Kind::Float) * 1e4;
        let (corrupted, replaced) = corrupt(&original, &at, &sample(&sure));
        assert_eq!(corrupted, original);
        assert_eq!(replaced.sum(Kind::Int64).int64_value(&[]), 0);
        // Of a constant logit z the loss is that of a constant classifier, ln(1 + e^z), padding aside.
        let mask = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 0]).view([2, 3]);
        let logits = Tensor::full([2, 3], -1.5, (Kind::Double, Device::Cpu));
        let loss = replaced_token(&logits, &mask, &replaced.to_kind(Kind::Double)).double_value(&[]);
        assert!((loss - (1.0 + (-1.5f64).exp()).ln()).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn no_gradient_passes_a_sample() {
        let _turn = crate::seeded(1);
        let logits = Tensor::randn([3, 5], DOUBLE).set_requires_grad(true);
        assert!(!sample(&logits).requires_grad());
    }

    #[test]
    fn replaced_tokens_stand_in_their_places() {
        let original = Tensor::from_slice(&[5i64, 6, 7, 8, 9, 0]).view([2, 3]);
        let (corrupted, replaced) =
            corrupt(&original, &Tensor::from_slice(&[1i64, 3]), &Tensor::from_slice(&[4i64, 8]));
        assert_eq!(Vec::<Vec<i64>>::try_from(corrupted).unwrap(), [[5, 4, 7], [8, 9, 0]]);
        assert_eq!(Vec::<Vec<i64>>::try_from(replaced).unwrap(), [[0, 1, 0], [0, 0, 0]]);
    }

    #[test]
    fn copying_has_its_closed_form_and_gradient() {
        let _turn = crate::seeded(8);
        let (logits, copy) = (Tensor::randn([4, 6], DOUBLE), Tensor::randn([4], DOUBLE));
        let read = Tensor::from_slice(&[1i64, 2, 3, 4]);
        let original = Tensor::from_slice(&[1i64, 5, 3, 0]);
        let loss = |logits: &Tensor, copy: &Tensor| all_tokens(logits, copy, &read, &original);
        let p = logits.softmax(-1, Kind::Double).gather(-1, &original.unsqueeze(-1), false).squeeze_dim(-1);
        let d = copy.sigmoid();
        let same = read.eq_tensor(&original).to_kind(Kind::Double);
        let probability: Tensor = &d * same + (1.0 - &d) * p;
        let expected = -probability.log().mean(Kind::Double);
        assert!((loss(&logits, &copy) - expected).abs().double_value(&[]) < 1e-12);
        // One who never copies is a masked language model.
        let never = copy.full_like(-40.0);
        let plain = logits.cross_entropy_loss::<Tensor>(&original, None, Reduction::Mean, -100, 0.0);
        assert!((loss(&logits, &never) - plain).abs().double_value(&[]) < 1e-12);

        let (z, c) = (logits.copy().set_requires_grad(true), copy.copy().set_requires_grad(true));
        loss(&z, &c).backward();
        let step = 1e-6;
        for row in 0..4i64 {
            let shifted = |by: f64| {
                let moved = copy.copy();
                let _ = moved.get(row).g_add_scalar_(by);
                loss(&logits, &moved).double_value(&[])
            };
            let numeric = (shifted(step) - shifted(-step)) / (2.0 * step);
            assert!((numeric - c.grad().double_value(&[row])).abs() < 1e-8);
            for column in 0..6i64 {
                let shifted = |by: f64| {
                    let moved = logits.copy();
                    let _ = moved.get(row).get(column).g_add_scalar_(by);
                    loss(&moved, &copy).double_value(&[])
                };
                let numeric = (shifted(step) - shifted(-step)) / (2.0 * step);
                assert!((numeric - z.grad().double_value(&[row, column])).abs() < 1e-8);
            }
        }
    }
}
