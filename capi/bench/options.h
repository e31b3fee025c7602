/* What was asked for on the command line. */

#ifndef OPTIONS_H
#define OPTIONS_H

#include <stddef.h>

#define MOST_VALUES 64  /* of a list, as lengths */
#define MOST_CPUS 1024
#define MOST_ASSERTIONS 16

struct assertion {
    const char *text; /* as it was given */
    char metric[8];
    double limit; /* milliseconds, or bytes for peak */
};

struct options {
    const char *bundle, *runtime, *text, *out, *sysfs_root;
    const char *compare[2];
    size_t lengths[MOST_VALUES], length_count;
    size_t threads[MOST_VALUES], thread_count;
    size_t batches[MOST_VALUES], batch_count;
    size_t runs, warm_up;
    double seconds, delay_ms;
    unsigned char cpus[MOST_CPUS]; /* 1 for each to be used */
    size_t cpu_count;              /* 0: all */
    struct assertion assertions[MOST_ASSERTIONS];
    size_t assertion_count;
    int json, samples;
};

/* Fills `options`. 0 to go on; else the program ends with the status minus 1: help was
 * shown, or what is wrong was told. */
int options_parse(int argc, char **argv, struct options *options);

#endif
