/*
 * limbeck: run distilled language models from one bundle file.
 *
 *     limbeck_error *error = NULL;
 *     limbeck_env *env = NULL;
 *     limbeck_model *model = NULL;
 *     limbeck_result *result = NULL;
 *     limbeck_score best;
 *     limbeck_score_init(&best, sizeof best);
 *     if (limbeck_env_new(NULL, &env, &error) == LIMBECK_OK &&
 *         limbeck_model_open(env, path, strlen(path), NULL, &model, &error) == LIMBECK_OK &&
 *         limbeck_model_classify(model, text, strlen(text), NULL, &result, &error) == LIMBECK_OK &&
 *         limbeck_result_score(result, 0, 0, &best, &error) == LIMBECK_OK)
 *         printf("%.*s %.3f\n", (int)best.label.length, best.label.data, best.probability);
 *
 * THE RULES
 *
 *  1. Every call that can fail returns a limbeck_status: LIMBECK_OK (0) or a number of enum
 *     limbeck_status_code. Numbers are fixed and never used again for something else. What a call
 *     makes goes out through a pointer; when the call fails, that pointer is set to NULL and
 *     nothing was made.
 *  2. The last parameter of a call that can fail is `limbeck_error **error`. Pass NULL when the
 *     number is enough. Otherwise it is set to NULL on success and to an object of yours on
 *     failure, with a message that names what failed; free it with limbeck_error_free. What it held
 *     before is overwritten, not freed.
 *  3. What goes out through a pointer to a handle is yours, and is freed by the _free call of its
 *     type, once. _free takes NULL. Handles do not lean on each other: free them in any order, once
 *     no call uses them.
 *  4. A handle taken as a pointer to const may be used from many threads at one time. Only _free
 *     wants a handle to itself.
 *  5. Text goes in as a pointer and a length in bytes. It is UTF-8 and is checked; it needs no NUL
 *     at its end and may hold NUL bytes. NULL with length 0 is the empty text, or
 *     the default of a field that says so.
 *  6. Text comes out as a limbeck_str: a borrowed view, not ended by a NUL, that lives as long as
 *     the handle it was asked of. Getters that return their answer directly cannot fail: from NULL
 *     they return 0 or an empty view.
 *  7. A struct that may grow begins with `size`. Fill it with its _init call, which sets everything
 *     else to 0, and 0 always means the default. A NULL options pointer means all defaults. So
 *     programs built with an older or a newer header than the library work: what the library does
 *     not know and is not 0 is refused with LIMBECK_BAD_STRUCT_SIZE, never skipped.
 *  8. The library does not exit, print, open a network connection, read environment variables to
 *     choose what to do, or write files (but for limbeck_head_save, whose job it is). One limit: as
 *     in any Rust program, running out of memory ends the process. One exception: an ONNX Runtime
 *     of version 1.29 or later reports to its maker unless ORT_DISABLE_TELEMETRY=1 is set, so it is
 *     refused without that.
 *  9. A bug in the library that shows itself as a panic becomes LIMBECK_INTERNAL; the library goes
 *     on working.
 *
 * Pointers that are not NULL must point to what the parameter's type says. The shared library stays
 * loaded after dlclose: the first call with a deadline starts a thread that lives as long as the
 * process.
 *
 * Generated from capi/src by capi/tests/header.rs; change it there.
 * MIT OR Apache-2.0
 */

/** @file */
#ifndef LIMBECK_H
#define LIMBECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== STATUS ================================================================================== */

/** What a limbeck_status says. */
typedef enum limbeck_status_code {
  LIMBECK_OK = 0, /**< The call did what it should. */
  LIMBECK_INVALID_ARGUMENT = 1, /**< An argument or option has a value that cannot be used. */
  LIMBECK_INVALID_UTF8 = 2, /**< Text is not UTF-8; the message says where. */
  LIMBECK_NOT_FOUND = 3, /**< A file is not there. */
  LIMBECK_IO = 4, /**< The operating system refused to read a file. */
  LIMBECK_NOT_A_BUNDLE = 5, /**< The file is no limbeck bundle. */
  LIMBECK_TRUNCATED = 6, /**< The bundle ends before it should. */
  LIMBECK_CORRUPT = 7, /**< Bytes of the bundle do not have the hash they should. */
  LIMBECK_MALFORMED = 8, /**< The bundle breaks a rule of its format. */
  LIMBECK_INCOMPATIBLE = 9, /**< The bundle or the program needs another version. */
  LIMBECK_WRONG_TASK = 10, /**< The model was made for another task. */
  LIMBECK_TOO_LONG = 11, /**< The text is longer than the model takes. */
  LIMBECK_CANCELLED = 12, /**< The call was cancelled. */
  LIMBECK_DEADLINE_EXCEEDED = 13, /**< The deadline passed before the call was finished. */
  LIMBECK_RUNTIME_NOT_FOUND = 14, /**< No ONNX Runtime library was found. */
  LIMBECK_RUNTIME_INCOMPATIBLE = 15, /**< The ONNX Runtime library found cannot be used. */
  LIMBECK_INFERENCE = 16, /**< ONNX Runtime refused the model or failed while running it. */
  LIMBECK_TOKENIZER = 17, /**< The bundle's tokenizer cannot be read, or failed on a text. */
  LIMBECK_MEMORY_BUDGET = 18, /**< A memory budget cannot be kept. */
  LIMBECK_SIGNATURE = 19, /**< A signature is missing or wrong. */
  LIMBECK_SELF_TEST = 20, /**< A bundle's own test inputs did not give the outputs expected. */
  LIMBECK_NULL_POINTER = 21, /**< A parameter is NULL that must not be; the message names it. */
  LIMBECK_BAD_STRUCT_SIZE = 22, /**< A struct was not made by _init, or is too new. */
  LIMBECK_ROLLBACK = 23, /**< The bundle is an older build than it may be. */
  LIMBECK_INTERNAL = 99, /**< A bug in this library. */
} limbeck_status_code;

/** LIMBECK_OK or another number of enum limbeck_status_code. A later library may return numbers
 *  that this header does not list; treat them as failures. */
typedef int32_t limbeck_status;

/** The name of a status: "LIMBECK_NOT_FOUND", or "LIMBECK_UNKNOWN" for a number that this library
 *  does not have. An ordinary C string that lives as long as the program. Safe from any thread. */
const char *limbeck_status_name(limbeck_status status);

/* ==== TEXT ==================================================================================== */

/** A piece of UTF-8 text: a pointer and a length in bytes, with no NUL at the end. One that you
 *  pass is only read during the call. One that you get is a view of text inside a handle: valid,
 *  and readable from any thread, until that handle is freed; its `data` is never NULL. This struct
 *  never grows. */
typedef struct limbeck_str {
  const char *data; /**< The first byte; may be NULL when `length` is 0. */
  size_t length; /**< Length in bytes. */
} limbeck_str;

/** Two texts that belong together: a pair to classify, or a question and the text that may answer
 *  it. Only read during the call. This struct never grows. */
typedef struct limbeck_pair {
  limbeck_str first; /**< The first text, or the question. */
  limbeck_str second; /**< The second text, or the one that may answer. */
} limbeck_pair;

/* ==== ERRORS ================================================================================== */

/** Why a call failed. Owned by you, bound to no other handle; may be read from many threads and
 *  freed on any. */
typedef struct limbeck_error limbeck_error;

/** The status that the call returned; LIMBECK_OK for NULL. */
limbeck_status limbeck_error_code(const limbeck_error *error);
/** What failed and, where there is a way, how to mend it, in English. */
limbeck_str limbeck_error_message(const limbeck_error *error);
/** Frees an error. NULL is allowed. */
void limbeck_error_free(limbeck_error *error);

/* ==== VERSION =================================================================================
 *
 * The library has a version, which is that of its features, and an ABI version, which says whether
 * a program built with one header can use another library. Changes that would break a built program
 * raise the ABI's major number, as in liblimbeck.so.0; additions raise its minor number. */

