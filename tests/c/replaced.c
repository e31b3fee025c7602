/* Replaced tokens: suspicious words and all tokens, their places in three units, in single calls and batches. */

#include "check.h"

static limbeck_replaced word_of(const limbeck_result *result, size_t text, size_t index) {
    limbeck_replaced word;
    limbeck_replaced_init(&word, sizeof word);
    OK(limbeck_result_replaced(result, text, index, &word, &error));
    return word;
}

static limbeck_replaced token_of(const limbeck_result *result, size_t text, size_t index) {
    limbeck_replaced token;
    limbeck_replaced_init(&token, sizeof token);
    OK(limbeck_result_token(result, text, index, &token, &error));
    return token;
}

static size_t tokens_of(const limbeck_result *result, size_t text) {
    size_t count = 99;
    OK(limbeck_result_token_count(result, text, &count, &error));
    return count;
}

int main(int argc, char **argv) {
    /* An emoji before, so that the three units differ: 4 bytes, 2 UTF-16 units, 1 character. */
    const char *text = "\xF0\x9F\x99\x82 the flim is bad";
    limbeck_str texts[3];
    limbeck_call_options options = call_options();
    limbeck_result *result = NULL;
    limbeck_replaced word;
    limbeck_entity entity;
    size_t count = 0;
    char *longer;
    limbeck_model *model;
    CHECK(argc >= 3);
    model = open_beside(argv, "replaced.limbeck");

    /* Words that the tokenizer does not know have the logit 3, "bad" has 0.5 and others have -4. */
    OK(limbeck_model_replaced(model, text, strlen(text), NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 1 && items_of(result, 0) == 3 && tokens_of(result, 0) == 5);
    word = word_of(result, 0, 0);
    CHECK(is(word.text, "flim") && near(word.probability, 0.952574));
    CHECK(word.span.byte_begin == 9 && word.span.byte_end == 13);
    CHECK(word.span.utf16_begin == 7 && word.span.utf16_end == 11);
    CHECK(word.span.char_begin == 6 && word.span.char_end == 10);
    CHECK(memcmp(text + word.span.byte_begin, word.text.data, word.text.length) == 0);
    CHECK(is(word_of(result, 0, 1).text, "is") && is(word_of(result, 0, 2).text, "bad"));
    CHECK(near(word_of(result, 0, 2).probability, 0.622459));
    CHECK(is(token_of(result, 0, 0).text, "\xF0\x9F\x99\x82") && near(token_of(result, 0, 0).probability, 0.017986));
    CHECK(is(token_of(result, 0, 4).text, "bad") && token_of(result, 0, 1).span.utf16_begin == 3);
    CHECK(holds(limbeck_result_json(result), "\"text\":\"flim\"") && usage_of(result, 0).tokens_used == 7);
    /* What a result does not hold. */
    limbeck_entity_init(&entity, sizeof entity);
    FAILS(LIMBECK_INVALID_ARGUMENT, "limbeck_result_replaced", limbeck_result_entity(result, 0, 0, &entity, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "index is 3", limbeck_result_replaced(result, 0, 3, &word, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "index is 5", limbeck_result_token(result, 0, 5, &word, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "text is 1", limbeck_result_token_count(result, 1, &count, &error));
    limbeck_result_free(result);

    options.threshold = 0.7f;
    OK(limbeck_model_replaced(model, text, strlen(text), &options, &result, &error));
    CHECK(items_of(result, 0) == 2 && tokens_of(result, 0) == 5);
    limbeck_result_free(result);
    options = call_options();
    options.aggregation = LIMBECK_AGGREGATION_NONE;
    OK(limbeck_model_replaced(model, text, strlen(text), &options, &result, &error));
    CHECK(items_of(result, 0) == 1 && is(word_of(result, 0, 0).text, "flim is bad"));
    CHECK(near(word_of(result, 0, 0).probability, (2 * 0.952574 + 0.622459) / 3));
    limbeck_result_free(result);
    options.aggregation = LIMBECK_AGGREGATION_STRICT;
    FAILS(LIMBECK_INVALID_ARGUMENT, "aggregation", limbeck_model_replaced(model, "a", 1, &options, &result, &error));
    options = call_options();
    options.threshold = 1.5f;
    FAILS(LIMBECK_INVALID_ARGUMENT, "threshold", limbeck_model_replaced(model, "a", 1, &options, &result, &error));

    /* Longer than the model takes: windows by themselves, and the end is found. */
    longer = repeat("the", 300);
    memcpy(longer + 1196, "teh ", 4);
    texts[0] = str("flim");
    texts[1] = str("");
    texts[2] = str(longer);
    OK(limbeck_model_replaced_batch(model, texts, 3, NULL, &result, &error));
    CHECK(limbeck_result_count(result) == 3);
    CHECK(items_of(result, 0) == 1 && items_of(result, 1) == 0 && items_of(result, 2) == 1);
    CHECK(tokens_of(result, 1) == 0 && tokens_of(result, 2) == 300);
    CHECK(word_of(result, 2, 0).span.byte_begin == 1196 && is(word_of(result, 2, 0).text, "teh"));
    CHECK(usage_of(result, 2).windows > 4 && usage_of(result, 2).tokens_dropped == 0);
    limbeck_result_free(result);
    free(longer);
    limbeck_model_free(model);

    model = open_model(argv, 0);
    FAILS(LIMBECK_WRONG_TASK, "replaced", limbeck_model_replaced(model, "x", 1, NULL, &result, &error));
    CHECK(result == NULL);
    OK(limbeck_model_classify(model, "x", 1, NULL, &result, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "no tokens", limbeck_result_token_count(result, 0, &count, &error));
    limbeck_result_free(result);
    limbeck_model_free(model);
    return done();
}
