/* Connections that carry messages: wr_peers. */
#include "base/check.h"
#include "tests/sim/net_inner.h"
#include "wire/control.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct letter { /* a message, or the end, on its way to one end of a connection */
    struct letter *next;
    int64_t        at_ns;
    uint32_t       kind; /* enum wr_peer_event_kind */
    char          *bytes;
    size_t         n;
    wr_errinfo     info;
} letter;

typedef struct end { /* one side of a connection */
    struct end *next;
    sim_port   *port;
    struct end *twin; /* NULL: nobody is there any more */
    uint64_t    peer;
    uint32_t    role, machine, far;
    bool        dialed, local;
    letter     *first, *last;
    int64_t     last_ns;
} end;

struct sim_port {
    sim_port *next;
    sim_net  *net;
    sim_host *host;
    char      listen[64];
    uint32_t  role;
    void (*watch)(void *arg, const char *bytes, size_t n);
    void    *arg;
    end     *ends;
    wr_peers table;
};

static void post(end *to, uint32_t kind, char *bytes, size_t n, int64_t delay_ns)
{
    letter *l = calloc(1, sizeof *l);
    check(l != NULL);
    *l = (letter){.kind = kind, .bytes = bytes, .n = n, .at_ns = to->port->net->clock->now_ns + delay_ns};
    if (l->at_ns < to->last_ns) l->at_ns = to->last_ns;
    to->last_ns = l->at_ns;
    if (to->last != NULL)
        to->last->next = l;
    else
        to->first = l;
    to->last = l;
}

static void post_closed(end *to, int64_t delay_ns, const char *why)
{
    post(to, WR_PEER_CLOSED, NULL, 0, delay_ns);
    wr_fail(&to->last->info, WR_UNREACHABLE, "%s", why);
}

static int64_t delay_of(const end *e)
{
    return e->local ? 200 + (int64_t)wr_prng_below(&e->port->net->random, 5000) : sim_net_delay(e->port->net);
}

static end *end_new(sim_port *port, bool dialed, uint32_t role)
{
    end *e = calloc(1, sizeof *e);
    check(e != NULL);
    *e = (end){.port = port,
               .dialed = dialed,
               .role = role,
               .peer = ++port->net->peers,
               .machine = port->host->machine,
               .next = port->ends};
    port->ends = e;
    return e;
}

static void join(end *a, end *b)
{
    a->twin = b;
    b->twin = a;
    a->far = b->machine;
    b->far = a->machine;
}

static end *find_end(const sim_port *p, uint64_t peer)
{
    for (end *e = p->ends; e != NULL; e = e->next) {
        if (e->peer == peer) return e;
    }
    return NULL;
}

static void drop_letters(end *e)
{
    for (letter *l = e->first, *next; l != NULL; l = next) {
        next = l->next;
        free(l->bytes);
        free(l);
    }
    e->first = e->last = NULL;
}

static void remove_end(end *e)
{
    if (e->twin != NULL) e->twin->twin = NULL;
    drop_letters(e);
    for (end **at = &e->port->ends; *at != NULL; at = &(*at)->next) {
        if (*at != e) continue;
        *at = e->next;
        break;
    }
    free(e);
}

/* ---- the table ---- */

static uint64_t peers_dial(void *self, const char *address)
{
    sim_port *p = self, *l = p->net->ports;
    sim_net  *net = p->net;
    end      *e = end_new(p, true, 0);
    while (l != NULL && (strcmp(l->listen, address) != 0 || l->host->dead)) l = l->next;
    net->stats.connections++;
    bool parted = l != NULL && (net->parted[p->host->machine][l->host->machine] ||
                                net->parted[l->host->machine][p->host->machine] || net->silent[l->host->machine]);
    if (l == NULL || parted || wr_prng_one_in(&net->random, 40)) {
        net->stats.refused++;
        post_closed(e, sim_net_delay(net) + (parted ? 1000000000 : 0), "nobody answers");
        return e->peer;
    }
    end *far = end_new(l, false, p->role);
    join(e, far);
    int64_t greeted = 3 * sim_net_delay(net);
    post(far, WR_PEER_OPENED, NULL, 0, greeted);
    post(e, WR_PEER_OPENED, NULL, 0, greeted + sim_net_delay(net));
    return e->peer;
}

static void peers_send(void *self, uint64_t peer, char *bytes, size_t n)
{
    sim_port *p = self;
    end      *e = find_end(p, peer);
    if (e == NULL || e->twin == NULL || p->host->dead) {
        free(bytes);
        return;
    }
    p->net->stats.messages++;
    post(e->twin, WR_PEER_MESSAGE, bytes, n, delay_of(e));
}

static void peers_close(void *self, uint64_t peer)
{
    sim_port *p = self;
    end      *e = find_end(p, peer);
    if (e == NULL) return;
    if (e->twin != NULL && !p->host->dead) post_closed(e->twin, delay_of(e), "the other side closed the connection");
    remove_end(e);
}

static bool has_come(const end *e)
{
    const sim_net *net = e->port->net;
    if (e->first == NULL || e->first->at_ns > net->clock->now_ns) return false;
    return e->local || !net->parted[e->far][e->machine];
}

