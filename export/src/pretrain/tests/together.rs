//! What the settings of `train` do in a whole run: several processes, ALBERT's optimizer.

use super::*;
use crate::train::OptimizerKind;
use crate::train::threads::{Thread, pair};

#[test]
fn two_processes_pretrain_as_one_with_the_double_batch() {
    let world = world(true);
    let own = recipe("gpt2", "kind = \"clm\"", "");
    let with = |batch_size, steps, learning_rate| TrainOptions {
        batch_size,
        steps: Some(steps),
        learning_rate,
        ..own.train.clone()
    };
    // The first weights of all: two threads at once draw from one generator.
    let first = PretrainRecipe { train: with(16, 1, 1e-9), ..own.clone() };
    let first = run(world.path(), first, &world.path().join("first")).unwrap();
    let model = ModelRecipe { start: Some("first".to_owned()), ..ModelRecipe::default() };
    let from = |batch_size| PretrainRecipe { model: model.clone(), train: with(batch_size, 6, 5e-3), ..own.clone() };
    let alone = run(world.path(), from(16), &world.path().join("alone")).unwrap();
    assert!(alone.held_out.loss < 0.95 * first.held_out.loss, "{} from {}", alone.held_out.loss, first.held_out.loss);

    let _turn = crate::seeded(1);
    let out = world.path().join("together");
    let start = |group: Thread| {
        let (recipe, folder, out) = (from(8), world.path().to_owned(), out.clone());
        let checkpoint_every = Duration::ZERO;
        let options = PretrainOptions { recipe, folder, out, device: Device::Cpu, checkpoint_every };
        std::thread::spawn(move || pretrain_together(&options, &group, &Reporter::new(Output::Silent)).unwrap())
    };
    let [one, other] = pair().map(start).map(|thread| thread.join().unwrap());
    assert_eq!((&one.outcome.history, &one.held_out), (&other.outcome.history, &other.held_out), "both know the same");
    assert_eq!((one.outcome.steps, one.tokens_seen), (6, alone.tokens_seen));
    assert!((one.held_out.loss - alone.held_out.loss).abs() < 1e-3, "{:?} {:?}", one.held_out, alone.held_out);
    let table = |folder: &str| {
        let loaded = checkpoint::load(&world.path().join(folder), Head::CausalLm, Device::Cpu).unwrap();
        loaded.params.get("embeddings.words.weight").unwrap().shallow_clone()
    };
    let apart = |folder: &str| (table("together") - table(folder)).abs().max().double_value(&[]);
    assert!(apart("alone") < 1e-3 && apart("first") > 1e-2, "{} {}", apart("alone"), apart("first"));
    let written: Pretrained = files::read_json(&out.join(RESULT)).unwrap();
    assert_eq!(written, one, "process 0 writes");
    assert!(!out.join("resume.safetensors").exists());
}

#[test]
fn albert_learns_with_lamb() {
    let world = world(false);
    let own = recipe("albert-base", "kind = \"mlm\"\nsentence = \"sop\"", "embedding_size = 16");
    let with = |more: &str| PretrainRecipe::parse(&own.to_toml().unwrap().replace("kind = \"adamw\"", more)).unwrap();
    let lamb = with("kind = \"lamb\"");
    assert_eq!(lamb.train.optimizer.kind, OptimizerKind::Lamb);
    assert!(!lamb.train.optimizer.bias_correction && lamb.train.optimizer.epsilon == 1e-6, "as ALBERT's");
    let short = PretrainRecipe { train: TrainOptions { steps: Some(1), ..lamb.train.clone() }, ..lamb.clone() };
    let first = run(world.path(), short, &world.path().join("first")).unwrap();
    // Each tensor moves by the rate times its own norm: slower than with AdamW.
    let train = TrainOptions { learning_rate: 2e-2, steps: Some(150), ..lamb.train.clone() };
    let done = run(world.path(), PretrainRecipe { train, ..lamb }, &world.path().join("lamb")).unwrap();
    // Knowing how frequent words are gives 0.92.
    assert!(done.held_out.loss < 0.88 * first.held_out.loss, "{} from {}", done.held_out.loss, first.held_out.loss);
    assert_eq!(done.train.optimizer.kind, OptimizerKind::Lamb);
}
