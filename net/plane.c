#include "net/plane.h"
#include "base/check.h"
#include "base/lease.h"
#include "net/plane_inner.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* How often a connection from which nothing came is asked: by a busy slot, and by one that looks around before it
 * parks, and then is woken by the poller. */
enum { LOOK_NS = 20000, IDLE_LOOK_NS = 1000, HEARD_LOOK_NS = 500000000 };

/* ---- build ---- */

wr_err wr_plane_new(wr_plane **take, const wr_plane_config *config, wr_errinfo *info)
{
    wr_plane *p = calloc(1, sizeof *p);
    *take = NULL;
    if (p == NULL) return wr_fail(info, WR_MEMORY, "no memory for the data plane of slot %u", config->slot);
    p->config = *config;
    p->sum = wr_sum_best();
    p->poller = config->env->poll_new(config->env->self);
    if (p->poller < 0) {
        int number = -p->poller;
        free(p);
        return wr_fail_errno(info, number, "cannot make a poller for slot %u; raise the limit of open files",
                             config->slot);
    }
    *take = p;
    return WR_OK;
}

static bool list_fields(wr_shape *s)
{
    const weir_type *type = s->type;
    s->string_at = calloc(type->fields + 1, sizeof *s->string_at);
    s->bool_at = calloc(type->fields + 1, sizeof *s->bool_at);
    if (s->string_at == NULL || s->bool_at == NULL) return false;
    for (uint32_t i = 0; i < type->fields; i++) {
        uint32_t kind = type->field[i].kind;
        uint16_t at = (uint16_t)type->field[i].offset;
        if (kind == WEIR_STR || kind == WEIR_BYTES) s->string_at[s->strings++] = at;
        if (kind == WEIR_BOOL) s->bool_at[s->bools++] = at;
    }
    return true;
}

static wr_shape *shape_of(wr_plane *p, const weir_type *type, bool timed)
{
    for (wr_shape *s = p->shapes; s != NULL; s = s->next) {
        if (s->type == type && s->timed == timed) return s;
    }
    wr_shape *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->next = p->shapes;
    p->shapes = s;
    s->type = type;
    s->timed = timed;
    if (!list_fields(s)) return NULL;
    wr_pool_init(&s->pool, type->size, s->strings > 0, timed, UINT32_MAX); /* credits bound it */
    return s;
}

/* Makes room for it at its place in the order. */
static wr_link_conn *conn_of(wr_plane *p, uint32_t remote)
{
    uint32_t at = 0;
    while (at < p->conns && p->conn[at]->remote < remote) at++;
    if (at < p->conns && p->conn[at]->remote == remote) return p->conn[at];
    wr_link_conn **grown = realloc(p->conn, (p->conns + 1) * sizeof *grown);
    if (grown == NULL) return NULL;
    p->conn = grown;
    size_t        bytes = (sizeof(wr_link_conn) + WR_CACHE_LINE - 1) & ~(size_t)(WR_CACHE_LINE - 1);
    wr_link_conn *c = aligned_alloc(WR_CACHE_LINE, bytes);
    if (c == NULL) return NULL;
    memset(c, 0, offsetof(wr_link_conn, stage));
    c->plane = p;
    c->remote = remote;
    c->socket = -1;
    memmove(grown + at + 1, grown + at, (p->conns - at) * sizeof *grown);
    grown[at] = c;
    p->conns++;
    return c;
}

/* A channel more in a list that has a power of two of room, rising. */
static void *grow(void *list, uint32_t n)
{
    return n & (n - 1) ? list : realloc(list, (n ? 2 * (size_t)n : 1) * sizeof(void *));
}

static wr_err no_memory(const wr_plane *p, wr_errinfo *info)
{
    return wr_fail(info, WR_MEMORY, "no memory for the channels of slot %u to other workers", p->config.slot);
}

