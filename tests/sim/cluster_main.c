/* sim_cluster --seeds N [--seed S] [--trace] [--sabotage NAME] [--threads yes|no]: whole clusters. The last line is
 * `seeds N crashes N snapshots N restores N records N violations N`.
 *
 * With --sabotage one safety rule is broken, and the exit code is 0 when a violation shows it within the seeds. */
#include "base/log.h"
#include "base/sabotage.h"
#include "tests/sim/cluster.h"
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EFFORT_MAX = 5, RECORDS_MIN = 600, SNAPSHOTS_MIN = 2, TWICE = 16 };

typedef struct options {
    uint64_t    seed, seeds;
    bool        trace;
    const char *sabotage;
    uint32_t    threads; /* enum sim_threading */
} options;

static bool *switch_of(const char *name)
{
#define SWITCH(NAME)                                                                                                   \
    {                                                                                                                  \
#NAME, &wr_sabotage.NAME                                                                                       \
    }
    static const struct {
        const char *name;
        bool       *on;
    } all[] = {SWITCH(stale_epoch),  SWITCH(no_lease),           SWITCH(ids_not_durable),  SWITCH(ledger_late),
               SWITCH(credit_leak),  SWITCH(two_leaders),        SWITCH(ack_before_fsync), SWITCH(skip_alignment),
               SWITCH(commit_early), SWITCH(missing_is_new),     SWITCH(lose_dirty_bit),   SWITCH(skip_undo),
               SWITCH(skip_recover), SWITCH(abort_committables), SWITCH(lose_split),       SWITCH(position_behind),
               SWITCH(lose_held),    SWITCH(sync_later)};
    if (strcmp(name, "shared_fate") == 0) return &sim_shared_fate;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, name) == 0) return all[i].on;
    }
    return NULL;
}

static bool enough(const sim_cluster_result *r)
{
    if (r->aside && r->asides == 0) return false;
    if (r->scribes && r->scribe_turns == 0) return false;
    if (r->alone) return r->others >= 1 && r->records >= RECORDS_MIN;
    return r->crashes + r->pauses + r->partitions + r->breaks >= 1 && r->attempts >= 2 && r->restores >= 1 &&
           r->snapshots >= SNAPSHOTS_MIN && r->records >= RECORDS_MIN;
}

static void complain(const sim_plan *plan, const char *why)
{
    printf("violation: seed %" PRIu64 ": %s\n", plan->seed, why);
    for (uint32_t i = 0; i < plan->nodes; i++) {
        const sim_node *n = &plan->node[i];
        printf("  %-12s p %u %s%s%s", n->uid, n->parallelism, n->blocking == WEIR_OWN_THREAD ? "own thread " : "",
               n->ordered ? "ordered " : "", n->ins ? "<-" : "");
        for (uint32_t k = 0; k < n->ins; k++)
            printf(" %s.%u/%d", plan->node[n->in[k].node].uid, n->in[k].port, (int)n->in[k].route);
        puts("");
    }
    fflush(stdout);
}

static bool run_seed(uint64_t seed, const options *o, sim_cluster_result *result)
{
    static sim_plan plan;
    for (uint32_t effort = 0;; effort++) {
        sim_plan_make(&plan, seed, effort, true);
        plan.ending = SIM_TO_THE_END;
        sim_cluster_run(&plan, o->threads, false, result);
        if (result->violated || enough(result)) break;
        if (effort == EFFORT_MAX && o->sabotage != NULL) return true;
        if (effort == EFFORT_MAX) {
            snprintf(result->why, sizeof result->why, "too little happened, whatever the effort");
            result->violated = true;
        }
        if (result->violated) break;
    }
    if (o->sabotage != NULL) return !result->violated;
    sim_cluster_result again;
    if (!result->violated && seed % TWICE == 0) {
        sim_cluster_run(&plan, o->threads, false, &again);
        if (again.trace != result->trace || again.steps != result->steps) {
            snprintf(result->why, sizeof result->why, "the same seed gave another trace");
            result->violated = true;
        }
    }
    if (result->violated) complain(&plan, result->why);
    if (result->violated || o->trace) sim_cluster_run(&plan, o->threads, true, &again);
    return !result->violated;
}

static bool read_options(int count, char **texts, options *o)
{
    *o = (options){.seed = 1, .seeds = 100};
    for (int i = 1; i < count; i++) {
        uint64_t *number = strcmp(texts[i], "--seeds") == 0  ? &o->seeds
                           : strcmp(texts[i], "--seed") == 0 ? &o->seed
                                                             : NULL;
        char     *end = NULL;
        if (strcmp(texts[i], "--trace") == 0) {
            o->trace = true;
        } else if (strcmp(texts[i], "--sabotage") == 0 && i + 1 < count) {
            o->sabotage = texts[++i];
        } else if (strcmp(texts[i], "--threads") == 0 && i + 1 < count) {
            o->threads = strcmp(texts[++i], "yes") == 0 ? SIM_THREADS : SIM_NO_THREADS;
            if (o->threads == SIM_NO_THREADS && strcmp(texts[i], "no") != 0) return false;
        } else if (number != NULL && i + 1 < count) {
            *number = strtoull(texts[++i], &end, 10);
            if (*end != 0 || *texts[i] == 0) return false;
        } else {
            return false;
        }
    }
    return true;
}

