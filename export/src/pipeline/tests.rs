//! Parts of a run in a tiny world.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tch::{Device, Tensor};

use super::data::{TextSets, prepare};
use super::run::{Run, Trained};
use super::student::{Ancestor, Origin};
use super::teacher::Teacher;
use super::{Ablate, DistillOptions, PreparedData};
use crate::check::tests::{RECIPE, World, clean, tiny, tokenizer};
use crate::progress::{Output, Reporter};
use crate::recipe::{Recipe, Start};
use crate::train::Alone;

mod fit;
mod identity;
mod stages;

/// A world with a recipe, and what distill is told besides.
struct Setting {
    world: World,
    recipe: Recipe,
    options: DistillOptions,
}

impl Setting {
    /// With the folder `model` as teacher.
    fn new(recipe: &str) -> Self {
        let world = World::new();
        clean(&world);
        let (data, out) = (world.path(""), world.path("out"));
        let options = DistillOptions {
            teachers: vec![world.path("model")],
            student: None,
            data,
            cache: out.join("cache"),
            out,
            masked_lm: None,
            device: Device::Cpu,
            runtime: None,
            checkpoint_every: Duration::MAX,
            ablate: Ablate::Nothing,
            trims: Vec::new(),
            latency: None,
            only_seeds: Vec::new(),
            commit: None,
        };
        let recipe = read(&world, recipe);
        Self { world, recipe, options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    fn prepare(&self) -> (PreparedData, TextSets) {
        let data = prepare(&self.recipe, &self.options.data).unwrap();
        let sets = TextSets::read(&self.recipe, &data, &self.options.data).unwrap();
        (data, sets)
    }

    /// Does a part of a run; nobody else draws random numbers meanwhile.
    fn run<T>(&self, work: impl FnOnce(&Run) -> T) -> T {
        let (data, sets) = self.prepare();
        self.run_on(&data, &sets, work)
    }

    fn run_on<T>(&self, data: &PreparedData, sets: &TextSets, work: impl FnOnce(&Run) -> T) -> T {
        let _turn = crate::seeded(3);
        let reporter = Reporter::new(Output::Silent);
        std::fs::create_dir_all(&self.options.out).unwrap();
        reporter.log_to(&self.options.out.join("train.log")).unwrap();
        let (recipe, options) = (&self.recipe, &self.options);
        work(&Run { recipe, options, data, sets, reporter: &reporter, group: &Alone })
    }
}

/// Trainings that were found done.
fn done_before(setting: &Setting) -> usize {
    let log = std::fs::read_to_string(setting.options.out.join("train.log")).unwrap_or_default();
    log.matches("done before").count()
}

/// The recipe with trainings that are short and enough for this task.
fn quick(recipe: &str) -> String {
    let train = "epochs = 8\nbatch_size = 16\nlearning_rate = 1e-2\n";
    recipe.replace("[student]", &format!("[teacher.train]\n{train}[student]")) + &format!("[student.train]\n{train}")
}

fn read(world: &World, recipe: &str) -> Recipe {
    world.write("recipe.toml", recipe);
    Recipe::read(&world.path("recipe.toml")).unwrap()
}

fn finished() -> String {
    RECIPE.replace("[student]", "[teacher]\nsource = \"finished\"\n[student]")
}

/// An encoder that a student is made from, and that is no teacher.
fn untrained<'a>(run: &Run<'a>, folder: &'a Path, work: impl FnOnce(&Origin)) {
    let own = Teacher::untrained(run, folder).unwrap();
    work(&Origin::new(*run, Ancestor { model: &own, folder, is_teacher: false }).unwrap());
}

#[test]
fn a_new_head_is_another_for_each_seed() {
    for recipe in [finished(), RECIPE.to_owned()] {
        let mut setting = Setting::new(&recipe);
        setting.world.model("named", &tiny(), Some(&["bad", "good"]), &tokenizer());
        let encoder = setting.path("model");
        setting.options.teachers = vec![setting.path("named")];
        setting.options.student = Some(encoder.clone());
        setting.run(|run| {
            untrained(run, &encoder, |origin| {
                let first = |name: &str, seed| -> Tensor {
                    origin.first_weights(Start::Pretrained, seed).unwrap().get(name).unwrap().copy()
                };
                let (head, layer) = ("head.output.weight", "encoder.attention.0.query.weight");
                assert_ne!(first(head, 1), first(head, 2));
                assert_eq!(first(head, 1), first(head, 1));
                assert_eq!(first(layer, 1), first(layer, 2));
            });
        });
    }
}

/// Where nearly all rows have one label, a right teacher cannot be two points better than that label.
#[test]
fn a_teacher_must_beat_chance_by_what_can_be_gained() {
    use super::above_chance;
    use crate::data::Goal;
    let passes = |score, chance| above_chance("teacher", Goal::Class, "dev", score, chance).is_ok();
    assert!(passes(0.52, 0.5) && !passes(0.515, 0.5));
    assert!(passes(1.0, 0.985) && passes(0.99, 0.985) && !passes(0.986, 0.985) && !passes(1.0, 1.0));
}
