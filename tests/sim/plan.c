/* Random jobs. A plan is a pure function of its seed and effort. */
#include "tests/sim/sim.h"
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"?",      "source",  "map",    "rekey",  "filter",    "spread",
                                         "reject", "parts",   "widen",  "narrow", "fused",     "count",
                                         "chain",  "forget",  "reduce", "total",  "total_all", "tumble",
                                         "slide",  "session", "sieve",  "timer",  "sink"};
const char              *sim_kind_name(sim_kind kind)
{
    return kind_names[kind];
}

enum { EXPECT_MAX = 30000 };

static uint64_t below(wr_prng *r, uint64_t bound)
{
    return wr_prng_below(r, bound);
}
static bool one_in(wr_prng *r, uint64_t times)
{
    return wr_prng_one_in(r, times) != 0;
}
static bool is_keyed(sim_kind k)
{
    return k >= SIM_COUNT && k <= SIM_TIMER;
}

static sim_node *node_new(sim_plan *p, wr_prng *r, sim_kind kind)
{
    sim_node *n = &p->node[p->nodes];
    memset(n, 0, sizeof *n);
    n->kind = kind;
    snprintf(n->uid, sizeof n->uid, "%s%u", sim_kind_name(kind), p->nodes);
    n->parallelism = 1 + (uint32_t)below(r, SIM_SUBTASKS);
    n->blocking = one_in(r, 6) ? WEIR_OWN_THREAD : one_in(r, 2) ? WEIR_ON_SLOT : WEIR_BLOCKING_DEFAULT;
    n->chaining = one_in(r, 8) ? WEIR_CHAIN_NEVER : one_in(r, 8) ? WEIR_CHAIN_HEAD : WEIR_CHAIN;
    n->policy = one_in(r, 2) ? WEIR_SKIP : WEIR_DEAD_LETTER;
    n->keyed_by = (uint32_t)below(r, 4);
    n->salt = wr_prng_next(r) >> 8;
    p->nodes++;
    return n;
}

static void add_source(sim_plan *p, wr_prng *r)
{
    sim_node *n = node_new(p, r, SIM_SOURCE);
    n->source = p->sources++;
    n->splits = 1 + (uint32_t)below(r, SIM_SPLITS);
    n->rate = one_in(r, 3) ? 1 : 2 + (uint32_t)below(r, 400); /* records in a poll, at most */
    n->amp = one_in(r, 12) ? 1 : 0;                           /* some texts are huge */
    uint64_t share = (600 + below(r, 1500)) << p->effort;
    for (uint32_t i = 0; i < n->splits; i++) {
        n->records[i] = one_in(r, 6) ? 0 : 1 + below(r, 2 * share / n->splits + 1);
        n->expect += (double)n->records[i];
    }
    if ((double)n->rate < n->expect / 1500) n->rate = (uint32_t)(n->expect / 1500); /* steps are what a run costs */
    n->ordered = true;
    n->timed = p->timed;
    n->origins = n->sources = 1u << n->source;
}

static bool keeps_order(const sim_plan *p, const sim_node *n, const sim_stream *s)
{
    const sim_node *from = &p->node[s->node];
    if (!from->ordered) return false;
    if (is_keyed(n->kind)) return n->kind != SIM_TOTAL_ALL;
    switch (s->route) {
    case SIM_FORWARD: return from->parallelism == n->parallelism;
    case SIM_GLOBAL:
    case SIM_OWN: return true;
    default: return false;
    }
}

/* Sets what follows from the inputs. */
static void derive(sim_plan *p, sim_node *n)
{
    n->ordered = n->timed = true;
    for (uint32_t i = 0; i < n->ins; i++) {
        const sim_node *from = &p->node[n->in[i].node];
        if (!from->timed) n->timed = false;
        if (!keeps_order(p, n, &n->in[i]) || (n->origins & from->origins) != 0) n->ordered = false;
        n->origins |= from->origins;
        n->sources |= from->sources;
        n->expect += from->expect * (n->in[i].route == SIM_BROADCAST && !is_keyed(n->kind) ? n->parallelism : 1);
    }
}

