//! Losses and their gradients against torch's, which were computed in double precision.

use limbeck_export::distill::{hidden_cosine, soft_target};
use limbeck_export::objective::cross_entropy;
use tch::Tensor;

use crate::reference::{close_relative, integers, json, tensors};

#[test]
fn losses_and_gradients_equal_torch() {
    let references = json("losses.json");
    let values = tensors("losses.safetensors");
    let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
    for (name, case) in references["cases"].as_object().unwrap() {
        let student = values.get(&format!("{name}.student")).set_requires_grad(true);
        let teacher = || values.get(&format!("{name}.teacher"));
        let kind = case["kind"].as_str().unwrap();
        let loss = match kind {
            "soft" => soft_target(&student, &teacher(), case["temperature"].as_f64().unwrap()),
            "cosine" => hidden_cosine(&student, &teacher(), &integers(&case["mask"])),
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
