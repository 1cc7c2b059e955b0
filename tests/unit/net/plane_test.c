/* The data plane against a peer that is written out here byte by byte: what it sends, what it believes, what it does
 * not; two planes whose every call is short; channels that are blocked.
 * ctest: no_uring */
#include "base/env.h"
#include "base/prng.h"
#include "base/sum.h"
#include "net/plane.h"
#include "wire/data.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir/pipeline.h>

#include <cmocka.h>

WEIR_RECORD(row, (uint64_t, n), (weir_str, text), (bool, odd))
WEIR_RECORD(plain, (uint64_t, a), (uint64_t, b))

enum { JOB = 77, ATTEMPT = 3, IN_ROWS = 5, IN_PLAIN = 6, OUT_ROWS = 7, OUT_SPLITS = 8, BODY_MAX = 1 << 16 };

typedef struct fixture {
    wr_env          env;
    wr_plane       *plane;
    wr_parker       parker, consumer;
    wr_pipe        *pipe[9]; /* by channel */
    wr_pool         rows, splits;
    int             peer; /* the test's end */
    uint32_t        seq[16], credit_seq[16];
    _Atomic int64_t lease;
} fixture;

static void sockets(const wr_env *env, int socket[2])
{
    char address[32];
    int  listener = env->listen(env->self, "127.0.0.1:0");
    snprintf(address, sizeof address, "127.0.0.1:%d", env->port_of(env->self, listener));
    socket[0] = env->connect(env->self, address);
    do socket[1] = env->accept(env->self, listener);
    while (socket[1] < 0);
    env->hang_up(env->self, listener);
}

static wr_pipe *pipe_new(void)
{
    return aligned_alloc(WR_CACHE_LINE, (sizeof(wr_pipe) + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1));
}

static void add_in(fixture *f, uint32_t channel, const weir_type *type, bool timed)
{
    f->pipe[channel] = pipe_new();
    wr_plane_channel c = {.channel = channel, .pipe = f->pipe[channel], .type = type, .timed = timed, .neighbours = 4};
    assert_int_equal(wr_plane_in(f->plane, &c, &f->consumer, 2, NULL), WR_OK);
}

static void add_out(fixture *f, uint32_t channel, wr_pool *pool, const weir_type *type, bool timed, bool splits)
{
    f->pipe[channel] = pipe_new();
    wr_pool_init(pool, type->size, true, timed, 64);
    wr_pipe_init(f->pipe[channel], pool, &f->parker, &f->consumer, 0);
    wr_plane_channel c = {.channel = channel, .pipe = f->pipe[channel], .type = type, .timed = timed, .splits = splits};
    assert_int_equal(wr_plane_out(f->plane, &c, NULL), WR_OK);
}

static void run(fixture *f)
{
    for (int quiet = 0; quiet < 3;) quiet = wr_plane_step(f->plane, f->env.mono_ns(f->env.self)) ? 0 : quiet + 1;
}

static void setup(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->env = *wr_env_real();
    f->lease = INT64_MAX;
    f->env.parker_init(f->env.self, &f->parker);
    f->env.parker_init(f->env.self, &f->consumer);
    wr_plane_config config = {
        .env = &f->env, .parker = &f->parker, .job = JOB, .attempt = ATTEMPT, .slot = 1, .lease_until_ns = &f->lease};
    assert_int_equal(wr_plane_new(&f->plane, &config, NULL), WR_OK);
    add_in(f, IN_ROWS, &weir_type_row, true);
    add_in(f, IN_PLAIN, &weir_type_plain, false);
    add_out(f, OUT_ROWS, &f->rows, &weir_type_row, true, false);
    add_out(f, OUT_SPLITS, &f->splits, &weir_type_row, false, true);
    int socket[2];
    sockets(&f->env, socket);
    f->peer = socket[1];
    assert_false(wr_plane_connected(f->plane));
    wr_plane_give(f->plane, 0, socket[0]);
    assert_true(wr_plane_connected(f->plane));
    run(f);
}

static void teardown(fixture *f)
{
    wr_plane_free(f->plane);
    for (uint32_t i = OUT_ROWS; i <= OUT_SPLITS; i++) wr_pipe_fini(f->pipe[i]);
    for (uint32_t i = IN_ROWS; i <= OUT_SPLITS; i++) free(f->pipe[i]);
    wr_pool_fini(&f->rows);
    wr_pool_fini(&f->splits);
    f->env.parker_fini(f->env.self, &f->parker);
    f->env.parker_fini(f->env.self, &f->consumer);
    close(f->peer);
}

