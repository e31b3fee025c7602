/* Answers a question from a text of any length, and says where the answer stands.
 *
 *   answer BUNDLE ONNXRUNTIME_LIBRARY "question" "text"
 *
 * For a bundle of the task "question-answering". Built as examples/c/sentiment.c says.
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
    limbeck_call_options options;
    limbeck_result *result = NULL;
    size_t count = 0, rank;

    if (argc != 5) {
        fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY \"question\" \"text\"\n", argv[0]);
        return 2;
    }
    limbeck_env_options_init(&env_options, sizeof env_options);
    env_options.runtime_path.data = argv[2];
    env_options.runtime_path.length = strlen(argv[2]);

    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_env_new(&env_options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);

    /* The three best; and no more than two seconds for a text that could be a book. */
    limbeck_call_options_init(&options, sizeof options);
    options.top_k = 3;
    options.deadline_ms = 2000;
    if (status == LIMBECK_OK)
        status = limbeck_model_answer(model, argv[3], strlen(argv[3]), argv[4], strlen(argv[4]), &options, &result,
                                      &error);
    if (status == LIMBECK_OK) status = limbeck_result_item_count(result, 0, &count, &error);
    for (rank = 0; rank < count && status == LIMBECK_OK; rank++) {
        limbeck_answer answer;
        limbeck_answer_init(&answer, sizeof answer);
        status = limbeck_result_answer(result, 0, rank, &answer, &error);
        if (status == LIMBECK_OK)
            printf("%.3f  bytes %lu to %lu  %.*s\n", (double)answer.score, (unsigned long)answer.span.byte_begin,
                   (unsigned long)answer.span.byte_end, (int)answer.text.length, answer.text.data);
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
