/* Speaks NVML's ABI (nvml.h, CUDA 12) with values out of a script, for tests on machines without a GPU.
 *
 * FAKE_NVML_SCRIPT names a text file of lines `KEY VALUE`; it is read anew whenever it has changed. KEY is `N.field` of GPU N, or a
 * name of the system: `count`, `driver`, `cuda`, `init` (what nvmlInit returns). A field that the script does not name is not supported
 * (3); a value `!CODE` makes the call return that error; `N.lost 1` makes every call of GPU N return 15 (GPU is lost). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef int Return;
typedef void *Device;
enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, TIMEOUT = 10, LOST = 15 };

#define MOST 1024
static struct { char key[160], value[1600]; } table[MOST];
static int entries, started, events_taken[64];
static struct timespec stamp;

static void load(void) {
    const char *path = getenv("FAKE_NVML_SCRIPT");
    struct stat info;
    if (!path || stat(path, &info)) return;
    if (info.st_mtim.tv_sec == stamp.tv_sec && info.st_mtim.tv_nsec == stamp.tv_nsec) return;
    stamp = info.st_mtim;
    FILE *file = fopen(path, "r");
    char line[1700];
    entries = 0;
    while (file && entries < MOST && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *space = strchr(line, ' ');
        if (!space) continue;
        *space = 0;
        snprintf(table[entries].key, sizeof table[entries].key, "%.159s", line);
        snprintf(table[entries++].value, sizeof table[0].value, "%.1599s", space + 1);
    }
    if (file) fclose(file);
}

static const char *find(const char *key) {
    load();
    for (int i = 0; i < entries; i++)
        if (!strcmp(table[i].key, key)) return table[i].value;
    return NULL;
}

static int index_of(Device device) { return (int)((size_t)device & 0xff) - 1; }

static Return text_of(Device device, const char *field, const char **out) {
    char key[64];
    if (device) {
        snprintf(key, sizeof key, "%d.lost", index_of(device));
        if (find(key)) return LOST;
        snprintf(key, sizeof key, "%d.%s", index_of(device), field);
    } else
        snprintf(key, sizeof key, "%s", field);
    if (!started) return UNINITIALIZED;
    *out = find(key);
    if (!*out) return NOT_SUPPORTED;
    if (**out == '!') return atoi(*out + 1);
    return OK;
}

static Return number(Device device, const char *field, unsigned long long *out) {
    const char *text;
    Return code = text_of(device, field, &text);
    if (!code) *out = strtoull(text, NULL, 10);
    return code;
}

#define UINT(name, field) \
    Return name(Device device, unsigned int *out) { \
        unsigned long long value = 0; Return code = number(device, field, &value); \
        if (!code) *out = (unsigned int)value; \
        return code; }
#define UINT_ARG(name, format) \
    Return name(Device device, int which, unsigned int *out) { \
        char field[32]; snprintf(field, sizeof field, format, which); \
        unsigned long long value = 0; Return code = number(device, field, &value); \
        if (!code) *out = (unsigned int)value; \
        return code; }
#define PAIR(name, field) \
    Return name(Device device, unsigned int *one, unsigned int *two) { \
        unsigned long long value = 0; Return code = number(device, field, &value); \
        if (!code) { *one = (unsigned int)value; *two = (unsigned int)value; } \
        return code; }

UINT(nvmlDeviceGetPowerUsage, "mw")
UINT(nvmlDeviceGetEnforcedPowerLimit, "cap")
UINT(nvmlDeviceGetPerformanceState, "pstate")
UINT(nvmlDeviceGetFanSpeed, "fan")
UINT(nvmlDeviceGetPersistenceMode, "persist")
UINT(nvmlDeviceGetComputeMode, "mode")
UINT(nvmlDeviceGetCurrPcieLinkGeneration, "gen")
UINT(nvmlDeviceGetCurrPcieLinkWidth, "width")
UINT(nvmlDeviceGetMaxMigDeviceCount, "maxmig")
UINT(nvmlDeviceGetIndex, "index")
UINT_ARG(nvmlDeviceGetTemperature, "temp%d")
UINT_ARG(nvmlDeviceGetClockInfo, "clock%d")
UINT_ARG(nvmlDeviceGetMaxClockInfo, "maxclock%d")
UINT_ARG(nvmlDeviceGetPcieThroughput, "pcie%d")
PAIR(nvmlDeviceGetEncoderUtilization, "enc")
PAIR(nvmlDeviceGetEccMode, "ecc")
PAIR(nvmlDeviceGetMigMode, "mig")

Return nvmlInit_v2(void) {
    started = 1;
    unsigned long long code = 0;
    const char *text;
    if (!text_of(NULL, "init", &text)) code = strtoull(text, NULL, 10);
    if (code) started = 0;
    return (Return)code;
}
Return nvmlInitWithFlags(unsigned int flags) { (void)flags; return nvmlInit_v2(); }
Return nvmlShutdown(void) { started = 0; return OK; }

const char *nvmlErrorString(Return code) {
    switch (code) {
    case NOT_SUPPORTED: return "Not Supported";
    case 9: return "Driver Not Loaded";
    case LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

static Return string(Device device, const char *field, char *out, unsigned int size) {
    const char *text;
    Return code = text_of(device, field, &text);
    if (!code) snprintf(out, size, "%s", text);
    return code;
}
Return nvmlSystemGetDriverVersion(char *out, unsigned int size) { return string(NULL, "driver", out, size); }
Return nvmlDeviceGetUUID(Device device, char *out, unsigned int size) { return string(device, "uuid", out, size); }
Return nvmlDeviceGetName(Device device, char *out, unsigned int size) { return string(device, "name", out, size); }
Return nvmlSystemGetCudaDriverVersion_v2(int *out) {
    unsigned long long value = 0;
    Return code = number(NULL, "cuda", &value);
    *out = (int)value;
    return code;
}
Return nvmlDeviceGetCount_v2(unsigned int *out) {
    unsigned long long value = 0;
    Return code = number(NULL, "count", &value);
    *out = (unsigned int)value;
    return code;
}
Return nvmlDeviceGetHandleByIndex_v2(unsigned int index, Device *out) {
    const char *text;
    *out = (Device)(size_t)(0x1000 + index + 1);
    Return code = text_of(*out, "uuid", &text);
    return code == NOT_SUPPORTED ? OK : code;
}

Return nvmlDeviceGetUtilizationRates(Device device, unsigned int *out) {
    unsigned long long gpu = 0, memory = 0;
    Return code = number(device, "util", &gpu);
    if (code) return code;
    number(device, "mutil", &memory);
    out[0] = (unsigned int)gpu;
    out[1] = (unsigned int)memory;
    return OK;
}
Return nvmlDeviceGetMemoryInfo(Device device, unsigned long long *out) {
    unsigned long long total = 0, used = 0;
    Return code = number(device, "total", &total);
    if (code || (code = number(device, "used", &used))) return code;
    out[0] = total; out[1] = total - used; out[2] = used;
    return OK;
}
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } MemoryV2;
Return nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2 *out) {
    if (out->version != (sizeof *out | 2 << 24)) return 25; /* NVML_ERROR_ARGUMENT_VERSION_MISMATCH */
    unsigned long long reserved = 0;
    if (number(device, "reserved", &reserved)) return NOT_SUPPORTED;
    unsigned long long total = 0, used = 0;
    Return code = number(device, "total", &total);
    if (code || (code = number(device, "used", &used))) return code;
    out->total = total; out->reserved = reserved; out->used = used; out->free = total - used - reserved;
    return OK;
}
Return nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *out) { return number(device, "why", out); }
Return nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *out) { return number(device, "oldwhy", out); }
Return nvmlDeviceGetTotalEccErrors(Device device, int type, int counter, unsigned long long *out) {
    (void)counter;
    return number(device, type ? "ecc2" : "ecc1", out);
}
Return nvmlDeviceGetRemappedRows(Device device, unsigned int *a, unsigned int *b, unsigned int *pending, unsigned int *failed) {
    const char *text;
    Return code = text_of(device, "rows", &text);
    if (!code) sscanf(text, "%u,%u,%u,%u", a, b, pending, failed);
    return code;
}
Return nvmlDeviceGetRetiredPages(Device device, int cause, unsigned int *count, unsigned long long *addresses) {
    char field[16];
    unsigned long long value = 0;
    snprintf(field, sizeof field, "pages%d", cause);
    Return code = number(device, field, &value);
    if (code) return code;
    int fits = *count >= value && addresses;
    *count = (unsigned int)value;
    return value && !fits ? INSUFFICIENT_SIZE : OK;
}

