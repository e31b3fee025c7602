/* Log messages: whole, to the function set last, and never after it was replaced. */

#include "check.h"

#include <pthread.h>

struct sink {
    pthread_mutex_t lock;
    int messages, provider, closed;
};

static void take(void *data, uint32_t level, limbeck_str line) {
    struct sink *sink = (struct sink *)data;
    CHECK(level <= LIMBECK_LOG_FATAL);
    /* The logger cannot be changed from in here: that would wait for itself. */
    FAILS(LIMBECK_INVALID_ARGUMENT, "inside a log function", limbeck_set_logger(0, NULL, NULL, &error));
    pthread_mutex_lock(&sink->lock);
    CHECK(!sink->closed);
    sink->messages++;
    if (holds(line, "xnnpack")) sink->provider++;
    pthread_mutex_unlock(&sink->lock);
}

static void *open_some(void *argument) {
    char **argv = (char **)argument;
    int i;
    for (i = 0; i < 5; i++) limbeck_model_free(open_model(argv, 1));
    return NULL;
}

int main(int argc, char **argv) {
    struct sink sinks[2];
    limbeck_model_options options;
    limbeck_model *model = NULL;
    limbeck_str providers[2];
    limbeck_env *env;
    pthread_t thread;
    int i;
    CHECK(argc >= 3);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_mutex_init(&sinks[i].lock, NULL) == 0);
        sinks[i].messages = sinks[i].provider = sinks[i].closed = 0;
    }
    OK(limbeck_set_logger(LIMBECK_LOG_WARNING, take, &sinks[0], &error));
    env = open_env(argv[2]);

    /* A provider that is not to be had is told, and is no error. */
    limbeck_model_options_init(&options, sizeof options);
    providers[0] = str("XNNPACK");
    providers[1] = str("cpu");
    options.providers = providers;
    options.provider_count = 2;
    OK(limbeck_model_open(env, argv[1], strlen(argv[1]), &options, &model, &error));
    CHECK(sinks[0].provider == 1);
    CHECK(holds(limbeck_model_providers_json(model), "\"requested\":[\"xnnpack\",\"cpu\"]"));
    CHECK(holds(limbeck_model_providers_json(model), "\"refused\":[{\"provider\":\"xnnpack\",\"reason\":"));
    CHECK(limbeck_model_providers_json(NULL).length == 0);
    limbeck_model_free(model);
    providers[0] = str("gpu");
    FAILS(LIMBECK_INVALID_ARGUMENT, "cuda", limbeck_model_open(env, argv[1], strlen(argv[1]), &options, &model, &error));

    /* Replaced while another thread makes it busy. */
    OK(limbeck_set_logger(LIMBECK_LOG_VERBOSE, take, &sinks[0], &error));
    CHECK(pthread_create(&thread, NULL, open_some, argv) == 0);
    OK(limbeck_set_logger(LIMBECK_LOG_VERBOSE, take, &sinks[1], &error));
    pthread_mutex_lock(&sinks[0].lock);
    sinks[0].closed = 1;
    pthread_mutex_unlock(&sinks[0].lock);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(sinks[1].messages > 0);
    OK(limbeck_set_logger(LIMBECK_LOG_VERBOSE, NULL, NULL, &error));
    sinks[1].closed = 1;
    open_some(argv);
    FAILS(LIMBECK_INVALID_ARGUMENT, "lowest is 5", limbeck_set_logger(5, take, NULL, &error));
    limbeck_env_free(env);
    return done();
}
