//! The layout of every public struct against `abi/layout.json`, and rule 4 of
//! the header. LIMBECK_BLESS=1 writes the file anew. tests/c/layout.c asks the C
//! compiler for the same numbers.

use std::mem::{align_of, offset_of, size_of};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::bundle::limbeck_bundle;
use crate::cancel::limbeck_cancel;
use crate::classify::{limbeck_classify_options, limbeck_result};
use crate::env::{limbeck_env, limbeck_env_options};
use crate::error::limbeck_error;
use crate::model::{limbeck_model, limbeck_model_options};
use crate::result::{limbeck_score, limbeck_usage};
use crate::text::limbeck_str;

macro_rules! layout {
    ($($name:ident { $($field:ident)* })*) => {{
        let mut structs = Map::new();
        $(
            // Takes the struct apart, so that a field left out here does not compile.
            let _ = |$name { $($field: _),* }: $name| ();
            let mut offsets = Map::new();
            $(offsets.insert(stringify!($field).into(), json!(offset_of!($name, $field)));)*
            structs.insert(
                stringify!($name).into(),
                json!({ "size": size_of::<$name>(), "align": align_of::<$name>(), "offsets": offsets }),
            );
        )*
        Value::Object(structs)
    }};
}

// The numbers are those of 64-bit systems, which all agree.
#[cfg(target_pointer_width = "64")]
#[test]
fn layout_is_that_of_the_snapshot() {
    let layout = layout! {
        limbeck_str { data length }
        limbeck_env_options { size runtime_path }
        limbeck_model_options { size threads sessions spinning reserved }
        limbeck_classify_options { size overflow window_stride top_k deadline_ms cancel }
        limbeck_score { size label index probability logit }
        limbeck_usage { size tokens_used tokens_dropped windows tokenize_ns inference_ns post_ns }
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("abi/layout.json");
    if std::env::var_os("LIMBECK_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, serde_json::to_string_pretty(&layout).unwrap() + "\n").unwrap();
    }
    let snapshot: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        layout, snapshot,
        "a public struct changed. Fields may only be added at the end, together with a higher minor \
         LIMBECK_ABI_VERSION; then LIMBECK_BLESS=1 cargo test -p limbeck-capi --lib layout"
    );
}

/// Rule 4: const handles are used from many threads, and freed on any.
#[test]
fn handles_cross_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<limbeck_error>();
    check::<limbeck_env>();
    check::<limbeck_bundle>();
    check::<limbeck_model>();
    check::<limbeck_cancel>();
    check::<limbeck_result>();
}
