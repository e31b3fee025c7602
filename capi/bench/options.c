#include "options.h"

#include <limbeck.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "Measures a limbeck bundle on this device: cold start, latency, memory, heat and energy.\n"
    "\n"
    "Usage: limbeck-bench BUNDLE --runtime LIBONNXRUNTIME [OPTIONS]\n"
    "       limbeck-bench --compare A.json B.json\n"
    "\n"
    "Options:\n"
    "  --runtime FILE      the ONNX Runtime library (default: beside this program, then the system's)\n"
    "  --lengths LIST      tokens of a text, special ones included (default 8,16,32,64,128)\n"
    "  --threads LIST      threads inside an operator (default 1)\n"
    "  --batch LIST        texts of a call (default 1)\n"
    "  --text WORDS        make texts of these words (default: English ones)\n"
    "  --runs N            calls that count, for each combination (default 200)\n"
    "  --seconds S         ... but no longer than this for each (default 30)\n"
    "  --warm-up N         calls before the clock starts, for each (default 20)\n"
    "  --delay MS          pause between calls (default 0)\n"
    "  --cpus LIST         run on these processors only: 4-7 or 0,2 (Linux and Android)\n"
    "  --json              print the result as JSON\n"
    "  --out FILE          write the result as JSON to a file, whole or not at all\n"
    "  --samples           with every single time in the JSON\n"
    "  --assert LIMIT      status 3 if broken: p50<=4ms, also p90 p95 p99 mean max cold; peak<=60MB\n"
    "  --compare A B       compare two results\n"
    "  --sysfs-root DIR    read DIR/proc and DIR/sys in place of /proc and /sys\n"
    "  --help, --version\n"
    "\n"
    "Examples:\n"
    "  limbeck-bench sentiment.limbeck --runtime ./libonnxruntime.so --cpus 4-7\n"
    "  limbeck-bench sentiment.limbeck --lengths 32 --threads 1,2,4 --json > board.json\n"
    "  limbeck-bench sentiment.limbeck --lengths 32 --assert 'p90<=5ms' --assert 'peak<=60MB'\n"
    "\n"
    "Ctrl-C ends the run at once and still reports what was measured. Times are text in to\n"
    "label out. Status: 0 good, 1 failed, 2 wrong options, 3 an assertion is broken.\n";

static int wrong(const char *what, const char *value) {
    fprintf(stderr, "limbeck-bench: %s: %s (see limbeck-bench --help)\n", what, value ? value : "a value is missing");
    return 3;
}

/* A whole number from `least` to `most`. */
static int whole(const char *text, size_t least, size_t most, size_t *value, const char **end) {
    char *rest;
    unsigned long long number;
    if (*text < '0' || *text > '9') return 0;
    number = strtoull(text, &rest, 10);
    *end = rest;
    *value = (size_t)number;
    return number >= least && number <= most;
}

static int list(const char *text, size_t most, size_t *values, size_t *count) {
    *count = 0;
    for (;;) {
        if (*count == MOST_VALUES || !whole(text, 1, most, &values[*count], &text)) return 0;
        ++*count;
        if (*text == '\0') return 1;
        if (*text++ != ',') return 0;
    }
}

static int real(const char *text, double most, double *value) {
    char *rest;
    *value = strtod(text, &rest);
    return rest != text && *rest == '\0' && *value >= 0 && *value <= most;
}

static int cpus(const char *text, struct options *options) {
    for (;;) {
        size_t first, last, i;
        if (!whole(text, 0, MOST_CPUS - 1, &first, &text)) return 0;
        last = first;
        if (*text == '-' && !whole(text + 1, first, MOST_CPUS - 1, &last, &text)) return 0;
        for (i = first; i <= last; i++) {
            options->cpu_count += !options->cpus[i];
            options->cpus[i] = 1;
        }
        if (*text == '\0') return 1;
        if (*text++ != ',') return 0;
    }
}

