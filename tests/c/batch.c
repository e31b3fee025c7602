/* Many texts in one call: in order, and each as if it were alone. */

#include "check.h"

#define COUNT 33

int main(int argc, char **argv) {
    limbeck_str texts[COUNT];
    char *owned[COUNT];
    limbeck_result *all = NULL, *one = NULL;
    limbeck_model *model;
    uint32_t sessions;
    size_t i;
    CHECK(argc >= 3);

    /* Lengths of 0 to 32 words, so that padding would show. */
    for (i = 0; i < COUNT; i++) {
        owned[i] = repeat(i % 3 == 0 ? "good" : i % 3 == 1 ? "bad" : "film", i);
        texts[i] = str(owned[i]);
    }
    for (sessions = 1; sessions <= 3; sessions += 2) {
        model = open_model(argv, sessions);
        OK(limbeck_model_classify_batch(model, texts, COUNT, NULL, &all, &error));
        CHECK(limbeck_result_count(all) == COUNT);
        for (i = 0; i < COUNT; i++) {
            limbeck_score a, b;
            size_t rank;
            OK(limbeck_model_classify(model, texts[i].data, texts[i].length, NULL, &one, &error));
            for (rank = 0; rank < 2; rank++) {
                float difference;
                a = score_of(all, i, rank);
                b = score_of(one, 0, rank);
                difference = a.logit - b.logit;
                CHECK(a.index == b.index);
                CHECK(difference < 1e-5f && difference > -1e-5f);
            }
            CHECK(usage_of(all, i).tokens_used == i + 2);
            limbeck_result_free(one);
        }
        limbeck_result_free(all);

        /* No texts at all is a batch too. */
        OK(limbeck_model_classify_batch(model, NULL, 0, NULL, &all, &error));
        CHECK(limbeck_result_count(all) == 0);
        limbeck_result_free(all);

        /* The text at fault is named. */
        {
            limbeck_str wrong[3];
            wrong[0] = str("good");
            wrong[1] = str("bad\xFF");
            wrong[2].data = NULL;
            wrong[2].length = 5;
            all = (limbeck_result *)&not_an_error;
            FAILS(LIMBECK_INVALID_UTF8, "texts[1]", limbeck_model_classify_batch(model, wrong, 3, NULL, &all, &error));
            CHECK(all == NULL);
            wrong[1] = str("bad");
            FAILS(LIMBECK_NULL_POINTER, "texts[2]", limbeck_model_classify_batch(model, wrong, 3, NULL, &all, &error));
        }
        limbeck_model_free(model);
    }
    for (i = 0; i < COUNT; i++) free(owned[i]);
    return done();
}