/* The next frame that the plane sends. */
static wr_data_head next_frame(fixture *f, char body[BODY_MAX])
{
    uint8_t      head[WR_DATA_HEAD_BYTES];
    wr_data_head h;
    wr_errinfo   info = {0};
    size_t       got = 0, want = sizeof head;
    bool         known = false;
    while (got < want) {
        run(f);
        ssize_t n = got < sizeof head ? recv(f->peer, head + got, sizeof head - got, 0)
                                      : recv(f->peer, body + (got - sizeof head), want - got, 0);
        if (n < 0 && errno == EAGAIN) continue;
        assert_true(n > 0);
        got += (size_t)n;
        if (got < sizeof head || known) continue;
        if (wr_data_head_get(&h, head, &info) != WR_OK) fail_msg("%s", info.text);
        known = true;
        want += h.body_bytes;
        assert_true(h.body_bytes <= BODY_MAX);
    }
    return h;
}

static bool silent(fixture *f)
{
    run(f);
    char byte;
    return recv(f->peer, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

/* Sums are made of the records, the times and the heap in turn. */
static uint64_t sum_of(const wr_data_head *h, const char *body)
{
    uint8_t      bytes[WR_DATA_HEAD_BYTES];
    wr_data_head zero = *h;
    zero.sum = 0;
    wr_data_head_put(&zero, bytes);
    uint64_t sum = wr_sum_plain.of64(bytes, sizeof bytes, 0);
    size_t   at = 0, piece[3] = {h->body_bytes, 0, 0};
    if (h->kind == WR_FRAME_RECORDS) {
        piece[0] = (size_t)h->n * h->stride;
        piece[1] = h->timed ? (size_t)h->n * 8 : 0;
        piece[2] = h->heap_bytes;
    }
    for (int i = 0; i < 3; i++) {
        if (piece[i] > 0 && at + piece[i] <= h->body_bytes) sum = wr_sum_plain.of64(body + at, piece[i], sum);
        at += piece[i];
    }
    return sum;
}

static void put_bytes(fixture *f, const void *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(f->peer, (const char *)bytes + at, n - at, MSG_NOSIGNAL);
        if (sent > 0) at += (size_t)sent;
        if (sent < 0 && errno != EAGAIN) return; /* it has hung up, which is what some tests want */
        run(f);
    }
}

static void put_frame(fixture *f, wr_data_head h, const void *body)
{
    char all[WR_DATA_HEAD_BYTES + BODY_MAX];
    h.sum = h.sum == 0 ? sum_of(&h, body) : h.sum;
    wr_data_head_put(&h, (uint8_t *)all);
    memcpy(all + WR_DATA_HEAD_BYTES, body, h.body_bytes);
    put_bytes(f, all, WR_DATA_HEAD_BYTES + h.body_bytes);
    run(f);
}

static wr_data_head head(fixture *f, uint32_t kind, uint32_t channel)
{
    return (wr_data_head){.kind = (uint8_t)kind,
                          .attempt = ATTEMPT,
                          .job = JOB,
                          .channel = channel,
                          .seq = kind == WR_FRAME_CREDIT ? f->credit_seq[channel]++ : f->seq[channel]++};
}

static void grant(fixture *f, uint32_t channel, uint32_t n, uint32_t records)
{
    wr_data_head h = head(f, WR_FRAME_CREDIT, channel);
    h.n = n;
    h.at = records;
    put_frame(f, h, "");
}

/* Two rows, a far string and a near one. */
static const char   FAR[] = "this text lies in the heap of the frame";
static wr_data_head two_rows(fixture *f, char body[BODY_MAX])
{
    wr_data_head h = head(f, WR_FRAME_RECORDS, IN_ROWS);
    row          r[2];
    uint64_t     offset = 1;
    int64_t      times[2] = {100, 200};
    memset(r, 0, sizeof r);
    r[0].n = 1;
    r[0].odd = true;
    r[0].text = weir_str_of(FAR, sizeof FAR - 1);
    memcpy(&r[0].text.u, &offset, 8);
    r[1].n = 2;
    r[1].text = weir_lit("near");
    memcpy(body, r, sizeof r);
    memcpy(body + sizeof r, times, sizeof times);
    body[sizeof r + sizeof times] = '!';
    memcpy(body + sizeof r + sizeof times + 1, FAR, sizeof FAR - 1);
    h.n = 2;
    h.stride = sizeof(row);
    h.timed = true;
    h.heap_bytes = sizeof FAR;
    h.body_bytes = sizeof r + sizeof times + sizeof FAR;
    return h;
}

static wr_data_head one_plain(fixture *f, plain *p)
{
    wr_data_head h = head(f, WR_FRAME_RECORDS, IN_PLAIN);
    *p = (plain){.a = 1, .b = 2};
    h.n = 1;
    h.stride = h.body_bytes = sizeof *p;
    return h;
}

static uint32_t credits_of(fixture *f, uint32_t channel)
{
    char         body[BODY_MAX];
    wr_data_head h = next_frame(f, body);
    assert_int_equal(h.kind, WR_FRAME_CREDIT);
    assert_int_equal(h.channel, channel);
    assert_int_equal(h.sum, sum_of(&h, body));
    return h.n;
}

/* ---- what comes in ---- */

static void test_records_come_as_they_were(void **state)
{
    (void)state;
    fixture f;
    char    body[BODY_MAX];
    setup(&f);
    assert_int_equal(credits_of(&f, IN_ROWS), 2 + 2 * WR_RING_MAX / 4);
    assert_int_equal(credits_of(&f, IN_PLAIN), 2 + 2 * WR_RING_MAX / 4);
    put_frame(&f, two_rows(&f, body), body);
    put_frame(&f,
              (wr_data_head){.kind = WR_FRAME_WATERMARK,
                             .attempt = ATTEMPT,
                             .job = JOB,
                             .channel = IN_ROWS,
                             .seq = f.seq[IN_ROWS]++,
                             .at = 12345},
              "");
    wr_barrier   barrier = {.id = 9, .base = 8, .kind = WR_SAVEPOINT, .epoch = 4}, none = {0};
    wr_data_head h = head(&f, WR_FRAME_BARRIER, IN_ROWS);
    h.at = 1000000;
    h.body_bytes = WR_BARRIER_BYTES;
    wr_data_barrier_put(&barrier, (uint8_t *)body);
    put_frame(&f, h, body);
    put_frame(&f, head(&f, WR_FRAME_END, IN_ROWS), "");

    wr_pipe  *p = f.pipe[IN_ROWS];
    wr_batch *b = wr_ring_pop(&p->data);
    assert_int_equal(b->kind, WR_RECORDS);
    assert_int_equal(b->n, 2);
    const row *r = (const row *)(const void *)b->records;
    weir_str   far = weir_str_of(FAR, sizeof FAR - 1), near = weir_lit("near");
    assert_true(weir_str_equal(&r[0].text, &far) && weir_str_equal(&r[1].text, &near));
    assert_true(r[0].odd && !r[1].odd && r[1].n == 2 && b->time[1].ns == 200);
    wr_pipe_return(p, b, &f.env);
    b = wr_ring_pop(&p->data);
    assert_true(b->kind == WR_WATERMARK && b->at == 12345 && b->stride == 0);
    wr_pipe_return(p, b, &f.env);
    b = wr_ring_pop(&p->data);
    assert_true(b->kind == WR_BARRIER && memcmp(&b->barrier, &none, sizeof none) != 0 && b->barrier.id == 9 &&
                b->barrier.base == 8 && b->barrier.kind == WR_SAVEPOINT && b->barrier.epoch == 4);
    assert_true(b->at > 0 && b->at <= f.env.mono_ns(f.env.self) - 1000000);
    wr_pipe_return(p, b, &f.env);
    assert_true(silent(&f)); /* credit comes back when half of it is gone */
    b = wr_ring_pop(&p->data);
    assert_int_equal(b->kind, WR_END);
    wr_pipe_return(p, b, &f.env);
    assert_null(wr_ring_pop(&p->data));
    put_frame(&f, head(&f, WR_FRAME_IDLE, IN_ROWS), "");
    wr_pipe_return(p, wr_ring_pop(&p->data), &f.env);
    assert_int_equal(credits_of(&f, IN_ROWS), 5);
    teardown(&f);
}

typedef struct spoiled {
    const char *text;                                       /* that the failure must have */
    bool (*spoil)(fixture *f, wr_data_head *h, char *body); /* false: it has sent something itself */
} spoiled;

static bool bad_kind(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->kind = 0x5a;
    return true;
}
static bool bad_sum(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->sum = 1;
    return true;
}
static bool bad_seq(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->seq = 1;
    return true;
}
static bool stale_attempt(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->attempt = ATTEMPT - 1;
    return true;
}
static bool other_job(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->job = JOB + 1;
    return true;
}
static bool our_own_channel(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->channel = OUT_ROWS;
    return true;
}
static bool half_stride(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->stride /= 2;
    h->body_bytes -= h->n * h->stride;
    return true;
}
static bool no_times(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->timed = false;
    h->body_bytes -= 16;
    return true;
}
static bool beyond_the_heap(fixture *f, wr_data_head *h, char *body)
{
    uint64_t offset = 3;
    (void)f;
    (void)h;
    memcpy(body + offsetof(row, text) + offsetof(weir_str, u), &offset, sizeof offset);
    return true;
}
static bool other_prefix(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)h;
    body[offsetof(row, text) + offsetof(weir_str, head)] = 'T';
    return true;
}
static bool behind_a_short_string(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)h;
    body[sizeof(row) + offsetof(row, text) + 15] = 'x';
    return true;
}
static bool more_than_true(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)h;
    body[sizeof(row) + offsetof(row, odd)] = 2;
    return true;
}
static bool short_body(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->body_bytes--;
    return true;
}
static bool more_than_granted(fixture *f, wr_data_head *h, char *body)
{
    plain p;
    for (int k = 0; k < 10; k++) {
        put_frame(f, one_plain(f, &p), &p);
        assert_false(wr_plane_failed(f->plane, &(wr_errinfo){0}));
    }
    *h = one_plain(f, (plain *)(void *)body);
    return true;
}
static bool credit_of_no_channel(fixture *f, wr_data_head *h, char *body)
{
    (void)body;
    *h = head(f, WR_FRAME_CREDIT, IN_ROWS);
    h->n = 1;
    return true;
}
static bool too_much_credit(fixture *f, wr_data_head *h, char *body)
{
    (void)body;
    grant(f, OUT_ROWS, 30, 0);
    *h = head(f, WR_FRAME_CREDIT, OUT_ROWS);
    h->n = 7;
    return true;
}
static bool credit_out_of_order(fixture *f, wr_data_head *h, char *body)
{
    (void)body;
    *h = head(f, WR_FRAME_CREDIT, OUT_ROWS);
    h->n = h->seq = 1;
    return true;
}
static bool barrier_of_zeros(fixture *f, wr_data_head *h, char *body)
{
    memset(body, 0, WR_BARRIER_BYTES);
    *h = head(f, WR_FRAME_BARRIER, IN_PLAIN);
    h->body_bytes = WR_BARRIER_BYTES;
    return true;
}
static bool too_many_records(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->n = WR_BATCH_RECORDS_MAX + 1;
    return true;
}
static bool heap_without_strings(fixture *f, wr_data_head *h, char *body)
{
    *h = one_plain(f, (plain *)(void *)body);
    h->heap_bytes = 4;
    h->body_bytes += 4;
    return true;
}
static bool more_than_a_batch(fixture *f, wr_data_head *h, char *body)
{
    (void)body;
    *h = head(f, WR_FRAME_RECORDS, IN_PLAIN);
    h->n = 2049;
    h->stride = 16;
    h->body_bytes = 2049 * 16;
    return true;
}
static bool too_large_a_heap(fixture *f, wr_data_head *h, char *body)
{
    (void)f;
    (void)body;
    h->heap_bytes = WR_BATCH_HEAP_BYTES + 1;
    return true;
}
static bool twice(fixture *f, wr_data_head *h, char *body)
{
    put_frame(f, *h, body);
    return true;
}
static bool ends_in_the_middle(fixture *f, wr_data_head *h, char *body)
{
    uint8_t bytes[WR_DATA_HEAD_BYTES];
    wr_data_head_put(h, bytes);
    put_bytes(f, bytes, sizeof bytes);
    put_bytes(f, body, 10);
    shutdown(f->peer, SHUT_WR);
    run(f);
    return false;
}

