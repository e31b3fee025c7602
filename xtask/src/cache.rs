//! The folder of fetched files: where it is, who may fill it, and what counts as complete.
//!
//! A folder of the cache is made beside its place, checked, and then renamed into it. Its stamp names
//! the packages it was made from and every file's size, so that later runs need no network to know that
//! it is whole.

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::pins::{Asset, Package};

const STAMP: &str = ".limbeck-stamp";
const STAMP_TITLE: &str = "limbeck stamp 1";
const WORK: &str = "downloads";

/// The cache.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// Held while the cache is being filled; the system releases it when the process ends, however it ends.
pub struct Lock {
    _file: Option<File>,
}

/// A file of an asset, as its stamp lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the asset's folder, `/` between parts.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Hash.
    pub sha256: String,
}

impl Cache {
    /// The cache that the environment names.
    ///
    /// # Errors
    /// Neither `LIMBECK_CACHE` nor a home folder is set.
    pub fn locate() -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("LIMBECK_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("limbeck")))
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache").join("limbeck")))
            .ok_or_else(|| anyhow!("no place for the cache: set LIMBECK_CACHE to a folder"))?;
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// A cache at a known place.
    #[cfg(test)]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an asset lies once it is fetched.
    pub fn folder(&self, asset: &Asset) -> PathBuf {
        self.root.join(asset.folder)
    }

    /// Waits until no other process fills this cache.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn lock(&self) -> Result<Lock> {
        let unusable = || {
            format!(
                "cannot write to the cache {}; set LIMBECK_CACHE to a folder that you may write",
                self.root.display()
            )
        };
        fs::create_dir_all(&self.root).with_context(unusable)?;
        let path = self.root.join(".lock");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).with_context(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The text only serves the message.
                let _ = file.read_to_string(&mut owner);
                eprintln!(
                    "another cargo xtask{} is filling {}: waiting until it is done",
                    owner.lines().next().map_or(String::new(), |id| format!(" (process {id})")),
                    self.root.display()
                );
                file.lock().with_context(|| format!("waiting for {}", path.display()))?;
            }
            // Some network file systems have no locks. The rename at the end keeps the cache whole there too;
            // two processes then merely do the work twice.
            Err(TryLockError::Error(_)) => return Ok(Lock { _file: None }),
        }
        let named =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        named.with_context(unusable)?;
        Ok(Lock { _file: Some(file) })
    }

    /// Removes what a killed process left. Only for the holder of the lock.
    pub fn sweep(&self, lock: &Lock) {
        if lock._file.is_none() {
            return;
        }
        for entry in fs::read_dir(self.root.join(WORK)).into_iter().flatten().flatten() {
            // What cannot be removed costs space and nothing else.
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }

    /// A fresh folder on the cache's file system, removed when dropped.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn work_folder(&self) -> Result<tempfile::TempDir> {
        let parent = self.root.join(WORK);
        let make = || {
            fs::create_dir_all(&parent)?;
            tempfile::Builder::new().prefix("fetch-").tempdir_in(&parent)
        };
        make().with_context(|| format!("making a work folder in {}", parent.display()))
    }

    /// Whether the asset is there and whole, from one of its sources. Reads sizes, not contents.
    pub fn has(&self, asset: &Asset) -> bool {
        let folder = self.folder(asset);
        let Ok((pins, entries)) = read_stamp(&folder) else { return false };
        asset.sources.iter().any(|source| pins == pins_of(source))
            && entries.iter().all(|entry| {
                fs::metadata(folder.join(&entry.path)).is_ok_and(|file| file.is_file() && file.len() == entry.bytes)
            })
    }

    /// Files of an installed asset.
    ///
    /// # Errors
    /// It has no stamp.
    pub fn entries(&self, asset: &Asset) -> Result<Vec<Entry>> {
        Ok(read_stamp(&self.folder(asset))?.1)
    }

    /// Stamps a finished folder and renames it into its place.
    ///
    /// # Errors
    /// A file operation failed; the place is then as it was.
    pub fn install(&self, finished: &Path, asset: &Asset, source: &[&Package], entries: &[Entry]) -> Result<()> {
        let mut stamp = format!("{STAMP_TITLE}\n");
        for pin in pins_of(source) {
            writeln!(stamp, "from {pin}")?;
        }
        for entry in entries {
            writeln!(stamp, "file {} {} {}", entry.sha256, entry.bytes, entry.path)?;
        }
        fs::write(finished.join(STAMP), stamp).context("writing the stamp")?;
        let place = self.folder(asset);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        // A folder cannot be renamed over another one: what is there goes aside first.
        let aside = self.work_folder()?;
        let moved = fs::rename(&place, aside.path().join("old")).is_ok();
        match fs::rename(finished, &place) {
            Ok(()) => Ok(()),
            // Another process, on a file system without locks, was first with the same content.
            Err(_) if self.has(asset) => Ok(()),
            Err(error) => {
                if moved {
                    // The better of two evils: at worst the next run fetches again.
                    let _ = fs::rename(aside.path().join("old"), &place);
                }
                Err(error).with_context(|| format!("moving {} to {}", finished.display(), place.display()))
            }
        }
    }
}

