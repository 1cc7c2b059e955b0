/* The accepting end of data connections: dial.h. */
#include "base/check.h"
#include "net/complain.h"
#include "net/dial.h"
#include "net/mac.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ACCEPTS_PER_STEP = 64, ASK_AGAIN_MS = 10, PAUSE_MS = 100 };
#define MS_NS ((int64_t)1000000)

typedef enum guest_state {
    GUEST_NONE,
    GUEST_ASKED, /* the nonce goes out, the hello comes in */
    GUEST_WAITS, /* its hello is whole, but nobody knows its attempt yet */
    GUEST_PROVED
} guest_state;

/* One connection. Owner: its acceptor. */
typedef struct guest {
    guest_state state;
    int         socket;
    uint32_t    sent, have; /* of the nonce, of the hello */
    uint64_t    order;      /* the least came first */
    int64_t     due_ns;     /* until then it must have proved itself */
    uint8_t     nonce[WR_DATA_NONCE_BYTES], bytes[WR_HELLO_BYTES];
} guest;

/* Owner: one thread. */
struct wr_acceptor {
    wr_acceptor_config config;
    const wr_env      *env;
    int                listener, poller, port;
    uint64_t           order;
    int64_t            paused_until_ns; /* no descriptors are left; 0: it listens */
    wr_acceptor_stats  stats;
    wr_complaints      complaints;
    uint32_t           waiting;
    guest              guest[WR_HALF_OPEN_MAX];
};

wr_err wr_acceptor_new(wr_acceptor **take, const wr_acceptor_config *config, wr_errinfo *info)
{
    const wr_env *e = config->env;
    wr_acceptor  *a = calloc(1, sizeof *a);
    if (a == NULL) return wr_fail(info, WR_MEMORY, "no memory for the data port");
    a->config = *config;
    a->env = e;
    a->listener = e->listen(e->self, config->listen);
    int error = a->listener;
    if (error >= 0) {
        a->poller = error = e->poll_new(e->self);
        if (error >= 0) {
            a->port = e->port_of(e->self, a->listener);
            error = e->watch(e->self, a->poller, a->listener, WR_WATCH_IN);
            if (error >= 0) {
                *take = a;
                return WR_OK;
            }
            e->poll_free(e->self, a->poller);
        }
        e->hang_up(e->self, a->listener);
    }
    free(a);
    if (error == -EINVAL)
        return wr_fail(info, WR_CONFIG, "\"%s\" is no address to listen at; it must be HOST:PORT", config->listen);
    if (error == -EADDRINUSE)
        return wr_fail(info, WR_BUSY, "the data port %s is taken by another process; choose another one, or port 0",
                       config->listen);
    return wr_fail_errno(info, -error, "cannot listen for data connections at %s", config->listen);
}

int wr_acceptor_port(const wr_acceptor *a)
{
    return a->port;
}

static void drop(wr_acceptor *a, guest *g)
{
    a->env->watch(a->env->self, a->poller, g->socket, 0);
    a->env->hang_up(a->env->self, g->socket);
    if (g->state == GUEST_WAITS) a->waiting--;
    if (g->state != GUEST_PROVED) a->stats.half_open--;
    *g = (guest){.state = GUEST_NONE, .socket = -1};
}

static void turn_away(wr_acceptor *a, guest *g, uint64_t *counter, const char *why)
{
    (*counter)++;
    wr_complain(&a->complaints, a->env, counter == &a->stats.unproved ? WR_LOG_WARN : WR_LOG_INFO, "data port",
                "closed a connection: %s", why);
    drop(a, g);
}

/* ---- proof ---- */

static bool proved(const guest *g, const uint8_t secret[32], const wr_data_hello *hello)
{
    uint8_t signed_bytes[WR_DATA_NONCE_BYTES + WR_HELLO_SIGNED_BYTES], mac[32];
    memcpy(signed_bytes, g->nonce, sizeof g->nonce);
    memcpy(signed_bytes + sizeof g->nonce, g->bytes, WR_HELLO_SIGNED_BYTES);
    wr_mac(secret, 32, signed_bytes, sizeof signed_bytes, mac);
    return wr_mac_equal(mac, hello->mac);
}

