/* Finds the text that is closest to the first one.
 *
 *   similarity BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...
 *
 * For a bundle of the task "sentence-embedding". Built as examples/c/sentiment.c says.
 */

#include <limbeck.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    limbeck_error *error = NULL;
    limbeck_env *env = NULL;
    limbeck_model *model = NULL;
    limbeck_env_options env_options;
    limbeck_status status;
    limbeck_str *texts = NULL;
    float *vectors = NULL;
    size_t *places = NULL;
    float *similarities = NULL;
    size_t count = (size_t)argc - 3, size, found = 0, i;

    if (argc < 5) {
        fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY \"query\" \"text\" ...\n", argv[0]);
        return 2;
    }
    limbeck_env_options_init(&env_options, sizeof env_options);
    env_options.runtime_path.data = argv[2];
    env_options.runtime_path.length = strlen(argv[2]);

    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_env_new(&env_options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);

    /* The vectors go into memory of our own: a table that could also be a file. */
    size = limbeck_model_embedding_size(model);
    texts = (limbeck_str *)calloc(count, sizeof *texts);
    vectors = (float *)calloc(count * (size + 1), sizeof *vectors);
    places = (size_t *)calloc(count, sizeof *places);
    similarities = (float *)calloc(count, sizeof *similarities);
    if (!texts || !vectors || !places || !similarities) return 1;
    for (i = 0; i < count; i++) {
        texts[i].data = argv[3 + i];
        texts[i].length = strlen(argv[3 + i]);
    }
    if (status == LIMBECK_OK)
        status = limbeck_model_embed_batch(model, texts, count, NULL, vectors, count * size, NULL, &error);
    /* The first vector is the query; the others are searched. */
    if (status == LIMBECK_OK)
        status = limbeck_nearest(vectors, size, vectors + size, count - 1, count - 1, places, similarities, &found,
                                 &error);
    for (i = 0; i < found; i++) printf("%.3f  %s\n", (double)similarities[i], argv[4 + places[i]]);
    free(similarities);
    free(places);
    free(vectors);
    free(texts);

    if (status != LIMBECK_OK) {
        limbeck_str message = limbeck_error_message(error);
        fprintf(stderr, "%s: %.*s\n", limbeck_status_name(status), (int)message.length, message.data);
    }
    limbeck_error_free(error);
    limbeck_model_free(model);
    limbeck_env_free(env);
    return status == LIMBECK_OK ? 0 : 1;
}
