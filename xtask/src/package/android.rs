//! The AAR of the Kotlin API: put together from its jar and from native libraries that an NDK has built. No Gradle and
//! no Android SDK are needed for that.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use zip::write::FileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::checks::{ANDROID, PAGE};
use super::elf::{self, Elf};
use crate::command::repository;

/// The native library of the Kotlin API.
const LIBRARY: &str = "liblimbeck_jni.so";
/// Android's first version with all that the standard library uses, as in `targets`.
const MIN_SDK: u32 = 21;
/// Those that limbeck runs with and that do not report to their maker by default.
const RUNTIMES: &str = "[1.24,1.29)";
/// Android's names of processors, with ELF's number and whether it has 64 bits.
const ABIS: [(&str, u16, bool); 4] =
    [("arm64-v8a", 183, true), ("armeabi-v7a", 40, false), ("x86_64", 62, true), ("x86", 3, false)];

/// An AAR that was made.
#[derive(Debug)]
pub struct Made {
    /// The archive.
    pub aar: PathBuf,
    /// What Maven and Gradle read beside it.
    pub pom: PathBuf,
    /// The processors that it has libraries for.
    pub abis: Vec<String>,
}

/// Makes the AAR in `out`, of `jar` and of `libraries`, a folder with `ABI/liblimbeck_jni.so` for one ABI or more.
///
/// # Errors
/// A library is missing, is not Android's, or is not as it must be; all faults are named.
pub fn make(libraries: &Path, jar: &Path, out: &Path) -> Result<Made> {
    let kotlin = repository().join("bindings/kotlin");
    let natives = natives(&read_text(&kotlin.join("src/main/kotlin/io/github/limbeck/Native.kt"))?);
    let classes = fs::read(jar).with_context(|| {
        format!("reading {}: make it with `mvn -f bindings/kotlin/pom.xml package -DskipTests`", jar.display())
    })?;
    let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
    for (abi, machine, is_64) in ABIS {
        let path = libraries.join(abi).join(LIBRARY);
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let elf = elf::parse(&bytes).with_context(|| format!("{}", path.display()))?;
        faults.extend(self::faults(&elf, machine, is_64, &natives).into_iter().map(|fault| format!("{abi}: {fault}")));
        found.insert(abi, bytes);
    }
    if found.is_empty() {
        let names = ABIS.map(|(abi, ..)| abi).join(", ");
        bail!(
            "{} has no ABI/{LIBRARY}, with ABI one of {names}: bindings/kotlin/android.sh builds them",
            libraries.display()
        );
    }
    if !faults.is_empty() {
        bail!("the native libraries cannot be packed:\n  {}", faults.join("\n  "));
    }
    let mut files = vec![
        ("AndroidManifest.xml".to_owned(), manifest().into_bytes()),
        ("classes.jar".to_owned(), classes),
        ("proguard.txt".to_owned(), fs::read(kotlin.join("src/main/resources/META-INF/proguard/limbeck.pro"))?),
        // No resources; Android's tools want the list of them all the same.
        ("R.txt".to_owned(), Vec::new()),
    ];
    let abis = found.keys().map(|abi| (*abi).to_owned()).collect();
    files.extend(found.into_iter().map(|(abi, bytes)| (format!("jni/{abi}/{LIBRARY}"), bytes)));
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let name = format!("limbeck-android-{}", env!("CARGO_PKG_VERSION"));
    let (aar, pom) = (out.join(format!("{name}.aar")), out.join(format!("{name}.pom")));
    fs::write(&aar, zipped(&files)?).with_context(|| format!("writing {}", aar.display()))?;
    let text = pom_text(&read_text(&kotlin.join("pom.xml"))?)?;
    fs::write(&pom, text).with_context(|| format!("writing {}", pom.display()))?;
    Ok(Made { aar, pom, abis })
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The native methods that Kotlin calls, without those of the tests.
fn natives(source: &str) -> Vec<String> {
    let names = source.lines().filter_map(|line| line.split_once(" external fun ")?.1.split('(').next());
    names.filter(|name| !name.starts_with("test")).map(|name| format!("Java_io_github_limbeck_Native_{name}")).collect()
}

fn faults(elf: &Elf, machine: u16, is_64: bool, natives: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    if elf.machine != machine || elf.is_64 != is_64 {
        faults.push(format!("it is for another processor (ELF machine {})", elf.machine));
    }
    // A library for Linux has the same processor and the same format; what it needs tells the two apart.
    let foreign: Vec<&str> = elf.needed.iter().map(String::as_str).filter(|needed| !ANDROID.contains(needed)).collect();
    if !foreign.is_empty() || elf.glibc().is_some() {
        faults.push(format!("it is not Android's: it needs {}; build it with an NDK", foreign.join(" ")));
    }
    if is_64 && (elf.load_alignments.is_empty() || elf.load_alignments.iter().any(|alignment| *alignment < PAGE)) {
        faults.push(format!("its LOAD segments are aligned to {:?}, not to {PAGE}", elf.load_alignments));
    }
    if elf.soname.as_deref() != Some(LIBRARY) {
        faults.push(format!("its SONAME is {:?}, not {LIBRARY}", elf.soname));
    }
    let missing: Vec<&str> = natives.iter().filter(|name| !elf.exported.contains(name)).map(String::as_str).collect();
    if !missing.is_empty() {
        faults.push(format!("it lacks native methods of Native.kt: {}", missing.join(" ")));
    }
    let others: Vec<&str> = elf.exported.iter().filter(|name| !natives.contains(name)).map(String::as_str).collect();
    if !others.is_empty() {
        faults.push(format!("it exports what Native.kt does not call: {}", others.join(" ")));
    }
    faults
}

fn manifest() -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="io.github.limbeck">
    <uses-sdk android:minSdkVersion="{MIN_SDK}" />
</manifest>
"#
    )
}