#define LIMBECK_VERSION_MAJOR 0 /**< Major version of this header. */
#define LIMBECK_VERSION_MINOR 1 /**< Minor version of this header. */
#define LIMBECK_VERSION_PATCH 0 /**< Patch version of this header. */
/** Version of this header as one number: major * 1000000 + minor * 1000 + patch. */
#define LIMBECK_VERSION_NUMBER 1000
#define LIMBECK_ABI_VERSION 1 /**< ABI version of this header: major * 65536 + minor. */

/** The library's version, for people: "0.1.0". An ordinary C string that lives as long as the
 *  program. Safe from any thread. */
const char *limbeck_version(void);

/** The library's version as one number, to be compared with LIMBECK_VERSION_NUMBER. Safe from any
 *  thread. */
uint32_t limbeck_version_number(void);

/** The library's ABI version. Safe from any thread. */
uint32_t limbeck_abi_version(void);

/** Whether a program built with a header of ABI version `header_abi` can use this library:
 *  LIMBECK_OK, or LIMBECK_INCOMPATIBLE with a message that says which side to update. Call it as
 *  LIMBECK_CHECK_ABI(&error), first of all. Safe from any thread. */
limbeck_status limbeck_abi_check(uint32_t header_abi, limbeck_error **error);

/** How many handles of all kinds this process has and must still free, errors and results among
 *  them: to look for leaks. Safe from any thread. */
size_t limbeck_open_handles(void);

#define LIMBECK_VERSION "0.1.0" /**< Version of this header, for people. */

/** limbeck_abi_check for the header that the program was built with. */
#define LIMBECK_CHECK_ABI(error) limbeck_abi_check(LIMBECK_ABI_VERSION, (error))

/* ==== LOGGING ================================================================================= */

#define LIMBECK_LOG_VERBOSE 0 /**< Log level: every step. */
#define LIMBECK_LOG_INFO 1 /**< Log level: what happens. */
#define LIMBECK_LOG_WARNING 2 /**< Log level: what went on otherwise than asked for. */
/** Log level: what failed; the call concerned also returns an error. */
#define LIMBECK_LOG_ERROR 3
#define LIMBECK_LOG_FATAL 4 /**< Log level: what ends ONNX Runtime. */

/** Gets a log message, with the `data` of limbeck_set_logger. It is called from any thread, several
 *  at one time; the message lives as long as the call. It must return, soon: no longjmp and no C++
 *  exception may leave it. */
typedef void (*limbeck_log_function)(void *data, uint32_t level, limbeck_str message);

/** Gives log messages of `lowest` (a LIMBECK_LOG_ number) and above, this library's and ONNX
 *  Runtime's, to `function`, for the whole process; NULL stops that. When the call returns, the
 *  function set before is not running and will not be called again. Without a logger messages go
 *  nowhere. Safe from any thread, but for a log function itself (LIMBECK_INVALID_ARGUMENT). */
limbeck_status limbeck_set_logger(uint32_t lowest, limbeck_log_function function, void *data,
                                  limbeck_error **error);

/* ==== ENVIRONMENT ============================================================================= */

/** ONNX Runtime, found and loaded. A process has one ONNX Runtime: it stays loaded until the
 *  process ends, and every limbeck_env is a handle to it. A const handle may be used from many
 *  threads. May be freed while models opened with it live on. */
typedef struct limbeck_env limbeck_env;

/** Options of limbeck_env_new. Only read during the call. */
typedef struct limbeck_env_options {
  size_t size; /**< Size of this struct; set by limbeck_env_options_init. */
  /** The ONNX Runtime library to load (1.24 or later). Empty: it is looked for beside the program,
   *  then beside liblimbeck, then where the system's loader looks. A path as in
   *  limbeck_bundle_open. */
  limbeck_str runtime_path;
  uint32_t threads; /**< The `threads` of models opened with this env whose options have 0. */
  uint32_t reserved; /**< Must be 0. */
} limbeck_env_options;

/** Fills `options` with the defaults; pass sizeof(limbeck_env_options). */
void limbeck_env_options_init(limbeck_env_options *options, size_t size);

/** Loads ONNX Runtime, if this process has not yet, and checks its version. Asking for another
 *  library than the one already loaded is LIMBECK_RUNTIME_INCOMPATIBLE. Safe from any thread. */
limbeck_status limbeck_env_new(const limbeck_env_options *options, limbeck_env **out,
                               limbeck_error **error);

/** Version of the ONNX Runtime in use: "1.24.4". */
limbeck_str limbeck_env_runtime_version(const limbeck_env *env);
/** File of the ONNX Runtime in use, or the bare name that the system's loader resolved. */
limbeck_str limbeck_env_runtime_path(const limbeck_env *env);
/** Frees an env. NULL is allowed. ONNX Runtime stays loaded. */
void limbeck_env_free(limbeck_env *env);

/* ==== BUNDLE ================================================================================== */

/** A bundle, opened and verified: every offset, length and hash in it was checked. Needs no ONNX
 *  Runtime, so it also serves to look at a file. A const handle may be used from many threads. May
 *  be freed while models opened from it live on. */
typedef struct limbeck_bundle limbeck_bundle;

/** Name of the model: "sentiment". */
limbeck_str limbeck_bundle_id(const limbeck_bundle *bundle);
/** Version of the model, for people: "0.1.0". */
limbeck_str limbeck_bundle_version(const limbeck_bundle *bundle);
/** Build number of the model, which grows with each build of one id. */
uint64_t limbeck_bundle_build(const limbeck_bundle *bundle);
/** What the model does: "text-classification". */
limbeck_str limbeck_bundle_task(const limbeck_bundle *bundle);
/** The most tokens that the model takes at one time, special tokens included. */
size_t limbeck_bundle_max_tokens(const limbeck_bundle *bundle);
/** Size of the whole bundle in bytes. */
uint64_t limbeck_bundle_size(const limbeck_bundle *bundle);
/** How many labels the model knows. */
size_t limbeck_bundle_label_count(const limbeck_bundle *bundle);

/** The label at `index`, counted from 0. */
limbeck_status limbeck_bundle_label(const limbeck_bundle *bundle, size_t index, limbeck_str *out,
                                    limbeck_error **error);

/** All that the manifest says, as a JSON object: architecture, languages, quality, quantization and
 *  more, described in docs/bundle-format.md. */
limbeck_str limbeck_bundle_manifest_json(const limbeck_bundle *bundle);

/** How many keys the bundle says it is signed by. This checks no signature. */
size_t limbeck_bundle_signer_count(const limbeck_bundle *bundle);

/** The id of the key at `index`, 16 hex digits. */
limbeck_status limbeck_bundle_signer(const limbeck_bundle *bundle, size_t index, limbeck_str *out,
                                     limbeck_error **error);

/** Checks that one of `count` public keys (64 hex digits each) signed the bundle: LIMBECK_OK with
 *  its place among `keys` in `out`, or LIMBECK_SIGNATURE. To have it checked before anything else
 *  is read, give the keys to limbeck_bundle_open. */
limbeck_status limbeck_bundle_verify(const limbeck_bundle *bundle, const limbeck_str *keys,
                                     size_t count, size_t *out, limbeck_error **error);

/** Frees a bundle. NULL is allowed. */
void limbeck_bundle_free(limbeck_bundle *bundle);

/* ==== OPENING A BUNDLE ======================================================================== */

/** Where a decrypt function puts what it has decrypted. Lives as long as the call of that function,
 *  for its thread alone. */
typedef struct limbeck_sink limbeck_sink;

/** Decrypts a section: it gets the section's name and its `length` stored bytes, writes the content
 *  to `sink`, and returns 0, or another number on failure, which is named in the message. Called as
 *  a limbeck_read_function is. */
typedef int32_t (*limbeck_decrypt_function)(void *data, limbeck_str section, const uint8_t *stored,
                                            size_t length, limbeck_sink *sink);

/** What must hold for a bundle, and what helps to read it. Only read during the call. */
typedef struct limbeck_bundle_options {
  size_t size; /**< Size of this struct; set by limbeck_bundle_options_init. */
  /** Public keys of 64 hex digits each: one of them must have signed the bundle, which is checked
   *  before anything else in it is read. NULL: no signature is asked for, and hashes show damage
   *  but not forgery. */
  const limbeck_str *keys;
  size_t key_count; /**< How many keys there are. */
  /** The lowest build number that will do; a lower one is LIMBECK_ROLLBACK. */
  uint64_t minimum_build;
  uint64_t size_limit; /**< The longest bundle that is read to memory, in bytes. 0: 4 GiB. */
  /** Decrypts the sections that are encrypted. NULL: such a bundle is refused. */
  limbeck_decrypt_function decrypt;
  void *decrypt_data; /**< Handed to `decrypt`. */
} limbeck_bundle_options;