wr_err wr_plane_out(wr_plane *p, const wr_plane_channel *about, wr_errinfo *info)
{
    wr_link_conn *c = conn_of(p, about->remote);
    wr_shape     *s = shape_of(p, about->type, about->timed);
    wr_far_out   *o = calloc(1, sizeof *o);
    wr_far_out  **list = c != NULL ? grow(c->out, c->outs) : NULL;
    if (list != NULL) c->out = list;
    if (s == NULL || o == NULL || list == NULL) {
        free(o);
        return no_memory(p, info);
    }
    check(c->outs == 0 || list[c->outs - 1]->channel < about->channel);
    *o = (wr_far_out){.pipe = about->pipe, .shape = s, .channel = about->channel, .splits = about->splits};
    list[c->outs++] = o;
    return WR_OK;
}

/* As many as a producer in this process has batches: a few of its own for each channel, and a part of the others. */
static uint32_t credits_of(const wr_plane_channel *about)
{
    if (about->splits) return 4; /* one split, and what is said about snapshots and the end */
    uint32_t n = about->neighbours > 0 ? about->neighbours : 1;
    uint32_t credits = WR_EXCLUSIVE_BATCHES + 2 * WR_RING_MAX / n;
    return credits < WR_CREDITS_MAX ? credits : WR_CREDITS_MAX;
}

wr_err wr_plane_in(wr_plane *p, const wr_plane_channel *about, wr_parker *consumer, uint32_t port, wr_errinfo *info)
{
    wr_link_conn *c = conn_of(p, about->remote);
    wr_shape     *s = shape_of(p, about->type, about->timed);
    wr_far_in    *in = calloc(1, sizeof *in);
    wr_far_in   **list = c != NULL ? grow(c->in, c->ins) : NULL;
    if (list != NULL) c->in = list;
    if (s == NULL || in == NULL || list == NULL) {
        free(in);
        return no_memory(p, info);
    }
    check(c->ins == 0 || list[c->ins - 1]->channel < about->channel);
    *in = (wr_far_in){.pipe = about->pipe, .shape = s, .channel = about->channel, .splits = about->splits};
    in->credits = in->owed = credits_of(about);
    wr_pipe_init(about->pipe, &s->pool, consumer, p->config.parker, port);
    wr_ring_init(&about->pipe->data, WR_CREDITS_MAX);
    list[c->ins++] = in;
    return WR_OK;
}

static void conn_free(wr_link_conn *c)
{
    const wr_env *env = c->plane->config.env;
    if (c->socket >= 0) env->hang_up(env->self, c->socket);
    int given = atomic_load(&c->given);
    if (given > 0 && c->socket < 0) env->hang_up(env->self, given - 1);
    if (c->flying_of != NULL) free(c->flying);
    free(c->batch);
    for (uint32_t i = 0; i < c->outs; i++) {
        for (uint32_t k = 0; k < c->out[i]->helds; k++) free(c->out[i]->held[k]);
        free(c->out[i]);
    }
    for (uint32_t i = 0; i < c->ins; i++) {
        wr_pipe_fini(c->in[i]->pipe);
        free(c->in[i]);
    }
    free(c->out);
    free(c->in);
    free(c);
}

void wr_plane_free(wr_plane *p)
{
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->conns; i++) conn_free(p->conn[i]);
    free(p->conn);
    while (p->shapes != NULL) {
        wr_shape *s = p->shapes;
        p->shapes = s->next;
        wr_pool_fini(&s->pool);
        free(s->string_at);
        free(s->bool_at);
        free(s);
    }
    while (p->spare != NULL) {
        wr_batch *b = p->spare;
        p->spare = b->next;
        free(b);
    }
    p->config.env->poll_free(p->config.env->self, p->poller);
    free(p);
}

/* ---- connections ---- */

uint32_t wr_plane_remotes(const wr_plane *p)
{
    return p->conns;
}

bool wr_plane_remote(const wr_plane *p, uint32_t index, uint32_t *remote)
{
    if (index >= p->conns) return false;
    *remote = p->conn[index]->remote;
    return true;
}

