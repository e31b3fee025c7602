/* Text that is written token by token, and how likely text is. The model writes what it has
 * learned: a, b, four bytes of an emoji, a full stop, and a again; a line end ends a text. */

#include "check.h"

#define EMOJI "\xF0\x9F\x99\x82"

struct pieces {
    char text[400];
    size_t calls, length, limit;
};

static bool take(void *data, uint32_t id, limbeck_str text) {
    struct pieces *pieces = (struct pieces *)data;
    CHECK(id <= 256 && pieces->length + text.length < sizeof pieces->text);
    /* Whole characters only. */
    CHECK(text.length != 1 || (unsigned char)text.data[0] < 0x80);
    memcpy(pieces->text + pieces->length, text.data, text.length);
    pieces->length += text.length;
    pieces->calls++;
    return pieces->calls < pieces->limit;
}

static limbeck_generate_options generate_options(size_t tokens) {
    limbeck_generate_options options;
    limbeck_generate_options_init(&options, sizeof options);
    options.max_new_tokens = tokens;
    return options;
}

static limbeck_generation generation_of(const limbeck_result *result, size_t text) {
    limbeck_generation generation;
    limbeck_generation_init(&generation, sizeof generation);
    OK(limbeck_result_generation(result, text, &generation, &error));
    return generation;
}

