//! Positions: the rows of the position table, and what each query may see of each key.

use anyhow::Result;
use ndarray::{Array2, ArrayView2, s};

use super::builder::{GraphBuilder, Value};
use super::linear::{Table, WeightMode};
use super::proto::DataType;
use crate::arch::ModelConfig;

/// Added to the score of a key that may not be seen. Two of them still make a finite number.
const HIDDEN: f32 = f32::MIN / 2.0;

/// Numbers that the rest of a graph is laid out by.
pub(super) struct Extent {
    /// The token ids, `[batch, length]`.
    ids: String,
    past: Past,
}

/// What comes before the tokens of a run.
enum Past {
    Nothing,
    /// As many tokens as `past_key`, `[batch, heads, past, head_size]`, has, of every row.
    Grown(String),
    /// What the place of each token says, `[batch, length]` int32: other numbers in other rows.
    Placed(String),
}

impl Extent {
    /// Every row is whole.
    pub(super) fn whole(ids: &str) -> Self {
        Self { ids: ids.to_owned(), past: Past::Nothing }
    }

    /// `past_key` is an input `[batch, heads, past, head_size]`.
    pub(super) fn after(ids: &str, past_key: &str) -> Self {
        Self { ids: ids.to_owned(), past: Past::Grown(past_key.to_owned()) }
    }

    /// `places` is an input like the ids.
    pub(super) fn placed(ids: &str, places: &str) -> Self {
        Self { ids: ids.to_owned(), past: Past::Placed(places.to_owned()) }
    }

    /// `[batch, length]` as int64.
    pub(super) fn shape(&self, graph: &mut GraphBuilder) -> String {
        once(graph, "shape", |graph| graph.node("shape", "Shape", &[&self.ids], &[]))
    }

    /// Tokens before the ones of this run, one int64; without a cache there are none.
    fn past(&self, graph: &mut GraphBuilder) -> Option<String> {
        let Past::Grown(past_key) = &self.past else { return None };
        Some(once(graph, "past", |graph| {
            let (zero, two, three) = (graph.ints(&[0]), graph.ints(&[2]), graph.ints(&[3]));
            let shape = graph.node("past.shape", "Shape", &[past_key], &[]);
            graph.node("past", "Slice", &[&shape, &two, &three, &zero], &[])
        }))
    }

    /// All tokens, one int64: past and present; where rows differ, of the longest.
    pub(super) fn total(&self, graph: &mut GraphBuilder) -> String {
        if let Some([_, total]) = self.ends(graph) {
            return once(graph, "total", |graph| {
                let zero = graph.ints(&[0]);
                let total = graph.node("total.long", "Cast", &[&total], &[("to", Value::Int(DataType::Int64 as i64))]);
                graph.node("total", "Unsqueeze", &[&total, &zero], &[])
            });
        }
        let past = self.past(graph);
        let length = once(graph, "length", |graph| {
            let shape = self.shape(graph);
            let (zero, one, two) = (graph.ints(&[0]), graph.ints(&[1]), graph.ints(&[2]));
            graph.node("length", "Slice", &[&shape, &one, &two, &zero], &[])
        });
        match past {
            None => length,
            Some(past) => once(graph, "total", |graph| graph.node("total", "Add", &[&past, &length], &[])),
        }
    }

    /// Where places are given, int32: the last of each row, `[batch]`, and how many tokens the longest row has by then.
    pub(super) fn ends(&self, graph: &mut GraphBuilder) -> Option<[String; 2]> {
        let Past::Placed(places) = &self.past else { return None };
        let last = once(graph, "places.last", |graph| {
            let end = graph.int(-1);
            graph.node("places.last", "Gather", &[places, &end], &[("axis", Value::Int(1))])
        });
        let total = once(graph, "places.total", |graph| {
            let none = [("keepdims", Value::Int(0))];
            let one = graph.int32(1);
            let highest = graph.node("places.highest", "ReduceMax", &[&last], &none);
            graph.node("places.total", "Add", &[&highest, &one], &[])
        });
        Some([last, total])
    }

    /// The entries of this run's tokens along `axis` of something that has one a token, past ones included.
    pub(super) fn present(&self, graph: &mut GraphBuilder, name: &str, x: &str, axis: i64) -> String {
        let Some(past) = self.past(graph) else { return x.to_owned() };
        let (total, axis) = (self.total(graph), graph.ints(&[axis]));
        graph.node(name, "Slice", &[x, &past, &total, &axis], &[])
    }

    /// Rows of the position table for this run's tokens, `[batch, length, width]` or `[length, width]`: how many
    /// tokens that are not padding stand before each. Without a mask that is where it stands.
    pub(super) fn position_rows(
        &self,
        graph: &mut GraphBuilder,
        table: &Array2<f32>,
        mask: Option<&str>,
    ) -> Result<String> {
        let name = "embeddings.positions";
        if let Some(mask) = mask {
            let table = Table::new(graph, name, &table.view(), WeightMode::Float)?;
            let (axis, one, zero) = (graph.int(1), graph.int32(1), graph.int32(0));
            let kept = graph.node(&format!("{name}.kept"), "CumSum", &[mask, &axis], &[]);
            let before = graph.node(&format!("{name}.before"), "Sub", &[&kept, &one], &[]);
            let ids = graph.node(&format!("{name}.all"), "Max", &[&before, &zero], &[]);
            let ids = self.present(graph, &format!("{name}.ids"), &ids, 1);
            return Ok(table.rows(graph, name, &ids));
        }
        let weight = graph.floats(&format!("{name}.weight"), &[table.nrows(), table.ncols()], table.iter().copied());
        // By place, because a slice beyond the table would be cut short and say nothing.
        let rows = |graph: &mut GraphBuilder, places: &str| {
            graph.node(name, "Gather", &[&weight, places], &[("axis", Value::Int(0))])
        };
        if let Past::Placed(places) = &self.past {
            return Ok(rows(graph, places));
        }
        let (zero, total) = (graph.ints(&[0]), self.total(graph));
        let Some(past) = self.past(graph) else {
            return Ok(graph.node(name, "Slice", &[&weight, &zero, &total, &zero], &[]));
        };
        let scalar = |graph: &mut GraphBuilder, end: &str, of: &str| {
            graph.node(&format!("{name}.{end}"), "Squeeze", &[of, &zero], &[])
        };
        let (from, to) = (scalar(graph, "from", &past), scalar(graph, "to", &total));
        let one = graph.int(1);
        let places = graph.node(&format!("{name}.places"), "Range", &[&from, &to, &one], &[]);
        Ok(rows(graph, &places))
    }

