/* Faults on purpose, so that the driver can see that its checkers find them:
 * "leak" forgets a result of the library, "use" reads what was seen through one that
 * was freed, "call" gives one that was freed to the library, "twice" frees it again,
 * and "none" does nothing of the kind. */

#include "check.h"

int main(int argc, char **argv) {
    limbeck_model *model;
    limbeck_result *result = NULL, *freed = NULL;
    limbeck_score score;
    CHECK(argc >= 4);
    model = open_model(argv, 1);
    OK(limbeck_model_classify(model, "good", 4, NULL, &result, &error));
    score = score_of(result, 0, 0);
    if (strcmp(argv[3], "leak") != 0) {
        limbeck_result_free(result);
        freed = result;
    }
    result = NULL;
    if (strcmp(argv[3], "use") == 0) printf("%c\n", score.label.data[0]);
    if (strcmp(argv[3], "call") == 0) printf("%lu\n", (unsigned long)limbeck_result_count(freed));
    if (strcmp(argv[3], "twice") == 0) limbeck_result_free(freed);
    limbeck_model_free(model);
    return 0;
}
