//! The layout of every public struct against `abi/layout.json`, and rule 4 of
//! the header. LIMBECK_BLESS=1 writes the file anew. tests/c_programs.rs asks the C
//! compiler for the same numbers.

use std::mem::{align_of, offset_of, size_of};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::bundle::limbeck_bundle;
use crate::call::limbeck_call_options;
use crate::cancel::limbeck_cancel;
use crate::env::{limbeck_env, limbeck_env_options};
use crate::error::limbeck_error;
use crate::generate::{limbeck_generate_options, limbeck_generation};
use crate::head::limbeck_head;
use crate::item::{limbeck_answer, limbeck_entity, limbeck_guess, limbeck_score, limbeck_span};
use crate::model::{limbeck_memory, limbeck_metrics, limbeck_model, limbeck_model_options, limbeck_self_test};
use crate::open::limbeck_bundle_options;
use crate::order::limbeck_order;
use crate::prompt::{
    limbeck_choice, limbeck_choose_options, limbeck_perplexity, limbeck_perplexity_options, limbeck_prompt,
    limbeck_prompt_usage,
};
use crate::replaced::limbeck_replaced;
use crate::result::{limbeck_result, limbeck_usage};
use crate::slot::limbeck_slot;
use crate::text::{limbeck_pair, limbeck_str};

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
        limbeck_pair { first second }
        limbeck_env_options { size runtime_path threads reserved }
        limbeck_bundle_options { size keys key_count minimum_build size_limit decrypt decrypt_data }
        limbeck_model_options { size threads sessions spinning reserved memory_budget providers provider_count bundle }
        limbeck_self_test { size vectors largest_difference tolerance }
        limbeck_memory { size budget expected sessions batch_tokens prepacked reserved }
        limbeck_metrics { size calls failures runs rows tokens padding run_micros }
        limbeck_call_options { size overflow window_stride deadline_ms cancel top_k threshold out_of_scope aggregation
            multi_label max_answer_tokens hypothesis rank_label both_orders reserved }
        limbeck_score { size label index probability logit holds reserved }
        limbeck_span { byte_begin byte_end utf16_begin utf16_end char_begin char_end }
        limbeck_entity { size label text span score reserved }
        limbeck_answer { size text span score reserved }
        limbeck_guess { size mask span text token id probability }
        limbeck_order { size probability logit }
        limbeck_replaced { size text span probability reserved }
        limbeck_generate_options { size max_new_tokens temperature top_p top_k seed repetition_penalty ignore_eos stops
            stop_count context context_keep deadline_ms cancel }
        limbeck_generation { size text ids generated_tokens prompt_tokens tokens_dropped finish reserved tokenize_ns
            prefill_ns decode_ns sampling_ns }
        limbeck_prompt { size instruction examples example_count query separator max_tokens all_examples reserved }
        limbeck_choose_options { size scoring reserved answer_context content_free content_free_count deadline_ms
            cancel }
        limbeck_choice { size text index score probability log_probability tokens bytes }
        limbeck_prompt_usage { size prompt_tokens cached_tokens examples examples_dropped }
        limbeck_perplexity { size perplexity bits_per_byte log_probability tokens bytes windows }
        limbeck_perplexity_options { size stride from_start reserved deadline_ms cancel }
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
    check::<limbeck_head>();
    check::<limbeck_slot>();
}
