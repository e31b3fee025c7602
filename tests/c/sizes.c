/* Every struct that may grow, with sizes that no version has, and as a newer program has
 * it: what the library does not know is refused when it is set, zeroed when it is asked
 * for, and never touched beyond the size that was given. */

#include "check.h"

/* With more fields than this library knows. */
#define NEWER(type)        \
    struct {               \
        type known;        \
        uint64_t later[2]; \
    } object

#define BAD_SIZES(type, call)                                                           \
    do {                                                                                \
        static const size_t sizes[] = {0, 1, sizeof(type) - 1, 4097, (size_t)-1};       \
        size_t which;                                                                   \
        for (which = 0; which < sizeof sizes / sizeof *sizes; which++) {                \
            type##_init(&object.known, sizeof object);                                  \
            object.known.size = sizes[which];                                           \
            FAILS(LIMBECK_BAD_STRUCT_SIZE, "->size is ", call);                         \
        }                                                                               \
    } while (0)

/* Options. `then` frees what the call made. */
#define READ(type, call, then)                                                          \
    do {                                                                                \
        NEWER(type);                                                                    \
        BAD_SIZES(type, call);                                                          \
        type##_init(&object.known, sizeof object);                                      \
        CHECK(object.later[0] == 0 && object.later[1] == 0);                            \
        OK(call);                                                                       \
        then;                                                                           \
        object.later[1] = 1;                                                            \
        FAILS(LIMBECK_BAD_STRUCT_SIZE, "update the library", call);                     \
        type##_init(&object.known, sizeof(type));                                       \
        CHECK(object.later[1] == 1);                                                    \
        OK(call);                                                                       \
        then;                                                                           \
    } while (0)

/* Answers. */
#define WRITTEN(type, call)                                                             \
    do {                                                                                \
        NEWER(type);                                                                    \
        BAD_SIZES(type, call);                                                          \
        type##_init(&object.known, sizeof object);                                      \
        object.later[0] = object.later[1] = 7;                                          \
        OK(call);                                                                       \
        CHECK(object.known.size == sizeof object);                                      \
        CHECK(object.later[0] == 0 && object.later[1] == 0);                            \
        type##_init(&object.known, sizeof(type));                                       \
        object.later[0] = 7;                                                            \
        OK(call);                                                                       \
        CHECK(object.known.size == sizeof(type) && object.later[0] == 7);               \
    } while (0)

static limbeck_result *made(char **argv, const char *name) {
    limbeck_model *model = open_beside(argv, name);
    limbeck_result *result = NULL;
    const char *text = "who wrote it ? ada lovelace";
    if (strcmp(name, "reader.limbeck") == 0)
        OK(limbeck_model_answer(model, text, 13, text, strlen(text), NULL, &result, &error));
    else if (strcmp(name, "entities.limbeck") == 0)
        OK(limbeck_model_tag(model, text, strlen(text), NULL, &result, &error));
    else if (strcmp(name, "order.limbeck") == 0)
        OK(limbeck_model_order(model, text, 13, text, strlen(text), NULL, &result, &error));
    else if (strcmp(name, "replaced.limbeck") == 0)
        OK(limbeck_model_replaced(model, "flim", 4, NULL, &result, &error));
    else
        OK(limbeck_model_fill_mask(model, "a [MASK] film", 13, NULL, &result, &error));
    limbeck_model_free(model);
    return result;
}

int main(int argc, char **argv) {
    limbeck_env *env, *other = NULL;
    limbeck_bundle *bundle = NULL;
    limbeck_model *model = NULL;
    limbeck_result *result = NULL;
    CHECK(argc >= 3);
    env = open_env(argv[2]);

    READ(limbeck_env_options, limbeck_env_new(&object.known, &other, &error), limbeck_env_free(other));
    READ(limbeck_bundle_options, limbeck_bundle_open(argv[1], strlen(argv[1]), &object.known, &bundle, &error),
         limbeck_bundle_free(bundle));
    READ(limbeck_model_options,
         limbeck_model_open(env, argv[1], strlen(argv[1]), &object.known, &model, &error), limbeck_model_free(model));
    model = open_model(argv, 1);
    READ(limbeck_call_options, limbeck_model_classify(model, "good", 4, &object.known, &result, &error),
         limbeck_result_free(result));

    OK(limbeck_model_classify(model, "good", 4, NULL, &result, &error));
    WRITTEN(limbeck_self_test, limbeck_model_self_test(model, &object.known, &error));
    WRITTEN(limbeck_memory, limbeck_model_memory(model, &object.known, &error));
    WRITTEN(limbeck_metrics, limbeck_model_metrics(model, &object.known, &error));
    WRITTEN(limbeck_usage, limbeck_result_usage(result, 0, &object.known, &error));
    WRITTEN(limbeck_score, limbeck_result_score(result, 0, 0, &object.known, &error));
    limbeck_result_free(result);
    limbeck_model_free(model);

    result = made(argv, "entities.limbeck");
    WRITTEN(limbeck_entity, limbeck_result_entity(result, 0, 0, &object.known, &error));
    limbeck_result_free(result);
    result = made(argv, "reader.limbeck");
    WRITTEN(limbeck_answer, limbeck_result_answer(result, 0, 0, &object.known, &error));
    limbeck_result_free(result);
    result = made(argv, "masks.limbeck");
    WRITTEN(limbeck_guess, limbeck_result_guess(result, 0, 0, &object.known, &error));
    limbeck_result_free(result);
    result = made(argv, "order.limbeck");
    WRITTEN(limbeck_order, limbeck_result_order(result, 0, &object.known, &error));
    limbeck_result_free(result);
    result = made(argv, "replaced.limbeck");
    WRITTEN(limbeck_replaced, limbeck_result_replaced(result, 0, 0, &object.known, &error));
    WRITTEN(limbeck_replaced, limbeck_result_token(result, 0, 0, &object.known, &error));
    limbeck_result_free(result);
    limbeck_env_free(env);
    return done();
}
