#ifdef __linux__
#define _GNU_SOURCE /* sched_setaffinity */
#endif

#include "device.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>
#endif

/* The first line of a file, without its end; 0 if it cannot be read. */
static int line_of(const char *path, char *line, int size) {
    FILE *file = fopen(path, "r");
    char *read;
    if (!file) return 0;
    read = fgets(line, size, file);
    fclose(file);
    if (!read) return 0;
    line[strcspn(line, "\r\n")] = '\0';
    return 1;
}

static int number_of(const char *root, const char *folder, const char *name, double *value) {
    char path[512], line[64], *end;
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    if (!line_of(path, line, sizeof line)) return 0;
    *value = strtod(line, &end);
    return end != line;
}

/* The value after the first colon of the first line that begins with `key`. */
static int field_of(const char *root, const char *file, const char *key, char *value, size_t size) {
    char path[512], line[512];
    FILE *opened;
    int found = 0;
    snprintf(path, sizeof path, "%s%s", root, file);
    opened = fopen(path, "r");
    if (!opened) return 0;
    while (!found && fgets(line, sizeof line, opened)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(value, size, "%.*s", (int)strcspn(colon, "\r\n"), colon);
        found = 1;
    }
    fclose(opened);
    return found;
}

void device_machine(const char *root, unsigned first_cpu, struct machine *machine) {
    struct utsname names;
    char folder[128], path[512];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    memset(machine, 0, sizeof *machine);
    if (uname(&names) == 0) {
        snprintf(machine->system, sizeof machine->system, "%.64s", names.sysname);
        snprintf(machine->release, sizeof machine->release, "%.64s", names.release);
        snprintf(machine->arch, sizeof machine->arch, "%.64s", names.machine);
    }
    machine->cores = cores > 0 ? (unsigned)cores : 0;
    /* x86; many phones; what is left: the number of the part. */
    if (!field_of(root, "/proc/cpuinfo", "model name", machine->cpu, sizeof machine->cpu) &&
        !field_of(root, "/proc/cpuinfo", "Hardware", machine->cpu, sizeof machine->cpu)) {
        char implementer[32] = "", part[32] = "";
        field_of(root, "/proc/cpuinfo", "CPU implementer", implementer, sizeof implementer);
        if (field_of(root, "/proc/cpuinfo", "CPU part", part, sizeof part))
            snprintf(machine->cpu, sizeof machine->cpu, "implementer %.31s part %.31s", implementer, part);
    }
    snprintf(folder, sizeof folder, "/sys/devices/system/cpu/cpu%u/cpufreq", first_cpu);
    snprintf(path, sizeof path, "%s%s/scaling_governor", root, folder);
    line_of(path, machine->governor, sizeof machine->governor);
    /* In kHz. */
    if (number_of(root, folder, "scaling_cur_freq", &machine->frequency)) machine->frequency /= 1e3;
    if (number_of(root, folder, "cpuinfo_min_freq", &machine->lowest)) machine->lowest /= 1e3;
    if (number_of(root, folder, "cpuinfo_max_freq", &machine->highest)) machine->highest /= 1e3;
}

void device_memory(const char *root, struct memory *memory) {
    char value[64];
    memset(memory, 0, sizeof *memory);
    /* In kB. */
    if (field_of(root, "/proc/self/status", "VmRSS", value, sizeof value))
        memory->resident = strtoull(value, NULL, 10) * 1024;
    if (field_of(root, "/proc/self/status", "VmHWM", value, sizeof value))
        memory->peak = strtoull(value, NULL, 10) * 1024;
    if (memory->peak == 0 && *root == '\0') {
        struct rusage usage;
        if (getrusage(RUSAGE_SELF, &usage) == 0) {
#ifdef __APPLE__
            memory->peak = (uint64_t)usage.ru_maxrss;
#else
            memory->peak = (uint64_t)usage.ru_maxrss * 1024;
#endif
        }
    }
}

size_t device_temperatures(const char *root, struct temperature zones[MOST_ZONES]) {
    size_t count = 0;
    unsigned i;
    for (i = 0; i < MOST_ZONES; i++) {
        char folder[64], path[512];
        double value;
        snprintf(folder, sizeof folder, "/sys/class/thermal/thermal_zone%u", i);
        if (!number_of(root, folder, "temp", &value)) continue;
        zones[count].celsius = value / 1e3;
        snprintf(path, sizeof path, "%s%s/type", root, folder);
        if (!line_of(path, zones[count].zone, sizeof zones[count].zone))
            snprintf(zones[count].zone, sizeof zones[count].zone, "zone %u", i);
        count++;
    }
    return count;
}

/* ---- energy ------------------------------------------------------------ */

static int counter(const char *path, const char *name, uint64_t *value) {
    char file[400], line[64], *end;
    snprintf(file, sizeof file, "%s/%s", path, name);
    if (!line_of(file, line, sizeof line)) return 0;
    *value = strtoull(line, &end, 10);
    return end != line;
}