static const spoiled SPOILED[] = {
    {"makes no sense", bad_kind},
    {"its sum is wrong", bad_sum},
    {"frames are missing", bad_seq},
    {"another job or attempt", stale_attempt},
    {"another job or attempt", other_job},
    {"no such channel", our_own_channel},
    {"of another type", half_stride},
    {"of another type", no_times},
    {"as weir_str_of makes it", beyond_the_heap},
    {"as weir_str_of makes it", other_prefix},
    {"as weir_str_of makes it", behind_a_short_string},
    {"as weir_str_of makes it", more_than_true},
    {"makes no sense", short_body},
    {"no credit for it", more_than_granted},
    {"was due", credit_of_no_channel},
    {"was due", too_much_credit},
    {"was due", credit_out_of_order},
    {"a barrier makes no sense", barrier_of_zeros},
    {"makes no sense", too_many_records},
    {"of another type", heap_without_strings},
    {"makes no sense", more_than_a_batch},
    {"makes no sense", too_large_a_heap},
    {"frames are missing", twice},
    {"closed it", ends_in_the_middle},
};

/* One wrong thing each; the plane fails, says which, and hangs up. */
static void test_nothing_is_believed(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < sizeof SPOILED / sizeof *SPOILED; i++) {
        fixture f;
        char    body[BODY_MAX] = {0};
        setup(&f);
        wr_data_head h = two_rows(&f, body);
        bool         whole = SPOILED[i].spoil(&f, &h, body);
        if (whole) put_frame(&f, h, body);
        wr_errinfo info = {0};
        assert_true(wr_plane_failed(f.plane, &info));
        if (strstr(info.text, SPOILED[i].text) == NULL) fail_msg("case %u: %s", i, info.text);
        assert_non_null(strstr(info.text, "between slot 1 and slot 0"));
        assert_int_equal(info.code, whole ? WR_IO : WR_UNREACHABLE);
        assert_false(wr_plane_step(f.plane, 0));
        char byte[256];
        for (ssize_t n; (n = recv(f.peer, byte, sizeof byte, 0)) > 0;) {}
        struct pollfd closed = {.fd = f.peer, .events = POLLIN};
        assert_int_equal(poll(&closed, 1, 5000), 1);
        teardown(&f);
    }
}