void wr_plane_give(wr_plane *p, uint32_t remote, int socket)
{
    const wr_env *env = p->config.env;
    for (uint32_t i = 0; i < p->conns; i++) {
        int none = 0;
        if (p->conn[i]->remote != remote) continue;
        if (!atomic_compare_exchange_strong(&p->conn[i]->given, &none, socket + 1)) break;
        atomic_fetch_add_explicit(&p->connected, 1, memory_order_release);
        wr_parker_wake(env, p->config.parker);
        return;
    }
    env->hang_up(env->self, socket);
}

bool wr_plane_connected(const wr_plane *p)
{
    return atomic_load_explicit(&p->connected, memory_order_acquire) == p->conns;
}

static void watch(wr_link_conn *c, uint32_t what)
{
    const wr_plane_config *config = &c->plane->config;
    if (c->watched == what) return;
    int got = config->env->watch(config->env->self, c->plane->poller, c->socket, what);
    if (got < 0)
        wr_plane_lost(c, -got);
    else
        c->watched = what;
}

static uint32_t hash_of(int socket)
{
    return ((uint32_t)socket * 2654435761u) >> 22; /* SOCKETS of them */
}
_Static_assert(SOCKETS == 1 << 10 && SOCKETS > 2 * WR_SLOTS_MAX, "the table of sockets stays half empty");

static void take_given(wr_plane *p)
{
    p->all_taken = true;
    for (uint32_t i = 0; i < p->conns; i++) {
        wr_link_conn *c = p->conn[i];
        if (c->socket >= 0) continue;
        int given = atomic_load_explicit(&c->given, memory_order_acquire);
        if (given == 0) {
            p->all_taken = false;
            continue;
        }
        c->socket = given - 1;
        uint32_t at = hash_of(c->socket);
        while (p->by_socket[at] != 0) at = (at + 1) % SOCKETS;
        p->by_socket[at] = (uint16_t)(i + 1);
        watch(c, WR_WATCH_IN);
        if (atomic_load_explicit(&p->failed, memory_order_relaxed)) return;
    }
}

bool wr_plane_fail(wr_plane *p, const wr_link_conn *of, wr_err code, const char *format, ...)
{
    const wr_env *env = p->config.env;
    char          text[WR_ERROR_BYTES_MAX];
    va_list       args;
    if (atomic_load_explicit(&p->failed, memory_order_relaxed)) return false;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    wr_fail(&p->failure, code, "the data connection between slot %u and slot %u of the job failed: %.800s",
            p->config.slot, of->remote, text);
    atomic_store_explicit(&p->failed, true, memory_order_release);
    for (uint32_t i = 0; i < p->conns; i++) {
        wr_link_conn *c = p->conn[i];
        for (uint32_t k = 0; k < c->ins; k++) wr_parker_wake(env, c->in[k]->pipe->consumer);
        for (uint32_t k = 0; k < c->outs; k++) wr_parker_wake(env, c->out[k]->pipe->producer);
        if (c->socket < 0) continue;
        if (c->watched != 0) env->watch(env->self, p->poller, c->socket, 0);
        env->hang_up(env->self, c->socket); /* the other side need not wait */
        c->socket = -1;
        atomic_store(&c->given, -1);
    }
    return false;
}

bool wr_plane_lost(wr_link_conn *c, int number)
{
    char        text[128];
    const char *why = number == 0 ? "the worker at the other end closed it" : strerror_r(number, text, sizeof text);
    return wr_plane_fail(c->plane, c, WR_UNREACHABLE, "%s", why);
}

bool wr_plane_failed(const wr_plane *p, wr_errinfo *info)
{
    if (!atomic_load_explicit(&p->failed, memory_order_acquire)) return false;
    *info = p->failure;
    return true;
}

/* ---- steps ---- */

