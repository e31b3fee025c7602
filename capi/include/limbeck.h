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
 *  1. Every call that can fail returns a limbeck_status: LIMBECK_OK (0) or a
 *     number of enum limbeck_status_code. Numbers are fixed and never used
 *     again for something else. What a call makes goes out through a pointer;
 *     when the call fails, that pointer is set to NULL and nothing was made.
 *  2. The last parameter of a call that can fail is `limbeck_error **error`. Pass
 *     NULL when the number is enough. Otherwise it is set to NULL on success
 *     and to an object of yours on failure, with a message that names what
 *     failed; free it with limbeck_error_free. What it held before is
 *     overwritten, not freed.
 *  3. What a _new, _open or _classify call makes is yours, and is freed by the
 *     _free call of its type, once. _free takes NULL. Handles do not lean on
 *     each other: free them in any order, once no call uses them.
 *  4. A handle taken as a pointer to const may be used from many threads at one
 *     time. Only _free wants a handle to itself.
 *  5. Text goes in as a pointer and a length in bytes. It is UTF-8 and is
 *     checked; it needs no NUL at its end and may hold NUL bytes. NULL with
 *     length 0 is the empty text.
 *  6. Text comes out as a limbeck_str: a borrowed view, not ended by a NUL, that
 *     lives as long as the handle it was asked of. Getters that return their
 *     answer directly cannot fail: from NULL they return 0 or an empty view.
 *  7. A struct that may grow begins with `size`. Fill it with its _init call,
 *     which sets everything else to 0, and 0 always means the default. A NULL
 *     options pointer means all defaults. So programs built with an older or a
 *     newer header than the library work: what the library does not know and
 *     is not 0 is refused with LIMBECK_BAD_STRUCT_SIZE, never skipped.
 *  8. The library does not exit, print, open a network connection, read
 *     environment variables to choose what to do, or write files. One limit: as
 *     in any Rust program, running out of memory ends the process. One
 *     exception: an ONNX Runtime of version 1.29 or later reports to its maker
 *     unless ORT_DISABLE_TELEMETRY=1 is set, so it is refused without that.
 *  9. A bug in the library that shows itself as a panic becomes LIMBECK_INTERNAL;
 *     the library goes on working.
 *
 * Pointers that are not NULL must point to what the parameter's type says. The
 * shared library stays loaded after dlclose: the first call with a deadline
 * starts a thread that lives as long as the process.
 *
 * Generated from capi/src by capi/tests/header.rs; change it there.
 * MIT OR Apache-2.0
 */

#ifndef LIMBECK_H
#define LIMBECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif


/* ======================================================================
 * STATUS
 * ====================================================================== */

/** What a limbeck_status says. */
typedef enum limbeck_status_code {
  /** The call did what it should. */
  LIMBECK_OK = 0,
  /** An argument or option has a value that cannot be used. */
  LIMBECK_INVALID_ARGUMENT = 1,
  /** Text is not UTF-8; the message names the offset of the first bad byte. */
  LIMBECK_INVALID_UTF8 = 2,
  /** A file is not there. */
  LIMBECK_NOT_FOUND = 3,
  /** The operating system refused to read a file. */
  LIMBECK_IO = 4,
  /** The file is no limbeck bundle. */
  LIMBECK_NOT_A_BUNDLE = 5,
  /** The bundle ends before it should. */
  LIMBECK_TRUNCATED = 6,
  /** Bytes of the bundle do not have the hash they should. */
  LIMBECK_CORRUPT = 7,
  /** The bundle breaks a rule of its format. */
  LIMBECK_MALFORMED = 8,
  /** The bundle, or the program, needs another version of this library. */
  LIMBECK_INCOMPATIBLE = 9,
  /** The model was made for another task. */
  LIMBECK_WRONG_TASK = 10,
  /** The text is longer than the model takes, and that was to be an error. */
  LIMBECK_TOO_LONG = 11,
  /** The call was cancelled. */
  LIMBECK_CANCELLED = 12,
  /** The deadline passed before the call was finished. */
  LIMBECK_DEADLINE_EXCEEDED = 13,
  /** No ONNX Runtime library was found. */
  LIMBECK_RUNTIME_NOT_FOUND = 14,
  /** The ONNX Runtime library found cannot be used. */
  LIMBECK_RUNTIME_INCOMPATIBLE = 15,
  /** ONNX Runtime refused the model or failed while running it. */
  LIMBECK_INFERENCE = 16,
  /** The bundle's tokenizer cannot be read, or failed on a text. */
  LIMBECK_TOKENIZER = 17,
  /** A memory budget cannot be kept. */
  LIMBECK_MEMORY_BUDGET = 18,
  /** A signature is missing or wrong. */
  LIMBECK_SIGNATURE = 19,
  /** A bundle's own test inputs did not give the outputs expected. */
  LIMBECK_SELF_TEST = 20,
  /** A parameter is NULL that must not be; the message names it. */
  LIMBECK_NULL_POINTER = 21,
  /**
   * A struct's `size` is too small, too large, or the struct has values
   * that this version of the library does not know.
   */
  LIMBECK_BAD_STRUCT_SIZE = 22,
  /** The bundle is an older build than it may be. */
  LIMBECK_ROLLBACK = 23,
  /** A bug in this library. */
  LIMBECK_INTERNAL = 99,
} limbeck_status_code;

