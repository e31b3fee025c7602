#include "task.h"

#include <stdlib.h>
#include <string.h>

static const char WORDS[] = "the battery of this phone lasts two days and the screen is sharp but the sound could be "
                            "better when you watch a film on the train with your friends in the evening";
static const char QUESTION[] = "who wrote it ?";

enum shape { ONE, TWO, UNKNOWN };

static enum shape shape_of(const char *task) {
    static const char *const one[] = {"text-classification", "token-classification", "sentence-embedding", "fill-mask",
                                      "replaced"};
    static const char *const two[] = {"pair-classification", "question-answering", "order"};
    size_t i;
    for (i = 0; i < sizeof one / sizeof *one; i++)
        if (strcmp(task, one[i]) == 0) return ONE;
    for (i = 0; i < sizeof two / sizeof *two; i++)
        if (strcmp(task, two[i]) == 0) return TWO;
    return UNKNOWN;
}

int task_known(const char *task) { return shape_of(task) != UNKNOWN; }

static limbeck_str view(const char *text) {
    limbeck_str made;
    made.data = text;
    made.length = text ? strlen(text) : 0;
    return made;
}

/* `start`, then `count` words of a list, again and again, then `dots` full stops; free it. */
static char *text_of(limbeck_str start, const char *words, size_t count, size_t dots) {
    size_t size = start.length + 2 + 2 * dots + 1, length = 0, i;
    const char *at = words;
    char *text = (char *)malloc(size + count * (strlen(words) + 1));
    if (!text) abort();
    if (start.length) memcpy(text, start.data, start.length);
    length = start.length;
    for (i = 0; i < count; i++) {
        size_t word;
        at += strspn(at, " ");
        if (!*at) at = words + strspn(words, " ");
        word = strcspn(at, " ");
        if (length) text[length++] = ' ';
        memcpy(text + length, at, word);
        length += word;
        at += word;
    }
    for (i = 0; i < dots; i++) {
        text[length++] = ' ';
        text[length++] = '.';
    }
    text[length] = '\0';
    return text;
}

struct counter {
    const limbeck_model *model;
    size_t others; /* tokens beside this text */
    limbeck_status status;
    limbeck_error **error;
};

static size_t tokens(struct counter *counter, const char *text) {
    size_t count = 0;
    if (counter->status == LIMBECK_OK)
        counter->status = limbeck_model_count_tokens(counter->model, text, strlen(text), &count, counter->error);
    return count + counter->others;
}

/* The longest text of at most `length` tokens: whole words, then full stops. */
static char *fill(struct counter *counter, limbeck_str start, const char *words, size_t length) {
    size_t low = 0, high = length + 1, dots = 0;
    char *text;
    /* Every word has a token at least. */
    while (high - low > 1 && counter->status == LIMBECK_OK) {
        size_t middle = low + (high - low) / 2;
        text = text_of(start, words, middle, 0);
        if (tokens(counter, text) <= length)
            low = middle;
        else
            high = middle;
        free(text);
    }
    text = text_of(start, words, low, 0);
    while (counter->status == LIMBECK_OK && dots < 16) {
        char *longer = text_of(start, words, low, dots + 1);
        if (tokens(counter, longer) > length) {
            free(longer);
            break;
        }
        free(text);
        text = longer;
        dots++;
    }
    return text;
}

limbeck_status texts_make(const limbeck_model *model, const char *task, const char *words, size_t length, size_t batch,
                          struct texts *texts, limbeck_error **error) {
    struct counter counter;
    size_t i;
    memset(texts, 0, sizeof *texts);
    counter.model = model;
    counter.others = 0;
    counter.status = LIMBECK_OK;
    counter.error = error;
    texts->task = task;
    texts->batch = batch;
    if (!words || words[strspn(words, " ")] == '\0') words = WORDS;
    texts->texts = (limbeck_str *)calloc(batch, sizeof *texts->texts);
    texts->pairs = (limbeck_pair *)calloc(batch, sizeof *texts->pairs);
    if (!texts->texts || !texts->pairs) abort();
    if (shape_of(task) == TWO) {
        /* What a pair has beside its second text is seen from one. */
        limbeck_result *result = NULL;
        limbeck_usage usage;
        size_t single = 0;
        texts->first = text_of(view(QUESTION), "", 0, 0);
        texts->pairs[0].first = view(texts->first);
        texts->pairs[0].second = view(".");
        texts->batch = 1;
        limbeck_usage_init(&usage, sizeof usage);
        counter.status = task_call(model, texts, NULL, &result, error);
        if (counter.status == LIMBECK_OK) counter.status = limbeck_result_usage(result, 0, &usage, error);
        limbeck_result_free(result);
        single = tokens(&counter, ".");
        counter.others = usage.tokens_used > single ? usage.tokens_used - single : 0;
        texts->batch = batch;
    }
    texts->second = fill(&counter, limbeck_model_mask_token(model), words, length);
    for (i = 0; i < batch; i++) {
        texts->texts[i] = view(texts->second);
        texts->pairs[i].first = view(texts->first);
        texts->pairs[i].second = view(texts->second);
    }
    texts->vector_floats = batch * limbeck_model_embedding_size(model);
    texts->vectors = (float *)calloc(texts->vector_floats + 1, sizeof *texts->vectors);
    if (!texts->vectors) abort();
    return counter.status;
}

void texts_free(struct texts *texts) {
    free(texts->texts);
    free(texts->pairs);
    free(texts->first);
    free(texts->second);
    free(texts->vectors);
    memset(texts, 0, sizeof *texts);
}

limbeck_status task_call(const limbeck_model *model, const struct texts *texts, const limbeck_call_options *options,
                         limbeck_result **result, limbeck_error **error) {
    if (strcmp(texts->task, "pair-classification") == 0)
        return limbeck_model_classify_pairs(model, texts->pairs, texts->batch, options, result, error);
    if (strcmp(texts->task, "question-answering") == 0)
        return limbeck_model_answer_batch(model, texts->pairs, texts->batch, options, result, error);
    if (strcmp(texts->task, "token-classification") == 0)
        return limbeck_model_tag_batch(model, texts->texts, texts->batch, options, result, error);
    if (strcmp(texts->task, "fill-mask") == 0)
        return limbeck_model_fill_mask_batch(model, texts->texts, texts->batch, options, result, error);
    if (strcmp(texts->task, "order") == 0)
        return limbeck_model_order_batch(model, texts->pairs, texts->batch, options, result, error);
    if (strcmp(texts->task, "replaced") == 0)
        return limbeck_model_replaced_batch(model, texts->texts, texts->batch, options, result, error);
    if (strcmp(texts->task, "sentence-embedding") == 0)
        return limbeck_model_embed_batch(model, texts->texts, texts->batch, options, texts->vectors,
                                         texts->vector_floats, result, error);
    return limbeck_model_classify_batch(model, texts->texts, texts->batch, options, result, error);
}
