//! Compiles the C part of the target `capi`.

fn main() {
    println!("cargo::rerun-if-changed=../c");
    println!("cargo::rerun-if-changed=../../capi/include");
    cc::Build::new()
        .file("../c/sequences.c")
        .include("../c")
        .include("../../capi/include")
        .define("LIMBECK_FUZZ", None)
        // libFuzzer's own names belong to Rust's side.
        .define("LLVMFuzzerTestOneInput", "limbeck_sequences_run")
        .define("LLVMFuzzerInitialize", "limbeck_sequences_begin")
        .compile("sequences");
}
