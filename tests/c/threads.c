/* Eight threads on one model, with fewer sessions than threads. */

#include "check.h"

#include <pthread.h>

#define THREADS 8

struct job {
    const limbeck_model *model;
    int positive;
    int rounds;
};

static void *work(void *argument) {
    const struct job *w = (const struct job *)argument;
    const char *text = w->positive ? "the film . good" : "the film . bad";
    int i;
    for (i = 0; i < w->rounds; i++) {
        limbeck_result *result = NULL;
        limbeck_str texts[2];
        if (i % 2) {
            texts[0] = str(text);
            texts[1] = str("good");
            OK(limbeck_model_classify_batch(w->model, texts, 2, NULL, &result, &error));
            CHECK(is(score_of(result, 1, 0).label, "positive"));
        } else {
            OK(limbeck_model_classify(w->model, text, strlen(text), NULL, &result, &error));
        }
        CHECK(is(score_of(result, 0, 0).label, w->positive ? "positive" : "negative"));
        limbeck_result_free(result);
        /* Errors are of the call, not of the thread or the process. */
        FAILS(LIMBECK_INVALID_UTF8, "offset 1", limbeck_model_classify(w->model, "x\xFF", 2, NULL, &result, &error));
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    struct job work_of[THREADS];
    limbeck_model *model;
    uint32_t sessions;
    int i;
    CHECK(argc >= 3);
    for (sessions = 1; sessions <= 3; sessions++) {
        model = open_model(argv, sessions);
        for (i = 0; i < THREADS; i++) {
            work_of[i].model = model;
            work_of[i].positive = i % 2;
            work_of[i].rounds = argc > 3 ? 4 : 200;
            CHECK(pthread_create(&threads[i], NULL, work, &work_of[i]) == 0);
        }
        for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        limbeck_model_free(model);
    }
    return done();
}
