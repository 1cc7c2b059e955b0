/* The receiving half of a data plane: any bytes, in pieces of any size, behind sums that are always right. Either the
 * plane fails with words, or what comes out is sound: counts within bounds, strings canonical and inside the heap. Who
 * is granted nothing gets nothing in. */
#include "net/plane_inner.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>
#include <weir/pipeline.h>

WEIR_RECORD(row, (uint64_t, n), (weir_str, text), (bool, odd))
WEIR_RECORD(flat, (uint64_t, a), (uint64_t, b))

enum { ROWS = 5, FLATS = 6, OUT = 7, SOCKET = 1000 };

static input    stream;
static uint32_t piece; /* bytes of one receive */

static int64_t fake_receive(void *self, int socket, const wr_span *to, uint32_t n)
{
    int64_t got = 0;
    (void)self;
    must(socket == SOCKET && n > 0 && n <= WR_SPANS_MAX);
    for (uint32_t i = 0; i < n && (uint64_t)got < piece && rest(&stream) > 0; i++) {
        size_t k = rest(&stream) < to[i].bytes ? rest(&stream) : to[i].bytes;
        if (k > piece - (size_t)got) k = piece - (size_t)got;
        memcpy(to[i].at, stream.at, k);
        stream.at += k;
        got += (int64_t)k;
    }
    return got > 0 ? got : -EAGAIN;
}
static int64_t fake_send(void *self, int socket, const wr_span *from, uint32_t n)
{
    int64_t all = 0;
    (void)self;
    must(socket == SOCKET && n > 0 && n <= WR_SPANS_MAX);
    for (uint32_t i = 0; i < n; i++) all += (int64_t)from[i].bytes;
    return all;
}
static int fake_watch(void *self, int poller, int socket, uint32_t what)
{
    (void)self;
    (void)poller;
    (void)what;
    return socket == SOCKET ? 0 : -EBADF;
}
static void fake_hang_up(void *self, int socket)
{
    (void)self;
    must(socket == SOCKET);
}
static uint64_t no_sum(const void *bytes, size_t n, uint64_t seed)
{
    volatile char last = n > 0 ? ((const char *)bytes)[n - 1] : 0; /* it is all there */
    (void)last;
    return seed * 0;
}
static const wr_sum NO_SUM = {.of64 = no_sum};

static void is_sound(const wr_batch *b)
{
    must(b->kind >= WR_RECORDS && b->kind <= WR_ABORT);
    if (b->kind != WR_RECORDS) {
        must(b->stride == 0 && (b->kind != WR_BARRIER || b->barrier.id != 0));
        return;
    }
    must(b->n > 0 && b->n <= b->capacity && b->heap_used <= b->heap_bytes);
    for (uint32_t i = 0; i < b->n && b->stride == sizeof(row); i++) {
        row r;
        memcpy(&r, b->records + i * sizeof r, sizeof r - sizeof(bool));
        uint8_t  odd = (uint8_t)b->records[i * sizeof r + offsetof(row, odd)];
        weir_str again = weir_str_of(weir_str_data(&r.text), r.text.len);
        must(memcmp(&again, &r.text, sizeof again) == 0 && odd <= 1);
        if (r.text.len > WEIR_STR_INLINE)
            must(r.text.u.far >= b->heap && r.text.u.far + r.text.len <= b->heap + b->heap_used);
    }
}

static wr_pipe *pipe_new(void)
{
    return aligned_alloc(WR_CACHE_LINE, (sizeof(wr_pipe) + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1));
}

/* Elements that came; some stay where they are, so that their credit does not come back. */
static void drain(wr_pipe *p, const wr_env *env, uint32_t keep)
{
    while (wr_ring_count(&p->data) > keep) {
        wr_batch *b = wr_ring_pop(&p->data);
        is_sound(b);
        wr_pipe_return(p, b, env);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    wr_env    env = *wr_env_real();
    wr_parker parker = {0};
    wr_plane *plane;
    wr_pool   pool;
    wr_pipe  *pipe[3] = {pipe_new(), pipe_new(), pipe_new()};
    stream = (input){bytes, bytes + size};
    piece = 1 + take_u16(&stream);
    uint32_t keep = take_u8(&stream) % 8;
    env.receive = fake_receive;
    env.send = fake_send;
    env.watch = fake_watch;
    env.hang_up = fake_hang_up;
    wr_plane_config config = {.env = &env, .parker = &parker, .job = 1, .attempt = 1, .slot = 1};
    must(wr_plane_new(&plane, &config, NULL) == WR_OK);
    plane->sum = &NO_SUM;
    wr_plane_channel c = {.channel = ROWS, .pipe = pipe[0], .type = &weir_type_row, .timed = true, .neighbours = 1};
    must(wr_plane_in(plane, &c, &parker, 0, NULL) == WR_OK);
    c = (wr_plane_channel){.channel = FLATS, .pipe = pipe[1], .type = &weir_type_flat, .neighbours = 3};
    must(wr_plane_in(plane, &c, &parker, 0, NULL) == WR_OK);
    wr_pool_init(&pool, sizeof(flat), false, false, 64);
    wr_pipe_init(pipe[2], &pool, &parker, &parker, 0);
    c = (wr_plane_channel){.channel = OUT, .pipe = pipe[2], .type = &weir_type_flat};
    must(wr_plane_out(plane, &c, NULL) == WR_OK);
    wr_plane_give(plane, 0, SOCKET);
    wr_pipe_control(pipe[2], WR_END, 0, &env);
    wr_errinfo info = {0};
    for (int64_t now = 0, quiet = 0; quiet < 3 && !wr_plane_failed(plane, &info); now += 1000000) {
        quiet = wr_plane_step(plane, now) ? 0 : quiet + 1;
        must(wr_ring_count(&pipe[0]->data) <= WR_CREDITS_MAX && wr_ring_count(&pipe[1]->data) <= 12);
        drain(pipe[0], &env, keep);
        drain(pipe[1], &env, keep);
    }
    must(!wr_plane_failed(plane, &info) || (info.code == WR_IO && strlen(info.text) > 20));
    wr_plane_free(plane);
    wr_pipe_fini(pipe[2]);
    wr_pool_fini(&pool);
    for (int i = 0; i < 3; i++) free(pipe[i]);
    return 0;
}
