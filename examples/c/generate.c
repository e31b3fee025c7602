/* Writes on from a prompt, and shows the text as it is written.
 *
 *   generate BUNDLE ONNXRUNTIME_LIBRARY "prompt"
 *
 * For a bundle of the task "generation". Built as examples/c/sentiment.c says.
 */

#include <limbeck.h>

#include <stdio.h>
#include <string.h>

/* Whole characters; none with a token that is a part of one. */
static bool show(void *data, uint32_t id, limbeck_str text) {
    (void)data;
    (void)id;
    fwrite(text.data, 1, text.length, stdout);
    fflush(stdout);
    return true; /* false ends the text here */
}

static const char *why(uint32_t finish) {
    switch (finish) {
    case LIMBECK_FINISH_END_OF_TEXT: return "end-of-text";
    case LIMBECK_FINISH_STOP: return "stop";
    case LIMBECK_FINISH_LENGTH: return "length";
    case LIMBECK_FINISH_CONTEXT: return "context";
    default: return "unfinished";
    }
}

int main(int argc, char **argv) {
    limbeck_error *error = NULL;
    limbeck_env *env = NULL;
    limbeck_model *model = NULL;
    limbeck_env_options env_options;
    limbeck_status status;
    limbeck_generate_options options;
    limbeck_result *result = NULL;
    limbeck_generation written;

    if (argc != 4) {
        fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY \"prompt\"\n", argv[0]);
        return 2;
    }
    limbeck_env_options_init(&env_options, sizeof env_options);
    env_options.runtime_path.data = argv[2];
    env_options.runtime_path.length = strlen(argv[2]);

    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_env_new(&env_options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);

    /* The likeliest token each time: set a temperature and a seed to draw. At the end of the
     * context the text ends, too. */
    limbeck_generate_options_init(&options, sizeof options);
    options.max_new_tokens = 200;
    options.context = LIMBECK_CONTEXT_STOP;
    limbeck_generation_init(&written, sizeof written);
    if (status == LIMBECK_OK)
        status = limbeck_model_generate(model, argv[3], strlen(argv[3]), &options, show, NULL, &result, &error);
    if (status == LIMBECK_OK) status = limbeck_result_generation(result, 0, &written, &error);
    if (status == LIMBECK_OK) {
        double seconds = 1e-9 * (double)(written.prefill_ns + written.decode_ns + written.sampling_ns);
        printf("\n%lu tokens, %s, %.1f tokens a second\n", (unsigned long)written.generated_tokens, why(written.finish),
               seconds > 0 ? (double)written.generated_tokens / seconds : 0.0);
    }
    limbeck_result_free(result);

    if (status != LIMBECK_OK) {
        limbeck_str message = limbeck_error_message(error);
        fprintf(stderr, "%s: %.*s\n", limbeck_status_name(status), (int)message.length, message.data);
    }
    limbeck_error_free(error);
    limbeck_model_free(model);
    limbeck_env_free(env);
    return status == LIMBECK_OK ? 0 : 1;
}
