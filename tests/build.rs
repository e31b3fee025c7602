//! Makes the test programs find libtorch.

fn main() {
    let libraries = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys did not say where libtorch is");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("unix") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libraries}");
    }
}
