/* bench/micro/image_bench.c: files with keyed state: how long a full snapshot and increments take against a plain
 * write of as many bytes, what they cost the loop that updates the table meanwhile, and how long loading takes. Built
 * on demand:
 *   cc -std=gnu17 -D_GNU_SOURCE -O3 -I. -Iinclude bench/micro/image_bench.c build/lib/libweir.a -lxxhash -luring
 *      -lmsgpackc -lm -o image_bench
 * image_bench [MB [FOLDER [ROUNDS [CPU]]]]: 64-byte entries, uniform keys.
 * image_bench rows MB FOLDER ROUNDS: only what bench/run has rows for, a line per round. */
#include "base/hash.h"
#include "base/mem.h"
#include "base/prng.h"
#include "snapshot/capture.h"
#include "snapshot/image.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1024, GROUPS = 256, DEPTH = 8, BLOCK = 1 << 20, ROUNDS_MAX = 64 };

typedef struct event {
    uint64_t user;
} event;
typedef struct total {
    uint64_t count, sum, more[5];
} total;
static const weir_field event_fields[] = {{.name = "user", .offset = 0, .size = 8, .kind = WEIR_U64}};
static const weir_field total_fields[] = {
    {.name = "count", .offset = 0, .size = 8, .kind = WEIR_U64},
    {.name = "sum", .offset = 8, .size = 8, .kind = WEIR_U64},
    {.name = "more", .offset = 16, .size = 40, .kind = WEIR_ARRAY | WEIR_U64},
};
static const weir_type event_type = {
    .abi_size = sizeof(weir_type), .fields = 1, .name = "event", .size = 8, .align = 8, .field = event_fields};
static const weir_type total_type = {
    .abi_size = sizeof(weir_type), .fields = 3, .name = "total", .size = 56, .align = 8, .field = total_fields};
static const weir_key key = {1, {{0, WEIR_U64}}};

