//! Which of two texts comes first.

use limbeck::bundle::{Activation, Task};
use limbeck::{Calibration, Code, Error, OrderOptions, Overflow};
use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::pack::TaskName;
use limbeck_tests::bundles::{Made, Recipe, open_changed, values};
use limbeck_tests::models::tiny;
use limbeck_tests::seeded;

use crate::texts::{HARD, long};

/// An ALBERT with both of its heads, packed for order.
pub fn recipe() -> Recipe {
    let config = |config: ModelConfig| {
        let ModelConfig { vocab_size, position_rows, pad_id, .. } = config;
        ModelConfig { vocab_size, position_rows, pad_id, ..tiny("albert-base") }
    };
    Recipe { task: Some(TaskName::Order), config, ..Recipe::new(Head::Pretraining, &[]) }
}

/// The log odds of "in order" by libtorch.
fn odds(made: &Made, ids: &[u32], types: &[u32]) -> f32 {
    let logits = values(&made.output(ids, types).sentence_logits.unwrap());
    logits[0] - logits[1]
}

fn odds_of(made: &Made, pair: (&str, &str)) -> f32 {
    let tokens = made.tokenizer.encode(pair, true).unwrap();
    odds(made, tokens.get_ids(), tokens.get_type_ids())
}

fn sigmoid(odds: f32) -> f32 {
    1.0 / (1.0 + (-odds).exp())
}

#[test]
fn orders_are_those_of_libtorch() {
    let _turn = seeded(120);
    let made = recipe().make();
    let model = made.open();
    let mut pairs: Vec<(&str, &str)> = HARD.windows(2).map(|two| (two[0], two[1])).collect();
    pairs.extend([("", ""), ("the battery", ""), ("", "the battery"), ("a", "a")]);
    pairs.retain(|pair| made.tokenizer.encode(*pair, true).unwrap().len() <= 40);
    assert!(pairs.len() > 8);
    let given = model.order_batch(&pairs, &OrderOptions::new()).unwrap();
    let both = model.order_batch(&pairs, &OrderOptions::new().both_orders(true)).unwrap();
    for ((&(first, second), given), both) in pairs.iter().zip(&given).zip(&both) {
        let (expected, swapped) = (odds_of(&made, (first, second)), odds_of(&made, (second, first)));
        assert!((given.logit - expected).abs() < 2e-5, "{first:?} {second:?}: {given:?}, not {expected}");
        assert!((given.probability - sigmoid(expected)).abs() < 1e-5);
        assert!((both.logit - (expected - swapped) / 2.0).abs() < 2e-5);
        let opposite = model.order_with(second, first, &OrderOptions::new().both_orders(true)).unwrap();
        assert!((both.probability + opposite.probability - 1.0).abs() < 1e-5, "{both:?} {opposite:?}");
        let tokens = made.tokenizer.encode((first, second), true).unwrap().len();
        assert_eq!((given.usage.tokens_used, both.usage.tokens_used, both.usage.windows), (tokens, tokens, 1));
    }
    assert!(model.order_batch(&[], &OrderOptions::new()).unwrap().is_empty());
    // A temperature of 2 halves the log odds and leaves the raw ones.
    let calibration = Some(Calibration { temperature: 2.0, ..Calibration::default() });
    let _again = {
        drop(_turn);
        seeded(120)
    };
    let warm = Recipe { calibration, ..recipe() }.make().open().order(pairs[0].0, pairs[0].1).unwrap();
    assert!((warm.logit - given[0].logit).abs() < 1e-6 && (warm.probability - sigmoid(warm.logit / 2.0)).abs() < 1e-6);
}

