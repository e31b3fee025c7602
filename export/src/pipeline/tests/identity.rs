//! What was made before is taken only where all that decides it is the same.

use super::*;
use crate::check::tests::replace;
use crate::pipeline::variant::Variant;
use crate::recipe::{TeacherState, Texts};
use crate::train::Precision;

fn make(setting: &Setting) -> Teacher {
    setting.run(|run| Teacher::make(run, &setting.path("model"), 0).unwrap())
}

#[test]
fn a_teacher_of_another_tokenizer_or_configuration_is_another() {
    let setting = Setting::new(&quick(RECIPE));
    let identity = |setting: &Setting| {
        let folder = setting.path("model");
        setting.run(|run| Teacher::untrained(run, &folder).unwrap().identity)
    };
    make(&setting);
    make(&setting);
    assert_eq!(done_before(&setting), 1);
    let first = identity(&setting);
    let words = "\"max_input_chars_per_word\":";
    replace(&setting.path("model"), "tokenizer.json", &format!("{words}100"), &format!("{words}99"));
    make(&setting);
    assert_eq!(done_before(&setting), 1, "the tokenizer was mended");
    let second = identity(&setting);
    replace(&setting.path("model"), "config.json", "1e-12", "1e-5");
    make(&setting);
    assert_eq!(done_before(&setting), 1, "the configuration was mended");
    let third = identity(&setting);
    assert!(first != second && second != third && first != third);
}

#[test]
fn a_student_of_rows_that_were_augmented_otherwise_is_another() {
    let stages =
        "[[stages]]\nname = \"s\"\non = \"augmented\"\nlosses = [{ loss = \"labels\" }]\n[augment]\ncopies = 2\n";
    let setting = Setting::new(&(quick(RECIPE) + stages));
    let folder = setting.path("model");
    let (data, mut sets) = setting.prepare();
    sets.augmented = Some(data.split.train.clone());
    let mut done = Vec::new();
    for augmentation in ["by one model", "by one model", "by another"] {
        sets.augmentation = Some(augmentation.to_owned());
        setting.run_on(&data, &sets, |run| {
            assert_eq!(run.recipe.stages[0].on, Texts::Augmented);
            untrained(run, &folder, |origin| {
                origin.train(&Variant::student(run.recipe), &[], 7).unwrap();
            });
        });
        done.push(done_before(&setting));
    }
    assert_eq!(done, [0, 1, 1]);
}

/// Texts without labels decide along which directions a narrower student starts, and so the control that reads none of them.
#[test]
fn a_narrower_control_of_other_texts_without_labels_is_another() {
    let recipe = |width: &str| {
        let stages = "[[stages]]\nname = \"s\"\non = \"unlabelled\"\nlosses = [{ loss = \"soft-targets\" }]\n";
        let data = RECIPE.replace("[student]\n", &format!("unlabelled = [\"more.txt\"]\n[student]\n{width}"));
        quick(&data) + stages
    };
    for (width, expected) in [("hidden_size = 8\n", [0, 1, 1]), ("", [0, 1, 2])] {
        let mut setting = Setting::new(RECIPE);
        setting.world.write("more.txt", "good dog\nbad cat\n");
        setting.recipe = read(&setting.world, &recipe(width));
        let folder = setting.path("model");
        let (data, mut sets) = setting.prepare();
        let mut done = Vec::new();
        for texts in ["some", "some", "others"] {
            sets.unlabelled.as_mut().unwrap().sha256 = texts.to_owned();
            setting.run_on(&data, &sets, |run| {
                untrained(run, &folder, |origin| {
                    origin.train(&Variant::control(run.recipe), &[], 7).unwrap();
                });
            });
            done.push(done_before(&setting));
        }
        assert_eq!(done, expected, "{width}");
    }
}

/// As a teacher is that was trained again with another number of threads: by the same settings, to other weights.
#[test]
fn outputs_and_students_are_of_the_weights_that_a_teacher_has() {
    let setting = Setting::new(&quick(RECIPE));
    let states = [TeacherState::Task, TeacherState::Pretrained];
    let of = |teacher: Teacher| (teacher.identity.clone(), states.map(|state| teacher.sha256(state)));
    let (first, again) = (of(make(&setting)), of(make(&setting)));
    assert_eq!(first, again);
    let weights = setting.path("out/teacher/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&0.25f32.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    let (identity, [task, pretrained]) = of(make(&setting));
    assert_eq!(done_before(&setting), 2);
    assert!(identity != first.0 && task != first.1[0]);
    assert_eq!(pretrained, first.1[1], "what the encoder gave before stays");
}

#[test]
fn what_a_teacher_answers_in_is_part_of_what_is_learned_of_it_alone() {
    let setting = Setting::new(&quick(RECIPE));
    let full = make(&setting);
    let half = Teacher { precision: Precision::Bf16, ..make(&setting) };
    assert_eq!(done_before(&setting), 1);
    assert_eq!(full.identity, half.identity, "what a student starts from is the same");
    assert_ne!(full.taught_identity(), half.taught_identity());
    for state in [TeacherState::Task, TeacherState::Pretrained] {
        assert_ne!(full.sha256(state), half.sha256(state));
    }
}
