//! Students of a causal teacher.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{WORDS, recipe, run, world, write_tokenizer};
use crate::arch::{Capture, Head, Model, ModelConfig, Params};
use crate::checkpoint;
use crate::data::{Batch, EncodedExample, Encoder, Target};
use crate::pretrain::learner::Learner;
use crate::pretrain::model::{self, Start};
use crate::pretrain::teacher::Teacher;
use crate::pretrain::{ModelRecipe, ObjectiveKind, PretrainRecipe, SentenceTask, TeacherRecipe};
use crate::train::{Precision, TrainOptions};

fn plain() -> PretrainRecipe {
    recipe("gpt2", "kind = \"clm\"", "")
}

/// A world whose folder `teacher` has a GPT-2 of so many layers, trained for so many steps.
fn taught(layers: usize, steps: u64) -> tempfile::TempDir {
    let world = world(true);
    let own = plain();
    let model = ModelRecipe { layers: Some(layers), ..own.model.clone() };
    let train = TrainOptions { steps: Some(steps), ..own.train.clone() };
    run(world.path(), PretrainRecipe { model, train, ..own }, &world.path().join("teacher")).unwrap();
    world
}

/// The recipe of a student of so many of its layers.
fn student(layers: usize, teacher: TeacherRecipe) -> PretrainRecipe {
    let own = plain();
    let model = ModelRecipe { layers: Some(layers), ..ModelRecipe::default() };
    PretrainRecipe { tokenizer: None, model, teacher: Some(teacher), ..own }
}

fn teacher() -> TeacherRecipe {
    TeacherRecipe::new("teacher")
}

/// What a run makes of a recipe before it trains.
fn prepared(world: &Path, recipe: &PretrainRecipe) -> anyhow::Result<(ModelConfig, Teacher, Start)> {
    recipe.check()?;
    let path = model::tokenizer_path(recipe, world)?;
    let encoder = Encoder::new(&path, recipe.max_tokens, usize::MAX)?;
    let config = model::shape(recipe, world, &encoder)?;
    Teacher::check(recipe, world, &config, &encoder)?;
    let teacher = Teacher::load(recipe, world, Device::Cpu)?.unwrap();
    let start = Start::new(recipe, world, config.clone(), Some(&teacher), Device::Cpu)?;
    Ok((config, teacher, start))
}

/// Windows of three lengths, so that two of them are padded.
fn windows() -> Vec<EncodedExample> {
    [vec![3i64, 4, 5], vec![6, 7, 8, 9, 3, 4, 2], vec![5, 6, 7, 8]]
        .map(|ids| EncodedExample::new(ids, Target::Class(0)))
        .to_vec()
}

fn learner<'a>(start: &Start, teacher: &'a Teacher) -> Learner<'a> {
    let scored = (ObjectiveKind::Clm, SentenceTask::None);
    Learner::new(start, scored, 1.0, None, Precision::Fp32).unwrap().taught_by(Some(teacher))
}

