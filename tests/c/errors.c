/* Every way to hand the library a wrong argument, without a crash and with a
 * message that names the argument. */

#include "check.h"

static void null_handles(void) {
    limbeck_str view;
    size_t count;
    limbeck_bundle *bundle = NULL;
    limbeck_score score;
    limbeck_usage usage;
    limbeck_score_init(&score, sizeof score);
    limbeck_usage_init(&usage, sizeof usage);

    /* Freeing nothing is allowed. */
    limbeck_error_free(NULL);
    limbeck_env_free(NULL);
    limbeck_bundle_free(NULL);
    limbeck_model_free(NULL);
    limbeck_cancel_free(NULL);
    limbeck_result_free(NULL);

    /* Getters that cannot fail answer 0 or an empty view, never NULL. */
    CHECK(limbeck_error_code(NULL) == LIMBECK_OK);
    CHECK(limbeck_error_message(NULL).data != NULL && limbeck_error_message(NULL).length == 0);
    CHECK(limbeck_env_runtime_version(NULL).length == 0);
    CHECK(limbeck_env_runtime_path(NULL).length == 0);
    CHECK(limbeck_bundle_id(NULL).length == 0);
    CHECK(limbeck_bundle_version(NULL).length == 0);
    CHECK(limbeck_bundle_task(NULL).length == 0);
    CHECK(limbeck_bundle_build(NULL) == 0);
    CHECK(limbeck_bundle_max_tokens(NULL) == 0);
    CHECK(limbeck_bundle_size(NULL) == 0);
    CHECK(limbeck_bundle_label_count(NULL) == 0);
    CHECK(limbeck_result_count(NULL) == 0);
    CHECK(!limbeck_cancel_is_triggered(NULL));
    limbeck_cancel_trigger(NULL);

    /* _init of nothing does nothing. */
    limbeck_env_options_init(NULL, 8);
    limbeck_model_options_init(NULL, 8);
    limbeck_call_options_init(NULL, 8);
    limbeck_score_init(NULL, 8);
    limbeck_usage_init(NULL, 8);

    /* Everything else says which parameter is NULL. */
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_env_new(NULL, NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_bundle_open("x", 1, NULL, NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "path is NULL", limbeck_bundle_open(NULL, 1, NULL, &bundle, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_bundle_open_bytes((const uint8_t *)"x", 1, NULL, NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "bytes is NULL", limbeck_bundle_open_bytes(NULL, 1, NULL, &bundle, &error));
    FAILS(LIMBECK_NULL_POINTER, "bundle is NULL", limbeck_bundle_label(NULL, 0, &view, &error));
    FAILS(LIMBECK_NULL_POINTER, "model is NULL", limbeck_model_bundle(NULL, &bundle, &error));
    FAILS(LIMBECK_NULL_POINTER, "model is NULL", limbeck_model_warm_up(NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_cancel_new(NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "result is NULL", limbeck_result_item_count(NULL, 0, &count, &error));
    FAILS(LIMBECK_NULL_POINTER, "result is NULL", limbeck_result_score(NULL, 0, 0, &score, &error));
    FAILS(LIMBECK_NULL_POINTER, "result is NULL", limbeck_result_usage(NULL, 0, &usage, &error));

    /* The error itself may be NULL. */
    CHECK(limbeck_env_new(NULL, NULL, NULL) == LIMBECK_NULL_POINTER);
    CHECK(limbeck_model_warm_up(NULL, NULL) == LIMBECK_NULL_POINTER);
    CHECK(limbeck_abi_check(LIMBECK_ABI_VERSION, NULL) == LIMBECK_OK);
}

static void paths(const limbeck_env *env) {
    limbeck_bundle *bundle = (limbeck_bundle *)&not_an_error;
    limbeck_model *model = (limbeck_model *)&not_an_error;
    FAILS(LIMBECK_NOT_FOUND, "/no/such/file.limbeck", limbeck_bundle_open("/no/such/file.limbeck", 21, NULL, &bundle, &error));
    CHECK(bundle == NULL);
    FAILS(LIMBECK_NOT_FOUND, "/no/such/file.limbeck",
          limbeck_model_open(env, "/no/such/file.limbeck", 21, NULL, &model, &error));
    CHECK(model == NULL);
    FAILS(LIMBECK_INVALID_ARGUMENT, "path is empty", limbeck_bundle_open("", 0, NULL, &bundle, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "path is empty", limbeck_bundle_open(NULL, 0, NULL, &bundle, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "offset 1", limbeck_bundle_open("a\0b", 3, NULL, &bundle, &error));
    /* A path need not be UTF-8 where the system has it so. */
    FAILS(LIMBECK_NOT_FOUND, "", limbeck_bundle_open("/no/such/\xFF", 10, NULL, &bundle, &error));
    FAILS(LIMBECK_IO, "/", limbeck_bundle_open("/", 1, NULL, &bundle, &error));
}

static void runtime(const char *loaded) {
    limbeck_env_options options;
    limbeck_env *env = NULL;
    limbeck_env_options_init(&options, sizeof options);
    options.runtime_path = str("/no/such/libonnxruntime.so");
    FAILS(LIMBECK_RUNTIME_INCOMPATIBLE, loaded, limbeck_env_new(&options, &env, &error));
    CHECK(env == NULL);
    options.runtime_path.data = NULL;
    FAILS(LIMBECK_NULL_POINTER, "options->runtime_path", limbeck_env_new(&options, &env, &error));
    limbeck_env_options_init(&options, sizeof options);
    options.threads = 257;
    FAILS(LIMBECK_INVALID_ARGUMENT, "threads is 257", limbeck_env_new(&options, &env, &error));
    options.threads = 0;
    options.reserved = 1;
    FAILS(LIMBECK_INVALID_ARGUMENT, "reserved", limbeck_env_new(&options, &env, &error));
}

static void model_options(const limbeck_env *env, const char *path) {
    limbeck_model_options options;
    limbeck_bundle *bundle = NULL;
    limbeck_model *model = NULL;
    OK(limbeck_bundle_open(path, strlen(path), NULL, &bundle, &error));

    FAILS(LIMBECK_NULL_POINTER, "env is NULL", limbeck_model_open(NULL, path, strlen(path), NULL, &model, &error));
    FAILS(LIMBECK_NULL_POINTER, "env is NULL", limbeck_model_open_bundle(NULL, bundle, NULL, &model, &error));
    FAILS(LIMBECK_NULL_POINTER, "bundle is NULL", limbeck_model_open_bundle(env, NULL, NULL, &model, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_model_open_bundle(env, bundle, NULL, NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_model_open(env, path, strlen(path), NULL, NULL, &error));

    limbeck_model_options_init(&options, sizeof options);
    options.spinning = 2;
    FAILS(LIMBECK_INVALID_ARGUMENT, "spinning", limbeck_model_open_bundle(env, bundle, &options, &model, &error));
    limbeck_model_options_init(&options, sizeof options);
    options.reserved = 1;
    FAILS(LIMBECK_INVALID_ARGUMENT, "reserved", limbeck_model_open_bundle(env, bundle, &options, &model, &error));
    limbeck_model_options_init(&options, sizeof options);
    options.threads = 1000000;
    FAILS(LIMBECK_INVALID_ARGUMENT, "threads", limbeck_model_open_bundle(env, bundle, &options, &model, &error));
    limbeck_model_options_init(&options, sizeof options);
    options.sessions = UINT32_MAX;
    FAILS(LIMBECK_INVALID_ARGUMENT, "sessions", limbeck_model_open_bundle(env, bundle, &options, &model, &error));
    CHECK(model == NULL);

    /* Sizes. */
    memset(&options, 0, sizeof options);
    FAILS(LIMBECK_BAD_STRUCT_SIZE, "options->size is 0",
          limbeck_model_open_bundle(env, bundle, &options, &model, &error));
    options.size = (size_t)-1;
    FAILS(LIMBECK_BAD_STRUCT_SIZE, "options->size", limbeck_model_open_bundle(env, bundle, &options, &model, &error));
    {
        /* A newer program: more fields than this library knows. */
        struct {
            limbeck_model_options known;
            uint64_t later;
        } newer;
        limbeck_model_options_init(&newer.known, sizeof newer);
        CHECK(newer.later == 0);
        OK(limbeck_model_open_bundle(env, bundle, &newer.known, &model, &error));
        limbeck_model_free(model);
        newer.later = 1;
        FAILS(LIMBECK_BAD_STRUCT_SIZE, "update the library",
              limbeck_model_open_bundle(env, bundle, &newer.known, &model, &error));
    }
    {
        limbeck_str label;
        FAILS(LIMBECK_INVALID_ARGUMENT, "index is 2", limbeck_bundle_label(bundle, 2, &label, &error));
        CHECK(label.data != NULL && label.length == 0);
        FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_bundle_label(bundle, 0, NULL, &error));
    }
    limbeck_bundle_free(bundle);
}

static void classifying(const limbeck_model *model) {
    limbeck_call_options options;
    limbeck_result *result = (limbeck_result *)&not_an_error;
    limbeck_score score;
    limbeck_usage usage;
    size_t count = 99;

    FAILS(LIMBECK_NULL_POINTER, "model is NULL", limbeck_model_classify(NULL, "x", 1, NULL, &result, &error));
    CHECK(result == NULL);
    FAILS(LIMBECK_NULL_POINTER, "text is NULL", limbeck_model_classify(model, NULL, 1, NULL, &result, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_model_classify(model, "x", 1, NULL, NULL, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "text", limbeck_model_classify(model, "x", (size_t)-1, NULL, &result, &error));
    FAILS(LIMBECK_NULL_POINTER, "model is NULL", limbeck_model_classify_batch(NULL, NULL, 0, NULL, &result, &error));
    FAILS(LIMBECK_NULL_POINTER, "texts is NULL", limbeck_model_classify_batch(model, NULL, 1, NULL, &result, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_model_classify_batch(model, NULL, 0, NULL, NULL, &error));
    {
        limbeck_str text = str("x");
        FAILS(LIMBECK_INVALID_ARGUMENT, "texts",
              limbeck_model_classify_batch(model, &text, (size_t)-1, NULL, &result, &error));
    }

    limbeck_call_options_init(&options, sizeof options);
    options.overflow = 4;
    FAILS(LIMBECK_INVALID_ARGUMENT, "options->overflow is 4",
          limbeck_model_classify(model, "x", 1, &options, &result, &error));
    options = call_options();
    options.window_stride = 4;
    FAILS(LIMBECK_INVALID_ARGUMENT, "window_stride is 4",
          limbeck_model_classify(model, "x", 1, &options, &result, &error));
    options = call_options();
    options.aggregation = LIMBECK_AGGREGATION_MAX;
    FAILS(LIMBECK_INVALID_ARGUMENT, "options->aggregation is set, which this task does not read",
          limbeck_model_classify(model, "x", 1, &options, &result, &error));
    options = call_options();
    options.threshold = 1.5f;
    FAILS(LIMBECK_INVALID_ARGUMENT, "threshold is 1.5", limbeck_model_classify(model, "x", 1, &options, &result, &error));
    options.threshold = (float)strtod("nan", NULL);
    FAILS(LIMBECK_INVALID_ARGUMENT, "options->threshold", limbeck_model_classify(model, "x", 1, &options, &result, &error));
    limbeck_call_options_init(&options, sizeof options);
    options.overflow = LIMBECK_OVERFLOW_WINDOW;
    options.window_stride = 64;
    FAILS(LIMBECK_INVALID_ARGUMENT, "64", limbeck_model_classify(model, "x", 1, &options, &result, &error));
    limbeck_call_options_init(&options, sizeof options);
    options.size = sizeof options - 1;
    FAILS(LIMBECK_BAD_STRUCT_SIZE, "options->size",
          limbeck_model_classify(model, "x", 1, &options, &result, &error));
    CHECK(result == NULL);

    OK(limbeck_model_classify(model, "good", 4, NULL, &result, &error));
    limbeck_score_init(&score, sizeof score);
    limbeck_usage_init(&usage, sizeof usage);
    FAILS(LIMBECK_INVALID_ARGUMENT, "text is 1", limbeck_result_item_count(result, 1, &count, &error));
    CHECK(count == 0);
    FAILS(LIMBECK_INVALID_ARGUMENT, "text is 1", limbeck_result_score(result, 1, 0, &score, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "rank is 2", limbeck_result_score(result, 0, 2, &score, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "text is 9", limbeck_result_usage(result, 9, &usage, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_result_item_count(result, 0, NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_result_score(result, 0, 0, NULL, &error));
    FAILS(LIMBECK_NULL_POINTER, "out is NULL", limbeck_result_usage(result, 0, NULL, &error));
    score.size = 3;
    FAILS(LIMBECK_BAD_STRUCT_SIZE, "out->size is 3", limbeck_result_score(result, 0, 0, &score, &error));
    usage.size = 0;
    FAILS(LIMBECK_BAD_STRUCT_SIZE, "out->size is 0", limbeck_result_usage(result, 0, &usage, &error));
    limbeck_result_free(result);
}

int main(int argc, char **argv) {
    limbeck_env *env;
    limbeck_model *model;
    CHECK(argc >= 3);

    FAILS(LIMBECK_INCOMPATIBLE, "update the library", limbeck_abi_check(LIMBECK_ABI_VERSION + 1, &error));
    FAILS(LIMBECK_INCOMPATIBLE, "update the library", limbeck_abi_check(LIMBECK_ABI_VERSION + 65536, &error));
    CHECK(strcmp(limbeck_status_name(LIMBECK_OK), "LIMBECK_OK") == 0);
    CHECK(strcmp(limbeck_status_name(LIMBECK_CORRUPT), "LIMBECK_CORRUPT") == 0);
    CHECK(strcmp(limbeck_status_name(LIMBECK_INTERNAL), "LIMBECK_INTERNAL") == 0);
    CHECK(strcmp(limbeck_status_name(-12345), "LIMBECK_UNKNOWN") == 0);

    null_handles();
    {
        limbeck_env_options options;
        limbeck_env *none = NULL;
        limbeck_env_options_init(&options, sizeof options);
        options.runtime_path = str("/no/such/libonnxruntime.so");
        FAILS(LIMBECK_RUNTIME_NOT_FOUND, "/no/such/libonnxruntime.so", limbeck_env_new(&options, &none, &error));
    }
    /* A failed load does not spoil the next one. */
    env = open_env(argv[2]);
    CHECK(limbeck_env_runtime_version(env).length >= 5);
    CHECK(limbeck_env_runtime_path(env).length > 0);
    paths(env);
    runtime(argv[2]);
    model_options(env, argv[1]);
    model = open_model(argv, 1);
    classifying(model);
    limbeck_model_free(model);
    limbeck_env_free(env);
    return done();
}
