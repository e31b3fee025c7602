//! Where libtorch, ONNX Runtime, the teacher and the data are, and what environment cargo needs for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::cache::Cache;
use crate::clients::Clients;
use crate::fetch::fetch;
use crate::pins::{self, Asset};
use crate::python;

/// Where something comes from.
#[derive(Clone, Debug)]
enum Source {
    /// The user has it.
    Own(PathBuf),
    /// The cache has it, or will.
    Fetched(&'static Asset),
}

/// Where everything comes from, before anything is fetched.
pub struct Sources {
    libtorch: Source,
    onnx_runtime: Source,
    teacher: Source,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Engines {
    /// The folder with `include` and `lib`.
    pub libtorch: PathBuf,
    /// The library file.
    pub onnx_runtime: PathBuf,
    /// Folder of the quickstart's teacher.
    pub teacher: PathBuf,
    /// Folder of the quickstart's labelled sentences.
    pub sentences: PathBuf,
    cache: PathBuf,
    /// Folder with the Python package `onnx`, where tests run.
    onnx_checker: Option<PathBuf>,
}

impl Sources {
    /// Looks at the environment, then at the cache, then at `python3`.
    ///
    /// # Errors
    /// What the user points at is not there or of another version, or this platform has no package.
    pub fn find(cache: &Cache) -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let use_python = variable("LIBTORCH_USE_PYTORCH").is_some_and(|value| value != "0");
        let libtorch = if let Some(folder) = variable("LIBTORCH") {
            Source::Own(own_libtorch(Path::new(&folder), "LIBTORCH")?)
        } else if use_python {
            Source::Own(python_torch().context("LIBTORCH_USE_PYTORCH is set")?)
        } else {
            match pins::libtorch() {
                Some(asset) if cache.has(asset) => Source::Fetched(asset),
                asset => match (python_torch(), asset) {
                    (Ok(folder), _) => {
                        eprintln!("using the torch of python3 in {}", folder.display());
                        Source::Own(folder)
                    }
                    (Err(_), Some(asset)) => Source::Fetched(asset),
                    (Err(_), None) => bail!(
                        "no libtorch package is known for this platform ({}): set LIBTORCH to the folder of libtorch \
                         2.11.0 (with include and lib), or install torch 2.11.0 for python3 and set LIBTORCH_USE_PYTORCH=1",
                        platform()
                    ),
                },
            }
        };
        let onnx_runtime = match (variable("ORT_DYLIB_PATH"), pins::onnx_runtime()) {
            (Some(file), _) => Source::Own(own_file(Path::new(&file), "ORT_DYLIB_PATH")?),
            (None, Some(asset)) => Source::Fetched(asset),
            (None, None) => bail!(
                "no ONNX Runtime package is known for this platform ({}): set ORT_DYLIB_PATH to the library file of \
                 ONNX Runtime 1.24 or newer",
                platform()
            ),
        };
        let teacher = match variable("LIMBECK_TEACHER") {
            Some(folder) => Source::Own(own_teacher(Path::new(&folder))?),
            None => Source::Fetched(&pins::ALL_MINILM),
        };
        Ok(Self { libtorch, onnx_runtime, teacher })
    }

    /// What the cache must have.
    pub fn assets(&self) -> Vec<&'static Asset> {
        // The small ones first: what is missing or wrong shows within seconds.
        let mut assets = vec![&pins::SENTENCES];
        for source in [&self.onnx_runtime, &self.teacher, &self.libtorch] {
            if let Source::Fetched(asset) = source {
                assets.push(asset);
            }
        }
        assets
    }

