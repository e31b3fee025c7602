//! What is rounded in training is what the bundle computes, and ternary weights in bundles.

use limbeck_export::arch::Head;
use limbeck_export::graph::{KeepFloat, WeightMode};
use limbeck_export::quantize::FakeQuantization;
use limbeck_tests::bundles::Recipe;
use limbeck_tests::{has_int8_products, seeded};

use crate::int8::KINDS;
use crate::texts::HARD;

/// The forward pass of training (libtorch, rounded values in fp32) against the bundle (integers, in the sdk). They differ
/// in the last digits of fp32, and where those decide to which of two codes a value between them falls: in a few texts of
/// these models, whose weights are drawn wide.
#[test]
fn training_rounds_as_the_bundle_does() {
    for rounding in [FakeQuantization::Int8, FakeQuantization::Ternary] {
        for (name, config) in KINDS {
            let _turn = seeded(140);
            let recipe = Recipe { weights: rounding.weights(), config, ..Recipe::classifier(&["a", "b", "c"]) };
            let made = recipe.make();
            let model = made.open();
            let from_fp32 = made.logits_error(&model, &HARD);
            let made = made.rounded(rounding);
            let short = |text: &&&str| made.tokenizer.encode(**text, true).unwrap().len() <= 40;
            let errors = HARD.iter().filter(short).map(|text| made.logits_error(&model, &[text]));
            let mut errors: Vec<f32> = errors.collect();
            errors.sort_by(f32::total_cmp);
            // How many sums lie so near to a rounding's edge that libtorch and the sdk fall on different sides depends on the
            // processor's own order of summing.
            let nearly_all = if has_int8_products() { errors.len() * 2 / 3 } else { errors.len() / 2 };
            let (most, all) = (errors[nearly_all], errors[errors.len() - 1]);
            assert!(errors.len() > 20 && most < 1e-5 && all < 0.05, "{name}, {rounding:?}: {errors:?}");
            assert!(from_fp32 > 100.0 * most, "{name}, {rounding:?}: {from_fp32}, so that nothing is rounded");
        }
    }
}

#[test]
fn ternary_bundles_say_so_and_promise_what_int8_promises() {
    let _turn = seeded(141);
    let recipe = Recipe { weights: WeightMode::Ternary, ..Recipe::classifier(&["a", "b", "c"]) };
    let model = recipe.make().open();
    let manifest = model.bundle().manifest();
    let contract = manifest.quantization.as_ref().unwrap();
    assert_eq!((contract.mode.as_str(), &contract.table), ("ternary", &None));
    assert_eq!((contract.batches.as_deref(), contract.processors.as_deref()), (Some("rounding"), Some("layers")));
    for operator in ["ai.limbeck:TernaryEncoderLayer", "ai.limbeck:TernaryRows"] {
        assert!(manifest.operators.contains(&operator.to_owned()), "{:?}", manifest.operators);
    }
}

#[test]
fn parts_beside_ternary_are_int8_or_fp32() {
    let made = |keep: &[usize], table, kept| {
        let _turn = seeded(142);
        let keep_float = KeepFloat { layers: keep.iter().copied().collect(), table };
        let recipe = Recipe { weights: WeightMode::Ternary, keep_float, kept, ..Recipe::classifier(&["a", "b", "c"]) };
        recipe.make()
    };
    let error = |keep: &[usize], table, kept| {
        let made = made(keep, table, kept);
        let model = made.open();
        let mode = model.bundle().manifest().quantization.as_ref().unwrap().mode.clone();
        assert_eq!(mode, if keep.is_empty() && !table { "ternary" } else { "ternary-mixed" });
        made.logits_error(&model, &HARD)
    };
    let all = error(&[], false, WeightMode::Float);
    for kept in [WeightMode::Int8Layers, WeightMode::Float] {
        let most = error(&[0, 1, 2], false, kept);
        assert!(most < all, "the table alone loses less than all: {most} of {all}");
        let table = error(&[0, 2], true, kept);
        assert!(table < all, "{table} of {all}");
    }
}

#[test]
fn models_without_such_layers_have_no_ternary_weights() {
    let _turn = seeded(143);
    let recipe = |head| Recipe { weights: WeightMode::Ternary, ..Recipe::new(head, &[]) };
    for head in [Head::MaskedLm, Head::CausalLm] {
        let refusal = recipe(head).refusal();
        assert!(refusal.contains("ternary weights are for encoders of the BERT kind"), "{refusal}");
    }
}
