//! `cargo xtask package`: the C library as a folder and an archive that others build with.

mod all;
pub mod android;
mod archive;
mod checks;
mod elf;
#[path = "../../../capi/packaging/install.rs"]
mod install;
pub mod library;
mod readme;
pub mod sizes;
pub mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::Arguments;
use crate::cache::Cache;
use crate::command::{command, repository};
use install::Target;
use sizes::megabytes;
use targets::{KNOWN, Toolchain};

/// `--help`.
pub const HELP: &str = "\
Builds the C library and packs it, for C and C++, for Python or for Node: include/limbeck.h, lib/ with the shared and the static library, files for
pkg-config and CMake, licences, a README. Looks at the result before it is packed: only limbeck_* is exported,
16 KiB pages, SONAME, nothing needed but the system. Writes FOLDER, FOLDER.tar.gz and FOLDER.tar.gz.sha256.

Usage: cargo xtask package [OPTIONS]

Options:
  --target T     for another machine than this one; `--targets` lists them and what each needs
  --targets      list the targets, build nothing
  --profile P    min-size (default, what is shipped), release, or min-size-packed: a tenth smaller by packed
                 relocations, which need glibc 2.36, or Android 9 (API 28)
  --out DIR      where to write (default out/package)
  --python       the wheel for this machine's Pythons instead (needs pip): out/package/limbeck-*.whl
  --node         the npm package for this machine instead (needs npm): out/package/limbeck-VERSION.tgz
  --all          every package that this machine can make, and a list of the others with what they need
  --sizes        measure all profiles on this machine instead, and fail if the library is over its limit
  --save         with --sizes: write capi/abi/sizes.json, from which `cargo xtask docs` makes docs/packaging.md
  --android DIR  instead make the AAR of the Kotlin API, of DIR/ABI/liblimbeck_jni.so (bindings/kotlin/android.sh builds
                 those, with an NDK) and of bindings/kotlin/target/limbeck-VERSION.jar
";