/**
 * LIMBECK_OK or another number of enum limbeck_status_code. A later library may return numbers
 * that this header does not list; treat them as failures.
 */
typedef int32_t limbeck_status;

/**
 * The name of a status: "LIMBECK_NOT_FOUND", or "LIMBECK_UNKNOWN" for a number
 * that this library does not have. An ordinary C string that lives as long as
 * the program. Safe from any thread.
 */
const char *limbeck_status_name(limbeck_status status);


/* ======================================================================
 * TEXT
 * ====================================================================== */

/**
 * A piece of UTF-8 text: a pointer and a length in bytes, with no NUL at the
 * end. One that you pass is only read during the call. One that you get is a
 * view of text inside a handle: valid, and readable from any thread, until
 * that handle is freed; its `data` is never NULL. This struct never grows.
 */
typedef struct limbeck_str {
  /** The first byte; may be NULL when `length` is 0. */
  const char *data;
  /** Length in bytes. */
  size_t length;
} limbeck_str;


/* ======================================================================
 * ERRORS
 * ====================================================================== */

/**
 * Why a call failed. Owned by you, bound to no other handle; may be read from
 * many threads and freed on any.
 */
typedef struct limbeck_error limbeck_error;

/** The status that the call returned; LIMBECK_OK for NULL. */
limbeck_status limbeck_error_code(const limbeck_error *error);

/**
 * What failed and, where there is a way, how to mend it, in English. The view
 * lives until the error is freed; empty for NULL.
 */
limbeck_str limbeck_error_message(const limbeck_error *error);

/** Frees an error. NULL is allowed. */
void limbeck_error_free(limbeck_error *error);


/* ======================================================================
 * VERSION
 *
 * The library has a version, which is that of its features, and an ABI version,
 * which says whether a program built with one header can use another library.
 * Changes that would break a built program raise the ABI's major number, which
 * is also the number in liblimbeck.so.0; additions raise its minor number.
 * ====================================================================== */

/** Major version of this header. */
#define LIMBECK_VERSION_MAJOR 0

/** Minor version of this header. */
#define LIMBECK_VERSION_MINOR 1

/** Patch version of this header. */
#define LIMBECK_VERSION_PATCH 0

/** Version of this header as one number: major * 1000000 + minor * 1000 + patch. */
#define LIMBECK_VERSION_NUMBER 1000

/** ABI version of this header: major * 65536 + minor. */
#define LIMBECK_ABI_VERSION 1

/**
 * The library's version, for people: "0.1.0". An ordinary C string that lives
 * as long as the program. Safe from any thread.
 */
const char *limbeck_version(void);

/**
 * The library's version as one number, to be compared with
 * LIMBECK_VERSION_NUMBER. Safe from any thread.
 */
uint32_t limbeck_version_number(void);

/** The library's ABI version. Safe from any thread. */
uint32_t limbeck_abi_version(void);

/**
 * Whether a program built with a header of ABI version `header_abi` can use
 * this library: LIMBECK_OK, or LIMBECK_INCOMPATIBLE with a message that says
 * which side to update. Call it as LIMBECK_CHECK_ABI(&error), first of all.
 * Safe from any thread.
 */
limbeck_status limbeck_abi_check(uint32_t header_abi, limbeck_error **error);

/** Version of this header, for people. */
#define LIMBECK_VERSION "0.1.0"

/** limbeck_abi_check for the header that the program was built with. */
#define LIMBECK_CHECK_ABI(error) limbeck_abi_check(LIMBECK_ABI_VERSION, (error))


/* ======================================================================
 * ENVIRONMENT
 * ====================================================================== */

