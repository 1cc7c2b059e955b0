/* The same job without the engine: whole lists, one node after the other. */
#include "tests/sim/crash.h"
#include <stdlib.h>
#include <string.h>

void sim_items_add(sim_items *items, sim_item item)
{
    if (items->n == items->capacity) {
        items->capacity = items->capacity ? 2 * items->capacity : 64;
        items->at = realloc(items->at, items->capacity * sizeof *items->at);
        if (items->at == NULL) abort();
    }
    items->at[items->n++] = item;
}

void sim_items_free(sim_items *items)
{
    free(items->at);
    memset(items, 0, sizeof *items);
}

/* ---- what user functions do ---- */

uint32_t sim_text_bytes(uint64_t ink)
{
    uint32_t kind = (uint32_t)(ink >> 8) & 1023, r = (uint32_t)(ink >> 20) & 0xfffff;
    if (ink & SIM_HUGE) return 50000 + r % 250000;
    if (kind < 600) return r % 13;
    if (kind < 1000) return 13 + r % 50;
    if (kind < 1022) return r % 2000;
    return r % 20000;
}

char sim_text_byte(uint64_t ink, uint32_t at)
{
    return (char)('a' + ((ink >> (at & 31)) + at) % 26);
}
uint32_t sim_name_bytes(uint64_t key)
{
    return key % 3 == 0 ? 20 + (uint32_t)(key % 40) : 9;
}

sim_item sim_source_item(const sim_plan *plan, uint32_t source, uint32_t split, uint64_t seq)
{
    const sim_node *n = plan->node; /* sources stand first */
    uint64_t        salt = n[source].salt, x = sim_mix(salt + split, seq);
    uint64_t        keys = salt % 5 == 0 ? 700 : 1 + salt % 20;
    sim_item        item = {.key = ((uint64_t)source << 24 | (uint64_t)split << 16) + x % keys,
                            .seq = seq,
                            .value = x,
                            .ink = sim_mix(x, 1) & ~SIM_HUGE,
                            .at = plan->timed ? sim_time(plan, source, split, seq) : WEIR_NO_TIME};
    if (n[source].amp && x % 101 == 0) item.ink |= SIM_HUGE;
    return item;
}

int64_t sim_time(const sim_plan *plan, uint32_t source, uint32_t split, uint64_t seq)
{
    uint64_t late = sim_mix(plan->node[source].salt + split, seq + 77) % (uint64_t)(plan->delay_ns + 1);
    return (int64_t)split * INT64_C(1000000000000) + (int64_t)seq * 1000 + (int64_t)late;
}

bool sim_keeps(uint64_t salt, const sim_item *in)
{
    return sim_mix(salt, in->value) % 4 != 0;
}
bool sim_is_bad(uint64_t salt, const sim_item *in)
{
    return sim_mix(salt, in->value) % 7 == 0;
}
uint32_t sim_part(uint64_t salt, const sim_item *in)
{
    return sim_mix(salt, in->value) & 1;
}

uint32_t sim_copies(uint64_t salt, uint64_t amp, const sim_item *in)
{
    uint64_t x = sim_mix(salt, in->value);
    if (in->ink & SIM_HUGE) return 1;
    return amp > 10 ? (x % 16 == 0 ? (uint32_t)amp : 0) : (uint32_t)(x % (amp + 1));
}

sim_item sim_copy(uint64_t salt, const sim_item *in, uint32_t i)
{
    sim_item out = *in;
    out.value = sim_mix(in->value + salt, i);
    return out;
}

sim_item sim_mapped(uint64_t salt, const sim_item *in)
{
    sim_item out = *in;
    out.value = sim_mix(in->value, salt);
    if (salt & 1) out.ink = sim_mix(in->ink, salt) & ~SIM_HUGE;
    return out;
}

sim_item sim_rekeyed(uint64_t salt, const sim_item *in)
{
    sim_item out = *in;
    out.key = sim_mix(in->value, salt) % (1 + salt % 300);
    return out;
}

sim_item sim_counted(uint64_t salt, uint64_t key, uint64_t n)
{
    uint64_t x = sim_mix(key + salt, n);
    return (sim_item){.key = key, .seq = n, .value = x, .ink = sim_mix(x, 3) & ~SIM_HUGE};
}

sim_item sim_windowed(uint64_t salt, uint64_t key, int64_t start, uint64_t n, uint64_t sum)
{
    uint64_t x = sim_mix(sim_mix(sum + salt, (uint64_t)start), n);
    return (sim_item){.key = key, .seq = n, .value = x, .ink = sim_mix(x, 5) & ~SIM_HUGE, .at = WEIR_NO_TIME};
}

sim_item sim_rung(uint64_t salt, uint64_t key, int64_t end, uint64_t n, uint64_t sum, uint64_t *hash)
{
    *hash = sim_mix(*hash, sim_mix(sum, (uint64_t)end));
    return sim_windowed(salt, key, end, n, *hash);
}

