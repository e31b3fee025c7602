//! Reports of every shape, written as pages and tables.

use super::*;
use crate::measure::BenchCase;
use crate::recipe::Recipe;
use crate::train::{CurvePoint, EpochRecord};

fn around(value: f64) -> Interval {
    Interval { value, low: value - 0.02, high: value + 0.015 }
}

fn model(name: &str, value: f64, bytes: u64) -> ModelReport {
    let case = |tokens: usize| BenchCase {
        tokens,
        batch: 1,
        runs: 50,
        min_ms: 0.1,
        p50_ms: tokens as f64 * bytes as f64 / 1e9,
        p90_ms: tokens as f64 * bytes as f64 / 9e8,
        p99_ms: None,
        tokens_per_second: 1e4,
    };
    ModelReport {
        name: name.to_owned(),
        file: format!("{name}.limbeck"),
        score: around(value),
        retention: Some(Interval { value: value / 0.92, low: 0.951, high: 1.012 }),
        examples: 500,
        metrics: [("accuracy".to_owned(), value), ("root_mean_squared_error".to_owned(), 1.25)].into(),
        classes: None,
        by_label: vec![],
        truncated: 3,
        parameters: bytes / 4,
        file_bytes: bytes,
        latency_p50_ms: bytes as f64 / 2e7,
        latency_tokens: 17,
        latency_by_length: [16, 32, 64].map(case).into(),
        peak_memory_mb: Some(120.0),
    }
}

fn stage(name: &str, scored: bool, devs: &[f64]) -> StageReport {
    let record = |(i, &dev): (usize, &f64)| EpochRecord {
        epoch: i + 1,
        step: (i + 1) as u64 * 99 / devs.len() as u64,
        loss: 1.0 / (i + 1) as f64,
        dev,
    };
    let history: Vec<EpochRecord> = devs.iter().enumerate().map(record).collect();
    let best_dev = devs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let outcome = Outcome {
        best_dev,
        best_epoch: devs.len(),
        steps: 99,
        history,
        curve: Vec::new(),
        tokens_per_second: 1000.0,
        resumed_at: 0,
    };
    StageReport { name: name.to_owned(), scored, layer_map: None, outcome }
}

fn seed(seed: u64, student: f64, control: f64) -> SeedReport {
    SeedReport { seed, student, student_dev: student - 0.01, control, control_dev: control - 0.01 }
}

/// A usual run: a teacher, one seed, two stages.
pub(super) fn report(task: &str, measure: &str) -> Report {
    Report {
        schema: 2,
        title: "my-student".to_owned(),
        date: "2026-01-02".to_owned(),
        commit: "abc".to_owned(),
        machine: Machine { cpu: "Some CPU".to_owned(), cores: 2, os: "linux x86_64".to_owned(), features: vec![] },
        versions: Versions {
            limbeck: "0.1.0".to_owned(),
            onnxruntime: None,
            tokenizers: "0.22.2".to_owned(),
            torch: None,
        },
        recipe_sha256: "a1".repeat(32),
        teacher_sha256: "b2".repeat(32),
        others_sha256: vec![],
        inputs_sha256: vec![("data".into(), "d1".repeat(32))],
        unlabelled: Some(crate::report::UnlabelledReport { texts: 4321, dropped: 5 }),
        training: None,
        task: task.to_owned(),
        measure: measure.to_owned(),
        layer_map: vec![0, 2, 5],
        data: SplitReport { duplicates_dropped: 2, contradictions_dropped: 1, train: 2000, dev: 300, test: 500 },
        chance_on_dev: 0.0,
        models: vec![
            model("teacher", 0.92, 91_000_000),
            model("control", 0.88, 58_000_000),
            model("student fp32", 0.905, 58_000_000),
            model("student int8", 0.9, 15_700_000),
        ],
        seeds: vec![seed(7, 0.905, 0.88)],
        comparison: Comparison::new(Interval { value: 0.025, low: 0.004, high: 0.046 }, 0.02, 1),
        quantization: QuantizationReport {
            mode: "int8-dynamic".to_owned(),
            max_drop_points: 1.0,
            dev_drop_points: 0.25,
            test_drop_points: 0.5,
        },
        stages: vec![
            stage("teacher", true, &[0.89, 0.91]),
            stage("control", true, &[0.8, 0.86, 0.87]),
            stage("student, intermediate", false, &[-8.25, -6.5, -5.75]),
            stage("student, prediction", true, &[0.85, 0.88, 0.89]),
        ],
        ablation: vec![],
        trims: vec![],
        search: None,
        wall_seconds: 360.0,
    }
}