/**
 * ONNX Runtime, found and loaded. A process has one ONNX Runtime: it stays
 * loaded until the process ends, and every limbeck_env is a handle to it. A
 * const handle may be used from many threads. May be freed while models opened
 * with it live on.
 */
typedef struct limbeck_env limbeck_env;

/** Options of limbeck_env_new. Only read during the call. */
typedef struct limbeck_env_options {
  /** Size of this struct; set by limbeck_env_options_init. */
  size_t size;
  /**
   * The ONNX Runtime library to load (1.24 or later). Empty: it is looked for
   * beside the program, then beside liblimbeck, then where the system's
   * loader looks. A path as in limbeck_bundle_open.
   */
  limbeck_str runtime_path;
} limbeck_env_options;

/** Fills `options` with the defaults; pass sizeof(limbeck_env_options). */
void limbeck_env_options_init(limbeck_env_options *options, size_t size);

/**
 * Loads ONNX Runtime, if this process has not yet, and checks its version.
 * Asking for another library than the one already loaded is
 * LIMBECK_RUNTIME_INCOMPATIBLE. Safe from any thread.
 */
limbeck_status limbeck_env_new(const limbeck_env_options *options,
                               limbeck_env **out,
                               limbeck_error **error);

/**
 * Version of the ONNX Runtime in use: "1.24.4". The view lives as long as the
 * env; empty for NULL.
 */
limbeck_str limbeck_env_runtime_version(const limbeck_env *env);

/**
 * File of the ONNX Runtime in use, or the bare name that the system's loader
 * resolved. The view lives as long as the env; empty for NULL.
 */
limbeck_str limbeck_env_runtime_path(const limbeck_env *env);

/** Frees an env. NULL is allowed. ONNX Runtime stays loaded. */
void limbeck_env_free(limbeck_env *env);


/* ======================================================================
 * BUNDLE
 * ====================================================================== */

/**
 * A bundle, opened and verified: every offset, length and hash in it was
 * checked. Needs no ONNX Runtime, so it also serves to look at a file. A const
 * handle may be used from many threads. May be freed while models opened from
 * it live on. A bundle opened from a file reads it through a memory mapping:
 * do not change or cut the file while the bundle or its models are open;
 * replace it by renaming a new file over it.
 */
typedef struct limbeck_bundle limbeck_bundle;

/**
 * Opens a bundle file and verifies all of it. The path is `path_length` bytes:
 * as the system has them on Unix, UTF-8 on Windows; it has no NUL inside.
 */
limbeck_status limbeck_bundle_open(const char *path,
                                   size_t path_length,
                                   limbeck_bundle **out,
                                   limbeck_error **error);

/**
 * Opens a bundle of `length` bytes in memory and verifies all of it. The bytes
 * are copied, so yours may go when the call returns.
 */
limbeck_status limbeck_bundle_open_bytes(const uint8_t *bytes,
                                         size_t length,
                                         limbeck_bundle **out,
                                         limbeck_error **error);

/** Name of the model: "sentiment". The view lives as long as the bundle. */
limbeck_str limbeck_bundle_id(const limbeck_bundle *bundle);

/**
 * Version of the model, for people: "0.1.0". The view lives as long as the
 * bundle.
 */
limbeck_str limbeck_bundle_version(const limbeck_bundle *bundle);

/** Build number of the model, which grows with each build of one id. */
uint64_t limbeck_bundle_build(const limbeck_bundle *bundle);

/**
 * What the model does: "text-classification". The view lives as long as the
 * bundle.
 */
limbeck_str limbeck_bundle_task(const limbeck_bundle *bundle);

/** The most tokens that the model takes at one time, special tokens included. */
size_t limbeck_bundle_max_tokens(const limbeck_bundle *bundle);

/** Size of the whole bundle in bytes. */
uint64_t limbeck_bundle_size(const limbeck_bundle *bundle);

/** How many labels the model knows. */
size_t limbeck_bundle_label_count(const limbeck_bundle *bundle);

/** The label at `index`, counted from 0. The view lives as long as the bundle. */
limbeck_status limbeck_bundle_label(const limbeck_bundle *bundle,
                                    size_t index,
                                    limbeck_str *out,
                                    limbeck_error **error);

/** Frees a bundle. NULL is allowed. */
void limbeck_bundle_free(limbeck_bundle *bundle);


/* ======================================================================
 * MODEL
 * ====================================================================== */

/**
 * A model ready to run. A const handle may be used from many threads: as many
 * calls run at one time as the model has sessions, others wait their turn. The
 * env and the bundle it was opened with may be freed before it, and its results
 * outlive it.
 */
