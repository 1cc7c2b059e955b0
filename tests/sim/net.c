/* Sockets: what wr_env has of them. */
#include "base/check.h"
#include "tests/sim/net_inner.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOCKETS = 1024, SOCKET_FIRST = 100000, POLLERS = 256, POLLER_FIRST = 200000, WATCHED = 64, WINDOW = 96 * 1024 };

typedef struct segment {
    struct segment *next;
    int64_t         at_ns;
    size_t          n, taken;
    char            bytes[];
} segment;

typedef enum sock_state { SOCK_FREE, SOCK_LISTENS, SOCK_DIALS, SOCK_OPEN, SOCK_BROKEN } sock_state;
typedef struct sock {
    sock_state state;
    sim_host  *host;
    uint32_t   machine, port, twin; /* twin: index of the other end + 1; 0: there is none any more */
    segment   *first, *last;        /* what is on its way to it, or has come */
    size_t     waits;               /* bytes of those */
    int64_t    since_ns;            /* DIALS: when it is connected or refused; LISTENS, accepted: when it is seen */
    int64_t    last_ns, broken_ns;  /* of the last segment; when the break is seen */
    int64_t    ended_ns;            /* the other side sends no more: seen then; INT64_MAX */
    bool       refused, fresh;      /* fresh: to be accepted */
    uint32_t   listener;            /* fresh: whose it will be, index + 1 */
    bool       half_closed;
} sock;

typedef struct poller {
    sim_host *host;
    int       socket[WATCHED];
    uint32_t  what[WATCHED], n;
} poller;

struct sim_socks {
    sock     sock[SOCKETS];
    poller   poller[POLLERS];
    uint32_t ports;
    uint32_t top, fresh; /* above top all are free; so many wait to be accepted */
};

sim_socks *sim_socks_new(void)
{
    sim_socks *s = calloc(1, sizeof *s);
    check(s != NULL);
    return s;
}

static sock *sock_of(sim_net *net, const sim_host *host, int socket)
{
    if (socket < SOCKET_FIRST || socket >= SOCKET_FIRST + SOCKETS) return NULL;
    sock *s = &net->socks->sock[socket - SOCKET_FIRST];
    return s->state != SOCK_FREE && s->host == host ? s : NULL;
}
static int number_of(sim_net *net, const sock *s)
{
    return SOCKET_FIRST + (int)(s - net->socks->sock);
}
static uint32_t index_of(sim_net *net, const sock *s)
{
    return (uint32_t)(s - net->socks->sock) + 1;
}
static sock *at_index(sim_net *net, uint32_t index)
{
    return index > 0 ? &net->socks->sock[index - 1] : NULL;
}

static sock *sock_new(sim_net *net, sim_host *host, sock_state state)
{
    for (uint32_t i = 0; i < SOCKETS; i++) {
        sock *s = &net->socks->sock[i];
        if (s->state != SOCK_FREE) continue;
        *s = (sock){
            .state = state, .host = host, .machine = host->machine, .broken_ns = INT64_MAX, .ended_ns = INT64_MAX};
        if (i >= net->socks->top) net->socks->top = i + 1;
        return s;
    }
    check(!"too many simulated sockets");
    return NULL;
}

static void drop_segments(sock *s)
{
    for (segment *g = s->first, *next; g != NULL; g = next) {
        next = g->next;
        free(g);
    }
    s->first = s->last = NULL;
    s->waits = 0;
}

/* Something of it is another at that time. */
static void stir(sock *s, int64_t at_ns)
{
    if (s->host != NULL && at_ns < s->host->stirred_ns) s->host->stirred_ns = at_ns;
}

static bool reaches(const sim_net *net, const sock *from, const sock *to)
{
    return !net->parted[from->machine][to->machine];
}

/* The end is gone. The other one learns of it, if anybody can tell it. */
static void let_go(sim_net *net, sock *s, bool rude)
{
    sock *twin = at_index(net, s->twin);
    if (twin != NULL) {
        twin->twin = 0;
        int64_t at = net->clock->now_ns + sim_net_delay(net);
        if (at < twin->last_ns) at = twin->last_ns;
        if (net->silent[s->machine]) {
            at = INT64_MAX;
        } else if (rude) {
            twin->broken_ns = at;
        } else {
            twin->ended_ns = at;
        }
        stir(twin, at);
    }
    drop_segments(s);
    for (uint32_t i = 0; s->state == SOCK_LISTENS && i < net->socks->top; i++) { /* those that nobody accepted */
        sock *other = &net->socks->sock[i];
        if (other->state == SOCK_OPEN && other->fresh && other->listener == index_of(net, s)) let_go(net, other, true);
    }
    net->socks->fresh -= s->fresh;
    s->fresh = false;
    s->state = SOCK_FREE;
    while (net->socks->top > 0 && net->socks->sock[net->socks->top - 1].state == SOCK_FREE) net->socks->top--;
}

