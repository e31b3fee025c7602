/* What a classifier answers, with all its digits: label, index, probability and logit.
 *
 *   answers BUNDLE ONNXRUNTIME_LIBRARY "text" ...
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

    if (argc < 4) return 2;
    limbeck_env_options_init(&options, sizeof options);
    options.runtime_path.data = argv[2];
    options.runtime_path.length = strlen(argv[2]);
    status = limbeck_env_new(&options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);

    for (i = 3; i < argc && status == LIMBECK_OK; i++) {
        limbeck_result *result = NULL;
        size_t rank, count = 0;
        status = limbeck_model_classify(model, argv[i], strlen(argv[i]), NULL, &result, &error);
        if (status == LIMBECK_OK) status = limbeck_result_item_count(result, 0, &count, &error);
        for (rank = 0; rank < count && status == LIMBECK_OK; rank++) {
            limbeck_score score;
            limbeck_score_init(&score, sizeof score);
            status = limbeck_result_score(result, 0, rank, &score, &error);
            if (status == LIMBECK_OK)
                printf("%.*s\t%d\t%.9g\t%.9g\n", (int)score.label.length, score.label.data, (int)score.index,
                       (double)score.probability, (double)score.logit);
        }
        limbeck_result_free(result);
    }

    if (status != LIMBECK_OK) {
        limbeck_str message = limbeck_error_message(error);
        fprintf(stderr, "%.*s\n", (int)message.length, message.data);
    }
    limbeck_error_free(error);
    limbeck_model_free(model);
    limbeck_env_free(env);
    return status == LIMBECK_OK ? 0 : 1;
}
