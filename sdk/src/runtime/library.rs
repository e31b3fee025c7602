//! Finding and checking the ONNX Runtime library.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::EnvironmentBuilder;

use super::environment::RuntimeInfo;
use super::lock;
use crate::Result;

/// First version whose official builds send usage data.
#[cfg(feature = "ort-dynamic")]
const FIRST_WITH_TELEMETRY: u32 = 29;

static SEARCH_DIRS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Adds a folder in which [`load`](super::load) looks for the library, after
/// the folder of the executable and before the system's loader. The C library
/// gives its own folder. Has no effect on a library already loaded.
pub fn provide_search_dir(dir: PathBuf) {
    let mut dirs = lock(&SEARCH_DIRS);
    if !dirs.contains(&dir) {
        dirs.push(dir);
    }
}

/// The second number of `1.24.4`, if the first is 1.
pub(super) fn minor_version(version: &str) -> Option<u32> {
    let mut parts = version.split('.');
    (parts.next() == Some("1")).then(|| parts.next()?.parse().ok())?
}

/// Whether two paths name one file.
pub(super) fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(not(feature = "ort-dynamic"))]
pub(super) fn open(path: Option<&Path>) -> Result<(RuntimeInfo, EnvironmentBuilder)> {
    use std::ffi::CStr;

    use crate::Error;

    if let Some(path) = path {
        return Err(Error::RuntimeIncompatible {
            path: path.to_owned(),
            reason: "cannot be loaded: ONNX Runtime is linked into this program; leave the path out".to_owned(),
        });
    }
    // SAFETY: the symbol was resolved when the program was linked; it returns a
    // static table, whose function returns a static string.
    let version = unsafe {
        let base = ort::sys::OrtGetApiBase();
        if base.is_null() { None } else { CStr::from_ptr(((*base).GetVersionString)()).to_str().ok() }
    };
    let version = version.unwrap_or("unknown").to_owned();
    Ok((RuntimeInfo { version, path: PathBuf::from("(linked)") }, ort::init()))
}

#[cfg(feature = "ort-dynamic")]
pub(super) use dynamic::open;

#[cfg(feature = "ort-dynamic")]
mod dynamic {
    use std::ffi::{CStr, OsStr};

    use super::*;
    use crate::Error;

    /// Names of the library, the likeliest first, and what starts and ends a
    /// name with a version in it.
    #[cfg(any(target_os = "macos", target_os = "ios"))]
    const NAMES: (&[&str], &str, &str) =
        (&["libonnxruntime.dylib", "libonnxruntime.1.dylib"], "libonnxruntime.", ".dylib");
    #[cfg(windows)]
    const NAMES: (&[&str], &str, &str) = (&["onnxruntime.dll"], "onnxruntime.", ".dll");
    #[cfg(not(any(target_os = "macos", target_os = "ios", windows)))]
    const NAMES: (&[&str], &str, &str) = (&["libonnxruntime.so.1", "libonnxruntime.so"], "libonnxruntime.so.", "");

    /// Finds, opens and checks the library.
    pub(in super::super) fn open(path: Option<&Path>) -> Result<(RuntimeInfo, EnvironmentBuilder)> {
        if let Some(path) = path {
            // Absolute, because `ort` would look beside the executable first.
            let path = path
                .canonicalize()
                .map_err(|error| Error::RuntimeNotFound { tried: format!("{} ({error})", path.display()) })?;
            return match Library::open(path.clone()) {
                Ok(library) => library.check(),
                Err(error) => Err(unusable(path, format!("cannot be opened: {error}"))),
            };
        }
        search()
    }

    fn search() -> Result<(RuntimeInfo, EnvironmentBuilder)> {
        let mut tried = Vec::new();
        let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let dirs: Vec<PathBuf> = beside.iter().cloned().chain(lock(&SEARCH_DIRS).iter().cloned()).collect();
        for dir in dirs {
            match find_in(&dir) {
                // One that was put there on purpose and does not load is an
                // error, not a reason to take some other one.
                Some(path) => {
                    let library = Library::open(path.clone())
                        .map_err(|error| unusable(path, format!("cannot be opened: {error}")))?;
                    return library.check();
                }
                None => tried.push(format!("{} (not there)", dir.join(NAMES.0[0]).display())),
            }
        }
        // Without a path of the executable `ort` panics on a bare name.
        if beside.is_some() {
            for name in NAMES.0 {
                match Library::open(PathBuf::from(name)) {
                    Ok(library) => return library.check(),
                    Err(error) => tried.push(format!("{name} by the system's loader ({error})")),
                }
            }
        }
        Err(Error::RuntimeNotFound { tried: tried.join("; ") })
    }