/// Labels where most examples are right, and some of each are taken for the next label.
fn classes(labels: &[&str]) -> Classes {
    let count = |truth: usize, guess: usize| match (guess + labels.len() - truth) % labels.len() {
        0 => 40,
        1 => truth + 1,
        _ => 0,
    };
    let row = |truth| (0..labels.len()).map(|guess| count(truth, guess)).collect();
    Classes { labels: labels.iter().map(|&l| l.to_owned()).collect(), confusion: (0..labels.len()).map(row).collect() }
}

fn with_classes(labels: &[&str]) -> Report {
    let mut report = report("text-classification", "accuracy");
    report.chance_on_dev = 0.5;
    report.models.last_mut().unwrap().classes = Some(classes(labels));
    report
}

fn with_seeds_and_ablation() -> Report {
    let mut report = report("token-classification", "entity_f1");
    report.seeds = vec![seed(1, 0.9, 0.88), seed(2, 0.92, 0.87), seed(3, 0.895, 0.89)];
    report.comparison = Comparison::new(report.comparison.gain, 0.02, 3);
    let row = |name: &str, value: f64| AblationReport {
        name: name.to_owned(),
        score: around(0.905 + value),
        difference: Interval { value, low: value - 0.012, high: value + 0.009 },
        p_value: 0.25,
        seeds: vec![0.89, 0.9, 0.885],
    };
    report.ablation = vec![
        row("without intermediate, attention-distributions", -0.031),
        row("without prediction, soft-targets", 0.004),
        row("from new weights", -0.12),
    ];
    report
}

fn with_search() -> Report {
    let mut report = report("text-classification", "accuracy");
    let shape = |layers, hidden_size, p50_ms, trial_dev| ShapeReport {
        layers,
        hidden_size,
        parameters: 17_000_000,
        p50_ms,
        trial_dev,
        chosen: trial_dev == Some(0.88),
    };
    let shapes = vec![
        shape(1, 384, 0.6, None),
        shape(2, 384, 1.1, Some(0.88)),
        shape(3, 384, 1.6, None),
        shape(3, 240, 1.2, Some(0.85)),
    ];
    report.search = Some(SearchReport { budget_ms: 1.25, threads: 1, tokens: 24, finished_ms: Some(1.3), shapes });
    report
}

/// Whatever may be missing is missing.
fn bare() -> Report {
    let mut report = report("sentence-embedding", "spearman");
    let nothing = Interval { value: f64::NAN, low: f64::NAN, high: f64::NAN };
    report.models.truncate(1);
    let only = &mut report.models[0];
    only.name = "student int8".to_owned();
    (only.retention, only.peak_memory_mb, only.score) = (None, None, nothing);
    (only.examples, only.latency_p50_ms) = (1, f64::NAN);
    only.metrics.insert("spearman".to_owned(), f64::NAN);
    only.latency_by_length.clear();
    report.data = SplitReport { train: 1, dev: 1, test: 1, ..SplitReport::default() };
    report.seeds = vec![seed(7, f64::NAN, 0.0)];
    report.comparison = Comparison::new(nothing, f64::NAN, 1);
    report.stages = vec![stage("student", true, &[f64::NAN])];
    report
}

