//! limbeck: run distilled language models from one bundle file.
//!
//!     limbeck_error *error = NULL;
//!     limbeck_env *env = NULL;
//!     limbeck_model *model = NULL;
//!     limbeck_result *result = NULL;
//!     limbeck_score best;
//!     limbeck_score_init(&best, sizeof best);
//!     if (limbeck_env_new(NULL, &env, &error) == LIMBECK_OK &&
//!         limbeck_model_open(env, path, strlen(path), NULL, &model, &error) == LIMBECK_OK &&
//!         limbeck_model_classify(model, text, strlen(text), NULL, &result, &error) == LIMBECK_OK &&
//!         limbeck_result_score(result, 0, 0, &best, &error) == LIMBECK_OK)
//!         printf("%.*s %.3f\n", (int)best.label.length, best.label.data, best.probability);
//!
//! THE RULES
//!
//!  1. Every call that can fail returns a limbeck_status: LIMBECK_OK (0) or a number of enum
//!     limbeck_status_code. Numbers are fixed and never used again for something else. What a call
//!     makes goes out through a pointer; when the call fails, that pointer is set to NULL and
//!     nothing was made.
//!  2. The last parameter of a call that can fail is `limbeck_error **error`. Pass NULL when the
//!     number is enough. Otherwise it is set to NULL on success and to an object of yours on
//!     failure, with a message that names what failed; free it with limbeck_error_free. What it held
//!     before is overwritten, not freed.
//!  3. What goes out through a pointer to a handle is yours, and is freed by the _free call of its
//!     type, once. _free takes NULL. Handles do not lean on each other: free them in any order, once
//!     no call uses them.
//!  4. A handle taken as a pointer to const may be used from many threads at one time. Only _free
//!     wants a handle to itself.
//!  5. Text goes in as a pointer and a length in bytes. It is UTF-8 and is checked; it needs no NUL
//!     at its end and may hold NUL bytes. NULL with length 0 is the empty text, or
//!     the default of a field that says so.
//!  6. Text comes out as a limbeck_str: a borrowed view, not ended by a NUL, that lives as long as
//!     the handle it was asked of. Getters that return their answer directly cannot fail: from NULL
//!     they return 0 or an empty view.
//!  7. A struct that may grow begins with `size`. Fill it with its _init call, which sets everything
//!     else to 0, and 0 always means the default. A NULL options pointer means all defaults. So
//!     programs built with an older or a newer header than the library work: what the library does
//!     not know and is not 0 is refused with LIMBECK_BAD_STRUCT_SIZE, never skipped.
//!  8. The library does not exit, print, open a network connection, read environment variables to
//!     choose what to do, or write files (but for limbeck_head_save, whose job it is). One limit: as
//!     in any Rust program, running out of memory ends the process. One exception: an ONNX Runtime
//!     of version 1.29 or later reports to its maker unless ORT_DISABLE_TELEMETRY=1 is set, so it is
//!     refused without that.
//!  9. A bug in the library that shows itself as a panic becomes LIMBECK_INTERNAL; the library goes
//!     on working.
//!
//! Pointers that are not NULL must point to what the parameter's type says. The shared library stays
//! loaded after dlclose: the first call with a deadline starts a thread that lives as long as the
//! process.

#![allow(non_camel_case_types)]

mod answer;
mod bundle;
mod call;
mod cancel;
mod classify;
mod descriptor;
mod embed;
mod entail;
mod env;
mod error;
mod ffi;
mod fill_mask;
mod generate;
mod head;
#[cfg(limbeck_test_hooks)]
mod hooks;
mod item;
#[cfg(test)]
mod layout_tests;
mod locate;
mod log;
mod model;
mod open;
mod order;
mod prompt;
mod replaced;
mod result;
mod slot;
mod status;
mod tag;
mod text;
mod version;