/* Its hello is whole. */
static void judge(wr_acceptor *a, guest *g)
{
    wr_data_hello hello;
    wr_errinfo    info;
    uint8_t       secret[32];
    wr_errinfo_init(&info);
    if (wr_data_hello_get(&hello, g->bytes, &info) != WR_OK) {
        turn_away(a, g, &a->stats.garbage, info.text);
        return;
    }
    if (!a->config.secret(a->config.self, hello.job, hello.attempt, secret)) {
        /* The other TaskManager may have heard of this attempt before we have. What it sends meanwhile stays where it
         * is, so there is nothing to wake up for. */
        if (g->state != GUEST_WAITS) {
            g->state = GUEST_WAITS;
            a->waiting++;
            a->env->watch(a->env->self, a->poller, g->socket, 0);
        }
        return;
    }
    bool fine = proved(g, secret, &hello);
    memset(secret, 0, sizeof secret);
    if (!fine) {
        turn_away(a, g, &a->stats.unproved, "its hello has a wrong proof");
        return;
    }
    if (g->state == GUEST_WAITS) a->waiting--;
    g->state = GUEST_PROVED;
    a->stats.half_open--;
    a->stats.proved++;
    a->env->watch(a->env->self, a->poller, g->socket, 0);
}

static void converse(wr_acceptor *a, guest *g)
{
    const wr_env *e = a->env;
    if (g->sent < sizeof g->nonce) {
        int64_t n = e->send(e->self, g->socket, &(wr_span){g->nonce + g->sent, sizeof g->nonce - g->sent}, 1);
        if (n < 0 && n != -EAGAIN) {
            turn_away(a, g, &a->stats.garbage, "it ended before its hello");
            return;
        }
        if (n > 0) g->sent += (uint32_t)n;
        if (g->sent == sizeof g->nonce && e->watch(e->self, a->poller, g->socket, WR_WATCH_IN) < 0) drop(a, g);
        return;
    }
    int64_t n = e->receive(e->self, g->socket, &(wr_span){g->bytes + g->have, sizeof g->bytes - g->have}, 1);
    if (n == -EAGAIN) return;
    if (n <= 0) {
        turn_away(a, g, &a->stats.garbage, "it ended before its hello");
        return;
    }
    g->have += (uint32_t)n;
    if (g->have == sizeof g->bytes) judge(a, g);
}

/* ---- who comes ---- */

/* A free place; when there is none, that of the oldest which has not proved itself. */
static guest *place(wr_acceptor *a)
{
    guest *oldest = NULL;
    for (uint32_t i = 0; i < WR_HALF_OPEN_MAX; i++) {
        guest *g = &a->guest[i];
        if (g->state == GUEST_NONE) return g;
        if (g->state != GUEST_PROVED && (oldest == NULL || g->order < oldest->order)) oldest = g;
    }
    if (oldest != NULL) turn_away(a, oldest, &a->stats.refused, "there are too many that say nothing");
    return oldest;
}

static void listen_again(wr_acceptor *a, int64_t now)
{
    if (a->paused_until_ns == 0 || now < a->paused_until_ns) return;
    a->paused_until_ns = 0;
    check(a->env->watch(a->env->self, a->poller, a->listener, WR_WATCH_IN) >= 0);
}

static void pause_listening(wr_acceptor *a, int64_t now)
{
    a->paused_until_ns = now + PAUSE_MS * MS_NS;
    a->env->watch(a->env->self, a->poller, a->listener, 0);
}

