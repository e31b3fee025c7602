#include "report.h"

#include "json.h"

#include <string.h>

/* How this program was compiled; a build may say more by -DLIMBECK_BENCH_FLAGS="...". */
#ifndef LIMBECK_BENCH_FLAGS
#define LIMBECK_BENCH_FLAGS ""
#endif
#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

static double ms(double ns) { return ns / 1e6; }

static double tokens_a_second(const struct row *row) {
    return row->stats.mean > 0 ? (double)(row->tokens * row->batch) / (row->stats.mean / 1e9) : 0;
}

static void view(struct json *json, const char *name, limbeck_str text) {
    json_view(json, name, text.data, text.length);
}

static void bytes(struct json *json, const char *name, uint64_t value) {
    if (value)
        json_count(json, name, value);
    else
        json_null(json, name);
}

static void text_or_null(struct json *json, const char *name, const char *text) {
    if (*text)
        json_text(json, name, text);
    else
        json_null(json, name);
}

static void frequency(struct json *json, const char *name, double mhz) {
    if (mhz > 0)
        json_number(json, name, mhz);
    else
        json_null(json, name);
}

static void machine_json(struct json *json, const struct report *report) {
    const struct machine *machine = &report->machine;
    size_t i;
    json_open(json, "machine", '{');
    json_text(json, "system", machine->system);
    json_text(json, "release", machine->release);
    json_text(json, "arch", machine->arch);
    text_or_null(json, "cpu", machine->cpu);
    json_count(json, "cores", machine->cores);
    if (report->options->cpu_count) {
        json_open(json, "pinned", '[');
        for (i = 0; i < MOST_CPUS; i++)
            if (report->options->cpus[i]) json_count(json, NULL, i);
        json_close(json, ']');
    } else {
        json_null(json, "pinned");
    }
    text_or_null(json, "governor", machine->governor);
    frequency(json, "frequency_mhz", machine->frequency);
    frequency(json, "lowest_mhz", machine->lowest);
    frequency(json, "highest_mhz", machine->highest);
    json_text(json, "compiler", COMPILER);
    json_text(json, "flags", LIMBECK_BENCH_FLAGS);
    json_close(json, '}');
}

