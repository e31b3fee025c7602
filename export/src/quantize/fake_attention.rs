//! Attention as limbeck's own layers round it, for [quantization-aware training](super::fake_quantization): codes of 16 bits by
//! the limits of [`limbeck::int8::attention_limits`].

use limbeck::int8::attention_limits;
use tch::{Kind, Tensor};

use super::fake_quantization::{straight_through, to_codes};

/// Queries, keys and values `[batch, heads, length, head size]` as a text's codes stand for them.
pub(crate) struct RoundedHeads {
    pub query: Tensor,
    pub key: Tensor,
    pub value: Tensor,
    /// What a query's weights add up to at most, `[batch, 1, 1, 1]`.
    whole: Tensor,
}

impl RoundedHeads {
    /// A query by its own largest value, keys and values by those of the head in the text. `tokens` `[batch, length]` is 1 at
    /// tokens and 0 at padding, which does not count.
    pub(crate) fn new([query, key, value]: [&Tensor; 3], tokens: &Tensor) -> Self {
        let head_size = query.size()[3] as usize;
        let lengths = tokens.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
        let counted: Vec<i64> = (0..lengths.size()[0]).map(|row| lengths.int64_value(&[row])).collect();
        let limits = counted.iter().map(|&count| attention_limits(count.max(1) as usize, head_size));
        let of = |place: usize| {
            let of: Vec<f32> = limits.clone().map(|limits| limits[place]).collect();
            Tensor::from_slice(&of).to_device(query.device()).view([-1, 1, 1, 1])
        };
        let counts = tokens.to_kind(Kind::Float).unsqueeze(1).unsqueeze(-1);
        let in_text = |x: &Tensor| (x * &counts).abs().amax([-2i64, -1].as_slice(), true);
        let scores = of(0);
        let rounded = |x: &Tensor, largest: &dyn Fn(&Tensor) -> Tensor, limit: &Tensor| {
            straight_through(&x.to_kind(Kind::Float), |x| to_codes(x, &largest(x), limit))
        };
        Self {
            query: rounded(query, &|x| x.abs().amax([-1i64].as_slice(), true), &scores),
            key: rounded(key, &in_text, &scores),
            value: rounded(value, &in_text, &of(1)),
            whole: of(2),
        }
    }

    /// Softmax of scores `[batch, heads, query, key]`, to codes and back.
    pub(crate) fn softmax(&self, scores: &Tensor) -> Tensor {
        straight_through(&scores.softmax(-1, Kind::Float), |weights| {
            // The largest of a layer's powers is 1, so that their sum is 1 over the largest weight, which has the code 32767
            // at most.
            let most = weights.amax([-1i64].as_slice(), true);
            let whole = self.whole.minimum(&(most.reciprocal() * f64::from(i16::MAX)));
            (weights * &whole).round() / whole
        })
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn codes_are_close_and_padding_does_not_count() {
        let _turn = crate::seeded(72);
        let options = (Kind::Float, Device::Cpu);
        let [query, key, value] = [(); 3].map(|()| Tensor::randn([2, 3, 5, 16], options).set_requires_grad(true));
        let tokens = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 1, 1, 0, 0, 0]).view([2, 5]);
        let run = |key: &Tensor| {
            let heads = RoundedHeads::new([&query, key, &value], &tokens);
            let hidden = (tokens.to_kind(Kind::Float) - 1.0).view([2, 1, 1, 5]) * 1e30;
            let scores = heads.query.matmul(&heads.key.transpose(-1, -2)) / 4.0 + hidden;
            (heads.softmax(&scores).matmul(&heads.value), scores)
        };
        let (found, scores) = run(&key);
        let exact = scores.softmax(-1, Kind::Float).matmul(&value);
        let error = (&found - &exact).abs().max().double_value(&[]);
        assert!(error > 0.0 && error < 2e-3, "{error}");
        // A large key that is padding changes nothing; one that is not makes all codes coarser.
        let with = |token: i64| {
            let large = key.detach().copy();
            let _ = large.get(1).select(1, token).select(1, 0).fill_(1e4);
            let difference = run(&large).0 - &found;
            difference.get(1).narrow(1, 0, 2).abs().max().double_value(&[])
        };
        assert_eq!(with(3), 0.0);
        assert!(with(0) > 0.0);
        // Gradients are those of attention without rounding, at the rounded point.
        found.sum(Kind::Float).backward();
        for x in [&query, &key, &value] {
            assert!(x.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0);
        }
    }
}
