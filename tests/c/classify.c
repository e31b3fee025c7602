/* One text: every answer the library gives about it. Prints label, index,
 * probability and logit of each text of a list, which the driver compares with
 * what the Rust library answers. */

#include "check.h"

int main(int argc, char **argv) {
    const char *texts[] = {"good", "the film . bad", "Good film, \xF0\x9F\x99\x82", ""};
    size_t i, rank, count;
    limbeck_model *model;
    limbeck_bundle *bundle = NULL;
    CHECK(argc >= 3);

    OK(LIMBECK_CHECK_ABI(&error));
    CHECK(strcmp(limbeck_version(), LIMBECK_VERSION) == 0);
    CHECK(limbeck_version_number() == LIMBECK_VERSION_NUMBER);
    CHECK(limbeck_abi_version() == LIMBECK_ABI_VERSION);

    model = open_model(argv, 0);
    OK(limbeck_model_warm_up(model, &error));

    OK(limbeck_model_bundle(model, &bundle, &error));
    CHECK(is(limbeck_bundle_id(bundle), "tiny"));
    CHECK(is(limbeck_bundle_version(bundle), "0.1.0"));
    CHECK(is(limbeck_bundle_task(bundle), "text-classification"));
    CHECK(limbeck_bundle_build(bundle) == 7);
    CHECK(limbeck_bundle_max_tokens(bundle) == 64);
    CHECK(limbeck_bundle_size(bundle) > 1000);
    CHECK(limbeck_bundle_label_count(bundle) == 2);

    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        limbeck_result *result = NULL;
        limbeck_usage usage;
        float total = 0;
        OK(limbeck_model_classify(model, texts[i], strlen(texts[i]), NULL, &result, &error));
        CHECK(limbeck_result_count(result) == 1);
        OK(limbeck_result_item_count(result, 0, &count, &error));
        CHECK(count == 2);
        for (rank = 0; rank < count; rank++) {
            limbeck_score score = score_of(result, 0, rank);
            limbeck_str label;
            OK(limbeck_bundle_label(bundle, score.index, &label, &error));
            CHECK(label.length == score.label.length && memcmp(label.data, score.label.data, label.length) == 0);
            if (rank > 0) CHECK(score.probability <= score_of(result, 0, rank - 1).probability);
            total += score.probability;
            printf("%.*s\t%d\t%.9g\t%.9g\n", (int)score.label.length, score.label.data, (int)score.index,
                   (double)score.probability, (double)score.logit);
        }
        CHECK(total > 0.9999f && total < 1.0001f);
        usage = usage_of(result, 0);
        CHECK(usage.tokens_used >= 2 && usage.tokens_dropped == 0 && usage.windows == 1);
        CHECK(usage.inference_ns > 0);
        if (i == 0) {
            CHECK(is(score_of(result, 0, 0).label, "positive"));
            CHECK(score_of(result, 0, 0).index == 1);
            CHECK(usage.tokens_used == 3);
        }
        if (i == 1) CHECK(is(score_of(result, 0, 0).label, "negative"));
        limbeck_result_free(result);
    }

    /* top_k */
    {
        limbeck_call_options options;
        limbeck_result *result = NULL;
        limbeck_call_options_init(&options, sizeof options);
        options.top_k = 1;
        OK(limbeck_model_classify(model, "bad", 3, &options, &result, &error));
        OK(limbeck_result_item_count(result, 0, &count, &error));
        CHECK(count == 1);
        CHECK(is(score_of(result, 0, 0).label, "negative"));
        limbeck_result_free(result);
    }

    limbeck_bundle_free(bundle);
    limbeck_model_free(model);
    return done();
}
