//! Stages that compare layers.

use serde_json::{Value, json};

use super::*;
use crate::arch::Model;
use crate::data::Batch;
use crate::distill::LayerMap;
use crate::objective::Pupil;
use crate::pipeline::lesson::Lesson;
use crate::pipeline::lessons::{Lessons, Set, Source};
use crate::pipeline::needs::Needs;
use crate::pipeline::variant::Variant;
use crate::train::Precision;

/// Trains the student of a recipe, of a teacher that is trained first.
fn train(setting: &Setting, seed: u64) -> Trained {
    setting.run(|run| {
        let folder = setting.path("model");
        let teachers = [Teacher::make(run, &folder, 0).unwrap()];
        let ancestor = Ancestor { model: &teachers[0], folder: &folder, is_teacher: true };
        Origin::new(*run, ancestor).unwrap().train(&Variant::student(run.recipe), &teachers, seed).unwrap()
    })
}

fn stages(first: &str) -> String {
    let end = "[[stages]]\nname = \"end\"\nlosses = [{ loss = \"soft-targets\" }]\n";
    format!("{}[[stages]]\nname = \"layers\"\n{first}\n{end}", quick(RECIPE))
}

#[test]
fn epochs_are_chosen_by_losses_that_fade_away() {
    let fading = "losses = [{ loss = \"hidden-states\", weight = { from = 1.0, to = 0.0 } }]";
    let trained = train(&Setting::new(&stages(fading)), 7);
    let (name, outcome) = &trained.stages[0];
    assert_eq!(name, "layers");
    assert!(outcome.history.iter().all(|epoch| epoch.dev < 0.0), "{outcome:?}");
    assert!(outcome.best_epoch > 1 && outcome.best_dev > outcome.history[0].dev, "{outcome:?}");
}

/// The loss of a student that is its teacher, in a batch of two lengths, with outputs from disk and without.
#[test]
fn padding_that_counts_is_the_same_on_both_sides() {
    let losses = ["hidden-states", "embeddings", "attention-scores"]
        .map(|loss| format!("{{ loss = \"{loss}\", padding = \"counted\" }}"));
    let recipe = stages(&format!("losses = [{}]", losses.join(", "))).replace("layers = 1", "layers = 2");
    let setting = Setting::new(&recipe);
    setting.run(|run| {
        let teachers = [Teacher::untrained(run, &setting.path("model")).unwrap()];
        let teacher = &teachers[0];
        let stage = &run.recipe.stages[0];
        let needs = Needs::of(stage, &teacher.config, Some(&teacher.config)).unwrap();
        let tokens = run.encode(stage.on, &teacher.encoder).unwrap();
        let shorter = (1..).find(|&row| tokens.train[row].ids.len() < tokens.train[0].ids.len()).unwrap();
        let batch = Batch::new(&tokens.train, vec![0, shorter], teacher.config.pad_id, Device::Cpu);
        let model = Model::new(&teacher.params, &teacher.config, teacher.info.head);
        let pupil = Pupil { model: &model, goal: run.data.goal, labels: &run.data.labels, types: teacher.types() };
        // Half precision is what remains of the kept ones.
        for (source, most) in [(Source::EachStep, 1e-12), (Source::Cache, 1e-5)] {
            let own = (&tokens, &teacher.encoder);
            let lessons =
                Lessons::learn(run, &teachers, stage.on, stage.from, needs.teacher().unwrap(), own, source).unwrap();
            let (lessons, params) = (Some(&lessons), &teacher.params);
            let lesson = Lesson { pupil: &pupil, stage, needs: &needs, lessons, masked: None, replacing: None, params };
            let loss = lesson.loss(&batch, Set::Train, 0.5, false).unwrap().total.double_value(&[]);
            assert!((0.0..=most).contains(&loss), "{source:?}: {loss}");
        }
    });
}

#[test]
fn a_teacher_may_answer_in_bf16() {
    let setting = Setting::new(&stages("losses = [{ loss = \"hidden-states\" }]").replace("layers = 1", "layers = 2"));
    setting.run(|run| {
        let stage = &run.recipe.stages[0];
        let last_layer = |precision, source| {
            let teachers = [Teacher { precision, ..Teacher::untrained(run, &setting.path("model")).unwrap() }];
            let Teacher { config, encoder, .. } = &teachers[0];
            let needs = Needs::of(stage, config, Some(config)).unwrap();
            let tokens = run.encode(stage.on, encoder).unwrap();
            let own = (&tokens, encoder);
            let lessons =
                Lessons::learn(run, &teachers, stage.on, stage.from, needs.teacher().unwrap(), own, source).unwrap();
            let field = "hidden.2".to_owned();
            let mut found = lessons.batch(Set::Train, &[0, 1], 0, std::slice::from_ref(&field), Device::Cpu).unwrap();
            found.remove(&field).unwrap()
        };
        let apart = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
        let [full, half] = [Precision::Fp32, Precision::Bf16].map(|precision| last_layer(precision, Source::EachStep));
        let difference = apart(&full, &half);
        assert!(half.kind() == tch::Kind::Float && difference > 0.0 && difference < 0.2, "{difference}");
        // Kept apart: train and dev of each.
        for (precision, live, caches) in [(Precision::Fp32, full, 2), (Precision::Bf16, half, 4)] {
            assert!(apart(&last_layer(precision, Source::Cache), &live) < 2e-3);
            assert_eq!(std::fs::read_dir(&run.options.cache).unwrap().count(), caches);
        }
    });
}

#[test]
fn a_map_is_searched_once_and_kept() {
    let recipe = |steps: usize| {
        let train = |steps| format!("train = {{ steps = {steps}, batch_size = 16, learning_rate = 1e-2 }}");
        let before = format!("losses = [{{ loss = \"labels\" }}]\n{}", train(steps));
        let layers = format!("layer_map = \"search\"\nlosses = [{{ loss = \"hidden-states\" }}]\n{}", train(3));
        stages(&layers).replace(
            "[[stages]]\nname = \"layers\"",
            &format!("[[stages]]\nname = \"before\"\n{before}\n[[stages]]\nname = \"layers\""),
        )
    };
    let mut setting = Setting::new(&recipe(1));
    let kept = setting.path("out/student/stages/layers");
    let read_json = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let found = train(&setting, 7).layer_maps["layers"].clone();
    let marker = read_json(&kept.join("stage.json"));
    assert_eq!(marker["layer_maps"]["layers"], found.to_string());
    let other = [LayerMap::Uniform, LayerMap::First].into_iter().find(|map| *map != found).unwrap();
    let trial = kept.join(format!("search/{other}/stage.json"));
    let mut tried = read_json(&trial);
    // An epoch of 160 rows, also of a stage that is shorter.
    assert_eq!((&tried["stages"][0][1]["steps"], &tried["stages"][1][1]["steps"]), (&json!(10), &json!(10)), "{tried}");

    // A run that was stopped in the stage goes by the trials that it finds.
    tried["stages"][1][1]["best_dev"] = json!(2.0);
    std::fs::write(&trial, tried.to_string()).unwrap();
    for marker in [kept.join("stage.json"), setting.path("out/student/stage.json")] {
        std::fs::remove_file(marker).unwrap();
    }
    assert_eq!(train(&setting, 7).layer_maps["layers"], other);
    assert_eq!(train(&setting, 7).layer_maps["layers"], other, "of a student that is done");

    // After another stage before they are no longer right.
    setting.recipe = read(&setting.world, &recipe(2));
    train(&setting, 7);
    assert_ne!(read_json(&trial)["identity"], tried["identity"]);
}
