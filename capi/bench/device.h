/* What the operating system tells of the device: processor, memory, heat, energy. All of
 * it is optional: what cannot be read is not told, with the reason where one is asked. */

#ifndef DEVICE_H
#define DEVICE_H

#include <stddef.h>
#include <stdint.h>

#define MOST_ZONES 32

struct machine {
    char system[65], release[65], arch[65], cpu[128], governor[32];
    unsigned cores;
    /* MHz of the first processor in use; 0 where unknown. */
    double frequency, lowest, highest;
};

/* `root` stands before /proc and /sys: "" or the folder of a copy. */
void device_machine(const char *root, unsigned first_cpu, struct machine *machine);

/* Bytes of this process; 0 where the system does not tell. */
struct memory {
    uint64_t resident, peak;
};
void device_memory(const char *root, struct memory *memory);

struct temperature {
    char zone[32];
    double celsius;
};
size_t device_temperatures(const char *root, struct temperature zones[MOST_ZONES]);

/* Energy used between two moments. */
struct energy_meter {
    const char *root;
    /* RAPL: a counter a package. */
    struct {
        char path[300];
        uint64_t last, range;
    } packages[8];
    size_t package_count;
    double joules;
    /* A battery, whose power is sampled. */
    char battery[300];
    double power_sum;
    size_t power_samples;
    const char *reason; /* why nothing can be told */
};

void energy_begin(struct energy_meter *meter, const char *root);
/* To be called every tenth of a second or so: samples power, and keeps counters from
 * wrapping unseen. */
void energy_sample(struct energy_meter *meter);
/* Joules over `seconds`, or -1 with a reason. `source` gets "rapl" or "battery". */
double energy_end(struct energy_meter *meter, double seconds, const char **source);

/* Runs this process on the processors with a 1 only; 0 or a message. */
const char *device_pin(const unsigned char *cpus, size_t count);

#endif
