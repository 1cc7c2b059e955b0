/* Snapshots under load as a pipeline: uniform keys with entries of 64 bytes are updated as fast as they come, or at a
 * rate, while `weir run --snapshots` takes snapshots.
 *
 *     generate -> key by key -> update -> (one record in 64) measure
 *
 *     weir run snapshots.so -p P --snapshots DIR --snapshot-interval T -- keys=K seconds=S [rate=R warm=S] [steps=FILE]
 *
 * Every key is met before the clock starts. Prints at the end, as far as they were measured:
 *   seconds, count     of the sources from `warm` seconds behind their common start to their end
 *   snapshots          barriers seen by sink 0
 *   pause_us           median of the time from a barrier until 8,192 records more were given, eight batches (one slot)
 *   gap_p99_us         of all times between two batches from a barrier until the snapshot was durable (one slot)
 *   p50_us ... p999_us from when a record was due to when it reached the sink (with rate), but for the first `warm`
 *                      seconds: the first snapshots touch memory that nobody has used before
 * With `steps` that file gets a line "start T" when records begin to flow, T of the monotonic clock in nanoseconds, and
 * at the end the records of all sources in each 10 ms since then, a number a line, and behind them a line "durable T"
 * for each snapshot, T in nanoseconds since the start; `run` and `lost` read it. */
#include "meter.h"
#include <stdlib.h>

enum { SAMPLE = 64, RECORDS = 8192, PAUSES_MAX = 4096, GAPS_MAX = 1 << 22, BATCH_MAX = 1024 };
enum { STEP_NS = 10000000, STEPS_MAX = 8192, SOURCES_MAX = 64, MARKS_MAX = 256 };
enum { BUCKETS_LOG2 = 6, BUCKETS = 40 << BUCKETS_LOG2 }; /* of latencies: about 1.5 % wide */

WEIR_RECORD(change, (uint64_t, key), (uint64_t, value), (int64_t, due_ns))
WEIR_RECORD(sample, (int64_t, due_ns), (uint64_t, n))
WEIR_STATE(entry, (uint64_t, n), (uint64_t, sum), (uint64_t, most), (uint64_t, least), (uint64_t, first),
           (uint64_t, last), (uint64_t, odd))
WEIR_RECORD(part, (uint64_t, number), (uint64_t, met), (uint64_t, sent), (uint64_t, rng))

/* One slot writes all but the atomics: rows that read these have one slot. */
static struct {
    _Atomic uint64_t sent, warm_sent; /* by all; warm_sent: in the first `warm` seconds */
    _Atomic uint32_t ended, snapshots;
    _Atomic int64_t  end_ns;
    int64_t          barrier_ns, batch_ns, warm_ns;
    uint64_t         sent_now;     /* at batch_ns */
    uint64_t         barrier_sent; /* records before the barrier */
    _Atomic bool     open;         /* a snapshot is under way */
    int64_t          pause[PAUSES_MAX];
    uint32_t         pauses;
    int64_t         *gap;
    uint32_t         gaps;
    uint64_t         latency[BUCKETS], latencies;
} seen;

/* Each source writes its own row; source 0 the rest. */
static struct {
    uint64_t sent[SOURCES_MAX][STEPS_MAX]; /* up to the end of each step; 0: as in the one before */
    int64_t  durable_ns[MARKS_MAX];
    uint32_t durables;
} steps;

static void note_step(uint64_t source, int64_t since_ns, uint64_t sent)
{
    uint64_t step = (uint64_t)since_ns / STEP_NS;
    if (source < SOURCES_MAX && step < STEPS_MAX) steps.sent[source][step] = sent;
}

static FILE *steps_file(const char *path, const char *how)
{
    FILE *file = path != NULL ? fopen(path, how) : NULL;
    if (path != NULL && file == NULL) perror(path);
    return file;
}

static void begin_steps(const char *path)
{
    FILE *file = steps_file(path, "w");
    if (file == NULL) return;
    fprintf(file, "start %lld\n", (long long)meter.start_ns);
    fclose(file);
}

static void write_steps(const char *path)
{
    uint64_t was[SOURCES_MAX] = {0};
    FILE    *file = steps_file(path, "a");
    if (file == NULL) return;
    uint64_t n = (uint64_t)(seen.end_ns - meter.start_ns) / STEP_NS;
    for (uint64_t i = 0; i < n && i < STEPS_MAX; i++) {
        uint64_t sum = 0;
        for (uint64_t k = 0; k < SOURCES_MAX; k++) {
            if (steps.sent[k][i] == 0) continue;
            sum += steps.sent[k][i] - was[k];
            was[k] = steps.sent[k][i];
        }
        fprintf(file, "%llu\n", (unsigned long long)sum);
    }
    for (uint32_t i = 0; i < steps.durables; i++)
        fprintf(file, "durable %lld\n", (long long)(steps.durable_ns[i] - meter.start_ns));
    fclose(file);
}