void sim_socks_forget(sim_net *net, const sim_host *host)
{
    for (uint32_t i = 0; i < net->socks->top; i++) {
        sock *s = &net->socks->sock[i];
        if (s->state != SOCK_FREE && s->host == host)
            let_go(net, s, s->first != NULL || wr_prng_one_in(&net->random, 2));
    }
    for (uint32_t i = 0; i < POLLERS; i++) {
        if (net->socks->poller[i].host == host) net->socks->poller[i].host = NULL;
    }
}

void sim_socks_break(sim_net *net, uint32_t a, uint32_t b, uint32_t one_in)
{
    for (uint32_t i = 0; i < net->socks->top; i++) {
        sock *s = &net->socks->sock[i], *twin = at_index(net, s->twin);
        if (s->state != SOCK_OPEN || twin == NULL || twin < s || !sim_net_between(s->machine, twin->machine, a, b))
            continue;
        if (!wr_prng_one_in(&net->random, one_in)) continue;
        s->twin = twin->twin = 0;
        s->broken_ns = net->clock->now_ns + sim_net_delay(net);
        twin->broken_ns = net->clock->now_ns + sim_net_delay(net);
        stir(s, s->broken_ns);
        stir(twin, twin->broken_ns);
        net->stats.broken++;
    }
}

void sim_socks_free(sim_net *net)
{
    for (uint32_t i = 0; i < SOCKETS; i++) drop_segments(&net->socks->sock[i]);
    free(net->socks);
}

static void sooner(int64_t *due, int64_t at, int64_t now)
{
    if (at > now && at < *due) *due = at;
}

void sim_socks_due(const sim_net *net, const sim_host *host, int64_t *due)
{
    int64_t now = net->clock->now_ns;
    for (uint32_t i = 0; i < net->socks->top; i++) {
        const sock *s = &net->socks->sock[i];
        if (s->state == SOCK_FREE || (host != NULL && s->host != host)) continue;
        sooner(due, s->since_ns, now);
        sooner(due, s->broken_ns, now);
        sooner(due, s->ended_ns, now);
        for (const segment *g = s->first; g != NULL; g = g->next) {
            sooner(due, g->at_ns, now);
            if (g->at_ns > now) break; /* they come in order */
        }
    }
}

/* ---- the functions of the table ---- */
#define HOST(SELF)                                                                                                     \
    sim_host *h = (SELF);                                                                                              \
    sim_net  *net = h->net

/* "tm2:0" -> machine 2 is not looked at: a process listens on its own machine. */
static int net_listen(void *self, const char *address)
{
    HOST(self);
    const char *colon = strrchr(address, ':');
    if (h->dead) return -EIO;
    sock *s = sock_new(net, h, SOCK_LISTENS);
    s->port = colon != NULL ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0;
    if (s->port == 0) s->port = 40000 + net->socks->ports++;
    return number_of(net, s);
}
static int net_port_of(void *self, int socket)
{
    HOST(self);
    sock *s = sock_of(net, h, socket);
    return s != NULL ? (int)s->port : -EBADF;
}

static sock *listener_at(sim_net *net, uint32_t port)
{
    for (uint32_t i = 0; i < net->socks->top; i++) {
        sock *s = &net->socks->sock[i];
        if (s->state == SOCK_LISTENS && s->port == port) return s;
    }
    return NULL;
}

/* Ports are given once in the whole network, so the port says the machine. */
static int net_connect(void *self, const char *address)
{
    HOST(self);
    const char *colon = strrchr(address, ':');
    if (h->dead) return -EIO;
    sock *s = sock_new(net, h, SOCK_DIALS),
         *l = listener_at(net, colon != NULL ? (uint32_t)strtoul(colon + 1, NULL, 10) : 0);
    s->since_ns = net->clock->now_ns + 2 * sim_net_delay(net);
    net->stats.connections++;
    if (l == NULL || net->parted[l->machine][h->machine] || net->parted[h->machine][l->machine]) {
        s->refused = true;
        if (l != NULL) s->since_ns += 1000000000; /* it waits for an answer */
        return number_of(net, s);
    }
    sock *far = sock_new(net, l->host, SOCK_OPEN);
    far->fresh = true;
    net->socks->fresh++;
    far->listener = index_of(net, l);
    far->since_ns = net->clock->now_ns + sim_net_delay(net);
    far->twin = index_of(net, s);
    s->twin = index_of(net, far);
    return number_of(net, s);
}
static int net_connected(void *self, int socket)
{
    HOST(self);
    sock *s = sock_of(net, h, socket);
    if (s == NULL || h->dead) return -EIO;
    if (s->state == SOCK_OPEN) return 0;
    if (s->state != SOCK_DIALS || net->clock->now_ns < s->since_ns)
        return s->state == SOCK_DIALS ? -EAGAIN : -ECONNRESET;
    if (s->refused || s->twin == 0) return -ECONNREFUSED;
    s->state = SOCK_OPEN;
    return 0;
}
static int net_accept(void *self, int listener)
{
    HOST(self);
    sock *l = sock_of(net, h, listener);
    if (l == NULL || h->dead) return -EIO;
    for (uint32_t i = 0; net->socks->fresh > 0 && i < net->socks->top; i++) {
        sock *s = &net->socks->sock[i];
        if (s->state != SOCK_OPEN || !s->fresh || s->listener != index_of(net, l)) continue;
        if (net->clock->now_ns < s->since_ns) continue;
        s->fresh = false;
        net->socks->fresh--;
        return number_of(net, s);
    }
    return -EAGAIN;
}

