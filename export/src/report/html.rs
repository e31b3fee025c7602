//! The report as one HTML file without scripts or outside references.

mod classes;
mod element;
mod models;
mod search;
mod training;

use anyhow::Result;

use super::Report;
use super::words::{measure_name, percent};
use crate::recipe::{Recipe, Start, TeacherSource, Texts};
pub(super) use element::escape;
use element::{Table, paragraph};

const STYLE: &str = include_str!("html/style.css");

/// Renders the report.
pub fn html(report: &Report, recipe: &Recipe) -> Result<String> {
    let title = escape(&report.title);
    let parts = [
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>limbeck: {title}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        ),
        paragraph(&circumstances(report)),
        models::models(report),
        models::seeds(report, recipe),
        models::trade_off(report),
        models::latency(report),
        search::search(report),
        training::training(report),
        training::trims(report),
        training::ablation(report),
        classes::classes(report),
        models::labels(report),
        models::metrics(report),
        data(report, recipe),
        reproduce(report, recipe),
        format!("<h2>Recipe</h2>\n<pre>{}</pre>\n</body></html>\n", escape(&recipe.to_toml()?)),
    ];
    Ok(parts.concat())
}

/// What was measured, when, with and on what.
fn circumstances(report: &Report) -> String {
    let machine = &report.machine;
    let features =
        if machine.features.is_empty() { String::new() } else { format!(", {}", machine.features.join(" ")) };
    format!(
        "A student for {}, measured by {} on {} test examples. {}, limbeck {} at {}, ONNX Runtime {}, {} with {} core{} \
         ({}{features}).",
        report.task.replace('-', " "),
        match report.measure.as_str() {
            "spearman" => "Spearman's rank correlation".to_owned(),
            other => measure_name(other),
        },
        report.data.test,
        report.date,
        report.versions.limbeck,
        report.commit,
        report.versions.onnxruntime.as_deref().unwrap_or("unknown"),
        machine.cpu,
        machine.cores,
        if machine.cores == 1 { "" } else { "s" },
        machine.os
    )
}

fn data(report: &Report, recipe: &Recipe) -> String {
    let sets = &report.data;
    let mut table = Table::new(["set", "what for", "examples"]).left(2);
    for (name, examples, role) in [
        ("train", sets.train, "training"),
        ("dev", sets.dev, "choosing epochs and the seed that ships"),
        ("test", sets.test, "only reported"),
    ] {
        table.row([name, role, &examples.to_string()]);
    }
    if let Some(unlabelled) = &report.unlabelled {
        table.row(["without labels", "training, by what the teacher says of them", &unlabelled.texts.to_string()]);
    }
    let mut text = format!(
        "Dropped before: {} duplicates and {} rows that contradict others.",
        sets.duplicates_dropped, sets.contradictions_dropped
    );
    if report.chance_on_dev > 0.0 {
        text += &format!(" The largest class of dev alone would score {}.", percent(report.chance_on_dev));
    }
    let files: Vec<&str> = data_files(recipe).collect();
    text += &format!(" Files: {}.", files.join(", "));
    ["<h2>Data</h2>\n".to_owned(), table.html(), paragraph(&text)].concat()
}

/// Every file that a recipe names.
fn data_files(recipe: &Recipe) -> impl Iterator<Item = &str> {
    let data = &recipe.data;
    let sets = [&data.train, &data.dev, &data.test, &recipe.teacher.answers];
    let files = data.files.iter().chain(sets.into_iter().flatten()).chain(&data.unlabelled).chain(&data.corpus);
    files.map(String::as_str)
}

/// The command that gives this report again, as far as the report knows it.
fn reproduce(report: &Report, recipe: &Recipe) -> String {
    let roles = || report.others_sha256.iter().map(|(role, _)| role.as_str());
    let trained = report.stages.iter().filter(|stage| stage.name == "teacher" || stage.name.starts_with("teacher-"));
    let teachers = trained.count().max(1 + roles().filter(|role| role.starts_with("teacher")).count());
    let mut command = String::from("limbeck distill --recipe recipe.toml");
    command += &" --teacher FOLDER".repeat(teachers);
    if roles().any(|role| role == "student") {
        command += " --student FOLDER";
    }
    if recipe.stages.iter().any(|stage| stage.on == Texts::Augmented) {
        command += " --masked-lm FOLDER";
    }
    command += " --data FOLDER --out FOLDER";
    if let Some(place) = &report.training {
        command += &format!(" --device {} --threads {}", place.device, place.threads);
        if place.processes > 1 {
            command += &format!(" --parallel {}", if place.device == "cuda" { "nccl" } else { "mpi" });
            command = match place.device.as_str() {
                "cuda" => format!("torchrun --no-python --nproc-per-node {} {command}", place.processes),
                _ => format!("mpirun -n {} {command}", place.processes),
            };
        }
    }
    for row in &report.ablation {
        command += &format!(" --ablate=\"{}\"", row.name.strip_prefix("without ").unwrap_or(&row.name));
    }
    for trim in &report.trims {
        command += &format!(" --trim {}", trim.name);
    }
    let layers: Vec<String> = report.layer_map.iter().map(usize::to_string).collect();
    let start = match recipe.student.start {
        Start::Random => "The student starts from new weights.".to_owned(),
        Start::Pretrained | Start::Teacher => {
            let whose = match (recipe.student.start, recipe.teacher.source) {
                (Start::Teacher, _) | (_, TeacherSource::Finished) => "the teacher",
                _ => "the encoder as it came",
            };
            format!("The student's layers start from layers {} of {whose}, counted from 0.", layers.join(", "))
        }
    };
    let seeds: Vec<String> = report.seeds.iter().map(|seed| seed.seed.to_string()).collect();
    let torch = report.versions.torch.as_ref().map_or(String::new(), |version| format!(" with libtorch {version}"));
    let found = match &report.search {
        Some(_) => " The student's shape below was found by `--latency`.",
        None => "",
    };
    let text = format!(
        "{start}{found} Seeds: {}. On one machine{torch}, with one number of threads, a run on a CPU repeats itself to the bit; \
         it took {:.0} seconds, of which parts may have been taken from an earlier run.",
        seeds.join(", "),
        report.wall_seconds
    );
    let mut table = Table::new(["SHA-256 of", ""]).left(2);
    table.row(["the recipe below", &report.recipe_sha256]);
    table.row(["the weights of the first teacher's folder", &report.teacher_sha256]);
    for (role, sha256) in &report.others_sha256 {
        table.row([&format!("the weights of the folder of the {role}"), sha256]);
    }
    for (what, sha256) in &report.inputs_sha256 {
        table.row([&format!("the {what} that was read"), sha256]);
    }
    [format!("<h2>How to reproduce</h2>\n<pre>{}</pre>\n", escape(&command)), paragraph(&text), table.html()].concat()
}
