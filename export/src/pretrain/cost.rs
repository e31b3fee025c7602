//! What pretraining costs in arithmetic, for comparisons at equal cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::recipe::ObjectiveKind;
use crate::arch::{ElectraCost, ModelConfig, flops};

/// Floating-point operations of a whole run, with those of a generator, and of a teacher's forward passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// By ELECTRA's counter ([`ElectraCost`]): every operation, token lookups as dense products, backward as costly as forward.
    pub electra: f64,
    /// Matrix products of the layers alone ([`flops`]), backward twice as costly as forward.
    pub layers: f64,
}

/// The cost of examples, how many of each length; `share` of their tokens are masked.
pub(super) fn cost(
    kind: ObjectiveKind,
    config: &ModelConfig,
    generator: Option<&ModelConfig>,
    teacher: Option<&ModelConfig>,
    share: f64,
    seen: &BTreeMap<usize, u64>,
) -> Cost {
    let masked = (share * 32.0).round().max(1.0) as u128;
    let (discriminator, decoded) = match kind {
        ObjectiveKind::Rtd | ObjectiveKind::RtdMasked => (true, masked),
        ObjectiveKind::Mlm | ObjectiveKind::ReplaceMlm => (false, masked),
        ObjectiveKind::AllTokensMlm | ObjectiveKind::Clm => (false, 32),
    };
    let mut total = Cost::default();
    for (&length, &count) in seen {
        let of = |config: &ModelConfig, masked_of_32| ElectraCost { masked_of_32, ..ElectraCost::of(config, length) };
        total.electra += of(config, decoded).training(count.into(), discriminator) as f64;
        total.layers += (3 * flops(config, length) * u128::from(count)) as f64;
        if let Some(generator) = generator {
            total.electra += of(generator, masked).training(count.into(), false) as f64;
            total.layers += (3 * flops(generator, length) * u128::from(count)) as f64;
        }
        if let Some(teacher) = teacher {
            // Forward alone.
            total.electra += (of(teacher, decoded).training(count.into(), false) / 2) as f64;
            total.layers += (flops(teacher, length) * u128::from(count)) as f64;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::preset;

    #[test]
    fn published_runs_cost_what_is_printed() {
        let config = |name: &str| preset(name).unwrap().config;
        let small = config("electra-small");
        let generator = super::super::model::generator_of(&small, 0.25).unwrap();
        let seen = BTreeMap::from([(128, 128_000_000)]);
        let electra = cost(ObjectiveKind::Rtd, &small, Some(&generator), None, 0.15, &seen);
        assert_eq!(electra.electra, 1.293743798272e18);
        let seen = BTreeMap::from([(128, 128 * 1_450_000)]);
        assert_eq!(cost(ObjectiveKind::Mlm, &small, None, None, 0.15, &seen).electra, 1.4187399146496e18);

        // A teacher's forward pass is half of its training by ELECTRA's counter, and a third by the layers'.
        let (own, teacher) = (config("distilgpt2"), config("gpt2"));
        let of = |config, teacher| cost(ObjectiveKind::Clm, config, None, teacher, 0.15, &BTreeMap::from([(128, 6)]));
        let (alone, taught, whole) = (of(&own, None), of(&own, Some(&teacher)), of(&teacher, None));
        assert_eq!(taught.electra - alone.electra, whole.electra / 2.0);
        assert_eq!(taught.layers - alone.layers, whole.layers / 3.0);
    }
}
