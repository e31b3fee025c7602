//! What the language models of `examples/recipes` reached: `pretrain/results.json` and `few-shot/results.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::recipes::percent;

/// What `examples/recipes/few-shot/run.py` writes.
#[derive(Deserialize)]
pub(super) struct FewShot {
    date: String,
    steps: u64,
    parameters: u64,
    tokens_seen: u64,
    held_out: HeldOut,
    /// By bundle.
    shots: BTreeMap<String, Shots>,
}

/// What `examples/recipes/pretrain/run.py` writes.
#[derive(Deserialize)]
pub(super) struct Pretraining {
    date: String,
    recipes: BTreeMap<String, Recipe>,
    /// Shares of right answers, by recipe and what was asked.
    trained_on_by_scored_on: BTreeMap<String, BTreeMap<String, f64>>,
    /// What fine-tuned models score, by recipe and data set.
    #[serde(default)]
    downstream: BTreeMap<String, BTreeMap<String, Downstream>>,
    /// What a bundle finds of spoiled words, by how they were spoiled.
    #[serde(default)]
    replaced: BTreeMap<String, Found>,
}

/// How well spoiled words are told from others, as `replaced.py` measures it.
#[derive(Deserialize)]
struct Found {
    texts: u64,
    area: f64,
    recall: f64,
    precision: Option<f64>,
    precision_of_guessing: f64,
}

/// Test scores of one model, fine-tuned on one data set with several seeds.
#[derive(Deserialize)]
struct Downstream {
    measure: String,
    scores: Vec<f64>,
    mean: f64,
    deviation: Option<f64>,
}

#[derive(Deserialize)]
struct Recipe {
    parameters: u64,
    /// Width of the token table, where it may be another than the layers'.
    #[serde(default)]
    embedding_size: Option<u64>,
    tokens_seen: u64,
    steps: u64,
    #[serde(default)]
    flops: Flops,
    /// The recipe whose weights it starts from.
    #[serde(default)]
    start: Option<String>,
    held_out: HeldOut,
    #[serde(default)]
    distilled: Option<Distilled>,
}

/// Arithmetic of a run.
#[derive(Default, Deserialize)]
struct Flops {
    /// By ELECTRA's counter.
    electra: f64,
    /// Of the layers' products alone.
    #[serde(default)]
    layers: f64,
}

/// A student's teacher and control.
#[derive(Deserialize)]
struct Distilled {
    teacher: HeldOut,
    teacher_parameters: u64,
    ratio: f64,
    control: Option<HeldOut>,
    control_ratio: Option<f64>,
}

#[derive(Deserialize)]
struct HeldOut {
    loss: f64,
    #[serde(default)]
    masked_accuracy: Option<f64>,
    #[serde(default)]
    hidden_accuracy: Option<f64>,
    #[serde(default)]
    frequency_accuracy: Option<f64>,
    #[serde(default)]
    perplexity: Option<f64>,
    #[serde(default)]
    bits_per_byte: Option<f64>,
}

#[derive(Deserialize)]
struct Shots {
    tasks: BTreeMap<String, Vec<Shot>>,
    all: Vec<Shot>,
}

#[derive(Deserialize)]
struct Shot {
    shots: u64,
    prompts: u64,
    accuracy: f64,
    low: f64,
    high: f64,
    examples_dropped: u64,
}

fn percent_or_dash(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), percent)
}

/// A row a task, a column a number of examples, for the fp32 bundle; all tasks together for each bundle.
pub(super) fn few_shot_table(results: &FewShot) -> String {
    let Some(own) = results.shots.get("fp32") else { return "no results".to_owned() };
    let mut text = "| task | prompts |".to_owned();
    own.all.iter().for_each(|shot| text += &format!(" {} |", shot.shots));
    text += &format!("\n|---|---|{}\n", "---|".repeat(own.all.len()));
    let row = |name: &str, shots: &[Shot], intervals: bool| {
        let cells: Vec<String> = shots
            .iter()
            .map(|shot| match intervals {
                true => format!("{} ({} to {})", percent(shot.accuracy), percent(shot.low), percent(shot.high)),
                false => percent(shot.accuracy),
            })
            .collect();
        format!("| {name} | {} | {} |\n", shots.first().map_or(0, |shot| shot.prompts), cells.join(" | "))
    };
    for (name, shots) in &own.tasks {
        text += &row(name, shots, false);
    }
    for (name, bundle) in &results.shots {
        text += &row(&format!("**all, {name}**"), &bundle.all, true);
    }
    let dropped: u64 = own.all.iter().map(|shot| shot.examples_dropped).sum();
    if dropped > 0 {
        text += &format!("\n{dropped} examples did not fit into the context, over all prompts.\n");
    }
    text + &format!(
        "\nPrompts completed right, in percent, by the number of examples before them (in brackets Wilson's 95% interval). {:.2} M \
         parameters, {} steps, {:.1} M tokens, perplexity {:.2} on held-out documents. {}.\n",
        results.parameters as f64 / 1e6,
        results.steps,
        results.tokens_seen as f64 / 1e6,
        results.held_out.perplexity.unwrap_or(f64::NAN),
        results.date
    )
}