/** Reads up to `capacity` bytes into `buffer` and returns how many came: 0 at the end, a negative
 *  number on failure, which is named in the message. It is called on the thread of the call that it
 *  was given to, and must return to it: no longjmp and no C++ exception may leave it. */
typedef int64_t (*limbeck_read_function)(void *data, uint8_t *buffer, size_t capacity);

/** Fills `options` with the defaults; pass sizeof(limbeck_bundle_options). */
void limbeck_bundle_options_init(limbeck_bundle_options *options, size_t size);

/** Opens a bundle file and verifies all of it. The path is `path_length` bytes: as the system has
 *  them on Unix, UTF-8 on Windows; it has no NUL inside. The file is mapped: do not change or cut
 *  it while the bundle or its models are open; replace it by renaming a new file over it. */
limbeck_status limbeck_bundle_open(const char *path, size_t path_length,
                                   const limbeck_bundle_options *options, limbeck_bundle **out,
                                   limbeck_error **error);

/** Opens a bundle of `length` bytes in memory and verifies all of it. The bytes are copied, so
 *  yours may go when the call returns. */
limbeck_status limbeck_bundle_open_bytes(const uint8_t *bytes, size_t length,
                                         const limbeck_bundle_options *options,
                                         limbeck_bundle **out, limbeck_error **error);

/** Opens a bundle that lies in an open file: `length` bytes from `offset` on, or all up to its end
 *  if `length` is 0. So an uncompressed asset inside an app's package needs no copy: at an `offset`
 *  that is a multiple of 64 it is mapped, else read to memory. The descriptor stays yours and may
 *  be closed when the call returns; the file's position is of no matter. Not on Windows. */
limbeck_status limbeck_bundle_open_fd(int descriptor, uint64_t offset, uint64_t length,
                                      const limbeck_bundle_options *options, limbeck_bundle **out,
                                      limbeck_error **error);

/** Reads a bundle to memory through `read`, which gets `data`, up to its end. If the length is
 *  known, give it as `length_hint`, so that a bundle of another length is refused before it is
 *  read. 0: not known. */
limbeck_status limbeck_bundle_open_reader(
    limbeck_read_function read, void *data, uint64_t length_hint,
    const limbeck_bundle_options *options, limbeck_bundle **out, limbeck_error **error);

/** Appends `length` bytes of content. Only from inside a decrypt function. */
limbeck_status limbeck_sink_write(limbeck_sink *sink, const uint8_t *bytes, size_t length,
                                  limbeck_error **error);

/* ==== MODEL =================================================================================== */

/** A model ready to run. A const handle may be used from many threads: as many calls run at one
 *  time as the model has sessions, others wait their turn. The env and the bundle it was opened
 *  with may be freed before it, and its results outlive it. */
typedef struct limbeck_model limbeck_model;

/** Options of limbeck_model_open. Only read during the call. */
typedef struct limbeck_model_options {
  size_t size; /**< Size of this struct; set by limbeck_model_options_init. */
  /** Threads that one call may use inside an operator, up to 256. 1: the call runs on the thread
   *  that makes it, and no other is started. 0: as the env says, or else 1. */
  uint32_t threads;
  /** Calls that can run at one time, up to 256, each with working memory of its own; made when
   *  first needed. 0: one. A batch call spreads over all, on threads that end with the call. */
  uint32_t sessions;
  /** 1: idle threads of a call spin, which is faster on an idle machine, slower on a busy one, and
   *  costs power. 0: they sleep. */
  uint32_t spinning;
  uint32_t reserved; /**< Must be 0. */
  /** The most private memory, in bytes, that the model may use with all sessions at work on the
   *  longest texts: kept by smaller batches, fewer sessions and slower weights, or else
   *  LIMBECK_MEMORY_BUDGET. 0: no limit. */
  uint64_t memory_budget;
  /** Backends to use, the best first: "cpu", "xnnpack", "nnapi", "coreml", "qnn", "cuda". What
   *  cannot be had is no error: see limbeck_model_providers_json. NULL: the CPU, which is always
   *  the last resort. */
  const limbeck_str *providers;
  size_t provider_count; /**< How many providers there are. */
  /** What must hold for the bundle, and what helps to read it. NULL: defaults. */
  const limbeck_bundle_options *bundle;
} limbeck_model_options;

/** What limbeck_model_self_test found. Yours, plain numbers. */
typedef struct limbeck_self_test {
  size_t size; /**< Size of this struct; set by limbeck_self_test_init. */
  size_t vectors; /**< Inputs that were run; 0 if the bundle has none. */
  float largest_difference; /**< The largest difference found, as part of what was expected. */
  float tolerance; /**< The most that the bundle allows. */
} limbeck_self_test;

/** How much memory a model is expected to use, with the budget kept. Yours, plain numbers. */
typedef struct limbeck_memory {
  size_t size; /**< Size of this struct; set by limbeck_memory_init. */
  uint64_t budget; /**< The budget that was set, in bytes; 0: none. */
  /** The most private memory expected, in bytes. Weights mapped from a file are not in it, nor are
   *  texts, answers, and ONNX Runtime's own code. */
  uint64_t expected;
  size_t sessions; /**< Sessions that may run at one time. */
  size_t batch_tokens; /**< Tokens of one batch, padding included; a text alone may have more. */
  uint32_t prepacked; /**< 1: weights are rearranged for speed, which takes the memory of a copy. */
  uint32_t reserved; /**< 0. */
} limbeck_memory;

/** What a model has done since it was opened. Yours, plain numbers, which only grow. */
typedef struct limbeck_metrics {
  size_t size; /**< Size of this struct; set by limbeck_metrics_init. */
  uint64_t calls; /**< Calls that reached the model: one for a text, one for a batch. */
  /** Calls that failed while running; those cancelled or out of time among them. */
  uint64_t failures;
  uint64_t runs; /**< Runs of the graph. */
  uint64_t rows; /**< Windows that were run: one for a text, more for a long one. */
  uint64_t tokens; /**< Tokens of those windows. */
  uint64_t padding; /**< Tokens of padding beside them. */
  uint64_t run_micros; /**< Microseconds that runs took, waiting for a session included. */
} limbeck_metrics;

/** Prepares options to be changed, or a struct to be filled; pass its sizeof. */
void limbeck_model_options_init(limbeck_model_options *options, size_t size);
void limbeck_self_test_init(limbeck_self_test *report, size_t size); /**< As above. */
void limbeck_memory_init(limbeck_memory *memory, size_t size); /**< As above. */
void limbeck_metrics_init(limbeck_metrics *metrics, size_t size); /**< As above. */

/** Opens a bundle file, verifies it, and makes its model ready. The path is as in
 *  limbeck_bundle_open. `options` may be NULL. Safe from any thread. */
limbeck_status limbeck_model_open(const limbeck_env *env, const char *path, size_t path_length,
                                  const limbeck_model_options *options, limbeck_model **out,
                                  limbeck_error **error);

/** Makes the model of a bundle ready, which may have been opened in any way. The bundle stays
 *  yours. `options` may be NULL; keys and lowest build in them are checked, it is too late to
 *  decrypt. Safe from any thread. */
limbeck_status limbeck_model_open_bundle(const limbeck_env *env, const limbeck_bundle *bundle,
                                         const limbeck_model_options *options, limbeck_model **out,
                                         limbeck_error **error);

/** The bundle of a model, as a handle of your own that may outlive the model. */
limbeck_status limbeck_model_bundle(const limbeck_model *model, limbeck_bundle **out,
                                    limbeck_error **error);

/** Runs the model on a text of its own, so that the first real call is not slower. */
limbeck_status limbeck_model_warm_up(const limbeck_model *model, limbeck_error **error);

