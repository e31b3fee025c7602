//! Ways to train a student: the recipe's, its control's, and the recipe's without one of its parts.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::run::on_labels;
use crate::recipe::{LossTerm, Recipe, StageRecipe, Start};

/// Which parts of a recipe a run leaves out in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ablate {
    /// None.
    #[default]
    Nothing,
    /// Each of them.
    Each,
    /// Those that a report names so: `without layers`, `from new weights`.
    Only(Vec<String>),
}

/// One way to train a student: the recipe's, its control's, or an ablation's.
pub(super) struct Variant {
    /// Folder below the run's, before the seed: `student`, `control`, `ablation/without-labels`.
    pub folder: String,
    pub stages: Vec<StageRecipe>,
    pub start: Start,
}

impl Variant {
    pub(super) fn student(recipe: &Recipe) -> Self {
        Self { folder: "student".to_owned(), stages: recipe.stages.clone(), start: recipe.student.start }
    }

    /// The same student, start and training, on the labels alone.
    pub(super) fn control(recipe: &Recipe) -> Self {
        Self { folder: "control".to_owned(), stages: on_labels(&recipe.student.train), start: recipe.student.start }
    }

    /// The recipe with each loss left out in turn, without all losses on mapped layers where others stand beside them
    /// (TinyBERT's "w/o Trm": Jiao 2020, table 3), without each stage before the last, without losses of several stages, and all
    /// losses on mapped layers, in any of them, and from new weights.
    pub(super) fn ablations(recipe: &Recipe) -> Vec<(String, Self)> {
        let mut variants = Vec::new();
        let mut add = |name: String, folder: String, stages: Vec<StageRecipe>, start| {
            variants.push((name, Self { folder: format!("ablation/{folder}"), stages, start }));
        };
        // The stages without some losses of theirs; a stage that had no others is gone.
        let without = |lost: &dyn Fn(usize, &LossTerm) -> bool| {
            let mut stages = recipe.stages.clone();
            for (index, stage) in stages.iter_mut().enumerate() {
                stage.losses.retain(|term| !lost(index, term));
            }
            let trains_head = stages.last().is_some_and(StageRecipe::trains_head);
            stages.retain(|stage| !stage.losses.is_empty());
            trains_head.then_some(stages)
        };
        let start = recipe.student.start;
        let several = recipe.stages.len() > 1;
        for (index, stage) in recipe.stages.iter().enumerate() {
            let of = |part: &str| {
                if several { format!("without {}, {part}", stage.name) } else { format!("without {part}") }
            };
            let folder = |part: &str| format!("without-{}-{part}", stage.name);
            for term in stage.losses.iter().filter(|_| stage.losses.len() > 1) {
                let name = term.name();
                if let Some(stages) = without(&|at, other| at == index && other.name() == name) {
                    add(of(name), folder(name), stages, start);
                }
            }
            let of_layers = stage.losses.iter().filter(|term| term.reads_map()).count();
            if of_layers > 1
                && of_layers < stage.losses.len()
                && let Some(stages) = without(&|at, term| at == index && term.reads_map())
            {
                add(of("layers"), folder("layers"), stages, start);
            }
            if index + 1 < recipe.stages.len() {
                let mut stages = recipe.stages.clone();
                stages.remove(index);
                add(format!("without the stage {}", stage.name), format!("without-{}", stage.name), stages, start);
            }
        }
        let in_several = |lost: &dyn Fn(&LossTerm) -> bool| {
            recipe.stages.iter().filter(|stage| stage.losses.iter().any(lost)).count() > 1
        };
        let all = || recipe.stages.iter().flat_map(|stage| &stage.losses);
        for name in all().map(LossTerm::name).collect::<BTreeSet<_>>() {
            if in_several(&|term| term.name() == name)
                && let Some(stages) = without(&|_, term| term.name() == name)
            {
                add(format!("without {name}"), format!("without-any-{name}"), stages, start);
            }
        }
        let of_layers: BTreeSet<_> = all().filter(|term| term.reads_map()).map(LossTerm::name).collect();
        if of_layers.len() > 1
            && in_several(&LossTerm::reads_map)
            && let Some(stages) = without(&|_, term| term.reads_map())
        {
            add("without layers".to_owned(), "without-any-layers".to_owned(), stages, start);
        }
        if start != Start::Random {
            add("from new weights".to_owned(), "random-start".to_owned(), recipe.stages.clone(), Start::Random);
        }
        apart(&mut variants, &recipe.seeds);
        variants
    }

