/* The data plane in the shapes of a job: a thread with one plane of N connections, and one that drives the planes at
 * their other ends; frames of 32 KiB, as many as there is room for.
 *
 *     gcc -O2 -std=gnu17 -D_GNU_SOURCE -I. -Iinclude bench/micro/plane_bench.c build/release/lib/libweir.a -luring
 *         -lxxhash -lmsgpackc -lnng -lmbedcrypto -ldl -lm -lpthread -o /tmp/plane_bench
 *     plane_bench one|both [CONNECTIONS [MEGABYTES [CPU CPU]]]
 *
 * `one`: it sends, they receive; `both`: records go both ways on each connection. */
#include "base/check.h"
#include "net/plane.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weir/pipeline.h>

enum { CONNECTIONS = 16, CHANNEL = 1 };

WEIR_RECORD(row, (uint64_t, a), (uint64_t, b), (uint64_t, c), (uint64_t, d))

static const wr_env *env;
static uint64_t      frames; /* per direction and connection */

/* One end of a connection: a pipe to it, and one from it. */
typedef struct end {
    wr_plane *plane;
    wr_pipe  *to, *from; /* NULL: not in this direction */
    uint64_t  put, got;
} end;

/* A thread: its planes, all of which wake its parker. */
typedef struct side {
    wr_parker parker;
    wr_plane *plane[CONNECTIONS];
    end       end[CONNECTIONS];
    uint32_t  planes, ends;
    int       cpu;
    wr_pool   pool;
} side;

static bool step(side *s)
{
    bool progress = false;
    for (uint32_t i = 0; i < s->planes; i++) {
        wr_errinfo info = {0};
        progress |= wr_plane_step(s->plane[i], env->mono_ns(env->self));
        if (!wr_plane_failed(s->plane[i], &info)) continue;
        fprintf(stderr, "plane_bench: %s\n", info.text);
        exit(1);
    }
    return progress;
}

static void park(side *s)
{
    int fd[CONNECTIONS];
    wr_parker_prepare(&s->parker);
    if (step(s)) {
        wr_parker_cancel(&s->parker);
        return;
    }
    for (uint32_t i = 0; i < s->planes; i++) fd[i] = wr_plane_fd(s->plane[i]);
    env->park_fds(env->self, &s->parker, 100000000, fd, s->planes);
}

/* What a tasklet would do with it: takes what came, and sends what there is room for. */
static bool work(side *s, bool *over)
{
    bool progress = false;
    *over = true;
    for (uint32_t i = 0; i < s->ends; i++) {
        end *e = &s->end[i];
        if (e->from != NULL) {
            for (wr_batch *b; (b = wr_ring_pop(&e->from->data)) != NULL; e->got++, progress = true)
                wr_pipe_return(e->from, b, env);
            *over &= e->got == frames;
        }
        if (e->to == NULL) continue;
        wr_pipe_reclaim(e->to);
        for (; e->put < frames && wr_ring_free(&e->to->data) > 0; e->put++, progress = true) {
            wr_batch *b = wr_pool_take(&s->pool);
            b->n = b->capacity;
            wr_pipe_send(e->to, b, env);
        }
        *over &= e->put == frames && e->to->away == 0;
    }
    return progress;
}

static void *run(void *arg)
{
    side     *s = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(s->cpu, &set);
    if (s->cpu >= 0) sched_setaffinity(0, sizeof set, &set);
    for (bool over = false; !over;) {
        bool progress = work(s, &over);
        progress |= step(s);
        if (!progress && !over) park(s);
    }
    for (int64_t until = env->mono_ns(env->self) + 20000000; env->mono_ns(env->self) < until;)
        step(s); /* last credits */
    return NULL;
}

static wr_pipe *pipe_new(void)
{
    wr_pipe *p = aligned_alloc(WR_CACHE_LINE, (sizeof *p + 63) / 64 * 64);
    check(p != NULL);
    return p;
}