fn recipe() -> Recipe {
    let text = "id = \"x\"\n[data]\nfiles = [\"a.csv\"]\n[data.columns.rename]\n\"0\" = \"<b>no</b>\"\n[student]\nlayers = 3\n";
    toml::from_str(text).unwrap()
}

/// The page, after checking that it is whole, stands alone and says no numbers that are none.
fn page(report: &Report) -> String {
    let page = html(report, &recipe()).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    let mut open: Vec<&str> = Vec::new();
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("<{piece} is not closed"));
        assert!(!text.contains('>'), "a > in the text {text}");
        assert!(tag.matches('"').count().is_multiple_of(2), "quotes in <{tag}>");
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "</{name}> in {text}"),
            None if tag.ends_with('/') || ["!doctype", "meta"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    for wrong in ["http", "<script", "<link", "@import", "url(", "NaN", "inf "] {
        assert!(!page.contains(wrong), "{wrong} in the page");
    }
    page
}

fn has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
}

fn drawings(page: &str) -> usize {
    page.matches("<svg").count()
}

#[test]
fn a_usual_run_has_all_its_parts() {
    let mut report = with_classes(&["no", "yes"]);
    let page = page(&report);
    has(&page, &["A student for text classification, measured by accuracy on 500 test examples"]);
    has(
        &page,
        &[
            "<td class=\"left\">student int8</td><td>90.0%</td><td>88.0 to 91.5%</td><td>97.8%</td><td>95.1 to 101.2%</td>",
            "<td>3.9 M</td><td>15.7 MB</td><td>0.79 ms</td><td>120 MB</td><td>3</td>",
            "beats its control by 2.5 points",
            "int8 against fp32: -0.50 points on test, -0.25 on dev (allowed: 1.0 lost).",
            "<td class=\"left\">7</td><td>90.5%</td><td>88.0%</td><td>+2.5</td><td>89.5%</td><td>87.0%</td>",
            "<th>16 tokens</th><th>32 tokens</th><th>64 tokens</th>",
            "<td class=\"left\">teacher</td><td>1.46 / 1.62</td>",
            "<td class=\"left\">student, intermediate</td><td>99</td><td>3 of 3</td><td></td><td>5.7500</td><td>1000</td>",
            "<td class=\"left\">student, prediction</td><td>99</td><td>3 of 3</td><td>89.0%</td>",
            // Label `yes`: 40 of 42 right, 41 times guessed.
            "<td class=\"left\">yes</td><td>42</td><td>41</td><td>97.6%</td><td>95.2%</td><td>96.4%</td>",
            "<td class=\"wrong\" style=\"--share:0.05\">2</td><td class=\"right\" style=\"--share:0.95\">40</td>",
            "<td class=\"left\">root mean squared error</td><td>1.2500</td>",
            "largest class of dev alone would score 50.0%",
            "limbeck distill --recipe recipe.toml --teacher FOLDER --data FOLDER --out FOLDER</pre>",
            "layers 0, 2, 5 of the encoder as it came",
            &report.recipe_sha256,
            "layers = 3",
        ],
    );
    assert!(!page.contains("Ablation") && !page.contains("deviation, points"));
    // Size, latency, latency by length, loss, dev, loss on layers.
    assert_eq!(drawings(&page), 6);
    report.stages.remove(2);
    assert_eq!(drawings(&html(&report, &recipe()).unwrap()), 5);
    report.stages.clear();
    assert!(!html(&report, &recipe()).unwrap().contains("<h2>Training"));
}