static void temperatures_json(struct json *json, const char *name, const struct temperature *zones, size_t count) {
    size_t i;
    if (!count) {
        json_null(json, name);
        return;
    }
    json_open(json, name, '[');
    for (i = 0; i < count; i++) {
        json_open(json, NULL, '{');
        json_text(json, "zone", zones[i].zone);
        json_number(json, "celsius", zones[i].celsius);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void row_json(struct json *json, const struct report *report, const struct row *row) {
    const struct stats *stats = &row->stats;
    size_t i;
    json_open(json, NULL, '{');
    json_count(json, "threads", row->threads);
    json_count(json, "batch", row->batch);
    json_count(json, "length", row->length);
    json_count(json, "tokens", row->tokens);
    json_count(json, "runs", stats->count);
    json_open(json, "ms", '{');
    json_number(json, "min", ms(stats->min));
    json_number(json, "mean", ms(stats->mean));
    json_number(json, "p50", ms(stats->p50));
    json_number(json, "p90", ms(stats->p90));
    json_number(json, "p95", ms(stats->p95));
    if (stats->count >= STATS_LEAST_FOR_P99)
        json_number(json, "p99", ms(stats->p99));
    else
        json_null(json, "p99");
    json_number(json, "max", ms(stats->max));
    json_number(json, "stddev", ms(stats->stddev));
    json_close(json, '}');
    if (stats->count < STATS_LEAST_FOR_P99) json_text(json, "p99_reason", "less than 100 runs");
    json_number(json, "tokens_per_second", tokens_a_second(row));
    json_number(json, "tokenize_ms", ms(row->tokenize));
    json_number(json, "inference_ms", ms(row->inference));
    json_number(json, "post_ms", ms(row->post));
    json_number(json, "drift", stats->drift);
    json_number(json, "overhead_share", report->overhead.loop / stats->p50);
    if (row->joules >= 0) {
        json_open(json, "energy", '{');
        json_number(json, "joules", row->joules);
        json_number(json, "joules_per_call", row->joules / (double)stats->count);
        json_text(json, "source", row->energy_source);
        json_close(json, '}');
    } else {
        json_null(json, "energy");
        json_text(json, "energy_reason", row->energy_reason);
    }
    if (report->options->samples) {
        json_open(json, "samples_ms", '[');
        for (i = 0; i < stats->count; i++) json_number(json, NULL, ms((double)row->times[i]));
        json_close(json, ']');
    }
    json_close(json, '}');
}

static void memory_json(struct json *json, const struct report *report) {
    json_open(json, "memory", '{');
    bytes(json, "start", report->at_start.resident);
    bytes(json, "with_runtime", report->with_runtime.resident);
    bytes(json, "with_bundle", report->with_bundle.resident);
    bytes(json, "with_model", report->with_model.resident);
    bytes(json, "end", report->at_end.resident);
    bytes(json, "peak", report->at_end.peak);
    json_close(json, '}');
}

void report_json(const struct report *report, FILE *file) {
    struct json writer, *json = &writer;
    const struct options *options = report->options;
    size_t i;
    json_begin(json, file);
    json_open(json, NULL, '{');
    json_text(json, "schema", "limbeck-bench 1");
    json_bool(json, "interrupted", report->interrupted);
    json_open(json, "limbeck", '{');
    json_text(json, "version", limbeck_version());
    json_count(json, "abi", limbeck_abi_version());
    json_close(json, '}');
    json_open(json, "runtime", '{');
    view(json, "version", limbeck_env_runtime_version(report->env));
    view(json, "path", limbeck_env_runtime_path(report->env));
    json_close(json, '}');
    json_open(json, "bundle", '{');
    json_text(json, "path", options->bundle);
    view(json, "id", limbeck_bundle_id(report->bundle));
    view(json, "version", limbeck_bundle_version(report->bundle));
    json_count(json, "build", limbeck_bundle_build(report->bundle));
    view(json, "task", limbeck_bundle_task(report->bundle));
    json_count(json, "bytes", limbeck_bundle_size(report->bundle));
    json_count(json, "max_tokens", limbeck_bundle_max_tokens(report->bundle));
    json_close(json, '}');
    machine_json(json, report);
    json_open(json, "settings", '{');
    json_count(json, "runs", options->runs);
    json_count(json, "warm_up", options->warm_up);
    json_number(json, "seconds", options->seconds);
    json_number(json, "delay_ms", options->delay_ms);
    json_close(json, '}');
    json_open(json, "phases", '{');
    json_number(json, "load_runtime_ms", report->load_runtime_ms);
    json_number(json, "open_bundle_ms", report->open_bundle_ms);
    json_open(json, "models", '[');
    for (i = 0; i < report->model_count; i++) {
        json_open(json, NULL, '{');
        json_count(json, "threads", report->models[i].threads);
        json_number(json, "open_ms", report->models[i].open_ms);
        json_number(json, "first_call_ms", report->models[i].first_call_ms);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
    memory_json(json, report);
    json_open(json, "overhead", '{');
    json_number(json, "clock_ns", report->overhead.clock);
    json_number(json, "loop_ns", report->overhead.loop);
    json_close(json, '}');
    temperatures_json(json, "temperatures_before", report->before, report->before_count);
    temperatures_json(json, "temperatures_after", report->after, report->after_count);
    json_open(json, "skipped_lengths", '[');
    for (i = 0; i < report->skipped_count; i++) json_count(json, NULL, report->skipped[i]);
    json_close(json, ']');
    json_open(json, "results", '[');
    for (i = 0; i < report->row_count; i++) row_json(json, report, &report->rows[i]);
    json_close(json, ']');
    json_close(json, '}');
    json_end(json);
}

static void megabytes(FILE *file, const char *what, uint64_t value) {
    if (value)
        fprintf(file, "%s%.1f MB", what, (double)value / 1e6);
    else
        fprintf(file, "%sunknown", what);
}

void report_table(const struct report *report, FILE *file) {
    const struct machine *machine = &report->machine;
    limbeck_str id = limbeck_bundle_id(report->bundle), version = limbeck_env_runtime_version(report->env);
    double share = 0;
    size_t i, few = 0, energy = 0;
    fprintf(file, "%.*s (%.1f MB), ONNX Runtime %.*s, limbeck %s\n", (int)id.length, id.data,
            (double)limbeck_bundle_size(report->bundle) / 1e6, (int)version.length, version.data, limbeck_version());
    fprintf(file, "%s %s, %s, %u cores", machine->system, machine->arch, *machine->cpu ? machine->cpu : "processor unknown",
            machine->cores);
    if (*machine->governor) fprintf(file, ", governor %s", machine->governor);
    if (machine->frequency > 0) fprintf(file, " at %.0f MHz", machine->frequency);
    fprintf(file, "\nload ONNX Runtime %.1f ms, open bundle %.1f ms", report->load_runtime_ms, report->open_bundle_ms);
    for (i = 0; i < report->model_count; i++)
        fprintf(file, "; %lu thread(s): model %.1f ms, first call %.2f ms", (unsigned long)report->models[i].threads,
                report->models[i].open_ms, report->models[i].first_call_ms);
    megabytes(file, "\nmemory: start ", report->at_start.resident);
    megabytes(file, ", with ONNX Runtime ", report->with_runtime.resident);
    megabytes(file, ", with model ", report->with_model.resident);
    megabytes(file, ", end ", report->at_end.resident);
    megabytes(file, ", peak ", report->at_end.peak);
    fputs("\n\n", file);
    fprintf(file, "%7s %6s %7s %6s %9s %9s %9s %9s %9s %10s %7s %9s\n", "threads", "batch", "tokens", "runs", "min",
            "p50", "p90", "p99", "max", "tokens/s", "drift", "mJ/call");
    for (i = 0; i < report->row_count; i++) {
        const struct row *row = &report->rows[i];
        char p99[16] = "-", joules[16] = "-";
        if (row->stats.count >= STATS_LEAST_FOR_P99)
            snprintf(p99, sizeof p99, "%.3f", ms(row->stats.p99));
        else
            few++;
        if (row->joules >= 0) {
            snprintf(joules, sizeof joules, "%.3f", row->joules / (double)row->stats.count * 1e3);
            energy++;
        }
        if (report->overhead.loop / row->stats.p50 > share) share = report->overhead.loop / row->stats.p50;
        fprintf(file, "%7lu %6lu %7lu %6lu %9.3f %9.3f %9.3f %9s %9.3f %10.0f %+6.1f%% %9s\n",
                (unsigned long)row->threads, (unsigned long)row->batch, (unsigned long)row->tokens,
                (unsigned long)row->stats.count, ms(row->stats.min), ms(row->stats.p50), ms(row->stats.p90), p99,
                ms(row->stats.max), tokens_a_second(row), row->stats.drift * 100, joules);
    }
    fprintf(file, "\nTimes in ms, text in to label out. Measuring costs %.0f ns a call, %.4f%% of a median at most.\n",
            report->overhead.loop, share * 100);
    if (few) fprintf(file, "No p99 from less than %d runs.\n", STATS_LEAST_FOR_P99);
    if (!energy && report->row_count) fprintf(file, "No energy: %s.\n", report->rows[0].energy_reason);
    for (i = 0; i < report->before_count && i < report->after_count; i++)
        fprintf(file, "%s %.1f to %.1f degrees\n", report->before[i].zone, report->before[i].celsius,
                report->after[i].celsius);
    for (i = 0; i < report->skipped_count; i++)
        fprintf(file, "Left out: %lu tokens, the model takes %lu.\n", (unsigned long)report->skipped[i],
                (unsigned long)limbeck_bundle_max_tokens(report->bundle));
    if (report->interrupted) fputs("Interrupted: this is what was measured until then.\n", file);
}

/* The metric of a row, or of all; -1 if it is not known. */
static double metric(const struct report *report, const struct row *row, const char *name) {
    const struct stats *stats = &row->stats;
    if (strcmp(name, "peak") == 0) return report->at_end.peak ? (double)report->at_end.peak : -1;
    if (strcmp(name, "cold") == 0) {
        size_t i;
        for (i = 0; i < report->model_count; i++)
            if (report->models[i].threads == row->threads) return report->models[i].first_call_ms;
        return -1;
    }
    if (strcmp(name, "p50") == 0) return ms(stats->p50);
    if (strcmp(name, "p90") == 0) return ms(stats->p90);
    if (strcmp(name, "p95") == 0) return ms(stats->p95);
    if (strcmp(name, "p99") == 0) return stats->count >= STATS_LEAST_FOR_P99 ? ms(stats->p99) : -1;
    return strcmp(name, "mean") == 0 ? ms(stats->mean) : ms(stats->max);
}

size_t report_assertions(const struct report *report, FILE *file) {
    size_t broken = 0, i, n;
    for (n = 0; n < report->options->assertion_count; n++) {
        const struct assertion *assertion = &report->options->assertions[n];
        int is_peak = strcmp(assertion->metric, "peak") == 0;
        for (i = 0; i < report->row_count && (i == 0 || !is_peak); i++) {
            const struct row *row = &report->rows[i];
            double value = metric(report, row, assertion->metric);
            if (value >= 0 && value <= assertion->limit) continue;
            broken++;
            if (value < 0)
                fprintf(file, "limbeck-bench: %s does not hold: it could not be measured\n", assertion->text);
            else if (is_peak)
                fprintf(file, "limbeck-bench: %s does not hold: it is %.1f MB\n", assertion->text, value / 1e6);
            else
                fprintf(file, "limbeck-bench: %s does not hold: it is %.3f ms (%lu tokens, batch %lu, %lu threads)\n",
                        assertion->text, value, (unsigned long)row->tokens, (unsigned long)row->batch,
                        (unsigned long)row->threads);
        }
        /* An assertion that nothing was measured for has not held. */
        if (!report->row_count) {
            broken++;
            fprintf(file, "limbeck-bench: %s does not hold: nothing was measured\n", assertion->text);
        }
    }
    return broken;
}

/* ---- comparing --------------------------------------------------------- */

static void difference(FILE *out, const struct json_value *const results[2], const char *part, const char *name) {
    const char *a = json_text_of(json_get(results[0], part), name, "unknown");
    const char *b = json_text_of(json_get(results[1], part), name, "unknown");
    if (strcmp(a, b) != 0) fprintf(out, "note: another %s %s: %s, %s\n", part, name, a, b);
}

static const struct json_value *same_row(const struct json_value *rows, const struct json_value *row) {
    static const char *const keys[] = {"threads", "batch", "length"};
    const struct json_value *other;
    for (other = rows ? rows->child : NULL; other; other = other->next) {
        size_t i, same = 0;
        for (i = 0; i < 3; i++) same += json_number_of(other, keys[i], -1) == json_number_of(row, keys[i], -2);
        if (same == 3) return other;
    }
    return NULL;
}

static int compare(const struct json_value *const results[2], const char *const paths[2], FILE *out) {
    const struct json_value *row, *rows = json_get(results[1], "results");
    size_t found = 0, i;
    for (i = 0; i < 2; i++) {
        if (strcmp(json_text_of(results[i], "schema", ""), "limbeck-bench 1") != 0) {
            fprintf(stderr, "limbeck-bench: %s is no result of limbeck-bench\n", paths[i]);
            return 1;
        }
    }
    difference(out, results, "bundle", "id");
    difference(out, results, "bundle", "version");
    difference(out, results, "machine", "cpu");
    difference(out, results, "machine", "governor");
    difference(out, results, "runtime", "version");
    difference(out, results, "limbeck", "version");
    fprintf(out, "%7s %6s %7s %10s %10s %7s %7s %9s\n", "threads", "batch", "length", "p50 A", "p50 B", "B/A", "p90 B/A",
            "tokens B/A");
    row = json_get(results[0], "results");
    for (row = row ? row->child : NULL; row; row = row->next) {
        const struct json_value *other = same_row(rows, row), *a = json_get(row, "ms"), *b = json_get(other, "ms");
        if (!other || !a || !b) continue;
        found++;
        fprintf(out, "%7.0f %6.0f %7.0f %10.3f %10.3f %7.2f %7.2f %9.2f\n", json_number_of(row, "threads", 0),
                json_number_of(row, "batch", 0), json_number_of(row, "length", 0), json_number_of(a, "p50", 0),
                json_number_of(b, "p50", 0), json_number_of(b, "p50", 0) / json_number_of(a, "p50", 0),
                json_number_of(b, "p90", 0) / json_number_of(a, "p90", 0),
                json_number_of(other, "tokens_per_second", 0) / json_number_of(row, "tokens_per_second", 0));
    }
    if (found) return 0;
    fprintf(stderr, "limbeck-bench: %s and %s have no combination of threads, batch and length in common\n", paths[0],
            paths[1]);
    return 1;
}

int report_compare(const char *const paths[2], FILE *out) {
    struct json_value *read[2] = {NULL, NULL};
    const struct json_value *results[2];
    char problem[256];
    int status = 1, i;
    for (i = 0; i < 2; i++) {
        read[i] = json_read(paths[i], problem);
        if (!read[i]) {
            fprintf(stderr, "limbeck-bench: %s\n", problem);
            break;
        }
        results[i] = read[i];
    }
    if (i == 2) status = compare(results, paths, out);
    json_free(read[0]);
    json_free(read[1]);
    return status;
}
