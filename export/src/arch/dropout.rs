//! Dropout.

use tch::{Device, Kind, Tensor};

use crate::shim;

/// `x` with values dropped at `rate`, the others divided by `1 - rate` (Srivastava 2014, in its inverted form); `x` itself
/// where a model does not `train`.
pub(super) fn dropout(x: &Tensor, rate: f64, train: bool) -> Tensor {
    if !train || rate == 0.0 {
        return x.shallow_clone();
    }
    let own = x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::BFloat16) && rate < 1.0;
    let dropped = own.then(|| shim::dropout(x, rate).ok()).flatten();
    dropped.unwrap_or_else(|| x.dropout(rate, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(tensor: &Tensor) -> f64 {
        tensor.to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
    }

    #[test]
    fn values_are_dropped_at_the_rate_and_scaled_and_so_are_gradients() {
        let _turn = crate::seeded(81);
        // Blocks of 16,384 have keys of their own; the last is not full.
        let size = [7, 100_003];
        for (kind, limit) in [(Kind::Float, 1e-6), (Kind::BFloat16, 4e-3)] {
            for rate in [0.1, 0.5] {
                let x = Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind).set_requires_grad(true);
                let y = dropout(&x, rate, true);
                assert_eq!((y.size(), y.kind()), (size.to_vec(), kind));
                let kept = y.ne(0.0);
                // Six standard deviations.
                let spread = 6.0 * (rate * (1.0 - rate) / 700_021.0f64).sqrt();
                assert!((share(&kept) - (1.0 - rate)).abs() < spread, "{}", share(&kept));
                let want = &x * &kept / (1.0 - rate);
                let near = |own: &Tensor, want: &Tensor| {
                    let difference = (own - want).to_kind(Kind::Float).abs().max().double_value(&[]);
                    let largest = want.to_kind(Kind::Float).abs().max().double_value(&[]);
                    assert!(difference <= limit * largest, "{kind:?}: {difference} of {largest}");
                };
                near(&y, &want);
                let weights = Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind);
                let loss = (&y * &weights).sum(Kind::Float);
                let gradient = Tensor::run_backward(&[loss], &[&x], false, false).remove(0);
                near(&gradient, &(&weights * &kept / (1.0 - rate)));
            }
        }
    }

    /// Values that stand together, in rows, columns and blocks, and draws after one another are dropped apart from each other.
    #[test]
    fn places_and_draws_are_independent() {
        let _turn = crate::seeded(82);
        let (rate, size) = (0.25, 1 << 20);
        let ones = Tensor::ones([size], (Kind::Float, Device::Cpu));
        let drawn = || dropout(&ones, rate, true).eq(0.0).to_kind(Kind::Double) - rate;
        let (first, second) = (drawn(), drawn());
        let spread = 6.0 * rate * (1.0 - rate) / (size as f64).sqrt();
        let together = |a: &Tensor, b: &Tensor| (a * b).mean(Kind::Double).double_value(&[]);
        assert!(together(&first, &second).abs() < spread);
        for shift in [1, 2, 3, 4, 8, 16, 64, 384, 1024, 1536, 1 << 14, 1 << 15, 1 << 18] {
            let moved = first.roll([shift], [0]);
            let found = together(&first, &moved);
            assert!(found.abs() < spread, "{shift}: {found}, where chance gives {spread}");
            assert!(together(&second, &moved).abs() < spread, "{shift}");
        }
    }

    #[test]
    fn the_seed_alone_decides_and_not_the_threads() {
        let _turn = crate::seeded(83);
        let x = Tensor::randn([3, 40_000], (Kind::Float, Device::Cpu));
        let threads = tch::get_num_threads();
        let drawn = |threads| {
            tch::manual_seed(5);
            tch::set_num_threads(threads);
            [dropout(&x, 0.1, true), dropout(&x, 0.1, true)]
        };
        let (one, two) = (drawn(1), drawn(2));
        tch::set_num_threads(threads);
        assert_eq!(one, two);
        assert_ne!(one[0], one[1]);
    }

    #[test]
    fn nothing_is_dropped_where_nothing_trains() {
        let x = Tensor::from_slice(&[1.0f32, f32::NAN, f32::INFINITY]);
        for (rate, train) in [(0.0, true), (0.5, false)] {
            assert_eq!(dropout(&x, rate, train).data_ptr(), x.data_ptr());
        }
        // What is no number shows, dropped or not; all can be dropped.
        let _turn = crate::seeded(84);
        assert!((0..20).all(|_| dropout(&x, 0.5, true).get(1).double_value(&[]).is_nan()));
        assert_eq!(
            dropout(&Tensor::ones([4], (Kind::Float, Device::Cpu)), 1.0, true),
            Tensor::zeros([4], (Kind::Float, Device::Cpu))
        );
        assert_eq!(dropout(&Tensor::ones([0, 3], (Kind::Float, Device::Cpu)), 0.5, true).size(), [0, 3]);
        // Other kinds and places are libtorch's.
        assert_eq!(dropout(&Tensor::ones([4], (Kind::Double, Device::Cpu)), 0.5, true).kind(), Kind::Double);
        let columns = Tensor::ones([300, 200], (Kind::Float, Device::Cpu)).tr();
        assert_eq!(dropout(&columns, 0.5, true).size(), [200, 300]);
    }
}
