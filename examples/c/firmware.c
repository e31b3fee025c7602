/* For firmware: fixed buffers, and proof that the heap does not grow.
 *
 *   firmware BUNDLE ONNXRUNTIME_LIBRARY [CALLS]
 *
 * Classifies CALLS texts (10,000) of lengths that vary, after a warm-up with the longest
 * one, and counts what is allocated meanwhile: by this program and limbeck, and apart
 * from that by ONNX Runtime and the C++ library it uses. Ends with 1 if the live memory
 * of the first has grown. It counts by taking the place of malloc, so it is for Linux
 * with glibc. Built as examples/c/sentiment.c says, with -ldl.
 */

#define _GNU_SOURCE

#include <limbeck.h>

#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- counting ---------------------------------------------------------- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);
extern size_t malloc_usable_size(void *block);

enum { OURS, RUNTIMES, OWNERS };

static struct {
    uint64_t calls;
    int64_t live, peak;
} counts[OWNERS];

/* Where the code of this program and of liblimbeck lies. */
static struct {
    uintptr_t begin, end;
} ours[16];
static size_t ours_count;

/* Blocks of ours, so that a free is booked where its malloc was, whoever frees. Open
 * addressing; fixed, as everything here. */
#define BLOCKS (1u << 16)
static void *blocks[BLOCKS];

static size_t place_of(void *block) { return (((uintptr_t)block >> 4) * 2654435761u) % BLOCKS; }

static int owner(void *caller) {
    uintptr_t address = (uintptr_t)caller;
    size_t i;
    for (i = 0; i < ours_count; i++)
        if (address >= ours[i].begin && address < ours[i].end) return OURS;
    return RUNTIMES;
}

static void *allocated(void *block, void *caller) {
    int who = owner(caller);
    if (!block) return block;
    if (who == OURS) {
        size_t at = place_of(block), tries;
        for (tries = 0; tries < BLOCKS && blocks[at]; tries++) at = (at + 1) % BLOCKS;
        if (tries == BLOCKS) abort(); /* more live blocks than a program of this size has */
        blocks[at] = block;
    }
    counts[who].calls++;
    counts[who].live += (int64_t)malloc_usable_size(block);
    if (counts[who].live > counts[who].peak) counts[who].peak = counts[who].live;
    return block;
}

static void freed(void *block) {
    int who = RUNTIMES;
    size_t at = place_of(block), tries;
    if (!block) return;
    for (tries = 0; tries < BLOCKS && blocks[at]; tries++, at = (at + 1) % BLOCKS)
        if (blocks[at] == block) {
            /* Close the gap, so that later ones are still found. */
            size_t gap = at, next = (at + 1) % BLOCKS;
            blocks[gap] = NULL;
            for (; blocks[next]; next = (next + 1) % BLOCKS) {
                size_t home = place_of(blocks[next]);
                if ((next > gap && (home <= gap || home > next)) || (next < gap && home <= gap && home > next)) {
                    blocks[gap] = blocks[next];
                    blocks[next] = NULL;
                    gap = next;
                }
            }
            who = OURS;
            break;
        }
    counts[who].live -= (int64_t)malloc_usable_size(block);
}

/* With one session and one thread only this thread allocates while calls run; the lock
 * is for the threads that a library may start on loading. */
static volatile int busy;
static void lock(void) {
    while (__sync_lock_test_and_set(&busy, 1)) {
    }
}
static void unlock(void) { __sync_lock_release(&busy); }

#define CALLER __builtin_return_address(0)
#define BOOKED(expression)                        \
    do {                                          \
        void *made;                               \
        lock();                                   \
        made = allocated((expression), CALLER);   \
        unlock();                                 \
        return made;                              \
    } while (0)

