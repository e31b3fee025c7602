/* Answers to questions, with their places. */

#include "check.h"

static limbeck_answer answer_of(const limbeck_result *result, size_t question, size_t rank) {
    limbeck_answer answer;
    limbeck_answer_init(&answer, sizeof answer);
    OK(limbeck_result_answer(result, question, rank, &answer, &error));
    return answer;
}

int main(int argc, char **argv) {
    const char *question = "Who wrote it?";
    const char *text = "It \xF0\x9F\x99\x82: Ada Lovelace wrote it.";
    limbeck_pair pairs[2];
    limbeck_call_options options = call_options();
    limbeck_result *result = NULL;
    limbeck_answer answer;
    float none = 7;
    char *longer;
    limbeck_model *model;
    CHECK(argc >= 3);
    model = open_beside(argv, "reader.limbeck");

    OK(limbeck_model_answer(model, question, strlen(question), text, strlen(text), NULL, &result, &error));
    CHECK(items_of(result, 0) == 1);
    answer = answer_of(result, 0, 0);
    CHECK(is(answer.text, "Ada Lovelace"));
    CHECK(answer.span.byte_begin == 9 && answer.span.utf16_begin == 7 && answer.span.char_begin == 6);
    CHECK(memcmp(text + answer.span.byte_begin, answer.text.data, answer.text.length) == 0);
    OK(limbeck_result_no_answer(result, 0, &none, &error));
    CHECK(answer.score > 0.9f && none < 0.1f);
    limbeck_result_free(result);

    /* The second answer of a long text, in windows; and a batch. */
    longer = repeat("the", 200);
    memcpy(longer + 780, "ada lovelace ", 13);
    pairs[0].first = pairs[1].first = str(question);
    pairs[0].second = str(text);
    pairs[1].second = str(longer);
    options.top_k = 2;
    options.max_answer_tokens = 2;
    OK(limbeck_model_answer_batch(model, pairs, 2, &options, &result, &error));
    CHECK(limbeck_result_count(result) == 2 && items_of(result, 0) == 2);
    CHECK(is(answer_of(result, 0, 0).text, "Ada Lovelace"));
    CHECK(answer_of(result, 1, 0).span.byte_begin == 780 && is(answer_of(result, 1, 0).text, "ada lovelace"));
    CHECK(answer_of(result, 0, 1).score <= answer_of(result, 0, 0).score);
    CHECK(usage_of(result, 1).windows > 2);
    CHECK(holds(limbeck_result_json(result), "\"no_answer\":"));
    limbeck_result_free(result);
    free(longer);

    FAILS(LIMBECK_INVALID_UTF8, "question", limbeck_model_answer(model, "\xFF", 1, "x", 1, NULL, &result, &error));
    pairs[1].second.data = "\xC3";
    pairs[1].second.length = 1;
    FAILS(LIMBECK_INVALID_UTF8, "questions[1].second",
          limbeck_model_answer_batch(model, pairs, 2, NULL, &result, &error));
    options = call_options();
    options.threshold = 0.5f;
    FAILS(LIMBECK_INVALID_ARGUMENT, "threshold", limbeck_model_answer(model, "x", 1, "y", 1, &options, &result, &error));
    limbeck_model_free(model);
    return done();
}
