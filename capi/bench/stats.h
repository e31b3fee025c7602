/* What a list of times says. */

#ifndef STATS_H
#define STATS_H

#include <stddef.h>
#include <stdint.h>

/* Times in nanoseconds. Percentiles are the nearest rank: a time that was really
 * measured. */
struct stats {
    size_t count;
    double min, mean, max, stddev;
    double p50, p90, p95, p99;
    /* Median of the last tenth over that of the first, minus 1: what heat does. 0 for
     * less than 20 times. */
    double drift;
};

/* Below this many times the 99th percentile is one or two outliers, and not told. */
#define STATS_LEAST_FOR_P99 100

/* Fills `stats` from at least one time, given in the order in which they were taken. */
void stats_of(const uint64_t *times, size_t count, struct stats *stats);

#endif
