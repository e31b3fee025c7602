use serde::{Deserialize, Serialize};

use super::{Trial, WORTH};
use crate::graph::{Operators, Part};

/// A class whose own graph would take less than this share of the chosen one's time is worth a bundle of its own.
const WORTH_A_GRAPH: f64 = 0.95;

/// What would be fastest for texts of one length on one number of threads, beside the one graph that was chosen for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassChoice {
    /// Threads inside an operator.
    pub threads: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// What is fastest here alone.
    pub operators: Operators,
    /// Its time over that of the chosen graph: the product of the ratios of the parts that differ, as the last trial of each
    /// has them; 1 where it is the chosen graph.
    pub ratio: f64,
}

/// The choice of each class that was measured, in the order of the cases of a trial.
pub(super) fn of_classes(trials: &[Trial], chosen: Operators) -> Vec<ClassChoice> {
    let Some(first) = trials.first() else { return Vec::new() };
    let choose = |class: usize| {
        let case = &first.cases[class];
        let mut own = ClassChoice { threads: case.threads, tokens: case.tokens, operators: chosen, ratio: 1.0 };
        for part in Part::ALL {
            // The last trial of a part had most of what was chosen around it.
            let last = trials.iter().rev().find(|trial| trial.part == part);
            let Some((trial, case)) = last.and_then(|trial| Some((trial, trial.cases.get(class)?))) else { continue };
            let other = if trial.taken { 1.0 / case.ratio } else { case.ratio };
            if other < WORTH {
                own.operators = own.operators.with_other(part);
                own.ratio *= other;
            }
        }
        own
    };
    (0..first.cases.len()).map(choose).collect()
}

/// Whether one graph is fastest for all, in words.
pub(super) fn in_words(classes: &[ClassChoice]) -> String {
    let Some(most) = classes.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio)) else { return String::new() };
    let place = |class: &ClassChoice| format!("{} tokens, {} thread(s)", class.tokens, class.threads);
    if most.ratio >= 1.0 {
        return "One graph is the fastest for every length and number of threads.\n".to_owned();
    }
    let gain = |class: &ClassChoice| (1.0 - class.ratio) * 100.0;
    if most.ratio >= WORTH_A_GRAPH {
        return format!(
            "One graph serves every length and number of threads: one of its own would gain {:.0}% at most ({}).\n",
            gain(most),
            place(most)
        );
    }
    let worth = classes.iter().filter(|class| class.ratio < WORTH_A_GRAPH);
    let each = worth.map(|class| format!("  {}: {:.0}% by {}\n", place(class), gain(class), class.operators));
    format!(
        "A graph of its own would gain; tune with --tune-lengths and --tune-threads of that class alone to have it:\n{}",
        each.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Form;
    use crate::tune::TrialCase;

    fn trial(part: Part, form: Form, ratios: [f64; 2]) -> Trial {
        let case = |(at, ratio): (usize, f64)| TrialCase {
            threads: 1,
            tokens: [16, 128][at],
            before_ms: 1.0,
            tried_ms: ratio,
            ratio,
        };
        let ratio = (ratios[0] * ratios[1]).sqrt();
        Trial { part, form, cases: ratios.into_iter().enumerate().map(case).collect(), ratio, taken: ratio < WORTH }
    }

    #[test]
    fn a_class_may_want_what_the_others_do_not() {
        let start = Operators::default();
        let trials = [
            trial(Part::Attention, Form::Plain, [0.9, 1.2]),
            trial(Part::ResidualNorm, Form::Fused, [0.80, 1.04]),
            trial(Part::Activation, Form::Plain, [0.99, 1.01]),
        ];
        let chosen = start.with_other(Part::ResidualNorm);
        assert!(trials[1].taken && !trials[0].taken);
        let classes = of_classes(&trials, chosen);
        assert_eq!((classes[0].tokens, classes[0].operators), (16, chosen.with_other(Part::Attention)));
        assert!((classes[0].ratio - 0.9).abs() < 1e-12);
        // At 128 tokens what was taken for both is slower.
        assert_eq!((classes[1].tokens, classes[1].operators), (128, start));
        assert!((classes[1].ratio - 1.0 / 1.04).abs() < 1e-12);
        let words = in_words(&classes);
        assert!(words.contains("16 tokens, 1 thread(s): 10% by") && !words.contains("128 tokens"), "{words}");
    }

    #[test]
    fn the_last_trial_of_a_part_counts_and_noise_does_not() {
        let trials = [
            trial(Part::Attention, Form::Plain, [0.5, 3.0]),
            trial(Part::Attention, Form::Plain, [0.97, 1.1]),
            trial(Part::Projections, Form::Plain, [0.985, 1.0]),
        ];
        let classes = of_classes(&trials, Operators::default());
        assert_eq!(classes[1].ratio, 1.0);
        assert!((classes[0].ratio - 0.97).abs() < 1e-12, "{classes:?}");
        assert!(
            in_words(&classes).contains("would gain 3% at most (16 tokens, 1 thread(s))"),
            "{}",
            in_words(&classes)
        );
        let classes = of_classes(&trials[2..], Operators::default());
        assert_eq!(in_words(&classes), "One graph is the fastest for every length and number of threads.\n");
        assert!(of_classes(&[], Operators::default()).is_empty() && in_words(&[]).is_empty());
    }
}