static void writes(const limbeck_model *model) {
    limbeck_generate_options options = generate_options(9);
    limbeck_generation found;
    limbeck_result *result = NULL;
    limbeck_cancel *cancel = NULL;
    limbeck_usage usage;
    limbeck_str texts[2];
    struct pieces pieces;

    OK(limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    found = generation_of(result, 0);
    CHECK(is(found.text, "b" EMOJI ".ab\xEF\xBF\xBD") && found.finish == LIMBECK_FINISH_LENGTH);
    CHECK(found.generated_tokens == 9 && found.ids[0] == 'b');
    CHECK(found.prompt_tokens == 1 && found.tokens_dropped == 0 && found.reserved == 0);
    CHECK(items_of(result, 0) == 9 && limbeck_result_count(result) == 1);
    CHECK(holds(limbeck_result_json(result), "\"finish\":\"length\""));
    limbeck_usage_init(&usage, sizeof usage);
    FAILS(LIMBECK_INVALID_ARGUMENT, "limbeck_result_generation", limbeck_result_usage(result, 0, &usage, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "text is 1", limbeck_result_generation(result, 1, &found, &error));
    limbeck_result_free(result);

    /* Half a character is never shown, and the function may end the text. */
    memset(&pieces, 0, sizeof pieces);
    pieces.limit = 100;
    options.max_new_tokens = 21;
    OK(limbeck_model_generate(model, "a", 1, &options, take, &pieces, &result, &error));
    found = generation_of(result, 0);
    CHECK(pieces.calls == 21 && is(found.text, "b" EMOJI ".ab" EMOJI ".ab" EMOJI ".a"));
    CHECK(found.text.length == pieces.length && memcmp(found.text.data, pieces.text, pieces.length) == 0);
    limbeck_result_free(result);
    memset(&pieces, 0, sizeof pieces);
    pieces.limit = 3;
    OK(limbeck_model_generate(model, "a", 1, &options, take, &pieces, &result, &error));
    found = generation_of(result, 0);
    CHECK(pieces.calls == 3 && found.finish == LIMBECK_FINISH_UNFINISHED && is(found.text, "b"));
    limbeck_result_free(result);

    /* A stop string, the end of text, and two prompts together. */
    texts[0] = str(".a");
    options.stops = texts;
    options.stop_count = 1;
    OK(limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    found = generation_of(result, 0);
    CHECK(found.finish == LIMBECK_FINISH_STOP && is(found.text, "b" EMOJI));
    limbeck_result_free(result);
    options = generate_options(5);
    texts[0] = str("wait a");
    texts[1] = str("end\n");
    OK(limbeck_model_generate_batch(model, texts, 2, &options, &result, &error));
    CHECK(is(generation_of(result, 0).text, "b" EMOJI));
    found = generation_of(result, 1);
    CHECK(found.finish == LIMBECK_FINISH_END_OF_TEXT && found.text.length == 0 && found.generated_tokens == 1);
    CHECK(found.ids[0] == 256);
    limbeck_result_free(result);

    /* The same seed draws the same text. */
    options = generate_options(40);
    options.temperature = 5;
    options.top_k = 100;
    options.seed = 7;
    options.ignore_eos = 1;
    OK(limbeck_model_generate(model, "", 0, &options, NULL, NULL, &result, &error));
    memset(&pieces, 0, sizeof pieces);
    pieces.limit = 100;
    found = generation_of(result, 0);
    {
        limbeck_result *again = NULL;
        OK(limbeck_model_generate(model, "", 0, &options, take, &pieces, &again, &error));
        CHECK(generation_of(again, 0).generated_tokens == 40);
        CHECK(memcmp(generation_of(again, 0).ids, found.ids, 40 * sizeof *found.ids) == 0);
        limbeck_result_free(again);
    }
    limbeck_result_free(result);

    /* The context holds 64 tokens. */
    options = generate_options(64);
    FAILS(LIMBECK_TOO_LONG, "64", limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    CHECK(result == NULL);
    options.max_new_tokens = 100;
    options.context = LIMBECK_CONTEXT_STOP;
    OK(limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    CHECK(generation_of(result, 0).finish == LIMBECK_FINISH_CONTEXT);
    CHECK(generation_of(result, 0).generated_tokens == 64);
    limbeck_result_free(result);
    options.context = LIMBECK_CONTEXT_SLIDE;
    options.context_keep = 10;
    OK(limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    CHECK(generation_of(result, 0).generated_tokens == 100 && generation_of(result, 0).tokens_dropped == 55);
    limbeck_result_free(result);

    options = generate_options(5);
    options.context_keep = 1;
    FAILS(LIMBECK_INVALID_ARGUMENT, "context_keep",
          limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    options = generate_options(5);
    options.context = 3;
    FAILS(LIMBECK_INVALID_ARGUMENT, "context is 3",
          limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    options = generate_options(5);
    options.top_p = 2;
    FAILS(LIMBECK_INVALID_ARGUMENT, "top_p",
          limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    options = generate_options(5);
    options.ignore_eos = 2;
    FAILS(LIMBECK_INVALID_ARGUMENT, "ignore_eos",
          limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    FAILS(LIMBECK_INVALID_UTF8, "prompt", limbeck_model_generate(model, "\xFF", 1, NULL, NULL, NULL, &result, &error));
    OK(limbeck_cancel_new(&cancel, &error));
    limbeck_cancel_trigger(cancel);
    options = generate_options(5);
    options.cancel = cancel;
    FAILS(LIMBECK_CANCELLED, "cancelled",
          limbeck_model_generate(model, "a", 1, &options, NULL, NULL, &result, &error));
    limbeck_cancel_free(cancel);
}

static limbeck_choice choice_of(const limbeck_result *result, size_t rank) {
    limbeck_choice choice;
    limbeck_choice_init(&choice, sizeof choice);
    OK(limbeck_result_choice(result, rank, &choice, &error));
    return choice;
}

static void chooses(const limbeck_model *model) {
    limbeck_prompt prompt;
    limbeck_choose_options options;
    limbeck_prompt_usage usage;
    limbeck_perplexity_options how;
    limbeck_perplexity perplexity;
    limbeck_choice choice;
    limbeck_result *result = NULL;
    limbeck_pair example;
    limbeck_str completions[3], answer = str("b");
    limbeck_prompt_init(&prompt, sizeof prompt);
    limbeck_choose_options_init(&options, sizeof options);
    limbeck_prompt_usage_init(&usage, sizeof usage);
    example.first = str("Q: a\nA:");
    example.second = str(" b");
    prompt.examples = &example;
    prompt.example_count = 1;
    prompt.query = str("Q: a");
    completions[0] = str("x");
    completions[1] = str("b");
    completions[2] = str("bb");

    OK(limbeck_model_choose(model, &prompt, completions, 3, &options, &result, &error));
    CHECK(items_of(result, 0) == 3);
    choice = choice_of(result, 0);
    CHECK(is(choice.text, "b") && choice.index == 1 && choice.tokens == 1 && choice.bytes == 1);
    CHECK(choice.probability > 0.9 && choice.score == choice.log_probability);
    CHECK(is(choice_of(result, 1).text, "bb") && is(choice_of(result, 2).text, "x"));
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.examples == 1 && usage.examples_dropped == 0 && usage.cached_tokens == 0);
    CHECK(usage.prompt_tokens == strlen("Q: a\nA: b\n\nQ: a"));
    FAILS(LIMBECK_INVALID_ARGUMENT, "rank is 3", limbeck_result_choice(result, 3, &choice, &error));
    limbeck_result_free(result);
    OK(limbeck_model_choose(model, &prompt, completions, 3, &options, &result, &error));
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.cached_tokens == strlen("Q: a\nA: b\n\n"));
    limbeck_result_free(result);

    /* After "c" all tokens are as likely. */
    options.scoring = LIMBECK_SCORING_ANSWER_CONTEXT;
    options.answer_context = str("c");
    OK(limbeck_model_choose(model, &prompt, completions, 2, &options, &result, &error));
    choice = choice_of(result, 0);
    /* e^5 / (e^5 + 256) against 1/257. */
    CHECK(choice.index == 1 && choice.score > 4 && choice.score < 5);
    limbeck_result_free(result);
    options.scoring = LIMBECK_SCORING_SUM;
    FAILS(LIMBECK_INVALID_ARGUMENT, "answer_context",
          limbeck_model_choose(model, &prompt, completions, 2, &options, &result, &error));
    options.answer_context = str("");
    /* Calibrated by the same query nothing is left. */
    options.content_free = &prompt.query;
    options.content_free_count = 1;
    OK(limbeck_model_choose(model, &prompt, completions, 3, &options, &result, &error));
    CHECK(near(choice_of(result, 0).probability, 1.0 / 3) && near(choice_of(result, 2).probability, 1.0 / 3));
    limbeck_result_free(result);
    limbeck_choose_options_init(&options, sizeof options);

    limbeck_choice_init(&choice, sizeof choice);
    OK(limbeck_model_score(model, &prompt, answer.data, answer.length, NULL, &choice, &error));
    CHECK(choice.tokens == 1 && choice.log_probability < 0 && choice.score == choice.log_probability);
    /* Of 257 tokens one has e^5 and the others e^0. */
    CHECK(near(choice.log_probability, -1.0024370));
    OK(limbeck_model_score(model, &prompt, "x", 1, NULL, &choice, &error));
    CHECK(near(choice.log_probability, -6.0024370));
    options.scoring = LIMBECK_SCORING_SUM;
    FAILS(LIMBECK_INVALID_ARGUMENT, "scoring", limbeck_model_score(model, &prompt, "x", 1, &options, &choice, &error));
    FAILS(LIMBECK_NULL_POINTER, "prompt", limbeck_model_score(model, NULL, "x", 1, NULL, &choice, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "no tokens", limbeck_model_score(model, &prompt, "", 0, NULL, &choice, &error));
    prompt.all_examples = 1;
    prompt.max_tokens = 8;
    FAILS(LIMBECK_TOO_LONG, "8", limbeck_model_score(model, &prompt, "x", 1, NULL, &choice, &error));
    prompt.all_examples = 0;
    OK(limbeck_model_choose(model, &prompt, completions, 3, NULL, &result, &error));
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.examples == 0 && usage.examples_dropped == 1 && usage.prompt_tokens == 4);
    limbeck_result_free(result);

    limbeck_perplexity_init(&perplexity, sizeof perplexity);
    limbeck_perplexity_options_init(&how, sizeof how);
    OK(limbeck_model_perplexity(model, "ab" EMOJI ".a", 8, NULL, &perplexity, &error));
    CHECK(perplexity.tokens == 7 && perplexity.bytes == 7 && perplexity.windows == 1);
    /* The inverse of e^5 / (e^5 + 256). */
    CHECK(near(perplexity.perplexity / 2.7249144, 1) && near(perplexity.bits_per_byte, 1.4462109));
    how.from_start = 1;
    OK(limbeck_model_perplexity(model, "ab" EMOJI ".a", 8, &how, &perplexity, &error));
    CHECK(perplexity.tokens == 8 && near(perplexity.perplexity / 2.7249144, 1));
    how.stride = 64;
    FAILS(LIMBECK_INVALID_ARGUMENT, "stride", limbeck_model_perplexity(model, "ab", 2, &how, &perplexity, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "too few", limbeck_model_perplexity(model, "a", 1, NULL, &perplexity, &error));
}

/* As from a text, and the result says what was read of the prompt. */
static void writes_on(const limbeck_model *model) {
    limbeck_generate_options options = generate_options(5);
    limbeck_prompt prompt;
    limbeck_prompt_usage usage;
    limbeck_pair example;
    limbeck_str texts[2];
    limbeck_result *result = NULL;
    limbeck_cancel *cancel = NULL;
    struct pieces pieces;
    limbeck_prompt_init(&prompt, sizeof prompt);
    limbeck_prompt_usage_init(&usage, sizeof usage);
    example.first = str("Q: c\nA:");
    example.second = str(" d");
    prompt.examples = &example;
    prompt.example_count = 1;
    prompt.query = str("Q: a");
    prompt.separator = str("\n");

    memset(&pieces, 0, sizeof pieces);
    pieces.limit = 100;
    OK(limbeck_model_generate_prompt(model, &prompt, &options, take, &pieces, &result, &error));
    CHECK(is(generation_of(result, 0).text, "b" EMOJI) && generation_of(result, 0).finish == LIMBECK_FINISH_LENGTH);
    CHECK(pieces.calls == 5 && memcmp(pieces.text, "b" EMOJI, 5) == 0);
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.examples == 1 && usage.examples_dropped == 0 && usage.cached_tokens == 0);
    CHECK(usage.prompt_tokens == strlen("Q: c\nA: d\nQ: a"));
    CHECK(holds(limbeck_result_json(result), "\"examples\":1"));
    limbeck_result_free(result);
    /* NULL stands for two line ends, and an empty separator for none. */
    prompt.separator.data = NULL;
    prompt.separator.length = 0;
    OK(limbeck_model_generate_prompt(model, &prompt, &options, NULL, NULL, &result, &error));
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.prompt_tokens == strlen("Q: c\nA: d\n\nQ: a"));
    limbeck_result_free(result);
    prompt.separator.data = "";
    OK(limbeck_model_generate_prompt(model, &prompt, &options, NULL, NULL, &result, &error));
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.prompt_tokens == strlen("Q: c\nA: dQ: a"));
    limbeck_result_free(result);
    result = NULL;
    prompt.separator.data = NULL;
    prompt.separator.length = 1;
    FAILS(LIMBECK_NULL_POINTER, "prompt->separator",
          limbeck_model_generate_prompt(model, &prompt, &options, NULL, NULL, &result, &error));
    prompt.separator = str("\n");
    /* What stands before the query was read already. */
    memset(&pieces, 0, sizeof pieces);
    pieces.limit = 2;
    OK(limbeck_model_generate_prompt(model, &prompt, &options, take, &pieces, &result, &error));
    CHECK(pieces.calls == 2 && generation_of(result, 0).finish == LIMBECK_FINISH_UNFINISHED);
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.cached_tokens == strlen("Q: c\nA: d\n"));
    limbeck_result_free(result);

    /* The example leaves no room for 55 tokens in a context of 64. */
    options.max_new_tokens = 55;
    OK(limbeck_model_generate_prompt(model, &prompt, &options, NULL, NULL, &result, &error));
    OK(limbeck_result_prompt_usage(result, &usage, &error));
    CHECK(usage.examples == 0 && usage.examples_dropped == 1 && usage.prompt_tokens == 4);
    limbeck_result_free(result);
    result = NULL;
    prompt.all_examples = 1;
    FAILS(LIMBECK_TOO_LONG, "9",
          limbeck_model_generate_prompt(model, &prompt, &options, NULL, NULL, &result, &error));
    prompt.all_examples = 2;
    FAILS(LIMBECK_INVALID_ARGUMENT, "all_examples",
          limbeck_model_generate_prompt(model, &prompt, NULL, NULL, NULL, &result, &error));
    prompt.all_examples = 0;
    prompt.query = str("\xFF");
    FAILS(LIMBECK_INVALID_UTF8, "prompt->query",
          limbeck_model_generate_prompt(model, &prompt, NULL, NULL, NULL, &result, &error));
    prompt.query = str("Q: a");
    options.top_p = 2;
    FAILS(LIMBECK_INVALID_ARGUMENT, "top_p",
          limbeck_model_generate_prompt(model, &prompt, &options, NULL, NULL, &result, &error));
    FAILS(LIMBECK_NULL_POINTER, "prompt",
          limbeck_model_generate_prompt(model, NULL, NULL, NULL, NULL, &result, &error));
    FAILS(LIMBECK_NULL_POINTER, "out", limbeck_model_generate_prompt(model, &prompt, NULL, NULL, NULL, NULL, &error));
    OK(limbeck_cancel_new(&cancel, &error));
    limbeck_cancel_trigger(cancel);
    options = generate_options(5);
    options.cancel = cancel;
    FAILS(LIMBECK_CANCELLED, "cancelled",
          limbeck_model_generate_prompt(model, &prompt, &options, NULL, NULL, &result, &error));
    limbeck_cancel_free(cancel);
    CHECK(result == NULL);

    options = generate_options(2);
    texts[0] = texts[1] = str("a");
    OK(limbeck_model_generate_batch(model, texts, 2, &options, &result, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "one prompt", limbeck_result_prompt_usage(result, &usage, &error));
    limbeck_result_free(result);
}

int main(int argc, char **argv) {
    limbeck_result *result = NULL;
    limbeck_perplexity perplexity;
    limbeck_model *model;
    CHECK(argc >= 3);
    model = open_beside(argv, "writer.limbeck");
    writes(model);
    chooses(model);
    writes_on(model);
    limbeck_model_free(model);

    model = open_model(argv, 0);
    limbeck_perplexity_init(&perplexity, sizeof perplexity);
    FAILS(LIMBECK_WRONG_TASK, "generation", limbeck_model_generate(model, "a", 1, NULL, NULL, NULL, &result, &error));
    FAILS(LIMBECK_WRONG_TASK, "generation", limbeck_model_perplexity(model, "ab", 2, NULL, &perplexity, &error));
    limbeck_model_free(model);
    return done();
}
