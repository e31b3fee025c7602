//! What a model is trained to give.

use tch::{Kind, Tensor};

use crate::objective::IGNORED;

/// What is right for one example. All examples of a set have the same kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The index of the one right label.
    Class(usize),
    /// 1 for each label that holds, 0 for the others.
    Labels(Vec<f32>),
    /// A number.
    Value(f32),
    /// A label for each token; [`IGNORED`] where none is asked for.
    Tokens(Vec<i64>),
    /// The first and last token of the answer.
    Span {
        /// First token.
        start: usize,
        /// Last token.
        end: usize,
    },
}

impl Target {
    fn row(&self, length: usize) -> Vec<f64> {
        match self {
            Target::Class(class) => vec![*class as f64],
            Target::Labels(labels) => labels.iter().map(|&label| f64::from(label)).collect(),
            Target::Value(value) => vec![f64::from(*value)],
            Target::Tokens(labels) => {
                let padding = std::iter::repeat(&IGNORED);
                labels.iter().chain(padding).take(length).map(|&label| label as f64).collect()
            }
            Target::Span { start, end } => vec![*start as f64, *end as f64],
        }
    }

    /// The targets of a batch of texts of `length` tokens: `[batch]` int64 (class), `[batch, labels]` fp32,
    /// `[batch]` fp32 (value), `[batch, length]` int64 (tokens), `[batch, 2]` int64 (span).
    pub(super) fn stack<'a>(targets: impl Iterator<Item = &'a Target>, length: usize) -> Tensor {
        let (mut values, mut rows) = (Vec::new(), 0i64);
        let (mut kind, mut flat) = (Kind::Int64, true);
        for target in targets {
            // Every integer here is far below 2^53.
            values.extend(target.row(length));
            rows += 1;
            (kind, flat) = match target {
                Target::Class(_) => (Kind::Int64, true),
                Target::Value(_) => (Kind::Float, true),
                Target::Labels(_) => (Kind::Float, false),
                Target::Tokens(_) | Target::Span { .. } => (Kind::Int64, false),
            };
        }
        let tensor = Tensor::from_slice(&values).to_kind(kind);
        if flat { tensor } else { tensor.view([rows, -1]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_stacked_by_kind() {
        let stack = |targets: &[Target]| Target::stack(targets.iter(), 3);
        let classes = stack(&[Target::Class(2), Target::Class(0)]);
        assert_eq!((classes.kind(), Vec::<i64>::try_from(&classes).unwrap()), (Kind::Int64, vec![2, 0]));
        let values = stack(&[Target::Value(0.5), Target::Value(-1.25)]);
        assert_eq!((values.kind(), Vec::<f32>::try_from(&values).unwrap()), (Kind::Float, vec![0.5, -1.25]));
        let labels = stack(&[Target::Labels(vec![0.0, 1.0]), Target::Labels(vec![1.0, 1.0])]);
        assert_eq!((labels.kind(), labels.size()), (Kind::Float, vec![2, 2]));
        let tokens = stack(&[Target::Tokens(vec![IGNORED, 4]), Target::Tokens(vec![1, 2, 3])]);
        assert_eq!(Vec::<Vec<i64>>::try_from(&tokens).unwrap(), [[IGNORED, 4, IGNORED], [1, 2, 3]]);
        let spans = stack(&[Target::Span { start: 1, end: 2 }]);
        assert_eq!(Vec::<Vec<i64>>::try_from(&spans).unwrap(), [[1, 2]]);
    }
}
