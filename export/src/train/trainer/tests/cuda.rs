//! Training on a GPU, against the same on the CPU. Opt-in: `cargo test -p limbeck-export --lib cuda -- --ignored`.

use super::*;
use crate::device::training_device;

/// The same weights on both devices.
fn twins() -> [Params; 2] {
    let _turn = crate::seeded(11);
    let on_cpu = new_params();
    let values = on_cpu.iter().map(|(name, tensor)| (name.to_owned(), tensor.copy())).collect();
    [on_cpu, Params::new(values, training_device("cuda").unwrap())]
}

fn train_in(folder: &Path, params: &Params, options: &TrainOptions, conditions: &Conditions) -> Result<Outcome> {
    let _turn = crate::seeded(11);
    run_from(params, folder, options, conditions)
}

fn near(own: &Params, want: &Params, limit: f64) {
    for (name, tensor) in own.iter() {
        let want = want.get(name).unwrap().to_device(Device::Cpu);
        let difference = (tensor.to_device(Device::Cpu) - want).abs().max().double_value(&[]);
        assert!(difference <= limit, "{name}: {difference}");
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_gpu_trains_as_a_cpu() {
    let exact = Conditions { dropout: 0.0, ..Conditions::default() };
    let adamw = TrainOptions { epochs: 3, learning_rate: 1e-3, ..options() };
    let lamb = OptimizerOptions { kind: OptimizerKind::Lamb, epsilon: 1e-6, bias_correction: false, ..adamw.optimizer };
    for options in [
        adamw.clone(),
        TrainOptions { optimizer: lamb, ..adamw.clone() },
        TrainOptions { accumulate: 3, keep: Keep::Ema, layer_decay: 0.8, ..adamw.clone() },
        TrainOptions {
            optimizer: OptimizerOptions { clip_norm: 0.01, bias_correction: false, ..adamw.optimizer },
            ..adamw
        },
    ] {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let params = twins();
        let [cpu, cuda] = [0, 1].map(|i| train_in(folders[i].path(), &params[i], &options, &exact).unwrap());
        assert_eq!(cpu.steps, cuda.steps);
        for (own, want) in cuda.history.iter().zip(&cpu.history) {
            assert!((own.loss - want.loss).abs() < 1e-4, "{own:?} {want:?} {options:?}");
        }
        // A value whose gradient is all but 0 moves by a whole step of Adam's in either direction.
        near(&params[1], &params[0], 5e-3);
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn bf16_learns_on_a_gpu_and_leaves_fp32_weights() {
    for (precision, least) in [(Precision::Fp32, 0.9), (Precision::Bf16, 0.9)] {
        let folder = tempfile::tempdir().unwrap();
        let [_, params] = twins();
        let options = TrainOptions { precision, ..options() };
        let outcome = train_in(folder.path(), &params, &options, &Conditions::default()).unwrap();
        assert!(outcome.best_dev >= least, "{precision:?}: {}", outcome.best_dev);
        assert!(outcome.history.last().unwrap().loss < outcome.history[0].loss);
        assert!(params.iter().all(|(_, tensor)| tensor.kind() == Kind::Float && tensor.device().is_cuda()));
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_stopped_run_goes_on_with_the_same_bits_on_a_gpu() {
    for precision in [Precision::Fp32, Precision::Bf16] {
        let options = TrainOptions { epochs: 3, keep: Keep::Ema, precision, ..options() };
        let folder = || tempfile::tempdir().unwrap();
        let [_, whole] = twins();
        train_in(folder().path(), &whole, &options, &Conditions::default()).unwrap();
        let (stopped, [_, resumed]) = (folder(), twins());
        for stop_before in [1, 5, 11] {
            let conditions = Conditions {
                stop_before: Some(stop_before),
                checkpoint_every: Duration::ZERO,
                ..Conditions::default()
            };
            assert!(train_in(stopped.path(), &twins()[1], &options, &conditions).is_err());
        }
        let outcome = train_in(stopped.path(), &resumed, &options, &Conditions::default()).unwrap();
        assert_eq!(outcome.resumed_at, 11);
        same_bits(&whole, &resumed);
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_loss_that_is_not_finite_names_the_examples_on_a_gpu() {
    let [_, params] = twins();
    let name = "encoder.ffn.0.up.weight";
    let before = params.get(name).unwrap().copy();
    let _ = tch::no_grad(|| params.get("encoder.ffn.1.down.bias").unwrap().shallow_clone().fill_(f64::NAN));
    let error = train_in(tempfile::tempdir().unwrap().path(), &params, &options(), &Conditions::default());
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("step 0;") && error.contains("(examples ["), "{error}");
    assert_eq!(params.get(name).unwrap(), &before);
}

/// NCCL allows one process a GPU: with one GPU its communicator has one member, through which all that two would send goes.
#[cfg(feature = "nccl")]
mod nccl {
    use super::*;

    /// The first of two processes whose other one has nothing to say: what is sent goes through `G` and comes back as it was.
    struct FirstOfTwo<G>(G);

    impl<G: Group> Group for FirstOfTwo<G> {
        fn rank(&self) -> usize {
            self.0.rank()
        }

        fn size(&self) -> usize {
            2
        }

        fn all_reduce_mean(&self, tensors: &[Tensor]) -> Result<()> {
            self.0.all_reduce_mean(tensors)
        }

        fn broadcast(&self, tensors: &[Tensor], from: usize) -> Result<()> {
            self.0.broadcast(tensors, from)
        }

        fn barrier(&self) -> Result<()> {
            self.0.barrier()
        }
    }

    #[test]
    #[ignore = "needs an NVIDIA GPU"]
    fn gradients_travel_through_nccl() {
        let device = training_device("cuda").unwrap();
        for (name, value) in [
            ("RANK", "0"),
            ("WORLD_SIZE", "1"),
            ("LOCAL_RANK", "0"),
            ("MASTER_ADDR", "127.0.0.1"),
            ("MASTER_PORT", "29517"),
        ] {
            // SAFETY: run alone, by its name; nothing else reads the environment meanwhile.
            unsafe { std::env::set_var(name, value) };
        }
        let nccl = crate::train::Nccl::start().unwrap();
        assert_eq!((nccl.rank(), nccl.size(), nccl.device()), (0, 1, device));
        let values = Tensor::from_slice(&[1f32, -2.5]).to_device(device);
        nccl.all_reduce_mean(std::slice::from_ref(&values)).unwrap();
        nccl.broadcast(std::slice::from_ref(&values), 0).unwrap();
        nccl.barrier().unwrap();
        assert_eq!(Vec::<f32>::try_from(&values).unwrap(), [1.0, -2.5]);
        let error = nccl.all_reduce_mean(&[Tensor::from(1f32)]).unwrap_err().to_string();
        assert!(error.contains("is on Cpu"), "{error}");

        let options = TrainOptions { batch_size: 6, epochs: 3, learning_rate: 1e-3, ..options() };
        let [on_cpu, on_cuda] = twins();
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (local, nccl) = (FirstOfTwo(Alone), FirstOfTwo(nccl));
        let exact = |group| Conditions { dropout: 0.0, group, ..Conditions::default() };
        let want = train_in(folders[0].path(), &on_cpu, &options, &exact(&local)).unwrap();
        let own = train_in(folders[1].path(), &on_cuda, &options, &exact(&nccl)).unwrap();
        assert!(want.steps > 10 && own.steps == want.steps);
        for (own, want) in own.history.iter().zip(&want.history) {
            assert!((own.loss - want.loss).abs() < 1e-4, "{own:?} {want:?}");
        }
        near(&on_cuda, &on_cpu, 5e-3);
    }
}
