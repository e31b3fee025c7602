/* What was measured, as JSON and as a table. */

#ifndef REPORT_H
#define REPORT_H

#include "device.h"
#include "measure.h"

#include <stdio.h>

struct opened {
    size_t threads;
    double open_ms, first_call_ms;
};

struct report {
    const struct options *options;
    const limbeck_env *env;
    const limbeck_bundle *bundle;
    struct machine machine;
    struct overhead overhead;
    double load_runtime_ms, open_bundle_ms;
    struct opened models[MOST_VALUES];
    size_t model_count;
    struct memory at_start, with_runtime, with_bundle, with_model, at_end;
    struct temperature before[MOST_ZONES], after[MOST_ZONES];
    size_t before_count, after_count;
    struct row *rows;
    size_t row_count;
    size_t skipped[MOST_VALUES]; /* lengths that the model does not take */
    size_t skipped_count;
    int interrupted;
};

void report_json(const struct report *report, FILE *file);
void report_table(const struct report *report, FILE *file);

/* Tells each assertion that is broken, and gives how many there are. */
size_t report_assertions(const struct report *report, FILE *file);

/* Compares two results as JSON; 0, or 1 after telling what is wrong. */
int report_compare(const char *const paths[2], FILE *out);

#endif
