//! Objectives with a generator beside the model (Clark 2020).

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::arch::{Capture, Model, Params};
use crate::data::{Batch, Masked};
use crate::objective::{IGNORED, corrupt, sample};

/// The examples of a recipe, what masks them, and first weights. Hold [`crate::seeded`] meanwhile.
fn prepared(own: &PretrainRecipe, world: &Path) -> (Vec<EncodedExample>, Masker, Start) {
    let encoder = Encoder::new(&world.join("t/tokenizer.json"), own.max_tokens, usize::MAX).unwrap();
    let config = model::shape(own, world, &encoder).unwrap();
    let text = Text::read(own, world).unwrap();
    let shape = Shape {
        kind: own.objective.kind,
        sentence: own.objective.sentence,
        max_tokens: own.max_tokens,
        short: 0.1,
        duplicates: 1,
        end_of_text: None,
        seed: 1,
    };
    let examples = shape.examples(text.train, &encoder).unwrap();
    let masking = own.objective.masking(config.family).unwrap();
    let masker = masker_for(masking, &examples, &config, &encoder, &world.join("t")).unwrap();
    let start = Start::new(own, world, config, None, Device::Cpu).unwrap();
    (examples, masker, start)
}

fn learner<'a>(own: &PretrainRecipe, start: &Start, weight: f64, masker: &'a Masker) -> Learner<'a> {
    let scored = (own.objective.kind, own.objective.sentence);
    Learner::new(start, scored, weight, Some(masker), Precision::Fp32).unwrap()
}

/// "We do not back-propagate the discriminator loss through the generator" (section 2).
#[test]
fn the_discriminator_teaches_the_generator_nothing_but_its_tables() {
    let world = world(false);
    let own = recipe("electra-small", "kind = \"rtd\"", "embedding_size = 16");
    let _turn = crate::seeded(4);
    let (examples, masker, start) = prepared(&own, world.path());
    start.params.set_requires_grad(true);
    let names: Vec<String> = start.params.iter().map(|(name, _)| name.to_owned()).collect();
    let weights: Vec<Tensor> = start.params.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
    let batch = Batch::new(&examples, (0..8).collect(), 0, Device::Cpu);
    let gradients = |weight: f64| {
        let learner = learner(&own, &start, weight, &masker);
        tch::manual_seed(9);
        let loss = learner.loss(&examples, &batch).unwrap();
        assert_eq!(loss.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["generator", "replaced"]);
        let sum = |scale: f64| loss.parts[0].1.double_value(&[]) + scale * loss.parts[1].1.double_value(&[]);
        assert!((loss.total.double_value(&[]) - sum(weight)).abs() < 1e-4);
        Tensor::f_run_backward(&[&loss.total], &weights, false, false).unwrap()
    };
    let (light, heavy) = (gradients(1.0), gradients(50.0));
    for ((name, a), b) in names.iter().zip(light).zip(heavy) {
        let norm = |x: &Tensor| if x.defined() { x.abs().sum(Kind::Double).double_value(&[]) } else { 0.0 };
        if name.starts_with("generator.") {
            assert!(a.equal(&b) && norm(&a) > 0.0, "{name}: the weight of the discriminator's loss must not matter");
        } else if name.starts_with("encoder.") || name.starts_with("head.") {
            assert!((norm(&b) / norm(&a) - 50.0).abs() < 0.1 || norm(&a) < 1e-6, "{name}: the discriminator's alone");
        }
    }
}

