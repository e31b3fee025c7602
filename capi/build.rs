//! Link settings of the shared library, and the switch for the test hooks.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");

    match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        // A cdylib has no SONAME unless told. The number is the major number of
        // the ABI (src/version.rs); a unit test compares the two.
        Ok("linux" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") => {
            link_arg("-Wl,-soname,liblimbeck.so.0");
        }
        // An APK only carries files that end in `.so`, so no number here.
        Ok("android") => link_arg("-Wl,-soname,liblimbeck.so"),
        Ok("macos" | "ios") => link_arg("-Wl,-install_name,@rpath/liblimbeck.0.dylib"),
        _ => {}
    }
    if matches!(env::var("CARGO_CFG_TARGET_OS").as_deref(), Ok("linux" | "android")) {
        // Kernels with 16 KiB pages refuse libraries aligned for 4 KiB ones.
        link_arg("-Wl,-z,max-page-size=16384");
        // ONNX Runtime and the thread that keeps deadlines stay for good, so
        // their code must survive a dlclose.
        link_arg("-Wl,-z,nodelete");
    }

    // A tenth of the library's size, where the loader can read them: glibc from 2.36 on, Android from 9 on. A cfg of
    // the environment and not a cargo feature for the reason below; `cargo xtask package` sets it.
    println!("cargo::rerun-if-env-changed=LIMBECK_PACK_RELOCATIONS");
    if env::var_os("LIMBECK_PACK_RELOCATIONS").is_some_and(|value| value == "1") {
        link_arg("-Wl,-z,pack-relative-relocs");
    }

    // The C tests need a way to make the library panic. It is a cfg from an
    // environment variable and not a cargo feature, because a shared library's
    // file name does not depend on its features: cargo would take the file made
    // with the feature for the one made without. A changed variable, on the
    // other hand, makes it build again. tests/abi.rs proves that ordinary
    // builds export no hook.
    println!("cargo::rerun-if-env-changed=LIMBECK_CAPI_TEST_HOOKS");
    if env::var_os("LIMBECK_CAPI_TEST_HOOKS").is_some_and(|value| value == "1") {
        println!("cargo::rustc-cfg=limbeck_test_hooks");
    }
}

fn link_arg(argument: &str) {
    println!("cargo::rustc-cdylib-link-arg={argument}");
}
