/* Masked words. */

#include "check.h"

static limbeck_guess guess_of(const limbeck_result *result, size_t text, size_t index) {
    limbeck_guess guess;
    limbeck_guess_init(&guess, sizeof guess);
    OK(limbeck_result_guess(result, text, index, &guess, &error));
    return guess;
}

int main(int argc, char **argv) {
    limbeck_str texts[2], mask;
    limbeck_call_options options = call_options();
    limbeck_result *result = NULL;
    limbeck_guess guess;
    limbeck_model *model;
    CHECK(argc >= 3);
    model = open_beside(argv, "masks.limbeck");
    mask = limbeck_model_mask_token(model);
    CHECK(is(mask, "[MASK]"));

    OK(limbeck_model_fill_mask(model, "the [MASK] film", 15, NULL, &result, &error));
    CHECK(items_of(result, 0) == 5);
    guess = guess_of(result, 0, 0);
    CHECK(is(guess.text, "good") && is(guess.token, "good") && guess.id == 4 && guess.mask == 0);
    CHECK(guess.span.byte_begin == 4 && guess.span.byte_end == 10);
    /* e^5 against e^4 and sixteen others of e^0. */
    CHECK(near(guess.probability, 148.413159 / (148.413159 + 54.598150 + 16)));
    CHECK(is(guess_of(result, 0, 1).text, "bad"));
    limbeck_result_free(result);

    texts[0] = str("[MASK] and [MASK]");
    texts[1] = str("[MASK]");
    options.top_k = 2;
    OK(limbeck_model_fill_mask_batch(model, texts, 2, &options, &result, &error));
    CHECK(items_of(result, 0) == 4 && items_of(result, 1) == 2);
    CHECK(guess_of(result, 0, 1).mask == 0 && guess_of(result, 0, 2).mask == 1);
    CHECK(guess_of(result, 0, 3).span.byte_begin == 11);
    FAILS(LIMBECK_INVALID_ARGUMENT, "index is 4", limbeck_result_guess(result, 0, 4, &guess, &error));
    limbeck_result_free(result);
    FAILS(LIMBECK_INVALID_ARGUMENT, "[MASK]", limbeck_model_fill_mask(model, "the film", 8, NULL, &result, &error));
    limbeck_model_free(model);

    model = open_model(argv, 0);
    CHECK(limbeck_model_mask_token(model).length == 0);
    FAILS(LIMBECK_WRONG_TASK, "fill-mask", limbeck_model_fill_mask(model, "[MASK]", 6, NULL, &result, &error));
    limbeck_model_free(model);
    return done();
}