/// The POM of the AAR: what the jar's depends on, and ONNX Runtime.
fn pom_text(jar: &str) -> Result<String> {
    let property = |name: &str| {
        let rest = jar.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split('<').next()).with_context(|| format!("pom.xml has no {name}"))
    };
    let dependencies = [
        ("org.jetbrains.kotlin", "kotlin-stdlib", property("kotlin.version")?),
        ("org.jetbrains.kotlinx", "kotlinx-coroutines-core", property("coroutines.version")?),
        ("com.microsoft.onnxruntime", "onnxruntime-android", RUNTIMES),
    ];
    let dependencies: String = dependencies
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "    <dependency>\n      <groupId>{group}</groupId>\n      <artifactId>{artifact}</artifactId>\n      \
                 <version>{version}</version>\n      <scope>runtime</scope>\n    </dependency>\n"
            )
        })
        .collect();
    // What an app compiles against comes through, too.
    let dependencies = dependencies.replacen("<scope>runtime</scope>", "<scope>compile</scope>", 2);
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>io.github.limbeck</groupId>
  <artifactId>limbeck-android</artifactId>
  <version>{}</version>
  <packaging>aar</packaging>
  <name>limbeck</name>
  <description>Run distilled language models on Android</description>
  <url>{}</url>
  <licenses>
    <license><name>MIT</name></license>
    <license><name>Apache-2.0</name></license>
  </licenses>
  <dependencies>
{dependencies}  </dependencies>
</project>
"#,
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY"),
    ))
}

