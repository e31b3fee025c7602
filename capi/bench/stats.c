#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Of times in ascending order. */
static double percentile(const uint64_t *sorted, size_t count, unsigned percent) {
    size_t rank = (count * percent + 99) / 100;
    return (double)sorted[rank ? rank - 1 : 0];
}

/* The median of times in any order, which are left in ascending order. */
static double median(uint64_t *times, size_t count) {
    qsort(times, count, sizeof *times, ascending);
    return percentile(times, count, 50);
}

void stats_of(const uint64_t *times, size_t count, struct stats *stats) {
    uint64_t *sorted = (uint64_t *)malloc(count * sizeof *sorted);
    size_t i, tenth = count / 10;
    double sum = 0, squares = 0;
    memset(stats, 0, sizeof *stats);
    if (!sorted) abort();
    stats->count = count;
    if (tenth >= 2) {
        double first, last;
        memcpy(sorted, times, tenth * sizeof *sorted);
        first = median(sorted, tenth);
        memcpy(sorted, times + count - tenth, tenth * sizeof *sorted);
        last = median(sorted, tenth);
        if (first > 0) stats->drift = last / first - 1;
    }
    memcpy(sorted, times, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    for (i = 0; i < count; i++) sum += (double)sorted[i];
    stats->mean = sum / (double)count;
    for (i = 0; i < count; i++) squares += ((double)sorted[i] - stats->mean) * ((double)sorted[i] - stats->mean);
    stats->stddev = count > 1 ? sqrt(squares / (double)(count - 1)) : 0;
    stats->min = (double)sorted[0];
    stats->max = (double)sorted[count - 1];
    stats->p50 = percentile(sorted, count, 50);
    stats->p90 = percentile(sorted, count, 90);
    stats->p95 = percentile(sorted, count, 95);
    stats->p99 = percentile(sorted, count, 99);
    free(sorted);
}
