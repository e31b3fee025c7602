/* limbeck-bench: measures a bundle on the device itself, through the C API. See
 * docs/limbeck-bench.md. */

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Set by Ctrl-C. */
static volatile int stop;

/* Waits for Ctrl-C, ends the call that runs, and lets the program report. It is a thread
 * and not a handler, because a handler may not call the library. */
static void *wait_for_interrupt(void *cancel) {
    sigset_t signals;
    int signal;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigwait(&signals, &signal);
    stop = 1;
    limbeck_cancel_trigger((const limbeck_cancel *)cancel);
    return NULL;
}

static void watch(limbeck_cancel *cancel) {
    pthread_t thread;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    /* Inherited by every thread, so that only the one that waits gets them. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (pthread_create(&thread, NULL, wait_for_interrupt, cancel) == 0) pthread_detach(thread);
}

static double ms_since(uint64_t start) { return (double)(measure_now() - start) / 1e6; }

static limbeck_status open_env(const struct options *options, limbeck_env **env, limbeck_error **error) {
    limbeck_env_options env_options;
    limbeck_env_options_init(&env_options, sizeof env_options);
    if (options->runtime) {
        env_options.runtime_path.data = options->runtime;
        env_options.runtime_path.length = strlen(options->runtime);
    }
    return limbeck_env_new(&env_options, env, error);
}

/* All lengths and batches on a model of so many threads. */
static limbeck_status measure_model(struct report *report, const limbeck_model *model, const char *task,
                                    const limbeck_cancel *cancel, limbeck_error **error) {
    const struct options *options = report->options;
    struct opened *opened = &report->models[report->model_count - 1];
    size_t most = limbeck_bundle_max_tokens(report->bundle), b, l;
    limbeck_status status = LIMBECK_OK;
    int called = 0;
    for (b = 0; b < options->batch_count && !stop; b++)
        for (l = 0; l < options->length_count && !stop; l++) {
            struct row *row = &report->rows[report->row_count];
            struct texts texts;
            if (options->lengths[l] > most) continue;
            memset(row, 0, sizeof *row);
            row->threads = opened->threads;
            row->batch = options->batches[b];
            row->length = options->lengths[l];
            status = texts_make(model, task, options->text, row->length, row->batch, &texts, error);
            if (status == LIMBECK_OK && !called) {
                /* The very first call of this model, but for tokenizing. Of a task of two texts
                 * the one that found out how long a pair is has come before. */
                limbeck_result *result = NULL;
                uint64_t start = measure_now();
                status = task_call(model, &texts, NULL, &result, error);
                opened->first_call_ms = ms_since(start);
                limbeck_result_free(result);
                called = 1;
            }
            if (status == LIMBECK_OK) status = measure_row(model, &texts, options, cancel, &stop, row, error);
            texts_free(&texts);
            if (row->stats.count)
                report->row_count++;
            else
                free(row->times);
            if (status != LIMBECK_OK) return status;
        }
    return status;
}

static limbeck_status measure_all(struct report *report, limbeck_env **env, limbeck_bundle **bundle,
                                  const limbeck_cancel *cancel, limbeck_error **error) {
    const struct options *options = report->options;
    const char *root = options->sysfs_root;
    uint64_t start;
    limbeck_status status;
    limbeck_str name;
    char task[64];
    size_t i;
    device_memory(root, &report->at_start);
    start = measure_now();
    status = open_env(options, env, error);
    if (status != LIMBECK_OK) return status;
    report->load_runtime_ms = ms_since(start);
    device_memory(root, &report->with_runtime);
    start = measure_now();
    status = limbeck_bundle_open(options->bundle, strlen(options->bundle), NULL, bundle, error);
    if (status != LIMBECK_OK) return status;
    report->open_bundle_ms = ms_since(start);
    report->env = *env;
    report->bundle = *bundle;
    device_memory(root, &report->with_bundle);
    name = limbeck_bundle_task(*bundle);
    snprintf(task, sizeof task, "%.*s", (int)name.length, name.data);
    if (!task_known(task)) {
        const char *instead = strcmp(task, "generation") == 0 ? "; `limbeck bench` times text that is written" : "";
        fprintf(stderr, "limbeck-bench: the task `%s` is not one that this program can run%s\n", task, instead);
        return LIMBECK_WRONG_TASK;
    }
    for (i = 0; i < options->length_count; i++)
        if (options->lengths[i] > limbeck_bundle_max_tokens(*bundle))
            report->skipped[report->skipped_count++] = options->lengths[i];
    if (report->skipped_count == options->length_count) {
        fprintf(stderr, "limbeck-bench: the model takes %lu tokens: give shorter --lengths\n",
                (unsigned long)limbeck_bundle_max_tokens(*bundle));
        return LIMBECK_TOO_LONG;
    }
    for (i = 0; i < options->thread_count && !stop; i++) {
        limbeck_model_options model_options;
        limbeck_model *model = NULL;
        struct opened *opened = &report->models[report->model_count++];
        limbeck_model_options_init(&model_options, sizeof model_options);
        model_options.threads = (uint32_t)options->threads[i];
        opened->threads = options->threads[i];
        start = measure_now();
        status = limbeck_model_open_bundle(*env, *bundle, &model_options, &model, error);
        opened->open_ms = ms_since(start);
        if (status != LIMBECK_OK) return status;
        if (i == 0) device_memory(root, &report->with_model);
        status = measure_model(report, model, task, cancel, error);
        limbeck_model_free(model);
        if (status != LIMBECK_OK) return status;
    }
    return LIMBECK_OK;
}

/* Writes the JSON to a file of another name, and renames it: whole or not at all. */
static int save(const struct report *report, const char *path) {
    size_t size = strlen(path) + 5;
    char *temporary = (char *)malloc(size);
    FILE *file;
    int good;
    if (!temporary) abort();
    snprintf(temporary, size, "%s.tmp", path);
    file = fopen(temporary, "w");
    good = file != NULL;
    if (good) {
        report_json(report, file);
        good = fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
        good = fclose(file) == 0 && good && rename(temporary, path) == 0;
    }
    if (!good) {
        fprintf(stderr, "limbeck-bench: %s cannot be written: %s\n", path, strerror(errno));
        if (file) remove(temporary);
    }
    free(temporary);
    return good;
}

static int finish(struct report *report) {
    const struct options *options = report->options;
    int good = 1;
    device_memory(options->sysfs_root, &report->at_end);
    report->after_count = device_temperatures(options->sysfs_root, report->after);
    report->interrupted = stop;
    if (options->out) good = save(report, options->out);
    if (options->json)
        report_json(report, stdout);
    else
        report_table(report, stdout);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "limbeck-bench: the result cannot be written: %s\n", strerror(errno));
        good = 0;
    }
    if (!good) return 1;
    return report_assertions(report, stderr) ? 3 : 0;
}

