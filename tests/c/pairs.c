/* A model of two texts: pairs, labels of one's own, and ranking. */

#include "check.h"

int main(int argc, char **argv) {
    limbeck_pair pairs[2];
    limbeck_str labels[2], texts[3];
    limbeck_call_options options = call_options();
    limbeck_result *result = NULL, *batch = NULL;
    float sum;
    limbeck_model *model;
    CHECK(argc >= 3);
    model = open_beside(argv, "pairs.limbeck");

    /* (-8, 8) and (8, -8) of two words over five tokens. */
    OK(limbeck_model_classify_pair(model, "good", 4, "good", 4, NULL, &result, &error));
    CHECK(is(score_of(result, 0, 0).label, "entailment") && near(score_of(result, 0, 0).logit, 16.0 / 5));
    CHECK(score_of(result, 0, 0).holds == 1 && score_of(result, 0, 1).holds == 0);
    limbeck_result_free(result);
    pairs[0].first = pairs[0].second = pairs[1].first = str("bad");
    pairs[1].second = str("good");
    OK(limbeck_model_classify_pairs(model, pairs, 2, NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 2 && is(score_of(result, 0, 0).label, "contradiction"));
    CHECK(near(score_of(result, 1, 0).logit, 0));
    limbeck_result_free(result);

    /* The sentence is "This example is good." */
    labels[0] = str("bad");
    labels[1] = str("good");
    OK(limbeck_model_zero_shot(model, "the film", 8, labels, 2, NULL, &result, &error));
    CHECK(items_of(result, 0) == 2 && is(score_of(result, 0, 0).label, "good") && score_of(result, 0, 0).index == 1);
    sum = score_of(result, 0, 0).probability + score_of(result, 0, 1).probability;
    CHECK(near(sum, 1));
    texts[0] = str("the film");
    texts[1] = str("bad bad bad");
    OK(limbeck_model_zero_shot_batch(model, texts, 2, labels, 2, NULL, &batch, &error));
    CHECK(limbeck_result_count(batch) == 2);
    CHECK(near(score_of(batch, 0, 0).probability, score_of(result, 0, 0).probability));
    limbeck_result_free(batch);
    limbeck_result_free(result);
    options.multi_label = 1;
    options.hypothesis = str("{} film");
    OK(limbeck_model_zero_shot(model, "good", 4, labels, 2, &options, &result, &error));
    CHECK(score_of(result, 0, 0).probability > 0.9f && near(score_of(result, 0, 1).probability, 0.5) == 0);
    limbeck_result_free(result);
    options.hypothesis = str("no place");
    FAILS(LIMBECK_INVALID_ARGUMENT, "no place", limbeck_model_zero_shot(model, "x", 1, labels, 2, &options, &result, &error));
    options.multi_label = 2;
    FAILS(LIMBECK_INVALID_ARGUMENT, "multi_label", limbeck_model_zero_shot(model, "x", 1, labels, 2, &options, &result, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "no labels", limbeck_model_zero_shot(model, "x", 1, NULL, 0, NULL, &result, &error));

    texts[0] = str("bad");
    texts[1] = str("good");
    texts[2] = str("film");
    OK(limbeck_model_rerank(model, "the film", 8, texts, 3, NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 3 && items_of(result, 0) == 1);
    CHECK(score_of(result, 0, 0).index == 1 && score_of(result, 1, 0).index == 2 && score_of(result, 2, 0).index == 0);
    CHECK(score_of(result, 0, 0).label.length == 0 && usage_of(result, 2).tokens_used == 6);
    limbeck_result_free(result);
    options = call_options();
    options.top_k = 1;
    options.rank_label = str("contradiction");
    OK(limbeck_model_rerank(model, "the film", 8, texts, 3, &options, &result, &error));
    CHECK(limbeck_result_count(result) == 1 && score_of(result, 0, 0).index == 0);
    limbeck_result_free(result);
    options.rank_label = str("perhaps");
    FAILS(LIMBECK_INVALID_ARGUMENT, "perhaps", limbeck_model_rerank(model, "x", 1, texts, 3, &options, &result, &error));
    limbeck_model_free(model);
    return done();
}
