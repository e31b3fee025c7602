use serde_json::json;

use super::*;

fn repository_with(readme: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(PAGES[0]), readme).unwrap();
    fs::create_dir_all(root.path().join("examples/recipes/sentiment")).unwrap();
    fs::create_dir_all(root.path().join(SPEED)).unwrap();
    let machine = json!({"cpu": "Some CPU", "cores": 2, "os": "linux x86_64", "features": ["avx2"]});
    let versions = json!({"limbeck": "0.1.0", "onnxruntime": "1.24.4", "tokenizers": "0.22.2"});
    let model = |name: &str, value: f64, memory: Option<f64>| {
        let interval = |value: f64| json!({"value": value, "low": value - 0.02, "high": value + 0.015});
        json!({"name": name, "score": interval(value), "retention": interval(value / 0.93), "examples": 600, "parameters": 17389824, "file_bytes": 17800000, "latency_p50_ms": 1.256, "latency_tokens": 14, "peak_memory_mb": memory})
    };
    let seed = |seed: u64| json!({"seed": seed, "student": 0.9, "control": 0.88});
    let report = json!({"schema": 2, "title": "sentiment", "measure": "accuracy", "seeds": [seed(1), seed(2), seed(3)], "date": "2026-01-02", "commit": "abc", "machine": machine,
        "versions": versions, "models": [model("teacher", 0.93, Some(210.4)), model("student int8", 0.9, None)],
        "comparison": {"verdict": "The student wins.", "p_value": 0.02,
            "gain": {"value": 0.02, "low": 0.01, "high": 0.03}}});
    fs::write(root.path().join(REPORT), report.to_string()).unwrap();
    let speed = json!({"schema": 1, "bundle": "sentiment 0.1.0", "date": "2026-01-02", "commit": "abc", "machine": machine,
        "versions": versions, "threads": 1,
        "cases": [{"tokens": 16, "batch": 1, "p50_ms": 1.5, "p90_ms": 1.75, "tokens_per_second": 10666.6}]});
    fs::write(root.path().join(SPEED).join("a.json"), speed.to_string()).unwrap();
    let library = json!({"schema": 1, "date": "2026-01-02", "commit": "abc", "machine": machine, "versions": versions,
        "models": [{"bundle": "m.limbeck", "open_ms": 50.2, "resident_before_mb": 3.0, "resident_opened_mb": 40.25,
            "resident_after_mb": 44.0, "peak_mb": 60.5,
            "cases": [{"tokens": 32, "pairs": 3000, "call_us": 1010.0, "bare_us": 1000.0, "overhead": 0.01}]}],
        "cases": [{"name": "embed/m/128/1", "median_us": 2000.0, "low_us": 1990.0, "high_us": 2010.0},
            {"name": "embed/m/8/2", "median_us": 100.0, "low_us": 99.0, "high_us": 101.0},
            {"name": "post/softmax/3", "median_us": 0.0312, "low_us": 0.03, "high_us": 0.04}]});
    fs::write(root.path().join(crate::bench::RESULTS), library.to_string()).unwrap();
    let opening = json!({"open_ms": 40.0, "first_ms": 3.0, "resident_mb": 60.0, "private_mb": 30.0});
    let times = json!({"peer": "p", "calls": 30, "median_ms": 2.5, "p10_ms": 2.0, "cosine": 0.99});
    let peers = json!({"schema": 1, "date": "2026-01-02", "commit": "abc", "machine": machine, "versions": versions, "model": "m",
        "peers": [{"name": "p", "title": "own", "precision": "int8", "file_bytes": 1, "opening": opening}],
        "cases": [{"threads": 1, "batch": 1, "tokens": 8, "rounds": 3, "times": [times]}]});
    fs::write(root.path().join(crate::bench::peers::RESULTS), peers.to_string()).unwrap();
    let row = json!({"set": "s", "role": "student", "storage": "int8", "task": "fill-mask", "layers": 3,
        "bytes": 2_000_000, "examples": 7, "metrics": {"f1": 0.5, "exact": 0.25, "other": 1.0}});
    let tasks = json!({"schema": 1, "date": "2026-01-02", "machine": machine, "rows": [row]});
    fs::create_dir_all(root.path().join("examples/recipes/tasks")).unwrap();
    fs::write(root.path().join(TASKS), tasks.to_string()).unwrap();
    let row = json!({"profile": "min-size", "shared_bytes": 3_400_000, "stripped_bytes": 3_300_000,
        "archive_bytes": 15_000_000, "program_bytes": 3_100_000});
    let sizes = json!({"schema": 1, "date": "2026-01-02", "commit": "abc", "target": "x86_64-unknown-linux-gnu",
        "compiler": "rustc 1.95.0", "limit_bytes": 3_500_000, "rows": [row]});
    fs::create_dir_all(root.path().join("capi/abi")).unwrap();
    fs::write(root.path().join(sizes::RESULTS), sizes.to_string()).unwrap();
    let training = json!({"schema": 1, "date": "2026-01-02", "commit": "abc", "machine": machine, "versions": versions,
        "device": "cpu", "threads": 2, "dropout": 0.1, "precision": "fp32", "rounds": 3, "cases": []});
    fs::create_dir_all(root.path().join("export/benches/results")).unwrap();
    for path in [train::RESULTS, train::BF16_RESULTS, train::CUDA_RESULTS, train::CUDA_LARGE_RESULTS] {
        fs::write(root.path().join(path), training.to_string()).unwrap();
    }
    let few_shot = json!({"schema": 1, "date": "2026-01-02", "steps": 1, "parameters": 1, "tokens_seen": 1,
        "held_out": {"loss": 1.0}, "shots": {"fp32": {"tasks": {}, "all": []}}});
    let pretraining = json!({"schema": 1, "date": "2026-01-02", "recipes": {}, "trained_on_by_scored_on": {}});
    for (path, results) in [(FEW_SHOT, few_shot), (PRETRAINING, pretraining)] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, results.to_string()).unwrap();
    }
    fs::create_dir_all(root.path().join("docs")).unwrap();
    let page = |names: &[&str]| -> String {
        names.iter().map(|name| format!("<!-- generated: {name} -->\n<!-- /generated -->\n")).collect()
    };
    for (name, tables) in [
        (PAGES[1], &["calls", "parts", "overhead", "memory", "peers", "peers-times", "peers-opening"][..]),
        (PAGES[2], &["tasks"]),
        (PAGES[3], &["sizes"]),
        (PAGES[4], &["training", "training-cache", "training-bf16", "training-cache-bf16", "training-cuda"]),
        (PAGES[5], &["recipes", "ablations"]),
        (PAGES[6], &["few-shot", "sentence-tasks", "sharing", "distilled-gpt2"]),
    ] {
        fs::write(root.path().join(name), page(tables)).unwrap();
        let (_, after) = regenerate(root.path(), name).unwrap();
        fs::write(root.path().join(name), after).unwrap();
    }
    fs::write(root.path().join(PLOT), plot(root.path()).unwrap()).unwrap();
    root
}

