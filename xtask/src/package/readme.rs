//! The README of a package.

use super::install::Target;

/// Its text.
pub fn text(target: &Target, version: &str, profile: &str, glibc: Option<&str>) -> String {
    let shared = target.shared(version);
    let links = if shared.soname == shared.file {
        String::new()
    } else {
        format!(", with the links `{}` and `{}`", shared.soname, shared.plain)
    };
    let use_it = if target.is_android() {
        "Put `lib/liblimbeck.so` into `src/main/jniLibs/ABI/` of the app, beside the one `libonnxruntime.so` of the app."
    } else if target.is_apple() {
        "    cc app.c $(PKG_CONFIG_PATH=lib/pkgconfig pkg-config --cflags --libs limbeck) -o app\n\n\
         or `find_package(limbeck)` in CMake with this folder in `CMAKE_PREFIX_PATH`. Swift: `import CLimbeck` through \
         `include/module.modulemap`."
    } else {
        "    cc app.c $(PKG_CONFIG_PATH=lib/pkgconfig pkg-config --cflags --libs limbeck) -o app\n\n\
         or `find_package(limbeck)` in CMake with this folder in `CMAKE_PREFIX_PATH`: targets `limbeck::limbeck` and \
         `limbeck::limbeck_static`."
    };
    format!(
        "# limbeck {version} for {}\n\n\
         Built with the profile `{profile}`. Run distilled language models from one bundle, from C and all that speaks it.\n\n\
         | file | what |\n|---|---|\n\
         | `include/limbeck.h` | the interface, C99 and C++11 |\n\
         | `include/limbeck.hpp` | the same for C++17 |\n\
         | `lib/{}` | the shared library{links} |\n\
         | `lib/liblimbeck.a` | the static library; link it with `{}` |\n\
         | `lib/pkgconfig`, `lib/cmake` | for pkg-config and CMake. The folder may lie anywhere |\n\n\
         {use_it}\n\n\
         ## What is needed when it runs\n\n\
         * ONNX Runtime 1.24 or later for this machine: not in this package and not linked. The library opens it\n  \
         from the path that the app gives, else from beside the program or the library (`limbeck_env_options` in\n  \
         limbeck.h).\n\
         * A bundle (`.limbeck`), which `limbeck pack`, `quantize` or `distill` writes.\n\
         * The system's C library{}. No network, no other file.\n\n\
         Licence: MIT or Apache-2.0, as you like.\n",
        target.triple(),
        shared.file,
        target.static_libs(),
        glibc.map_or(String::new(), |version| format!(", glibc {version} or later")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_told_what_concerns_it() {
        let of = |triple: &str, glibc| text(&Target::new(triple), "0.1.0", "min-size", glibc);
        let linux = of("aarch64-unknown-linux-gnu", Some("2.34"));
        for part in ["`lib/liblimbeck.so.0.1.0`", "links `liblimbeck.so.0` and", "glibc 2.34 or later", "pkg-config"] {
            assert!(linux.contains(part), "{part} is not in\n{linux}");
        }
        let android = of("aarch64-linux-android", None);
        assert!(android.contains("jniLibs") && !android.contains("with the links") && !android.contains("glibc"));
        assert!(of("aarch64-apple-darwin", None).contains("import CLimbeck"));
    }
}
