/* Texts of every kind: empty, not UTF-8, with NUL bytes, emoji, a megabyte; and
 * what happens to those that are too long. */

#include "check.h"

static const limbeck_model *model;

static limbeck_result *classify(const char *text, size_t length, const limbeck_call_options *options) {
    limbeck_result *result = NULL;
    OK(limbeck_model_classify(model, text, length, options, &result, &error));
    return result;
}

static void invalid_utf8(void) {
    limbeck_result *result = NULL;
    FAILS(LIMBECK_INVALID_UTF8, "offset 0", limbeck_model_classify(model, "\xFF", 1, NULL, &result, &error));
    FAILS(LIMBECK_INVALID_UTF8, "offset 5", limbeck_model_classify(model, "good \xC3(", 7, NULL, &result, &error));
    /* A character cut in its middle: */
    FAILS(LIMBECK_INVALID_UTF8, "offset 4", limbeck_model_classify(model, "good\xF0\x9F\x99", 7, NULL, &result, &error));
    /* A surrogate, and a slash in too many bytes: */
    FAILS(LIMBECK_INVALID_UTF8, "offset 0", limbeck_model_classify(model, "\xED\xA0\x80", 3, NULL, &result, &error));
    FAILS(LIMBECK_INVALID_UTF8, "offset 1", limbeck_model_classify(model, "a\xC0\xAF", 3, NULL, &result, &error));
    CHECK(result == NULL);
}

static void unusual(void) {
    limbeck_result *result;

    /* The empty text, both ways: two special tokens. */
    result = classify("", 0, NULL);
    CHECK(usage_of(result, 0).tokens_used == 2);
    limbeck_result_free(result);
    result = classify(NULL, 0, NULL);
    CHECK(usage_of(result, 0).tokens_used == 2);
    limbeck_result_free(result);

    /* The length counts, not a NUL: what stands after it is read. */
    result = classify("\0\0 good", 7, NULL);
    CHECK(is(score_of(result, 0, 0).label, "positive"));
    CHECK(usage_of(result, 0).tokens_used == 3);
    limbeck_result_free(result);
    result = classify("good bad", 4, NULL);
    CHECK(usage_of(result, 0).tokens_used == 3);
    limbeck_result_free(result);

    result = classify("\xF0\x9F\x99\x82", 4, NULL);
    CHECK(is(score_of(result, 0, 0).label, "positive"));
    limbeck_result_free(result);
    /* A family of several code points, which the model does not know. */
    result = classify("\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7", 11, NULL);
    CHECK(usage_of(result, 0).tokens_used == 3);
    limbeck_result_free(result);
}

static void too_long(size_t words) {
    /* 62 words and two special tokens are the most that fit. */
    char *text = repeat("good", words);
    size_t length = strlen(text);
    limbeck_call_options options;
    limbeck_result *result;
    limbeck_usage usage;
    limbeck_result *none = NULL;

    result = classify(text, length, NULL);
    usage = usage_of(result, 0);
    CHECK(usage.tokens_used == 64 && usage.windows == 1);
    CHECK(usage.tokens_dropped == words - 62);
    CHECK(is(score_of(result, 0, 0).label, "positive"));
    limbeck_result_free(result);

    limbeck_call_options_init(&options, sizeof options);
    options.overflow = LIMBECK_OVERFLOW_ERROR;
    FAILS(LIMBECK_TOO_LONG, "64", limbeck_model_classify(model, text, length, &options, &none, &error));

    options.overflow = LIMBECK_OVERFLOW_WINDOW;
    options.window_stride = 16;
    result = classify(text, length, &options);
    usage = usage_of(result, 0);
    CHECK(usage.tokens_dropped == 0);
    CHECK(usage.windows >= words / 62);
    CHECK(is(score_of(result, 0, 0).label, "positive"));
    limbeck_result_free(result);
    free(text);

    /* What fits exactly is never an error. */
    text = repeat("good", 62);
    options = call_options();
    options.overflow = LIMBECK_OVERFLOW_ERROR;
    result = classify(text, strlen(text), &options);
    CHECK(usage_of(result, 0).tokens_used == 64 && usage_of(result, 0).tokens_dropped == 0);
    limbeck_result_free(result);
    free(text);
}

int main(int argc, char **argv) {
    limbeck_model *opened;
    CHECK(argc >= 3);
    opened = open_model(argv, 1);
    model = opened;
    invalid_utf8();
    unusual();
    /* 5 bytes a word: 209715 words are 1 MiB. */
    too_long(argc > 3 ? 2000 : 209715);
    limbeck_model_free(opened);
    return done();
}