static size_t room_of(const sock *to)
{
    return to->waits >= WINDOW ? 0 : WINDOW - to->waits;
}

static int64_t net_send(void *self, int socket, const wr_span *from, uint32_t n)
{
    HOST(self);
    sock *s = sock_of(net, h, socket);
    if (h->dead || s == NULL || s->half_closed) return h->dead ? -EIO : -EBADF;
    if (s->broken_ns <= net->clock->now_ns) return -ECONNRESET;
    sock *twin = at_index(net, s->twin);
    if (s->state != SOCK_OPEN) return -ENOTCONN;
    size_t all = 0;
    for (uint32_t i = 0; i < n; i++) all += from[i].bytes;
    if (twin == NULL) return s->ended_ns <= net->clock->now_ns ? -EPIPE : (int64_t)all; /* into the void */
    size_t room = room_of(twin), take = all < room ? all : room;
    if (take == 0) return all == 0 ? 0 : -EAGAIN;
    if (take > 1 && wr_prng_one_in(&net->random, 6)) take = 1 + (size_t)wr_prng_below(&net->random, take - 1);
    segment *g = malloc(sizeof *g + take);
    check(g != NULL);
    *g = (segment){.at_ns = net->clock->now_ns + sim_net_delay(net), .n = take};
    if (g->at_ns < twin->last_ns) g->at_ns = twin->last_ns;
    twin->last_ns = g->at_ns;
    size_t done = 0;
    for (uint32_t i = 0; i < n && done < take; i++) {
        size_t part = from[i].bytes < take - done ? from[i].bytes : take - done;
        memcpy(g->bytes + done, from[i].at, part);
        done += part;
    }
    if (twin->last != NULL)
        twin->last->next = g;
    else
        twin->first = g;
    twin->last = g;
    twin->waits += take;
    stir(twin, g->at_ns);
    net->stats.bytes += take;
    return (int64_t)take;
}

static bool has_come(const sim_net *net, const sock *s)
{
    const sock *twin = s->twin > 0 ? &net->socks->sock[s->twin - 1] : NULL;
    if (s->first == NULL || s->first->at_ns > net->clock->now_ns) return false;
    return twin == NULL || reaches(net, twin, s);
}

static int64_t net_receive(void *self, int socket, const wr_span *to, uint32_t n)
{
    HOST(self);
    sock *s = sock_of(net, h, socket);
    if (h->dead || s == NULL) return h->dead ? -EIO : -EBADF;
    if (s->broken_ns <= net->clock->now_ns) return -ECONNRESET;
    size_t done = 0, waited = s->waits;
    for (uint32_t i = 0; i < n; i++) {
        for (size_t at = 0; at < to[i].bytes && has_come(net, s);) {
            segment *g = s->first;
            size_t   part = to[i].bytes - at < g->n - g->taken ? to[i].bytes - at : g->n - g->taken;
            memcpy((char *)to[i].at + at, g->bytes + g->taken, part);
            at += part;
            done += part;
            g->taken += part;
            s->waits -= part;
            if (g->taken < g->n) continue;
            s->first = g->next;
            if (s->first == NULL) s->last = NULL;
            free(g);
        }
    }
    if (done > 0) {
        net->arrived++;
        if (s->twin > 0 && waited >= WINDOW) stir(at_index(net, s->twin), net->clock->now_ns);
        return (int64_t)done;
    }
    return s->first == NULL && s->ended_ns <= net->clock->now_ns ? 0 : -EAGAIN;
}
static int net_half_close(void *self, int socket)
{
    HOST(self);
    sock *s = sock_of(net, h, socket), *twin = s != NULL ? at_index(net, s->twin) : NULL;
    if (s == NULL || h->dead) return -EBADF;
    s->half_closed = true;
    if (twin != NULL) twin->ended_ns = net->clock->now_ns + sim_net_delay(net);
    if (twin != NULL && twin->ended_ns < twin->last_ns) twin->ended_ns = twin->last_ns;
    if (twin != NULL) stir(twin, twin->ended_ns);
    return 0;
}
/* Partitions heal. */
static int64_t net_unheard_ms(void *self, int socket)
{
    (void)self;
    (void)socket;
    return 0;
}
static void net_hang_up(void *self, int socket)
{
    HOST(self);
    sock *s = sock_of(net, h, socket);
    if (s != NULL) let_go(net, s, s->first != NULL);
}

