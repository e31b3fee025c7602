//! System programs: compilers and valgrind.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program, or the path of a file, and what brings it.
struct Tool {
    program: &'static str,
    why: &'static str,
    /// Debian's and Ubuntu's packages.
    packages: &'static [&'static str],
    /// Whether nothing can be done without it. Tests that need another one say that they are skipped.
    required: bool,
}

impl Tool {
    fn is_there(&self) -> bool {
        if self.program.starts_with('/') { Path::new(self.program).is_file() } else { runs(self.program, "--version") }
    }
}

const CC: Tool = Tool {
    program: "cc",
    why: "to link, and to compile the C programs",
    packages: &["gcc", "libc6-dev"],
    required: true,
};
const CXX: Tool = Tool { program: "c++", why: "to compile the bridge to libtorch", packages: &["g++"], required: true };
const GCC: Tool = Tool { program: "gcc", why: "for the C tests", packages: &["gcc", "libc6-dev"], required: true };
const GXX: Tool = Tool { program: "g++", why: "for the header tests", packages: &["g++"], required: true };
// Without the symbols of the C library valgrind does not start on Debian.
const VALGRIND: Tool =
    Tool { program: "valgrind", why: "for the C tests", packages: &["valgrind", "libc6-dbg"], required: true };

const CLANG: Tool = Tool {
    program: "clang",
    why: "to compile the header and the C programs once more",
    packages: &["clang"],
    required: false,
};
const GTEST: Tool = Tool {
    program: "/usr/include/gtest/gtest.h",
    why: "for the tests of the C++ API",
    packages: &["libgtest-dev"],
    required: false,
};
const CPP_JSON: Tool = Tool {
    program: "/usr/include/nlohmann/json.hpp",
    why: "for the conformance cases in C++",
    packages: &["nlohmann-json3-dev"],
    required: false,
};
const ABIDIFF: Tool = Tool {
    program: "abidiff",
    why: "to compare the C library's ABI with the last tag's",
    packages: &["abigail-tools"],
    required: false,
};
const DOXYGEN: Tool =
    Tool { program: "doxygen", why: "for the pages of limbeck.h", packages: &["doxygen"], required: false };
const MAVEN: Tool = Tool {
    program: "mvn",
    why: "for the tests of Kotlin and Java",
    packages: &["maven", "default-jdk-headless"],
    required: false,
};
const JAVAC: Tool = Tool {
    program: "javac",
    why: "for the tests of Kotlin and Java",
    packages: &["default-jdk-headless"],
    required: false,
};
const MPI: Tool = Tool {
    program: "mpicc",
    why: "to train in two processes",
    packages: &["openmpi-bin", "libopenmpi-dev", "libclang-dev"],
    required: false,
};
const SHELLCHECK: Tool =
    Tool { program: "shellcheck", why: "to check the shell scripts", packages: &["shellcheck"], required: false };
const PKG_CONFIG: Tool =
    Tool { program: "pkg-config", why: "for the packaging tests", packages: &["pkg-config"], required: false };
const CMAKE: Tool =
    Tool { program: "cmake", why: "for the packaging tests", packages: &["cmake", "make"], required: false };

/// What a build needs.
///
/// # Errors
/// Something is missing and cannot be installed.
pub fn ensure_for_build() -> Result<()> {
    ensure(&[CC, CXX])
}

/// What the tests need.
///
/// # Errors
/// Something is missing and cannot be installed.
pub fn ensure_for_tests() -> Result<()> {
    if cfg!(target_os = "linux") {
        ensure(&[
            CC, CXX, GCC, GXX, VALGRIND, PKG_CONFIG, CMAKE, CLANG, GTEST, CPP_JSON, ABIDIFF, DOXYGEN, SHELLCHECK,
            MAVEN, JAVAC, MPI,
        ])
    } else {
        ensure(&[CC, CXX])
    }
}

/// Whether programs for Open MPI can be built and two processes be run: another MPI has other options, and some containers
/// let it start none.
pub fn has_open_mpi() -> bool {
    let two = || {
        let mut mpirun = Command::new("mpirun");
        mpirun.args(["--allow-run-as-root", "--oversubscribe", "-np", "2", "true"]);
        succeeds(&mut mpirun)
    };
    MPI.is_there() && has_libclang() && two()
}

/// Whether the library is there that reads Open MPI's header.
fn has_libclang() -> bool {
    let holds = |folder: &Path| {
        let files = folder.read_dir().into_iter().flatten().flatten();
        files.map(|file| file.file_name()).any(|name| {
            let name = name.to_string_lossy();
            name.starts_with("libclang.so")
                || name.strip_prefix("libclang-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    let llvm = Path::new("/usr/lib").read_dir().into_iter().flatten().flatten().map(|folder| folder.path());
    let named = std::env::var_os("LIBCLANG_PATH").map(std::path::PathBuf::from);
    named.into_iter().chain(llvm.flat_map(|folder| [folder.join("lib"), folder])).any(|folder| holds(&folder))
}

fn ensure(tools: &[Tool]) -> Result<()> {
    let mut missing: Vec<&Tool> = tools.iter().filter(|tool| !tool.is_there()).collect();
    let can_install = !missing.is_empty() && is_root() && runs("apt-get", "--version");
    if !can_install {
        missing.retain(|tool| tool.required);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages.iter().copied()).collect();
    packages.sort_unstable();
    packages.dedup();
    if !can_install {
        let needs: Vec<String> = missing.iter().map(|tool| format!("{} {}", tool.program, tool.why)).collect();
        bail!(
            "not installed: {}. Install the packages {} (these are Debian's and Ubuntu's names; \
             `apt-get install` as root) and run this again",
            needs.join("; "),
            packages.join(" ")
        );
    }
    eprintln!("installing {}", packages.join(" "));
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&packages);
    let installed = apt_get(&["update", "-qq"]).and_then(|()| apt_get(&install));
    let still: Vec<&Tool> = missing.into_iter().filter(|tool| !tool.is_there()).collect();
    match (installed, still.iter().find(|tool| tool.required)) {
        (Err(error), Some(tool)) => Err(error.context(format!("installing {} {}", tool.program, tool.why))),
        (Ok(()), Some(tool)) => {
            bail!("{} still does not run after installing {}", tool.program, tool.packages.join(" "))
        }
        (_, None) => {
            for tool in still {
                eprintln!("warning: no {} {}: those are skipped", tool.program, tool.why);
            }
            Ok(())
        }
    }
}

/// Runs apt-get.
///
/// # Errors
/// It fails; its words were shown.
pub fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().context("running apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed; its words are above", arguments.join(" "));
    }
    Ok(())
}

/// Whether this may install packages.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether a program starts.
pub fn runs(program: &str, argument: &str) -> bool {
    succeeds(Command::new(program).arg(argument))
}

/// Whether a program runs to a good end; what it says is thrown away.
fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_installed() {
        ensure(&[Tool { program: "rustc", why: "for this test", packages: &[], required: true }]).unwrap();
        assert!(!runs("limbeck-no-such-program", "--version"));
    }
}