void *malloc(size_t size) { BOOKED(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { BOOKED(__libc_calloc(count, size)); }
void *memalign(size_t alignment, size_t size) { BOOKED(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { BOOKED(__libc_memalign(alignment, size)); }
int posix_memalign(void **out, size_t alignment, size_t size) {
    lock();
    *out = allocated(__libc_memalign(alignment, size), CALLER);
    unlock();
    return *out ? 0 : 12;
}
void *realloc(void *block, size_t size) {
    void *made;
    lock();
    freed(block);
    made = allocated(__libc_realloc(block, size), CALLER);
    unlock();
    return made;
}
void free(void *block) {
    lock();
    freed(block);
    unlock();
    __libc_free(block);
}

/* Notes the code of the program itself (no name) and of liblimbeck. */
static int note(struct dl_phdr_info *object, size_t size, void *first) {
    int i;
    (void)size;
    if (*(int *)first || strstr(object->dlpi_name, "liblimbeck"))
        for (i = 0; i < object->dlpi_phnum && ours_count < sizeof ours / sizeof *ours; i++)
            if (object->dlpi_phdr[i].p_type == PT_LOAD && (object->dlpi_phdr[i].p_flags & PF_X)) {
                ours[ours_count].begin = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
                ours[ours_count].end = ours[ours_count].begin + object->dlpi_phdr[i].p_memsz;
                ours_count++;
            }
    *(int *)first = 0;
    return 0;
}

/* ---- the program ------------------------------------------------------- */

static const char *const WORDS[] = {"the ", "battery ", "is ", "good ", "and ", "the ", "screen ", "bad ", ". "};

/* A text of so many words, in a buffer that is always the same. */
static limbeck_str text_of(size_t words) {
    static char buffer[4096];
    limbeck_str text = {buffer, 0};
    size_t i;
    for (i = 0; i < words; i++) {
        const char *word = WORDS[i % (sizeof WORDS / sizeof *WORDS)];
        size_t length = strlen(word);
        if (text.length + length > sizeof buffer) break;
        memcpy(buffer + text.length, word, length);
        text.length += length;
    }
    return text;
}

static limbeck_status classify(const limbeck_model *model, size_t words, limbeck_error **error) {
    limbeck_str text = text_of(words);
    limbeck_result *result = NULL;
    limbeck_score best;
    limbeck_status status = limbeck_model_classify(model, text.data, text.length, NULL, &result, error);
    limbeck_score_init(&best, sizeof best);
    if (status == LIMBECK_OK) status = limbeck_result_score(result, 0, 0, &best, error);
    limbeck_result_free(result);
    return status;
}

int main(int argc, char **argv) {
    limbeck_error *error = NULL;
    limbeck_env *env = NULL;
    limbeck_model *model = NULL;
    limbeck_env_options env_options;
    limbeck_status status;
    long calls = argc > 3 ? strtol(argv[3], NULL, 10) : 10000, i;
    size_t longest = 60;
    int first = 1;

    if (argc < 3 || calls < 1) {
        fprintf(stderr, "usage: %s BUNDLE ONNXRUNTIME_LIBRARY [CALLS]\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IONBF, 0); /* or it would allocate its buffer when first used */
    dl_iterate_phdr(note, &first);
    limbeck_env_options_init(&env_options, sizeof env_options);
    env_options.runtime_path.data = argv[2];
    env_options.runtime_path.length = strlen(argv[2]);
    status = LIMBECK_CHECK_ABI(&error);
    if (status == LIMBECK_OK) status = limbeck_env_new(&env_options, &env, &error);
    if (status == LIMBECK_OK) status = limbeck_model_open(env, argv[1], strlen(argv[1]), NULL, &model, &error);

    /* Every length once, so that all that is kept has been made. */
    for (i = 0; i <= (long)longest && status == LIMBECK_OK; i++) status = classify(model, longest - (size_t)i, &error);

    if (status == LIMBECK_OK) {
        int64_t live[OWNERS];
        uint64_t made[OWNERS];
        int64_t grown;
        int who;
        for (who = 0; who < OWNERS; who++) {
            live[who] = counts[who].live;
            made[who] = counts[who].calls;
            counts[who].peak = counts[who].live;
        }
        for (i = 0; i < calls && status == LIMBECK_OK; i++) status = classify(model, (size_t)(i * 7) % longest, &error);
        grown = counts[OURS].live - live[OURS];
        for (who = 0; who < OWNERS; who++)
            printf("%-24s live before %8ld bytes, after %8ld, at most %8ld; %.1f allocations a call\n",
                   who == OURS ? "this program and limbeck" : "ONNX Runtime", (long)live[who], (long)counts[who].live,
                   (long)counts[who].peak, (double)(counts[who].calls - made[who]) / (double)calls);
        printf("%ld calls: the heap of this program and limbeck has grown by %ld bytes\n", calls, (long)grown);
        if (status == LIMBECK_OK && grown > 0) return 1;
    }

    if (status != LIMBECK_OK) {
        limbeck_str message = limbeck_error_message(error);
        fprintf(stderr, "%s: %.*s\n", limbeck_status_name(status), (int)message.length, message.data);
    }
    limbeck_error_free(error);
    limbeck_model_free(model);
    limbeck_env_free(env);
    return status == LIMBECK_OK ? 0 : 1;
}