/** Runs the inputs that were packed with the model and compares what comes of them with what is
 *  expected: LIMBECK_SELF_TEST if this device gives something else. `report` may be NULL; it is
 *  filled on success. */
limbeck_status limbeck_model_self_test(const limbeck_model *model, limbeck_self_test *report,
                                       limbeck_error **error);

/** How many tokens a text has for this model, special tokens included and uncut. */
limbeck_status limbeck_model_count_tokens(const limbeck_model *model, const char *text,
                                          size_t length, size_t *out, limbeck_error **error);

/** How many floats an embedding of this model has; 0 if it makes none. */
size_t limbeck_model_embedding_size(const limbeck_model *model);
/** What stands in a text for a word to be guessed: "[MASK]"; empty if it guesses none. */
limbeck_str limbeck_model_mask_token(const limbeck_model *model);

/** Which providers were asked for and what became of them: `{"requested": ["cuda"], "refused":
 *  [{"provider": "cuda", "reason": "..."}], "nodes": {"CPUExecutionProvider": 42}}`; without nodes
 *  all run on the CPU. */
limbeck_str limbeck_model_providers_json(const limbeck_model *model);

/** Fills `out` with how much memory the model is expected to use. */
limbeck_status limbeck_model_memory(const limbeck_model *model, limbeck_memory *out,
                                    limbeck_error **error);

/** Fills `out` with what the model has done so far. */
limbeck_status limbeck_model_metrics(const limbeck_model *model, limbeck_metrics *out,
                                     limbeck_error **error);

/** Frees a model. NULL is allowed. No call may be using it. */
void limbeck_model_free(limbeck_model *model);

/* ==== CANCEL ================================================================================== */

/** Ends calls from another thread: pass it in the options of a call, and trigger it while the call
 *  runs. It stays triggered, so calls given it later end at once; make a new one for new work. A
 *  const handle may be used from many threads, and by many calls. Free it when the calls that were
 *  given it have returned. */
typedef struct limbeck_cancel limbeck_cancel;

/** Makes a cancel handle that is not triggered. */
limbeck_status limbeck_cancel_new(limbeck_cancel **out, limbeck_error **error);

/** Ends the calls that were given this handle, now and later: they return LIMBECK_CANCELLED, one
 *  that runs stops within the operator it is at. Does not wait. */
void limbeck_cancel_trigger(const limbeck_cancel *cancel);

/** Whether the handle was triggered; false for NULL. */
bool limbeck_cancel_is_triggered(const limbeck_cancel *cancel);
/** Frees a cancel handle. NULL is allowed. */
void limbeck_cancel_free(limbeck_cancel *cancel);

/* ==== CALLS ===================================================================================
 *
 * What the calls of all tasks share. Each task has a call for one text and one for many, and both
 * make a limbeck_result. They take a const model, so many threads may make them on one. In a batch
 * each answer is what its text would get alone, but for rounding in the last digits (1e-5 in a
 * logit); when one text fails, the call fails; deadline and cancel are those of all of it. */

/** What the task does by itself with a text that is too long; each task says what. */
#define LIMBECK_OVERFLOW_DEFAULT 0
/** Use the first tokens of a text that is too long, and report in limbeck_usage how many were
 *  dropped. Of two texts the longer one is cut. */
#define LIMBECK_OVERFLOW_TRUNCATE 1
#define LIMBECK_OVERFLOW_ERROR 2 /**< Return LIMBECK_TOO_LONG for a text that is too long. */
/** Read the whole text in overlapping windows; each task says how it puts their answers together.
 *  Of two texts the shorter one stands in every window. */
#define LIMBECK_OVERFLOW_WINDOW 3
/** A word is of the entity that its first token says, as models are usually trained. */
#define LIMBECK_AGGREGATION_FIRST 0
/** A word has the label with the highest mean probability over its tokens. */
#define LIMBECK_AGGREGATION_AVERAGE 1
#define LIMBECK_AGGREGATION_MAX 2 /**< A word has the label of the token that is most certain. */
/** As FIRST, and only entities whose labels follow the rules of their scheme count. */
#define LIMBECK_AGGREGATION_STRICT 3
/** Each token that is not outside is an answer with its full label (`B-PER`). */
#define LIMBECK_AGGREGATION_NONE 4

/** Options of the calls of all tasks. Only read during the call. What a task does not read must be
 *  0; a NULL pointer means all defaults. */
typedef struct limbeck_call_options {
  size_t size; /**< Size of this struct; set by limbeck_call_options_init. */
  /** What to do with a text of more tokens than the model takes: a LIMBECK_OVERFLOW_ number. */
  uint32_t overflow;
  /** Tokens that two neighbouring windows share. 0: 128, or half a window if that is less. */
  uint32_t window_stride;
  /** LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none. */
  uint64_t deadline_ms;
  const limbeck_cancel *cancel; /**< Ends the call from another thread. NULL: nothing does. */
  /** How many labels, answers, guesses for a mask, or ranked texts to give, the best ones. 0: all
   *  labels and texts, 1 answer, 5 guesses. */
  size_t top_k;
  /** Classification with independent labels: the lowest probability at which a label holds.
   *  Entities: leave out those with a lower score. Replaced tokens: the lowest probability of a
   *  suspicious word. 0: the bundle's thresholds; all entities; 0.5. */
  float threshold;
  /** Classification: out of scope if the best label has less. 0: as the bundle says. */
  float out_of_scope;
  /** Entities: how tokens become words, a LIMBECK_AGGREGATION_ number. Replaced tokens: 0 or MAX, a
   *  word has the highest probability of its tokens; AVERAGE, the mean; NONE, runs of tokens in
   *  place of words. */
  uint32_t aggregation;
  /** Zero-shot: 1: each label has a probability of its own. 0: exactly one holds. */
  uint32_t multi_label;
  size_t max_answer_tokens; /**< Answers: the most tokens of an answer. 0: 15. */
  /** Zero-shot: says that the label at `{}` holds. Empty: `This example is {}.` */
  limbeck_str hypothesis;
  /** Ranking: the label whose score counts. Empty: the only label, or the one that the bundle names
   *  for entailment. */
  limbeck_str rank_label;
  /** Order: 1: read each pair in both orders and combine them, so that the answer for a swapped
   *  pair is the opposite: its logit is half of the logit as given less that of the swapped pair.
   *  Twice the work. 0: as given. */
  uint32_t both_orders;
  uint32_t reserved; /**< Must be 0. */
} limbeck_call_options;

/** Fills `options` with the defaults; pass sizeof(limbeck_call_options). */
void limbeck_call_options_init(limbeck_call_options *options, size_t size);

/* ==== RESULT ==================================================================================
 *
 * What a result holds, by the call that made it:
 *
 *     classify, zero_shot, head   a limbeck_score for each label
 *     rerank                      an answer for each ranked text, one limbeck_score in it
 *     tag                         a limbeck_entity for each entity
 *     answer                      a limbeck_answer for each answer
 *     fill_mask                   a limbeck_guess for each guess of each mask
 *     order                       limbeck_result_order; one item
 *     replaced                    a limbeck_replaced for each suspicious word
 *     embed                       limbeck_result_vector; its items are its floats
 *     generate                    limbeck_result_generation; its items are its tokens
 *     choose                      a limbeck_choice for each completion */

/** The answers of one call, in the order of its texts. Never changes; a const handle may be used
 *  from many threads. Bound to no other handle: it outlives the model, and what is seen through it
 *  lives until it is freed. */
typedef struct limbeck_result limbeck_result;

/** What was read of a text, and how long it took. Yours, plain numbers. */
typedef struct limbeck_usage {
  size_t size; /**< Size of this struct; set by limbeck_usage_init. */
  size_t tokens_used; /**< Tokens that the model read, special ones included; each counts once. */
  size_t tokens_dropped; /**< Tokens of the text that it did not read. */
  size_t windows; /**< Windows the text was read in; 1 unless it was too long. */
  uint64_t tokenize_ns; /**< Nanoseconds from text to token ids. */
  /** Nanoseconds waiting and running; texts that ran together share them. */
  uint64_t inference_ns;
  uint64_t post_ns; /**< Nanoseconds from logits to the answer. */
} limbeck_usage;