static int run_sabotaged(const options *o)
{
    bool *on = switch_of(o->sabotage);
    if (on == NULL) {
        fprintf(stderr, "sim_cluster: there is no switch %s\n", o->sabotage);
        return 2;
    }
    *on = true;
    for (uint64_t i = 0; i < o->seeds; i++) {
        sim_cluster_result r;
        if (run_seed(o->seed + i, o, &r)) continue;
        printf("%s is seen with seed %" PRIu64 ": %s\n", o->sabotage, o->seed + i, r.why);
        return 0;
    }
    printf("%s was not seen in %" PRIu64 " seeds\n", o->sabotage, o->seeds);
    return 1;
}

static void add(sim_cluster_result *sum, const sim_cluster_result *r)
{
    sum->crashes += r->crashes;
    sum->snapshots += r->snapshots;
    sum->restores += r->restores;
    sum->records += r->records;
    sum->steps += r->steps;
    sum->attempts += r->attempts;
    sum->leaders += r->leaders;
    sum->pauses += r->pauses;
    sum->partitions += r->partitions;
    sum->breaks += r->breaks;
    sum->powers += r->powers;
    sum->messages += r->messages;
    sum->bytes += r->bytes;
    sum->rescales += r->rescales;
    sum->savepoints += r->savepoints;
    sum->states += r->states;
    sum->stops += r->stops;
    sum->drains += r->drains;
    sum->cancels += r->cancels;
    sum->forks += r->forks;
    sum->ends += r->ends;
    sum->unmounts += r->unmounts;
    sum->others += r->others;
    sum->files += r->files;
    sum->late += r->late;
    sum->asides += r->asides;
    sum->long_asides += r->long_asides;
    sum->cuts += r->cuts;
    sum->scribe_turns += r->scribe_turns;
}

int main(int count, char **texts)
{
    options o;
    if (!read_options(count, texts, &o)) {
        fputs("usage: sim_cluster [--seeds N] [--seed S] [--trace] [--sabotage NAME] [--threads yes|no]\n", stderr);
        return 2;
    }
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* what one seed gives back the next one takes */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    wr_log_setup(o.trace ? 2 : -1, WR_LOG_ERROR, NULL); /* that things fail is what is wanted here */
    if (o.sabotage != NULL) return run_sabotaged(&o);
    uint64_t           violations = 0, alone = 0;
    sim_cluster_result sum = {0};
    for (uint64_t i = 0; i < o.seeds; i++) {
        sim_cluster_result r;
        if (!run_seed(o.seed + i, &o, &r)) violations++;
        if (o.seeds == 1) printf("trace %016" PRIx64 "\n", r.trace);
        add(&sum, &r);
        alone += r.alone;
        fflush(stdout);
    }
    printf("steps %" PRIu64 " attempts %" PRIu64 " leaders %" PRIu64 " pauses %" PRIu64 " partitions %" PRIu64
           " breaks %" PRIu64 " powers %" PRIu64 " rescales %" PRIu64 " savepoints %" PRIu64 " messages %" PRIu64
           " bytes %" PRIu64 " stops %" PRIu64 " drains %" PRIu64 " cancels %" PRIu64 " forks %" PRIu64 " ends %" PRIu64
           " states %" PRIu64 " unmounts %" PRIu64 " others %" PRIu64 " alone %" PRIu64 " files %" PRIu64
           " late %" PRIu64 " asides %" PRIu64 " long %" PRIu64 " cut %" PRIu64 " scribes %" PRIu64 "\n",
           sum.steps, sum.attempts, sum.leaders, sum.pauses, sum.partitions, sum.breaks, sum.powers, sum.rescales,
           sum.savepoints, sum.messages, sum.bytes, sum.stops, sum.drains, sum.cancels, sum.forks, sum.ends, sum.states,
           sum.unmounts, sum.others, alone, sum.files, sum.late, sum.asides, sum.long_asides, sum.cuts,
           sum.scribe_turns);
    printf("seeds %" PRIu64 " crashes %" PRIu64 " snapshots %" PRIu64 " restores %" PRIu64 " records %" PRIu64
           " violations %" PRIu64 "\n",
           o.seeds, sum.crashes, sum.snapshots, sum.restores, sum.records, violations);
    return violations == 0 ? 0 : 1;
}