    /// A bias by distance, `[1, rows, query, key]`, or `[batch, rows, query, key]` where rows differ: `table` is `[rows, 2 P - 1]`, its column the distance from query
    /// to key + P - 1.
    pub(super) fn by_distance(&self, graph: &mut GraphBuilder, name: &str, table: &Array2<f32>) -> String {
        let (rows, columns) = table.dim();
        let weight = graph.floats(&format!("{name}.table"), &[rows, columns], table.iter().copied());
        let index = self.distances(graph, columns.div_ceil(2) as i64 - 1);
        let bias = graph.node(&format!("{name}.pairs"), "Gather", &[&weight, &index], &[("axis", Value::Int(1))]);
        if let Past::Placed(_) = self.past {
            return graph.node(name, "Transpose", &[&bias], &[("perm", Value::Ints(&[1, 0, 2, 3]))]);
        }
        let zero = graph.ints(&[0]);
        graph.node(name, "Unsqueeze", &[&bias, &zero], &[])
    }

    /// Key position - query position + `offset`, `[query, key]` or `[batch, query, key]` int64.
    fn distances(&self, graph: &mut GraphBuilder, offset: i64) -> String {
        if graph.has_node("distances") {
            return "distances".to_owned();
        }
        let (zero, one, axis, total) = (graph.int(0), graph.int(1), graph.ints(&[0]), self.total(graph));
        let total = graph.node("total.number", "Squeeze", &[&total, &axis], &[]);
        let keys = graph.node("distances.keys", "Range", &[&zero, &total, &one], &[]);
        let queries = match &self.past {
            Past::Placed(places) => {
                graph.node("distances.queries", "Cast", &[places], &[("to", Value::Int(DataType::Int64 as i64))])
            }
            _ => {
                let start = match self.past(graph) {
                    Some(past) => graph.node("past.number", "Squeeze", &[&past, &axis], &[]),
                    None => zero.clone(),
                };
                graph.node("distances.queries", "Range", &[&start, &total, &one], &[])
            }
        };
        let last = graph.ints(&[-1]);
        let queries = graph.node("distances.column", "Unsqueeze", &[&queries, &last], &[]);
        let away = graph.node("distances.signed", "Sub", &[&keys, &queries], &[]);
        let offset = graph.int(offset);
        graph.node("distances", "Add", &[&away, &offset], &[])
    }
}

/// The output of a node that is written when it is first asked for.
fn once(graph: &mut GraphBuilder, name: &str, write: impl FnOnce(&mut GraphBuilder) -> String) -> String {
    if graph.has_node(name) { name.to_owned() } else { write(graph) }
}

/// What [`Extent::by_distance`] looks up for a layer: MPNet's bias by head, and what a causal model hides. `None`
/// where there is nothing to add, or `causal_is_known` and causality is all.
pub(super) fn distance_table(
    config: &ModelConfig,
    relative: Option<&ArrayView2<f32>>,
    layer: usize,
    causal_is_known: bool,
) -> Option<Array2<f32>> {
    let band = config.attention_pattern.band(layer);
    if relative.is_none() && (!config.causal || (causal_is_known && band.is_none())) {
        return None;
    }
    let reach = config.max_positions() as i64 - 1;
    let mut table = Array2::zeros((relative.map_or(1, |table| table.ncols()), 2 * reach as usize + 1));
    for (column, distance) in (-reach..=reach).enumerate() {
        let mut values = table.slice_mut(s![.., column]);
        if let Some(relative) = relative {
            values += &relative.row(config.relative_bucket(distance));
        }
        let away = -distance;
        let in_band = band.is_none_or(|(width, stride)| {
            away < width as i64 || stride.is_some_and(|stride| away % stride as i64 == 0)
        });
        if config.causal && (away < 0 || !in_band) {
            values.fill(HIDDEN);
        }
    }
    Some(table)
}

/// Additive form of a mask `[batch, key]`: `[batch, 1, 1, key]`.
pub(super) fn mask_bias(graph: &mut GraphBuilder, mask: &str) -> String {
    let float = graph.node("mask.float", "Cast", &[mask], &[("to", Value::Int(1))]);
    let one = graph.float(1.0);
    let pad = graph.node("mask.pad", "Sub", &[&one, &float], &[]);
    let hidden = graph.float(HIDDEN);
    let bias = graph.node("mask.scores", "Mul", &[&pad, &hidden], &[]);
    let axes = graph.ints(&[1, 2]);
    graph.node("mask.bias", "Unsqueeze", &[&bias, &axes], &[])
}
