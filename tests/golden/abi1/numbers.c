/* A source, a way through the job, and a sink of one's own: primes, those of the form 4k + 1 apart from the others.
 *
 *     $ weir build -q numbers.c
 *     $ weir run -q -p 2 numbers.so -- end=100000
 *     $ wc -l primes-0 primes-1
 *      4783 primes-0
 *      4809 primes-1
 *      9592 total
 */
#include <stdio.h>
#include <unistd.h>
#include <weir/pipeline.h>

WEIR_RECORD(range, (uint64_t, first), (uint64_t, next), (uint64_t, end))
WEIR_RECORD(number, (uint64_t, value))

/* Of a source's or a sink's subtask. The source needs none: the split says it all. */
typedef struct local {
    FILE *file;
} local;
static void ranges(range_out *out, weir_ctx *ctx)
{
    uint64_t part = (uint64_t)weir_arg_i64(weir_ctx_args(ctx), "end", 100) / 4;
    for (uint64_t i = 0; i < 4; i++) range_emit(out, (range){i * part, i * part, (i + 1) * part});
}
static bool open_range(const range *split, local *r, weir_ctx *ctx)
{
    return (void)r, (void)ctx, split->next <= split->end;
}
static void close_range(local *r)
{
    (void)r;
}

/* `next` is the exact position: what was emitted lies before it, what was not does not. */
WEIR_SOURCE(count_up, range, split, local, r, number, out, ctx, ranges, open_range, close_range)
{
    while (split->next < split->end && weir_room(&out->out)) number_emit(out, (number){split->next++});
    return split->next < split->end ? WEIR_MORE : WEIR_END;
}
WEIR_FILTER(prime, number, in)
{
    for (uint64_t d = 2; d * d <= in->value; d++)
        if (in->value % d == 0) return false;
    return in->value > 1;
}
WEIR_FUSE(primes, count_up, prime) /* one loop: numbers that are no primes never leave the registers */
WEIR_PARTITION(by_form, number, in, channels)
{
    return (uint32_t)(in->value % 4 == 1 ? 0 : channels - 1);
}

static bool open_file(local *w, weir_ctx *ctx)
{
    char name[32];
    snprintf(name, sizeof name, "primes-%u", weir_subtask(ctx));
    return (w->file = fopen(name, "w")) || (weir_fail(ctx, "cannot write the file"), false);
}
/* When it returns true, what was written so far is on the disk. */
static bool flush_file(local *w, weir_ctx *ctx)
{
    return (void)ctx, !fflush(w->file) && !fsync(fileno(w->file));
}
static void close_file(local *w, weir_ctx *ctx)
{
    if ((void)ctx, w->file) fclose(w->file);
}
WEIR_SINK(to_file, number, in, local, w, ctx, open_file, flush_file, close_file)
{
    if (fprintf(w->file, "%llu\n", (unsigned long long)in->value) < 0) weir_fail(ctx, "cannot write");
}

WEIR_PIPELINE(numbers, p)
{
    weir_write(to_file, weir_partition(by_form, weir_read(primes, p)), .parallelism = 2);
}