/// A row for each of what was learned of pairs, a column for each thing asked (Lan 2020, table 5).
pub(super) fn sentence_table(results: &Pretraining) -> String {
    let mut text = "| learned of pairs | masked tokens | next sentence | sentence order | steps | tokens |\n|---|---|---|---|---|---|\n".to_owned();
    for (name, scores) in &results.trained_on_by_scored_on {
        let Some(recipe) = results.recipes.get(name) else { continue };
        let score = |task: &str| percent_or_dash(scores.get(task).copied());
        text += &format!(
            "| {} | {} | {} | {} | {} | {:.1} M |\n",
            name.trim_start_matches("sentence-"),
            score("mlm"),
            score("nsp"),
            score("sop"),
            recipe.steps,
            recipe.tokens_seen as f64 / 1e6
        );
    }
    text + &format!("\nRight answers on held-out text, in percent; of pairs half are of each kind. {}.\n", results.date)
}

/// A row for each of what layers share and each width E of the token table (Lan 2020, table 4).
pub(super) fn sharing_table(results: &Pretraining) -> String {
    let mut text = "| shared | E | parameters | masked tokens | hidden ones | loss | steps | tokens |\n|---|---|---|---|---|---|---|---|\n".to_owned();
    for (name, recipe) in &results.recipes {
        let Some(name) = name.strip_prefix("sharing-") else { continue };
        text += &format!(
            "| {} | {} | {} | {} | {} | {:.3} | {} | {:.1} M |\n",
            name.trim_end_matches("-wide"),
            recipe.embedding_size.map_or("-".to_owned(), |size| size.to_string()),
            recipe.parameters,
            percent_or_dash(recipe.held_out.masked_accuracy),
            percent_or_dash(recipe.held_out.hidden_accuracy),
            recipe.held_out.loss,
            recipe.steps,
            recipe.tokens_seen as f64 / 1e6
        );
    }
    let shared = results.recipes.iter().filter(|(name, _)| name.starts_with("sharing-"));
    let frequency = shared.filter_map(|(_, recipe)| recipe.held_out.frequency_accuracy).next();
    text + &format!(
        "\nE is the width of the token table. On held-out text, right answers in percent; of hidden tokens frequency alone guesses {}. {}.\n",
        percent_or_dash(frequency),
        results.date
    )
}

/// Sets of wrong words, which `examples/recipes/pretrain/errors.py` makes.
const WRONG_WORDS: [&str; 4] = ["confused", "misspelt", "mistaken", "swapped"];

