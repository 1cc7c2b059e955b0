/* Jobs inside a program: a function builds the pipeline, and threads come and go with each job.
 *
 *     $ cc $(pkg-config --cflags weir) embed.c $(pkg-config --libs weir) -o embed
 *     $ LD_LIBRARY_PATH=$(pkg-config --variable=libdir weir) ./embed
 *     bounded: 1000 numbers, 501 of them large
 *     endless: stopped, numbers came
 *     wrong: ...nowhere...
 */
#include <stdatomic.h>
#include <stdio.h>
#include <weir/embed.h>

WEIR_RECORD(number, (uint64_t, value))

static atomic_ullong seen, large; /* several subtasks count here */

/* A sink that hands records to the program needs no writer. */
typedef struct none {
    char none;
} none;
static bool ready(none *w, weir_ctx *ctx)
{
    return (void)w, (void)ctx, true;
}
static void done(none *w, weir_ctx *ctx)
{
    (void)w, (void)ctx;
}

WEIR_SINK(tally, number, in, none, w, ctx, ready, ready, done)
{
    seen++;
    if ((int64_t)in->value >= weir_arg_i64(weir_ctx_args(ctx), "limit", 0)) large++;
}

static void watch(weir_pipeline *p)
{
    number_stream numbers = weir_source(number, p, "generator:?count=1000", .name = "numbers");
    weir_write(tally, numbers);
}

int main(void)
{
    weir_cluster *c = weir_cluster_open(.slots = 2);
    weir_job     *job = weir_start(c, watch, .name = "bounded", .args = "limit=499");
    weir_wait(job, WEIR_MINUTE);
    if (!weir_why(job)) printf("bounded: %llu numbers, %llu of them large\n", seen, large);

    seen = 0;
    job = weir_start(c, watch, .name = "endless", .set = "numbers=generator:?rate=10000");
    while (!seen && weir_wait(job, WEIR_MILLISECOND) == WEIR_JOB_RUNNING) continue;
    bool stopped = weir_stop(job, true);
    printf("endless: %s, %s\n", stopped ? "stopped" : weir_why(job), seen ? "numbers came" : "nothing came");

    job = weir_start(c, watch, .name = "wrong", .set = "numbers=file:nowhere");
    weir_wait(job, WEIR_MINUTE);
    printf("wrong: %s\n", weir_why(job));
    weir_cluster_close(c);
    return 0;
}
