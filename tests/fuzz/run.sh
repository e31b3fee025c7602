#!/bin/sh
# Fuzzes each target and prints how many inputs it ran. Needs a nightly toolchain and a C++ compiler.
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# A finding is left in tests/fuzz/artifacts and ends the run with status 1; give the file to the target's program to see
# it again.
set -eu
cd "$(dirname "$0")"
seconds=${1:-600}
[ $# -gt 0 ] && shift
targets=${*:-bundle capi manifest offsets spans}
# For the target capi: ONNX Runtime, and a bundle of each task.
cache=${LIMBECK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/limbeck}
export LIMBECK_FUZZ_RUNTIME="${ORT_DYLIB_PATH:-$cache/onnxruntime-1.24.4/libonnxruntime.so.1.24.4}"
export LIMBECK_FUZZ_BUNDLE="$PWD/artifacts/bundles/tiny.limbeck"
(cd ../.. && cargo run --quiet -p limbeck-capi --example tiny_bundles -- tests/fuzz/artifacts/bundles)
host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz sets: coverage for libFuzzer, and AddressSanitizer.
RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo +nightly build --quiet --release --target "$host"
programs=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$host/release
for target in $targets; do
    mkdir -p "corpus/$target" artifacts
    seeds=
    [ -d "seeds/$target" ] && seeds=seeds/$target
    [ "$target" = bundle ] && seeds=../golden/bundle-1.0
    # shellcheck disable=SC2086 # no seeds, no argument
    "$programs/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target-" "corpus/$target" $seeds >"artifacts/$target.log" 2>&1 || {
        tail -40 "artifacts/$target.log"
        exit 1
    }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "artifacts/$target.log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "artifacts/$target.log" | tail -1)
    echo "$target: $runs inputs in $seconds seconds, $covered places of the code reached, nothing found"
done
