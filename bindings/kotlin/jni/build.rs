//! Link settings of the shared library, and the switch for the test hook; the reasons are in capi/build.rs.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = env::var("CARGO_CFG_TARGET_OS");
    if matches!(system.as_deref(), Ok("linux" | "android")) {
        link_arg("-Wl,-soname,liblimbeck_jni.so");
        link_arg("-Wl,-z,max-page-size=16384");
        link_arg("-Wl,-z,nodelete");
    }
    println!("cargo::rerun-if-env-changed=LIMBECK_JNI_TEST_HOOKS");
    if env::var_os("LIMBECK_JNI_TEST_HOOKS").is_some_and(|value| value == "1") {
        println!("cargo::rustc-cfg=limbeck_test_hooks");
    }
}

fn link_arg(argument: &str) {
    println!("cargo::rustc-cdylib-link-arg={argument}");
}