/// Each objective from whole forward passes, its losses written out in fp64 for each token by itself.
#[test]
fn losses_are_those_of_whole_passes() {
    let world = world(false);
    for (kind, head) in
        [("rtd", Head::ReplacedToken), ("rtd-masked", Head::ReplacedToken), ("replace-mlm", Head::MaskedLm)]
    {
        let own = recipe("electra-small", &format!("kind = \"{kind}\""), "embedding_size = 16");
        let _turn = crate::seeded(4);
        let (examples, masker, start) = prepared(&own, world.path());
        let batch = Batch::new(&examples, (0..24).collect(), 0, Device::Cpu);
        let weight = own.objective.weight();
        tch::manual_seed(9);
        let loss = learner(&own, &start, weight, &masker).loss(&examples, &batch).unwrap();

        tch::manual_seed(9);
        let seed = Tensor::randint(i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]) as u64;
        let rows: Vec<&[i64]> = batch.indices.iter().map(|&index| examples[index].ids.as_slice()).collect();
        let Masked { ids, targets } = masker.mask(&rows, 0, &mut ChaCha8Rng::seed_from_u64(seed), Device::Cpu);
        let whole = |params: &Params, config: &ModelConfig, head, ids: &Tensor| {
            let model = Model::new(params, config, head);
            model.forward(ids, &batch.mask, None, &Capture::default(), true).logits.to_kind(Kind::Double)
        };
        // The negative log likelihood of `wanted` at each of the places.
        let surprise = |logits: &Tensor, at: &[i64], wanted: &[i64]| -> f64 {
            let logs = logits.log_softmax(-1, Kind::Double);
            let logs = logs.reshape([-1, logs.size()[2]]);
            let sum: f64 = at.iter().zip(wanted).map(|(&at, &wanted)| -logs.double_value(&[at, wanted])).sum();
            sum / at.len() as f64
        };
        let flat = |x: &Tensor| Vec::<i64>::try_from(x.reshape([-1])).unwrap();
        let (all, wanted) = (flat(&batch.mask), flat(&targets));
        let places = |chosen: &dyn Fn(usize) -> bool| -> Vec<i64> {
            (0..all.len()).filter(|&at| chosen(at)).map(|at| at as i64).collect()
        };
        let (tokens, masked) = (places(&|at| all[at] != 0), places(&|at| wanted[at] != IGNORED));
        assert!(masked.len() > 20 && masked.len() < tokens.len() && tokens.len() < all.len(), "some are padding");
        let wanted: Vec<i64> = masked.iter().map(|&at| wanted[at as usize]).collect();
        let guessed = whole(&start.of_generator().unwrap(), start.generator.as_ref().unwrap(), Head::MaskedLm, &ids);
        let of_generator = surprise(&guessed, &masked, &wanted);
        let at = Tensor::from_slice(&masked);
        let drawn = sample(&guessed.to_kind(Kind::Float).reshape([-1, guessed.size()[2]]).index_select(0, &at));
        let (read, replaced) = corrupt(&batch.ids, &at, &drawn);
        let logits = whole(&start.own(), &start.config, head, &read);
        let counted = if kind == "rtd" { &tokens } else { &masked };
        let expected = if head == Head::MaskedLm {
            surprise(&logits, &masked, &wanted)
        } else {
            let (z, replaced) = (Vec::<f64>::try_from(logits.reshape([-1])).unwrap(), flat(&replaced));
            let of = |&at: &i64| (1.0 + z[at as usize].exp()).ln() - replaced[at as usize] as f64 * z[at as usize];
            counted.iter().map(of).sum::<f64>() / counted.len() as f64
        };
        let parts: Vec<f64> = loss.parts.iter().map(|(_, part)| part.double_value(&[])).collect();
        assert!((parts[0] - of_generator).abs() < 1e-5, "{kind}: {parts:?} {of_generator}");
        assert!((parts[1] - expected).abs() < 1e-5, "{kind}: {parts:?} {expected}");
        let total = of_generator + weight * expected;
        assert!((loss.total.double_value(&[]) / total - 1.0).abs() < 1e-5, "{kind}: {total}");
    }
}

#[test]
fn another_generator_to_go_on_with_is_another_model() {
    let world = world(false);
    let own = recipe("electra-small", "kind = \"rtd\"", "embedding_size = 16");
    let own = PretrainRecipe { train: TrainOptions { steps: Some(1), ..own.train.clone() }, ..own };
    let at = |name: &str| world.path().join(name);
    run(world.path(), own.clone(), &at("one")).unwrap();
    run(world.path(), PretrainRecipe { seed: 8, ..own.clone() }, &at("other")).unwrap();
    let model = ModelRecipe { start: Some("one".to_owned()), ..ModelRecipe::default() };
    let on = PretrainRecipe { model, tokenizer: None, ..own };
    let done = run(world.path(), on.clone(), &at("on")).unwrap();
    assert_eq!(run(world.path(), on.clone(), &at("on")).unwrap(), done);
    let weights = "generator/model.safetensors";
    std::fs::copy(at("other").join(weights), at("one").join(weights)).unwrap();
    let error = run(world.path(), on, &at("on")).unwrap_err().to_string();
    assert!(error.contains("another model"), "{error}");
}