/* Keyed results are in order whatever came in: they depend on the number of records only. */
static void derive_output(sim_node *n)
{
    if (is_keyed(n->kind) && !n->ordered) n->timed = false; /* which time goes with the nth record is chance */
    if (is_keyed(n->kind) && n->kind != SIM_CHAIN) n->ordered = n->kind != SIM_SIEVE;
    if (n->kind == SIM_REKEY) n->ordered = false;
    /* Their keys can be anybody's. */
    if (n->kind == SIM_REKEY || n->kind == SIM_TOTAL_ALL) n->origins = (1u << SIM_SOURCES) - 1;
    if (n->kind == SIM_SPREAD) n->expect *= (double)n->amp / 2;
    if (n->kind == SIM_SLIDE) n->expect *= (double)n->size / (double)n->slide;
    if (n->kind >= SIM_REDUCE && n->kind <= SIM_TIMER) n->timed = false; /* their results have times of their own */
}

static sim_route random_route(wr_prng *r)
{
    static const sim_route some[] = {SIM_REBALANCE, SIM_RESCALE,   SIM_SHUFFLE,  SIM_GLOBAL,
                                     SIM_OWN,       SIM_REBALANCE, SIM_BROADCAST};
    return one_in(r, 2) ? SIM_FORWARD : some[below(r, sizeof some / sizeof some[0])];
}

typedef struct open_streams { /* without a consumer yet */
    sim_stream at[2 * SIM_NODES];
    uint32_t   n;
} open_streams;

static void leave_open(open_streams *o, uint32_t node, uint32_t port)
{
    o->at[o->n++] = (sim_stream){.node = node, .port = port};
}

/* Picks a stream; sometimes it stays open, so that it is read twice. */
static sim_stream pick(sim_plan *p, open_streams *o, wr_prng *r, bool wide)
{
    for (uint32_t tries = 0; tries < 64 && o->n > 0; tries++) {
        uint32_t i = (uint32_t)below(r, o->n);
        if ((p->node[o->at[i].node].kind == SIM_WIDEN) != wide) continue;
        sim_stream s = o->at[i];
        if (!one_in(r, 6)) o->at[i] = o->at[--o->n];
        return s;
    }
    return (sim_stream){.node = UINT32_MAX};
}

static sim_kind random_kind(wr_prng *r)
{
    static const sim_kind kinds[] = {SIM_MAP,   SIM_MAP,    SIM_REKEY,  SIM_FILTER, SIM_SPREAD,   SIM_REJECT,
                                     SIM_PARTS, SIM_WIDEN,  SIM_FUSED,  SIM_COUNT,  SIM_COUNT,    SIM_CHAIN,
                                     SIM_CHAIN, SIM_FORGET, SIM_REDUCE, SIM_TOTAL,  SIM_TOTAL_ALL};
    return kinds[below(r, sizeof kinds / sizeof kinds[0])];
}

/* Results by event time are the same in each run where no record can be late. */
static sim_kind random_timed_kind(wr_prng *r)
{
    static const sim_kind kinds[] = {SIM_TUMBLE, SIM_SLIDE, SIM_SESSION, SIM_TIMER, SIM_TIMER};
    return kinds[below(r, sizeof kinds / sizeof kinds[0])];
}

/* Decided by the node's salt alone, so that all else of a seed is what it was before there were such nodes. */
static void make_sieve(sim_node *n)
{
    if (n->salt % 4 == 0) return;
    n->kind = SIM_SIEVE;
    n->slide = n->size = 1000 + (int64_t)(n->salt / 4 % (n->salt % 4 == 1 ? 20000 : 200000));
}

