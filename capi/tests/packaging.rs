//! The C library as a package: installed into a folder, and found from a
//! project elsewhere by pkg-config and by CMake, shared and static.
#![cfg(target_os = "linux")]

#[path = "../packaging/install.rs"]
mod install;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use support::library;

#[test]
fn the_installed_folder_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let prefix = install(root.path());
    let lib = prefix.join("lib");
    assert_eq!(fs::read_link(lib.join("liblimbeck.so")).unwrap(), Path::new("liblimbeck.so.0"));
    assert_eq!(fs::read_link(lib.join("liblimbeck.so.0")).unwrap(), Path::new(&shared_file()));
    for file in ["include/limbeck.h", "include/limbeck.hpp", "lib/liblimbeck.a", "lib/pkgconfig/limbeck.pc"] {
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

/// As in the archives of `cargo xtask package`, which are unpacked anywhere.
#[test]
fn a_package_may_be_moved() {
    if !support::installed("pkg-config") {
        support::skip("pkg-config is not installed, a moved package was not tried");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    package(true).install(&root.path().join("first"), "/").unwrap();
    let moved = root.path().join("moved");
    fs::rename(root.path().join("first"), &moved).unwrap();
    let mut command = Command::new("pkg-config");
    command.args(["--cflags", "--libs", "limbeck"]).env("PKG_CONFIG_PATH", moved.join("lib/pkgconfig"));
    let flags = String::from_utf8(support::run(&mut command).stdout).unwrap();
    let project = project();
    let program = project.path().join("moved");
    let mut gcc = Command::new("gcc");
    gcc.arg(project.path().join("main.c")).args(flags.split_whitespace()).arg("-o").arg(&program);
    support::run(&mut gcc);
    check(&program, &moved, false);
}

/// They cannot be run here: they need the makers' tools.
#[test]
fn scripts_for_phones_pass_shellcheck() {
    if !support::installed("shellcheck") {
        support::skip("shellcheck is not installed, the scripts for Android and iOS were not looked at");
        return;
    }
    let scripts = ["capi/packaging/android.sh", "capi/packaging/xcframework.sh", "bindings/kotlin/android.sh"];
    for script in scripts.into_iter().chain(["bindings/swift/test.sh"]) {
        support::run(Command::new("shellcheck").arg(support::root().join(script)));
    }
    let map = fs::read_to_string(support::capi().join("packaging/module.modulemap")).unwrap();
    assert!(map.contains("header \"limbeck.h\""), "{map}");
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

/// vcpkg itself is not run: its own functions are stood in for, and what it would copy into its tree is used.
#[test]
fn the_vcpkg_port_lays_out_what_cmake_finds() {
    if !support::installed("cmake") {
        support::skip("cmake is not installed, the vcpkg port was not tried");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = whole_package(root.path());
    let installed = root.path().join("installed");
    let script = root.path().join("vcpkg.cmake");
    let stand_ins = "function(vcpkg_fixup_pkgconfig)\nendfunction()\n\
        function(vcpkg_install_copyright)\n  cmake_parse_arguments(given \"\" \"\" FILE_LIST ${ARGN})\n  \
        file(INSTALL ${given_FILE_LIST} DESTINATION \"${CURRENT_PACKAGES_DIR}/share/limbeck\")\nendfunction()\n\
        include(\"${PORT_FILE}\")\n";
    fs::write(&script, stand_ins).unwrap();
    let port = |version: &str, package: Option<&Path>| -> Command {
        let mut command = Command::new("cmake");
        let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        command.arg(format!("-DVCPKG_TARGET_ARCHITECTURE={processor}")).arg(format!("-DVERSION={version}"));
        command.arg(format!("-DCURRENT_PACKAGES_DIR={}", installed.display()));
        command
            .arg(format!("-DPORT_FILE={}", support::capi().join("packaging/vcpkg/limbeck/portfile.cmake").display()));
        command.args(package.map(|package| format!("-DLIMBECK_PACKAGE={}", package.display())));
        command.arg("-P").arg(&script);
        command
    };
    for (version, package, part) in [
        ("9.9.9", Some(&*folder), "another package"),
        (env!("CARGO_PKG_VERSION"), None, "cargo xtask package --target"),
    ] {
        let output = port(version, package).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && stderr.contains(part), "{stderr}");
    }
    support::run(&mut port(env!("CARGO_PKG_VERSION"), Some(&folder)));
    for file in ["share/limbeck/LICENSE-MIT", "share/limbeck/usage", "lib/pkgconfig/limbeck.pc", "include/limbeck.hpp"]
    {
        assert!(installed.join(file).is_file(), "{file}");
    }
    assert!(!installed.join("lib/cmake").exists());
    let usage = fs::read_to_string(installed.join("share/limbeck/usage")).unwrap();
    assert!(usage.contains("limbeck::limbeck_static"), "{usage}");

    let project = project();
    let build = project.path().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(project.path()).arg("-B").arg(&build).arg("-DWANTED=0.1");
    support::run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", installed.display())));
    support::run(Command::new("cmake").arg("--build").arg(&build));
    check(&build.join("shared"), &installed, false);
    check(&build.join("static"), &installed, true);
}

/// As a package of Conan, shared and static, with the program of its test_package.
#[test]
fn conan_makes_a_package_of_it() {
    if !support::installed("conan") || !support::installed("cmake") {
        support::skip("conan (version 2) or cmake is not installed, the Conan recipe was not run");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = whole_package(root.path());
    let conan = |arguments: &[&str]| -> Command {
        let mut command = Command::new("conan");
        command.args(arguments).env("CONAN_HOME", root.path().join("conan"));
        command
    };
    support::run(&mut conan(&["profile", "detect"]));
    let recipe = support::capi().join("packaging/conan");
    let create = |package: Option<&Path>, more: &[&str]| -> Command {
        // In a copy, because test_package is built where it lies.
        let copy = root.path().join("repository/capi/packaging/conan");
        fs::create_dir_all(copy.join("test_package")).unwrap();
        fs::copy(support::root().join("Cargo.toml"), root.path().join("repository/Cargo.toml")).unwrap();
        for file in
            ["conanfile.py", "test_package/conanfile.py", "test_package/CMakeLists.txt", "test_package/main.cpp"]
        {
            fs::copy(recipe.join(file), copy.join(file)).unwrap();
        }
        let mut command = conan(&["create"]);
        command.arg(copy).args(more);
        command.args(
            package
                .into_iter()
                .flat_map(|package| ["-c".to_owned(), format!("user.limbeck:package={}", package.display())]),
        );
        command
    };
    for more in [&["-o", "limbeck/*:shared=True"][..], &["-o", "limbeck/*:shared=False"]] {
        let output = support::run(&mut create(Some(&folder), more));
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(printed.contains(concat!("limbeck ", env!("CARGO_PKG_VERSION"), "\n")), "{printed}");
    }
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("README.md"), "# limbeck 9.9.9 for x86_64-unknown-linux-gnu\n").unwrap();
    for (package, part) in [(None, "user.limbeck:package=FOLDER"), (Some(&*other), "another package")] {
        let output = create(package, &["-o", "limbeck/*:shared=True"]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(part), "{stderr}");
    }
}

/// The projects in this repository that stand over an installed limbeck.
#[test]
fn cmake_builds_the_latency_tool_and_the_cplusplus_api() {
    if !support::installed("cmake") || !Path::new("/usr/include/gtest/gtest.h").is_file() {
        support::skip("cmake or GoogleTest is not installed, limbeck-bench and the C++ API were not built by it");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let prefix = install(root.path());
    let build = |project: &str, arguments: &[&str], target: &str| -> PathBuf {
        let folder = root.path().join(target);
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(support::root().join(project)).arg("-B").arg(&folder).args(arguments);
        support::run(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())));
        support::run(Command::new("cmake").arg("--build").arg(&folder).args(["--target", target]));
        folder.join(target)
    };
    let bench = build("capi/bench", &["-DCMAKE_BUILD_TYPE=Release"], "limbeck-bench");
    let output = support::run(Command::new(bench).arg("--version"));
    assert_eq!(output.stdout, concat!("limbeck-bench ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    let sentiment = build("bindings/cpp", &["-DLIMBECK_CPP_TESTS=ON"], "sentiment");
    assert_eq!(Command::new(sentiment).output().unwrap().status.code(), Some(2));
}

/// As build.rs links it; only the files of Linux can be built here, so empty ones stand for the others.
#[test]
fn each_target_has_its_own_names() {
    for (triple, names, pointer, libraries) in [
        ("aarch64-linux-android", &["liblimbeck.so"][..], "\"8\"", "-llog"),
        ("armv7-linux-androideabi", &["liblimbeck.so"], "\"4\"", "-llog"),
        (
            "aarch64-apple-darwin",
            &["liblimbeck.0.1.0.dylib", "liblimbeck.0.dylib", "liblimbeck.dylib"],
            "\"8\"",
            "-lSystem",
        ),
        (
            "armv7-unknown-linux-gnueabihf",
            &["liblimbeck.so", "liblimbeck.so.0", "liblimbeck.so.0.1.0"],
            "\"4\"",
            "-ldl",
        ),
    ] {
        let (root, built) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for file in ["liblimbeck.so", "liblimbeck.dylib", "liblimbeck.a"] {
            fs::write(built.path().join(file), file).unwrap();
        }
        let target = install::Target::new(triple);
        assert_eq!(target.triple(), triple);
        let (capi, url) = (support::capi(), "https://example.org");
        let package = install::Package {
            capi: &capi,
            built: built.path(),
            target: &target,
            version: "0.1.0",
            url,
            relocatable: true,
        };
        let prefix = package.install(root.path(), "/").unwrap();
        let mut found: Vec<String> = fs::read_dir(prefix.join("lib"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("liblimbeck.") && name != "liblimbeck.a")
            .collect();
        found.sort();
        assert_eq!(found, names, "{triple}");
        // Each of them leads to the library.
        for name in names {
            assert!(fs::read_to_string(prefix.join("lib").join(name)).unwrap().starts_with("liblimbeck."), "{triple}");
        }
        let read = |file: &str| fs::read_to_string(prefix.join("lib").join(file)).unwrap();
        assert!(read("cmake/limbeck/limbeckConfigVersion.cmake").contains(pointer), "{triple}");
        let pkg_config = read("pkgconfig/limbeck.pc");
        assert!(pkg_config.contains(libraries), "{triple}");
        assert!(pkg_config.starts_with("prefix=${pcfiledir}/../..\n"), "{pkg_config}");
        let cmake = read("cmake/limbeck/limbeckConfig.cmake");
        assert_eq!(cmake.contains("\"@rpath/liblimbeck.0.dylib\""), target.is_apple(), "{cmake}");
    }
}

fn install(root: &Path) -> PathBuf {
    package(false).install(root, "/usr/local").unwrap()
}

/// As `cargo xtask package` makes it.
fn whole_package(root: &Path) -> PathBuf {
    let folder = package(true).install(&root.join("package"), "/").unwrap();
    let title = format!("# limbeck {} for {}\n", env!("CARGO_PKG_VERSION"), host().triple());
    fs::write(folder.join("README.md"), title).unwrap();
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(support::root().join(licence), folder.join(licence)).unwrap();
    }
    folder
}

fn package(relocatable: bool) -> install::Package<'static> {
    static CAPI: LazyLock<PathBuf> = LazyLock::new(support::capi);
    static HOST: LazyLock<install::Target> = LazyLock::new(host);
    install::Package {
        capi: &CAPI,
        built: library::folder(),
        target: &HOST,
        version: env!("CARGO_PKG_VERSION"),
        url: env!("CARGO_PKG_REPOSITORY"),
        relocatable,
    }
}

/// As far as it matters here.
fn host() -> install::Target {
    install::Target::new(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
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
