/* Taking times. */

#ifndef MEASURE_H
#define MEASURE_H

#include "options.h"
#include "stats.h"
#include "task.h"

/* Nanoseconds of a clock that only goes forward. */
uint64_t measure_now(void);

/* What measuring itself costs, in nanoseconds. */
struct overhead {
    double clock; /* reading the clock once */
    double loop;  /* a round of the measuring loop around a call that does nothing */
};
void measure_overhead(struct overhead *overhead);

/* One combination of threads, batch and length. */
struct row {
    size_t threads, batch, length;
    size_t tokens; /* of each text, as the model read them */
    struct stats stats;
    uint64_t *times; /* as they were taken */
    double tokenize, inference, post; /* nanoseconds, means */
    double joules;                    /* of the calls that count; -1 if not known */
    const char *energy_source, *energy_reason;
};

/* Measures the calls of one combination. `stop` is looked at between calls. `row->stats`
 * has a count of 0 if it was stopped before the first call that counts. */
limbeck_status measure_row(const limbeck_model *model, const struct texts *texts, const struct options *options,
                           const limbeck_cancel *cancel, const volatile int *stop, struct row *row,
                           limbeck_error **error);

#endif
