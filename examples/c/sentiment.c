/* Classifies texts with a bundle, and says how sure it is and how long it took.
 *
 *   sentiment BUNDLE ONNXRUNTIME_LIBRARY "text" ...
 *
 * Build the library and this program from the root of the repository:
 *
 *   cargo build --release -p limbeck-capi
 *   cc -std=c99 -Icapi/include examples/c/sentiment.c -Ltarget/release -llimbeck -o sentiment
 *   ln -sf liblimbeck.so target/release/liblimbeck.so.0
 *   LD_LIBRARY_PATH=target/release ./sentiment sentiment.limbeck libonnxruntime.so.1 "What a film!"
 *
 * With an installed library, `cc sentiment.c $(pkg-config --cflags --libs limbeck)`
 * does, and nothing has to be set.
 */

#include <limbeck.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    limbeck_error *error = NULL;
    limbeck_env *env = NULL;
    limbeck_model *model = NULL;
    limbeck_env_options options;
    limbeck_status status;
    int i;

    if (argc < 4) {
        fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...\n", argv[0]);
        return 2;
    }
    limbeck_env_options_init(&options, sizeof options);
    options.runtime_path.data = argv[2];
    options.runtime_path.length = strlen(argv[2]);

    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_env_new(&options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);
    if (status == LIMBECK_OK) status = limbeck_model_warm_up(model, &error);

    for (i = 3; i < argc && status == LIMBECK_OK; i++) {
        limbeck_result *result = NULL;
        limbeck_score best;
        limbeck_usage usage;
        limbeck_score_init(&best, sizeof best);
        limbeck_usage_init(&usage, sizeof usage);

        status = limbeck_model_classify(model, argv[i], strlen(argv[i]), NULL, &result, &error);
        if (status == LIMBECK_OK) status = limbeck_result_score(result, 0, 0, &best, &error);
        if (status == LIMBECK_OK) status = limbeck_result_usage(result, 0, &usage, &error);
        if (status == LIMBECK_OK)
            printf("%.*s  %.3f  %2lu tokens  %.2f ms  %s\n", (int)best.label.length, best.label.data,
                   (double)best.probability, (unsigned long)usage.tokens_used,
                   (double)(usage.tokenize_ns + usage.inference_ns + usage.post_ns) / 1e6, argv[i]);
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
