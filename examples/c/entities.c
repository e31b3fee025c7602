/* Finds names in texts, and says where they stand.
 *
 *   entities BUNDLE ONNXRUNTIME_LIBRARY "text" ...
 *
 * For a bundle of the task "token-classification". Built as examples/c/sentiment.c says.
 */

#include <limbeck.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    limbeck_error *error = NULL;
    limbeck_env *env = NULL;
    limbeck_model *model = NULL;
    limbeck_env_options env_options;
    limbeck_status status;
    int i;

    if (argc < 4) {
        fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...\n", argv[0]);
        return 2;
    }
    limbeck_env_options_init(&env_options, sizeof env_options);
    env_options.runtime_path.data = argv[2];
    env_options.runtime_path.length = strlen(argv[2]);

    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_env_new(&env_options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);

    for (i = 3; i < argc && status == LIMBECK_OK; i++) {
        limbeck_result *result = NULL;
        size_t count = 0, n;
        status = limbeck_model_tag(model, argv[i], strlen(argv[i]), NULL, &result, &error);
        if (status == LIMBECK_OK) status = limbeck_result_item_count(result, 0, &count, &error);
        for (n = 0; n < count && status == LIMBECK_OK; n++) {
            limbeck_entity entity;
            limbeck_entity_init(&entity, sizeof entity);
            status = limbeck_result_entity(result, 0, n, &entity, &error);
            if (status == LIMBECK_OK)
                printf("%.*s  %.3f  bytes %lu to %lu  %.*s\n", (int)entity.label.length, entity.label.data,
                       (double)entity.score, (unsigned long)entity.span.byte_begin,
                       (unsigned long)entity.span.byte_end, (int)entity.text.length, entity.text.data);
        }
        limbeck_result_free(result);
    }

    if (status != LIMBECK_OK) {
        limbeck_str message = limbeck_error_message(error);
        fprintf(stderr, "%s: %.*s\n", limbeck_status_name(status), (int)message.length, message.data);
    }
    limbeck_error_free(error);
    limbeck_model_free(model);
    limbeck_env_free(env);
    return status == LIMBECK_OK ? 0 : 1;
}
