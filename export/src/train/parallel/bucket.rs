//! Gradients travel in few large pieces, not one message a tensor.

use anyhow::Result;
use tch::{Kind, Tensor};

use super::Group;

/// Values a piece: 25 MB, as in PyTorch's DistributedDataParallel.
const BUCKET: usize = 25 * 1024 * 1024 / 4;

/// Overwrites gradients, and the loss, with their means over all processes. `gradients` are in the order of
/// `weights`. A gradient that is undefined counts as 0; one that is undefined everywhere stays so.
///
/// # Errors
/// A process or the network between them failed; a libtorch error.
pub(in crate::train) fn mean_gradients(
    group: &dyn Group,
    weights: &[Tensor],
    gradients: &mut [Tensor],
    loss: f64,
) -> Result<f64> {
    if group.size() == 1 {
        return Ok(loss);
    }
    let _no_grad = tch::no_grad_guard();
    let Some(device) = weights.first().map(Tensor::device) else { return Ok(loss) };
    // Which process has what, in the same piece as the loss.
    let mut present: Vec<f32> = gradients.iter().map(|g| if g.defined() { 1.0 } else { 0.0 }).collect();
    present.push(loss as f32);
    let head = Tensor::from_slice(&present).to_device(device);
    group.all_reduce_mean(std::slice::from_ref(&head))?;
    let head = Vec::<f32>::try_from(head.to_device(tch::Device::Cpu))?;
    let chosen: Vec<usize> = (0..weights.len()).filter(|&i| head[i] > 0.0).collect();
    for bucket in buckets(&chosen, weights) {
        let flat: Vec<Tensor> = bucket
            .iter()
            .map(|&i| match gradients[i].defined() {
                true => gradients[i].to_kind(Kind::Float).flatten(0, -1),
                false => Tensor::zeros([weights[i].numel() as i64], (Kind::Float, device)),
            })
            .collect();
        let flat = Tensor::f_cat(&flat, 0)?;
        group.all_reduce_mean(std::slice::from_ref(&flat))?;
        let mut start = 0;
        for &i in bucket {
            let count = weights[i].numel() as i64;
            gradients[i] = flat.narrow(0, start, count).view(&weights[i].size()[..]);
            start += count;
        }
    }
    Ok(f64::from(head[weights.len()]))
}

/// Cuts a list of tensors where they hold enough values.
fn buckets<'a>(chosen: &'a [usize], weights: &[Tensor]) -> Vec<&'a [usize]> {
    let (mut pieces, mut start, mut held) = (Vec::new(), 0, 0);
    for (position, &i) in chosen.iter().enumerate() {
        held += weights[i].numel();
        if held >= BUCKET || position + 1 == chosen.len() {
            pieces.push(&chosen[start..=position]);
            (start, held) = (position + 1, 0);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tch::Device;

    use super::*;

    /// The first of two processes; the other's tensors are given, in the order of the calls.
    struct Half {
        other: RefCell<Vec<Tensor>>,
    }

    impl Group for Half {
        fn rank(&self) -> usize {
            0
        }
        fn size(&self) -> usize {
            2
        }
        fn all_reduce_mean(&self, tensors: &[Tensor]) -> Result<()> {
            for tensor in tensors {
                let other = self.other.borrow_mut().remove(0);
                assert_eq!(other.size(), tensor.size());
                tensor.shallow_clone().copy_(&((tensor + other) / 2.0));
            }
            Ok(())
        }
        fn broadcast(&self, _: &[Tensor], _: usize) -> Result<()> {
            Ok(())
        }
        fn barrier(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn means_go_back_to_where_they_came_from() {
        let values = |v: &[f32], shape: &[i64]| Tensor::from_slice(v).view(shape);
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let weights = [zeros(&[2, 2]), zeros(&[3]), zeros(&[1]), zeros(&[])];
        let mut own = [values(&[1., 2., 3., 4.], &[2, 2]), Tensor::new(), Tensor::new(), values(&[8.], &[])];
        // The other has the second tensor and not the last; neither has the third.
        let head = values(&[1., 1., 0., 0., 5.], &[5]);
        let rest = values(&[3., 2., 1., 0., 6., 6., 6., 0.], &[8]);
        let group = Half { other: RefCell::new(vec![head, rest]) };
        let loss = mean_gradients(&group, &weights, &mut own, 2.0).unwrap();
        assert_eq!(loss, 3.5);
        assert_eq!(own[0], values(&[2., 2., 2., 2.], &[2, 2]));
        assert_eq!(own[1], values(&[3., 3., 3.], &[3]));
        assert!(!own[2].defined());
        assert_eq!(own[3], values(&[4.], &[]));
        assert!(group.other.borrow().is_empty());
    }

    #[test]
    fn large_tensors_travel_in_pieces() {
        let weights: Vec<Tensor> =
            [4_000_000, 3_000_000, 10, 7_000_000, 5].map(|n| Tensor::zeros([n], (Kind::Int8, Device::Cpu))).into();
        assert_eq!(buckets(&[0, 1, 2, 3, 4], &weights), [&[0usize, 1][..], &[2, 3], &[4]]);
        assert!(buckets(&[], &weights).is_empty());
    }
}
