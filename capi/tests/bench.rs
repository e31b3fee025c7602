//! limbeck-bench: its numbers, its read-outs on made-up devices, its exit codes, and the
//! script that runs it by ssh.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use support::library;
use support::programs::{Checker, bundle, compile_all};

/// The program, compiled with the sanitizers.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = support::capi().join("bench");
        let mut sources: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
        let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("limbeck-bench");
        compile_all(&sources, library::folder(), Checker::Sanitizers, &["-lm"], &program);
        program
    })
}

fn bench() -> Command {
    let mut command = Command::new(program());
    command.env("LD_LIBRARY_PATH", library::folder());
    command
}

fn on_bundle(arguments: &[&str]) -> Command {
    let mut command = bench();
    command.arg(bundle()).arg("--runtime").arg(support::onnxruntime()).args(arguments);
    command
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn beside(name: &str) -> PathBuf {
    bundle().with_file_name(format!("{name}.limbeck"))
}

#[test]
fn every_task_is_measured() {
    for (name, batches) in [
        ("tiny", 2),
        ("pairs", 2),
        ("entities", 1),
        ("reader", 2),
        ("embedder", 2),
        ("masks", 1),
        ("order", 2),
        ("replaced", 1),
    ] {
        let mut command = bench();
        command.arg(beside(name)).arg("--runtime").arg(support::onnxruntime());
        command.args(["--lengths", "12,40", "--runs", "120", "--warm-up", "3", "--json", "--samples"]);
        let result = json_of(&command.args(["--batch", if batches == 2 { "1,3" } else { "2" }]).output().unwrap());
        assert_eq!(result["schema"], "limbeck-bench 1");
        assert_eq!(result["bundle"]["id"], name);
        assert_eq!(result["limbeck"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(result["phases"]["load_runtime_ms"].as_f64().unwrap() > 0.1);
        assert!(result["phases"]["models"][0]["first_call_ms"].as_f64().unwrap() > 0.0);
        assert!(result["memory"]["peak"].as_u64().unwrap() >= result["memory"]["end"].as_u64().unwrap());
        assert!(result["overhead"]["loop_ns"].as_f64().unwrap() > 1.0);
        assert_eq!(result["interrupted"], false);
        let rows = result["results"].as_array().unwrap();
        assert_eq!(rows.len(), 2 * batches);
        for row in rows {
            // Every word of these vocabularies is one token, so any length can be hit.
            assert_eq!(row["tokens"], row["length"], "{name}: {row}");
            assert_eq!(row["runs"], 120);
            let samples: Vec<f64> =
                row["samples_ms"].as_array().unwrap().iter().map(|sample| sample.as_f64().unwrap()).collect();
            check_statistics(&row["ms"], &samples);
            let stages: f64 =
                ["tokenize_ms", "inference_ms", "post_ms"].iter().map(|stage| row[stage].as_f64().unwrap()).sum();
            assert!(stages > 0.0 && stages < row["ms"]["mean"].as_f64().unwrap(), "{row}");
            let tokens = row["tokens"].as_f64().unwrap() * row["batch"].as_f64().unwrap();
            let rate = tokens / row["ms"]["mean"].as_f64().unwrap() * 1e3;
            assert!((row["tokens_per_second"].as_f64().unwrap() / rate - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn text_that_is_written_is_for_another_program() {
    let mut command = bench();
    let output = command.arg(beside("writer")).arg("--runtime").arg(support::onnxruntime()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("`generation`") && words.contains("`limbeck bench`"), "{words}");
    assert!(output.stdout.is_empty());
}

/// Against the same figures worked out here.
fn check_statistics(ms: &Value, samples: &[f64]) {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let squares: f64 = samples.iter().map(|sample| (sample - mean) * (sample - mean)).sum();
    let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
    for (name, expected) in [
        ("min", sorted[0]),
        ("mean", mean),
        ("p50", rank(50)),
        ("p90", rank(90)),
        ("p95", rank(95)),
        ("p99", rank(99)),
        ("max", sorted[sorted.len() - 1]),
        ("stddev", (squares / (samples.len() - 1) as f64).sqrt()),
    ] {
        let found = ms[name].as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-6 * expected.max(1e-3), "{name}: {found}, not {expected}");
    }
}

#[test]
fn lengths_threads_and_few_runs() {
    let result = json_of(
        &on_bundle(&["--lengths", "8,64,65,512", "--threads", "1,2", "--runs", "5", "--json"]).output().unwrap(),
    );
    // The model takes 64 tokens.
    assert_eq!(result["skipped_lengths"], json!([65, 512]));
    let threads: Vec<u64> =
        result["results"].as_array().unwrap().iter().map(|row| row["threads"].as_u64().unwrap()).collect();
    assert_eq!(threads, [1, 1, 2, 2]);
    assert_eq!(result["phases"]["models"].as_array().unwrap().len(), 2);
    assert_eq!(result["results"][0]["ms"]["p99"], Value::Null);
    assert_eq!(result["results"][0]["p99_reason"], "less than 100 runs");
    let output = on_bundle(&["--lengths", "512"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("takes 64 tokens"));
}

/// A tree of files that stands for /proc and /sys.
fn device(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

fn on_device(root: &Path) -> Value {
    let root = root.to_str().unwrap();
    json_of(
        &on_bundle(&["--lengths", "8", "--runs", "30", "--delay", "2", "--json", "--sysfs-root", root])
            .output()
            .unwrap(),
    )
}

#[test]
fn a_board_with_everything_is_read() {
    let root = device(&[
        ("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"),
        ("proc/self/status", "Name:\tx\nVmHWM:\t  90000 kB\nVmRSS:\t  70000 kB\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1800000\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq", "600000\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "2400000\n"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "48250\n"),
        ("sys/class/thermal/thermal_zone3/temp", "-5000\n"),
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/power_supply/BAT0/status", "Discharging\n"),
        ("sys/class/power_supply/BAT0/current_now", "-500000\n"),
        ("sys/class/power_supply/BAT0/voltage_now", "4000000\n"),
    ]);
    let result = on_device(root.path());
    let machine = &result["machine"];
    assert_eq!(machine["cpu"], "implementer 0x41 part 0xd0c");
    assert_eq!(machine["governor"], "schedutil");
    assert_eq!(machine["frequency_mhz"], 1800);
    assert_eq!((&machine["lowest_mhz"], &machine["highest_mhz"]), (&json!(600), &json!(2400)));
    assert_eq!(result["memory"]["end"], 70000 * 1024);
    assert_eq!(result["memory"]["peak"], 90000 * 1024);
    assert_eq!(
        result["temperatures_before"],
        json!([{"zone": "cpu-thermal", "celsius": 48.25}, {"zone": "zone 3", "celsius": -5}])
    );
    // 0.5 A at 4 V over at least 30 pauses of 2 ms.
    let energy = &result["results"][0]["energy"];
    assert_eq!(energy["source"], "battery");
    let joules = energy["joules"].as_f64().unwrap();
    assert!((0.12..20.0).contains(&joules), "{joules}");
    assert!((energy["joules_per_call"].as_f64().unwrap() * 30.0 / joules - 1.0).abs() < 1e-6);
}

#[test]
fn counters_of_energy_wrap_and_parts_are_not_counted_twice() {
    let rapl = "sys/class/powercap";
    let root = device(&[
        (&format!("{rapl}/intel-rapl:0/energy_uj"), "900"),
        (&format!("{rapl}/intel-rapl:0/max_energy_range_uj"), "1000"),
        (&format!("{rapl}/intel-rapl:0:0/energy_uj"), "0"),
        (&format!("{rapl}/intel-rapl:0:0/max_energy_range_uj"), "1000"),
        (&format!("{rapl}/intel-rapl:0/name"), "package-0\n"),
        // The whole device, in which the package is, and the package's counter once more.
        (&format!("{rapl}/intel-rapl:1/energy_uj"), "0"),
        (&format!("{rapl}/intel-rapl:1/name"), "psys\n"),
        (&format!("{rapl}/intel-rapl-mmio:0/energy_uj"), "0"),
        (&format!("{rapl}/intel-rapl-mmio:0/name"), "package-0\n"),
    ]);
    // While the program runs, the package goes on to 950, and then from its range of 1000
    // over to 50; its part and the others count as fast.
    let counters = ["intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl-mmio:0"]
        .map(|name| root.path().join(rapl).join(name));
    let mut child = on_bundle(&["--lengths", "8", "--runs", "100000", "--seconds", "8", "--json", "--sysfs-root"])
        .arg(root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Long enough to have begun, on a busy machine too.
    std::thread::sleep(Duration::from_secs(4));
    for value in ["950", "50"] {
        for counter in &counters {
            // Whole at every moment, as the system's files are.
            fs::write(counter.join("new"), value).unwrap();
            fs::rename(counter.join("new"), counter.join("energy_uj")).unwrap();
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let result: Value = serde_json::from_str(&text).unwrap();
    let energy = &result["results"][0]["energy"];
    assert_eq!(energy["source"], "rapl");
    assert!((energy["joules"].as_f64().unwrap() - 150e-6).abs() < 1e-9, "{energy}");
}

#[test]
fn what_cannot_be_read_is_null_with_a_reason() {
    let row =
        |result: &Value| (result["results"][0]["energy"].clone(), result["results"][0]["energy_reason"].to_string());
    let empty = device(&[]);
    let result = on_device(empty.path());
    for field in ["cpu", "governor", "frequency_mhz", "lowest_mhz", "highest_mhz"] {
        assert_eq!(result["machine"][field], Value::Null, "{field}");
    }
    assert_eq!(result["memory"]["peak"], Value::Null);
    assert_eq!(result["temperatures_after"], Value::Null);
    let (energy, reason) = row(&result);
    assert!(energy.is_null() && reason.contains("no RAPL counter and no battery"), "{reason}");

    let charging = device(&[
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/power_supply/BAT0/status", "Charging\n"),
        ("sys/class/power_supply/BAT0/power_now", "5000000\n"),
    ]);
    let (energy, reason) = row(&on_device(charging.path()));
    assert!(energy.is_null() && reason.contains("not what feeds the device"), "{reason}");

    let still = device(&[("sys/class/powercap/intel-rapl:0/energy_uj", "900")]);
    let (energy, reason) = row(&on_device(still.path()));
    assert!(energy.is_null() && reason.contains("did not move"), "{reason}");
}

#[test]
fn limits_are_asserted() {
    let run = |limits: &[&str]| {
        let mut command = on_bundle(&["--lengths", "8", "--runs", "20"]);
        for limit in limits {
            command.args(["--assert", limit]);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&["p50<=10s", "p90<=10000ms", "peak<=4000MB", "cold<=10s"]), (0, String::new()));
    let (status, stderr) = run(&["p50<=10s", "p90<=0.1us", "peak<=1MB"]);
    assert_eq!((status, stderr.lines().count()), (3, 2), "{stderr}");
    assert!(stderr.contains("p90<=0.1us does not hold: it is 0."), "{stderr}");
    // 20 runs have no 99th percentile, and a limit on it does not hold by that.
    let (status, stderr) = run(&["p99<=10s"]);
    assert_eq!(status, 3);
    assert!(stderr.contains("could not be measured"), "{stderr}");
}

#[test]
fn results_are_saved_whole_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.json", "b.json"].map(|name| folder.path().join(name));
    for path in &paths {
        let output = on_bundle(&["--lengths", "8,16", "--runs", "20", "--out"]).arg(path).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("tokens/s"));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let compare = |paths: &[PathBuf; 2]| bench().arg("--compare").args(paths).output().unwrap();
    let output = compare(&paths);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    // Twice as slow, on another machine.
    let mut result: Value = serde_json::from_str(&fs::read_to_string(&paths[0]).unwrap()).unwrap();
    for row in result["results"].as_array_mut().unwrap() {
        row["ms"]["p50"] = json!(row["ms"]["p50"].as_f64().unwrap() * 2.0);
    }
    result["machine"]["cpu"] = json!("another \"one\"\n\u{1F642}");
    fs::write(&paths[1], result.to_string()).unwrap();
    let text = String::from_utf8(compare(&paths).stdout).unwrap();
    assert!(text.contains("note: another machine cpu") && text.contains("   2.00    1.00"), "{text}");

    // What is no result.
    for (content, expected) in [
        ("", "is no JSON"),
        ("{\"schema\": \"limbeck-bench 1\"}", "in common"),
        ("{\"schema\": 7}", "no result of limbeck-bench"),
        ("{\"a\": [1, 2}", "is no JSON"),
        ("\"\\u12\"", "is no JSON"),
        (&"[".repeat(100), "is no JSON"),
    ] {
        fs::write(&paths[1], content).unwrap();
        let output = compare(&paths);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(expected), "{content}: {stderr}");
    }
    let output = on_bundle(&["--lengths", "8", "--runs", "1", "--out", "/no/such/folder/x.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be written"));
}

#[test]
fn wrong_options_get_one_clear_line() {
    for (arguments, expected) in [
        (&["x.limbeck", "--lengths", "8,,9"][..], "--lengths cannot be `8,,9`"),
        (&["x.limbeck", "--lengths", "0"], "--lengths"),
        (&["x.limbeck", "--runs", "-3"], "--runs"),
        (&["x.limbeck", "--runs", "3x"], "--runs"),
        (&["x.limbeck", "--threads", "300"], "--threads"),
        (&["x.limbeck", "--cpus", "3-1"], "--cpus"),
        (&["x.limbeck", "--assert", "p50<5"], "--assert"),
        (&["x.limbeck", "--assert", "speed<=5ms"], "--assert"),
        (&["x.limbeck", "--assert", "peak<=5ms"], "--assert"),
        (&["x.limbeck", "--runs"], "a value is missing"),
        (&["x.limbeck", "--nonsense", "1"], "--nonsense"),
        (&["x.limbeck", "--nonsense"], "unknown option: --nonsense"),
        (&["x.limbeck", "y.limbeck"], "y.limbeck"),
        (&["--json"], "no bundle"),
        (&["--compare", "a"], "--compare"),
    ] {
        let output = bench().args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("limbeck-bench: ") && stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let help = bench().arg("--help").output().unwrap();
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("Examples:"));
    let version = bench().arg("--version").output().unwrap();
    assert_eq!(version.stdout, concat!("limbeck-bench ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    // And what only the library can find wrong.
    let missing = bench().args(["/no/such.limbeck", "--runtime"]).arg(support::onnxruntime()).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).starts_with("LIMBECK_NOT_FOUND: /no/such.limbeck"));
    let runtime = bench().arg(bundle()).args(["--runtime", "/no/such.so"]).output().unwrap();
    assert!(String::from_utf8_lossy(&runtime.stderr).starts_with("LIMBECK_RUNTIME_NOT_FOUND"));
    let pinned = on_bundle(&["--cpus", "1000"]).output().unwrap();
    assert!(String::from_utf8_lossy(&pinned.stderr).contains("--cpus"));
    // One that is there and one that is not: no run on less than was asked for.
    let pinned = on_bundle(&["--cpus", "0,1000"]).output().unwrap();
    assert_eq!(pinned.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&pinned.stderr).contains("not all of these processors"));
}

#[test]
fn processors_are_pinned() {
    let result = json_of(&on_bundle(&["--lengths", "8", "--runs", "5", "--json", "--cpus", "0"]).output().unwrap());
    assert_eq!(result["machine"]["pinned"], json!([0]));
    let result = json_of(&on_bundle(&["--lengths", "8", "--runs", "5", "--json"]).output().unwrap());
    assert_eq!(result["machine"]["pinned"], Value::Null);
}

#[test]
fn an_interrupted_run_still_reports() {
    let child = on_bundle(&["--lengths", "8,16", "--runs", "10000000", "--seconds", "1000", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    support::run(Command::new("kill").args(["-INT", &child.id().to_string()]));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["interrupted"], true);
    assert!(result["results"][0]["runs"].as_u64().unwrap() > 10);
}

/// Stand-ins for ssh and scp that work on this machine.
fn stand_ins(folder: &Path, ssh: &str) {
    for (name, content) in [
        ("ssh", ssh),
        // scp FILE HOST:PATH
        ("scp", "echo \"scp $1 $2\" >> \"$0.log\"\nexec cp \"$1\" \"${2#*:}\"\n"),
    ] {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{content}")).unwrap();
        support::run(Command::new("chmod").arg("+x").arg(&path));
    }
}

fn by_ssh(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(support::capi().join("bench/run-ssh.sh"))
        .env("SSH", folder.join("ssh"))
        .env("SCP", folder.join("scp"))
        .env("LD_LIBRARY_PATH", library::folder())
        .arg("board")
        .arg(program())
        .arg(bundle())
        .arg(support::onnxruntime())
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn boards_are_measured_by_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ssh.log");
    stand_ins(folder.path(), "echo \"$2\" >> \"$0.log\"\nexec sh -c \"$2\"\n");
    let output = by_ssh(folder.path(), &["--lengths", "8", "--runs", "20", "--text", "it's a \"$HOME\" film"]);
    let result = json_of(&output);
    assert_eq!(result["results"][0]["runs"], 20);
    let said = fs::read_to_string(&log).unwrap();
    let remote = said.lines().find_map(|line| line.strip_prefix("rm -rf ")).unwrap().to_owned();
    assert!(remote.starts_with("/tmp/limbeck-bench.") && !Path::new(&remote).exists(), "{remote}");

    // A run that fails leaves nothing behind either, and its status and words come through.
    let output = by_ssh(folder.path(), &["--lengths", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--lengths cannot be `x`"));
    for line in fs::read_to_string(&log).unwrap().lines().filter_map(|line| line.strip_prefix("rm -rf ")) {
        assert!(!Path::new(line).exists(), "{line}");
    }
    // A board that cannot be reached.
    stand_ins(folder.path(), "echo unreachable >&2\nexit 255\n");
    let output = by_ssh(folder.path(), &[]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("unreachable"));
    let help = Command::new(support::capi().join("bench/run-ssh.sh")).output().unwrap();
    assert_eq!(help.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&help.stderr).contains("run-ssh.sh HOST PROGRAM BUNDLE"));
}

#[test]
fn shell_scripts_are_clean() {
    if !support::installed("shellcheck") {
        support::skip("shellcheck is not installed, the shell scripts were not checked");
        return;
    }
    let list = support::run(Command::new("git").args(["ls-files", "*.sh"]).current_dir(support::root()));
    for script in String::from_utf8(list.stdout).unwrap().lines() {
        support::run(Command::new("shellcheck").arg(script).current_dir(support::root()));
    }
}