typedef struct { unsigned int id, scope; long long timestamp, latency; unsigned int type; Return result; unsigned long long value; } Field;
Return nvmlDeviceGetFieldValues(Device device, int count, Field *fields) {
    const char *lost;
    Return code = text_of(device, "uuid", &lost);
    if (code == LOST) return LOST;
    for (int i = 0; i < count; i++) {
        char field[32];
        unsigned long long value = 0;
        snprintf(field, sizeof field, "field%u", fields[i].id);
        fields[i].result = number(device, field, &value);
        fields[i].type = fields[i].id == 82 ? 1 : 3;
        fields[i].value = value;
    }
    return OK;
}

typedef struct { unsigned int pid; unsigned long long used; unsigned int instance, compute; } Process;
static Return processes(Device device, const char *field, unsigned int *count, Process *out) {
    const char *text;
    Return code = text_of(device, field, &text);
    if (code) return code;
    unsigned int found = 0;
    char copy[1600], *save = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save), found++)
        if (found < *count) {
            unsigned long long used = 0xFFFFFFFFFFFFFFFFULL;
            sscanf(word, "%u:%llu", &out[found].pid, &used);
            out[found].used = used;
        }
    int fits = found <= *count;
    *count = found;
    return fits ? OK : INSUFFICIENT_SIZE;
}
Return nvmlDeviceGetComputeRunningProcesses_v3(Device d, unsigned int *n, Process *out) { return processes(d, "compute", n, out); }
Return nvmlDeviceGetGraphicsRunningProcesses_v3(Device d, unsigned int *n, Process *out) { return processes(d, "graphics", n, out); }