static void set_window(sim_node *n, wr_prng *r)
{
    n->slide = n->size = 1000 + (int64_t)below(r, one_in(r, 2) ? 20000 : 200000);
    int64_t slides = 2 + (int64_t)below(r, 3);
    if (n->kind == SIM_SLIDE && n->expect * (double)slides > EXPECT_MAX) n->kind = SIM_TUMBLE;
    if (n->kind == SIM_SLIDE) n->size *= slides;
}

static void take_inputs(sim_plan *p, sim_node *n, open_streams *o, wr_prng *r)
{
    bool wide = n->kind == SIM_NARROW, chained = one_in(r, 2); /* as often as not it could be called by its producer */
    uint32_t wanted = !wide && one_in(r, 4) ? 2 + (uint32_t)below(r, SIM_INPUTS - 1) : 1;
    while (n->ins < wanted) {
        sim_stream s = pick(p, o, r, wide);
        if (s.node == UINT32_MAX) break;
        bool again = false;
        for (uint32_t k = 0; k < n->ins; k++) again |= n->in[k].node == s.node && n->in[k].port == s.port;
        if (again) { /* a stream cannot be united with itself; keep it for others */
            bool open = false;
            for (uint32_t k = 0; k < o->n; k++) open |= o->at[k].node == s.node && o->at[k].port == s.port;
            if (!open) leave_open(o, s.node, s.port);
            wanted--;
            continue;
        }
        s.route = is_keyed(n->kind) ? SIM_FORWARD : random_route(r);
        if (chained && s.route == SIM_FORWARD) n->parallelism = p->node[s.node].parallelism;
        if (s.route == SIM_BROADCAST && p->node[s.node].expect * n->parallelism > EXPECT_MAX) s.route = SIM_REBALANCE;
        n->in[n->ins++] = s;
    }
}

static void add_step(sim_plan *p, open_streams *o, wr_prng *r)
{
    bool wide = false;
    for (uint32_t i = 0; i < o->n; i++) wide |= p->node[o->at[i].node].kind == SIM_WIDEN;
    sim_node *n = node_new(p, r, wide && one_in(r, 2) ? SIM_NARROW : random_kind(r));
    take_inputs(p, n, o, r);
    if (n->ins == 0) { /* only wide ones are open */
        p->nodes--;
        return;
    }
    derive(p, n);
    n->amp = n->kind == SIM_SPREAD ? (one_in(r, 4) ? 60 : 1 + below(r, 4)) : 0;
    if (n->kind == SIM_SPREAD && n->expect * (double)n->amp > EXPECT_MAX) n->amp = 1;
    if (n->kind == SIM_CHAIN && !n->ordered) n->kind = SIM_COUNT;
    if (n->kind == SIM_TOTAL_ALL) n->parallelism = 1;
    if (p->windows && n->timed && is_keyed(n->kind) && n->kind != SIM_TOTAL_ALL && one_in(r, 2))
        n->kind = random_timed_kind(r);
    if (n->kind > SIM_TOTAL_ALL) set_window(n, r);
    if (p->late && n->timed && is_keyed(n->kind) && n->kind != SIM_TOTAL_ALL) make_sieve(n);
    snprintf(n->uid, sizeof n->uid, "%s%u", sim_kind_name(n->kind), p->nodes - 1);
    derive_output(n);
    if (n->kind == SIM_REJECT && n->policy == WEIR_DEAD_LETTER) p->dead = true;
    leave_open(o, p->nodes - 1, 0);
    if (n->kind == SIM_PARTS) leave_open(o, p->nodes - 1, 1);
}