/* Any bytes at all. */
static void test_noise(void **state)
{
    (void)state;
    wr_prng random = wr_prng_of(3);
    for (uint32_t i = 0; i < 200; i++) {
        fixture f;
        char    body[BODY_MAX];
        setup(&f);
        wr_data_head h = two_rows(&f, body);
        uint8_t      bytes[WR_DATA_HEAD_BYTES + 256];
        h.sum = sum_of(&h, body);
        wr_data_head_put(&h, bytes);
        memcpy(bytes + WR_DATA_HEAD_BYTES, body, h.body_bytes);
        uint32_t bit = (uint32_t)wr_prng_below(&random, 8 * (WR_DATA_HEAD_BYTES + h.body_bytes));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_bytes(&f, bytes, WR_DATA_HEAD_BYTES + h.body_bytes);
        shutdown(f.peer, SHUT_WR);
        run(&f);
        assert_true(wr_plane_failed(f.plane, &(wr_errinfo){0}));
        assert_null(wr_ring_pop(&f.pipe[IN_ROWS]->data));
        teardown(&f);
    }
}

/* Whoever does not take what is his holds nobody else up, and memory is what was granted. */
static void test_a_blocked_channel_blocks_no_other(void **state)
{
    (void)state;
    fixture f;
    char    body[BODY_MAX];
    plain   p;
    setup(&f);
    uint32_t credits = credits_of(&f, IN_ROWS);
    credits_of(&f, IN_PLAIN);
    for (uint32_t i = 0; i < credits; i++) put_frame(&f, two_rows(&f, body), body);
    for (uint32_t i = 0; i < 1000; i++) {
        put_frame(&f, one_plain(&f, &p), &p);
        wr_batch *b = wr_ring_pop(&f.pipe[IN_PLAIN]->data);
        assert_non_null(b);
        wr_pipe_return(f.pipe[IN_PLAIN], b, &f.env);
        if (i % 5 == 4) assert_int_equal(credits_of(&f, IN_PLAIN), 5);
    }
    assert_int_equal(wr_ring_count(&f.pipe[IN_ROWS]->data), credits);
    assert_false(wr_plane_failed(f.plane, &(wr_errinfo){0}));
    teardown(&f);
}

