/* The JobManager's process. In most seeds it has its threads, as `weir jobmanager` has: one that leads, one that uses
 * storage for it (base/aside.h), and those that write savepoints and look at the files of snapshots. Others go on
 * between any two waits of theirs. In the other seeds it uses storage within a step. */
#include "base/check.h"
#include "jobmanager/saving.h"
#include "tests/sim/cluster_inner.h"
#include <inttypes.h>

enum { TURNS = 3 }; /* of its threads, for each step of the world: they have processors of their own */

static jm_node *other_of(jm_node *n)
{
    return n == n->w->jm ? &n->w->jm[1] : n->w->jm;
}

/* It leads, or it cannot. */
static void begun(jm_node *n)
{
    world *w = n->w;
    n->begun = true;
    n->alive = n->err == WR_OK && !n->host.dead;
    if (n->alive) {
        w->result->leaders++;
        sim_note(w, "a JobManager begins, leader %" PRIu64, n->leader);
        return;
    }
    sim_note(w, "a JobManager cannot begin: %s", n->info.text);
    /* It must not where there is another one, which has the ledger. */
    if (n->err != WR_OK && !n->host.dead && !n->rival && sim_disk_stats_of(w->disk)->errors == n->errors)
        sim_violate(w, "a JobManager cannot begin: %s", n->info.text);
    n->alive = n->err == WR_OK;
    sim_jm_kill(n);
    /* A second one that cannot begin is not tried again: the first one is back soon. */
    if (n == &w->jm[1]) n->starts_ns = 0;
}

/* Its thread, from its beginning to its end. */
static void lead(void *arg)
{
    jm_node *n = arg;
    n->err = wr_jobmanager_new(&n->jm, &n->config, &n->leader, &n->info);
    for (n->inside = false; n->err == WR_OK && !n->host.dead; n->inside = false) {
        sim_thread_rest();
        n->inside = true;
        if (!n->host.dead) wr_jobmanager_step(n->jm);
    }
    if (n->err == WR_OK) wr_jobmanager_free(n->jm);
}

void sim_jm_start(jm_node *n)
{
    world *w = n->w;
    sim_host_init(&n->host, &w->clock, w->net, MACHINE_JM, wr_prng_next(&w->random));
    n->port = sim_port_new(w->net, &n->host, "jm:6123", 0, sim_watch_jm, n);
    n->host.env.parker_init(n->host.env.self, &n->parker);
    n->config = (wr_jobmanager_config){.env = &n->host.env,
                                       .peers = sim_port_table(n->port),
                                       .parker = &n->parker,
                                       .folder = "/jm",
                                       .snapshots = "/snapshots",
                                       .heartbeat_ms = HEARTBEAT_MS,
                                       .lease_ms = LEASE_MS,
                                       .silent_ms = SILENT_MS,
                                       .cancel_timeout_ms = CANCEL_MS,
                                       .threads = w->result->aside,
                                       .seed = wr_prng_next(&w->random) | 1};
    n->errors = sim_disk_stats_of(w->disk)->errors;
    n->info = (wr_errinfo){0};
    n->rival = other_of(n)->alive;
    n->begun = false;
    n->jm = NULL;
    n->leader = 0;
    n->paused_ns = 0;
    n->alive = true;
    if (n->config.threads) {
        n->host.threaded = true;
        n->host.cpus = 3;
        n->inside = true;
        sim_threads_start(&n->host.threads, &n->main, lead, n);
    } else {
        n->err = wr_jobmanager_new(&n->jm, &n->config, &n->leader, &n->info);
        begun(n);
    }
}

/* A process takes the savepoints that it has left behind with it; here they would be found by the next one. */
static void bury_left(jm_node *n)
{
    while (sim_threads_step(&n->host.threads, SIM_ANY)) {}
    wr_saving_may_begin("", NULL);
    check(n->host.threads.first == NULL);
}

void sim_jm_kill(jm_node *n)
{
    world *w = n->w;
    sim_host_kill(&n->host);
    if (n->main != NULL) {
        w->result->asides += n->host.calls;
        w->result->long_asides += n->host.long_calls;
        w->result->cuts += n->inside;
        sim_threads_join(&n->host.threads, n->main);
        n->main = NULL;
        bury_left(n);
    } else if (n->alive) {
        wr_jobmanager_free(n->jm);
    }
    sim_port_free(n->port);
    n->host.env.parker_fini(n->host.env.self, &n->parker);
    n->alive = false;
    n->jm = NULL;
    n->port = NULL;
    n->starts_ns = w->clock.now_ns + (int64_t)below(w, one_in(w, 3) ? 100000000 : 5000000);
}

bool sim_jm_between(const jm_node *n)
{
    return n->alive && n->begun && !n->inside;
}

/* It has done a step, or something of it. */
static void look_at(jm_node *n)
{
    world     *w = n->w;
    wr_errinfo info;
    if (n->host.dead)
        sim_jm_kill(n);
    else if (n->main != NULL && !n->begun && !n->inside)
        begun(n);
    else if (sim_jm_between(n) && wr_jobmanager_over(n->jm, &info))
        sim_jm_kill(n);
    else if (sim_jm_between(n) && w->injected > 0)
        sim_watch_injected(n);
}

/* One of its threads; of which. */
static bool turn(jm_node *n, enum sim_which which)
{
    world *w = n->w;
    n->rival |= other_of(n)->alive;
    if (!sim_threads_step(&n->host.threads, which)) return false;
    w->result->trace = sim_mix(w->result->trace, (uint64_t)w->clock.now_ns ^ n->host.threads.turns << 40);
    look_at(n);
    return true;
}

void sim_jm_step(jm_node *n)
{
    world *w = n->w;
    if (n->alive && w->clock.now_ns >= n->paused_ns) {
        if (n->main != NULL) {
            turn(n, SIM_ANY);
        } else {
            wr_jobmanager_step(n->jm);
            look_at(n);
        }
    } else if (!n->alive && n->starts_ns > 0 && w->clock.now_ns >= n->starts_ns) {
        sim_jm_start(n);
    }
}

static enum sim_which which_of(const jm_node *n)
{
    return n->w->clock.now_ns >= n->paused_ns ? SIM_UNDER_WAY : SIM_CALLS;
}

bool sim_jm_turns(jm_node *n)
{
    bool done = false;
    for (uint32_t i = 0; i < TURNS && n->alive && n->main != NULL; i++) {
        if (!turn(n, which_of(n))) break;
        done = true;
    }
    return done;
}

int64_t sim_jm_due_ns(const jm_node *n)
{
    const int64_t now = n->w->clock.now_ns;
    int64_t       due = n->main != NULL ? sim_threads_due_ns(&n->host.threads, which_of(n)) : INT64_MAX;
    int64_t       wait = sim_jm_between(n) && n->paused_ns <= now ? wr_jobmanager_wait_ns(n->jm) : -1;
    return wait >= 0 && now + wait + 1 < due ? now + wait + 1 : due;
}