static const wr_env *env;
static wr_parker     parker;
static const char   *folder = "/tmp";
static wr_budget     budget;
static wr_table     *table;
static uint64_t      keys, next_id = 1;
static wr_prng       prng;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}
static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return values[n / 2];
}
static void die(const wr_errinfo *info)
{
    fprintf(stderr, "%s\n", info->text);
    exit(1);
}
static void wait_for_storage(void)
{
    wr_parker_prepare(&parker);
    env->park(env->self, &parker, 1000000);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static wr_table *new_table(void)
{
    wr_table_config config = {.uid = "totals",
                              .record = &event_type,
                              .key = key,
                              .state = &total_type,
                              .max_parallelism = GROUPS,
                              .group_end = GROUPS,
                              .budget = &budget,
                              .large_pages = true};
    wr_errinfo      info = {0};
    wr_table       *made;
    if (wr_table_new(&made, &config, &info) != WR_OK) die(&info);
    return made;
}

static void update(const event *events, uint32_t n)
{
    uint64_t hash[BATCH];
    void    *state[BATCH];
    wr_key_hash(&key, events, sizeof *events, n, hash);
    wr_table_find(table, events, n, hash, NULL, 0, state, NULL);
    for (uint32_t i = 0; i < n; i++) {
        total *t = state[i];
        t->count++;
        t->sum += events[i].user;
    }
    wr_table_settle(table);
}

static void batch(void)
{
    event events[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) events[i].user = wr_prng_below(&prng, keys);
    update(events, BATCH);
}

static void fill(void)
{
    event events[BATCH];
    for (uint64_t at = 0; at < keys; at += BATCH) {
        uint32_t n = keys - at < BATCH ? (uint32_t)(keys - at) : BATCH;
        for (uint32_t i = 0; i < n; i++) events[i].user = at + i;
        update(events, n);
    }
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* The same bytes from memory that is there, as a snapshot writes them; over: into a file that is there. */
static double raw_write(uint64_t bytes, bool over)
{
    static char *from;
    char         path[512];
    wr_io       *io;
    wr_io_done   done[DEPTH];
    uint64_t     submitted = 0, flying = 0;
    if (from == NULL) {
        from = wr_mem_reserve(DEPTH * BLOCK);
        for (uint64_t i = 0; i < DEPTH * BLOCK / 8; i++) ((uint64_t *)(void *)from)[i] = wr_prng_next(&prng);
    }
    snprintf(path, sizeof path, "%s/raw", folder);
    double begin = now_ms();
    int    how = over ? 0 : WR_OPEN_CREATE | WR_OPEN_TRUNCATE;
    int    file = env->open(env->self, path, WR_OPEN_WRITE | WR_OPEN_DIRECT | how);
    if (file < 0 || env->io_new(env->self, &io, &parker, DEPTH) != 0) exit(1);
    while (submitted < bytes || flying != 0) {
        while (submitted < bytes && flying < DEPTH) {
            wr_io_op op = {.kind = WR_IO_WRITE,
                           .file = file,
                           .at = from + submitted / BLOCK % DEPTH * BLOCK,
                           .bytes = BLOCK,
                           .offset = (int64_t)submitted};
            if (env->io_submit(env->self, io, &op) != 0) break;
            submitted += BLOCK;
            flying++;
        }
        uint32_t n = env->io_reap(env->self, io, done, DEPTH);
        if (n == 0) wait_for_storage();
        flying -= n;
    }
    env->fsync(env->self, file);
    double took = now_ms() - begin;
    env->io_free(env->self, io);
    env->close(env->self, file);
    return took;
}
static void raw_remove(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/raw", folder);
    env->unlink(env->self, path);
}

/* What was measured of one snapshot. */
typedef struct result {
    double   barrier_ms, first_ms, worst_ms, took_ms, cpu_ms; /* first: barrier and the next 8 batches */
    uint64_t batches, undo;
} result;

static wr_state_file last;

/* busy: batches between steps; 0: the sources are paused. spare: the file that it overwrites; NULL: a new one. */
static result snapshot_over(const char *spare, bool full, uint32_t busy, uint64_t quantum, bool keep)
{
    char             name[64];
    wr_errinfo       info = {0};
    wr_image_config  config = {.env = env,
                               .parker = &parker,
                               .folder = folder,
                               .name = name,
                               .job = "bench",
                               .lineage = "bench",
                               .barrier = {.id = next_id, .base = next_id - 1, .kind = WR_SNAPSHOT}};
    result           r = {0};
    wr_image_writer *w;
    snprintf(name, sizeof name, "bench-%lu.wst", next_id++);
    double begin = now_ms(), cpu_begin = cpu_ms(), before;
    if (spare != NULL) config.file = wr_image_reuse(env, folder, spare, name);
    if (spare != NULL && config.file <= 0) {
        fprintf(stderr, "cannot overwrite %s/%s\n", folder, spare);
        exit(1);
    }
    if (wr_image_writer_new(&w, &config, &info) != WR_OK) die(&info);
    if (wr_image_writer_add(w, "totals", table, full, &info) != WR_OK) die(&info);
    r.barrier_ms = now_ms() - begin;
    for (;;) {
        before = now_ms();
        for (uint32_t i = 0; i < busy; i++) batch();
        r.batches += busy;
        enum wr_image_step step = wr_image_writer_step(w, quantum, &info);
        double             after = now_ms();
        if (wr_image_writer_undo_bytes(w) > r.undo) r.undo = wr_image_writer_undo_bytes(w);
        if (after - before > r.worst_ms) r.worst_ms = after - before;
        if (busy != 0 && r.batches <= 8 * busy) r.first_ms = after - begin;
        if (step == WR_IMAGE_FAILED) die(&info);
        if (step == WR_IMAGE_DURABLE) break;
        if (step == WR_IMAGE_WAIT && busy == 0) wait_for_storage();
    }
    r.took_ms = now_ms() - begin;
    r.cpu_ms = cpu_ms() - cpu_begin;
    uint64_t bytes;
    wr_image_writer_result(w, &last, &bytes);
    wr_image_writer_free(w);
    wr_capture_outcome(table, true);
    if (!keep) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        env->unlink(env->self, path);
    }
    return r;
}

static result snapshot(bool full, uint32_t busy, uint64_t quantum, bool keep)
{
    return snapshot_over(NULL, full, busy, quantum, keep);
}

static void load(uint64_t snapshot_id, wr_state_file *file, int rounds)
{
    wr_manifest_layer layer = {.file = *file, .snapshot = snapshot_id};
    wr_manifest_op    op = {.uid = "totals",
                            .max_parallelism = GROUPS,
                            .layer = &layer,
                            .layers = 1,
                            .record = &event_type,
                            .state = &total_type,
                            .key = key};
    double            took[ROUNDS_MAX], checked[ROUNDS_MAX], cpu[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) {
        wr_errinfo info = {0};
        wr_table  *loaded = new_table();
        double     begin = now_ms(), cpu_begin = cpu_ms();
        if (wr_image_load(loaded, env, folder, &op, NULL, &info) != WR_OK) die(&info);
        took[i] = now_ms() - begin;
        cpu[i] = cpu_ms() - cpu_begin;
        if (wr_table_count(loaded) != keys) exit(1);
        wr_table_free(loaded);
        begin = now_ms();
        if (wr_image_check(env, folder, file, &info) != WR_OK) die(&info);
        checked[i] = now_ms() - begin;
    }
    printf("load                     %8.1f ms, of this thread's processor %.1f\n", median(took, rounds),
           median(cpu, rounds));
    printf("check only               %8.1f ms\n", median(checked, rounds));
}

/* An increment of a share of the keys, drawn. */
static double increment_ms(double share)
{
    event events[BATCH];
    for (uint64_t n = (uint64_t)(share * (double)keys) / BATCH; n > 0; n--) {
        for (uint32_t k = 0; k < BATCH; k++) events[k].user = wr_prng_below(&prng, keys);
        update(events, BATCH);
    }
    return snapshot(false, 0, BLOCK, false).took_ms;
}

static void changed(double share, int rounds, double full_ms)
{
    double took[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++) took[i] = increment_ms(share);
    double ms = median(took, rounds);
    printf("increment, %4.0f %% drawn  %8.1f ms  %7.1f MB  %.3f of a full one\n", share * 100, ms,
           (double)last.bytes / 1e6, ms / full_ms);
}

/* The loop goes on while the snapshot is written. */
static void while_busy(int rounds, double base_ms)
{
    for (uint64_t quantum = 128 << 10; quantum <= 1 << 20; quantum *= 2) {
        double   barrier[ROUNDS_MAX], first[ROUNDS_MAX], worst[ROUNDS_MAX], lost[ROUNDS_MAX], took[ROUNDS_MAX];
        uint64_t undo = 0;
        for (int i = 0; i < rounds; i++) {
            result r = snapshot(true, 1, quantum, false);
            barrier[i] = r.barrier_ms;
            first[i] = r.first_ms;
            worst[i] = r.worst_ms;
            took[i] = r.took_ms;
            lost[i] = r.took_ms - (double)r.batches * base_ms;
            if (r.undo > undo) undo = r.undo;
        }
        printf("busy, quantum %4lu KiB: barrier %.3f, and 8 batches %.3f, worst batch %.3f, durable %.1f, "
               "lost %.1f ms, undo %.1f MB\n",
               quantum >> 10, median(barrier, rounds), median(first, rounds), median(worst, rounds),
               median(took, rounds), median(lost, rounds), (double)undo / 1e6);
    }
}

static void set_up(uint64_t megabytes)
{
    env = wr_env_real();
    env->parker_init(env->self, &parker);
    prng = wr_prng_of(1);
    keys = (megabytes << 20) / 64;
    table = new_table();
    fill();
}

/* Everything in turn, so that a disk that changes its mind does so for all. */
static int rows(uint64_t megabytes, int rounds)
{
    wr_errinfo info = {0};
    set_up(megabytes);
    (void)snapshot(true, 0, BLOCK, false); /* warm */
    if (wr_table_mark(table, true, &info) != WR_OK) die(&info);
    (void)snapshot(true, 0, BLOCK, false);
    for (int i = 0; i < rounds; i++) {
        char   spare[64];
        double full = snapshot(true, 0, BLOCK, true).took_ms, raw = raw_write(last.bytes, false);
        snprintf(spare, sizeof spare, "%s", last.name);
        double reused = snapshot_over(spare, true, 0, BLOCK, false).took_ms, over = raw_write(last.bytes, true);
        raw_remove();
        printf("bench full_s=%.6f raw_s=%.6f reused_s=%.6f over_s=%.6f bytes=%lu", full * 1e-3, raw * 1e-3,
               reused * 1e-3, over * 1e-3, last.bytes);
        printf(" increment_s=%.6f\n", increment_ms(0.01) * 1e-3);
    }
    wr_table_free(table);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "rows") == 0) {
        folder = argv[3];
        return rows(strtoull(argv[2], NULL, 10), (int)strtol(argv[4], NULL, 10));
    }
    uint64_t  megabytes = argc > 1 ? strtoull(argv[1], NULL, 10) : 512;
    int       rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 7;
    cpu_set_t set;
    if (argc > 2) folder = argv[2];
    if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
    CPU_ZERO(&set);
    CPU_SET(argc > 4 ? strtoul(argv[4], NULL, 10) : 0, &set);
    if (argc > 4) sched_setaffinity(0, sizeof set, &set);
    set_up(megabytes);
    printf("%lu MB, %lu keys\n", megabytes, keys);

    double raw[ROUNDS_MAX], full[ROUNDS_MAX], base[ROUNDS_MAX];
    (void)snapshot(true, 0, BLOCK, false); /* warm */
    for (int i = 0; i < rounds; i++) {
        raw[i] = raw_write(megabytes << 20, false);
        raw_remove();
        result r = snapshot(true, 0, BLOCK, false);
        full[i] = r.took_ms;
        base[i] = r.cpu_ms;
    }
    printf("full, processor          %8.1f ms\n", median(base, rounds));
    double raw_ms = median(raw, rounds), full_ms = median(full, rounds);
    printf("raw direct write         %8.1f ms\n", raw_ms);
    printf("full, sources paused     %8.1f ms  %.2f of raw  %.1f MB\n", full_ms, full_ms / raw_ms,
           (double)last.bytes / 1e6);
    uint64_t kept = next_id;
    (void)snapshot(true, 0, BLOCK, true);
    load(kept, &last, rounds > 5 ? 5 : rounds);
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, last.name);
    env->unlink(env->self, path);

    for (int i = 0; i < rounds; i++) {
        double begin = now_ms();
        for (uint32_t k = 0; k < 4096; k++) batch();
        base[i] = (now_ms() - begin) / 4096;
    }
    double base_ms = median(base, rounds);
    printf("batch of %d            %8.3f ms\n", BATCH, base_ms);
    while_busy(rounds, base_ms);
    wr_errinfo info = {0};
    if (wr_table_mark(table, true, &info) != WR_OK) die(&info);
    (void)snapshot(true, 0, BLOCK, false);
    changed(0.01, rounds, full_ms);
    changed(0.1, rounds, full_ms);
    changed(0.5, rounds, full_ms);
    wr_table_free(table);
    return 0;
}
