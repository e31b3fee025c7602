//! Stages that compare layers.

use super::*;
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
