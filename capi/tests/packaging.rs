//! The C library as a package: installed into a folder, and found from a
//! project elsewhere by pkg-config and by CMake, shared and static.
#![cfg(target_os = "linux")]

#[path = "../packaging/install.rs"]
mod install;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::library;

#[test]
fn the_installed_folder_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let prefix = install(root.path());
    let lib = prefix.join("lib");
    assert_eq!(fs::read_link(lib.join("liblimbeck.so")).unwrap(), Path::new("liblimbeck.so.0"));
    assert_eq!(fs::read_link(lib.join("liblimbeck.so.0")).unwrap(), Path::new(&shared_file()));
    for file in ["include/limbeck.h", "lib/liblimbeck.a", "lib/pkgconfig/limbeck.pc"] {
        assert!(prefix.join(file).is_file(), "{file}");
    }
    for file in [
        "lib/pkgconfig/limbeck.pc",
        "lib/cmake/limbeck/limbeckConfig.cmake",
        "lib/cmake/limbeck/limbeckConfigVersion.cmake",
    ] {
        let text = fs::read_to_string(prefix.join(file)).unwrap();
        assert!(!text.contains('@'), "{file} has a place that was not filled:\n{text}");
    }
    // Once more over itself, as an update does.
    install(root.path());
}

#[test]
fn pkg_config_finds_shared_and_static() {
    if !support::installed("pkg-config") {
        support::skip("pkg-config is not installed, limbeck.pc was not tried");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let prefix = install(root.path());
    let flags = |arguments: &[&str]| -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.args(arguments).arg("limbeck").env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
        // The folder is not where the file says it would be: as with DESTDIR.
        command.args(["--define-variable", &format!("prefix={}", prefix.display())]);
        let output = support::run(&mut command);
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(flags(&["--modversion"]), [env!("CARGO_PKG_VERSION")]);

    let project = project();
    for (kind, mut link) in
        [("shared", flags(&["--cflags", "--libs"])), ("static", flags(&["--static", "--cflags", "--libs"]))]
    {
        if kind == "static" {
            for flag in &mut link {
                if flag == "-llimbeck" {
                    *flag = "-l:liblimbeck.a".to_owned();
                }
            }
        }
        let program = project.path().join(kind);
        support::run(
            Command::new("gcc").arg("-std=c99").arg(project.path().join("main.c")).args(&link).arg("-o").arg(&program),
        );
        check(&program, &prefix, kind == "static");
    }
}

#[test]
fn cmake_finds_shared_and_static() {
    if !support::installed("cmake") {
        support::skip("cmake is not installed, the CMake package was not tried");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let prefix = install(root.path());
    let project = project();
    let configure = |version: &str, build: &Path| -> Command {
        let mut command = Command::new("cmake");
        command.arg("-S").arg(project.path()).arg("-B").arg(build);
        command.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())).arg(format!("-DWANTED={version}"));
        command
    };
    let build = project.path().join("build");
    support::run(&mut configure("0.1", &build));
    support::run(Command::new("cmake").arg("--build").arg(&build));
    check(&build.join("shared"), &prefix, false);
    check(&build.join("static"), &prefix, true);

    // What is not compatible is refused.
    for version in ["0.2", "1.0", "0.0.9"] {
        let output = configure(version, &project.path().join(version)).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains("limbeck"), "{version} was accepted:\n{stderr}");
    }
}

fn install(root: &Path) -> PathBuf {
    let package = install::Package {
        capi: &support::capi(),
        built: library::folder(),
        version: env!("CARGO_PKG_VERSION"),
        url: env!("CARGO_PKG_REPOSITORY"),
    };
    package.install(root, "/usr/local").unwrap()
}

fn shared_file() -> String {
    format!("liblimbeck.so.{}", env!("CARGO_PKG_VERSION"))
}

/// A C project that knows nothing of this repository.
fn project() -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    fs::write(
        project.path().join("main.c"),
        "#include <limbeck.h>\n#include <stdio.h>\nint main(void) {\n  puts(limbeck_version());\n  return LIMBECK_CHECK_ABI(NULL);\n}\n",
    )
    .unwrap();
    fs::write(
        project.path().join("CMakeLists.txt"),
        "cmake_minimum_required(VERSION 3.16)\nproject(elsewhere C)\nfind_package(limbeck ${WANTED} REQUIRED)\n\
         add_executable(shared main.c)\ntarget_link_libraries(shared PRIVATE limbeck::limbeck)\n\
         add_executable(static main.c)\ntarget_link_libraries(static PRIVATE limbeck::limbeck_static)\n",
    )
    .unwrap();
    project
}

fn check(program: &Path, prefix: &Path, is_static: bool) {
    let mut command = Command::new(program);
    if !is_static {
        command.env("LD_LIBRARY_PATH", prefix.join("lib"));
    }
    let output = support::run(&mut command);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!(env!("CARGO_PKG_VERSION"), "\n"));
    let needed = support::run(Command::new("readelf").arg("-dW").arg(program));
    let needed = String::from_utf8(needed.stdout).unwrap();
    assert_eq!(needed.contains("[liblimbeck.so.0]"), !is_static, "{needed}");
}
