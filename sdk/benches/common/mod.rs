//! What the benchmarks share: bundles, made by `cargo xtask bench`, and texts.

use std::path::PathBuf;

use limbeck::Model;

/// The folder of the bundles. `None` with a word on how to get some where there is none.
pub fn bundles() -> Option<PathBuf> {
    let folder = std::env::var_os("LIMBECK_BENCH_BUNDLES").map(PathBuf::from);
    if folder.is_none() {
        println!("nothing is measured: `cargo xtask bench` makes the bundles and runs this");
    }
    folder
}

/// A bundle of that folder on one thread.
pub fn open(name: &str) -> Model {
    let path = bundles().expect("a folder of bundles").join(name);
    let runtime = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH, as `cargo xtask bench` sets it");
    Model::builder().runtime_path(runtime).open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const WORDS: &str = "the battery of this phone lasts two days and its screen is bright enough to read in the sun \
    while the camera needs some light before pictures look as sharp as those of the older model which cost less";

/// Running English of so many words.
pub fn words(count: usize) -> String {
    WORDS.split_whitespace().cycle().take(count).collect::<Vec<_>>().join(" ")
}

/// A text that the model reads as exactly so many tokens, special ones included.
pub fn text_of(model: &Model, tokens: usize) -> String {
    let length = |count: usize| model.tokenize(&words(count)).expect("tokens").ids.len();
    let count = (1..=tokens).find(|&count| length(count) >= tokens).expect("enough words");
    assert_eq!(length(count), tokens, "a word of several tokens at the end; choose another length");
    words(count)
}
