/* Handles do not lean on each other: every order of freeing, and what each
 * handle still does when the others are gone. */

#include "check.h"

static void use(const limbeck_model *model) {
    limbeck_result *result = NULL;
    OK(limbeck_model_classify(model, "good", 4, NULL, &result, &error));
    CHECK(is(score_of(result, 0, 0).label, "positive"));
    limbeck_result_free(result);
}

int main(int argc, char **argv) {
    limbeck_env *env, *again;
    limbeck_bundle *bundle = NULL, *other = NULL;
    limbeck_model *model = NULL, *second = NULL;
    limbeck_result *result = NULL;
    limbeck_score score;
    limbeck_error *error_kept = NULL;
    uint8_t *bytes;
    size_t length, order;
    CHECK(argc >= 3);

    /* env, bundle and the bundle's bytes go before the model. */
    env = open_env(argv[2]);
    bytes = read_file(argv[1], &length);
    OK(limbeck_bundle_open_bytes(bytes, length, NULL, &bundle, &error));
    memset(bytes, 0xAA, length);
    free(bytes);
    OK(limbeck_model_open_bundle(env, bundle, NULL, &model, &error));
    limbeck_env_free(env);
    limbeck_bundle_free(bundle);
    use(model);

    /* A result outlives its model, and so does the bundle taken from it. */
    OK(limbeck_model_classify(model, "bad", 3, NULL, &result, &error));
    OK(limbeck_model_bundle(model, &other, &error));
    score = score_of(result, 0, 0);
    limbeck_model_free(model);
    CHECK(is(score.label, "negative"));
    CHECK(is(score_of(result, 0, 1).label, "positive"));
    CHECK(is(limbeck_bundle_id(other), "tiny"));

    /* An error outlives what it was about. */
    CHECK(limbeck_result_score(result, 7, 0, &score, &error_kept) == LIMBECK_INVALID_ARGUMENT);
    limbeck_result_free(result);
    CHECK(holds(limbeck_error_message(error_kept), "text is 7"));
    limbeck_error_free(error_kept);

    /* One bundle, many models; many envs, one runtime; each order of freeing. */
    for (order = 0; order < 6; order++) {
        env = open_env(argv[2]);
        OK(limbeck_env_new(NULL, &again, &error)); /* what is loaded already */
        OK(limbeck_model_open_bundle(env, other, NULL, &model, &error));
        OK(limbeck_model_open_bundle(again, other, NULL, &second, &error));
        if (order % 2) {
            limbeck_env_free(env);
            limbeck_env_free(again);
        }
        if (order % 3 == 0) {
            limbeck_model_free(model);
            use(second);
            limbeck_model_free(second);
        } else {
            limbeck_model_free(second);
            use(model);
            limbeck_model_free(model);
        }
        if (order % 2 == 0) {
            limbeck_env_free(again);
            limbeck_env_free(env);
        }
    }
    limbeck_bundle_free(other);
    return done();
}
