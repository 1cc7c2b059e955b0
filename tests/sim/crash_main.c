/* sim --seeds N [--seed S] [--trace] [--sabotage NAME]: whole jobs with snapshots, crashes and a disk that lies. The
 * last line is `seeds N crashes N snapshots N restores N records N violations N`.
 *
 * With --sabotage one safety rule is broken, and the exit code is 0 when a violation shows it within the seeds. */
#include "base/log.h"
#include "base/sabotage.h"
#include "tests/sim/crash.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EFFORT_MAX = 5, RECORDS_MIN = 1000, SNAPSHOTS_MIN = 2, TWICE = 16 };

typedef struct options {
    uint64_t    seed, seeds;
    bool        trace;
    const char *sabotage;
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
    } all[] = {SWITCH(skip_alignment), SWITCH(drop_id_check),      SWITCH(ack_before_fsync), SWITCH(skip_undo),
               SWITCH(lose_dirty_bit), SWITCH(stale_lookaside),    SWITCH(no_watermark),     SWITCH(reuse_id),
               SWITCH(commit_early),   SWITCH(abort_committables), SWITCH(sink_no_sync),     SWITCH(skip_recover),
               SWITCH(lose_split),     SWITCH(position_behind),    SWITCH(manifest_no_sync), SWITCH(recycle_early),
               SWITCH(no_undo_apart)};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, name) == 0) return all[i].on;
    }
    return NULL;
}

static bool enough(const sim_crash_result *r)
{
    if (r->scribes && r->scribe_turns == 0) return false;
    return r->crashes >= 1 && r->restores >= 1 && r->snapshots >= SNAPSHOTS_MIN && r->records >= RECORDS_MIN;
}

static void complain(const sim_plan *plan, const char *why)
{
    printf("violation: seed %" PRIu64 ": %s\n", plan->seed, why);
    for (uint32_t i = 0; i < plan->nodes; i++) {
        const sim_node *n = &plan->node[i];
        printf("  %-12s p %u %s%s%s", n->uid, n->parallelism, n->blocking == WEIR_OWN_THREAD ? "own thread " : "",
               n->ordered ? "ordered " : "", n->ins ? "<-" : "");
        static const char *const routes[] = {"", " rebalance", " rescale", " shuffle", " global", " broadcast", " own"};
        for (uint32_t k = 0; k < n->ins; k++)
            printf("%s %s.%u", routes[n->in[k].route], plan->node[n->in[k].node].uid, n->in[k].port);
        puts("");
    }
}

static void plan_of(sim_plan *plan, uint64_t seed, uint32_t effort)
{
    sim_plan_make(plan, seed, effort, true);
    plan->ending = SIM_TO_THE_END;
}

/* One seed, with more effort until enough has happened. */
static bool run_seed(uint64_t seed, const options *o, sim_crash_result *result)
{
    static sim_plan plan;
    for (uint32_t effort = 0;; effort++) {
        plan_of(&plan, seed, effort);
        sim_crash_run(&plan, false, result);
        if (result->violated || enough(result)) break;
        if (effort == EFFORT_MAX && o->sabotage != NULL) return true; /* that nothing happened is not seeing it */
        if (effort == EFFORT_MAX) {
            snprintf(result->why, sizeof result->why,
                     "too little happened, whatever the effort: %" PRIu64 " crashes, %" PRIu64 " snapshots, %" PRIu64
                     " restores, %" PRIu64 " records",
                     result->crashes, result->snapshots, result->restores, result->records);
            result->violated = true;
            break;
        }
    }
    if (o->sabotage != NULL) return !result->violated;
    if (!result->violated && seed % TWICE == 0) {
        sim_crash_result again;
        sim_crash_run(&plan, false, &again);
        if (again.trace != result->trace || again.steps != result->steps) {
            snprintf(result->why, sizeof result->why, "the same seed gave another trace");
            result->violated = true;
        }
    }
    if (result->violated || o->trace) {
        sim_crash_result again;
        if (result->violated) complain(&plan, result->why);
        sim_crash_run(&plan, true, &again); /* with a line per event */
    }
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
        fprintf(stderr, "sim: there is no switch %s\n", o->sabotage);
        return 2;
    }
    *on = true;
    for (uint64_t i = 0; i < o->seeds; i++) {
        sim_crash_result r;
        if (run_seed(o->seed + i, o, &r)) continue;
        printf("%s is seen with seed %" PRIu64 ": %s\n", o->sabotage, o->seed + i, r.why);
        return 0;
    }
    printf("%s was not seen in %" PRIu64 " seeds\n", o->sabotage, o->seeds);
    return 1;
}

int main(int count, char **texts)
{
    options o;
    if (!read_options(count, texts, &o)) {
        fputs("usage: sim [--seeds N] [--seed S] [--trace] [--sabotage NAME]\n", stderr);
        return 2;
    }
    wr_log_setup(2, WR_LOG_ERROR + 0, NULL); /* a clock that jumps looks like slow user code */
    if (o.sabotage != NULL) return run_sabotaged(&o);
    uint64_t         violations = 0;
    sim_crash_result sum = {0};
    for (uint64_t i = 0; i < o.seeds; i++) {
        sim_crash_result r;
        if (!run_seed(o.seed + i, &o, &r)) violations++;
        if (o.seeds == 1) printf("trace %016" PRIx64 "\n", r.trace);
        sum.crashes += r.crashes;
        sum.snapshots += r.snapshots;
        sum.restores += r.restores;
        sum.records += r.records;
        sum.failures += r.failures;
        sum.steps += r.steps;
        sum.states += r.states;
        sum.savepoints += r.savepoints;
        sum.forks += r.forks;
        sum.stops += r.stops;
        sum.drains += r.drains;
        sum.rescales += r.rescales;
        sum.retries += r.retries;
        sum.repeats += r.repeats;
        sum.checked += r.checked;
        sum.reuses += r.reuses;
        sum.late += r.late;
        sum.scribe_turns += r.scribe_turns;
        fflush(stdout);
    }
    printf("steps %" PRIu64 " failures %" PRIu64 " states %" PRIu64 " savepoints %" PRIu64 " forks %" PRIu64
           " stops %" PRIu64 " drains %" PRIu64 " rescales %" PRIu64 " retries %" PRIu64 " repeats %" PRIu64
           " checked %" PRIu64 " reuses %" PRIu64 " late %" PRIu64 " scribes %" PRIu64 "\n",
           sum.steps, sum.failures, sum.states, sum.savepoints, sum.forks, sum.stops, sum.drains, sum.rescales,
           sum.retries, sum.repeats, sum.checked, sum.reuses, sum.late, sum.scribe_turns);
    printf("seeds %" PRIu64 " crashes %" PRIu64 " snapshots %" PRIu64 " restores %" PRIu64 " records %" PRIu64
           " violations %" PRIu64 "\n",
           o.seeds, sum.crashes, sum.snapshots, sum.restores, sum.records, violations);
    return violations == 0 ? 0 : 1;
}