int main(int argc, char **argv) {
    struct options options;
    struct report report;
    limbeck_env *env = NULL;
    limbeck_bundle *bundle = NULL;
    limbeck_cancel *cancel = NULL;
    limbeck_error *error = NULL;
    limbeck_status status;
    unsigned first = 0;
    int ended = options_parse(argc, argv, &options);
    size_t i;
    if (ended) return ended - 1;
    if (options.compare[0]) return report_compare(options.compare, stdout);

    memset(&report, 0, sizeof report);
    report.options = &options;
    if (options.cpu_count) {
        const char *problem = device_pin(options.cpus, MOST_CPUS);
        if (problem) {
            fprintf(stderr, "limbeck-bench: --cpus: %s\n", problem);
            return 1;
        }
        while (!options.cpus[first]) first++;
    }
    device_machine(options.sysfs_root, first, &report.machine);
    report.before_count = device_temperatures(options.sysfs_root, report.before);
    measure_overhead(&report.overhead);
    report.rows = (struct row *)calloc(options.thread_count * options.batch_count * options.length_count + 1,
                                       sizeof *report.rows);
    if (!report.rows) abort();

    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_cancel_new(&cancel, &error);
    if (status == LIMBECK_OK) {
        watch(cancel);
        status = measure_all(&report, &env, &bundle, cancel, &error);
    }
    ended = 1;
    if (status == LIMBECK_OK || (stop && bundle)) {
        ended = finish(&report);
        if (stop && ended == 0) ended = 1;
    } else if (error) {
        limbeck_str message = limbeck_error_message(error);
        fprintf(stderr, "%s: %.*s\n", limbeck_status_name(status), (int)message.length, message.data);
    }
    limbeck_error_free(error);
    for (i = 0; i < report.row_count; i++) free(report.rows[i].times);
    free(report.rows);
    limbeck_bundle_free(bundle);
    limbeck_env_free(env);
    /* `cancel` stays: the thread that waits for Ctrl-C may still use it. */
    return ended;
}