/// Of the model and of its generator, whose tables are the model's.
#[test]
fn new_weights_spread_as_the_recipe_says() {
    let _turn = crate::seeded(5);
    let world = world(false);
    let mut own = recipe("electra-small", "kind = \"rtd\"\ngenerator_size = 0.5", "");
    own.model.initializer_range = Some(0.06);
    let (_, _, start) = prepared(&own, world.path());
    assert_eq!(start.config.initializer_range, 0.06);
    for name in ["encoder.ffn.0.up.weight", "generator.encoder.ffn.0.up.weight"] {
        let weight = start.params.get(name).unwrap();
        // Cut at two deviations a normal distribution keeps 0.880 of its own.
        let deviation = weight.std(true).double_value(&[]) / 0.880;
        assert!((deviation / 0.06 - 1.0).abs() < 0.1, "{name}: {deviation}");
    }
}

/// A model's guesses are told apart by whether it reads the token; frequency guesses those that it does not read.
#[test]
fn hidden_tokens_are_counted_by_themselves() {
    let _turn = crate::seeded(6);
    let world = world(false);
    let scored = |masking: &str| {
        let own = recipe("bert-base-uncased", &format!("kind = \"mlm\"\nmasking = {{ {masking} }}"), "");
        let (examples, masker, start) = prepared(&own, world.path());
        learner(&own, &start, 1.0, &masker).held_out(&examples, 1).unwrap()
    };
    let all_hidden = scored("masked = 1.0, kept = 0.0");
    assert_eq!(all_hidden.hidden_accuracy, all_hidden.masked_accuracy);
    assert!(all_hidden.frequency_accuracy.is_some_and(|share| share > 0.0 && share < 1.0), "{all_hidden:?}");
    let none_hidden = scored("masked = 0.0, kept = 1.0");
    assert!(none_hidden.masked_accuracy.is_some(), "{none_hidden:?}");
    assert_eq!((none_hidden.hidden_accuracy, none_hidden.frequency_accuracy), (None, None));
}

/// What has learned to guess masked tokens is the generator that another stage begins with, where it has its shape.
#[test]
fn a_generator_as_wide_as_its_model_begins_with_the_same_weights() {
    use super::model::GeneratorStart;

    let world = world(false);
    // As many heads as a generator of this width has.
    let one_head = |own: PretrainRecipe| PretrainRecipe {
        model: ModelRecipe { attention_heads: Some(1), ..own.model.clone() },
        ..own
    };
    let guesser = one_head(recipe("electra-small", "kind = \"mlm\"", "embedding_size = 16"));
    let guesser = PretrainRecipe { train: TrainOptions { steps: Some(1), ..guesser.train.clone() }, ..guesser };
    run(world.path(), guesser, &world.path().join("one")).unwrap();
    // Replaced tokens are no guesses: there is nothing for a generator to begin with but the one beside the model.
    let both = one_head(recipe("electra-small", "kind = \"rtd\"\ngenerator_size = 1.0", "embedding_size = 16"));
    let both = PretrainRecipe { train: TrainOptions { steps: Some(1), ..both.train.clone() }, ..both };
    run(world.path(), both, &world.path().join("both")).unwrap();
    let _turn = crate::seeded(7);
    let begun = |from: &str, size: f64| {
        let own = recipe("electra-small", &format!("kind = \"rtd\"\ngenerator_size = {size:.2}"), "");
        let model = ModelRecipe { start: Some(from.to_owned()), ..ModelRecipe::default() };
        prepared(&PretrainRecipe { model, tokenizer: None, ..own }, world.path()).2
    };
    let same = begun("one", 1.0);
    assert_eq!(same.generator_start, GeneratorStart::Model);
    let one = checkpoint::load(&world.path().join("one"), Head::MaskedLm, Device::Cpu).unwrap().params;
    let generator = same.of_generator().unwrap();
    for (name, wanted) in one.iter() {
        assert_eq!(generator.get(name).unwrap(), wanted, "{name}");
    }
    // Apart but for the tables: what one learns is not written into the other.
    let name = "encoder.ffn.0.up.weight";
    let at = |name: &str| same.params.get(name).unwrap().data_ptr();
    assert_ne!(at(name), at(&format!("generator.{name}")));
    assert_eq!(begun("one", 0.5).generator_start, GeneratorStart::New);
    assert_eq!(begun("both", 1.0).generator_start, GeneratorStart::Folder);
    std::fs::remove_dir_all(world.path().join("both/generator")).unwrap();
    assert_eq!(begun("both", 1.0).generator_start, GeneratorStart::New);
}