/// Windows of the longer text, each with the whole of the shorter one, the same in both orders.
#[test]
fn long_pairs_are_cut_or_read_in_windows() {
    let _turn = seeded(121);
    let made = recipe().make();
    let model = made.open();
    let (first, second) = ("the phone".to_owned(), long(50));
    let [a, b] = [&first, &second].map(|text| made.tokenizer.encode(text.as_str(), false).unwrap().get_ids().to_vec());
    let row = |first: &[u32], second: &[u32]| {
        let ids = [&[2], first, &[3], second, &[3]].concat();
        let types = [vec![0; first.len() + 2], vec![1; second.len() + 1]].concat();
        odds(&made, &ids, &types)
    };
    let (room, stride) = (40 - 3 - a.len(), 9);
    let (mut given, mut swapped, mut windows) = (0.0, 0.0, 0);
    let mut weights = 0.0;
    for start in (0..).step_by(room - stride) {
        let part = &b[start..(start + room).min(b.len())];
        let weight = (a.len() + part.len()) as f32;
        (given, swapped) = (given + weight * row(&a, part), swapped + weight * row(part, &a));
        (weights, windows) = (weights + weight, windows + 1);
        if start + room >= b.len() {
            break;
        }
    }
    let options = OrderOptions::new().overflow(Overflow::Window { stride });
    let found = model.order_with(&first, &second, &options).unwrap();
    assert_eq!((found.usage.windows, found.usage.tokens_dropped), (windows, 0));
    assert!((found.logit - given / weights).abs() < 2e-5, "{found:?}");
    let found = model.order_with(&first, &second, &options.both_orders(true)).unwrap();
    assert!((found.logit - (given - swapped) / weights / 2.0).abs() < 2e-5, "{found:?}");

    // Of two texts of one length, both are cut, or the second is read in windows: the answer is the opposite all the same.
    let (one, other) = (long(30), long(30).replace("the ", "a "));
    for overflow in [Overflow::Truncate, Overflow::AutoWindow] {
        let both = OrderOptions::new().overflow(overflow).both_orders(true);
        for pair in [(&one, &other), (&first, &second)] {
            let given = model.order_with(pair.0, pair.1, &both);
            let opposite = model.order_with(pair.1, pair.0, &both);
            match (given, opposite) {
                (Ok(given), Ok(opposite)) => {
                    assert!((given.logit + opposite.logit).abs() < 1e-6, "{given:?} {opposite:?}")
                }
                (given, opposite) => assert!(given.is_err() && opposite.is_err(), "{given:?} {opposite:?}"),
            }
        }
    }

    let cut = model.order(&first, &second).unwrap();
    assert_eq!((cut.usage.tokens_used, cut.usage.tokens_dropped), (40, b.len() - room));
    assert!((cut.logit - row(&a, &b[..room])).abs() < 2e-5);
    let error = model.order_with(&first, &second, &OrderOptions::new().overflow(Overflow::Error)).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
}

#[test]
fn only_models_that_learned_order_tell_it() {
    let _turn = seeded(122);
    let made = recipe().make();
    let model = made.open();
    let errors = [
        model.classify_pair("a", "b").unwrap_err(),
        model.classify("a").unwrap_err(),
        model.fill_mask("[MASK]").unwrap_err(),
        model.replaced("a").unwrap_err(),
        Recipe::classifier(&["a", "b"]).make().open().order("a", "b").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::WrongTask, "{error}");
        assert!(error.to_string().contains("order"), "{error}");
    }
    // BERT's pair head tells next sentences, unless the folder says that it learned order.
    let bert = Recipe { config: |config| config, ..recipe() };
    assert!(bert.refusal().contains("next sentences"), "{}", bert.refusal());
    let masked = Recipe { task: Some(TaskName::Order), ..Recipe::new(Head::MaskedLm, &[]) };
    assert!(masked.refusal().contains("masked-lm"), "{}", masked.refusal());
}

/// Bundles that say something else than their graph, and one of a library to come.
#[test]
fn damaged_manifests_are_refused() {
    let _turn = seeded(123);
    let made = recipe().make();
    open_changed(&made.bundle, |_| {}, |_, _| {}).unwrap().order("a", "b").unwrap();
    type Change = fn(&mut limbeck::Manifest);
    let changes: [(&str, Code, Change); 4] = [
        ("softmax", Code::Malformed, |m| m.activation = Activation::None),
        ("[batch, orders]", Code::Malformed, |m| m.outputs[0].axes[1] = "hidden".to_owned()),
        ("[batch, length]", Code::Malformed, |m| (m.task, m.activation) = (Task::Replaced, Activation::Sigmoid)),
        ("order-of-three", Code::Incompatible, |m| m.task = Task::Other("order-of-three".to_owned())),
    ];
    for (part, code, change) in changes {
        let error = open_changed(&made.bundle, change, |_, _| {}).unwrap_err();
        assert!(error.code() == code && error.to_string().contains(part), "{part}: {error}");
    }
}