static void welcome(wr_acceptor *a, int64_t now)
{
    const wr_env *e = a->env;
    for (uint32_t i = 0; i < ACCEPTS_PER_STEP && a->paused_until_ns == 0; i++) {
        int s = e->accept(e->self, a->listener);
        if (s == -EAGAIN) return;
        if (s < 0) {
            wr_complain(&a->complaints, e, WR_LOG_WARN, "data port", "cannot accept a connection: %s", strerror(-s));
            pause_listening(a, now);
            return;
        }
        guest *g = place(a);
        if (g == NULL) { /* all have proved themselves and nobody takes them */
            e->hang_up(e->self, s);
            a->stats.refused++;
            pause_listening(a, now);
            return;
        }
        *g = (guest){.state = GUEST_ASKED, .socket = s, .order = ++a->order, .due_ns = now + WR_GREETING_MS * MS_NS};
        for (uint32_t k = 0; k < sizeof g->nonce; k += 8) {
            uint64_t bits = e->random(e->self);
            memcpy(g->nonce + k, &bits, 8);
        }
        a->stats.accepted++;
        a->stats.half_open++;
        if (e->watch(e->self, a->poller, s, WR_WATCH_OUT) < 0)
            drop(a, g);
        else
            converse(a, g);
    }
}

void wr_acceptor_step(wr_acceptor *a)
{
    int64_t now = a->env->mono_ns(a->env->self);
    listen_again(a, now);
    welcome(a, now);
    int      socket[64];
    uint32_t n = a->env->ready(a->env->self, a->poller, socket, 64);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < WR_HALF_OPEN_MAX; k++) {
            guest *g = &a->guest[k];
            if (g->state == GUEST_ASKED && g->socket == socket[i]) converse(a, g);
        }
    }
    for (uint32_t k = 0; k < WR_HALF_OPEN_MAX; k++) {
        guest *g = &a->guest[k];
        if (g->state == GUEST_WAITS) judge(a, g);
        if (g->state == GUEST_WAITS && now >= g->due_ns)
            turn_away(a, g, &a->stats.unproved, "its hello names an attempt that does not run here");
        else if (g->state == GUEST_ASKED && now >= g->due_ns)
            turn_away(a, g, &a->stats.slow, "its hello took too long");
    }
}

bool wr_acceptor_take(wr_acceptor *a, int *socket, wr_data_hello *hello)
{
    guest *first = NULL;
    for (uint32_t i = 0; i < WR_HALF_OPEN_MAX; i++) {
        guest *g = &a->guest[i];
        if (g->state == GUEST_PROVED && (first == NULL || g->order < first->order)) first = g;
    }
    if (first == NULL) return false;
    *socket = first->socket;
    check(wr_data_hello_get(hello, first->bytes, NULL) == WR_OK);
    *first = (guest){.state = GUEST_NONE, .socket = -1};
    return true;
}

int wr_acceptor_fd(const wr_acceptor *a)
{
    return a->poller;
}

int64_t wr_acceptor_due_ns(const wr_acceptor *a)
{
    int64_t due = INT64_MAX;
    if (a->paused_until_ns != 0) due = a->paused_until_ns;
    for (uint32_t i = 0; i < WR_HALF_OPEN_MAX; i++) {
        const guest *g = &a->guest[i];
        if (g->state == GUEST_PROVED) return 0;
        if (g->state != GUEST_NONE && g->due_ns < due) due = g->due_ns;
    }
    if (a->waiting > 0) {
        int64_t again = a->env->mono_ns(a->env->self) + ASK_AGAIN_MS * MS_NS;
        if (again < due) due = again;
    }
    return due;
}

void wr_acceptor_stats_of(const wr_acceptor *a, wr_acceptor_stats *stats)
{
    *stats = a->stats;
}

void wr_acceptor_free(wr_acceptor *a)
{
    if (a == NULL) return;
    for (uint32_t i = 0; i < WR_HALF_OPEN_MAX; i++) {
        if (a->guest[i].state != GUEST_NONE) drop(a, &a->guest[i]);
    }
    a->env->watch(a->env->self, a->poller, a->listener, 0);
    a->env->hang_up(a->env->self, a->listener);
    a->env->poll_free(a->env->self, a->poller);
    free(a);
}