uint64_t sim_chained(uint64_t chain, const sim_item *in)
{
    return sim_mix(chain, in->value);
}
uint32_t sim_fold_ink(uint64_t a, uint64_t b)
{
    return b > a;
}

/* ---- keyed nodes: a table by key, open addressing ---- */

typedef struct keyed {
    uint64_t key, n, chain, sum, ink;
    bool     used;
} keyed;
typedef struct table {
    keyed   *at;
    uint32_t mask;
} table;

static table table_of(uint32_t most)
{
    uint32_t size = 16;
    while (size < 2 * most) size *= 2;
    table t = {calloc(size, sizeof(keyed)), size - 1};
    if (t.at == NULL) abort();
    return t;
}

static keyed *find(table *t, uint64_t key)
{
    uint32_t i = (uint32_t)sim_mix(key, 7) & t->mask;
    while (t->at[i].used && t->at[i].key != key) i = (i + 1) & t->mask;
    t->at[i].used = true;
    t->at[i].key = key;
    return &t->at[i];
}

/* What the operator holds now. */
static void digest(const sim_node *n, const table *t, sim_digest *d)
{
    for (uint32_t i = 0; i <= t->mask; i++) {
        const keyed *k = &t->at[i];
        if (!k->used || (n->kind == SIM_FORGET && k->n % 5 == 0)) continue;
        if (n->kind == SIM_CHAIN)
            sim_digest_add(d, k->n, k->chain);
        else if (n->kind == SIM_COUNT || n->kind == SIM_FORGET)
            sim_digest_add(d, n->kind == SIM_FORGET ? k->n % 5 : k->n, 0);
        else
            sim_digest_add(d, k->n, k->sum);
    }
}

static sim_digest *states; /* of all nodes, when somebody wants them */

static void run_keyed(const sim_plan *p, const sim_node *n, const sim_items *in, bool closed, sim_items *out)
{
    table t = table_of(in->n);
    for (uint32_t i = 0; i < in->n; i++) {
        const sim_item *x = &in->at[i];
        keyed          *k = find(&t, n->kind == SIM_TOTAL_ALL ? 0 : x->key);
        k->n++;
        k->sum += x->value;
        if (sim_fold_ink(k->ink, x->ink) || k->n == 1) k->ink = x->ink;
        k->chain = sim_chained(k->chain, x);
        sim_item made = sim_counted(n->salt, x->key, n->kind == SIM_FORGET ? (k->n - 1) % 5 + 1 : k->n);
        made.at = x->at;
        if (n->kind == SIM_CHAIN) made.value = k->chain;
        if (n->kind <= SIM_FORGET) sim_items_add(out, made);
    }
    if (states != NULL) digest(n, &t, &states[n - p->node]);
    for (uint32_t i = 0; closed && n->kind > SIM_FORGET && i <= t.mask; i++) {
        if (!t.at[i].used) continue;
        sim_item made = {
            .key = t.at[i].key, .seq = t.at[i].n, .value = t.at[i].sum, .ink = t.at[i].ink, .at = WEIR_NO_TIME};
        if (n->kind != SIM_REDUCE) made.ink = sim_mix(made.value, 5) & ~SIM_HUGE;
        sim_items_add(out, made);
    }
    free(t.at);
}

/* ---- windows by event time, and timers: all records of one key, in the order of their times ---- */

static int by_key_and_time(const void *a, const void *b)
{
    const sim_item *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void one_window(const sim_node *n, const sim_item *x, uint32_t many, int64_t start, sim_items *out)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < many; i++) sum += x[i].value;
    if (many > 0) sim_items_add(out, sim_windowed(n->salt, x->key, start, many, sum));
}

static void windows_of_key(const sim_node *n, const sim_item *x, uint32_t many, sim_items *out)
{
    int64_t  first = x[0].at - x[0].at % n->slide - (n->size - n->slide);
    uint64_t hash = 0;
    if (n->kind == SIM_SESSION) {
        for (uint32_t from = 0, to; from < many; from = to) {
            for (to = from + 1; to < many && x[to].at <= x[to - 1].at + n->size;) to++;
            one_window(n, &x[from], to - from, x[from].at, out);
        }
        return;
    }
    for (uint32_t from = 0; from < many;) {
        int64_t  start = first;
        uint32_t to = from;
        uint64_t sum = 0;
        for (; to < many && x[to].at < start + n->size; to++) sum += x[to].value;
        if (n->kind == SIM_TIMER && to > from)
            sim_items_add(out, sim_rung(n->salt, x[0].key, start + n->size, to - from, sum, &hash));
        else
            one_window(n, &x[from], to - from, start, out);
        first += n->slide;
        while (from < many && x[from].at < first) from++;
        /* Over the time in which there is nothing. */
        if (from < many && x[from].at >= first + n->size)
            first = x[from].at - x[from].at % n->slide - (n->size - n->slide);
    }
}