    /// Where everything is once the assets are fetched.
    ///
    /// # Errors
    /// The working folder is gone.
    pub fn engines(&self, cache: &Cache) -> Result<Engines> {
        let place = |source: &Source, below: &str| match source {
            Source::Own(path) => path.clone(),
            Source::Fetched(asset) if below.is_empty() => cache.folder(asset),
            Source::Fetched(asset) => cache.folder(asset).join(below),
        };
        Ok(Engines {
            libtorch: place(&self.libtorch, "torch"),
            onnx_runtime: place(&self.onnx_runtime, pins::ONNX_RUNTIME_FILE),
            teacher: place(&self.teacher, ""),
            sentences: cache.folder(&pins::SENTENCES),
            cache: cache.root().to_owned(),
            onnx_checker: None,
        })
    }
}

impl Engines {
    /// Finds everything, and fetches what is missing.
    ///
    /// # Errors
    /// Something cannot be had.
    pub fn ready() -> Result<Self> {
        let cache = Cache::locate()?;
        let sources = Sources::find(&cache)?;
        fetch(&cache, &sources.assets(), &Clients::default())?;
        sources.engines(&cache)
    }

    /// [`Self::ready`], and what only tests need.
    ///
    /// # Errors
    /// Something cannot be had.
    pub fn ready_for_tests() -> Result<Self> {
        let cache = Cache::locate()?;
        let sources = Sources::find(&cache)?;
        let assets: Vec<_> = sources.assets().into_iter().chain(pins::test_models()).collect();
        fetch(&cache, &assets, &Clients::default())?;
        let onnx_checker = Some(python::onnx_checker(&cache)?);
        Ok(Self { onnx_checker, ..sources.engines(&cache)? })
    }

    /// The environment for cargo and for what it builds. It is the same for every verb: cargo builds again
    /// what a changed variable touches.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment: Vec<(&'static str, OsString)> = vec![
            ("LIBTORCH", self.libtorch.clone().into()),
            // Built into the command line as its default.
            ("LIMBECK_ORT_DYLIB", self.onnx_runtime.clone().into()),
            ("ORT_DYLIB_PATH", self.onnx_runtime.clone().into()),
            ("LIMBECK_CACHE", self.cache.clone().into()),
            ("LIMBECK_TEACHER", self.teacher.clone().into()),
        ];
        if let Some(folder) = &self.onnx_checker {
            environment.push(("LIMBECK_ONNX_PYTHONPATH", folder.clone().into()));
        }
        for (name, value) in WAITING {
            if std::env::var_os(name).is_none() {
                environment.push((name, value.into()));
            }
        }
        environment
    }

    /// Gives a command that environment.
    pub fn apply(&self, command: &mut Command) {
        // The choice is made; torch-sys must not ask python3 again.
        command.env_remove("LIBTORCH_USE_PYTORCH").envs(self.environment());
    }
}

