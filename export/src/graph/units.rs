//! What [`super::WeightMode::Int8Layers`], [`super::WeightMode::Ternary`] and [`super::WeightMode::Blocks`] store in one
//! form.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, ensure};

use crate::arch::ModelConfig;

/// A part of a model that is stored in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Layers from 0: one, or all that share a block.
    Layers(Vec<usize>),
    /// The token table.
    Table,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Table => f.write_str("token table"),
            Unit::Layers(layers) => match layers[..] {
                [layer] => write!(f, "layer {layer}"),
                [first, .., last] if last - first + 1 == layers.len() => write!(f, "layers {first} to {last}"),
                _ => {
                    let each: Vec<String> = layers.iter().map(ToString::to_string).collect();
                    write!(f, "layers {}", each.join(", "))
                }
            },
        }
    }
}

/// A model's units: its layers in their order, then the token table.
pub fn units(config: &ModelConfig) -> Vec<Unit> {
    let blocks = config.blocks();
    // Attention and feed-forward blocks may be shared between other layers each; a unit shares none with another.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (layer, block) in blocks.iter().enumerate() {
        let shares = |group: &Vec<usize>| group.iter().any(|&o| blocks[o].0 == block.0 || blocks[o].1 == block.1);
        let (mut joined, apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(shares);
        joined.push(vec![layer]);
        groups = apart;
        groups.push(joined.concat());
    }
    groups.sort();
    groups.into_iter().map(Unit::Layers).chain([Unit::Table]).collect()
}

/// The parts of a model that are stored as [`super::GraphOptions::kept`] says, fp32 by default; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepFloat {
    /// Layers from 0.
    pub layers: BTreeSet<usize>,
    /// The token table.
    pub table: bool,
}

impl KeepFloat {
    /// These units.
    pub fn of<'u>(units: impl IntoIterator<Item = &'u Unit>) -> Self {
        let mut keep = Self::default();
        for unit in units {
            match unit {
                Unit::Layers(layers) => keep.layers.extend(layers),
                Unit::Table => keep.table = true,
            }
        }
        keep
    }

    /// Whether all is int8.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && !self.table
    }

    /// Whether a unit stays fp32, or a part of it.
    pub fn holds(&self, unit: &Unit) -> bool {
        match unit {
            Unit::Layers(layers) => layers.iter().any(|layer| self.layers.contains(layer)),
            Unit::Table => self.table,
        }
    }

    /// With the layers that share weights with those that are named.
    ///
    /// # Errors
    /// A layer that the model does not have; nothing that is left to be int8.
    pub fn whole(&self, config: &ModelConfig) -> Result<Self> {
        let layers = config.blocks().len();
        if let Some(&last) = self.layers.last() {
            ensure!(last < layers, "there is no layer {last}: layers are 0 to {}", layers.saturating_sub(1));
        }
        let units = units(config);
        let keep = Self::of(units.iter().filter(|unit| self.holds(unit)));
        ensure!(
            !units.iter().all(|unit| keep.holds(unit)),
            "nothing is left to be quantized: `limbeck pack` makes fp32"
        );
        Ok(keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Sharing, preset};

    fn albert(layers: usize, sharing: Sharing) -> ModelConfig {
        ModelConfig { layers, sharing, ..preset("albert-base").unwrap().config }
    }

    fn names(config: &ModelConfig) -> Vec<String> {
        units(config).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn layers_that_share_a_block_are_one_unit() {
        assert_eq!(names(&albert(2, Sharing::None)), ["layer 0", "layer 1", "token table"]);
        for sharing in [Sharing::All, Sharing::Attention, Sharing::Ffn] {
            assert_eq!(names(&albert(3, sharing)), ["layers 0 to 2", "token table"]);
        }
        let groups = Sharing::Groups { groups: 2, inner: 2 };
        let expected = ["layers 0, 2", "layers 1, 3", "layers 4, 6", "layers 5, 7", "token table"];
        assert_eq!(names(&albert(4, groups)), expected);
    }

    #[test]
    fn what_is_kept_is_kept_whole_and_is_there() {
        let config = albert(4, Sharing::Groups { groups: 2, inner: 1 });
        let keep = |layers: &[usize], table| KeepFloat { layers: layers.iter().copied().collect(), table };
        assert_eq!(keep(&[3], true).whole(&config).unwrap(), keep(&[2, 3], true));
        assert!(keep(&[], false).whole(&config).unwrap().is_empty());
        let error = |keep: KeepFloat| keep.whole(&config).unwrap_err().to_string();
        assert!(error(keep(&[4], false)).contains("no layer 4: layers are 0 to 3"));
        assert!(error(keep(&[0, 2], true)).contains("nothing is left"));
    }
}