/// The verb.
///
/// # Errors
/// The build fails, something is missing for the target, or the library is not as it must be.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let (list, measure, save) = (arguments.flag("--targets"), arguments.flag("--sizes"), arguments.flag("--save"));
    let (python, node, all) = (arguments.flag("--python"), arguments.flag("--node"), arguments.flag("--all"));
    let (target, profile, out) =
        (arguments.value("--target")?, arguments.value("--profile")?, arguments.value("--out")?);
    let android = arguments.value("--android")?;
    arguments.finish()?;
    if list {
        for known in KNOWN {
            println!("{:27} {}", known.triple, known.needs);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if measure {
        if target.is_some() || profile.is_some() || out.is_some() || python || node || all {
            bail!("--sizes measures all profiles on this machine: it takes --save and nothing else");
        }
        return sizes::run(save);
    }
    if save {
        bail!("--save goes with --sizes");
    }
    if let Some(libraries) = android {
        if target.is_some() || profile.is_some() || python || node || all {
            bail!("--android takes libraries that are built: it takes --out and nothing else");
        }
        return make_aar(Path::new(&libraries), out.as_deref().map(Path::new));
    }
    let target = target.map_or_else(targets::host, Ok)?;
    let profile = profile.as_deref().unwrap_or("min-size");
    let out = match out {
        // It counts from where the user stands.
        Some(out) => std::path::absolute(out)?,
        None => repository().join("out/package"),
    };
    if all {
        if python || node || target != targets::host()? {
            bail!("--all makes the packages of this machine: it takes --profile and --out and nothing else");
        }
        return all::run(&target, profile, &out);
    }
    if python || node {
        return bindings(&target, profile, &out, python, node);
    }
    let package = make(&target, profile, &out)?;
    println!("checked       {}", package.found);
    let (archive, sha256) = archive::pack(&out, &package.name, modified())?;
    for file in [&package.shared, &package.archive] {
        println!(
            "{:13} {}",
            file.file_name().unwrap_or_default().to_string_lossy(),
            megabytes(fs::metadata(file)?.len())
        );
    }
    println!("package       {}", package.folder.display());
    println!("archive       {} ({})", archive.display(), megabytes(fs::metadata(&archive)?.len()));
    println!("sha256        {sha256}");
    Ok(ExitCode::SUCCESS)
}

/// The packages of the bindings, over the library that is checked as the C package's is.
fn bindings(target: &str, profile: &str, out: &Path, python: bool, node: bool) -> Result<ExitCode> {
    if target != targets::host()? {
        bail!("--python and --node are for this machine: run them on one of {target}");
    }
    let work = tempfile::tempdir().context("making a work folder")?;
    let package = make(target, profile, work.path())?;
    println!("checked       {}", package.found);
    let mut made = Vec::new();
    if python {
        // The time of the files in it, so that the same sources give the same wheel.
        made.push(("wheel", crate::bindings::python::wheel(&Cache::locate()?, &package.shared, out, modified())?));
    }
    if node {
        made.push(("npm package", crate::bindings::node::tarball(&package.shared, out)?));
    }
    for (name, path) in made {
        println!("{name:13} {} ({})", path.display(), megabytes(fs::metadata(&path)?.len()));
    }
    Ok(ExitCode::SUCCESS)
}

fn make_aar(libraries: &Path, out: Option<&Path>) -> Result<ExitCode> {
    let jar = repository().join(format!("bindings/kotlin/target/limbeck-{}.jar", env!("CARGO_PKG_VERSION")));
    let out = out.map_or_else(|| Ok(repository().join("out/android")), std::path::absolute)?;
    let made = android::make(&std::path::absolute(libraries)?, &jar, &out)?;
    println!("AAR           {} ({})", made.aar.display(), megabytes(fs::metadata(&made.aar)?.len()));
    println!("POM           {}", made.pom.display());
    println!("processors    {}", made.abis.join(" "));
    Ok(ExitCode::SUCCESS)
}

/// A package that was made.
pub struct Made {
    /// Its folder.
    pub folder: PathBuf,
    /// The folder's name.
    pub name: String,
    /// The shared library.
    pub shared: PathBuf,
    /// The static one.
    pub archive: PathBuf,
    /// What the checks found.
    pub found: String,
}

/// Builds the library for a target, and lays it out and checks it in a folder below `out`.
///
/// # Errors
/// See [`run`].
pub fn make(triple: &str, profile: &str, out: &Path) -> Result<Made> {
    if !library::PROFILES.contains(&profile) {
        bail!("`{profile}` is not a profile of packages: use {}", library::PROFILES.join(", "));
    }
    let toolchain = Toolchain::find(triple)?;
    let built = library::build(&toolchain, triple, profile)?;
    lay_out(&built, &Target::new(triple), profile, out)
}

fn lay_out(built: &Path, target: &Target, profile: &str, out: &Path) -> Result<Made> {
    let (version, root) = (env!("CARGO_PKG_VERSION"), repository());
    let suffix = if profile == "min-size" { String::new() } else { format!("-{profile}") };
    let name = format!("limbeck-{version}-{}{suffix}", target.triple());
    let (folder, capi) = (out.join(&name), root.join("capi"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing the old {}", folder.display()))?;
    }
    let url = env!("CARGO_PKG_REPOSITORY");
    let package = install::Package { capi: &capi, built, target, version, url, relocatable: true };
    package.install(&folder, "/").with_context(|| format!("filling {}", folder.display()))?;
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(root.join(licence), folder.join(licence)).with_context(|| format!("copying {licence}"))?;
    }
    if target.is_apple() {
        let map = "include/module.modulemap";
        fs::copy(capi.join("packaging/module.modulemap"), folder.join(map)).context("copying the module map")?;
    }
    let shared = folder.join("lib").join(target.shared(version).file);
    let symbols = fs::read_to_string(capi.join("abi/symbols.txt")).context("reading capi/abi/symbols.txt")?;
    let bytes = fs::read(&shared).with_context(|| format!("reading {}", shared.display()))?;
    let found = checks::check(&bytes, target, version, &symbols.lines().collect::<Vec<_>>())?;
    let readme = readme::text(target, version, profile, found.glibc.as_deref());
    fs::write(folder.join("README.md"), readme).context("writing README.md")?;
    let found = found.line;
    Ok(Made { archive: folder.join("lib/liblimbeck.a"), folder, name, shared, found })
}

/// The time of all files in an archive: SOURCE_DATE_EPOCH, else that of the commit.
pub fn modified() -> u64 {
    let own = std::env::var("SOURCE_DATE_EPOCH").ok();
    let commit = || targets::first_line(command("git").args(["log", "-1", "--format=%ct"]));
    own.or_else(commit).and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_do_not_fit_are_refused() {
        for (words, part) in [
            (&["--save"][..], "--sizes"),
            (&["--sizes", "--profile", "release"], "nothing else"),
            (&["--sizes", "--python"], "nothing else"),
            (&["--python", "--target", "armv7-linux-androideabi"], "for this machine"),
            (&["--all", "--node"], "nothing else"),
            (&["--all", "--target", "armv7-linux-androideabi"], "of this machine"),
            (&["--all", "--sizes"], "nothing else"),
            (&["--profile", "debug"], "release, min-size, min-size-packed"),
            (&["--android", "libs", "--profile", "release"], "nothing else"),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let error = run(Arguments::new("package", &words)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    /// With a library that is none: it is laid out, then refused.
    #[test]
    fn what_fails_the_checks_is_not_packed() {
        let (built, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for file in ["liblimbeck.so", "liblimbeck.a"] {
            fs::write(built.path().join(file), file).unwrap();
        }
        let target = Target::new("aarch64-unknown-linux-gnu");
        let error = lay_out(built.path(), &target, "release", out.path()).err().unwrap().to_string();
        assert!(error.contains("not an ELF file"), "{error}");
        let folder = out.path().join(format!("limbeck-{}-{}-release", env!("CARGO_PKG_VERSION"), target.triple()));
        assert!(!folder.join("README.md").exists());
        for file in ["LICENSE-MIT", "LICENSE-APACHE", "include/limbeck.h", "lib/pkgconfig/limbeck.pc"] {
            assert!(folder.join(file).is_file(), "{file}");
        }
    }
}
