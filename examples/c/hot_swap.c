/* Serves texts from standard input while a newer model replaces the one in use: no
 * call fails for it, and a candidate that is worse is refused.
 *
 *   hot_swap BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts
 *
 * One text a line; the newer bundle is tried after the first one. Built as
 * examples/c/sentiment.c says.
 */

#include <limbeck.h>

#include <stdio.h>
#include <string.h>

/* One line, on the model that is in use at this moment. */
static limbeck_status serve(const limbeck_slot *slot, const char *line, size_t length, limbeck_error **error) {
    limbeck_model *model = NULL;
    limbeck_result *result = NULL;
    limbeck_score best;
    limbeck_status status = limbeck_slot_model(slot, &model, error);
    limbeck_score_init(&best, sizeof best);
    if (status == LIMBECK_OK) status = limbeck_model_classify(model, line, length, NULL, &result, error);
    if (status == LIMBECK_OK) status = limbeck_result_score(result, 0, 0, &best, error);
    if (status == LIMBECK_OK)
        printf("model %lu: %.*s  %.3f  %.*s\n", (unsigned long)limbeck_slot_generation(slot), (int)best.label.length,
               best.label.data, (double)best.probability, (int)length, line);
    limbeck_result_free(result);
    limbeck_model_free(model);
    return status;
}

/* A candidate that cannot be opened, does another task, is older, or fails its own
 * self-test is told, and the model in use stays. */
static void replace(const limbeck_env *env, const limbeck_slot *slot, const char *path) {
    limbeck_error *error = NULL;
    limbeck_model *candidate = NULL;
    limbeck_status status = limbeck_model_open(env, path, strlen(path), NULL, &candidate, &error);
    if (status == LIMBECK_OK) status = limbeck_slot_publish(slot, candidate, NULL, &error);
    if (status != LIMBECK_OK) {
        limbeck_str message = limbeck_error_message(error);
        printf("not replaced: %s: %.*s\n", limbeck_status_name(status), (int)message.length, message.data);
    }
    limbeck_error_free(error);
    limbeck_model_free(candidate); /* the slot holds what it uses */
}

int main(int argc, char **argv) {
    limbeck_error *error = NULL;
    limbeck_env *env = NULL;
    limbeck_model *model = NULL;
    limbeck_env_options env_options;
    limbeck_status status;
    limbeck_slot *slot = NULL;
    char line[4096];
    long lines = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts\n", argv[0]);
        return 2;
    }
    limbeck_env_options_init(&env_options, sizeof env_options);
    env_options.runtime_path.data = argv[2];
    env_options.runtime_path.length = strlen(argv[2]);

    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_env_new(&env_options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);
    if (status == LIMBECK_OK) status = limbeck_slot_new(model, &slot, &error);

    while (status == LIMBECK_OK && fgets(line, sizeof line, stdin)) {
        status = serve(slot, line, strcspn(line, "\n"), &error);
        if (++lines == 1) replace(env, slot, argv[3]);
    }
    limbeck_slot_free(slot);

    if (status != LIMBECK_OK) {
        limbeck_str message = limbeck_error_message(error);
        fprintf(stderr, "%s: %.*s\n", limbeck_status_name(status), (int)message.length, message.data);
    }
    limbeck_error_free(error);
    limbeck_model_free(model);
    limbeck_env_free(env);
    return status == LIMBECK_OK ? 0 : 1;
}