#[test]
fn stages_without_a_score_stay_out_of_the_scores() {
    let report = report("pair-classification", "accuracy");
    let scores = plot::dev_score(&report).unwrap();
    assert!(scores.contains("student, prediction, epoch 3: 89.0%") && !scores.contains("intermediate"), "{scores}");
    let losses = plot::layer_losses(&report).unwrap();
    assert!(losses.contains("intermediate, epoch 1: 8.2500 on dev") && !losses.contains("prediction"), "{losses}");
    // One line in training and on dev many dashes.
    let lines = losses.split("<polyline").filter(|line| line.contains(&plot::colour(2).to_uppercase())).count();
    assert!(lines > 10, "{lines}");
}

#[test]
fn a_curve_takes_the_place_of_the_losses_between_scorings() {
    let mut report = report("text-classification", "accuracy");
    report.stages = vec![stage("student", true, &[0.8, 0.85, 0.86])];
    let circles = |report: &Report| plot::training_loss(report).unwrap().matches("<circle").count();
    assert_eq!(circles(&report), 3);
    let point = |step: u64| CurvePoint { step, loss: 5.0 / step as f64 };
    report.stages[0].outcome.curve = (1..=99).map(point).collect();
    assert_eq!(circles(&report), 99);
    assert!(plot::training_loss(&report).unwrap().contains("student, step 50: 0.1000"));
}

#[test]
fn scorings_within_an_epoch_lie_between_epochs() {
    let across = |report: &Report| {
        let drawn = plot::dev_score(report).unwrap();
        let circles: Vec<f64> =
            drawn.split("cx=\"").skip(1).map(|part| part.split('"').next().unwrap().parse().unwrap()).collect();
        circles
    };
    let mut report = report("text-classification", "accuracy");
    report.stages = vec![stage("student", true, &[0.8, 0.85, 0.86, 0.87])];
    let epochs = across(&report);
    // The same four scorings in two epochs: 24, 49, 74 and 99 of 99 steps.
    report.stages[0].outcome.history.iter_mut().for_each(|record| record.epoch = record.epoch.div_ceil(2));
    let halves = across(&report);
    assert!(epochs.iter().zip(&halves).all(|(a, b)| (a - b).abs() < 1.5), "{epochs:?} {halves:?}");
    let drawn = plot::dev_score(&report).unwrap();
    assert!(
        drawn.contains(">\n1\n</text>") && drawn.contains(">\n2\n</text>") && !drawn.contains(">\n3\n</text>"),
        "{drawn}"
    );
    // A report without steps: by epoch.
    report.stages[0].outcome.history.iter_mut().for_each(|record| record.step = 0);
    let old = across(&report);
    assert!(old[0] == old[1] && old[1] < old[2]);
}

#[test]
fn seeds_and_ablations_are_shown() {
    let report = with_seeds_and_ablation();
    assert_eq!(report.shipped_seed().unwrap().seed, 2);
    let page = page(&report);
    has(
        &page,
        &[
            "<td class=\"left\">2 (shipped)</td><td>92.0%</td><td>87.0%</td><td>+5.0</td>",
            "<td class=\"left\">mean</td><td>90.5%</td><td>88.0%</td><td>+2.5</td>",
            "<td class=\"left\">deviation, points</td><td>1.3</td><td>1.0</td><td>2.3</td>",
            "mean of 3 seeds",
            "<td class=\"left\">from new weights</td><td>78.5%</td><td>76.5 to 80.0%</td><td>-12.0</td><td>-13.2 to -11.1</td>\
         <td>0.250</td><td>89.0%, 90.0%, 88.5%</td>",
            // The control is the ablation that lacks the teacher: the gain with the other sign.
            "<td class=\"left\">labels alone (control)</td><td>88.0%</td><td>86.0 to 89.5%</td><td>-2.5</td><td>-4.6 to -0.4</td>",
            "from new weights: -12.0 (-13.2 to -11.1)</title>",
            "--out FOLDER --ablate=&quot;intermediate, attention-distributions&quot; \
             --ablate=&quot;prediction, soft-targets&quot; --ablate=&quot;from new weights&quot;</pre>",
        ],
    );
    assert_eq!(drawings(&page), 7);
}