const BOTH: &str = "# x\n<!-- generated: results -->\n<!-- /generated -->\nbetween\n<!-- generated: speed -->\nold\n<!-- /generated -->\nend\n";

#[test]
fn tables_come_from_the_result_files_and_nothing_else_changes() {
    let root = repository_with(BOTH);
    let (_, after) = regenerate(root.path(), PAGES[0]).unwrap();
    assert!(after.starts_with("# x\n<!-- generated: results -->\n| model |"), "{after}");
    assert!(
        after.contains("| teacher | 93.0% | 91.0 to 94.5% | 100.0% | 17.4 M | 17.8 MB | 1.26 ms | 210 MB |\n"),
        "{after}"
    );
    assert!(
        after.contains("| student int8 | 90.0% | 88.0 to 91.5% | 96.8% | 17.4 M | 17.8 MB | 1.26 ms | - |\n"),
        "{after}"
    );
    assert!(
        after.contains("Accuracy on 600 held-out sentences; control and student fp32: the mean of 3 seeds; latency")
            && after.contains("14 tokens")
            && after.contains("The student wins.")
    );
    assert!(after.contains("2026-01-02, Some CPU (2 cores), linux x86_64, limbeck 0.1.0 at abc, ONNX Runtime 1.24.4."));
    assert!(after.contains("<!-- /generated -->\nbetween\n<!-- generated: speed -->\n| tokens |"), "{after}");
    assert!(after.contains("| 16 | 1 | 1.50 ms | 1.75 ms | 10667 |\n"), "{after}");
    assert!(after.ends_with("<!-- /generated -->\nend\n") && !after.contains("old"));
}