/* ---- pollers ---- */

static int poll_new(void *self)
{
    HOST(self);
    for (uint32_t i = 0; i < POLLERS; i++) {
        if (net->socks->poller[i].host != NULL) continue;
        net->socks->poller[i] = (poller){.host = h};
        return POLLER_FIRST + (int)i;
    }
    check(!"too many simulated pollers");
    return -EMFILE;
}
static poller *poller_of(sim_net *net, const sim_host *host, int number)
{
    if (number < POLLER_FIRST || number >= POLLER_FIRST + POLLERS) return NULL;
    poller *p = &net->socks->poller[number - POLLER_FIRST];
    return p->host == host ? p : NULL;
}
static void poll_free(void *self, int number)
{
    HOST(self);
    poller *p = poller_of(net, h, number);
    if (p != NULL) p->host = NULL;
}
static int net_watch(void *self, int number, int socket, uint32_t what)
{
    HOST(self);
    poller *p = poller_of(net, h, number);
    if (p == NULL) return -EBADF;
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->socket[i] != socket) continue;
        p->what[i] = what;
        if (what == 0) {
            p->socket[i] = p->socket[--p->n];
            p->what[i] = p->what[p->n];
        }
        return 0;
    }
    if (what == 0) return 0;
    check(p->n < WATCHED);
    p->socket[p->n] = socket;
    p->what[p->n++] = what;
    return 0;
}

static bool can_accept(sim_net *net, const sock *l)
{
    for (uint32_t i = 0; net->socks->fresh > 0 && i < net->socks->top; i++) {
        const sock *s = &net->socks->sock[i];
        if (s->state == SOCK_OPEN && s->fresh && s->listener == index_of(net, l) && s->since_ns <= net->clock->now_ns)
            return true;
    }
    return false;
}

static bool is_ready(sim_net *net, const sock *s, uint32_t what)
{
    int64_t now = net->clock->now_ns;
    if (s->state == SOCK_LISTENS) return can_accept(net, s);
    if (s->state == SOCK_DIALS) return s->since_ns <= now;
    if (s->broken_ns <= now || s->ended_ns <= now) return true;
    if ((what & WR_WATCH_IN) && has_come(net, s)) return true;
    const sock *twin = s->twin > 0 ? &net->socks->sock[s->twin - 1] : NULL;
    return (what & WR_WATCH_OUT) && (twin == NULL || room_of(twin) > 0);
}

static uint32_t net_ready(void *self, int number, int *socket, uint32_t n)
{
    HOST(self);
    poller  *p = poller_of(net, h, number);
    uint32_t count = 0, first = p != NULL && p->n > 0 ? (uint32_t)wr_prng_below(&net->random, p->n) : 0;
    for (uint32_t i = 0; p != NULL && i < p->n && count < n; i++) {
        uint32_t    k = (first + i) % p->n;
        const sock *s = sock_of(net, h, p->socket[k]);
        if (s != NULL && is_ready(net, s, p->what[k])) socket[count++] = p->socket[k];
    }
    return count;
}

void sim_net_env(wr_env *env)
{
    env->listen = net_listen;
    env->port_of = net_port_of;
    env->accept = net_accept;
    env->connect = net_connect;
    env->connected = net_connected;
    env->send = net_send;
    env->receive = net_receive;
    env->half_close = net_half_close;
    env->unheard_ms = net_unheard_ms;
    env->hang_up = net_hang_up;
    env->poll_new = poll_new;
    env->poll_free = poll_free;
    env->watch = net_watch;
    env->ready = net_ready;
}

void sim_socket_give(sim_net *net, int socket, sim_host *to)
{
    check(socket >= SOCKET_FIRST && socket < SOCKET_FIRST + SOCKETS);
    sock *s = &net->socks->sock[socket - SOCKET_FIRST];
    check(s->state == SOCK_OPEN && s->machine == to->machine);
    s->host = to;
}
