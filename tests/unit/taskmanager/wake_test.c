/* ctest: threads
 * What wakes an idle source: descriptors of all of its splits, and other threads. Slots here sleep until something
 * wakes them, however long: what is not woken hangs. */
#include "tests/unit/taskmanager/jobs.h"
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

enum { SPLITS_MAX = 24, ROUNDS = 300 };
enum asks { IN_POLL, IN_OPEN, BY_WAKER };

WEIR_RECORD(pipe_end, (int32_t, fd))
WEIR_RECORD(byte, (int32_t, fd), (uint32_t, value))

/* The test's; and what the source tells it. */
static struct {
    enum asks             asks;
    uint32_t              splits;
    int                   end[SPLITS_MAX][2];
    _Atomic(weir_waker *) waker;
    _Atomic uint64_t      seen, asleep; /* asleep: 1 while the source's slot is */
} w;
static _Thread_local bool has_source;

static void ends(pipe_end_out *out, weir_ctx *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; i < w.splits; i++) pipe_end_emit(out, (pipe_end){w.end[i][0]});
}
typedef struct reader {
    int fd;
} reader;
static bool reader_open(const pipe_end *split, reader *r, weir_ctx *ctx)
{
    r->fd = split->fd;
    if (w.asks == IN_OPEN) weir_wake_on_fd(ctx, r->fd);
    if (w.asks == BY_WAKER) atomic_store(&w.waker, weir_waker_of(ctx));
    return true;
}
static void reader_close(reader *r)
{
    close(r->fd);
}
WEIR_SOURCE(bytes, pipe_end, split, reader, r, byte, out, ctx, ends, reader_open, reader_close)
{
    unsigned char value = 0;
    if (!weir_room(&out->out)) return WEIR_MORE;
    ssize_t n = read(r->fd, &value, 1);
    if (n == 0) return WEIR_END;
    if (n > 0) {
        byte_emit(out, (byte){split->fd, value});
        return WEIR_MORE;
    }
    if (w.asks == IN_POLL) weir_wake_on_fd(ctx, r->fd);
    return WEIR_IDLE;
}
WEIR_FILTER(note, byte, in)
{
    has_source = true;
    atomic_fetch_add(&w.seen, 1);
    return in->fd >= 0;
}

static void park_fds(void *self, wr_parker *parker, int64_t timeout_ns, const int *fd, uint32_t fds)
{
    if (has_source) atomic_store(&w.asleep, 1);
    wr_env_real()->park_fds(self, parker, timeout_ns == WR_PARK_NS_MAX ? -1 : timeout_ns, fd, fds);
    if (has_source) atomic_store(&w.asleep, 0);
}
static void park(void *self, wr_parker *parker, int64_t timeout_ns)
{
    park_fds(self, parker, timeout_ns, NULL, 0);
}

static void begin(jobs_run *r, const wr_env *env, enum asks asks, uint32_t splits)
{
    wr_errinfo info = {0};
    memset(r, 0, sizeof *r);
    w.asks = asks;
    w.splits = splits;
    w.seen = w.asleep = 0;
    w.waker = NULL;
    for (uint32_t i = 0; i < splits; i++) assert_int_equal(pipe2(w.end[i], O_NONBLOCK | O_CLOEXEC), 0);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->told, NULL);
    r->pipeline = wr_job_new("wake", NULL, 0);
    weir_apply(note, weir_read(bytes, r->pipeline, .parallelism = 1));
    wr_job_settings   settings = {.parallelism = 1, .loose_ends = true};
    wr_worker_options options = {.env = env, .job = "wake", .seed = 1, .notify = jobs_notify, .self = r};
    if (wr_job_finish(r->pipeline, &settings, &r->job, &info) != WR_OK ||
        wr_exec_new(r->job, &r->exec, &info) != WR_OK || wr_worker_new(&r->worker, r->exec, &options, &info) != WR_OK)
        fail_msg("%s", info.text);
    jobs_start(r);
}

static void wait_until(const _Atomic uint64_t *counter, uint64_t least)
{
    while (atomic_load(counter) < least) sched_yield();
}

static void run(enum asks asks, uint32_t splits)
{
    jobs_run r;
    wr_env   env = *wr_env_real();
    env.park = park;
    env.park_fds = park_fds;
    begin(&r, &env, asks, splits);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        if (i % 2 == 1) wait_until(&w.asleep, 1);
        assert_int_equal(write(w.end[i % splits][1], "x", 1), 1);
        while (asks == BY_WAKER && atomic_load(&w.waker) == NULL) sched_yield();
        if (asks == BY_WAKER) weir_wake(w.waker);
        wait_until(&w.seen, i + 1);
    }
    for (uint32_t i = 0; i < splits; i++) close(w.end[i][1]);
    if (asks == BY_WAKER) weir_wake(w.waker);
    jobs_end(&r);
    assert_int_equal(r.in[WR_TASK_FINISHED], r.exec->subtasks);
    assert_int_equal(w.seen, ROUNDS);
    jobs_free(&r);
}

static void test_each_split_has_its_descriptor(void **state)
{
    (void)state;
    run(IN_POLL, 2);
}
static void test_a_descriptor_of_open_is_kept(void **state)
{
    (void)state;
    run(IN_OPEN, 2);
}
static void test_more_than_can_be_watched(void **state)
{
    (void)state;
    run(IN_POLL, SPLITS_MAX);
}
static void test_other_threads_wake_it(void **state)
{
    (void)state;
    run(BY_WAKER, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_split_has_its_descriptor),
        cmocka_unit_test(test_a_descriptor_of_open_is_kept),
        cmocka_unit_test(test_more_than_can_be_watched),
        cmocka_unit_test(test_other_threads_wake_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