/** Prepares `usage` to be filled; pass sizeof(limbeck_usage). */
void limbeck_usage_init(limbeck_usage *usage, size_t size);

/** How many texts the result answers; 0 for NULL. */
size_t limbeck_result_count(const limbeck_result *result);

/** How many items (see above) the answer for the text at position `text` has. */
limbeck_status limbeck_result_item_count(const limbeck_result *result, size_t text, size_t *out,
                                         limbeck_error **error);

/** The embedding of the text at position `text`: a view of `length` floats. */
limbeck_status limbeck_result_vector(const limbeck_result *result, size_t text, const float **out,
                                     size_t *length, limbeck_error **error);

/** Whether the best label is sure enough for the text at position `text` to be the model's business
 *  at all; true if neither bundle nor call sets a threshold. */
limbeck_status limbeck_result_in_scope(const limbeck_result *result, size_t text, bool *out,
                                       limbeck_error **error);

/** The score of "the text does not say" for the question at position `text`, to be compared with
 *  those of its answers. Only a model trained on questions without an answer gives it a meaning. */
limbeck_status limbeck_result_no_answer(const limbeck_result *result, size_t text, float *out,
                                        limbeck_error **error);

/** Fills `out` with what was read of the text at position `text`, and how long that took. For
 *  zero-shot labels these are sums over all labels. */
limbeck_status limbeck_result_usage(const limbeck_result *result, size_t text, limbeck_usage *out,
                                    limbeck_error **error);

/** All of the result as a JSON array with an object for each text, made when first asked for:
 *  `[{"labels": [{"label": "positive", "probability": 0.98, ...}], "tokens_used": 9, ...}]`. */
limbeck_str limbeck_result_json(const limbeck_result *result);

/** Frees a result, and with it what is seen through it. NULL is allowed. */
void limbeck_result_free(limbeck_result *result);

/* ==== ITEMS OF ANSWERS ======================================================================== */

/** A label, or a ranked text, with its score. Yours; its text lives as long as the result. */
typedef struct limbeck_score {
  size_t size; /**< Size of this struct; set by limbeck_score_init. */
  limbeck_str label; /**< The label's name; empty for a ranked text. */
  /** The label's place in the list of the model (limbeck_bundle_label), of the call (zero-shot) or
   *  of the head; the ranked text's place in the call. */
  size_t index;
  float probability; /**< Its probability, 0 to 1; the logit itself if the model has none. */
  float logit; /**< The model's raw score; 0 for zero-shot labels and ranked texts. */
  /** 1: the label holds: the best one, where just one can; those above their threshold, where
   *  several can; none if the text is out of scope. 0 for zero-shot labels and ranked texts. */
  uint32_t holds;
  uint32_t reserved; /**< 0. */
} limbeck_score;

/** A piece of a text, from `begin` up to but without `end`, in the units of three worlds. It never
 *  cuts through what a reader sees as one character. Plain numbers; never grows. */
typedef struct limbeck_span {
  size_t byte_begin; /**< In bytes of UTF-8, as C, C++, Rust and Go count. */
  size_t byte_end; /**< The end in bytes. */
  size_t utf16_begin; /**< In UTF-16 code units, as Java, JavaScript, C# and NSString count. */
  size_t utf16_end; /**< The end in UTF-16 code units. */
  size_t char_begin; /**< In Unicode scalar values, as Python counts. */
  size_t char_end; /**< The end in Unicode scalar values. */
} limbeck_span;

/** A piece of a text with a label. Yours; its texts live as long as the result. */
typedef struct limbeck_entity {
  size_t size; /**< Size of this struct; set by limbeck_entity_init. */
  limbeck_str label; /**< What it is: "PER". */
  limbeck_str text; /**< The piece itself. */
  limbeck_span span; /**< Where it stands. */
  float score; /**< Mean probability of the labels of its words. */
  uint32_t reserved; /**< 0. */
} limbeck_entity;

/** A piece of a text that answers a question. Yours; its text lives as long as the result. */
typedef struct limbeck_answer {
  size_t size; /**< Size of this struct; set by limbeck_answer_init. */
  limbeck_str text; /**< The piece itself, of whole words. */
  limbeck_span span; /**< Where it stands. */
  /** Probability that the answer starts there times probability that it ends there, summed over all
   *  places with the same words, so it may exceed 1. */
  float score;
  uint32_t reserved; /**< 0. */
} limbeck_answer;

/** What could stand in place of a mask. Yours; its texts live as long as the result. */
typedef struct limbeck_guess {
  size_t size; /**< Size of this struct; set by limbeck_guess_init. */
  size_t mask; /**< Which mask of the text it is for, from 0. */
  limbeck_span span; /**< Where that mask stands. */
  limbeck_str text; /**< The token as text. */
  limbeck_str token; /**< The token as it stands in the vocabulary: "##ing". */
  uint32_t id; /**< Its id. */
  float probability; /**< Its probability among all tokens of the vocabulary. */
} limbeck_guess;

/** Prepares a struct to be filled; pass its sizeof. */
void limbeck_score_init(limbeck_score *score, size_t size);
void limbeck_entity_init(limbeck_entity *entity, size_t size); /**< As above. */
void limbeck_answer_init(limbeck_answer *answer, size_t size); /**< As above. */
void limbeck_guess_init(limbeck_guess *guess, size_t size); /**< As above. */

/** Fills `out` with the label at `rank` for the text at position `text`. Rank 0 is best. */
limbeck_status limbeck_result_score(const limbeck_result *result, size_t text, size_t rank,
                                    limbeck_score *out, limbeck_error **error);

/** Fills `out` with the entity at `index` of the text at position `text`. */
limbeck_status limbeck_result_entity(const limbeck_result *result, size_t text, size_t index,
                                     limbeck_entity *out, limbeck_error **error);

/** Fills `out` with the answer at `rank` to the question at position `text`. Rank 0 is the best. */
limbeck_status limbeck_result_answer(const limbeck_result *result, size_t text, size_t rank,
                                     limbeck_answer *out, limbeck_error **error);

/** Fills `out` with the guess at `index` for the text at position `text`: those for the first mask,
 *  the likeliest first, then those for the next. */
limbeck_status limbeck_result_guess(const limbeck_result *result, size_t text, size_t index,
                                    limbeck_guess *out, limbeck_error **error);

/* ==== CLASSIFY ================================================================================ */

/** Classifies one text of `length` bytes: limbeck_result_score. A text that is too long is
 *  truncated by default; windows are put together by the mean of their logits, each weighted by its
 *  tokens. */
limbeck_status limbeck_model_classify(const limbeck_model *model, const char *text, size_t length,
                                      const limbeck_call_options *options, limbeck_result **out,
                                      limbeck_error **error);

/** Classifies `count` texts. */
limbeck_status limbeck_model_classify_batch(const limbeck_model *model, const limbeck_str *texts,
                                            size_t count, const limbeck_call_options *options,
                                            limbeck_result **out, limbeck_error **error);

/** Classifies a pair of texts: does one follow from the other, do they say the same? A model of the
 *  task "pair-classification". */
limbeck_status limbeck_model_classify_pair(
    const limbeck_model *model, const char *first, size_t first_length, const char *second,
    size_t second_length, const limbeck_call_options *options, limbeck_result **out,
    limbeck_error **error);

/** Classifies `count` pairs of texts. */
limbeck_status limbeck_model_classify_pairs(const limbeck_model *model, const limbeck_pair *pairs,
                                            size_t count, const limbeck_call_options *options,
                                            limbeck_result **out, limbeck_error **error);

/* ==== LABELS OF YOUR OWN, AND RANKING =========================================================
 *
 * By a model that reads two texts. */

/** Says which of `label_count` labels fit a text: limbeck_result_score. The model was never trained
 *  on them, but to tell what follows from a text ("pair-classification" with `entailment` in its
 *  manifest). A text that is too long is truncated by default; a label's sentence never is. */
limbeck_status limbeck_model_zero_shot(const limbeck_model *model, const char *text, size_t length,
                                       const limbeck_str *labels, size_t label_count,
                                       const limbeck_call_options *options, limbeck_result **out,
                                       limbeck_error **error);