static bool peers_next(void *self, wr_peer_event *event)
{
    sim_port *p = self;
    uint32_t  n = 0, pick;
    if (p->host->dead) return false;
    for (end *e = p->ends; e != NULL; e = e->next) n += has_come(e);
    if (n == 0) return false;
    pick = (uint32_t)wr_prng_below(&p->net->random, n);
    end *e = p->ends;
    for (;; e = e->next) {
        if (has_come(e) && pick-- == 0) break;
    }
    letter *l = e->first;
    e->first = l->next;
    if (e->first == NULL) e->last = NULL;
    *event = (wr_peer_event){.kind = l->kind,
                             .role = e->role,
                             .peer = e->peer,
                             .bytes = l->bytes,
                             .n = l->n,
                             .dialed = e->dialed,
                             .info = l->info};
    p->net->arrived++;
    if (l->kind == WR_PEER_MESSAGE && p->watch != NULL) p->watch(p->arg, l->bytes, l->n);
    free(l);
    if (event->kind == WR_PEER_CLOSED) remove_end(e);
    return true;
}

static void peers_stats(void *self, wr_peers_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    for (const end *e = ((sim_port *)self)->ends; e != NULL; e = e->next) stats->open++;
}

sim_port *sim_port_new(sim_net *net, sim_host *host, const char *listen, uint32_t role,
                       void (*watch)(void *arg, const char *bytes, size_t n), void *arg)
{
    sim_port *p = calloc(1, sizeof *p);
    check(p != NULL);
    *p = (sim_port){.net = net, .host = host, .role = role, .watch = watch, .arg = arg, .next = net->ports};
    if (listen != NULL) snprintf(p->listen, sizeof p->listen, "%s", listen);
    p->table = (wr_peers){.self = p,
                          .dial = peers_dial,
                          .send = peers_send,
                          .close = peers_close,
                          .next = peers_next,
                          .stats = peers_stats};
    net->ports = p;
    return p;
}

wr_peers *sim_port_table(sim_port *p)
{
    return &p->table;
}

void sim_port_join(sim_port *a, sim_port *b, uint64_t *peer_of_a, uint64_t *peer_of_b)
{
    end *x = end_new(a, true, 0), *y = end_new(b, false, 0);
    x->local = y->local = true;
    join(x, y);
    *peer_of_a = x->peer;
    *peer_of_b = y->peer;
}

bool sim_port_inject(sim_port *p, char *bytes, size_t n)
{
    end *e = p->ends;
    while (e != NULL && (e->twin == NULL || e->local || e->last_ns > p->net->clock->now_ns ||
                         (!e->dialed && e->role != WR_ROLE_TASKMANAGER)))
        e = e->next;
    if (e == NULL)
        free(bytes);
    else
        post(e, WR_PEER_MESSAGE, bytes, n, sim_net_delay(p->net));
    return e != NULL;
}

static void part_from(end *e, const char *why)
{
    sim_net *net = e->port->net;
    end     *twin = e->twin;
    if (twin == NULL) return;
    twin->twin = e->twin = NULL;
    if (e->local || !net->silent[e->machine]) post_closed(twin, delay_of(e), why);
}

void sim_port_free(sim_port *p)
{
    while (p->ends != NULL) {
        part_from(p->ends, "the other process ended");
        remove_end(p->ends);
    }
    for (sim_port **at = &p->net->ports; *at != NULL; at = &(*at)->next) {
        if (*at != p) continue;
        *at = p->next;
        break;
    }
    free(p);
}

/* ---- all of it ---- */

sim_net *sim_net_new(uint64_t seed, sim_clock *clock)
{
    sim_net *net = calloc(1, sizeof *net);
    check(net != NULL);
    *net = (sim_net){.clock = clock, .random = wr_prng_of(seed), .delay_most_ns = 20000, .socks = sim_socks_new()};
    return net;
}

void sim_net_free(sim_net *net)
{
    check(net->ports == NULL);
    sim_socks_free(net);
    free(net);
}

void sim_net_forget(sim_net *net, const sim_host *host)
{
    for (sim_port *p = net->ports; p != NULL; p = p->next) {
        for (end *e = p->ends; e != NULL && p->host == host; e = e->next) part_from(e, "the other process ended");
    }
    sim_socks_forget(net, host);
}

void sim_net_part(sim_net *net, uint32_t from, uint32_t to, bool parted)
{
    net->parted[from][to] = parted;
}

void sim_net_break(sim_net *net, uint32_t a, uint32_t b, uint32_t one_in)
{
    for (sim_port *p = net->ports; p != NULL; p = p->next) {
        for (end *e = p->ends; e != NULL; e = e->next) {
            end *twin = e->twin;
            if (twin == NULL || e->local || !e->dialed || !sim_net_between(e->machine, twin->machine, a, b)) continue;
            if (!wr_prng_one_in(&net->random, one_in)) continue;
            e->twin = twin->twin = NULL;
            post_closed(e, sim_net_delay(net), "connection reset");
            post_closed(twin, sim_net_delay(net), "connection reset");
            net->stats.broken++;
        }
    }
    sim_socks_break(net, a, b, one_in);
}

void sim_net_silence(sim_net *net, uint32_t machine, bool silent)
{
    net->silent[machine] = silent;
}
void sim_net_slow(sim_net *net, int64_t delay_most_ns)
{
    net->delay_most_ns = delay_most_ns;
}

int64_t sim_net_due_ns(const sim_net *net)
{
    int64_t due = INT64_MAX, now = net->clock->now_ns;
    for (const sim_port *p = net->ports; p != NULL; p = p->next) {
        for (const end *e = p->ends; e != NULL; e = e->next) {
            if (e->first != NULL && e->first->at_ns > now && e->first->at_ns < due) due = e->first->at_ns;
        }
    }
    sim_socks_due(net, NULL, &due);
    return due;
}

int64_t sim_net_host_due_ns(const sim_net *net, const sim_host *host)
{
    int64_t due = INT64_MAX;
    sim_socks_due(net, host, &due);
    return due;
}

const sim_net_stats *sim_net_stats_of(const sim_net *net)
{
    return &net->stats;
}
uint64_t sim_net_arrived(const sim_net *net)
{
    return net->arrived;
}
