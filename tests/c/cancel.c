/* Calls ended early: before they start, from another thread, at a deadline. */

#include "check.h"

#include <pthread.h>
#include <time.h>

static void pause_ms(long ms) {
    struct timespec time;
    time.tv_sec = ms / 1000;
    time.tv_nsec = (ms % 1000) * 1000000;
    nanosleep(&time, NULL);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *trigger_soon(void *cancel) {
    pause_ms(30);
    limbeck_cancel_trigger((const limbeck_cancel *)cancel);
    return NULL;
}

int main(int argc, char **argv) {
    limbeck_model *model;
    limbeck_cancel *cancel = NULL;
    limbeck_call_options options;
    limbeck_result *result = NULL;
    limbeck_str *texts;
    pthread_t thread;
    char *text;
    size_t i, count = 64;
    double start, full;
    CHECK(argc >= 3);
    model = open_model(argv, 1);

    /* A call that takes long: many texts, read in many windows each. */
    text = repeat("good", 200000);
    texts = (limbeck_str *)malloc(count * sizeof *texts);
    CHECK(texts != NULL);
    for (i = 0; i < count; i++) texts[i] = str(text);
    limbeck_call_options_init(&options, sizeof options);
    options.overflow = LIMBECK_OVERFLOW_WINDOW;
    options.window_stride = 32;

    /* How long the sixteenth part of it takes, to know that what follows was
     * ended and did not just finish. */
    full = 0;
    if (argc == 3) {
        start = now();
        OK(limbeck_model_classify_batch(model, texts, count / 16, &options, &result, &error));
        full = 16 * (now() - start);
        limbeck_result_free(result);
        result = NULL;
    }

    /* Triggered before the call. */
    OK(limbeck_cancel_new(&cancel, &error));
    CHECK(!limbeck_cancel_is_triggered(cancel));
    limbeck_cancel_trigger(cancel);
    limbeck_cancel_trigger(cancel);
    CHECK(limbeck_cancel_is_triggered(cancel));
    options.cancel = cancel;
    FAILS(LIMBECK_CANCELLED, "cancelled", limbeck_model_classify(model, "good", 4, &options, &result, &error));
    CHECK(result == NULL);
    limbeck_cancel_free(cancel);

    /* Triggered by another thread while the call runs. */
    OK(limbeck_cancel_new(&cancel, &error));
    options.cancel = cancel;
    CHECK(pthread_create(&thread, NULL, trigger_soon, cancel) == 0);
    start = now();
    FAILS(LIMBECK_CANCELLED, "cancelled", limbeck_model_classify_batch(model, texts, count, &options, &result, &error));
    if (full > 0) CHECK(now() - start < full / 2);
    CHECK(result == NULL);
    CHECK(pthread_join(thread, NULL) == 0);
    limbeck_cancel_free(cancel);
    options.cancel = NULL;

    /* A deadline. */
    options.deadline_ms = 30;
    start = now();
    FAILS(LIMBECK_DEADLINE_EXCEEDED, "deadline",
          limbeck_model_classify_batch(model, texts, count, &options, &result, &error));
    if (full > 0) CHECK(now() - start < full / 2);
    CHECK(result == NULL);

    /* One far away, even beyond what a clock can hold, changes nothing. */
    options.deadline_ms = UINT64_MAX;
    OK(limbeck_model_classify(model, "good", 4, &options, &result, &error));
    limbeck_result_free(result);
    options.deadline_ms = 60 * 60 * 1000;
    OK(limbeck_model_classify(model, "good", 4, &options, &result, &error));
    limbeck_result_free(result);

    /* The model is as good as before. */
    OK(limbeck_model_classify(model, "bad", 3, NULL, &result, &error));
    CHECK(is(score_of(result, 0, 0).label, "negative"));
    limbeck_result_free(result);

    free(texts);
    free(text);
    limbeck_model_free(model);
    return done();
}