    /// Those of [`Self::ablations`] that are asked for, in the order of the recipe.
    ///
    /// # Errors
    /// A name that is none of this recipe's.
    pub(super) fn asked(recipe: &Recipe, ablate: &Ablate) -> Result<Vec<(String, Self)>> {
        let asked = match ablate {
            Ablate::Nothing => return Ok(Vec::new()),
            Ablate::Each => return Ok(Self::ablations(recipe)),
            Ablate::Only(asked) => asked,
        };
        let mut all = Self::ablations(recipe);
        let is = |name: &str, wanted: &str| name == wanted || name.strip_prefix("without ") == Some(wanted);
        for wanted in asked {
            ensure!(
                all.iter().any(|(name, _)| is(name, wanted)),
                "--ablate={wanted}: this recipe has no such part; it can be trained {}",
                all.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
            );
        }
        all.retain(|(name, _)| asked.iter().any(|wanted| is(name, wanted)));
        Ok(all)
    }

    /// Its folder for one of the seeds, below the run's.
    pub(super) fn folder_of(folder: &str, seed: u64, seeds: &[u64]) -> String {
        if seeds.first() == Some(&seed) { folder.to_owned() } else { format!("{folder}-seed-{seed}") }
    }
}

/// Numbers the folder of a variant that for some seed is another's: without the loss `labels` of a stage `a` and without a
/// stage `a-labels` are both `without-a-labels`. No stage's name has the dot.
fn apart(variants: &mut [(String, Variant)], seeds: &[u64]) {
    let mut taken = BTreeSet::new();
    let of_seeds =
        |folder: &str| -> Vec<String> { seeds.iter().map(|&seed| Variant::folder_of(folder, seed, seeds)).collect() };
    for (_, variant) in variants {
        let (name, mut number) = (variant.folder.clone(), 2);
        while of_seeds(&variant.folder).iter().any(|folder| taken.contains(folder)) {
            variant.folder = format!("{name}.{number}");
            number += 1;
        }
        taken.extend(of_seeds(&variant.folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(head: &str, stages: &str) -> Recipe {
        let reads_corpus = head.contains("general") || stages.contains("corpus");
        let corpus = if reads_corpus { "corpus = [\"a.txt\"]" } else { "" };
        let data = format!("[data]\nfiles = [\"a.csv\"]\n{corpus}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, format!("id = \"a\"\n{head}\n{data}\n[student]\nlayers = 2\n{stages}")).unwrap();
        Recipe::read(&path).unwrap()
    }

    fn ablations(head: &str, stages: &str) -> Vec<(String, Variant)> {
        Variant::ablations(&recipe(head, stages))
    }

    #[test]
    fn no_two_variants_share_a_folder() {
        let stage = |name: &str| {
            format!(
                "[[stages]]\nname = \"{name}\"\nlosses = [{{ loss = \"labels\" }}, {{ loss = \"soft-targets\" }}]\n"
            )
        };
        let stages: String = ["a", "a-labels", "a-seed-6", "end"].map(stage).concat();
        let variants = ablations("seeds = [5, 6]", &stages);
        let mut folders: Vec<String> = variants
            .iter()
            .flat_map(|(_, variant)| [5, 6].map(|seed| Variant::folder_of(&variant.folder, seed, &[5, 6])))
            .collect();
        let all = folders.len();
        folders.sort();
        folders.dedup();
        assert_eq!((folders.len(), all), (28, 28), "{folders:#?}");
        let of = |name: &str| &variants.iter().find(|(other, _)| other == name).unwrap().1.folder;
        assert_eq!(of("without a, labels"), "ablation/without-a-labels");
        assert_eq!(of("without the stage a-labels"), "ablation/without-a-labels.2");
        assert_eq!(of("without the stage a"), "ablation/without-a");
        assert_eq!(of("without the stage a-seed-6"), "ablation/without-a-seed-6.2");
    }

    #[test]
    fn parts_that_are_named() {
        let recipe = recipe("method = \"tinybert\"", "");
        let asked = |names: &[&str]| {
            let only = Ablate::Only(names.iter().map(|&name| name.to_owned()).collect());
            Variant::asked(&recipe, &only).map(|all| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        let found = asked(&["from new weights", "intermediate, layers"]).unwrap();
        assert_eq!(found, ["without intermediate, layers", "from new weights"]);
        assert_eq!(asked(&["without intermediate, layers"]).unwrap(), ["without intermediate, layers"]);
        let refused = asked(&["layers"]).unwrap_err().to_string();
        assert!(refused.starts_with("--ablate=layers: this recipe has no such part"), "{refused}");
        assert!(refused.ends_with("\"without the stage intermediate\", \"from new weights\""), "{refused}");
        assert_eq!(Variant::asked(&recipe, &Ablate::Each).unwrap().len(), 6);
        assert_eq!(Variant::asked(&recipe, &Ablate::Nothing).unwrap().len(), 0);
    }

    #[test]
    fn losses_of_several_stages_are_left_out_of_all_too() {
        let stages = |name: &str| -> Vec<(String, Vec<&str>)> {
            let variants = ablations("method = \"xtremedistil\"", "");
            let (_, variant) = variants.into_iter().find(|(other, _)| other == name).unwrap();
            let named = |stage: &StageRecipe| (stage.name.clone(), stage.losses.iter().map(LossTerm::name).collect());
            variant.stages.iter().map(named).collect()
        };
        let first = ("representation".to_owned(), vec!["hidden-states", "embeddings"]);
        // The stage that had nothing else is gone with it.
        assert_eq!(stages("without soft-targets"), [first.clone(), ("prediction".to_owned(), vec!["labels"])]);
        assert_eq!(stages("without prediction, soft-targets").len(), 3);
        assert_eq!(stages("without prediction, labels")[0], first);
    }

    #[test]
    fn tinybert_without_its_parts() {
        let variants = ablations("method = \"tinybert\"", "");
        let losses = |name: &str| -> Vec<Vec<&str>> {
            let (_, variant) = variants.iter().find(|(other, _)| other == name).unwrap();
            variant.stages.iter().map(|stage| stage.losses.iter().map(LossTerm::name).collect()).collect()
        };
        let names: Vec<&str> = variants.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "without intermediate, attention-scores",
                "without intermediate, hidden-states",
                "without intermediate, embeddings",
                "without intermediate, layers",
                "without the stage intermediate",
                "from new weights"
            ]
        );
        assert_eq!(losses("without intermediate, layers")[0], ["embeddings"]);
        assert_eq!(losses("without the stage intermediate").len(), 1);

        // With the general stage before it, as in the paper, layers are left out of both.
        let variants = ablations("method = \"tinybert-general\"", "");
        let (_, variant) = variants.iter().find(|(other, _)| other == "without layers").unwrap();
        let left: Vec<Vec<&str>> =
            variant.stages.iter().map(|stage| stage.losses.iter().map(LossTerm::name).collect()).collect();
        assert_eq!(left, [vec!["embeddings"], vec!["embeddings"], vec!["soft-cross-entropy"]]);
    }
}