#[test]
fn every_task_has_its_measure() {
    for (task, measure, shown) in [
        ("text-classification", "micro_f1", "test micro F1</th>"),
        ("text-classification", "spearman", "<td>0.900</td><td>0.880 to 0.915</td>"),
        ("token-classification", "entity_f1", "test entity F1</th>"),
        ("question-answering", "f1", "test word F1</th>"),
        ("question-answering", "f1", "On dev, F1 is of the model's tokens"),
        ("sentence-embedding", "spearman", "dev Spearman\n</text>"),
        ("text-classification", "accuracy", "dev accuracy, %\n</text>"),
    ] {
        has(&page(&report(task, measure)), &[shown, &task.replace('-', " ")]);
    }
}

#[test]
fn large_matrices_become_a_list() {
    let names: Vec<String> = (0..60).map(|i| format!("label {i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let few = page(&with_classes(&names[..25]));
    assert!(few.contains("class=\"matrix\"") && !few.contains("most frequent"));
    let many = page(&with_classes(&names));
    assert!(!many.contains("class=\"matrix\"") && many.contains("<details>"));
    has(
        &many,
        &[
            "The 20 most frequent of 60 confusions of two labels; 1830 test examples were given a wrong label.",
            "<td class=\"left\">label 59</td><td class=\"left\">label 0</td><td>60</td><td>60.0%</td>",
            "<td class=\"left\">label 40</td><td class=\"left\">label 41</td><td>41</td>",
        ],
    );
    assert!(!many.contains("<td class=\"left\">label 39</td><td class=\"left\">label 40</td>"));
    let mut right = with_classes(&names);
    let classes = right.models.last_mut().unwrap().classes.as_mut().unwrap();
    classes
        .confusion
        .iter_mut()
        .enumerate()
        .for_each(|(k, row)| row.iter_mut().enumerate().for_each(|(j, n)| *n *= usize::from(j == k)));
    has(&page(&right), &["No label was taken for another."]);
}

#[test]
fn labels_are_text_and_not_html() {
    let mut report = with_classes(&["<b>", "\"a\" & b</td>"]);
    report.stages[0].name = "<i>".to_owned();
    report.models[0].name = "<teacher>".to_owned();
    report.title = "a&b".to_owned();
    report.machine.cpu = "<cpu>".to_owned();
    let page = page(&report);
    has(
        &page,
        &["&lt;b&gt;", "&quot;a&quot; &amp; b&lt;/td&gt;", "&lt;i&gt;", "&lt;cpu&gt;", "limbeck: a&amp;b</title>"],
    );
    for wrong in ["<b>", "<i></i><i>", "<teacher>", "<cpu>"] {
        assert!(!page.contains(wrong), "{wrong}");
    }
}

#[test]
fn what_is_missing_is_left_out() {
    let mut report = bare();
    let first = page(&report);
    has(
        &first,
        &["cannot be compared", "<td class=\"left\">student int8</td><td>-</td><td>-</td><td>-</td><td>-</td>"],
    );
    // One epoch whose loss is a number.
    assert_eq!(drawings(&first), 1);
    report.stages[0].outcome.history.clear();
    report.models[0].classes = Some(Classes { labels: vec!["a".into(), "b".into()], confusion: vec![vec![1]] });
    has(&page(&report), &["<td class=\"left\">b</td><td>0</td><td>0</td><td>-</td><td>-</td><td>-</td>"]);
    report.ablation = with_seeds_and_ablation().ablation;
    report.ablation[0].difference = report.comparison.gain;
    page(&report);
    report.models.clear();
    report.seeds.clear();
    report.layer_map.clear();
    page(&report);
    assert!(!report.table().is_empty());
}

#[test]
fn a_report_is_read_back() {
    let report = with_seeds_and_ablation();
    let text = serde_json::to_string(&report).unwrap();
    let again: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(page(&again), page(&report));
    assert!(text.contains("\"ablation\""));
    assert!(!serde_json::to_string(&self::report("x", "f1")).unwrap().contains("\"ablation\""));
}

#[test]
fn terminal_tables_fit_a_terminal() {
    let mut long = with_seeds_and_ablation();
    long.ablation[0].name = "without the stage of a very long name, ".repeat(3);
    long.models[0].name = "m".repeat(120);
    for report in [with_seeds_and_ablation(), with_classes(&["a", "b"]), bare(), long] {
        let table = report.table();
        let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 110, "{widest}:\n{table}");
    }
    let table = with_seeds_and_ablation().table();
    for line in [
        "student int8           90.0%  88.0 to 91.5%      97.8%       3.9 M  15.7 MB      0.79 ms       120 MB\n",
        "mean                                 90.5%    88.0%        +2.5           89.5%           87.0%\n",
        "deviation, points",
        "from new weights                                        78.5%               -12.0  -13.2 to -11.1  0.250\n",
    ] {
        assert!(table.contains(line), "`{line}` is not in\n{table}");
    }
    assert!(!report("x", "f1").table().contains("seed"));
}

#[test]
fn verdicts_say_who_is_better_and_whether_that_is_chance() {
    let verdict = |value: f64, p, seeds| Comparison::new(around(value), p, seeds).verdict;
    assert!(verdict(0.0151, 0.136, 1).contains("beats its control by 1.5 points; this is within what chance can do"));
    assert!(verdict(0.03, 0.002, 3).contains("3.0 points, mean of 3 seeds; this is more than chance"));
    assert!(verdict(-0.02, 0.01, 1).contains("does NOT beat its control: it is 2.0 points behind, more than chance"));
    assert!(verdict(0.0, 1.0, 1).contains("equally good"));
    assert!(verdict(f64::NAN, 1.0, 2).contains("cannot be compared, mean of 2 seeds"));
}

#[test]
fn a_search_says_what_was_timed_tried_and_chosen() {
    let report = with_search();
    let text = page(&report);
    has(&text, &["<h2>Search for the shape</h2>", "at most 1.25 ms on 1 thread, for a text of 24 tokens"]);
    has(&text, &["384 wide", "240 wide", "3x240: 85.0% in 1.20 ms", "budget: 1.25 ms"]);
    // The finished bundle is measured too, whatever the search had found.
    has(&text, &["takes 1.30 ms, OUTSIDE the budget"]);
    assert_eq!(drawings(&text), drawings(&page(&self::report("text-classification", "accuracy"))) + 2);
    let table = report.table();
    let names: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("shape"))
        .skip(1)
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["3x240", "2x384", "3x384", "1x384"], "{table}");
    assert!(table.contains("88.0%  chosen") && table.contains("3x384      1.60 ms      no"), "{table}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["search"]["shapes"][1]["chosen"], true);
}

#[test]
fn trims_are_shown() {
    let mut report = report("text-classification", "accuracy");
    let shipped = report.models.pop().unwrap();
    report.models.extend([model("student int8, ffn=768", 0.88, 9_000_000), shipped]);
    assert!(!page(&report).contains("Trims"));
    report.trims = vec![
        TrimReport { name: "ffn=768".to_owned(), before: 1536, after: 768, dev: Some([0.9, 0.75, 0.893]) },
        TrimReport { name: "vocabulary=2".to_owned(), before: 30522, after: 4839, dev: None },
    ];
    let page = page(&report);
    for shown in [">ffn=768</td>", ">75.0%</td>", ">89.3%</td>", ">4839</td>", "--trim ffn=768 --trim vocabulary=2"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(report.table().contains("student int8, ffn=768"), "{}", report.table());
    let json = serde_json::to_string(&report).unwrap();
    let read: Report = serde_json::from_str(&json).unwrap();
    assert_eq!((read.trims.len(), read.trims[1].dev), (2, None));
}