/** Says which of some labels fit each of `count` texts. */
limbeck_status limbeck_model_zero_shot_batch(
    const limbeck_model *model, const limbeck_str *texts, size_t count, const limbeck_str *labels,
    size_t label_count, const limbeck_call_options *options, limbeck_result **out,
    limbeck_error **error);

/** Orders `count` texts by how well they fit a query. The result has an answer for each text it
 *  ranks, the best first, with one limbeck_score, whose `index` is the text's place in `texts`. A
 *  text that is too long is read in windows by default, of which the best one counts; the query is
 *  never cut. */
limbeck_status limbeck_model_rerank(
    const limbeck_model *model, const char *query, size_t query_length, const limbeck_str *texts,
    size_t count, const limbeck_call_options *options, limbeck_result **out, limbeck_error **error);

/* ==== ENTITIES ================================================================================ */

/** Finds the entities of a text: limbeck_result_entity, in the order of the text. A text that is
 *  too long is read in windows by default. */
limbeck_status limbeck_model_tag(const limbeck_model *model, const char *text, size_t length,
                                 const limbeck_call_options *options, limbeck_result **out,
                                 limbeck_error **error);

/** Finds the entities of `count` texts. */
limbeck_status limbeck_model_tag_batch(const limbeck_model *model, const limbeck_str *texts,
                                       size_t count, const limbeck_call_options *options,
                                       limbeck_result **out, limbeck_error **error);

/* ==== ANSWERS ================================================================================= */

/** Answers a question with a piece of a text: limbeck_result_answer, the best first. A text that is
 *  too long is read in windows by default, over all of which the answers compete; the question is
 *  never cut. */
limbeck_status limbeck_model_answer(const limbeck_model *model, const char *question,
                                    size_t question_length, const char *text, size_t text_length,
                                    const limbeck_call_options *options, limbeck_result **out,
                                    limbeck_error **error);

/** Answers `count` questions, each from a text of its own. */
limbeck_status limbeck_model_answer_batch(const limbeck_model *model, const limbeck_pair *questions,
                                          size_t count, const limbeck_call_options *options,
                                          limbeck_result **out, limbeck_error **error);

/* ==== EMBEDDINGS ============================================================================== */

/** Turns a text into a vector of limbeck_model_embedding_size floats, written to `vectors`, which
 *  has room for `capacity` floats. `out` may be NULL if the vector is all that is wanted; a result
 *  also has the usage, and the vector itself for those who have no buffer and pass NULL and 0. A
 *  text that is too long is truncated by default; windows are put together by the mean of their
 *  vectors, each weighted by its tokens. */
limbeck_status limbeck_model_embed(const limbeck_model *model, const char *text, size_t length,
                                   const limbeck_call_options *options, float *vectors,
                                   size_t capacity, limbeck_result **out, limbeck_error **error);

/** Turns `count` texts into vectors, one after the other in `vectors`, which has room for
 *  `capacity` floats. The rest is as in limbeck_model_embed. */
limbeck_status limbeck_model_embed_batch(const limbeck_model *model, const limbeck_str *texts,
                                         size_t count, const limbeck_call_options *options,
                                         float *vectors, size_t capacity, limbeck_result **out,
                                         limbeck_error **error);

/** The cosine of the angle between two vectors of `length` floats: 1 for the same direction, 0 for
 *  a right angle, and 0 if one of them is zero. */
limbeck_status limbeck_similarity(const float *first, const float *second, size_t length,
                                  float *out, limbeck_error **error);

/** The vectors most similar to `query`, the nearest first: of `count` vectors of `length` floats,
 *  one after the other in `vectors`, the places of up to `k` go to `indices` and their similarities
 *  to `similarities` (which may be NULL); both have room for `k`. `found` says how many there are:
 *  `k`, or `count` if that is less. */
limbeck_status limbeck_nearest(const float *query, size_t length, const float *vectors,
                               size_t count, size_t k, size_t *indices, float *similarities,
                               size_t *found, limbeck_error **error);

/* ==== MASKED WORDS ============================================================================ */

/** Guesses the masked words of a text, which stand in it as limbeck_model_mask_token:
 *  limbeck_result_guess, mask by mask, for each the likeliest first. A text that is too long is
 *  read in windows by default. */
limbeck_status limbeck_model_fill_mask(const limbeck_model *model, const char *text, size_t length,
                                       const limbeck_call_options *options, limbeck_result **out,
                                       limbeck_error **error);

/** Guesses the masked words of `count` texts. */
limbeck_status limbeck_model_fill_mask_batch(const limbeck_model *model, const limbeck_str *texts,
                                             size_t count, const limbeck_call_options *options,
                                             limbeck_result **out, limbeck_error **error);

/* ==== ORDER =================================================================================== */

/** Which of two texts comes first. Yours, plain numbers. */
typedef struct limbeck_order {
  size_t size; /**< Size of this struct; set by limbeck_order_init. */
  /** How likely the first text comes before the second; else it comes after it. */
  float probability;
  float logit; /**< The natural log of its odds, before the bundle's calibration. */
} limbeck_order;

/** Prepares `order` to be filled; pass sizeof(limbeck_order). */
void limbeck_order_init(limbeck_order *order, size_t size);

/** Tells which of two texts comes first: limbeck_result_order. A model of the task "order". Of a
 *  pair that is too long the longer text is truncated by default; windows are put together by the
 *  mean of their logits, each weighted by its tokens. */
limbeck_status limbeck_model_order(const limbeck_model *model, const char *first,
                                   size_t first_length, const char *second, size_t second_length,
                                   const limbeck_call_options *options, limbeck_result **out,
                                   limbeck_error **error);

/** Tells which comes first in each of `count` pairs of texts. */
limbeck_status limbeck_model_order_batch(const limbeck_model *model, const limbeck_pair *pairs,
                                         size_t count, const limbeck_call_options *options,
                                         limbeck_result **out, limbeck_error **error);

/** Fills `out` with the order of the pair at position `text`. */
limbeck_status limbeck_result_order(const limbeck_result *result, size_t text, limbeck_order *out,
                                    limbeck_error **error);

/* ==== REPLACED TOKENS ========================================================================= */

/** A piece of a text, with how likely it was put there in place of another. Yours; its text lives
 *  as long as the result. */
typedef struct limbeck_replaced {
  size_t size; /**< Size of this struct; set by limbeck_replaced_init. */
  limbeck_str text; /**< The piece itself. */
  limbeck_span span; /**< Where it stands; a single token may cut through a character. */
  float probability; /**< How likely something else stood here. */
  uint32_t reserved; /**< 0. */
} limbeck_replaced;

/** Prepares `replaced` to be filled; pass sizeof(limbeck_replaced). */
void limbeck_replaced_init(limbeck_replaced *replaced, size_t size);

/** Finds typing errors and corruption: says of each token of a text how likely it was put there in
 *  place of another, and which words that makes suspicious: limbeck_result_replaced, in the order
 *  of the text. A model of the task "replaced". A text that is too long is read in windows by
 *  default. */
limbeck_status limbeck_model_replaced(const limbeck_model *model, const char *text, size_t length,
                                      const limbeck_call_options *options, limbeck_result **out,
                                      limbeck_error **error);

/** Looks for replaced tokens in `count` texts. */
limbeck_status limbeck_model_replaced_batch(const limbeck_model *model, const limbeck_str *texts,
                                            size_t count, const limbeck_call_options *options,
                                            limbeck_result **out, limbeck_error **error);

/** Fills `out` with the suspicious word at `index` of the text at position `text`; with
 *  LIMBECK_AGGREGATION_NONE with the run of tokens. */
limbeck_status limbeck_result_replaced(const limbeck_result *result, size_t text, size_t index,
                                       limbeck_replaced *out, limbeck_error **error);

/** How many tokens of the text at position `text` were read, without special ones. */
limbeck_status limbeck_result_token_count(const limbeck_result *result, size_t text, size_t *out,
                                          limbeck_error **error);

/** Fills `out` with the token at `index` of the text at position `text`, suspicious or not. */
limbeck_status limbeck_result_token(const limbeck_result *result, size_t text, size_t index,
                                    limbeck_replaced *out, limbeck_error **error);

/* ==== GENERATION ==============================================================================
 *
 * For models of the task "generation". */