    /// The library in a folder: by its usual names, else the newest of those
    /// with a version in their name.
    fn find_in(dir: &Path) -> Option<PathBuf> {
        let (names, start, end) = NAMES;
        if let Some(path) = names.iter().map(|name| dir.join(name)).find(|path| path.is_file()) {
            return path.canonicalize().ok();
        }
        let version = |name: &OsStr| -> Option<Vec<u32>> {
            let version = name.to_str()?.strip_prefix(start)?.strip_suffix(end)?;
            version.split('.').map(|part| part.parse().ok()).collect()
        };
        std::fs::read_dir(dir)
            .ok()?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let version = version(&entry.file_name())?;
                Some((version, entry.path().canonicalize().ok()?))
            })
            .max()
            .map(|(_, path)| path)
    }

    fn unusable(path: PathBuf, reason: String) -> Error {
        Error::RuntimeIncompatible { path, reason }
    }

    struct Library {
        path: PathBuf,
        library: libloading::Library,
    }

    impl Library {
        fn open(path: PathBuf) -> std::result::Result<Library, libloading::Error> {
            // SAFETY: opening a library runs its initialisers. Which library
            // that is was the caller's choice, or the one installed for
            // programs to use; those of ONNX Runtime only fill tables.
            let library = unsafe { libloading::Library::new(&path) }?;
            Ok(Library { path, library })
        }

        /// Checks the version before `ort` sees the library, which would panic
        /// on some of what is refused here, and hands it over.
        fn check(self) -> Result<(RuntimeInfo, EnvironmentBuilder)> {
            let fail = |reason: String| Err(unusable(self.path.clone(), reason));
            let needed = ort::MINOR_VERSION;
            // SAFETY: the symbol has this type in every version of ONNX Runtime.
            let base = match unsafe {
                self.library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
            } {
                // SAFETY: it takes no arguments and returns a static table or null.
                Ok(get) => unsafe { get() },
                Err(_) => return fail("does not export OrtGetApiBase: it is no ONNX Runtime library".to_owned()),
            };
            if base.is_null() {
                return fail("returned no API table".to_owned());
            }
            // SAFETY: `base` is the static table just checked, and its function
            // returns a static string.
            let version = unsafe {
                let version = ((*base).GetVersionString)();
                if version.is_null() { None } else { CStr::from_ptr(version).to_str().ok() }
            };
            let Some((version, minor)) = version.and_then(|v| Some((v.to_owned(), minor_version(v)?))) else {
                return fail(format!("states the version {version:?}, and 1.{needed} or later is needed"));
            };
            // SAFETY: as above; the function returns a static table or null.
            if minor < needed || unsafe { ((*base).GetApi)(needed) }.is_null() {
                return fail(format!("has version {version}, and 1.{needed} or later is needed"));
            }
            if minor >= FIRST_WITH_TELEMETRY && std::env::var_os("ORT_DISABLE_TELEMETRY").is_none_or(|v| v != "1") {
                return fail(format!(
                    "has version {version}, and official builds from 1.{FIRST_WITH_TELEMETRY} on send usage data over the network: set ORT_DISABLE_TELEMETRY=1 in the environment before the program starts, or use version 1.24 to 1.28"
                ));
            }
            let builder = ort::init_from(&self.path)
                .map_err(|error| unusable(self.path.clone(), format!("cannot be opened: {error}")))?;
            Ok((RuntimeInfo { version, path: self.path }, builder))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        #[cfg(target_os = "linux")]
        fn the_newest_version_of_a_folder_is_found() {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(find_in(dir.path()), None);
            for name in
                ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.24.4", "libonnxruntime.so.old", "libonnxruntime_x.so"]
            {
                std::fs::write(dir.path().join(name), "").unwrap();
            }
            let found = find_in(dir.path()).unwrap();
            assert_eq!(found.file_name(), Some(OsStr::new("libonnxruntime.so.1.24.4")));
            std::fs::write(dir.path().join("libonnxruntime.so"), "").unwrap();
            assert_eq!(find_in(dir.path()).unwrap().file_name(), Some(OsStr::new("libonnxruntime.so")));
        }

        #[test]
        fn a_missing_file_and_a_file_that_is_no_library_have_their_own_errors() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("libonnxruntime.so");
            assert!(matches!(open(Some(&path)), Err(Error::RuntimeNotFound { .. })));
            std::fs::write(&path, "not a library").unwrap();
            assert!(matches!(open(Some(&path)), Err(Error::RuntimeIncompatible { .. })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_versions() {
        assert_eq!(minor_version("1.24.4"), Some(24));
        assert_eq!(minor_version("1.30.0-dev"), Some(30));
        assert_eq!(minor_version("2.0.0"), None);
        assert_eq!(minor_version(""), None);
        assert_eq!(minor_version("1.x"), None);
    }
}