static void add_sink(sim_plan *p, open_streams *o, wr_prng *r)
{
    sim_stream s = o->at[--o->n];
    if (p->node[s.node].kind == SIM_WIDEN) {
        sim_node *narrow = node_new(p, r, SIM_NARROW);
        narrow->in[narrow->ins++] = s;
        derive(p, narrow);
        s = (sim_stream){.node = p->nodes - 1};
    }
    sim_node *n = node_new(p, r, SIM_SINK);
    n->source = p->sinks++;
    n->vault = one_in(r, 3);
    n->in[n->ins++] = s;
    while (o->n > 0 && one_in(r, 3) && n->ins < SIM_INPUTS) { /* a union */
        sim_stream more = o->at[o->n - 1];
        if (p->node[more.node].kind == SIM_WIDEN || (more.node == s.node && more.port == s.port)) break;
        bool again = false;
        for (uint32_t k = 0; k < n->ins; k++) again |= n->in[k].node == more.node && n->in[k].port == more.port;
        if (again) break;
        n->in[n->ins++] = more;
        o->n--;
    }
    for (uint32_t i = 0; i < n->ins; i++) {
        n->in[i].route = random_route(r);
        if (n->in[i].route == SIM_BROADCAST && p->node[n->in[i].node].expect * n->parallelism > EXPECT_MAX)
            n->in[i].route = SIM_SHUFFLE;
    }
    derive(p, n);
}

static bool has_broadcast(const sim_node *n)
{
    for (uint32_t i = 0; i < n->ins; i++) {
        if (n->in[i].route == SIM_BROADCAST) return true;
    }
    return false;
}

/* Equal ones stay equal, since order may hang on that; what gets a copy per subtask stays as it is. */
void sim_plan_rescale(sim_plan *p, const sim_plan *from, uint64_t seed)
{
    wr_prng  r = wr_prng_of(seed);
    uint32_t to[SIM_SUBTASKS + 1];
    for (uint32_t i = 0; i <= SIM_SUBTASKS; i++) to[i] = 1 + (uint32_t)below(&r, SIM_SUBTASKS);
    *p = *from;
    for (uint32_t i = 0; i < p->nodes; i++) {
        sim_node *n = &p->node[i];
        if (n->kind != SIM_TOTAL_ALL && !has_broadcast(n)) n->parallelism = to[n->parallelism];
    }
}

void sim_plan_make(sim_plan *p, uint64_t seed, uint32_t effort, bool snapshots)
{
    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->effort = effort;
    wr_prng r = wr_prng_of(seed * 16 + effort);
    p->timed = !one_in(&r, 3);
    p->own_marks = one_in(&r, 3);
    p->delay_ns = (int64_t)below(&r, 20000);
    p->idle_after_ns = one_in(&r, 4) ? 1 + (int64_t)below(&r, 5000000) : 0;
    p->windows = snapshots && p->timed && p->idle_after_ns == 0;
    p->late = snapshots && p->timed && p->idle_after_ns != 0;
    open_streams open = {.n = 0};
    uint32_t     sources = 1 + (uint32_t)below(&r, SIM_SOURCES);
    for (uint32_t i = 0; i < sources; i++) {
        add_source(p, &r);
        leave_open(&open, p->nodes - 1, 0);
    }
    uint32_t steps = 2 + (uint32_t)below(&r, 9) + effort;
    for (uint32_t i = 0; i < steps && p->nodes < SIM_NODES - 24; i++) add_step(p, &open, &r);
    while (open.n > 0) add_sink(p, &open, &r);
    for (uint32_t i = 0; i < p->nodes && !snapshots; i++) p->node[i].vault = false;
    p->max_parallelism = one_in(&r, 3) ? 7 + (uint32_t)below(&r, 300) : 0;
    uint32_t how = (uint32_t)below(&r, 20);
    p->ending = how == 0 ? SIM_CANCEL : how == 1 ? SIM_FAIL : how < 4 ? SIM_STOP : SIM_TO_THE_END;
    p->ending_after = 300 + (uint32_t)below(&r, 4000);
    p->fail_node = UINT32_MAX;
    for (uint32_t i = 0; i < p->nodes; i++) {
        if (p->node[i].kind == SIM_MAP || p->node[i].kind == SIM_COUNT) p->fail_node = i;
    }
    if (p->ending == SIM_FAIL && p->fail_node == UINT32_MAX) p->ending = SIM_CANCEL;
}
