//! Losses and their gradients against torch's, which were computed in double precision.

use std::collections::BTreeMap;

use anyhow::Result;
use limbeck_export::distill;
use limbeck_export::objective::cross_entropy;
use serde_json::{Value, from_value};
use tch::{Kind, Tensor};

use crate::reference::{close_relative, integers, json, tensors};

#[test]
fn losses_and_gradients_equal_torch() {
    let references = json("losses.json");
    let values = tensors("losses.safetensors");
    let mut kinds = BTreeMap::<&str, usize>::new();
    for (name, case) in references["cases"].as_object().unwrap() {
        let student = values.get(&format!("{name}.student")).set_requires_grad(true);
        let teacher = || values.get(&format!("{name}.teacher"));
        let kind = case["kind"].as_str().unwrap();
        let loss = match kind {
            "soft" => distill::soft_targets(&student, &teacher(), case["temperature"].as_f64().unwrap()).unwrap(),
            "cosine" => distill::hidden_cosine(&student, &teacher(), &integers(&case["mask"])).unwrap(),
            "hard" => cross_entropy(&student, &integers(&case["labels"])),
            other => panic!("unknown kind {other}"),
        };
        *kinds.entry(kind).or_default() += 1;
        let (own, want) = (loss.double_value(&[]), case["loss"].as_f64().unwrap());
        // A loss near 0 is the difference of larger fp32 numbers, whose rounding it cannot be better than.
        let limit = 1e-6 * want.abs().max(0.1);
        assert!((own - want).abs() <= limit, "{name}: loss {own}, torch {want}");
        let gradient = Tensor::run_backward(&[loss], &[&student], false, false).remove(0);
        close_relative(&format!("gradient of {name}"), &gradient, &values.get(&format!("{name}.gradient")), 1e-4);
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [("cosine", 3), ("hard", 3), ("soft", 4)]);
}

/// A loss of `distill` by the name and settings of its reference.
fn distillation(case: &Value, student: &Tensor, teacher: &Tensor, projection: Option<&Tensor>) -> Result<Tensor> {
    let mask = case.get("mask").map(integers).unwrap_or_default();
    let temperature = case["temperature"].as_f64().unwrap_or_default();
    let padding = || from_value(case["padding"].clone()).unwrap();
    match case["kind"].as_str().unwrap() {
        "soft-cross-entropy" => {
            let averaging = from_value(case["averaging"].clone()).unwrap();
            distill::soft_cross_entropy(student, teacher, temperature, averaging)
        }
        // The reference is the sum over labels, ours their mean.
        "soft-labels" => Ok(distill::soft_labels(student, teacher, temperature)? * student.size()[1] as f64),
        "soft-spans" => distill::soft_spans(student, teacher, &mask, temperature),
        "soft-tokens" => {
            let (student, teacher) = (distill::kept_rows(student, &mask)?, distill::kept_rows(teacher, &mask)?);
            distill::soft_targets(&student, &teacher, temperature)
        }
        "hidden-states" => distill::hidden_states(student, teacher, &mask, projection, padding()),
        "attention-scores" => distill::attention_scores(student, teacher, &mask, padding()),
        "attention-distributions" => distill::attention_distributions(student, teacher, &mask),
        "relations" => distill::relations(student, teacher, &mask, case["heads"].as_u64().unwrap() as usize),
        other => panic!("unknown kind {other}"),
    }
}

#[test]
fn distillation_losses_and_gradients_equal_torch_written_out() {
    let references = json("distillation.json");
    let values = tensors("distillation.safetensors");
    let mut kinds = BTreeMap::<&str, usize>::new();
    for (name, case) in references["cases"].as_object().unwrap() {
        *kinds.entry(case["kind"].as_str().unwrap()).or_default() += 1;
        let want = case["loss"].as_f64().unwrap();
        // The inputs are fp32 numbers, the references' gradients too; the references' losses are fp64.
        for (kind, limit, gradient_limit) in [(Kind::Double, 1e-10, 1e-6), (Kind::Float, 1e-6, 1e-4)] {
            let find = |what: &str| values.iter().find(|(key, _)| **key == format!("{name}.{what}"));
            let learnt: BTreeMap<&str, Tensor> = ["student", "projection"]
                .into_iter()
                .filter_map(|what| Some((what, find(what)?.1.to_kind(kind).copy().set_requires_grad(true))))
                .collect();
            let teacher = values.get(&format!("{name}.teacher")).to_kind(kind);
            let loss = distillation(case, &learnt["student"], &teacher, learnt.get("projection")).unwrap();
            let own = loss.double_value(&[]);
            assert!((own - want).abs() <= limit * want.abs().max(0.1), "{name}, {kind:?}: loss {own}, torch {want}");
            let inputs: Vec<&Tensor> = learnt.values().collect();
            let gradients = Tensor::run_backward(&[loss], &inputs, false, false);
            for (what, gradient) in learnt.keys().zip(gradients) {
                let reference = values.get(&format!("{name}.{what}.gradient"));
                close_relative(&format!("gradient of {name}.{what}, {kind:?}"), &gradient, &reference, gradient_limit);
            }
        }
    }
    let want = [
        ("attention-distributions", 3),
        ("attention-scores", 3),
        ("hidden-states", 3),
        ("relations", 3),
        ("soft-cross-entropy", 4),
        ("soft-labels", 2),
        ("soft-spans", 2),
        ("soft-tokens", 1),
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), want);
}
