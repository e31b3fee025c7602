/* Which of two texts comes first: as given, in both orders, in batches. */

#include "check.h"

static limbeck_order order_of(const limbeck_result *result, size_t text) {
    limbeck_order order;
    limbeck_order_init(&order, sizeof order);
    OK(limbeck_result_order(result, text, &order, &error));
    return order;
}

int main(int argc, char **argv) {
    limbeck_pair pairs[3];
    limbeck_call_options options = call_options();
    limbeck_result *result = NULL;
    limbeck_order order;
    limbeck_score score;
    char *longer;
    limbeck_model *model;
    CHECK(argc >= 3);
    model = open_beside(argv, "order.limbeck");

    /* [CLS] and "who" in the first text, "London" in the second: (1 + 3 + 3) in one column and -7 in the other, over
     * six tokens. */
    OK(limbeck_model_order(model, "who wrote", 9, "London", 6, NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 1 && items_of(result, 0) == 1);
    order = order_of(result, 0);
    CHECK(near(order.logit, 14.0 / 6) && near(order.probability, 0.911600));
    CHECK(usage_of(result, 0).tokens_used == 6 && usage_of(result, 0).windows == 1);
    CHECK(holds(limbeck_result_json(result), "\"probability\":0.911"));
    /* What a result does not hold. */
    limbeck_score_init(&score, sizeof score);
    FAILS(LIMBECK_INVALID_ARGUMENT, "limbeck_result_order", limbeck_result_score(result, 0, 0, &score, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "text is 1", limbeck_result_order(result, 1, &order, &error));
    limbeck_result_free(result);

    /* Swapped, (1 - 3 - 3) / 6 in one column. In both orders the answers are opposites, and their own with itself. */
    pairs[0].first = pairs[1].second = str("who wrote");
    pairs[0].second = pairs[1].first = str("London");
    pairs[2].first = pairs[2].second = str("the film");
    OK(limbeck_model_order_batch(model, pairs, 3, NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 3 && near(order_of(result, 1).logit, -10.0 / 6));
    CHECK(near(order_of(result, 2).logit, 2.0 / 7));
    limbeck_result_free(result);
    options.both_orders = 1;
    OK(limbeck_model_order_batch(model, pairs, 3, &options, &result, &error));
    CHECK(near(order_of(result, 0).logit, (14.0 + 10.0) / 12) && near(order_of(result, 1).logit, -2));
    CHECK(near(order_of(result, 2).probability, 0.5));
    CHECK(usage_of(result, 0).tokens_used == 6);
    limbeck_result_free(result);

    /* Longer than the model takes: cut, and said so; in windows nothing is cut. */
    longer = repeat("London", 200);
    OK(limbeck_model_order(model, "who", 3, longer, strlen(longer), NULL, &result, &error));
    CHECK(usage_of(result, 0).tokens_used == 64 && usage_of(result, 0).tokens_dropped == 140);
    limbeck_result_free(result);
    options.overflow = LIMBECK_OVERFLOW_WINDOW;
    OK(limbeck_model_order(model, "who", 3, longer, strlen(longer), &options, &result, &error));
    CHECK(usage_of(result, 0).tokens_dropped == 0 && usage_of(result, 0).windows > 3);
    CHECK(order_of(result, 0).probability > 0.9f);
    limbeck_result_free(result);
    free(longer);

    options = call_options();
    options.both_orders = 2;
    FAILS(LIMBECK_INVALID_ARGUMENT, "both_orders", limbeck_model_order(model, "a", 1, "b", 1, &options, &result, &error));
    options = call_options();
    options.reserved = 1;
    FAILS(LIMBECK_INVALID_ARGUMENT, "reserved", limbeck_model_order(model, "a", 1, "b", 1, &options, &result, &error));
    options = call_options();
    options.top_k = 1;
    FAILS(LIMBECK_INVALID_ARGUMENT, "top_k", limbeck_model_order(model, "a", 1, "b", 1, &options, &result, &error));
    limbeck_model_free(model);

    model = open_beside(argv, "pairs.limbeck");
    FAILS(LIMBECK_WRONG_TASK, "order", limbeck_model_order(model, "a", 1, "b", 1, NULL, &result, &error));
    CHECK(result == NULL);
    options = call_options();
    options.both_orders = 1;
    FAILS(LIMBECK_INVALID_ARGUMENT, "both_orders",
          limbeck_model_classify_pair(model, "a", 1, "b", 1, &options, &result, &error));
    limbeck_model_free(model);
    return done();
}