typedef struct limbeck_model limbeck_model;

/** Options of limbeck_model_open. Only read during the call. */
typedef struct limbeck_model_options {
  /** Size of this struct; set by limbeck_model_options_init. */
  size_t size;
  /**
   * Threads that one call may use inside an operator, up to 256. 0 or 1: the
   * call runs on the thread that makes it, and no other is started.
   */
  uint32_t threads;
  /**
   * Calls that can run at one time, up to 256, each with working memory of
   * its own; made when first needed. 0: one. A batch call spreads over all,
   * on threads that end with the call.
   */
  uint32_t sessions;
  /**
   * 1: idle threads of a call spin, which is faster on an idle machine, slower
   * on a busy one, and costs power. 0: they sleep.
   */
  uint32_t spinning;
  /** Must be 0. */
  uint32_t reserved;
} limbeck_model_options;

/** Fills `options` with the defaults; pass sizeof(limbeck_model_options). */
void limbeck_model_options_init(limbeck_model_options *options,
                                size_t size);

/**
 * Opens a bundle file, verifies it, and makes its model ready. The path is as
 * in limbeck_bundle_open. `options` may be NULL. Safe from any thread.
 */
limbeck_status limbeck_model_open(const limbeck_env *env,
                                  const char *path,
                                  size_t path_length,
                                  const limbeck_model_options *options,
                                  limbeck_model **out,
                                  limbeck_error **error);

/**
 * Makes the model of a bundle ready. The bundle stays yours. `options` may be
 * NULL. Safe from any thread.
 */
limbeck_status limbeck_model_open_bundle(const limbeck_env *env,
                                         const limbeck_bundle *bundle,
                                         const limbeck_model_options *options,
                                         limbeck_model **out,
                                         limbeck_error **error);

/**
 * The bundle of a model, as a handle of your own that may outlive the model;
 * free it with limbeck_bundle_free.
 */
limbeck_status limbeck_model_bundle(const limbeck_model *model,
                                    limbeck_bundle **out,
                                    limbeck_error **error);

/**
 * Runs the model on a text of its own, so that the first real call is not
 * slower than the others.
 */
limbeck_status limbeck_model_warm_up(const limbeck_model *model,
                                     limbeck_error **error);

/** Frees a model. NULL is allowed. No call may be using it. */
void limbeck_model_free(limbeck_model *model);


/* ======================================================================
 * CANCEL
 * ====================================================================== */

/**
 * Ends calls from another thread: pass it in the options of a call, and trigger
 * it while the call runs. It stays triggered, so calls given it later end at
 * once; make a new one for new work. A const handle may be used from many
 * threads, and by many calls. Free it when the calls that were given it have
 * returned.
 */
typedef struct limbeck_cancel limbeck_cancel;

/** Makes a cancel handle that is not triggered. */
limbeck_status limbeck_cancel_new(limbeck_cancel **out,
                                  limbeck_error **error);

/**
 * Ends the calls that were given this handle, now and later: they return
 * LIMBECK_CANCELLED, and one that runs stops within the operator it is at.
 * Returns without waiting for them. Does nothing for NULL.
 */
void limbeck_cancel_trigger(const limbeck_cancel *cancel);

/** Whether the handle was triggered; false for NULL. */
bool limbeck_cancel_is_triggered(const limbeck_cancel *cancel);

/** Frees a cancel handle. NULL is allowed. */
void limbeck_cancel_free(limbeck_cancel *cancel);


/* ======================================================================
 * CLASSIFY
 * ====================================================================== */

/**
 * Overflow policy: use the first tokens of a text that is too long, and report
 * how many were dropped in limbeck_usage.
 */
#define LIMBECK_OVERFLOW_TRUNCATE 0

/** Overflow policy: return LIMBECK_TOO_LONG. */
#define LIMBECK_OVERFLOW_ERROR 1

/**
 * Overflow policy: read the whole text in overlapping windows and average
 * their logits, each weighted by its number of tokens.
 */
#define LIMBECK_OVERFLOW_WINDOW 2

/**
 * The answers of one call, in the order of its texts. Never changes; a const
 * handle may be used from many threads. Bound to no other handle: it outlives
 * the model, and its texts live until it is freed.
 */
typedef struct limbeck_result limbeck_result;

