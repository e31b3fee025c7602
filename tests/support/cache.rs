//! Where `cargo xtask` keeps engines, models and data.

use std::path::PathBuf;

/// The cache folder: `$LIMBECK_CACHE`, else `$XDG_CACHE_HOME/limbeck`, else `~/.cache/limbeck`.
pub fn folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("LIMBECK_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("limbeck")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/limbeck")))
        .unwrap_or_else(|| PathBuf::from(".limbeck-cache"))
}

/// The ONNX Runtime library: `$ORT_DYLIB_PATH`, else the one in the cache.
///
/// # Panics
/// When there is none, naming the place and the command that puts it there.
pub fn onnxruntime() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return path.into();
    }
    let pinned = folder().join("onnxruntime-1.24.4");
    let library = std::fs::read_dir(&pinned).ok().and_then(|entries| {
        entries.flatten().map(|entry| entry.path()).find(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("libonnxruntime.") || name == "onnxruntime.dll"
        })
    });
    library.unwrap_or_else(|| {
        panic!("no ONNX Runtime in {}: run `cargo xtask fetch`, or set ORT_DYLIB_PATH to one", pinned.display())
    })
}

/// The model folder of all-MiniLM-L6-v2.
///
/// # Panics
/// When it is not there, naming the place and the command that puts it there.
pub fn minilm() -> PathBuf {
    model("all-minilm-l6-v2", "cargo xtask fetch")
}

/// The model folder of all-mpnet-base-v2. Panics like [`minilm`].
pub fn mpnet() -> PathBuf {
    model("all-mpnet-base-v2", "cargo xtask fetch --tests")
}

/// The model folder of a 2-layer BERT with a masked-LM head. Panics like [`minilm`].
pub fn bert_tiny_masked_lm() -> PathBuf {
    model("bert-tiny-masked-lm", "cargo xtask fetch --tests")
}

fn model(name: &str, command: &str) -> PathBuf {
    let folder = folder().join("teachers").join(name);
    assert!(folder.join("model.safetensors").is_file(), "no model in {}: run `{command}`", folder.display());
    folder
}