static void run_timed(const sim_node *n, const sim_items *in, bool closed, sim_items *out)
{
    if (!closed || in->n == 0) return;
    qsort(in->at, in->n, sizeof *in->at, by_key_and_time);
    for (uint32_t from = 0, to; from < in->n; from = to) {
        for (to = from; to < in->n && in->at[to].key == in->at[from].key;) to++;
        windows_of_key(n, &in->at[from], to - from, out);
    }
}

static void run_one(const sim_node *n, const sim_item *x, sim_items out[2], uint64_t *bad)
{
    switch (n->kind) {
    case SIM_MAP: sim_items_add(out, sim_mapped(n->salt, x)); break;
    case SIM_REKEY: sim_items_add(out, sim_rekeyed(n->salt, x)); break;
    case SIM_FILTER:
        if (sim_keeps(n->salt, x)) sim_items_add(out, *x);
        break;
    case SIM_FUSED:
        if (sim_keeps(n->salt, x)) sim_items_add(out, sim_mapped(n->salt, x));
        break;
    case SIM_SPREAD:
        for (uint32_t i = 0, many = sim_copies(n->salt, n->amp, x); i < many; i++)
            sim_items_add(out, sim_copy(n->salt, x, i));
        break;
    case SIM_REJECT:
        if (sim_is_bad(n->salt, x))
            ++*bad;
        else
            sim_items_add(out, *x);
        break;
    case SIM_PARTS: sim_items_add(&out[sim_part(n->salt, x)], *x); break;
    default: sim_items_add(out, *x); break;
    }
}

static void gather(const sim_plan *p, const sim_node *n, sim_items made[SIM_NODES][2], sim_items *in)
{
    for (uint32_t i = 0; i < n->ins; i++) {
        const sim_items *from = &made[n->in[i].node][n->in[i].port];
        uint32_t         times = n->in[i].route == SIM_BROADCAST ? n->parallelism : 1;
        for (uint32_t k = 0; k < times; k++) {
            for (uint32_t at = 0; at < from->n; at++) sim_items_add(in, from->at[at]);
        }
    }
    (void)p;
}

void sim_reference(const sim_plan *p, const uint64_t emitted[SIM_SOURCES][SIM_SPLITS], uint32_t closed, sim_expected *e)
{
    static sim_items made[SIM_NODES][2];
    memset(e, 0, sizeof *e);
    memset(made, 0, sizeof made);
    for (uint32_t i = 0; i < p->nodes; i++) {
        const sim_node *n = &p->node[i];
        sim_items       in = {0};
        gather(p, n, made, &in);
        e->in[i] = in.n;
        if (n->kind == SIM_SOURCE) {
            for (uint32_t s = 0; s < n->splits; s++) {
                for (uint64_t seq = 0; seq < emitted[n->source][s]; seq++)
                    sim_items_add(made[i], sim_source_item(p, n->source, s, seq));
            }
        } else if (n->kind >= SIM_COUNT && n->kind <= SIM_TOTAL_ALL) {
            run_keyed(p, n, &in, (n->sources & ~closed) == 0, made[i]);
        } else if (n->kind == SIM_SIEVE) {
            for (uint32_t k = 0; k < in.n; k++) {
                in.at[k].at = WEIR_NO_TIME;
                sim_items_add(made[i], in.at[k]);
            }
        } else if (n->kind >= SIM_TUMBLE && n->kind <= SIM_TIMER) {
            run_timed(n, &in, (n->sources & ~closed) == 0, made[i]);
        } else if (n->kind == SIM_SINK) {
            for (uint32_t k = 0; k < in.n; k++) in.at[k].at = 0;
            e->sink[n->source] = in;
            memset(&in, 0, sizeof in);
        } else {
            for (uint32_t k = 0; k < in.n; k++) run_one(n, &in.at[k], made[i], &e->bad[i]);
        }
        e->out[i] = made[i][0].n + made[i][1].n;
        if (n->policy == WEIR_DEAD_LETTER) {
            e->dead += e->bad[i];
            e->out[i] += e->bad[i];
        }
        sim_items_free(&in);
    }
    for (uint32_t i = 0; i < p->nodes; i++) {
        sim_items_free(&made[i][0]);
        sim_items_free(&made[i][1]);
    }
}

void sim_expected_free(sim_expected *e)
{
    for (uint32_t i = 0; i < SIM_NODES; i++) sim_items_free(&e->sink[i]);
}

void sim_reference_states(const sim_plan *p, const uint64_t emitted[SIM_SOURCES][SIM_SPLITS], sim_digest of[SIM_NODES])
{
    sim_expected e;
    memset(of, 0, SIM_NODES * sizeof *of);
    states = of;
    sim_reference(p, emitted, 0, &e);
    states = NULL;
    sim_expected_free(&e);
}
