//! Lays out an installation of the C library on Unix: header, shared library
//! with its links, static library, pkg-config file, CMake package. Uses the
//! standard library only; take it in with `#[path]`, as tests/packaging.rs does.

use std::io;
use std::path::{Path, PathBuf};
use std::{fs, os::unix::fs::symlink};

/// The number in the SONAME: the major number of LIMBECK_ABI_VERSION.
const ABI_MAJOR: &str = "0";

/// System libraries that a program needs with the static library, as rustc says
/// (`--print native-static-libs`).
pub const STATIC_LIBS: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

/// What to install, and whence.
pub struct Package<'a> {
    /// The folder of the crate limbeck-capi: header and templates.
    pub capi: &'a Path,
    /// The folder with `liblimbeck.so` and `liblimbeck.a`.
    pub built: &'a Path,
    /// The version: `0.1.0`.
    pub version: &'a str,
    /// The project's address.
    pub url: &'a str,
}

impl Package<'_> {
    /// Installs into `root`, which stands for `/` (as in `DESTDIR`), under
    /// `prefix`, and returns the folder that was filled.
    pub fn install(&self, root: &Path, prefix: &str) -> io::Result<PathBuf> {
        let to = root.join(prefix.trim_start_matches('/'));
        for folder in ["include", "lib/pkgconfig", "lib/cmake/limbeck"] {
            fs::create_dir_all(to.join(folder))?;
        }
        let lib = to.join("lib");
        let shared = format!("liblimbeck.so.{}", self.version);
        let soname = format!("liblimbeck.so.{ABI_MAJOR}");
        fs::copy(self.capi.join("include/limbeck.h"), to.join("include/limbeck.h"))?;
        fs::copy(self.built.join("liblimbeck.so"), lib.join(&shared))?;
        fs::copy(self.built.join("liblimbeck.a"), lib.join("liblimbeck.a"))?;
        link(&shared, &lib.join(&soname))?;
        link(&soname, &lib.join("liblimbeck.so"))?;

        let mut numbers = self.version.split('.');
        let values = [
            ("PREFIX", prefix),
            ("URL", self.url),
            ("VERSION", self.version),
            ("VERSION_MAJOR", numbers.next().unwrap_or("")),
            ("VERSION_MINOR", numbers.next().unwrap_or("")),
            ("SHARED_FILE", &shared),
            ("SONAME", &soname),
            ("STATIC_LIBS", STATIC_LIBS),
            ("POINTER_BYTES", if cfg!(target_pointer_width = "64") { "8" } else { "4" }),
        ];
        for (template, target) in [
            ("pkg-config/limbeck.pc.in", "lib/pkgconfig/limbeck.pc"),
            ("cmake/limbeckConfig.cmake.in", "lib/cmake/limbeck/limbeckConfig.cmake"),
            ("cmake/limbeckConfigVersion.cmake.in", "lib/cmake/limbeck/limbeckConfigVersion.cmake"),
        ] {
            let mut text = fs::read_to_string(self.capi.join(template))?;
            for (name, value) in &values {
                text = text.replace(&format!("@{name}@"), value);
            }
            fs::write(to.join(target), text)?;
        }
        Ok(to)
    }
}

fn link(target: &str, at: &Path) -> io::Result<()> {
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(target, at),
    }
}