/* ---- what goes out ---- */

static wr_batch *row_batch(fixture *f, wr_pool *pool, uint64_t n)
{
    (void)f;
    wr_batch *b = wr_pool_take(pool);
    row       r;
    memset(&r, 0, sizeof r);
    r.n = n;
    memcpy(b->heap, FAR, sizeof FAR - 1);
    b->heap_used = sizeof FAR - 1;
    r.text = weir_str_of(b->heap, sizeof FAR - 1);
    memcpy(b->records, &r, sizeof r);
    if (b->time != NULL) b->time[0] = (weir_time){.ns = 5};
    b->n = 1;
    return b;
}

static void test_elements_leave_by_credit(void **state)
{
    (void)state;
    fixture    f;
    char       body[BODY_MAX];
    wr_barrier barrier = {.id = 3, .base = 2, .kind = WR_SNAPSHOT, .epoch = 1}, got;
    setup(&f);
    credits_of(&f, IN_ROWS);
    credits_of(&f, IN_PLAIN);
    wr_pipe *p = f.pipe[OUT_ROWS];
    wr_pipe_send(p, row_batch(&f, &f.rows, 1), &f.env);
    wr_pipe_control(p, WR_WATERMARK, -7, &f.env);
    wr_pipe_barrier(p, &barrier, f.env.mono_ns(f.env.self), &f.env);
    assert_true(silent(&f));
    wr_plane_stats stats;
    wr_plane_stats_of(f.plane, &stats);
    assert_int_equal(stats.stalled, 1);
    grant(&f, OUT_ROWS, 2, 0);
    wr_data_head h = next_frame(&f, body);
    assert_true(h.kind == WR_FRAME_RECORDS && h.n == 1 && h.seq == 0 && h.timed && h.attempt == ATTEMPT &&
                h.job == JOB);
    assert_int_equal(h.sum, sum_of(&h, body));
    row      r;
    uint64_t offset;
    memcpy(&r, body, sizeof r);
    memcpy(&offset, &r.text.u, 8);
    assert_true(offset == 0 && r.text.len == sizeof FAR - 1 && memcmp(r.text.head, FAR, 4) == 0);
    assert_memory_equal(body + sizeof r + 8, FAR, sizeof FAR - 1);
    wr_pipe_reclaim(p);
    assert_int_equal(p->away, 0); /* what has left is home again */
    h = next_frame(&f, body);
    assert_true(h.kind == WR_FRAME_WATERMARK && h.at == -7 && h.seq == 1 && h.sum == sum_of(&h, body));
    assert_true(silent(&f));
    grant(&f, OUT_ROWS, 1, 1);
    h = next_frame(&f, body);
    assert_true(h.kind == WR_FRAME_BARRIER && h.seq == 2 && h.at >= 0 && h.sum == sum_of(&h, body));
    assert_int_equal(wr_data_barrier_get(&got, (const uint8_t *)body, NULL), WR_OK);
    assert_memory_equal(&got, &barrier, sizeof got);
    teardown(&f);
}

