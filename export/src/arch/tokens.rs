//! Batches without their padding.

use tch::{Device, Kind, Tensor};

use super::capture::Positions;

/// Where the tokens of a `[batch, length]` mask stand. Between attentions layers look at tokens one by one, so a batch can do
/// without its padding there: it is then packed, `[tokens, hidden]` in the order of the mask, and spread,
/// `[batch, length, hidden]` with zeros at padding, where places count.
pub(super) struct Tokens {
    batch: i64,
    length: i64,
    /// Every place is known to be a token's.
    pub all: bool,
    packed: Option<Packed>,
}

struct Packed {
    /// Each token's place in `batch * length`.
    places: Tensor,
    /// Where each text begins among the tokens.
    starts: Tensor,
}

/// Packing pays where at least one place in this many is padding.
const PAYS_FROM: i64 = 32;

impl Tokens {
    /// Of `mask` (1 token, 0 pad). Packed on CPUs alone: a GPU would have to be asked for the places, which takes longer. Nor
    /// are texts with padding on their left packed.
    pub(super) fn of(mask: &Tensor) -> Self {
        let (batch, length) = (mask.size()[0], mask.size()[1]);
        if mask.device() != Device::Cpu {
            return Self { batch, length, all: false, packed: None };
        }
        let kept = mask.ne(0);
        let padding = batch * length - kept.sum(Kind::Int64).int64_value(&[]);
        let begin = || kept.select(1, 0).all().int64_value(&[]) == 1;
        let pays = padding > 0 && padding * PAYS_FROM >= batch * length && begin();
        let packed = pays.then(|| {
            let lengths = kept.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
            Packed {
                places: kept.view([-1]).nonzero().squeeze_dim(1),
                starts: lengths.cumsum(0, Kind::Int64) - lengths,
            }
        });
        Self { batch, length, all: padding == 0, packed }
    }

    /// `[batch, length, ...]` as layers read it: of tokens alone where the batch is packed. What is of
    /// [`Positions::First`] has no padding.
    pub(super) fn pack(&self, positions: Positions, x: &Tensor) -> Tensor {
        match (&self.packed, positions) {
            (Some(packed), Positions::All) => x.flatten(0, 1).index_select(0, &packed.places),
            _ => x.shallow_clone(),
        }
    }

    /// `[batch, length, hidden]` of what may be packed.
    pub(super) fn spread(&self, x: &Tensor) -> Tensor {
        match &self.packed {
            Some(packed) if x.dim() == 2 => {
                let width = x.size()[1];
                let mut zeros = Tensor::zeros([self.batch * self.length, width], (x.kind(), x.device()));
                // `index_copy` takes four times as long.
                zeros.index_add_(0, &packed.places, x).view([self.batch, self.length, width])
            }
            _ => x.shallow_clone(),
        }
    }

    /// Those of what may be packed: all as they are, or `[batch, 1, hidden]`.
    pub(super) fn at(&self, positions: Positions, x: &Tensor) -> Tensor {
        match (&self.packed, positions) {
            (Some(packed), Positions::First) => x.index_select(0, &packed.starts).unsqueeze(1),
            _ => positions.of(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[[i64; 4]]) -> Tensor {
        Tensor::from_slice(rows.as_flattened()).view([rows.len() as i64, 4])
    }

    #[test]
    fn tokens_keep_their_order_and_places() {
        let tokens = Tokens::of(&mask(&[[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 1]]));
        assert!(!tokens.all && tokens.packed.is_some());
        let x = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([3, 4, 2]) + 1.0;
        let packed = tokens.pack(Positions::All, &x);
        let firsts = Vec::<f32>::try_from(packed.select(1, 0)).unwrap();
        assert_eq!(firsts, [1.0, 3.0, 5.0, 7.0, 9.0, 17.0, 19.0, 23.0]);
        assert_eq!(tokens.at(Positions::First, &packed), x.narrow(1, 0, 1));
        assert_eq!(tokens.at(Positions::All, &packed), packed);
        let spread = tokens.spread(&packed);
        let lost = 11.0 + 12.0 + 13.0 + 14.0 + 15.0 + 16.0 + 21.0 + 22.0;
        assert_eq!((&x - &spread).abs().sum(Kind::Float).double_value(&[]), lost);
        assert_eq!(tokens.pack(Positions::All, &spread), packed);
        // What is of the first tokens is as it is.
        let first = x.narrow(1, 0, 1);
        assert_eq!(tokens.spread(&tokens.pack(Positions::First, &first)), first);
    }

    #[test]
    fn batches_that_are_full_or_begin_with_padding_stay_as_they_are() {
        let x = Tensor::ones([2, 4, 2], (Kind::Float, Device::Cpu));
        for (rows, all) in [([[1; 4], [1; 4]], true), ([[1; 4], [0, 1, 1, 1]], false), ([[1; 4], [0; 4]], false)] {
            let tokens = Tokens::of(&mask(&rows));
            assert_eq!(tokens.all, all);
            assert!([tokens.pack(Positions::All, &x), tokens.spread(&x)].iter().all(|y| y.data_ptr() == x.data_ptr()));
            assert_eq!(tokens.at(Positions::First, &x).size(), [2, 1, 2]);
        }
        // Nor where it would cost more than it saves.
        let one = Tensor::ones([8, 8], (Kind::Int64, Device::Cpu));
        let _ = one.get(3).narrow(0, 7, 1).fill_(0);
        assert!(Tokens::of(&one).packed.is_none() && !Tokens::of(&one).all);
        assert!(Tokens::of(&Tensor::ones([0, 4], (Kind::Int64, Device::Cpu))).packed.is_none());
    }
}
