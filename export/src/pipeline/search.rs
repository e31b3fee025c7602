//! The student's shape by a budget of latency: shapes are timed with new weights, since the time does not depend on what
//! they are, and the largest inside the budget are distilled for a while; dev chooses.

mod latency;
mod shapes;

use anyhow::Result;

use super::fresh_process::row_of_quantile;
use super::run::Run;
use super::student::{Ancestor, Origin};
use super::teacher::Teacher;
use super::variant::Variant;
use crate::measure::BenchCase;
use crate::recipe::{Recipe, StageRecipe};
use crate::report::{SearchReport, ShapeReport};
use crate::train::TrainOptions;
use latency::LatencyTable;
use shapes::Shape;
pub(crate) use shapes::candidates;

/// The time that a student may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyBudget {
    /// Milliseconds, text in to answer out, median.
    pub ms: f64,
    /// Threads inside an operator.
    pub threads: usize,
}

/// Whose latency counts: nine tenths of the dev rows are no longer.
const QUANTILE: f64 = 0.9;
/// A trial has this share of each stage's epochs, one at least.
const TRIAL: usize = 3;

/// The recipe with the student that does best on dev within the budget, and how it was found.
///
/// # Errors
/// No shape is fast enough, or a trial fails.
pub(super) fn search(
    run: &Run,
    budget: LatencyBudget,
    ancestor: Ancestor,
    teachers: &[Teacher],
) -> Result<(Recipe, SearchReport)> {
    let from = ancestor.model;
    let row = row_of_quantile(&run.data.split.dev, run.data.goal, QUANTILE);
    let shapes = candidates(run.recipe, &from.config, teachers.first().map(|teacher| &teacher.config))?;
    run.reporter.note(&format!(
        "Search: shapes that take at most {} ms on {} thread{}, for a text as long as nine tenths of dev are at most",
        budget.ms,
        budget.threads,
        if budget.threads == 1 { "" } else { "s" },
    ));
    let mut table = LatencyTable::open(run, budget.threads, row)?;
    let timed = time_shapes(run, budget, ancestor, shapes, &mut table)?;
    let finalists = finalists(&timed, budget.ms);
    let Some(&first) = finalists.first() else {
        let fastest = timed.iter().min_by(|a, b| a.1.p50_ms.total_cmp(&b.1.p50_ms));
        let fastest = fastest.map_or(String::new(), |(shape, case)| {
            format!("; the fastest, {}, takes {:.2} ms for {} tokens", shape.name(), case.p50_ms, case.tokens)
        });
        anyhow::bail!(
            "no student is fast enough for {} ms{fastest}. Give a larger --latency or more --cores",
            budget.ms
        );
    };
    let mut scores = vec![None; timed.len()];
    let mut best = first;
    if finalists.len() > 1 {
        for &index in &finalists {
            let shape = &timed[index].0;
            let recipe = Recipe { student: shape.student.clone(), ..run.recipe.clone() };
            let origin = Origin::new(Run { recipe: &recipe, ..*run }, ancestor)?;
            let variant = Variant {
                folder: format!("search/{}", shape.name()),
                stages: run.recipe.stages.iter().map(|stage| shortened(stage, &run.recipe.student.train)).collect(),
                start: run.recipe.student.start,
            };
            let dev = origin.train(&variant, teachers, run.recipe.seeds[0])?.dev();
            scores[index] = Some(dev);
            run.reporter.note(&format!("  {}: dev {dev:.4}, {:.2} ms", shape.name(), timed[index].1.p50_ms));
        }
        // Of equals, the faster.
        let rank = |&index: &usize| (scores[index].unwrap_or(f64::NEG_INFINITY), -timed[index].1.p50_ms);
        let order = |a: &usize, b: &usize| {
            let (a, b) = (rank(a), rank(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        best = finalists.iter().copied().max_by(order).unwrap_or(first);
    }
    let chosen = &timed[best].0;
    run.reporter.note(&format!("Search: {} is distilled", chosen.name()));
    let report = SearchReport {
        budget_ms: budget.ms,
        threads: budget.threads,
        tokens: timed[best].1.tokens,
        finished_ms: None,
        shapes: timed
            .iter()
            .enumerate()
            .map(|(index, (shape, case))| ShapeReport {
                layers: shape.config.layers,
                hidden_size: shape.config.hidden_size,
                parameters: shape.parameters(from.info.head),
                p50_ms: case.p50_ms,
                trial_dev: scores[index],
                chosen: index == best,
            })
            .collect(),
    };
    Ok((Recipe { student: chosen.student.clone(), ..run.recipe.clone() }, report))
}

/// Times the bundle that ships on the row that the search was about.
pub(super) fn time_finished(run: &Run, search: &mut SearchReport) -> Result<()> {
    let bundle = run.options.out.join(format!("{}.limbeck", run.recipe.id));
    let row = row_of_quantile(&run.data.split.dev, run.data.goal, QUANTILE);
    let case = latency::time(&bundle, search.threads, row, run.options.runtime.as_deref())?;
    search.finished_ms = Some(case.p50_ms);
    Ok(())
}

/// Times of shapes. Of a width, deeper ones than the first that is too slow are left out, for they are slower still.
fn time_shapes(
    run: &Run,
    budget: LatencyBudget,
    ancestor: Ancestor,
    shapes: Vec<Shape>,
    table: &mut LatencyTable,
) -> Result<Vec<(Shape, BenchCase)>> {
    let bar = run.reporter.bar("latency of shapes", shapes.len() as u64, 0);
    let mut timed: Vec<(Shape, BenchCase)> = Vec::new();
    for (done, shape) in shapes.into_iter().enumerate() {
        let slower = |(other, case): &(Shape, BenchCase)| {
            other.config.hidden_size == shape.config.hidden_size
                && other.config.layers < shape.config.layers
                && case.p50_ms > budget.ms
        };
        if !timed.iter().any(slower) {
            let case = table.measure(run, ancestor, &shape)?;
            timed.push((shape, case));
        }
        bar.advance(done as u64 + 1, "");
    }
    bar.finish();
    Ok(timed)
}

/// Shapes inside the budget to which no other is at least equal in both depth and width: the deepest of each width, unless a
/// wider one is as deep.
fn finalists(timed: &[(Shape, BenchCase)], budget_ms: f64) -> Vec<usize> {
    let size = |index: usize| (timed[index].0.config.layers, timed[index].0.config.hidden_size);
    let fits: Vec<usize> = (0..timed.len()).filter(|&index| timed[index].1.p50_ms <= budget_ms).collect();
    let covered = |&index: &usize| {
        let (layers, width) = size(index);
        fits.iter().any(|&other| other != index && size(other).0 >= layers && size(other).1 >= width)
    };
    fits.iter().copied().filter(|index| !covered(index)).collect()
}

fn shortened(stage: &StageRecipe, default: &TrainOptions) -> StageRecipe {
    let train = stage.train.clone().unwrap_or_else(|| default.clone());
    let (epochs, steps) = (train.epochs.div_ceil(TRIAL), train.steps.map(|steps| steps.div_ceil(TRIAL as u64)));
    StageRecipe { train: Some(TrainOptions { epochs, steps, ..train }), ..stage.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::ModelConfig;

    fn timed(shapes: &[(usize, usize, f64)]) -> Vec<(Shape, BenchCase)> {
        let case = |p50_ms| BenchCase {
            tokens: 16,
            batch: 1,
            runs: 50,
            min_ms: p50_ms,
            p50_ms,
            p90_ms: p50_ms,
            p99_ms: None,
            tokens_per_second: 1.0,
        };
        let bert = crate::arch::preset("bert-base-uncased").unwrap().config;
        shapes
            .iter()
            .map(|&(layers, hidden_size, ms)| {
                let config = ModelConfig { layers, hidden_size, ..bert.clone() };
                (Shape { student: shapes::of(layers, Some(hidden_size)), config }, case(ms))
            })
            .collect()
    }

    #[test]
    fn the_largest_inside_the_budget_are_tried() {
        let table =
            [(1, 384, 1.0), (2, 384, 2.0), (3, 384, 3.5), (2, 312, 1.5), (3, 312, 2.5), (3, 192, 1.2), (4, 144, 2.9)];
        let found =
            |budget| finalists(&timed(&table), budget).iter().map(|&i| (table[i].0, table[i].1)).collect::<Vec<_>>();
        // 2x312 and 3x192 are no more than 3x312 in anything.
        assert_eq!(found(3.0), [(2, 384), (3, 312), (4, 144)]);
        assert_eq!(found(1.0), [(1, 384)]);
        assert!(found(0.9).is_empty());
    }

    #[test]
    fn trials_are_a_third_but_never_nothing() {
        let stage = |epochs| StageRecipe {
            train: Some(TrainOptions { epochs, ..TrainOptions::default() }),
            ..crate::recipe::Method::LayersFirst.stages(&TrainOptions::default()).remove(0)
        };
        let epochs = |of| shortened(&stage(of), &TrainOptions::default()).train.unwrap().epochs;
        assert_eq!([1, 3, 4, 9].map(epochs), [1, 1, 2, 3]);
    }
}