/* The enumerator's credit: its batch is away until the reader has given it home. */
static void test_a_split_is_away_until_it_was_taken(void **state)
{
    (void)state;
    fixture f;
    char    body[BODY_MAX];
    setup(&f);
    credits_of(&f, IN_ROWS);
    credits_of(&f, IN_PLAIN);
    wr_pipe *p = f.pipe[OUT_SPLITS];
    grant(&f, OUT_SPLITS, 4, 0);
    wr_pipe_send(p, row_batch(&f, &f.splits, 1), &f.env);
    wr_pipe_control(p, WR_END, 0, &f.env);
    assert_int_equal(next_frame(&f, body).kind, WR_FRAME_RECORDS);
    assert_int_equal(next_frame(&f, body).kind, WR_FRAME_END);
    wr_pipe_reclaim(p);
    assert_int_equal(p->away, 1);
    grant(&f, OUT_SPLITS, 1, 0); /* the end */
    wr_pipe_reclaim(p);
    assert_int_equal(p->away, 1);
    grant(&f, OUT_SPLITS, 1, 1);
    wr_pipe_reclaim(p);
    assert_int_equal(p->away, 0);
    teardown(&f);
}

static void test_no_lease_no_frame(void **state)
{
    (void)state;
    fixture f;
    char    body[BODY_MAX];
    setup(&f);
    run(&f);
    f.lease = f.env.mono_ns(f.env.self) - 1;
    put_frame(&f, two_rows(&f, body), body);
    wr_errinfo info = {0};
    assert_true(wr_plane_failed(f.plane, &info));
    assert_int_equal(info.code, WR_UNREACHABLE);
    assert_null(wr_ring_pop(&f.pipe[IN_ROWS]->data));
    teardown(&f);
}

/* ---- two planes ---- */

static wr_prng cuts;

/* As many bytes as the dice say. */
static uint32_t cut(const wr_span *from, wr_span *to, uint32_t n)
{
    size_t   most = 1 + wr_prng_below(&cuts, wr_prng_one_in(&cuts, 3) ? 40000 : 100);
    uint32_t k = 0;
    for (; k < n && most > 0; k++) {
        to[k] = from[k];
        if (to[k].bytes > most) to[k].bytes = most;
        most -= to[k].bytes;
    }
    return k;
}
static int64_t short_send(void *self, int socket, const wr_span *from, uint32_t n)
{
    wr_span some[WR_SPANS_MAX];
    if (wr_prng_one_in(&cuts, 5)) return -EAGAIN;
    n = cut(from, some, n);
    return wr_env_real()->send(self, socket, some, n);
}
static int64_t short_receive(void *self, int socket, const wr_span *to, uint32_t n)
{
    wr_span some[WR_SPANS_MAX];
    if (wr_prng_one_in(&cuts, 5)) return -EAGAIN;
    n = cut(to, some, n);
    return wr_env_real()->receive(self, socket, some, n);
}

