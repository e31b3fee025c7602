//! What the losses of a stage need of a teacher, as fields by name.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tch::Tensor;

use crate::arch::{Capture, Layers, ModelConfig, ModelOutput};
use crate::data::Goal;
use crate::distill::{Extent, Field};
use crate::recipe::Relation;

/// What the losses of a stage, or of several, need of a teacher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub logits: bool,
    /// Hidden states, 0 for the embeddings' output.
    pub hidden: Vec<usize>,
    /// Attention scores by layer.
    pub scores: Vec<usize>,
    /// Queries, keys or values by layer.
    pub relations: Vec<(Relation, usize)>,
}

/// The name of a field of queries, keys or values.
pub(super) fn relation_field(relation: Relation, layer: usize) -> String {
    match relation {
        Relation::Query => format!("query.{layer}"),
        Relation::Key => format!("key.{layer}"),
        Relation::Value => format!("value.{layer}"),
    }
}

impl Wanted {
    /// Adds what another stage needs.
    pub(super) fn merge(&mut self, other: &Wanted) {
        self.logits |= other.logits;
        self.hidden.extend(&other.hidden);
        self.scores.extend(&other.scores);
        self.relations.extend(&other.relations);
        self.hidden.sort_unstable();
        self.hidden.dedup();
        self.scores.sort_unstable();
        self.scores.dedup();
        self.relations.sort_unstable();
        self.relations.dedup();
    }

    /// What is needed of one of several teachers: layers are the first one's.
    pub(super) fn of_teacher(&self, index: usize) -> Wanted {
        if index == 0 { self.clone() } else { Wanted { logits: self.logits, ..Wanted::default() } }
    }

    /// Whether tokens are compared with tokens, so that both must cut texts alike.
    pub(super) fn by_token(&self, goal: Goal) -> bool {
        self.layers() || self.logits && matches!(goal, Goal::Tags | Goal::Answers)
    }

    /// Whether layers are needed, which one teacher alone can give.
    pub(super) fn layers(&self) -> bool {
        !(self.hidden.is_empty() && self.scores.is_empty() && self.relations.is_empty())
    }

    pub(super) fn capture(&self) -> Capture {
        let of = |layers: Vec<usize>| if layers.is_empty() { Layers::None } else { Layers::Of(layers) };
        Capture {
            hidden_states: !self.hidden.is_empty(),
            attention_scores: of(self.scores.clone()),
            projections: of(self.relations.iter().map(|(_, layer)| *layer).collect()),
            head_only: true,
        }
    }

    pub(super) fn fields(&self, config: &ModelConfig, goal: Goal, labels: usize) -> Vec<Field> {
        let width = config.hidden_size;
        let mut fields = Vec::new();
        if self.logits {
            fields.push(Field::new(
                LOGITS,
                match goal {
                    Goal::Class | Goal::Labels => Extent::Text(labels),
                    Goal::Value => Extent::Text(1),
                    Goal::Tags => Extent::Token(labels),
                    Goal::Answers => Extent::Token(2),
                    Goal::Similarity { .. } => Extent::Text(width),
                },
            ));
        }
        fields.extend(self.hidden.iter().map(|state| Field::new(format!("hidden.{state}"), Extent::Token(width))));
        let heads = config.attention_heads;
        fields.extend(self.scores.iter().map(|layer| Field::new(format!("scores.{layer}"), Extent::Pair(heads))));
        let relations = self.relations.iter();
        let attended = config.attention_size();
        fields.extend(relations.map(|&(of, layer)| Field::new(relation_field(of, layer), Extent::Token(attended))));
        fields
    }

    /// The fields of one side of a batch.
    pub(super) fn gather(&self, output: &ModelOutput) -> Result<BTreeMap<String, Tensor>> {
        let mut found = BTreeMap::new();
        if self.logits {
            // A number is one logit already.
            found.insert(LOGITS.to_owned(), output.logits.shallow_clone());
        }
        let encoded = &output.encoded;
        for &state in &self.hidden {
            let tensor = encoded.hidden_states.get(state).with_context(|| format!("no hidden state {state}"))?;
            found.insert(format!("hidden.{state}"), tensor.shallow_clone());
        }
        for &layer in &self.scores {
            let tensor = encoded.attention_scores.get(&layer).with_context(|| format!("no scores of layer {layer}"))?;
            found.insert(format!("scores.{layer}"), tensor.shallow_clone());
        }
        for &(of, layer) in &self.relations {
            let all = encoded.projections.get(&layer).with_context(|| format!("no projections of layer {layer}"))?;
            let tensor = match of {
                Relation::Query => &all.query,
                Relation::Key => &all.key,
                Relation::Value => &all.value,
            };
            found.insert(relation_field(of, layer), tensor.shallow_clone());
        }
        Ok(found)
    }
}

/// The field of what the head gives; of embeddings, the vectors.
pub(super) const LOGITS: &str = "logits";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Head, Model, Params, parameter_layout, preset};

    /// The cache has room for what a teacher gives, also where heads are fewer than its width has room for.
    #[test]
    fn fields_are_as_wide_as_what_is_gathered() {
        let _turn = crate::seeded(61);
        let config = ModelConfig {
            vocab_size: 20,
            hidden_size: 8,
            embedding_size: 8,
            attention_heads: 2,
            own_head_size: Some(2),
            intermediate_size: 16,
            layers: 2,
            ..preset("bert-base-uncased").unwrap().config
        };
        let head = Head::Classification { labels: 3 };
        let params = Params::initialise(&parameter_layout(&config, head), tch::Device::Cpu);
        let all = [Relation::Query, Relation::Key, Relation::Value].map(|of| (of, 1));
        let wanted = Wanted { logits: true, hidden: vec![0, 2], scores: vec![1], relations: all.to_vec() };
        let ids = Tensor::from_slice(&[2i64, 5, 3, 2, 7, 3]).view([2, 3]);
        let output = Model::new(&params, &config, head).forward(&ids, &ids.ones_like(), None, &wanted.capture(), false);
        let gathered = wanted.gather(&output).unwrap();
        let fields = wanted.fields(&config, Goal::Class, 3);
        assert_eq!(fields.len(), gathered.len());
        for Field { name, extent } in fields {
            let size = match extent {
                Extent::Text(width) => vec![2, width as i64],
                Extent::Token(width) => vec![2, 3, width as i64],
                Extent::Pair(heads) => vec![2, heads as i64, 3, 3],
            };
            assert_eq!(gathered[&name].size(), size, "{name}");
        }
    }
}
