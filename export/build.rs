//! Compiles the libtorch shim and makes the `limbeck` binary find its engines from any folder.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=shim/torch_shim.cc");
    println!("cargo:rerun-if-changed=shim/torch_shim.h");
    println!("cargo:rerun-if-env-changed=LIMBECK_ORT_DYLIB");
    // torch-sys says where it found libtorch's libraries; the headers lie beside them.
    let libraries = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys did not say where libtorch is");
    let root = Path::new(&libraries).parent().expect("libtorch's lib folder has no parent");
    let mut shim = cxx_build::bridge("src/train/shim.rs");
    shim.file("shim/torch_shim.cc").std("c++17").warnings(false).include(root.join("include"));
    shim.compile("limbeck-torch-shim");
    if env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("unix") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libraries}");
    }
    // A default for the CLI only; the sdk never has a path built in.
    if let Ok(library) = env::var("LIMBECK_ORT_DYLIB") {
        println!("cargo:rustc-env=LIMBECK_ORT_DYLIB={library}");
    }
}