/// A row for each objective, a column for each data set that its model was fine-tuned on (Clark 2020, table 5): those of wrong words,
/// or the others.
pub(super) fn electra_table(results: &Pretraining, wrong_words: bool) -> String {
    let shown = |name: &str| WRONG_WORDS.contains(&name) == wrong_words;
    let all = results.downstream.values().flatten();
    let sets: BTreeMap<&String, &Downstream> = all.filter(|(name, _)| shown(name)).collect();
    if sets.is_empty() {
        return "no results".to_owned();
    }
    let mut text = "| pretrained by | steps | tokens | FLOPs | of layers |".to_owned();
    sets.iter().for_each(|(name, scored)| text += &format!(" {name}, {} |", scored.measure.replace('_', " ")));
    text += &format!("\n|---|---|---|---|---|{}\n", "---|".repeat(sets.len()));
    for (name, scores) in results.downstream.iter().filter(|(_, scores)| scores.keys().any(|name| shown(name))) {
        // A model that was not pretrained has no recipe. What another started from counts with it.
        let own = results.recipes.get(name);
        let start = own.and_then(|recipe| results.recipes.get(recipe.start.as_ref()?));
        let runs: Vec<&Recipe> = start.into_iter().chain(own).collect();
        let cost = if runs.is_empty() {
            "0 | 0 | 0 | 0".to_owned()
        } else {
            let steps: Vec<String> = runs.iter().map(|run| run.steps.to_string()).collect();
            let tokens: u64 = runs.iter().map(|run| run.tokens_seen).sum();
            let flops: f64 = runs.iter().map(|run| run.flops.electra).sum();
            let layers: f64 = runs.iter().map(|run| run.flops.layers).sum();
            format!("{} | {:.1} M | {flops:.1e} | {layers:.1e}", steps.join(" + "), tokens as f64 / 1e6)
        };
        text += &format!("| {} | {cost} |", name.trim_start_matches("electra-"));
        for set in sets.keys() {
            let cell = scores.get(*set).map_or("-".to_owned(), |scored| {
                let deviation =
                    scored.deviation.map_or(String::new(), |deviation| format!(" ± {}", percent(deviation)));
                percent(scored.mean) + &deviation
            });
            text += &format!(" {cell} |");
        }
        text += "\n";
    }
    let scored = results.downstream.values().flatten().filter(|(name, _)| shown(name));
    let seeds: BTreeSet<usize> = scored.map(|(_, scored)| scored.scores.len()).collect();
    let seeds: Vec<String> = seeds.iter().map(usize::to_string).collect();
    text + &format!(
        "\nOn test data, in percent: mean and standard deviation of {} seeds. FLOPs of pretraining by ELECTRA's counter, generator \
         included; it counts looking a token up as a product with the whole table, once for each model. Beside them those of the \
         layers alone. {}.\n",
        seeds.join(" or "),
        results.date
    )
}

/// A row for each way in which words were spoiled.
pub(super) fn replaced_table(results: &Pretraining) -> String {
    let mut text = "| one word of a text | texts | area under the ROC curve | found at 0.5 | right of what is found | by guessing |\n|---|---|---|---|---|---|\n".to_owned();
    for (way, found) in &results.replaced {
        text += &format!(
            "| {way} | {} | {:.2} | {} | {} | {} |\n",
            found.texts,
            found.area,
            percent(found.recall),
            percent_or_dash(found.precision),
            percent(found.precision_of_guessing)
        );
    }
    text + &format!("\nIn percent but for the area, of which 0.5 is guessing. {}.\n", results.date)
}

