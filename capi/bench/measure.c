#include "measure.h"

#include "device.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t measure_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void nothing(void) {}

void measure_overhead(struct overhead *overhead) {
    enum { ROUNDS = 10000 };
    static uint64_t times[ROUNDS];
    void (*volatile call)(void) = nothing;
    struct stats stats;
    uint64_t start = measure_now(), i;
    for (i = 0; i < ROUNDS; i++) times[i] = measure_now();
    overhead->clock = (double)(measure_now() - start) / ROUNDS;
    for (i = 0; i < ROUNDS; i++) {
        uint64_t begin = measure_now();
        call();
        times[i] = measure_now() - begin;
    }
    stats_of(times, ROUNDS, &stats);
    overhead->loop = stats.mean;
}

static void pause_for(double ms) {
    struct timespec time;
    time.tv_sec = (time_t)(ms / 1e3);
    time.tv_nsec = (long)((ms - (double)time.tv_sec * 1e3) * 1e6);
    nanosleep(&time, NULL);
}

/* Adds what the library itself says of a call: tokenizing and the rest text by text,
 * running once, because texts that ran together all tell the time of their run. */
static limbeck_status add_stages(const limbeck_result *result, struct row *row, limbeck_error **error) {
    size_t count = limbeck_result_count(result), i;
    uint64_t longest = 0;
    for (i = 0; i < count; i++) {
        limbeck_usage usage;
        limbeck_status status;
        limbeck_usage_init(&usage, sizeof usage);
        status = limbeck_result_usage(result, i, &usage, error);
        if (status != LIMBECK_OK) return status;
        row->tokens = usage.tokens_used;
        row->tokenize += (double)usage.tokenize_ns;
        row->post += (double)usage.post_ns;
        if (usage.inference_ns > longest) longest = usage.inference_ns;
    }
    row->inference += (double)longest;
    return LIMBECK_OK;
}

limbeck_status measure_row(const limbeck_model *model, const struct texts *texts, const struct options *options,
                           const limbeck_cancel *cancel, const volatile int *stop, struct row *row,
                           limbeck_error **error) {
    limbeck_call_options call;
    struct energy_meter meter;
    uint64_t begin, sampled;
    size_t done = 0, i;
    double seconds;
    limbeck_status status = LIMBECK_OK;
    limbeck_call_options_init(&call, sizeof call);
    call.cancel = cancel;
    row->times = (uint64_t *)malloc(options->runs * sizeof *row->times);
    if (!row->times) abort();
    for (i = 0; i < options->warm_up && !*stop && status == LIMBECK_OK; i++) {
        limbeck_result *result = NULL;
        status = task_call(model, texts, &call, &result, error);
        limbeck_result_free(result);
    }
    energy_begin(&meter, options->sysfs_root);
    begin = sampled = measure_now();
    while (done < options->runs && !*stop && status == LIMBECK_OK) {
        limbeck_result *result = NULL;
        uint64_t start = measure_now(), end;
        status = task_call(model, texts, &call, &result, error);
        end = measure_now();
        if (status == LIMBECK_OK) {
            row->times[done++] = end - start;
            status = add_stages(result, row, error);
        }
        limbeck_result_free(result);
        if (end - sampled > 100000000u) {
            energy_sample(&meter);
            sampled = end;
        }
        if ((double)(end - begin) > options->seconds * 1e9) break;
        if (options->delay_ms > 0) pause_for(options->delay_ms);
    }
    seconds = (double)(measure_now() - begin) / 1e9;
    row->joules = energy_end(&meter, seconds, &row->energy_source);
    row->energy_reason = meter.reason;
    memset(&row->stats, 0, sizeof row->stats);
    if (done) {
        stats_of(row->times, done, &row->stats);
        row->tokenize /= (double)done;
        row->inference /= (double)done;
        row->post /= (double)done;
    }
    return status;
}
