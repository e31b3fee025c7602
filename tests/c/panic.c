/* A panic inside the library: LIMBECK_INTERNAL with its text, nothing printed
 * (the driver looks), and a library that goes on working. Needs the hook that
 * build.rs adds for tests. */

#include "check.h"

#ifdef __cplusplus
extern "C"
#endif
limbeck_status limbeck_test_panic(limbeck_error **error);

int main(int argc, char **argv) {
    limbeck_model *model;
    limbeck_result *result = NULL;
    int i;
    CHECK(argc >= 3);
    model = open_model(argv, 1);
    for (i = 0; i < 3; i++) {
        FAILS(LIMBECK_INTERNAL, "a panic asked for by a test", limbeck_test_panic(&error));
        FAILS(LIMBECK_INTERNAL, "hooks.rs", limbeck_test_panic(&error));
        CHECK(limbeck_test_panic(NULL) == LIMBECK_INTERNAL);
        OK(limbeck_model_classify(model, "good", 4, NULL, &result, &error));
        CHECK(is(score_of(result, 0, 0).label, "positive"));
        limbeck_result_free(result);
    }
    limbeck_model_free(model);
    return 0;
}