static int assertion(const char *text, struct options *options) {
    static const char *const metrics[] = {"p50", "p90", "p95", "p99", "mean", "max", "cold", "peak"};
    struct assertion *made = &options->assertions[options->assertion_count];
    const char *sign = strstr(text, "<=");
    char *unit;
    size_t i, length = sign ? (size_t)(sign - text) : 0;
    if (options->assertion_count == MOST_ASSERTIONS || length == 0 || length >= sizeof made->metric) return 0;
    memcpy(made->metric, text, length);
    made->metric[length] = '\0';
    made->text = text;
    made->limit = strtod(sign + 2, &unit);
    if (unit == sign + 2 || !(made->limit >= 0)) return 0;
    if (strcmp(made->metric, "peak") == 0) {
        if (strcmp(unit, "MB") != 0) return 0;
        made->limit *= 1e6;
    } else if (strcmp(unit, "us") == 0) {
        made->limit /= 1e3;
    } else if (strcmp(unit, "s") == 0) {
        made->limit *= 1e3;
    } else if (strcmp(unit, "ms") != 0) {
        return 0;
    }
    options->assertion_count++;
    for (i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (strcmp(metrics[i], made->metric) == 0) return 1;
    return 0;
}

static void defaults(struct options *options) {
    static const size_t lengths[] = {8, 16, 32, 64, 128};
    memset(options, 0, sizeof *options);
    memcpy(options->lengths, lengths, sizeof lengths);
    options->length_count = sizeof lengths / sizeof *lengths;
    options->threads[0] = options->batches[0] = 1;
    options->thread_count = options->batch_count = 1;
    options->runs = 200;
    options->warm_up = 20;
    options->seconds = 30;
    options->sysfs_root = "";
}

int options_parse(int argc, char **argv, struct options *options) {
    int i;
    defaults(options);
    if (argc < 2) {
        fputs(HELP, stderr);
        return 3;
    }
    for (i = 1; i < argc; i++) {
        const char *name = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        const char *end = "";
        int good = 1, missing = value == NULL;
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            fputs(HELP, stdout);
            return 1;
        }
        if (strcmp(name, "--version") == 0) {
            printf("limbeck-bench %s\n", limbeck_version());
            return 1;
        }
        if (name[0] != '-') {
            if (options->bundle) return wrong("one bundle only, not also", name);
            options->bundle = name;
            continue;
        }
        if (strcmp(name, "--json") == 0) {
            options->json = 1;
            continue;
        }
        if (strcmp(name, "--samples") == 0) {
            options->samples = 1;
            continue;
        }
        if (strcmp(name, "--compare") == 0) {
            if (i + 2 >= argc) return wrong(name, "two results are needed");
            options->compare[0] = argv[++i];
            options->compare[1] = argv[++i];
            continue;
        }
        if (missing) value = ""; /* what is no option at all is told first */
        if (strcmp(name, "--runtime") == 0)
            options->runtime = value;
        else if (strcmp(name, "--text") == 0)
            options->text = value;
        else if (strcmp(name, "--out") == 0)
            options->out = value;
        else if (strcmp(name, "--sysfs-root") == 0)
            options->sysfs_root = value;
        else if (strcmp(name, "--lengths") == 0)
            good = list(value, 1000000, options->lengths, &options->length_count);
        else if (strcmp(name, "--threads") == 0)
            good = list(value, 256, options->threads, &options->thread_count);
        else if (strcmp(name, "--batch") == 0)
            good = list(value, 4096, options->batches, &options->batch_count);
        else if (strcmp(name, "--runs") == 0)
            good = whole(value, 1, 10000000, &options->runs, &end) && !*end;
        else if (strcmp(name, "--warm-up") == 0)
            good = whole(value, 0, 10000000, &options->warm_up, &end) && !*end;
        else if (strcmp(name, "--seconds") == 0)
            good = real(value, 1e6, &options->seconds);
        else if (strcmp(name, "--delay") == 0)
            good = real(value, 1e6, &options->delay_ms);
        else if (strcmp(name, "--cpus") == 0)
            good = cpus(value, options);
        else if (strcmp(name, "--assert") == 0)
            good = assertion(value, options);
        else
            return wrong("unknown option", name);
        if (missing) return wrong(name, NULL);
        if (!good) {
            fprintf(stderr, "limbeck-bench: %s cannot be `%s` (see limbeck-bench --help)\n", name, value);
            return 3;
        }
        i++;
    }
    if (options->compare[0]) {
        if (options->bundle) return wrong("--compare takes no bundle", options->bundle);
        return 0;
    }
    if (!options->bundle) return wrong("no bundle was named", "give the path of a .limbeck file");
    return 0;
}
