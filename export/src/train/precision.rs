//! What training computes in.

use std::cell::Cell;
use std::marker::PhantomData;
use std::str::FromStr;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::shim;

/// What the forward pass of training computes in. Weights, gradients, losses and the optimizer are fp32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// fp32 throughout.
    #[default]
    Fp32,
    /// Matrix products in bf16, the rest as libtorch's autocast has it for the device (Micikevicius 2018 with the
    /// range of fp32, hence no loss scaling); on a GPU norms read and write bf16 too.
    Bf16,
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "fp32" => Ok(Precision::Fp32),
            "bf16" => Ok(Precision::Bf16),
            _ => Err("fp32 or bf16".to_owned()),
        }
    }
}

impl Precision {
    /// Puts this thread's libtorch calls on `device` into this precision until the guard goes.
    ///
    /// # Errors
    /// A device without autocast.
    pub fn enter(self, device: Device) -> Result<Option<Autocast>> {
        match self {
            Precision::Fp32 => Ok(None),
            Precision::Bf16 => Autocast::bf16(device).map(Some),
        }
    }
}

thread_local! {
    static ENTERED: Cell<u64> = const { Cell::new(0) };
    static DEPTH: Cell<u64> = const { Cell::new(0) };
}

/// bf16 autocast of this thread while it lives; what was set before comes back when it is dropped, also after an
/// error or a panic. Not for other threads: libtorch keeps the state by thread.
#[must_use = "autocast ends when this is dropped"]
pub struct Autocast {
    before: shim::AutocastState,
    this_thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Switches it on.
    ///
    /// # Errors
    /// A device other than CPU and CUDA.
    pub fn bf16(device: Device) -> Result<Self> {
        let before = shim::autocast_bf16(device)?;
        ENTERED.with(|count| count.set(count.get() + 1));
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Ok(Self { before, this_thread: PhantomData })
    }

    /// Whether it is on in this thread.
    pub(crate) fn is_on() -> bool {
        DEPTH.with(Cell::get) > 0
    }

    /// How often this thread switched it on.
    pub(super) fn entered() -> u64 {
        ENTERED.with(Cell::get)
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        shim::autocast_restore(self.before);
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::arch::{Capture, Head, Model, ModelConfig, Params, parameter_layout};

    fn product() -> Kind {
        let ones = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        ones.matmul(&ones).kind()
    }

    #[test]
    fn inside_products_are_bf16_and_outside_they_are_not() {
        assert_eq!(product(), Kind::Float);
        {
            let _outer = Precision::Bf16.enter(Device::Cpu).unwrap();
            assert_eq!(product(), Kind::BFloat16);
            {
                let _inner = Autocast::bf16(Device::Cpu).unwrap();
                assert_eq!(product(), Kind::BFloat16);
            }
            assert_eq!(product(), Kind::BFloat16, "the outer guard still holds");
            // What autocast has in fp32, such as a loss.
            let x = Tensor::ones([4, 4], (Kind::BFloat16, Device::Cpu));
            assert_eq!(x.mse_loss(&x, tch::Reduction::Mean).kind(), Kind::Float);
        }
        assert_eq!(product(), Kind::Float);
        assert!(Precision::Fp32.enter(Device::Cpu).unwrap().is_none());
        assert_eq!(product(), Kind::Float);
    }

    #[test]
    fn errors_and_panics_end_it() {
        let fails = || -> Result<()> {
            let _guard = Autocast::bf16(Device::Cpu)?;
            assert_eq!(product(), Kind::BFloat16);
            anyhow::bail!("out of memory")
        };
        assert!(fails().is_err());
        assert_eq!(product(), Kind::Float);
        let panics = std::panic::catch_unwind(|| {
            let _guard = Autocast::bf16(Device::Cpu).unwrap();
            let (a, b) = (Tensor::ones([2, 3], (Kind::Float, Device::Cpu)), product());
            assert_eq!(b, Kind::BFloat16);
            let _ = a.matmul(&a);
        });
        assert!(panics.is_err());
        assert_eq!(product(), Kind::Float);
    }

    #[test]
    fn a_model_gives_fp32_from_bf16_and_padding_on_the_left_is_no_harm() {
        let _turn = crate::seeded(31);
        // Positions before the first token see nothing at all.
        let config =
            ModelConfig::from_hf(&serde_json::json!({"model_type": "gpt2", "vocab_size": 20, "n_positions": 8,
            "n_embd": 16, "n_layer": 2, "n_head": 2, "activation_function": "gelu_new", "resid_pdrop": 0.0,
            "embd_pdrop": 0.0, "attn_pdrop": 0.0, "layer_norm_epsilon": 1e-5, "initializer_range": 0.2}))
            .unwrap();
        let params = Params::initialise(&parameter_layout(&config, Head::CausalLm), Device::Cpu);
        let ids = Tensor::from_slice(&[0i64, 0, 5, 7, 3, 4, 5, 6]).view([2, 4]);
        let mask = Tensor::from_slice(&[0i64, 0, 1, 1, 1, 1, 1, 1]).view([2, 4]);
        let capture = Capture::EVERYTHING;
        let logits = |precision, train| {
            let model = Model::new(&params, &config, Head::CausalLm).in_precision(precision);
            let output = model.forward(&ids, &mask, None, &capture, train);
            assert!(output.encoded.hidden_states.iter().all(|x| x.kind() == Kind::Float));
            assert!(output.encoded.projections.values().all(|x| x.value.kind() == Kind::Float));
            assert!(output.encoded.attention_scores.values().all(|x| x.kind() == Kind::Float));
            let fused = model.forward(&ids, &mask, None, &Capture::default(), train).logits;
            assert!((&fused - &output.logits).abs().max().double_value(&[]) < 0.1);
            output.logits
        };
        let (full, half) = (logits(Precision::Fp32, true), logits(Precision::Bf16, true));
        let difference = (&full - &half).abs().max().double_value(&[]);
        assert!(half.kind() == Kind::Float && difference > 0.0 && difference < 0.1, "{difference}");
        assert_eq!(logits(Precision::Bf16, false), full, "dev is scored in fp32");
        let answers = |precision| {
            let model = Model::new(&params, &config, Head::CausalLm).answering_in(precision);
            model.forward(&ids, &mask, None, &capture, false).logits
        };
        assert_eq!(answers(Precision::Bf16), half, "a teacher answers as it would train");
        assert_ne!(answers(Precision::Fp32), half);
    }

    #[test]
    fn it_is_of_one_thread() {
        let _guard = Autocast::bf16(Device::Cpu).unwrap();
        assert_eq!(std::thread::spawn(product).join().unwrap(), Kind::Float);
        assert_eq!(product(), Kind::BFloat16);
        assert!(Autocast::bf16(Device::Mps).is_err());
    }
}