fn pins_of(source: &[&Package]) -> Vec<String> {
    source.iter().map(|package| format!("{} {}=={}", package.sha256, package.name, package.version)).collect()
}

fn read_stamp(folder: &Path) -> Result<(Vec<String>, Vec<Entry>)> {
    let path = folder.join(STAMP);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = text.lines();
    if lines.next() != Some(STAMP_TITLE) {
        bail!("{} is not a stamp of this version", path.display());
    }
    let (mut pins, mut entries) = (Vec::new(), Vec::new());
    for line in lines {
        let malformed = || anyhow!("{}: `{line}` is malformed", path.display());
        match line.split_once(' ').ok_or_else(malformed)? {
            ("from", pin) => pins.push(pin.to_owned()),
            ("file", rest) => {
                let mut parts = rest.splitn(3, ' ');
                let mut part = || parts.next().ok_or_else(malformed);
                let (sha256, bytes, path) = (part()?, part()?, part()?);
                let bytes = bytes.parse().map_err(|_| malformed())?;
                entries.push(Entry { path: path.to_owned(), bytes, sha256: sha256.to_owned() });
            }
            _ => return Err(malformed()),
        }
    }
    if entries.is_empty() {
        bail!("{} lists no file", path.display());
    }
    Ok((pins, entries))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::pins::SENTENCES;

    fn finished(cache: &Cache, text: &str) -> (tempfile::TempDir, Vec<Entry>) {
        let work = cache.work_folder().unwrap();
        fs::create_dir(work.path().join("tree")).unwrap();
        fs::write(work.path().join("tree/a b.json"), text).unwrap();
        (work, vec![Entry { path: "a b.json".to_owned(), bytes: text.len() as u64, sha256: "00".to_owned() }])
    }

    #[test]
    fn an_installed_folder_is_whole_until_a_file_changes_size() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        assert!(!cache.has(&SENTENCES));
        let (work, entries) = finished(&cache, "[1]");
        cache.install(&work.path().join("tree"), &SENTENCES, SENTENCES.sources[0], &entries).unwrap();
        assert!(cache.has(&SENTENCES));
        assert_eq!(cache.entries(&SENTENCES).unwrap(), entries);
        fs::write(cache.folder(&SENTENCES).join("a b.json"), "[1").unwrap();
        assert!(!cache.has(&SENTENCES), "a cut file must not count as whole");
        fs::remove_file(cache.folder(&SENTENCES).join("a b.json")).unwrap();
        assert!(!cache.has(&SENTENCES));
    }

    #[test]
    fn a_folder_without_stamp_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        fs::create_dir_all(cache.folder(&SENTENCES)).unwrap();
        fs::write(cache.folder(&SENTENCES).join("half.json"), "[").unwrap();
        assert!(!cache.has(&SENTENCES));
        let (work, entries) = finished(&cache, "[1]");
        cache.install(&work.path().join("tree"), &SENTENCES, SENTENCES.sources[0], &entries).unwrap();
        assert!(cache.has(&SENTENCES));
        assert!(!cache.folder(&SENTENCES).join("half.json").exists());
    }

    #[test]
    fn the_stamp_of_other_packages_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        let (work, entries) = finished(&cache, "[1]");
        let others = crate::pins::ALL_MINILM.sources[0];
        cache.install(&work.path().join("tree"), &SENTENCES, others, &entries).unwrap();
        assert!(!cache.has(&SENTENCES));
    }

    #[test]
    fn one_holder_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        let held = cache.lock().unwrap();
        let (sender, receiver) = mpsc::channel();
        let other = cache.clone();
        let waiting = std::thread::spawn(move || {
            let _second = other.lock().unwrap();
            sender.send(()).unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_millis(300)).is_err(), "the lock was taken twice");
        drop(held);
        receiver.recv_timeout(Duration::from_secs(20)).expect("the lock was not released");
        waiting.join().unwrap();
    }

    #[test]
    fn leftovers_of_a_killed_run_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path());
        let left = cache.work_folder().unwrap().keep();
        fs::write(left.join("half.whl"), "PK").unwrap();
        cache.sweep(&cache.lock().unwrap());
        assert!(!left.exists());
    }
}