/* Credits come back when half of them are gone: until then nothing but records can be waited for. */
static bool needs_credit(const wr_link_conn *c)
{
    for (uint32_t i = 0; i < c->outs; i++) {
        if (2 * c->out[i]->credits <= c->out[i]->credits_most) return true;
    }
    return false;
}

/* Which ones are worth a call: those that had more, and now and then the others. */
static bool worth_a_look(wr_plane *p, const wr_link_conn *c, int64_t now_ns)
{
    if (!c->dry) return true;
    if (p->conns > DIRECT) return false;
    int64_t since = now_ns - c->looked_ns;
    if (!p->progress) return since == 0 || since >= IDLE_LOOK_NS; /* 0: a clock that stands still */
    return since >= LOOK_NS && (c->ins > 0 || needs_credit(c));
}

static void ask_poller(wr_plane *p)
{
    const wr_env *env = p->config.env;
    int           socket[64];
    uint32_t      n = env->ready(env->self, p->poller, socket, 64);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t at = hash_of(socket[i]); p->by_socket[at] != 0; at = (at + 1) % SOCKETS) {
            wr_link_conn *c = p->conn[p->by_socket[at] - 1];
            if (c->socket != socket[i]) continue;
            c->dry = c->blocked = false;
            break;
        }
    }
}

/* A cable that is cut says nothing, and the system would send again for a quarter of an hour. */
static bool all_are_there(wr_plane *p)
{
    const wr_env *env = p->config.env;
    for (uint32_t i = 0; i < p->conns; i++) {
        const wr_link_conn *c = p->conn[i];
        int64_t             unheard_ms = c->socket >= 0 ? env->unheard_ms(env->self, c->socket) : 0;
        if (unheard_ms < WR_UNHEARD_MS) continue;
        return wr_plane_fail(p, c, WR_UNREACHABLE,
                             "the machine at the other end has acknowledged nothing for %lld ms; look at the network "
                             "between the two",
                             (long long)unheard_ms);
    }
    return true;
}

bool wr_plane_step(wr_plane *p, int64_t now_ns)
{
    bool progress = false;
    if (atomic_load_explicit(&p->failed, memory_order_relaxed)) return false;
    if (!p->all_taken) take_given(p);
    if (now_ns - p->heard_ns >= HEARD_LOOK_NS) {
        p->heard_ns = now_ns;
        if (!all_are_there(p)) return false;
    }
    if (p->conns > DIRECT) ask_poller(p);
    for (uint32_t i = 0; i < p->conns; i++) {
        wr_link_conn *c = p->conn[i];
        if (c->socket >= 0 && worth_a_look(p, c, now_ns)) progress |= wr_plane_receive(c, now_ns);
    }
    for (uint32_t i = 0; i < p->conns; i++) {
        wr_link_conn *c = p->conn[i];
        if (c->socket < 0 || (c->blocked && p->progress && now_ns - c->blocked_ns < LOOK_NS)) continue;
        progress |= wr_plane_send(c, now_ns);
    }
    p->progress = progress;
    return progress;
}

int wr_plane_fd(wr_plane *p)
{
    for (uint32_t i = 0; i < p->conns; i++) {
        wr_link_conn *c = p->conn[i];
        if (c->socket >= 0) watch(c, WR_WATCH_IN | (c->blocked ? WR_WATCH_OUT : 0u));
        c->blocked_ns = 0;
    }
    return p->poller;
}

/* ---- measures ---- */

void wr_plane_stats_of(const wr_plane *p, wr_plane_stats *stats)
{
    *stats = (wr_plane_stats){.sent_bytes = atomic_load_explicit(&p->sent_bytes, memory_order_relaxed),
                              .received_bytes = atomic_load_explicit(&p->received_bytes, memory_order_relaxed),
                              .sent_frames = atomic_load_explicit(&p->sent_frames, memory_order_relaxed),
                              .received_frames = atomic_load_explicit(&p->received_frames, memory_order_relaxed),
                              .stalled = atomic_load_explicit(&p->stalled, memory_order_relaxed)};
}
