//! AdamW, its groups, the schedule and clipping against `torch.optim.AdamW`.

use std::collections::BTreeMap;

use limbeck_export::arch::Params;
use limbeck_export::train::{Optimizer, OptimizerOptions, linear_warmup_decay};
use tch::{Device, Tensor};

use crate::reference::{close, json, tensors};

#[test]
fn twelve_steps_equal_torch() {
    let settings = json("adamw.json");
    let values = tensors("adamw.safetensors");
    let number = |key: &str| settings[key].as_f64().unwrap();
    let names: Vec<&str> = settings["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let start: BTreeMap<String, Tensor> =
        names.iter().map(|name| (name.to_string(), values.get(&format!("start.{name}")).copy())).collect();
    let params = Params::new(start, Device::Cpu);
    let options =
        OptimizerOptions { weight_decay: number("weight_decay"), clip_norm: number("clip_norm"), ..Default::default() };
    let mut optimizer = Optimizer::new(&params, options, 1.0);
    let (steps, warmup) = (number("steps") as u64, number("warmup") as u64);
    let (mut clipped, mut whole) = (0, 0);
    for step in 0..steps {
        let rate = number("rate") * linear_warmup_decay(step, warmup, steps);
        let want = settings["rates"][step as usize].as_f64().unwrap();
        assert!((rate - want).abs() <= 1e-12, "step {step}: learning rate {rate}, torch {want}");
        let gradients: Vec<Tensor> =
            params.iter().map(|(name, _)| values.get(&format!("{step}.gradient.{name}"))).collect();
        let norm = optimizer.step(&params, &gradients, rate).unwrap();
        let want = settings["norms"][step as usize].as_f64().unwrap();
        assert!((norm - want).abs() <= 1e-6 * want, "step {step}: gradient norm {norm}, torch {want}");
        *if norm > options.clip_norm { &mut clipped } else { &mut whole } += 1;
        for (name, tensor) in params.iter() {
            close(&format!("{name} after step {step}"), tensor, &values.get(&format!("{step}.after.{name}")), 1e-6);
        }
    }
    assert_eq!((clipped, whole), (8, 4), "steps with and without clipping");
}