/// The same bytes from the same files: all have the oldest time that a zip can have.
fn zipped(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = FileOptions::default().compression_method(CompressionMethod::Deflated).unix_permissions(0o644);
    for (name, bytes) in files {
        zip.start_file(name, options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Command;

    use super::*;

    fn kotlin() -> String {
        read_text(&repository().join("bindings/kotlin/src/main/kotlin/io/github/limbeck/Native.kt")).unwrap()
    }

    /// A shared library without content, as an NDK would link it; `words` are more of the linker's.
    fn placeholder(natives: &[String], words: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("a.c"), folder.path().join(LIBRARY));
        fs::write(&source, natives.iter().map(|name| format!("void {name}(void) {{}}\n")).collect::<String>()).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-nostdlib", "-Wl,-z,max-page-size=16384"]).args(words);
        assert!(cc.arg(&source).arg("-o").arg(&library).status().unwrap().success());
        fs::read(library).unwrap()
    }

    fn for_machine(mut library: Vec<u8>, machine: u16) -> Vec<u8> {
        library[18..20].copy_from_slice(&machine.to_le_bytes());
        library
    }

    fn write(folder: &Path, abi: &str, library: &[u8]) {
        fs::create_dir_all(folder.join(abi)).unwrap();
        fs::write(folder.join(abi).join(LIBRARY), library).unwrap();
    }

    #[test]
    fn native_methods_are_those_of_the_library() {
        let natives = natives(&kotlin());
        assert!(natives.len() > 30, "{natives:?}");
        let library = read_text(&repository().join("bindings/kotlin/jni/src/lib.rs")).unwrap();
        let exports: Vec<&str> = library
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("Java_io_github_limbeck_Native_"))
            .collect();
        for name in &natives {
            assert!(exports.contains(&name.as_str()), "lib.rs has no {name}");
        }
        for name in exports.iter().filter(|name| !name.ends_with("_testPanic")) {
            assert!(natives.iter().any(|native| native == name), "Native.kt has no {name}");
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn an_aar_has_what_android_looks_for() {
        let folder = tempfile::tempdir().unwrap();
        let (jar, out) = (folder.path().join("limbeck.jar"), folder.path().join("out"));
        fs::write(&jar, "a jar").unwrap();
        let library = placeholder(&natives(&kotlin()), &["-Wl,-soname,liblimbeck_jni.so"]);
        write(folder.path(), "x86_64", &library);
        write(folder.path(), "arm64-v8a", &for_machine(library.clone(), 183));
        let made = make(folder.path(), &jar, &out).unwrap();
        assert_eq!(made.abis, ["arm64-v8a", "x86_64"]);

        let mut zip = zip::ZipArchive::new(fs::File::open(&made.aar).unwrap()).unwrap();
        let mut names: Vec<String> = zip.file_names().map(str::to_owned).collect();
        names.sort();
        let libraries = ["jni/arm64-v8a/liblimbeck_jni.so", "jni/x86_64/liblimbeck_jni.so"];
        assert_eq!(names, ["AndroidManifest.xml", "R.txt", "classes.jar", libraries[0], libraries[1], "proguard.txt"]);
        let mut text = |name: &str| {
            let mut bytes = Vec::new();
            zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(text("jni/x86_64/liblimbeck_jni.so"), library);
        assert_eq!(text("classes.jar"), b"a jar");
        assert!(String::from_utf8(text("proguard.txt")).unwrap().contains("-keep class io.github.limbeck.Native"));
        assert!(String::from_utf8(text("AndroidManifest.xml")).unwrap().contains("package=\"io.github.limbeck\""));
        let pom = read_text(&made.pom).unwrap();
        for part in ["<packaging>aar</packaging>", "onnxruntime-android", RUNTIMES, "kotlinx-coroutines-core"] {
            assert!(pom.contains(part), "{part}: {pom}");
        }
        // The same again, byte for byte.
        let first = fs::read(&made.aar).unwrap();
        make(folder.path(), &jar, &out).unwrap();
        assert_eq!(fs::read(&made.aar).unwrap(), first);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn what_is_not_androids_is_refused() {
        let natives = natives(&kotlin());
        let good = || placeholder(&natives, &["-Wl,-soname,liblimbeck_jni.so"]);
        let more = [natives.clone(), vec!["limbeck_version".to_owned()]].concat();
        let wrong: [(&str, &str, Vec<u8>); 7] = [
            ("not an ELF file", "x86_64", b"a text".to_vec()),
            ("another processor", "arm64-v8a", good()),
            // As a build for Linux would be.
            (
                "not Android's: it needs libc.so.6",
                "x86_64",
                placeholder(&natives, &["-Wl,-soname,liblimbeck_jni.so", "-Wl,--no-as-needed", "-lc"]),
            ),
            (
                "not to 16384",
                "x86_64",
                placeholder(&natives, &["-Wl,-soname,liblimbeck_jni.so", "-Wl,-z,max-page-size=4096"]),
            ),
            ("SONAME", "x86_64", placeholder(&natives, &[])),
            ("lacks native methods", "x86_64", placeholder(&natives[1..], &["-Wl,-soname,liblimbeck_jni.so"])),
            ("exports what Native.kt does not call", "x86_64", placeholder(&more, &["-Wl,-soname,liblimbeck_jni.so"])),
        ];
        for (part, abi, library) in wrong {
            let folder = tempfile::tempdir().unwrap();
            let jar = folder.path().join("limbeck.jar");
            fs::write(&jar, "a jar").unwrap();
            write(folder.path(), abi, &library);
            let error = format!("{:#}", make(folder.path(), &jar, folder.path()).unwrap_err());
            assert!(error.contains(part), "{part}: {error}");
            assert!(!folder.path().join(format!("limbeck-android-{}.aar", env!("CARGO_PKG_VERSION"))).exists());
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("limbeck.jar"), "a jar").unwrap();
        let jar = folder.path().join("limbeck.jar");
        assert!(make(folder.path(), &jar, folder.path()).unwrap_err().to_string().contains("android.sh"));
        let error = make(folder.path(), &folder.path().join("no.jar"), folder.path()).unwrap_err();
        assert!(error.to_string().contains("mvn"), "{error}");
    }
}
