//! What is refused before anything is trained.

use anyhow::Result;
use serde_json::json;

use super::*;
use crate::check::tests::{replace, with};
use crate::pipeline::{LatencyBudget, fit};
use crate::train::Group;

/// One of two processes, of which the other has nothing to do.
struct OneOfTwo;

impl Group for OneOfTwo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        2
    }

    fn all_reduce_mean(&self, _: &[Tensor]) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _: &[Tensor], _: usize) -> Result<()> {
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }
}

const LATENCY: Option<LatencyBudget> = Some(LatencyBudget { ms: 3.0, threads: 1 });

fn stage(text: &str) -> String {
    let end = "[[stages]]\nname = \"end\"\nlosses = [{ loss = \"soft-targets\" }]\n";
    format!("{RECIPE}[[stages]]\nname = \"s\"\n{text}\n{end}")
}

/// What is said of a recipe, or nothing.
fn said(recipe: &str, change: impl FnOnce(&mut Setting)) -> String {
    let mut setting = Setting::new(recipe);
    change(&mut setting);
    setting.run(fit::check).err().map_or(String::new(), |error| format!("{error:#}"))
}

fn assert_said(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in \"{text}\"");
}

#[test]
fn what_fits_is_not_refused() {
    assert_eq!(said(RECIPE, |_| {}), "");
    assert_eq!(said(&RECIPE.replace("layers = 1", "layers = 1\nhidden_size = 8\nlayer_map = [1]"), |_| {}), "");
    // An encoder without a head begins with a new one.
    assert_eq!(said(RECIPE, |setting| setting.options.student = Some(setting.path("model"))), "");
    assert_eq!(said(RECIPE, |setting| setting.options.latency = LATENCY), "");
    let wide = RECIPE.replace("layers = 1", "layers = 1\nhidden_size = 32\nstart = \"random\"");
    assert_eq!(said(&wide, |_| {}), "", "new weights have any width");
}

#[test]
fn students_that_cannot_start() {
    let student = |change: &str| said(&RECIPE.replace("layers = 1", &format!("layers = 1\n{change}")), |_| {});
    assert_said(&student("layer_map = [0, 1]"), &["student.layer_map: the layer map has 2 entries for a student of 1"]);
    assert_said(&student("layer_map = [2]"), &["student.layer_map", "teacher layer 2; the teacher has layers 0 to 1"]);
    assert_said(&student("hidden_size = 32"), &["student.hidden_size 32 is more than the 16 of", "start = \"random\""]);
    let apart = said(&RECIPE.replace("layers = 1", "layers = 1\nstart = \"teacher\""), |setting| {
        setting.options.student = Some(setting.path("model"));
    });
    assert_said(&apart, &["start = \"teacher\" takes the teacher's layers"]);
}

#[test]
fn teachers_after_the_first_are_looked_at() {
    let second = |recipe: &str, name: &str| {
        said(recipe, |setting| {
            let world = &setting.world;
            world.model("named", &tiny(), Some(&["bad", "good"]), &tokenizer());
            world.model("turned", &tiny(), Some(&["good", "bad"]), &tokenizer());
            world.model("short", &with(tiny(), json!({"max_position_embeddings": 8})), None, &tokenizer());
            world.model("cut", &tiny(), None, &tokenizer());
            let weights = std::fs::read(world.path("cut/model.safetensors")).unwrap();
            std::fs::write(world.path("cut/model.safetensors"), &weights[..weights.len() - 4]).unwrap();
            let first = if recipe == RECIPE { "model" } else { "named" };
            setting.options.teachers = [first, name].map(|name| setting.path(name)).to_vec();
        })
    };
    assert_eq!(second(RECIPE, "turned"), "");
    assert_said(&second(RECIPE, "nowhere"), &["nowhere is not a folder"]);
    assert_said(&second(RECIPE, "short"), &["max_tokens is 12, but", "short has 8 positions"]);
    assert_said(&second(RECIPE, "cut"), &["cut/model.safetensors"]);
    assert_said(&second(&finished(), "turned"), &["turned was not made for this task"]);
    assert_said(&second(&finished(), "model"), &["model was not made for this task"]);
    let weights = RECIPE.replace("[student]", "[teacher]\nweights = [1.0, 2.0]\n[student]");
    assert_said(&said(&weights, |_| {}), &["2 numbers for 1 teachers"]);
}

#[test]
fn students_that_cut_texts_otherwise() {
    let letters = |recipe: &str| {
        said(recipe, |setting| {
            let mut letters = tokenizer();
            letters["pre_tokenizer"] =
                json!({"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false});
            setting.world.model("letters", &tiny(), None, &letters);
            setting.options.student = Some(setting.path("letters"));
        })
    };
    let layers = stage("losses = [{ loss = \"hidden-states\" }]");
    assert_said(&letters(&layers), &["stage s:", "cuts texts into other tokens than the student", "layers"]);
    let answers = format!("{RECIPE}[[stages]]\nname = \"s\"\nlosses = [{{ loss = \"soft-targets\" }}]\n");
    assert_eq!(letters(&answers), "", "answers to whole texts can be learned");
    // Another file that cuts them as the teacher's does.
    let alike = said(&layers, |setting| {
        setting.world.model("alike", &tiny(), None, &tokenizer());
        replace(
            &setting.path("alike"),
            "tokenizer.json",
            "\"max_input_chars_per_word\":100",
            "\"max_input_chars_per_word\":99",
        );
        setting.options.student = Some(setting.path("alike"));
    });
    assert_eq!(alike, "");
}

#[test]
fn corpora_of_which_nothing_is_left() {
    let corpus = |least: usize| {
        let filter = format!("corpus = [\"corpus.txt\"]\ncorpus_filter = {{ min_tokens = {least} }}\n[student]");
        let recipe = stage("on = \"corpus\"\nlosses = [{ loss = \"hidden-states\" }]").replace("[student]", &filter);
        let setting = Setting::new(RECIPE);
        let lines: String = (0..200).map(|line| format!("the film was good {}\n", "so ".repeat(line))).collect();
        setting.world.write("corpus.txt", &lines);
        let setting = Setting { recipe: read(&setting.world, &recipe), ..setting };
        setting.run(fit::check).err().map_or(String::new(), |error| format!("{error:#}"))
    };
    assert_eq!(corpus(4), "");
    assert_said(&corpus(99), &["too little of the corpus is left", "of fewer than 99 tokens"]);
}

#[test]
fn searches_for_a_latency() {
    let heads = stage("losses = [{ loss = \"attention-scores\" }]");
    let heads = heads.replace("layers = 1", "layers = 1\nattention_heads = 4");
    let text = said(&heads, |setting| setting.options.latency = LATENCY);
    assert_said(&text, &["no smaller student fits", "compares head with head"]);
    let mut setting = Setting::new(RECIPE);
    setting.options.latency = LATENCY;
    let error = setting.run(|run| fit::check(&Run { group: &OneOfTwo, ..*run })).unwrap_err();
    assert_said(&error.to_string(), &["runs in one process"]);
}

#[test]
fn augmented_rows_need_a_masked_language_model() {
    let augment = stage("on = \"augmented\"\nlosses = [{ loss = \"soft-targets\" }]") + "[augment]\ncopies = 2\n";
    assert_said(&said(&augment, |_| {}), &["give --masked-lm FOLDER"]);
}