/// How libgomp's threads wait for work. By default they spin for so long that on a busy machine training takes ten times as
/// long; a thousand turns, some microseconds, spare most of the waking (a twentieth of a training on short texts).
pub const WAITING: [(&str, &str); 2] = [("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "1000")];

fn platform() -> String {
    let libc = if cfg!(target_env = "musl") { ", musl" } else { "" };
    format!("{} {}{libc}", std::env::consts::OS, std::env::consts::ARCH)
}

fn own_file(path: &Path, variable: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{variable} names {}, which is not a file", path.display());
    }
    Ok(std::path::absolute(path)?)
}

fn own_libtorch(folder: &Path, said_by: &str) -> Result<PathBuf> {
    checked_libtorch(folder, said_by, std::env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_some())
}

fn checked_libtorch(folder: &Path, said_by: &str, any_version: bool) -> Result<PathBuf> {
    let libraries = ["libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.lib", "libtorch_cpu.a"];
    if !folder.join("include").is_dir() || !libraries.iter().any(|name| folder.join("lib").join(name).is_file()) {
        bail!(
            "{said_by} names {}, which is not libtorch: it must have include/ and lib/libtorch_cpu.so",
            folder.display()
        );
    }
    if let Some(version) = torch_version(folder)
        && !is_right_torch(&version)
        && !any_version
    {
        bail!(
            "{said_by} names torch {version} in {}; limbeck needs 2.11 (LIBTORCH_BYPASS_VERSION_CHECK=1 tries it anyway)",
            folder.display()
        );
    }
    Ok(std::path::absolute(folder)?)
}

/// From the `build-version` of a libtorch archive, or the `version.py` of a wheel.
fn torch_version(folder: &Path) -> Option<String> {
    if let Ok(version) = std::fs::read_to_string(folder.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    let text = std::fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__"))?;
    Some(line.trim_start_matches([' ', '=']).trim().trim_matches(['\'', '"']).to_owned())
}

fn is_right_torch(version: &str) -> bool {
    version.starts_with("2.11.")
}

fn own_teacher(folder: &Path) -> Result<PathBuf> {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        if !folder.join(file).is_file() {
            bail!("LIMBECK_TEACHER names {}, which has no {file}", folder.display());
        }
    }
    Ok(std::path::absolute(folder)?)
}

/// The folder of the torch that `python3` imports, if it is of the right version.
fn python_torch() -> Result<PathBuf> {
    const ASK: &str = "import torch, os; print(torch.__version__); print(os.path.dirname(torch.__file__))";
    let output = Command::new("python3").args(["-c", ASK]).stdin(Stdio::null()).output();
    let output = output.context("python3 does not run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().rev();
    let (folder, version) = match (output.status.success(), lines.next(), lines.next()) {
        (true, Some(folder), Some(version)) => (Path::new(folder), version),
        _ => bail!(
            "`python3 -c \"import torch\"` fails: {}",
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no output")
        ),
    };
    if !is_right_torch(version) {
        return Err(anyhow!("python3 has torch {version}; limbeck needs 2.11"));
    }
    own_libtorch(folder, "python3")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn libtorch(version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("include")).unwrap();
        fs::create_dir_all(folder.path().join("lib")).unwrap();
        fs::write(folder.path().join("lib/libtorch_cpu.so"), "").unwrap();
        fs::write(folder.path().join("version.py"), format!("from x import y\n__version__ = '{version}'\n")).unwrap();
        folder
    }

    #[test]
    fn an_own_libtorch_must_be_one_and_of_the_right_version() {
        let right = libtorch("2.11.0+cu130");
        assert_eq!(checked_libtorch(right.path(), "LIBTORCH", false).unwrap(), right.path());
        let other = libtorch("2.9.1");
        assert_eq!(checked_libtorch(other.path(), "LIBTORCH", true).unwrap(), other.path());
        let error = checked_libtorch(other.path(), "LIBTORCH", false).unwrap_err().to_string();
        assert!(error.contains("2.9.1") && error.contains("2.11"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = checked_libtorch(empty.path(), "LIBTORCH", true).unwrap_err().to_string();
        assert!(error.contains("LIBTORCH") && error.contains("libtorch_cpu.so"), "{error}");
    }

    #[test]
    fn an_own_teacher_must_have_its_files() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let error = own_teacher(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
        fs::write(folder.path().join("tokenizer.json"), "").unwrap();
        own_teacher(folder.path()).unwrap();
    }

    #[test]
    fn what_the_user_has_is_not_fetched() {
        let sources = Sources {
            libtorch: Source::Own("/t".into()),
            onnx_runtime: Source::Own("/o.so".into()),
            teacher: Source::Fetched(&pins::ALL_MINILM),
        };
        let folders: Vec<_> = sources.assets().iter().map(|asset| asset.folder).collect();
        assert_eq!(folders, ["data/sentiment", "teachers/all-minilm-l6-v2"]);
        let engines = sources.engines(&Cache::at(Path::new("/c"))).unwrap();
        assert_eq!(engines.libtorch, Path::new("/t"));
        assert_eq!(engines.teacher, Path::new("/c/teachers/all-minilm-l6-v2"));
    }
}
