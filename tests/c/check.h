/* What the C tests share. They are C99 that is also C++17, they end with 0 when
 * all holds, and they take: BUNDLE ONNXRUNTIME [small]. "small" asks for less
 * work, for runs under valgrind. */

#ifndef CHECK_H
#define CHECK_H

#include <limbeck.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/* The call must succeed, and leave no error object. */
#define OK(call)                                                                              \
    do {                                                                                      \
        limbeck_error *error = (limbeck_error *)&not_an_error;                                \
        limbeck_status status = (call);                                                       \
        if (status != LIMBECK_OK) {                                                           \
            fprintf(stderr, "%s:%d: %s gave %s: %.*s\n", __FILE__, __LINE__, #call,           \
                    limbeck_status_name(status), (int)limbeck_error_message(error).length,    \
                    limbeck_error_message(error).data);                                       \
            exit(1);                                                                          \
        }                                                                                     \
        CHECK(error == NULL);                                                                 \
    } while (0)

/* The call must fail with this status, and a message with this text in it. */
#define FAILS(expected, text, call)                                                           \
    do {                                                                                      \
        limbeck_error *error = NULL;                                                          \
        limbeck_status status = (call);                                                       \
        limbeck_str message = limbeck_error_message(error);                                   \
        if (status != (expected) || limbeck_error_code(error) != status || !holds(message, text)) { \
            fprintf(stderr, "%s:%d: %s gave %s: %.*s\n", __FILE__, __LINE__, #call,           \
                    limbeck_status_name(status), (int)message.length, message.data);          \
            exit(1);                                                                          \
        }                                                                                     \
        limbeck_error_free(error);                                                            \
    } while (0)

/* What an error pointer may hold before a call: anything. Only the address
 * is used. */
static char not_an_error;

/* What main ends with: every handle was freed, errors and results too. */
static inline int done(void) {
    CHECK(limbeck_open_handles() == 0);
    return 0;
}

/* Whether a view has a text in it. */
static inline int holds(limbeck_str view, const char *text) {
    size_t length = strlen(text), i;
    for (i = 0; i + length <= view.length; i++)
        if (memcmp(view.data + i, text, length) == 0) return 1;
    return 0;
}

/* Whether a view is exactly a text. */
static inline int is(limbeck_str view, const char *text) {
    return view.length == strlen(text) && memcmp(view.data, text, view.length) == 0;
}

static inline limbeck_str str(const char *text) {
    limbeck_str view;
    view.data = text;
    view.length = strlen(text);
    return view;
}

/* The path of another bundle in the folder of BUNDLE; free it. */
static inline char *beside(const char *bundle, const char *name) {
    const char *slash = strrchr(bundle, '/');
    size_t folder = slash ? (size_t)(slash - bundle) + 1 : 0;
    char *path = (char *)malloc(folder + strlen(name) + 1);
    CHECK(path != NULL);
    memcpy(path, bundle, folder);
    strcpy(path + folder, name);
    return path;
}

/* All of a file; free it. */
static inline uint8_t *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;
    long size;
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size = ftell(file);
    CHECK(size > 0 && fseek(file, 0, SEEK_SET) == 0);
    bytes = (uint8_t *)malloc((size_t)size);
    CHECK(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    *length = (size_t)size;
    return bytes;
}

/* ONNX Runtime from a path. */
static inline limbeck_env *open_env(const char *path) {
    limbeck_env_options options;
    limbeck_env *env = NULL;
    limbeck_env_options_init(&options, sizeof options);
    options.runtime_path = str(path);
    OK(limbeck_env_new(&options, &env, &error));
    return env;
}

/* A model with as many sessions as said. */
static inline limbeck_model *open_model(char **argv, uint32_t sessions) {
    limbeck_env *env = open_env(argv[2]);
    limbeck_model_options options;
    limbeck_model *model = NULL;
    limbeck_model_options_init(&options, sizeof options);
    options.sessions = sessions;
    OK(limbeck_model_open(env, argv[1], strlen(argv[1]), &options, &model, &error));
    limbeck_env_free(env);
    return model;
}

/* A model of another bundle in the folder of BUNDLE. */
static inline limbeck_model *open_beside(char **argv, const char *name) {
    char *path = beside(argv[1], name);
    char *arguments[3];
    limbeck_model *model;
    arguments[0] = argv[0];
    arguments[1] = path;
    arguments[2] = argv[2];
    model = open_model(arguments, 0);
    free(path);
    return model;
}

static inline limbeck_call_options call_options(void) {
    limbeck_call_options options;
    limbeck_call_options_init(&options, sizeof options);
    return options;
}

static inline size_t items_of(const limbeck_result *result, size_t text) {
    size_t count = 99;
    OK(limbeck_result_item_count(result, text, &count, &error));
    return count;
}

static inline int near(double a, double b) { return a - b < 1e-5 && b - a < 1e-5; }

static inline limbeck_score score_of(const limbeck_result *result, size_t text, size_t rank) {
    limbeck_score score;
    limbeck_score_init(&score, sizeof score);
    OK(limbeck_result_score(result, text, rank, &score, &error));
    return score;
}

static inline limbeck_usage usage_of(const limbeck_result *result, size_t text) {
    limbeck_usage usage;
    limbeck_usage_init(&usage, sizeof usage);
    OK(limbeck_result_usage(result, text, &usage, &error));
    return usage;
}

/* `count` times a word, with a space after each; free it. */
static inline char *repeat(const char *word, size_t count) {
    size_t length = strlen(word) + 1, i;
    char *text = (char *)malloc(length * count + 1);
    CHECK(text != NULL);
    for (i = 0; i < count; i++) {
        memcpy(text + i * length, word, length - 1);
        text[(i + 1) * length - 1] = ' ';
    }
    text[length * count] = '\0';
    return text;
}

#endif