static uint32_t bucket_of(int64_t ns)
{
    uint64_t n = ns < 1 ? 1 : (uint64_t)ns;
    uint32_t log2 = 63u - (uint32_t)__builtin_clzll(n);
    if (log2 < BUCKETS_LOG2) return (uint32_t)n;
    uint32_t at = ((log2 - BUCKETS_LOG2 + 1) << BUCKETS_LOG2) +
                  (uint32_t)((n >> (log2 - BUCKETS_LOG2)) - (1u << BUCKETS_LOG2));
    return at < BUCKETS ? at : BUCKETS - 1;
}
static double us_of(uint32_t bucket)
{
    if (bucket < 1u << BUCKETS_LOG2) return bucket * 1e-3;
    uint32_t log2 = (bucket >> BUCKETS_LOG2) - 1 + BUCKETS_LOG2;
    return (double)((uint64_t)((bucket & ((1u << BUCKETS_LOG2) - 1)) + (1u << BUCKETS_LOG2)) << (log2 - BUCKETS_LOG2)) *
           1e-3;
}
static double latency_us(double share)
{
    uint64_t wanted = (uint64_t)((double)seen.latencies * share), below = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        below += seen.latency[i];
        if (below > wanted) return us_of(i);
    }
    return us_of(BUCKETS - 1);
}

/* ---- what the slot sees of a snapshot ---- */

static void batch_begins(uint64_t sent)
{
    int64_t now = meter_now_ns();
    if (seen.barrier_ns != 0 && sent - seen.barrier_sent >= RECORDS) {
        if (seen.pauses < PAUSES_MAX) seen.pause[seen.pauses++] = now - seen.barrier_ns;
        seen.barrier_ns = 0;
    }
    if (atomic_load_explicit(&seen.open, memory_order_relaxed) && seen.batch_ns != 0 && seen.gaps < GAPS_MAX)
        seen.gap[seen.gaps++] = now - seen.batch_ns;
    seen.batch_ns = now;
    seen.sent_now = sent;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* ---- source ---- */

typedef struct generator {
    uint64_t keys, rate, of;
    int64_t  seconds_ns, start_ns;
    bool     ready, going, warm;

    const char *steps;
} generator;

static void parts(part_out *out, weir_ctx *ctx)
{
    uint64_t n = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "sources", 1);
    for (uint64_t i = 0; i < n; i++)
        part_emit(out, (part){.number = i, .met = i, .rng = METER_SEED + i * METER_SEED_STEP});
}
static bool generator_open(const part *at, generator *g, weir_ctx *ctx)
{
    const weir_args *args = weir_ctx_args(ctx);
    g->of = (uint64_t)weir_arg_i64(args, "sources", 1);
    g->keys = (uint64_t)weir_arg_i64(args, "keys", 1000000);
    g->rate = (uint64_t)weir_arg_i64(args, "rate", 0) / g->of;
    g->seconds_ns = weir_arg_i64(args, "seconds", 10) * WEIR_SECOND;
    g->steps = at->number == 0 ? weir_arg(args, "steps", NULL) : NULL;
    seen.warm_ns = weir_arg_i64(args, "warm", 0) * WEIR_SECOND;
    if (seen.gap == NULL) seen.gap = calloc(GAPS_MAX, sizeof *seen.gap);
    return seen.gap != NULL;
}
static void generator_close(generator *g)
{
    (void)g;
}
/* The coordinator says that the snapshot is durable. */
static void generator_durable(const part *at, generator *g)
{
    (void)g;
    if (at->number == 0 && meter.start_ns != 0 && steps.durables < MARKS_MAX)
        steps.durable_ns[steps.durables++] = meter_now_ns();
    atomic_store_explicit(&seen.open, false, memory_order_relaxed);
}

static void say_end(const generator *g, uint64_t sent)
{
    atomic_fetch_add(&seen.sent, sent);
    if (atomic_fetch_add(&seen.ended, 1) + 1 == g->of) atomic_store(&seen.end_ns, meter_now_ns());
}

