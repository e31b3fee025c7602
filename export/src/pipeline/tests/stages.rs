//! Stages that compare layers.

use super::*;
use crate::arch::Model;
use crate::data::Batch;
use crate::objective::Pupil;
use crate::pipeline::lesson::{Lesson, Needs};
use crate::pipeline::lessons::{Lessons, Set, Source};
use crate::pipeline::student::Variant;

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
        for (source, most) in [(Source::EachStep, 0.0), (Source::Cache, 1e-5)] {
            let lessons =
                Lessons::learn(run, &teachers, stage.on, stage.from, needs.teacher().unwrap(), &tokens, source)
                    .unwrap();
            let (lessons, params) = (Some(&lessons), &teacher.params);
            let lesson = Lesson { pupil: &pupil, stage, needs: &needs, lessons, masked: None, params };
            let loss = lesson.loss(&batch, Set::Train, 0.5, false).unwrap().total.double_value(&[]);
            assert!((0.0..=most).contains(&loss), "{source:?}: {loss}");
        }
    });
}
