//! The shapes that a search looks at.

use anyhow::{Result, ensure};

use crate::arch::{Head, ModelConfig, Sharing, count_parameters};
use crate::pipeline::needs::Needs;
use crate::recipe::{Recipe, Student};

/// A student that could be made.
pub(crate) struct Shape {
    pub student: Student,
    pub config: ModelConfig,
}

impl Shape {
    /// Layers by hidden size: `4x312`.
    pub(crate) fn name(&self) -> String {
        format!("{}x{}", self.config.layers, self.config.hidden_size)
    }

    pub(super) fn parameters(&self, head: Head) -> u64 {
        count_parameters(&self.config, head).total
    }
}

/// Shares of the origin's hidden size, in 32nds, beside all of it; TinyBERT's 312 is 26 of 384's 32.
const WIDTHS: [usize; 4] = [26, 20, 16, 12];
/// Depths beyond the first six.
const DEEP: [usize; 5] = [8, 10, 12, 18, 24];

/// All depths and widths that the recipe's stages can train, by width from the widest and by depth from 1. Other settings of
/// the recipe's student (sharing, heads, start) stay.
///
/// # Errors
/// There is none; with what is wrong with the first.
pub(crate) fn candidates(recipe: &Recipe, origin: &ModelConfig, teacher: Option<&ModelConfig>) -> Result<Vec<Shape>> {
    let deepest = origin.layers;
    let depths = (1..=deepest).filter(|depth| *depth <= 6 || DEEP.contains(depth) || *depth == deepest);
    let depths: Vec<usize> = depths.collect();
    let mut shapes = Vec::new();
    let mut refused = None;
    for width in widths(origin) {
        for &layers in &depths {
            // As large as its origin would be no student.
            if layers == deepest && width == origin.hidden_size && recipe.student.sharing == Sharing::None {
                continue;
            }
            let hidden_size = (width != origin.hidden_size).then_some(width);
            let student =
                Student { layers, hidden_size, intermediate_size: None, layer_map: None, ..recipe.student.clone() };
            let fits = |config: &ModelConfig| {
                recipe.stages.iter().try_for_each(|stage| Needs::of(stage, config, teacher).map(drop))
            };
            match student.config(origin).and_then(|config| fits(&config).map(|()| config)) {
                Ok(config) => shapes.push(Shape { student, config }),
                Err(error) => _ = refused.get_or_insert(error.context(format!("{layers}x{width}"))),
            }
        }
    }
    ensure!(
        !shapes.is_empty(),
        "no smaller student fits this recipe's stages and its teacher{}",
        refused.map_or(String::new(), |error| format!("; {error:#}"))
    );
    Ok(shapes)
}

/// The origin's width, and narrower ones that the heads divide, in steps of 8 a head where that is possible.
fn widths(origin: &ModelConfig) -> Vec<usize> {
    let (whole, heads) = (origin.hidden_size, origin.attention_heads.max(1));
    let step = [8 * heads, 4 * heads, 2 * heads, heads].into_iter().find(|step| whole / 16 >= *step).unwrap_or(heads);
    let narrower =
        WIDTHS.iter().map(|share| whole * share / 32 / step * step).filter(|&width| width > 0 && width < whole);
    // The origin's own stays, also where its heads were trimmed and no longer divide it.
    let mut widths: Vec<usize> = std::iter::once(whole).chain(narrower).collect();
    widths.dedup();
    widths
}

/// A student of that depth and width, as a recipe without other settings has it.
#[cfg(test)]
pub(super) fn of(layers: usize, hidden_size: Option<usize>) -> Student {
    toml::from_str::<Student>(&format!("layers = {layers}")).map(|student| Student { hidden_size, ..student }).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::preset;

    #[test]
    fn widths_are_those_that_heads_divide() {
        let of = |name: &str| widths(&preset(name).unwrap().config);
        assert_eq!(of("all-minilm-l6-v2"), [384, 312, 240, 192, 144]);
        assert_eq!(of("bert-base-uncased"), [768, 624, 480, 384, 288]);
        let tiny = ModelConfig { hidden_size: 32, attention_heads: 4, ..preset("bert-base-uncased").unwrap().config };
        assert_eq!(widths(&tiny), [32, 24, 20, 16, 12]);
        let trimmed =
            ModelConfig { attention_heads: 7, own_head_size: Some(32), ..preset("all-minilm-l6-v2").unwrap().config };
        assert_eq!(widths(&trimmed), [384, 308, 238, 182, 140]);
    }
}