static void add_end(side *s, wr_plane *plane, uint32_t remote, bool sends, bool receives)
{
    end             *e = &s->end[s->ends++];
    wr_plane_channel c = {.channel = CHANNEL + remote, .remote = remote, .type = &weir_type_row, .neighbours = 1};
    *e = (end){.plane = plane};
    if (sends) {
        c.pipe = e->to = pipe_new();
        wr_pipe_init(e->to, &s->pool, &s->parker, &s->parker, 0);
        check(wr_plane_out(plane, &c, NULL) == WR_OK);
    }
    if (!receives) return;
    c.pipe = e->from = pipe_new();
    check(wr_plane_in(plane, &c, &s->parker, 0, NULL) == WR_OK);
}

static wr_plane *plane_new(side *s, uint32_t slot)
{
    wr_plane_config config = {.env = env, .parker = &s->parker, .job = 1, .attempt = 1, .slot = slot};
    check(wr_plane_new(&s->plane[s->planes++], &config, NULL) == WR_OK);
    return s->plane[s->planes - 1];
}

static void connect_both(int socket_of[2])
{
    char address[32];
    int  listener = env->listen(env->self, "127.0.0.1:0");
    check(listener >= 0);
    snprintf(address, sizeof address, "127.0.0.1:%d", env->port_of(env->self, listener));
    socket_of[0] = env->connect(env->self, address);
    do socket_of[1] = env->accept(env->self, listener);
    while (socket_of[1] < 0);
    while (env->connected(env->self, socket_of[0]) != 0) sched_yield();
    env->hang_up(env->self, listener);
}

int main(int argc, char **argv)
{
    static side hub, rim;
    pthread_t   thread[2];
    bool        both = argc > 1 && strcmp(argv[1], "both") == 0;
    uint32_t    n = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 4;
    uint64_t    bytes = (argc > 3 ? strtoull(argv[3], NULL, 10) : 1024) << 20;
    check(n > 0 && n <= CONNECTIONS);
    env = wr_env_real();
    hub.cpu = argc > 5 ? (int)strtol(argv[4], NULL, 10) : -1;
    rim.cpu = argc > 5 ? (int)strtol(argv[5], NULL, 10) : -1;
    frames = bytes / n / (both ? 2 : 1) / WR_BATCH_BYTES;
    for (side *s = &hub; s != NULL; s = s == &hub ? &rim : NULL) {
        check(env->parker_init(env->self, &s->parker) == 0);
        wr_pool_init(&s->pool, sizeof(row), false, false, 1024);
    }
    wr_plane *center = plane_new(&hub, 0);
    for (uint32_t i = 1; i <= n; i++) add_end(&hub, center, i, true, both);
    for (uint32_t i = 1; i <= n; i++) {
        int              socket_of[2];
        wr_plane        *other = plane_new(&rim, i);
        wr_plane_channel c = {.channel = CHANNEL + i, .remote = 0, .type = &weir_type_row, .neighbours = 1};
        end             *e = &rim.end[rim.ends++];
        *e = (end){.plane = other, .from = pipe_new()};
        c.pipe = e->from;
        check(wr_plane_in(other, &c, &rim.parker, 0, NULL) == WR_OK);
        if (both) {
            c.pipe = e->to = pipe_new();
            wr_pipe_init(e->to, &rim.pool, &rim.parker, &rim.parker, 0);
            check(wr_plane_out(other, &c, NULL) == WR_OK);
        }
        connect_both(socket_of);
        wr_plane_give(center, i, socket_of[0]);
        wr_plane_give(other, 0, socket_of[1]);
    }
    int64_t         begin = env->mono_ns(env->self), cpu = env->cpu_count(env->self);
    struct timespec t;
    check(pthread_create(&thread[0], NULL, run, &hub) == 0 && pthread_create(&thread[1], NULL, run, &rim) == 0);
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    double seconds = (double)(env->mono_ns(env->self) - begin) * 1e-9 - 0.02;
    cpu = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    uint64_t all = frames * n * (both ? 2 : 1);
    printf("%.2f GB/s, %.0f ns of processor per frame\n", (double)(all * WR_BATCH_BYTES) / seconds * 1e-9,
           ((double)cpu - 4e7) / (double)all);
    return 0;
}