Return nvmlDeviceGetAccountingMode(Device device, unsigned int *out) {
    unsigned long long value = 0;
    Return code = number(device, "accounting", &value);
    *out = (unsigned int)value;
    return code;
}
typedef struct { unsigned int utilization, memory; unsigned long long peak, time, start; unsigned int running, reserved[5]; } Account;
Return nvmlDeviceGetAccountingStats(Device device, unsigned int pid, Account *out) {
    Process found[64];
    unsigned int count = 64;
    Return code = processes(device, "peaks", &count, found);
    if (code) return code;
    for (unsigned int i = 0; i < count; i++)
        if (found[i].pid == pid) {
            memset(out, 0, sizeof *out);
            out->peak = found[i].used;
            out->running = 1;
            return OK;
        }
    return 6; /* NVML_ERROR_NOT_FOUND */
}

Return nvmlDeviceGetMigDeviceHandleByIndex(Device device, unsigned int index, Device *out) {
    char key[32];
    snprintf(key, sizeof key, "%d.uuid", index_of(device) * 10 + 100 + (int)index);
    if (!find(key)) return 6; /* NVML_ERROR_NOT_FOUND */
    *out = (Device)(size_t)(0x1000 + index_of(device) * 10 + 100 + (int)index + 1);
    return OK;
}

Return nvmlEventSetCreate(void **out) { *out = (void *)0x77; return OK; }
Return nvmlDeviceRegisterEvents(Device device, unsigned long long kinds, void *set) { (void)device; (void)kinds; (void)set; return OK; }
typedef struct { Device device; unsigned long long type, data; unsigned int instance, compute; } Event;
Return nvmlEventSetWait_v2(void *set, Event *out, unsigned int wait) {
    (void)set; (void)wait;
    unsigned long long count = 0, xid = 0;
    number(NULL, "count", &count);
    for (unsigned int i = 0; i < count && i < 64; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u.xid", i);
        const char *text = find(key);
        if (!text) { events_taken[i] = 0; continue; }
        xid = strtoull(text, NULL, 10);
        if (events_taken[i] == (int)xid) continue;
        events_taken[i] = (int)xid;
        out->device = (Device)(size_t)(0x1000 + i + 1);
        out->type = 0x8;
        out->data = xid;
        return OK;
    }
    return TIMEOUT;
}