#[test]
fn check_finds_a_changed_number_and_a_second_run_changes_nothing() {
    let root = repository_with(BOTH);
    let error = check(root.path()).unwrap_err().to_string();
    assert!(error.contains("cargo xtask docs") && error.contains("line 3"), "{error}");
    let (_, after) = regenerate(root.path(), PAGES[0]).unwrap();
    fs::write(root.path().join(PAGES[0]), &after).unwrap();
    check(root.path()).unwrap();
    fs::write(root.path().join(PAGES[0]), after.replace("93.0%", "99.0%")).unwrap();
    let error = check(root.path()).unwrap_err().to_string();
    assert!(error.contains("99.0%") && error.contains("93.0%"), "{error}");
    fs::write(root.path().join(PAGES[0]), &after).unwrap();
    fs::write(root.path().join(PLOT), "<svg/>").unwrap();
    let error = check(root.path()).unwrap_err().to_string();
    assert!(error.contains("docs/peers.svg differs"), "{error}");
}

#[test]
fn benchmarks_tasks_and_sizes_have_pages_of_their_own() {
    let root = repository_with(BOTH);
    let page = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
    let benchmarks = page(PAGES[1]);
    for line in [
        "| m | 8 | 2 | 100 \u{b5}s | 99.0 to 101 \u{b5}s | 160000 |\n| m | 128 | 1 | 2000 \u{b5}s |",
        "| post, softmax, 3 | 0.03 \u{b5}s |",
        "| m | 32 | 1010 \u{b5}s | 1000 \u{b5}s | +1.00% |",
        "| m | 50 ms | 3.0 MB | 40.2 MB | 44.0 MB | 60.5 MB |",
        "| own | int8 | 1.00 |",
        "| own | int8 | 2.50 (2.00) |",
    ] {
        assert!(benchmarks.contains(line), "`{line}` is not in\n{benchmarks}");
    }
    let line = "| s | fill-mask | student, 3 layers | int8 | 2.0 MB | 7 | exact 25.0, f1 50.0 |";
    assert!(page(PAGES[2]).contains(line), "{}", page(PAGES[2]));
    let line = "| min-size | 3.40 MB | 3.30 MB | 15.00 MB | 3.10 MB |";
    assert!(page(PAGES[3]).contains(line), "{}", page(PAGES[3]));
    let line =
        "| [sentiment](../examples/recipes/sentiment) | accuracy | 600 | 93.0 | 88.0 \u{b1} 0.0 | 90.0 \u{b1} 0.0 |";
    assert!(page(PAGES[5]).contains(line), "{}", page(PAGES[5]));
}

#[test]
fn mistakes_are_named() {
    for (readme, part) in [
        ("no table", "no table to generate"),
        ("<!-- generated: other -->\n<!-- /generated -->", "`other`"),
        ("<!-- generated: results -->\n", "has no `<!-- /generated -->`"),
        ("<!-- generated: results -->\n<!-- generated: speed -->\n<!-- /generated -->", "before the next"),
    ] {
        let error = check(repository_with(readme).path()).unwrap_err().to_string();
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    let root = repository_with(BOTH);
    fs::write(root.path().join(REPORT), r#"{"schema": 3}"#).unwrap();
    assert!(format!("{:#}", check(root.path()).unwrap_err()).contains("schema 3 is not known, only 2"));
    fs::remove_file(root.path().join(REPORT)).unwrap();
    assert!(format!("{:#}", check(root.path()).unwrap_err()).contains("report.json"));
}
