/* The data plane over loopback TCP against plain send and recv of the same buffers: one connection, two threads, frames
 * of 32 KiB, one per call on either side. Nobody looks into the buffers.
 *
 *     tcp_plane plain|plane FRAMES [CPU CPU]
 *
 * Linked with libweir.a. */
#include "base/check.h"
#include "net/plane.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <weir/pipeline.h>

enum { FRAME_BYTES = WR_BATCH_BYTES };

WEIR_RECORD(row, (uint64_t, a), (uint64_t, b), (uint64_t, c), (uint64_t, d))

static const wr_env *env;
static int           sockets[2]; /* sender's, receiver's */
static uint64_t      frames;
static int           cpus[2] = {-1, -1};
static int64_t       ended_ns;

static int64_t now_ns(void)
{
    return env->mono_ns(env->self);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (cpu >= 0) sched_setaffinity(0, sizeof set, &set);
}

static void connect_both(void)
{
    char address[32];
    int  listener = env->listen(env->self, "127.0.0.1:0");
    check(listener >= 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", env->port_of(env->self, listener));
    sockets[0] = env->connect(env->self, address);
    do sockets[1] = env->accept(env->self, listener);
    while (sockets[1] < 0);
    while (env->connected(env->self, sockets[0]) != 0) sched_yield();
    env->hang_up(env->self, listener);
}

/* ---- plain ---- */

/* Blocking, as anybody would write it. */
static void plain_socket(int s)
{
    check(fcntl(s, F_SETFL, fcntl(s, F_GETFL) & ~O_NONBLOCK) == 0);
}

static void *plain_receive(void *arg)
{
    (void)arg;
    pin(cpus[1]);
    char *buffer = aligned_alloc(WR_PAGE_BYTES, FRAME_BYTES);
    for (uint64_t i = 0; i < frames; i++) {
        for (size_t got = 0; got < FRAME_BYTES;) {
            ssize_t n = recv(sockets[1], buffer + got, FRAME_BYTES - got, MSG_WAITALL);
            check(n > 0);
            got += (size_t)n;
        }
    }
    ended_ns = now_ns();
    free(buffer);
    return NULL;
}

static void *plain_send(void *arg)
{
    (void)arg;
    pin(cpus[0]);
    char *buffer = aligned_alloc(WR_PAGE_BYTES, FRAME_BYTES);
    memset(buffer, 1, FRAME_BYTES);
    for (uint64_t i = 0; i < frames; i++) {
        for (size_t put = 0; put < FRAME_BYTES;) {
            ssize_t n = send(sockets[0], buffer + put, FRAME_BYTES - put, MSG_NOSIGNAL);
            check(n > 0);
            put += (size_t)n;
        }
    }
    free(buffer);
    return NULL;
}

/* ---- plane ---- */

typedef struct side {
    wr_plane *plane;
    wr_parker parker;
    wr_pipe  *pipe;
} side;

static void side_new(side *s, uint32_t slot)
{
    wr_plane_config config = {.env = env, .parker = &s->parker, .job = 1, .attempt = 1, .slot = slot};
    s->pipe = aligned_alloc(WR_CACHE_LINE, (sizeof *s->pipe + 63) / 64 * 64);
    check(env->parker_init(env->self, &s->parker) == 0 && wr_plane_new(&s->plane, &config, NULL) == WR_OK);
}

static void relax(void)
{
#if defined(__x86_64__)
    for (int i = 0; i < 16; i++) __builtin_ia32_pause();
#endif
}

/* As a slot that has a processor for itself. */
static void rest(side *s)
{
    for (int64_t from = now_ns(), now = from; now - from < 50000; now = now_ns()) {
        if (wr_plane_step(s->plane, now)) return;
        relax();
    }
    wr_parker_prepare(&s->parker);
    if (wr_plane_step(s->plane, now_ns())) {
        wr_parker_cancel(&s->parker);
        return;
    }
    int fd = wr_plane_fd(s->plane);
    env->park_fds(env->self, &s->parker, 100000000, &fd, 1);
}

static void step(side *s)
{
    wr_errinfo info = {0};
    if (wr_plane_step(s->plane, now_ns())) return;
    if (wr_plane_failed(s->plane, &info)) {
        fprintf(stderr, "tcp_plane: %s\n", info.text);
        exit(1);
    }
    rest(s);
}

static wr_pool pool;

static void *plane_send(void *arg)
{
    side *s = arg;
    pin(cpus[0]);
    for (uint64_t i = 0; i < frames; i++) {
        wr_pipe_reclaim(s->pipe);
        while (wr_ring_free(&s->pipe->data) == 0) step(s);
        wr_batch *b = wr_pool_take(&pool);
        b->n = b->capacity;
        wr_pipe_send(s->pipe, b, env);
        wr_plane_step(s->plane, now_ns());
    }
    while (wr_ring_free(&s->pipe->data) < WR_RING_MAX || s->pipe->away > 0) {
        step(s);
        wr_pipe_reclaim(s->pipe);
    }
    return NULL;
}

static void *plane_receive(void *arg)
{
    side *s = arg;
    pin(cpus[1]);
    for (uint64_t i = 0; i < frames;) {
        wr_batch *b = wr_ring_pop(&s->pipe->data);
        if (b == NULL) {
            step(s);
            continue;
        }
        check(b->n == FRAME_BYTES / sizeof(row));
        wr_pipe_return(s->pipe, b, env);
        i++;
    }
    ended_ns = now_ns();
    return NULL;
}

static void two_threads(void *(*from)(void *), void *a, void *(*to)(void *), void *b)
{
    pthread_t t[2];
    check(pthread_create(&t[1], NULL, to, b) == 0 && pthread_create(&t[0], NULL, from, a) == 0);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
}

static void run_plane(void)
{
    side from, to;
    side_new(&from, 0);
    side_new(&to, 1);
    wr_pool_init(&pool, sizeof(row), false, false, 1024);
    wr_pipe_init(from.pipe, &pool, &from.parker, &from.parker, 0);
    wr_plane_channel c = {.pipe = from.pipe, .remote = 1, .type = &weir_type_row};
    check(wr_plane_out(from.plane, &c, NULL) == WR_OK);
    c = (wr_plane_channel){.pipe = to.pipe, .remote = 0, .type = &weir_type_row, .neighbours = 1};
    check(wr_plane_in(to.plane, &c, &to.parker, 0, NULL) == WR_OK);
    wr_plane_give(from.plane, 1, sockets[0]);
    wr_plane_give(to.plane, 0, sockets[1]);
    two_threads(plane_send, &from, plane_receive, &to);
    wr_plane_free(from.plane);
    wr_plane_free(to.plane);
    wr_pipe_fini(from.pipe);
    wr_pool_fini(&pool);
}

int main(int argc, char **argv)
{
    env = wr_env_real();
    bool plain = argc > 1 && strcmp(argv[1], "plain") == 0;
    frames = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
    for (int i = 0; i < 2 && argc > 4; i++) cpus[i] = (int)strtol(argv[3 + i], NULL, 10);
    connect_both();
    int64_t begin = now_ns();
    if (plain) {
        for (int i = 0; i < 2; i++) plain_socket(sockets[i]);
        two_threads(plain_send, NULL, plain_receive, NULL);
    } else {
        run_plane();
    }
    double seconds = (double)(ended_ns - begin) * 1e-9;
    printf("seconds=%.6f count=%llu rate=%.0f\n", seconds, (unsigned long long)(frames * FRAME_BYTES / sizeof(row)),
           (double)(frames * (FRAME_BYTES / sizeof(row))) / seconds);
    return 0;
}