fn number(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

#[test]
fn a_student_equal_to_its_teacher_has_nothing_to_learn() {
    let world = taught(2, 20);
    let _turn = crate::seeded(5);
    let (_, teacher, start) =
        prepared(world.path(), &student(2, TeacherRecipe { next_token: 0.0, ..teacher() })).unwrap();
    let examples = windows();
    let batch = Batch::new(&examples, vec![0, 1, 2], 0, Device::Cpu);
    start.params.set_requires_grad(true);
    let weights: Vec<Tensor> = start.params.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
    let learned = || {
        let loss = learner(&start, &teacher).loss(&examples, &batch).unwrap();
        let part = |name| number(&loss.parts.iter().find(|(own, _)| *own == name).unwrap().1);
        let parts = [part("soft-targets"), part("hidden-cosine")];
        let gradients = Tensor::f_run_backward(&[&loss.total], &weights, false, false).unwrap();
        (parts, gradients.iter().map(|x| number(&x.abs().max())).fold(0.0, f64::max))
    };
    let (parts, gradient) = learned();
    assert!(parts.iter().all(|part| part.abs() < 1e-6) && gradient < 1e-5, "{parts:?} {gradient}");
    let last = start.params.get("encoder.ffn.1.down.weight").unwrap();
    tch::no_grad(|| last.shallow_clone().copy_(&(last + last.randn_like() * 0.1)));
    let (parts, gradient) = learned();
    assert!(parts.iter().all(|part| *part > 1e-4) && gradient > 1e-3, "{parts:?} {gradient}");
}

/// The weighted sum, written out in fp64 for each token by itself, and its slope along its gradient.
#[test]
fn the_loss_is_the_three_losses_of_distilgpt2() {
    let world = taught(4, 20);
    let _turn = crate::seeded(6);
    let own = TeacherRecipe { soft_targets: 3.0, temperature: 1.5, next_token: 0.7, hidden_cosine: 0.4, ..teacher() };
    let (config, teacher, start) = prepared(world.path(), &student(2, own.clone())).unwrap();
    let examples = windows();
    let batch = Batch::new(&examples, vec![0, 1, 2], 0, Device::Cpu);
    let loaded = checkpoint::load(&world.path().join("teacher"), Head::CausalLm, Device::Cpu).unwrap();
    let models = [(&start.params, &config), (&loaded.params, &loaded.config)]
        .map(|(params, config)| Model::new(params, config, Head::CausalLm));
    let [mut kl, mut tokens, mut cosine, mut next, mut guessed] = [0.0; 5];
    for example in &examples {
        let ids = Tensor::from_slice(&example.ids).unsqueeze(0);
        let [mine, other] = models.each_ref().map(|model| {
            let output = model.forward(&ids, &ids.ones_like(), None, &Capture::default(), false);
            let rows = |x: &Tensor| Vec::<Vec<f64>>::try_from(x.squeeze_dim(0).to_kind(Kind::Double)).unwrap();
            (rows(&output.logits), rows(&output.encoded.last_hidden))
        });
        let log_softmax = |row: &[f64], temperature: f64| -> Vec<f64> {
            let sum: f64 = row.iter().map(|x| (x / temperature).exp()).sum();
            row.iter().map(|x| x / temperature - sum.ln()).collect()
        };
        for at in 0..example.ids.len() {
            let [s, t] = [&mine.0[at], &other.0[at]].map(|row| log_softmax(row, 1.5));
            kl += s.iter().zip(&t).map(|(s, t)| t.exp() * (t - s)).sum::<f64>();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (s, t) = (&mine.1[at], &other.1[at]);
            cosine += 1.0 - dot(s, t) / (dot(s, s) * dot(t, t)).sqrt();
            tokens += 1.0;
            if let Some(&id) = example.ids.get(at + 1) {
                next -= log_softmax(&mine.0[at], 1.0)[id as usize];
                guessed += 1.0;
            }
        }
    }
    let expected = 3.0 * 2.25 * kl / tokens + 0.7 * next / guessed + 0.4 * cosine / tokens;
    let learner = learner(&start, &teacher);
    let loss = || learner.loss(&examples, &batch).unwrap();
    assert!((number(&loss().total) / expected - 1.0).abs() < 1e-5, "{} {expected}", number(&loss().total));
    assert_eq!(
        loss().parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["next", "soft-targets", "hidden-cosine"]
    );
    // Held-out text is scored on the text alone.
    let held_out = learner.held_out(&examples, 20).unwrap();
    assert!((held_out.perplexity.unwrap().ln() - next / guessed).abs() < 1e-5);
    assert!((held_out.bits_per_byte.unwrap() - next / 20.0 / std::f64::consts::LN_2).abs() < 1e-5);
    assert!((held_out.loss - next / guessed).abs() < 1e-5, "{held_out:?}");

    start.params.set_requires_grad(true);
    let weights: Vec<Tensor> = start.params.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
    let gradients = Tensor::f_run_backward(&[&loss().total], &weights, false, false).unwrap();
    let square: f64 = gradients.iter().map(|x| number(&x.square().sum(Kind::Double))).sum();
    let moved = |by: f64| {
        tch::no_grad(|| weights.iter().zip(&gradients).for_each(|(x, g)| drop(x.shallow_clone().g_add_(&(g * by)))));
    };
    let step = 0.01 / square;
    moved(step);
    let above = number(&loss().total);
    moved(-2.0 * step);
    let slope = (above - number(&loss().total)) / (2.0 * step);
    assert!((slope / square - 1.0).abs() < 0.02, "{slope} {square}");
}

#[test]
fn first_weights_are_the_teachers_layers_to_the_bit() {
    let world = taught(4, 1);
    let _turn = crate::seeded(7);
    for (map, layers, expected) in [
        (None, 2, vec![0, 3]),
        (None, 3, vec![0, 2, 3]),
        (Some(vec![1, 2]), 2, vec![1, 2]),
        (None, 4, vec![0, 1, 2, 3]),
    ] {
        let own = student(layers, TeacherRecipe { layer_map: map, ..teacher() });
        let (config, teacher, start) = prepared(world.path(), &own).unwrap();
        assert_eq!(teacher.layer_map(&config).unwrap(), expected);
        let given = checkpoint::load(&world.path().join("teacher"), Head::CausalLm, Device::Cpu).unwrap().params;
        let block = |params: &Params, layer: usize| -> Vec<(String, Tensor)> {
            let of = |kind: &str| format!("encoder.{kind}.{layer}.");
            let rest = |name: &str| {
                ["attention", "ffn"].iter().find_map(|kind| Some(name.strip_prefix(&of(kind))?.to_owned()))
            };
            params.iter().filter_map(|(name, tensor)| Some((rest(name)?, tensor.shallow_clone()))).collect()
        };
        for (own, &other) in expected.iter().enumerate() {
            let (own, other) = (block(&start.params, own), block(&given, other));
            assert!(own.len() > 8 && own == other);
        }
        let outside = |params: &Params| -> Vec<(String, Tensor)> {
            let is_block = |name: &str| name.starts_with("encoder.attention.") || name.starts_with("encoder.ffn.");
            params
                .iter()
                .filter(|(name, _)| !is_block(name))
                .map(|(name, x)| (name.to_owned(), x.shallow_clone()))
                .collect()
        };
        assert!(outside(&start.params).len() >= 4 && outside(&start.params) == outside(&given));
    }
    // Half of them where nothing is said; other sizes are new weights.
    let half = PretrainRecipe { model: ModelRecipe::default(), ..student(1, teacher()) };
    assert_eq!(prepared(world.path(), &half).unwrap().0.layers, 2);
    let own = plain();
    let model = ModelRecipe { layers: Some(1), ..own.model.clone() };
    let (config, _, start) =
        prepared(world.path(), &PretrainRecipe { model, teacher: Some(teacher()), ..own }).unwrap();
    let given = checkpoint::load(&world.path().join("teacher"), Head::CausalLm, Device::Cpu).unwrap().params;
    let words = |params: &Params| params.get("embeddings.words.weight").unwrap().shallow_clone();
    assert!(config.layers == 1 && words(&start.params) != words(&given));
}

#[test]
fn a_run_compares_student_control_and_teacher() {
    let world = taught(2, 60);
    let out = world.path().join("out");
    let own = student(1, teacher());
    let done = run(world.path(), own.clone(), &out).unwrap();
    let found = done.distilled.clone().unwrap();
    assert_eq!(found.layer_map, Some(vec![0]));
    let perplexity = |scored: &crate::pretrain::HeldOut| scored.perplexity.unwrap();
    assert_eq!(found.ratio, perplexity(&done.held_out) / perplexity(&found.teacher));
    let control = found.control.as_ref().unwrap();
    assert_eq!(found.control_ratio.unwrap(), perplexity(control) / perplexity(&found.teacher));
    assert!(found.ratio < 1.5 && found.teacher_parameters > done.parameters, "{found:?}");
    // The teacher's score is that of its own run, and so it was not trained.
    let first: crate::pretrain::Pretrained =
        crate::files::read_json(&world.path().join("teacher/pretrain.json")).unwrap();
    assert_eq!((&found.teacher, found.teacher_parameters), (&first.held_out, first.parameters));

    // The control is the same run by a recipe of its own: start, steps and text.
    let alone = TeacherRecipe { soft_targets: 0.0, hidden_cosine: 0.0, next_token: 1.0, control: false, ..teacher() };
    let again = run(world.path(), student(1, alone), &world.path().join("again")).unwrap();
    assert_eq!(&again.held_out, control);
    let written: crate::pretrain::Pretrained = crate::files::read_json(&out.join("control/pretrain.json")).unwrap();
    assert_eq!((written.identity, written.flops), (again.identity, again.flops));
    assert!(done.flops.electra > again.flops.electra, "the teacher's forward passes cost too");
    let weights = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(weights(&out.join("control")), weights(&world.path().join("again")));
    assert_ne!(weights(&out), weights(&out.join("control")));
    // Nothing is written over the teacher, and nothing in its place.
    let own_place = run(world.path(), own.clone(), &world.path().join("teacher")).unwrap_err();
    assert!(format!("{own_place:#}").contains("would be lost"), "{own_place:#}");
    assert_eq!(
        crate::files::read_json::<crate::pretrain::Pretrained>(&world.path().join("teacher/pretrain.json")).unwrap(),
        first
    );
    // Done is done; another teacher is another model.
    assert_eq!(run(world.path(), own.clone(), &out).unwrap(), done);
    let text = PretrainRecipe { train: TrainOptions { steps: Some(1), ..own.train.clone() }, ..plain() };
    std::fs::remove_dir_all(world.path().join("teacher")).unwrap();
    run(world.path(), text, &world.path().join("teacher")).unwrap();
    assert!(run(world.path(), own, &out).unwrap_err().to_string().contains("another model"));
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let world = taught(2, 1);
    let plain = plain();
    let masked = recipe("bert-base-uncased", "kind = \"mlm\"", "");
    // A teacher of masked tokens, and one whose tokens have other numbers.
    let beside = super::world(false);
    run(
        beside.path(),
        PretrainRecipe { train: TrainOptions { steps: Some(1), ..masked.train.clone() }, ..masked },
        &world.path().join("masked"),
    )
    .unwrap();
    write_tokenizer(&world.path().join("other"), true);
    let file = world.path().join("other/tokenizer.json");
    let quoted = |word: &str| format!("\"{word}\"");
    let [one, two] = [0, 1].map(|index| quoted(WORDS[index]));
    let text = std::fs::read_to_string(&file).unwrap();
    let swapped = text.replace(&one, "*").replace(&two, &one).replace('*', &two);
    assert_ne!(swapped, text);
    std::fs::write(&file, swapped).unwrap();
    let _turn = crate::seeded(8);
    let preset = |change: ModelRecipe| PretrainRecipe { model: change, teacher: Some(teacher()), ..plain.clone() };
    let wide = ModelRecipe { hidden_size: Some(64), ..plain.model.clone() };
    let of = |layers, change: TeacherRecipe| student(layers, change);
    let listed = |map: &[usize]| TeacherRecipe { layer_map: Some(map.to_vec()), ..teacher() };
    for (own, expected) in [
        (
            of(1, TeacherRecipe { model: "masked".to_owned(), ..teacher() }),
            "has a masked-lm head; next tokens are taught by",
        ),
        (PretrainRecipe { tokenizer: Some("other".to_owned()), ..of(1, teacher()) }, "leave `tokenizer` out"),
        (preset(wide), "hidden_size = 32, or set hidden_cosine = 0"),
        (of(3, teacher()), "3 layers are more than the teacher's 2"),
        (of(1, listed(&[0, 1])), "2 entries for a student of 1 layers"),
        (of(1, listed(&[2])), "the teacher has layers 0 to 1"),
        (PretrainRecipe { max_tokens: 33, ..of(1, teacher()) }, "max_tokens 33"),
        (
            PretrainRecipe { max_tokens: 40, ..preset(ModelRecipe { positions: Some(64), ..plain.model.clone() }) },
            "40 is more than the 32 positions of the teacher",
        ),
        (of(1, TeacherRecipe { model: "nowhere".to_owned(), ..teacher() }), "nowhere"),
    ] {
        let error = format!("{:#}", prepared(world.path(), &own).err().expect(expected));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // Without what needs one width, a student of another width learns.
    let own = TeacherRecipe { hidden_cosine: 0.0, ..teacher() };
    let wide = ModelRecipe { hidden_size: Some(64), ..plain.model.clone() };
    let (_, teacher, start) =
        prepared(world.path(), &PretrainRecipe { model: wide, teacher: Some(own), ..plain.clone() }).unwrap();
    let examples = windows();
    let batch = Batch::new(&examples, vec![0, 1, 2], 0, Device::Cpu);
    assert!(number(&learner(&start, &teacher).loss(&examples, &batch).unwrap().total).is_finite());
}