typedef struct end {
    wr_plane *plane;
    wr_parker parker;
    wr_pipe  *pipe[3];
} end;

static uint32_t length_of(uint64_t n)
{
    if (n % 97 == 0) return 300000; /* a batch of its own */
    return n % 7 == 0 ? 2000 : (uint32_t)(n % 40);
}

static char byte_of(uint64_t n, uint32_t i)
{
    return (char)(n * 31 + i * 7);
}

/* Rows from `at` on; returns how many. */
static uint32_t fill(wr_pool *pool, wr_pipe *p, uint64_t at, uint64_t records, const wr_env *env)
{
    wr_batch *b = length_of(at) > WR_BATCH_HEAP_BYTES ? wr_pool_take_special(pool, length_of(at)) : wr_pool_take(pool);
    uint32_t  most = 1 + (uint32_t)wr_prng_below(&cuts, b->capacity);
    for (; b->n < most && at + b->n < records; b->n++) {
        uint64_t n = at + b->n;
        uint32_t len = length_of(n);
        char     small[WEIR_STR_INLINE];
        if (len > WEIR_STR_INLINE && len > b->heap_bytes - b->heap_used) break;
        char *text = len > WEIR_STR_INLINE ? b->heap + b->heap_used : small;
        for (uint32_t i = 0; i < len; i++) text[i] = byte_of(n, i);
        row r;
        memset(&r, 0, sizeof r);
        r.n = n;
        r.odd = n % 2;
        r.text = weir_str_of(text, len);
        if (len > WEIR_STR_INLINE) b->heap_used += len;
        memcpy(b->records + b->n * sizeof r, &r, sizeof r);
        b->time[b->n] = (weir_time){.ns = (int64_t)n * 3};
    }
    uint32_t n = b->n;
    wr_pipe_send(p, b, env);
    return n;
}

static uint64_t take(wr_pipe *p, uint64_t at, const wr_env *env)
{
    wr_batch *b = wr_ring_pop(&p->data);
    if (b == NULL) return 0;
    assert_int_equal(b->kind, WR_RECORDS);
    uint32_t   n = b->n;
    const row *r = (const row *)(const void *)b->records;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(r[i].n, at + i);
        assert_int_equal(r[i].odd, (at + i) % 2);
        assert_int_equal(b->time[i].ns, (at + i) * 3);
        assert_int_equal(r[i].text.len, length_of(at + i));
        const char *text = weir_str_data(&r[i].text);
        for (uint32_t k = 0; k < r[i].text.len; k++) {
            if (text[k] != byte_of(at + i, k)) fail_msg("byte %u of record %lu", k, (unsigned long)(at + i));
        }
    }
    wr_pipe_return(p, b, env);
    return n;
}

static void end_new(end *e, const wr_env *env, uint32_t slot)
{
    wr_plane_config config = {.env = env, .parker = &e->parker, .job = 1, .attempt = 1, .slot = slot};
    env->parker_init(env->self, &e->parker);
    assert_int_equal(wr_plane_new(&e->plane, &config, NULL), WR_OK);
    for (int i = 0; i < 3; i++) e->pipe[i] = pipe_new();
}