/* Watts of the battery; 0 if it cannot be told or is not what feeds the device. */
static double battery_power(const struct energy_meter *meter) {
    char path[400], status[32] = "";
    uint64_t power, current, voltage;
    snprintf(path, sizeof path, "%s/status", meter->battery);
    if (!line_of(path, status, sizeof status) || strcmp(status, "Discharging") != 0) return 0;
    if (counter(meter->battery, "power_now", &power)) return (double)power / 1e6;
    if (!counter(meter->battery, "voltage_now", &voltage)) return 0;
    snprintf(path, sizeof path, "%s/current_now", meter->battery);
    /* Some devices count what flows out as negative. */
    if (!line_of(path, status, sizeof status)) return 0;
    current = strtoull(status[0] == '-' ? status + 1 : status, NULL, 10);
    return (double)current / 1e6 * ((double)voltage / 1e6);
}

void energy_begin(struct energy_meter *meter, const char *root) {
    char folder[256], path[400], type[32];
    DIR *opened;
    struct dirent *entry;
    memset(meter, 0, sizeof *meter);
    meter->root = root;
    meter->reason = "no RAPL counter and no battery can be read";

    snprintf(folder, sizeof folder, "%.200s/sys/class/powercap", root);
    opened = opendir(folder);
    while (opened && (entry = readdir(opened)) != NULL && meter->package_count < 8) {
        size_t i = meter->package_count;
        /* Packages, intel-rapl:0 (AMD's too), and neither their parts, intel-rapl:0:1, nor
         * the same counters once more, intel-rapl-mmio:0. */
        if (strncmp(entry->d_name, "intel-rapl:", 11) != 0 || strchr(entry->d_name + 11, ':')) continue;
        snprintf(meter->packages[i].path, sizeof meter->packages[i].path, "%.230s/%.60s", folder, entry->d_name);
        /* Nor the whole device, "psys", which holds the packages. */
        snprintf(path, sizeof path, "%s/name", meter->packages[i].path);
        if (line_of(path, type, sizeof type) && strncmp(type, "package", 7) != 0) continue;
        if (!counter(meter->packages[i].path, "energy_uj", &meter->packages[i].last)) {
            meter->reason = "RAPL counters are there and cannot be read: that needs root on most systems";
            continue;
        }
        if (!counter(meter->packages[i].path, "max_energy_range_uj", &meter->packages[i].range))
            meter->packages[i].range = 0;
        meter->package_count++;
    }
    if (opened) closedir(opened);
    if (meter->package_count) return;

    snprintf(folder, sizeof folder, "%.200s/sys/class/power_supply", root);
    opened = opendir(folder);
    while (opened && (entry = readdir(opened)) != NULL && !meter->battery[0]) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%.200s/%.60s/type", folder, entry->d_name);
        if (!line_of(path, type, sizeof type) || strcmp(type, "Battery") != 0) continue;
        snprintf(meter->battery, sizeof meter->battery, "%.200s/%.60s", folder, entry->d_name);
    }
    if (opened) closedir(opened);
    if (meter->battery[0]) meter->reason = "the battery does not tell its power, or is not what feeds the device";
    energy_sample(meter);
}

void energy_sample(struct energy_meter *meter) {
    size_t i;
    for (i = 0; i < meter->package_count; i++) {
        uint64_t now, reached, last = meter->packages[i].last;
        if (!counter(meter->packages[i].path, "energy_uj", &now)) continue;
        /* A counter starts anew when it has reached its range; where that is not known, what
         * it counted before is lost. */
        reached = now < last ? now + meter->packages[i].range : now;
        if (reached > last) meter->joules += (double)(reached - last) / 1e6;
        meter->packages[i].last = now;
    }
    if (meter->battery[0]) {
        double power = battery_power(meter);
        if (power > 0) {
            meter->power_sum += power;
            meter->power_samples++;
        }
    }
}

double energy_end(struct energy_meter *meter, double seconds, const char **source) {
    energy_sample(meter);
    if (meter->package_count) {
        *source = "rapl";
        if (meter->joules > 0) return meter->joules;
        meter->reason = "the RAPL counters did not move: the time was too short for them";
        return -1;
    }
    *source = "battery";
    if (meter->power_samples) return meter->power_sum / (double)meter->power_samples * seconds;
    return -1;
}

const char *device_pin(const unsigned char *cpus, size_t count) {
#ifdef __linux__
    cpu_set_t set, had;
    size_t i;
    CPU_ZERO(&set);
    for (i = 0; i < count && i < CPU_SETSIZE; i++)
        if (cpus[i]) CPU_SET(i, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) return "this machine has none of these processors for us";
    /* The system leaves out those that there are not, or are not for us, without a word. */
    if (sched_getaffinity(0, sizeof had, &had) != 0 || !CPU_EQUAL(&set, &had))
        return "this machine has not all of these processors for us";
    return NULL;
#else
    (void)cpus;
    (void)count;
    return "processors can be chosen on Linux and Android only";
#endif
}
