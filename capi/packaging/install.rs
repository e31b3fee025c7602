//! Lays out an installation of the C library: header, shared library with its
//! links, static library, pkg-config file, CMake package. Uses the standard
//! library only; xtask and tests/packaging.rs take it in with `#[path]`.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The number in the SONAME: the major number of LIMBECK_ABI_VERSION.
pub const ABI_MAJOR: &str = "0";

/// What differs between targets.
#[derive(Clone, Debug)]
pub struct Target {
    triple: String,
}

/// Names of the shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// As cargo names it, and as a linker looks for it.
    pub plain: &'static str,
    /// The name that programs are linked to.
    pub soname: String,
    /// The file; the other names are links to it.
    pub file: String,
}

impl Target {
    /// A target by the name that Rust gives it.
    pub fn new(triple: &str) -> Self {
        Self { triple: triple.to_owned() }
    }

    /// Its name.
    pub fn triple(&self) -> &str {
        &self.triple
    }

    /// Whether it is Android.
    pub fn is_android(&self) -> bool {
        self.triple.contains("-android")
    }

    /// Whether it is macOS, iOS or the like.
    pub fn is_apple(&self) -> bool {
        self.triple.contains("-apple-")
    }

    /// 4 or 8. Of the targets that limbeck runs on, these processors have 32 bits.
    pub fn pointer_bytes(&self) -> u32 {
        let processor = self.triple.split('-').next().unwrap_or_default();
        let is_narrow = processor.starts_with("arm") || processor.starts_with("thumb");
        if is_narrow || matches!(processor, "i586" | "i686" | "riscv32gc") { 4 } else { 8 }
    }

    /// Names of the shared library of a version, as build.rs links it.
    pub fn shared(&self, version: &str) -> Shared {
        if self.is_android() {
            // An APK carries only files that end in `.so`.
            let name = "liblimbeck.so".to_owned();
            Shared { plain: "liblimbeck.so", soname: name.clone(), file: name }
        } else if self.is_apple() {
            Shared {
                plain: "liblimbeck.dylib",
                soname: format!("liblimbeck.{ABI_MAJOR}.dylib"),
                file: format!("liblimbeck.{version}.dylib"),
            }
        } else {
            Shared {
                plain: "liblimbeck.so",
                soname: format!("liblimbeck.so.{ABI_MAJOR}"),
                file: format!("liblimbeck.so.{version}"),
            }
        }
    }

    /// System libraries that a program needs with the static library: for Linux
    /// as rustc says (`--print native-static-libs`), for Android and Apple as the
    /// sources of the standard library do.
    pub fn static_libs(&self) -> &'static str {
        if self.is_android() {
            "-ldl -llog -lunwind -lm -lc"
        } else if self.is_apple() {
            "-lSystem -lc -lm"
        } else {
            "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc"
        }
    }
}

/// What to install, and whence.
pub struct Package<'a> {
    /// The folder of the crate limbeck-capi: header and templates.
    pub capi: &'a Path,
    /// The folder with the shared library, by its plain name, and `liblimbeck.a`.
    pub built: &'a Path,
    /// What it was built for.
    pub target: &'a Target,
    /// The version: `0.1.0`.
    pub version: &'a str,
    /// The project's address.
    pub url: &'a str,
    /// Whether the folder may be moved: the pkg-config file then takes paths
    /// from where it lies, as the CMake package does in any case.
    pub relocatable: bool,
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
        let shared = self.target.shared(self.version);
        fs::copy(self.capi.join("include/limbeck.h"), to.join("include/limbeck.h"))?;
        // For C++: a header over it and nothing else.
        fs::copy(self.capi.join("../bindings/cpp/include/limbeck.hpp"), to.join("include/limbeck.hpp"))?;
        fs::copy(self.built.join(shared.plain), lib.join(&shared.file))?;
        fs::copy(self.built.join("liblimbeck.a"), lib.join("liblimbeck.a"))?;
        if shared.soname != shared.file {
            link(&shared.file, &lib.join(&shared.soname))?;
            link(&shared.soname, &lib.join(shared.plain))?;
        }

        let mut numbers = self.version.split('.');
        let pointer_bytes = self.target.pointer_bytes().to_string();
        // CMake writes what the linker finds through @rpath in another way than a plain SONAME.
        let soname = if self.target.is_apple() { format!("@rpath/{}", shared.soname) } else { shared.soname.clone() };
        let values = [
            ("PREFIX", if self.relocatable { "${pcfiledir}/../.." } else { prefix }),
            ("URL", self.url),
            ("VERSION", self.version),
            ("VERSION_MAJOR", numbers.next().unwrap_or("")),
            ("VERSION_MINOR", numbers.next().unwrap_or("")),
            ("SHARED_FILE", &shared.file),
            ("SONAME", &soname),
            ("STATIC_LIBS", self.target.static_libs()),
            ("POINTER_BYTES", &pointer_bytes),
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

#[cfg(unix)]
fn link(target: &str, at: &Path) -> io::Result<()> {
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::os::unix::fs::symlink(target, at),
    }
}

#[cfg(not(unix))]
fn link(target: &str, at: &Path) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{} must be a link to {target}: make the package on Linux or macOS", at.display()),
    ))
}