WEIR_SOURCE(generate, part, at, generator, g, change, out, ctx, parts, generator_open, generator_close,
            generator_durable)
{
    for (; at->met < g->keys && weir_room(&out->out); at->met += g->of) change_emit(out, (change){.key = at->met});
    if (at->met < g->keys) return WEIR_MORE;
    if (!g->going) {
        if (!g->ready) meter_ready((uint32_t)g->of, 2 * WEIR_SECOND);
        g->ready = true;
        g->going = meter_go(ctx);
        if (!g->going) return WEIR_IDLE;
        begin_steps(g->steps);
        g->start_ns = meter_now_ns();
    }
    batch_begins(at->sent);
    int64_t  since = seen.batch_ns - g->start_ns;
    uint64_t may = UINT64_MAX;
    note_step(at->number, since, at->sent);
    if (!g->warm && since >= seen.warm_ns) {
        g->warm = true;
        atomic_fetch_add(&seen.warm_sent, at->sent);
    }
    if (since >= g->seconds_ns) {
        say_end(g, at->sent);
        return WEIR_END;
    }
    if (g->rate != 0) may = (uint64_t)((double)g->rate * 1e-9 * (double)since);
    for (uint32_t n = 0; n < BATCH_MAX && at->sent < may && weir_room(&out->out); n++, at->sent++) {
        uint64_t x = at->rng = meter_xorshift(at->rng);
        int64_t  due_ns = g->rate != 0 ? g->start_ns + (int64_t)((double)at->sent / (double)g->rate * 1e9) : 0;
        change_emit(out, (change){.key = meter_below(x, g->keys), .value = meter_price(x), .due_ns = due_ns});
    }
    if (at->sent < may) return WEIR_MORE;
    weir_wake_after(ctx, 20 * WEIR_MICROSECOND);
    return WEIR_IDLE;
}

WEIR_KEYED(update, change, in, entry, st, sample, out)
{
    st->sum += in->value;
    st->most = in->value > st->most ? in->value : st->most;
    st->odd += in->value & 1;
    st->last = in->value;
    st->n++;
    if (__builtin_expect(in->value % SAMPLE == 1, 0)) sample_emit(out, (sample){.due_ns = in->due_ns, .n = st->n});
}

/* ---- sink ---- */

typedef struct gauge {
    uint32_t    subtask;
    const char *steps;
} gauge;
static bool gauge_open(gauge *m, weir_ctx *ctx)
{
    m->subtask = weir_subtask(ctx);
    m->steps = weir_arg(weir_ctx_args(ctx), "steps", NULL);
    return true;
}
/* At each barrier; when the job is idle as well, which it is not while it is measured at full speed. */
static bool gauge_flush(gauge *m, weir_ctx *ctx)
{
    (void)ctx;
    if (m->subtask != 0 || atomic_load(&meter.start_ns) == 0 || atomic_load(&seen.end_ns) != 0) return true;
    atomic_fetch_add(&seen.snapshots, 1);
    seen.barrier_ns = meter_now_ns();
    seen.barrier_sent = seen.sent_now;
    atomic_store_explicit(&seen.open, true, memory_order_relaxed);
    return true;
}
static void gauge_close(gauge *m, weir_ctx *ctx)
{
    (void)ctx;
    if (m->subtask != 0) return;
    qsort(seen.pause, seen.pauses, sizeof *seen.pause, by_number);
    if (seen.gap != NULL) qsort(seen.gap, seen.gaps, sizeof *seen.gap, by_number);
    printf("\nbench seconds=%.6f count=%llu snapshots=%u", (double)(seen.end_ns - meter.start_ns - seen.warm_ns) * 1e-9,
           (unsigned long long)(seen.sent - seen.warm_sent), seen.snapshots);
    if (seen.pauses > 0)
        printf(" pause_us=%.1f pause_most_us=%.1f pauses=%u", (double)seen.pause[seen.pauses / 2] * 1e-3,
               (double)seen.pause[seen.pauses - 1] * 1e-3, seen.pauses);
    if (seen.gaps > 0)
        printf(" gap_p50_us=%.1f gap_p99_us=%.1f gap_most_us=%.1f gaps=%u", (double)seen.gap[seen.gaps / 2] * 1e-3,
               (double)seen.gap[seen.gaps - 1 - seen.gaps / 100] * 1e-3, (double)seen.gap[seen.gaps - 1] * 1e-3,
               seen.gaps);
    if (seen.latencies > 0)
        printf(" p50_us=%.1f p90_us=%.1f p99_us=%.1f p999_us=%.1f", latency_us(0.5), latency_us(0.9), latency_us(0.99),
               latency_us(0.999));
    printf("\n");
    fflush(stdout);
    write_steps(m->steps);
}
WEIR_SINK(measure, sample, in, gauge, m, ctx, gauge_open, gauge_flush, gauge_close)
{
    (void)ctx;
    if (in->due_ns == 0 || m->subtask != 0 || in->due_ns < meter.start_ns + seen.warm_ns) return;
    seen.latency[bucket_of(meter_now_ns() - in->due_ns)]++;
    seen.latencies++;
}

WEIR_PIPELINE(snapshots, p)
{
    change_stream changes = weir_read(generate, p);
    sample_stream samples = weir_apply(update, weir_key_by(changes, key));
    weir_write(measure, samples, .blocking = WEIR_ON_SLOT);
}