/* Three channels, every send and receive cut short somewhere: all comes whole and in order. */
static void test_calls_that_are_short(void **state)
{
    (void)state;
    enum { CHANNELS = 3, RECORDS = 6000 };
    wr_env env = *wr_env_real();
    env.send = short_send;
    env.receive = short_receive;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        end      a, b;
        wr_pool  pool[CHANNELS];
        uint64_t sent[CHANNELS] = {0}, came[CHANNELS] = {0};
        int      socket[2];
        cuts = wr_prng_of(seed);
        end_new(&a, &env, 0);
        end_new(&b, &env, 1);
        for (uint32_t i = 0; i < CHANNELS; i++) {
            wr_plane_channel c = {
                .channel = 10 + i, .pipe = a.pipe[i], .remote = 1, .type = &weir_type_row, .timed = true};
            wr_pool_init(&pool[i], sizeof(row), true, true, 64);
            wr_pipe_init(a.pipe[i], &pool[i], &a.parker, &a.parker, 0);
            assert_int_equal(wr_plane_out(a.plane, &c, NULL), WR_OK);
            c.pipe = b.pipe[i];
            c.remote = 0;
            c.neighbours = 1 + 20 * i;
            assert_int_equal(wr_plane_in(b.plane, &c, &b.parker, 0, NULL), WR_OK);
        }
        sockets(&env, socket);
        wr_plane_give(a.plane, 1, socket[0]);
        wr_plane_give(b.plane, 0, socket[1]);
        for (uint64_t round = 0; came[0] + came[1] + came[2] < CHANNELS * RECORDS; round++) {
            uint32_t c = (uint32_t)wr_prng_below(&cuts, CHANNELS);
            wr_pipe_reclaim(a.pipe[c]);
            if (sent[c] < RECORDS && wr_ring_free(&a.pipe[c]->data) > 0)
                sent[c] += fill(&pool[c], a.pipe[c], sent[c], RECORDS, &env);
            wr_plane_step(a.plane, (int64_t)round * 1000000);
            wr_plane_step(b.plane, (int64_t)round * 1000000);
            c = (uint32_t)wr_prng_below(&cuts, CHANNELS);
            came[c] += take(b.pipe[c], came[c], &env);
            wr_errinfo info = {0};
            if (wr_plane_failed(a.plane, &info) || wr_plane_failed(b.plane, &info)) fail_msg("%s", info.text);
        }
        wr_plane_free(a.plane);
        wr_plane_free(b.plane);
        for (uint32_t i = 0; i < CHANNELS; i++) {
            wr_pipe_fini(a.pipe[i]);
            wr_pool_fini(&pool[i]);
            free(a.pipe[i]);
            free(b.pipe[i]);
        }
        env.parker_fini(env.self, &a.parker);
        env.parker_fini(env.self, &b.parker);
    }
}

static int64_t unheard_ms;
static int64_t unheard_as_told(void *self, int socket)
{
    (void)self;
    (void)socket;
    return unheard_ms;
}

/* The other machine is taken for lost when it has not acknowledged for long, and not before. */
static void test_a_machine_that_says_nothing(void **state)
{
    (void)state;
    enum { STEP_NS = 1000000000 };
    wr_env env = *wr_env_real();
    env.unheard_ms = unheard_as_told;
    end              a, b;
    int              socket[2];
    wr_pool          pool;
    wr_errinfo       info = {0};
    wr_plane_channel c = {.channel = 1, .remote = 1, .type = &weir_type_row, .timed = true};
    end_new(&a, &env, 0);
    end_new(&b, &env, 1);
    c.pipe = a.pipe[0];
    wr_pool_init(&pool, sizeof(row), true, true, 4);
    wr_pipe_init(c.pipe, &pool, &a.parker, &a.parker, 0);
    assert_int_equal(wr_plane_out(a.plane, &c, NULL), WR_OK);
    sockets(&env, socket);
    wr_plane_give(a.plane, 1, socket[0]);
    unheard_ms = WR_UNHEARD_MS - 1;
    for (int64_t at = 1; at < 4; at++) wr_plane_step(a.plane, at * STEP_NS);
    assert_false(wr_plane_failed(a.plane, &info));
    unheard_ms = WR_UNHEARD_MS;
    wr_plane_step(a.plane, 4 * (int64_t)STEP_NS);
    assert_true(wr_plane_failed(a.plane, &info));
    assert_int_equal(info.code, WR_UNREACHABLE);
    assert_non_null(strstr(info.text, "has acknowledged nothing for 5000 ms"));
    env.hang_up(env.self, socket[1]);
    wr_plane_free(a.plane);
    wr_plane_free(b.plane);
    wr_pipe_fini(a.pipe[0]);
    wr_pool_fini(&pool);
    for (int i = 0; i < 3; i++) {
        free(a.pipe[i]);
        free(b.pipe[i]);
    }
    env.parker_fini(env.self, &a.parker);
    env.parker_fini(env.self, &b.parker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_as_they_were),
        cmocka_unit_test(test_nothing_is_believed),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_a_blocked_channel_blocks_no_other),
        cmocka_unit_test(test_elements_leave_by_credit),
        cmocka_unit_test(test_a_split_is_away_until_it_was_taken),
        cmocka_unit_test(test_no_lease_no_frame),
        cmocka_unit_test(test_calls_that_are_short),
        cmocka_unit_test(test_a_machine_that_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