/** LIMBECK_TOO_LONG before anything is written, if prompt and new tokens might be more than the
 *  context holds (limbeck_bundle_max_tokens). */
#define LIMBECK_CONTEXT_ERROR 0
/** Write until the context is full: LIMBECK_FINISH_CONTEXT. A prompt longer than the context is
 *  LIMBECK_TOO_LONG. */
#define LIMBECK_CONTEXT_STOP 1
/** Forget the oldest tokens whenever the context is full, and report how many. */
#define LIMBECK_CONTEXT_SLIDE 2
/** The text has not ended: the token function ended the call. */
#define LIMBECK_FINISH_UNFINISHED 0
#define LIMBECK_FINISH_END_OF_TEXT 1 /**< The model wrote its end of text. */
#define LIMBECK_FINISH_STOP 2 /**< A stop string came. */
#define LIMBECK_FINISH_LENGTH 3 /**< As many tokens were written as were allowed. */
#define LIMBECK_FINISH_CONTEXT 4 /**< The context was full. */

/** Options of calls that write text. Only read during the call; NULL means all defaults. */
typedef struct limbeck_generate_options {
  size_t size; /**< Size of this struct; set by limbeck_generate_options_init. */
  size_t max_new_tokens; /**< The most tokens to write. 0: 128. */
  /** 0: the likeliest token each time. Above 0: tokens are drawn, from logits divided by this. */
  float temperature;
  /** Draw among the fewest likeliest tokens whose probabilities reach this sum. 0: among all. */
  float top_p;
  size_t top_k; /**< Draw among so many of the likeliest tokens. 0: among all. */
  /** The seed of the draws: with the same one the same model writes the same text. */
  uint64_t seed;
  /** Makes tokens that stand in the context less likely, if above 1. 0: 1. */
  float repetition_penalty;
  uint32_t ignore_eos; /**< 1: write on after the model's end of text. */
  const limbeck_str *stops; /**< Strings that end the text, which ends before them. */
  size_t stop_count; /**< How many. */
  uint32_t context; /**< When the context is full: a LIMBECK_CONTEXT_ number. */
  /** LIMBECK_CONTEXT_SLIDE: how many tokens stay. 0: half of the context. */
  uint32_t context_keep;
  /** LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none. */
  uint64_t deadline_ms;
  /** Ends the call from another thread, between two tokens or within one. */
  const limbeck_cancel *cancel;
} limbeck_generate_options;

/** A text that was written. Yours; its text and ids live as long as the result. */
typedef struct limbeck_generation {
  size_t size; /**< Size of this struct; set by limbeck_generation_init. */
  limbeck_str text; /**< What follows the prompt, without end of text or stop string. */
  const uint32_t *ids; /**< Its tokens, the one that ended it among them: `generated_tokens` ids. */
  size_t generated_tokens; /**< How many tokens were written. */
  size_t prompt_tokens; /**< Tokens of the prompt. */
  /** Tokens at the beginning that were forgotten (LIMBECK_CONTEXT_SLIDE). */
  size_t tokens_dropped;
  uint32_t finish; /**< Why it ended: a LIMBECK_FINISH_ number. */
  uint32_t reserved; /**< 0. */
  uint64_t tokenize_ns; /**< Nanoseconds from text to token ids. */
  /** Nanoseconds reading prompts, and what is read anew when the context is full. */
  uint64_t prefill_ns;
  uint64_t decode_ns; /**< Nanoseconds running the model for all further tokens. */
  uint64_t sampling_ns; /**< Nanoseconds choosing tokens and making text of them. */
} limbeck_generation;

/** Is given each token as it is written, on the thread of the call: its id, and the text that
 *  became certain with it, whole characters, perhaps empty, valid during the call. Returns false to
 *  end the text here. `data` is as given with the function. It may call the library, and free
 *  nothing that the call uses. */
typedef bool (*limbeck_token_function)(void *data, uint32_t id, limbeck_str text);

/** Fills `options` with the defaults; pass sizeof(limbeck_generate_options). */
void limbeck_generate_options_init(limbeck_generate_options *options, size_t size);
void limbeck_generation_init(limbeck_generation *generation, size_t size); /**< As above. */

/** Writes on from a prompt: limbeck_result_generation. `function`, which may be NULL, is given each
 *  token with `data`. Other calls may run between two tokens. */
limbeck_status limbeck_model_generate(const limbeck_model *model, const char *prompt, size_t length,
                                      const limbeck_generate_options *options,
                                      limbeck_token_function function, void *data,
                                      limbeck_result **out, limbeck_error **error);

/** Writes on from `count` prompts, as many together as memory allows. */
limbeck_status limbeck_model_generate_batch(const limbeck_model *model, const limbeck_str *prompts,
                                            size_t count, const limbeck_generate_options *options,
                                            limbeck_result **out, limbeck_error **error);

/** Fills `out` with what was written after the prompt at position `text`. */
limbeck_status limbeck_result_generation(const limbeck_result *result, size_t text,
                                         limbeck_generation *out, limbeck_error **error);

/* ==== PROMPTS =================================================================================
 *
 * Prompts with examples, and how likely a model of the task "generation" finds text. */

/** By the log probability of a token, the mean over the completion. */
#define LIMBECK_SCORING_PER_TOKEN 0
#define LIMBECK_SCORING_SUM 1 /**< By the log probability of the whole completion. */
#define LIMBECK_SCORING_PER_BYTE 2 /**< By that sum over the completion's bytes. */
/** By how much likelier the completion is after the prompt than after `answer_context`. */
#define LIMBECK_SCORING_ANSWER_CONTEXT 3

/** A text to be completed: an instruction, examples, and the query, put together as they are with
 *  the separator between them. What stands before the query is read once, and gone on from in later
 *  calls as long as there is room for it. Only read during the call. */
typedef struct limbeck_prompt {
  size_t size; /**< Size of this struct; set by limbeck_prompt_init. */
  limbeck_str instruction; /**< What comes first; may be empty. */
  /** Texts like the query with their completions, usually with the space before them. */
  const limbeck_pair *examples;
  size_t example_count; /**< How many. */
  limbeck_str query; /**< What is to be completed. */
  /** Stands between the parts. NULL: two line ends; an empty one that is not NULL: nothing. */
  limbeck_str separator;
  /** The most tokens of the prompt; examples that do not fit are left out, the last ones first, and
   *  reported. 0: what the context has room for. */
  size_t max_tokens;
  uint32_t all_examples; /**< 1: LIMBECK_TOO_LONG if an example does not fit. */
  uint32_t reserved; /**< 0. */
} limbeck_prompt;

/** Options of calls that score completions. Only read during the call. */
typedef struct limbeck_choose_options {
  size_t size; /**< Size of this struct; set by limbeck_choose_options_init. */
  uint32_t scoring; /**< What completions are compared by: a LIMBECK_SCORING_ number. */
  uint32_t reserved; /**< 0. */
  limbeck_str answer_context; /**< LIMBECK_SCORING_ANSWER_CONTEXT: "Answer: ". */
  /** Contextual calibration: queries without content, as "Review: N/A"; a completion's probability
   *  is divided by its mean probability there. */
  const limbeck_str *content_free;
  size_t content_free_count; /**< How many. 0: not calibrated. */
  /** LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none. */
  uint64_t deadline_ms;
  const limbeck_cancel *cancel; /**< Ends the call from another thread. */
} limbeck_choose_options;

/** A completion with its score. Yours; its text lives as long as the result. */
typedef struct limbeck_choice {
  size_t size; /**< Size of this struct; set by limbeck_choice_init. */
  limbeck_str text; /**< The completion; empty from limbeck_model_score. */
  size_t index; /**< Its place among the completions given. */
  double score; /**< What completions are compared by; by limbeck_model_score the mean by token. */
  double probability; /**< The softmax of the scores of all completions. */
  double log_probability; /**< Natural log of its probability after the prompt. */
  size_t tokens; /**< Its tokens. */
  size_t bytes; /**< Its bytes, with the white space that stood at the end of the query. */
} limbeck_choice;