/// Teacher, control and student of each causal model that learned from another.
pub(super) fn distilled_table(results: &Pretraining) -> String {
    let mut text =
        "| model | parameters | perplexity | to the teacher's | bits a byte | steps |\n|---|---|---|---|---|---|\n"
            .to_owned();
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    for recipe in results.recipes.values() {
        let Some(distilled) = &recipe.distilled else { continue };
        let mut row = |name: &str, parameters: u64, scored: &HeldOut, ratio: Option<f64>, steps: &str| {
            let [perplexity, ratio, bits] = [scored.perplexity, ratio, scored.bits_per_byte].map(number);
            text += &format!("| {name} | {parameters} | {perplexity} | {ratio} | {bits} | {steps} |\n");
        };
        let steps = recipe.steps.to_string();
        row("teacher", distilled.teacher_parameters, &distilled.teacher, Some(1.0), "");
        if let Some(control) = &distilled.control {
            row("control", recipe.parameters, control, distilled.control_ratio, &steps);
        }
        row("student", recipe.parameters, &recipe.held_out, Some(distilled.ratio), &steps);
    }
    text + &format!("\nOn held-out text. {}.\n", results.date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_what_the_files_say() {
        let shot = |shots: u64, accuracy: f64| serde_json::json!({"shots": shots, "prompts": 50, "right": 0, "accuracy": accuracy, "low": 0.1, "high": 0.9, "examples_dropped": 1});
        let few: FewShot = serde_json::from_value(serde_json::json!({
            "schema": 1, "date": "2026-01-02", "steps": 10, "parameters": 858_880, "tokens_seen": 1_500_000,
            "held_out": {"loss": 1.0, "perplexity": 2.5},
            "shots": {
                "fp32": {"tasks": {"sums": [shot(0, 0.25), shot(8, 0.5)]}, "all": [shot(0, 0.25), shot(8, 0.5)]},
                "int8": {"tasks": {}, "all": [shot(0, 0.2), shot(8, 0.4)]}
            }
        }))
        .unwrap();
        let table = few_shot_table(&few);
        assert!(table.contains("| task | prompts | 0 | 8 |\n"), "{table}");
        assert!(table.contains("| sums | 50 | 25.0 | 50.0 |\n"), "{table}");
        assert!(table.contains("| **all, int8** | 50 | 20.0 (10.0 to 90.0) | 40.0 (10.0 to 90.0) |"), "{table}");
        let recipe = serde_json::json!({
            "parameters": 1234, "tokens_seen": 2_000_000, "steps": 7,
            "held_out": {"loss": 2.5, "masked_accuracy": 0.3, "hidden_accuracy": 0.55, "frequency_accuracy": 0.04}
        });
        let mut wide = recipe.clone();
        wide["embedding_size"] = 128.into();
        let mut rtd = recipe.clone();
        rtd["flops"] = serde_json::json!({"electra": 1e14, "layers": 2e14});
        rtd["start"] = "electra-start".into();
        let mut start = recipe.clone();
        start["flops"] = serde_json::json!({"electra": 2e13});
        let student = serde_json::json!({
            "parameters": 5, "tokens_seen": 6, "steps": 7, "held_out": {"loss": 1.0, "perplexity": 12.0, "bits_per_byte": 2.0},
            "distilled": {
                "teacher": {"loss": 1.0, "perplexity": 10.0}, "teacher_parameters": 9, "ratio": 1.2,
                "control": {"loss": 1.0, "perplexity": 13.0}, "control_ratio": 1.3
            }
        });
        let pretraining: Pretraining = serde_json::from_value(serde_json::json!({
            "schema": 1, "date": "2026-01-02",
            "recipes": {"electra-rtd": rtd, "electra-start": start, "sentence-sop": recipe, "sharing-all": recipe, "sharing-all-wide": wide, "small": student},
            "replaced": {"a typing error": {
                "texts": 9, "area": 0.81, "recall": 0.12, "precision": null, "precision_of_guessing": 0.06
            }},
            "trained_on_by_scored_on": {"sentence-sop": {"mlm": 0.3, "nsp": 0.5, "sop": 0.6}},
            "downstream": {
                "electra-rtd": {
                    "tags": {"measure": "entity_f1", "scores": [0.5, 0.6], "mean": 0.55, "deviation": 0.07},
                    "swapped": {"measure": "entity_f1", "scores": [0.3], "mean": 0.3, "deviation": null},
                    "words": {"measure": "accuracy", "scores": [0.7, 0.7], "mean": 0.7, "deviation": null}
                },
                "electra-none": {"tags": {"measure": "entity_f1", "scores": [0.2, 0.2], "mean": 0.2, "deviation": 0.0}}
            }
        }))
        .unwrap();
        let table = electra_table(&pretraining, true);
        assert!(table.contains("| of layers | swapped, entity f1 |\n") && !table.contains("| none |"), "{table}");
        assert!(table.contains("| 2.0e14 | 30.0 |\n"), "{table}");
        let table = electra_table(&pretraining, false);
        assert!(table.contains("| FLOPs | of layers | tags, entity f1 | words, accuracy |\n"), "{table}");
        assert!(
            table.contains(
                "| none | 0 | 0 | 0 | 0 | 20.0 ± 0.0 | - |\n| rtd | 7 + 7 | 4.0 M | 1.2e14 | 2.0e14 | 55.0 ± 7.0 | 70.0 |\n"
            ),
            "{table}"
        );
        assert!(table.contains("deviation of 2 seeds."), "{table}");
        let table = replaced_table(&pretraining);
        assert!(table.contains("| a typing error | 9 | 0.81 | 12.0 | - | 6.0 |"), "{table}");
        assert!(sentence_table(&pretraining).contains("| sop | 30.0 | 50.0 | 60.0 | 7 | 2.0 M |"));
        let table = distilled_table(&pretraining);
        assert!(
            table.contains("| control | 5 | 13.000 | 1.300 | - | 7 |\n| student | 5 | 12.000 | 1.200 | 2.000 | 7 |"),
            "{table}"
        );
        let table = sharing_table(&pretraining);
        assert!(
            table.contains("| all | - | 1234 | 30.0 | 55.0 | 2.500 | 7 | 2.0 M |\n| all | 128 | 1234 | 30.0 |"),
            "{table}"
        );
    }
}