/** Options of the classify calls. Only read during the call. */
typedef struct limbeck_classify_options {
  /** Size of this struct; set by limbeck_classify_options_init. */
  size_t size;
  /**
   * What to do with a text of more tokens than the model takes: a
   * LIMBECK_OVERFLOW_ number. 0: truncate.
   */
  uint32_t overflow;
  /**
   * Tokens that two neighbouring windows share; only read with
   * LIMBECK_OVERFLOW_WINDOW.
   */
  uint32_t window_stride;
  /** Give only this many labels for each text, the most probable ones. 0: all. */
  size_t top_k;
  /**
   * End the call with LIMBECK_DEADLINE_EXCEEDED this many milliseconds after
   * its start. 0: no deadline.
   */
  uint64_t deadline_ms;
  /** Ends the call from another thread. NULL: nothing does. */
  const limbeck_cancel *cancel;
} limbeck_classify_options;

/** Fills `options` with the defaults; pass sizeof(limbeck_classify_options). */
void limbeck_classify_options_init(limbeck_classify_options *options,
                                   size_t size);

/**
 * Classifies one text of `length` bytes. The result holds one answer, at
 * position 0. `options` may be NULL. Safe from many threads on one model.
 */
limbeck_status limbeck_model_classify(const limbeck_model *model,
                                      const char *text,
                                      size_t length,
                                      const limbeck_classify_options *options,
                                      limbeck_result **out,
                                      limbeck_error **error);

/**
 * Classifies `count` texts. The result holds an answer for each, in their
 * order, and each is what the text would get alone, but for rounding in the
 * last digits (1e-5 in a logit). When one text cannot be classified, the call
 * fails. `options` may be NULL and hold for each text; the deadline is that of
 * the whole call. Safe from many threads on one model.
 */
limbeck_status limbeck_model_classify_batch(const limbeck_model *model,
                                            const limbeck_str *texts,
                                            size_t count,
                                            const limbeck_classify_options *options,
                                            limbeck_result **out,
                                            limbeck_error **error);


/* ======================================================================
 * RESULT
 * ====================================================================== */

/** A label with its score. */
typedef struct limbeck_score {
  /** Size of this struct; set by limbeck_score_init. */
  size_t size;
  /** The label's name; lives as long as the result. */
  limbeck_str label;
  /** The label's place in the model's list, as in limbeck_bundle_label. */
  size_t index;
  /** Its probability, 0 to 1; the logit itself if the model has none. */
  float probability;
  /** The model's raw score. */
  float logit;
} limbeck_score;

/** What was read of a text, and how long it took. */
typedef struct limbeck_usage {
  /** Size of this struct; set by limbeck_usage_init. */
  size_t size;
  /** Tokens of the text that the model read, special tokens included. */
  size_t tokens_used;
  /** Tokens of the text that it did not read. */
  size_t tokens_dropped;
  /** Windows the text was read in; 1 unless it was too long. */
  size_t windows;
  /** Nanoseconds from text to token ids. */
  uint64_t tokenize_ns;
  /**
   * Nanoseconds waiting for a session and running the model. Texts run
   * together share the time of their run.
   */
  uint64_t inference_ns;
  /** Nanoseconds from logits to sorted probabilities. */
  uint64_t post_ns;
} limbeck_usage;

/** Prepares `score` to be filled; pass sizeof(limbeck_score). */
void limbeck_score_init(limbeck_score *score, size_t size);

/** Prepares `usage` to be filled; pass sizeof(limbeck_usage). */
void limbeck_usage_init(limbeck_usage *usage, size_t size);

/** How many texts the result answers; 0 for NULL. */
size_t limbeck_result_count(const limbeck_result *result);

/**
 * How many labels the answer for the text at position `text` gives: all of the
 * model's, or top_k.
 */
limbeck_status limbeck_result_label_count(const limbeck_result *result,
                                          size_t text,
                                          size_t *out,
                                          limbeck_error **error);

/**
 * Fills `out` with the label that has rank `rank` for the text at position
 * `text`. Rank 0 is the most probable.
 */
limbeck_status limbeck_result_score(const limbeck_result *result,
                                    size_t text,
                                    size_t rank,
                                    limbeck_score *out,
                                    limbeck_error **error);

/**
 * Fills `out` with what was read of the text at position `text`, and how long
 * that took.
 */
limbeck_status limbeck_result_usage(const limbeck_result *result,
                                    size_t text,
                                    limbeck_usage *out,
                                    limbeck_error **error);

/** Frees a result, and with it the texts seen through it. NULL is allowed. */
void limbeck_result_free(limbeck_result *result);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* LIMBECK_H */