/** What was read for a prompt. Yours, plain numbers. */
typedef struct limbeck_prompt_usage {
  size_t size; /**< Size of this struct; set by limbeck_prompt_usage_init. */
  size_t prompt_tokens; /**< Tokens of the prompt. */
  size_t cached_tokens; /**< Of those, tokens that were read in an earlier call. */
  size_t examples; /**< Examples that stand in the prompt. */
  size_t examples_dropped; /**< Examples for which there was no room. */
} limbeck_prompt_usage;

/** How likely a text is. Yours, plain numbers. */
typedef struct limbeck_perplexity {
  size_t size; /**< Size of this struct; set by limbeck_perplexity_init. */
  double perplexity; /**< e to the negative mean log probability of a token. */
  /** Negative log probability in bits, by the bytes of the tokens that were scored. */
  double bits_per_byte;
  double log_probability; /**< Natural log of the probability of the tokens that were scored. */
  size_t tokens; /**< Tokens that were scored. */
  size_t bytes; /**< Their bytes. */
  size_t windows; /**< Windows that the text was read in; 1 unless it is longer than the context. */
} limbeck_perplexity;

/** Options of limbeck_model_perplexity. Only read during the call. */
typedef struct limbeck_perplexity_options {
  size_t size; /**< Size of this struct; set by limbeck_perplexity_options_init. */
  /** Tokens before the first that is scored in each further window. 0: half of the context. */
  size_t stride;
  uint32_t from_start; /**< 1: score the first token too, after the one that texts begin with. */
  uint32_t reserved; /**< 0. */
  /** LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none. */
  uint64_t deadline_ms;
  const limbeck_cancel *cancel; /**< Ends the call from another thread. */
} limbeck_perplexity_options;

/** Prepares `prompt` to be changed; pass sizeof(limbeck_prompt). */
void limbeck_prompt_init(limbeck_prompt *prompt, size_t size);
void limbeck_choose_options_init(limbeck_choose_options *options, size_t size); /**< As above. */
void limbeck_choice_init(limbeck_choice *choice, size_t size); /**< As above. */
void limbeck_prompt_usage_init(limbeck_prompt_usage *usage, size_t size); /**< As above. */
void limbeck_perplexity_init(limbeck_perplexity *perplexity, size_t size); /**< As above. */
void limbeck_perplexity_options_init(limbeck_perplexity_options *options, size_t size); /**< As above. */

/** Chooses between `count` completions of a prompt: limbeck_result_choice. White space at the end
 *  of the query counts to the completions. */
limbeck_status limbeck_model_choose(const limbeck_model *model, const limbeck_prompt *prompt,
                                    const limbeck_str *completions, size_t count,
                                    const limbeck_choose_options *options, limbeck_result **out,
                                    limbeck_error **error);

/** Fills `out` with the completion at `rank`. Rank 0 is the best. */
limbeck_status limbeck_result_choice(const limbeck_result *result, size_t rank, limbeck_choice *out,
                                     limbeck_error **error);

/** Writes on from a prompt with examples, as limbeck_model_generate does from a text. Where the
 *  context must not become full, examples that leave no room for max_new_tokens are left out:
 *  limbeck_result_prompt_usage. */
limbeck_status limbeck_model_generate_prompt(
    const limbeck_model *model, const limbeck_prompt *prompt,
    const limbeck_generate_options *options, limbeck_token_function function, void *data,
    limbeck_result **out, limbeck_error **error);

/** Fills `out` with what was read of the prompt from which was chosen or written on; not of a
 *  batch. */
limbeck_status limbeck_result_prompt_usage(const limbeck_result *result, limbeck_prompt_usage *out,
                                           limbeck_error **error);

/** Fills `out` with how likely one completion of `length` bytes is after a prompt with all its
 *  examples: LIMBECK_TOO_LONG if they have no room. Of `options` only deadline and cancel are read;
 *  the rest must be 0. */
limbeck_status limbeck_model_score(
    const limbeck_model *model, const limbeck_prompt *prompt, const char *completion, size_t length,
    const limbeck_choose_options *options, limbeck_choice *out, limbeck_error **error);

/** Fills `out` with how likely a text of `length` bytes is. One that is longer than the context is
 *  read in overlapping windows, each token scored once. */
limbeck_status limbeck_model_perplexity(const limbeck_model *model, const char *text, size_t length,
                                        const limbeck_perplexity_options *options,
                                        limbeck_perplexity *out, limbeck_error **error);

/* ==== FEW-SHOT ================================================================================
 *
 * A classifier on top of an embedding model: labels of your own from a few
 * examples each, fitted on the device in milliseconds. */

/** A classifier fitted on examples. It belongs to the very model it was fitted on, and refuses
 *  others. Never changes; a const handle may be used from many threads. It does not hold the model:
 *  keep both. */
typedef struct limbeck_head limbeck_head;

/** Fits a head on `count` examples: `first` is a text, `second` its label. Labels are in the order
 *  in which they first come. `strength` weighs the examples against keeping the head simple; 0: 10.
 *  Of the options the common ones count. */
limbeck_status limbeck_head_fit(const limbeck_model *model, const limbeck_pair *examples,
                                size_t count, double strength, const limbeck_call_options *options,
                                limbeck_head **out, limbeck_error **error);

/** Reads a head from a file. The path is as in limbeck_bundle_open. */
limbeck_status limbeck_head_load(const char *path, size_t path_length, limbeck_head **out,
                                 limbeck_error **error);

/** Writes a head to a file, whole or not at all. The one call that writes a file. */
limbeck_status limbeck_head_save(const limbeck_head *head, const char *path, size_t path_length,
                                 limbeck_error **error);

/** How many labels a head knows; 0 for NULL. */
size_t limbeck_head_label_count(const limbeck_head *head);

/** The label at `index`, counted from 0. */
limbeck_status limbeck_head_label(const limbeck_head *head, size_t index, limbeck_str *out,
                                  limbeck_error **error);

/** Classifies `count` texts with a head and the model that it was fitted on: limbeck_result_score.
 *  Of the options `top_k`, `out_of_scope` and the common ones count. */
limbeck_status limbeck_head_classify(
    const limbeck_head *head, const limbeck_model *model, const limbeck_str *texts, size_t count,
    const limbeck_call_options *options, limbeck_result **out, limbeck_error **error);

/** Frees a head. NULL is allowed. */
void limbeck_head_free(limbeck_head *head);

/* ==== SLOT ====================================================================================
 *
 * Replacing a model while it is in use: calls in flight end on the model they
 * began with, later ones use the new one, and none fails for it. */

/** A place for a model that can be replaced under load. A const handle may be used from many
 *  threads, to publish too. The models put into it live as long as it holds them, whatever is freed
 *  beside it. */
typedef struct limbeck_slot limbeck_slot;

/** Makes a slot with its first model, which also stays yours to free. */
limbeck_status limbeck_slot_new(const limbeck_model *model, limbeck_slot **out,
                                limbeck_error **error);

/** The model in use, as a handle of your own to free. Ask anew for each call, or for each piece of
 *  work that must see one model throughout; it costs nothing to speak of. */
limbeck_status limbeck_slot_model(const limbeck_slot *slot, limbeck_model **out,
                                  limbeck_error **error);

/** Counts up with every change of the model, from 1; 0 for NULL. */
uint64_t limbeck_slot_generation(const limbeck_slot *slot);

/** Puts a model in use, if it does the task of the one before, is no older build of it, and passes
 *  its own self-test; else the model before stays. The model also stays yours to free. `generation`
 *  may be NULL; it gets the new generation. */
limbeck_status limbeck_slot_publish(const limbeck_slot *slot, const limbeck_model *model,
                                    uint64_t *generation, limbeck_error **error);

/** Goes back to the model before, which stayed in memory; going back again returns to the newer
 *  one. LIMBECK_INVALID_ARGUMENT if there is none. `generation` is as in limbeck_slot_publish. */
limbeck_status limbeck_slot_roll_back(const limbeck_slot *slot, uint64_t *generation,
                                      limbeck_error **error);

/** Gives the memory of the model before back, once the calls that use it have ended. */
void limbeck_slot_forget_previous(const limbeck_slot *slot);
/** Frees a slot. NULL is allowed. Handles of its models stay good. */
void limbeck_slot_free(limbeck_slot *slot);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* LIMBECK_H */
