/* sim --seeds N [--seed S] [--trace]: random jobs under seeds. The last line is `seeds N records N violations N`. */
#include "base/log.h"
#include "tests/sim/sim.h"
#include <stdio.h>
#include <stdlib.h>

enum { EFFORT_MAX = 6, RECORDS_MIN = 1000, BATCHES_MIN = 50, CHANNELS_MIN = 2, BLOCKED_MIN = 1, TWICE = 8 };

typedef struct options {
    uint64_t seed, seeds;
    bool     trace, quiet;
} options;

static bool enough(const sim_plan *plan, const sim_result *r)
{
    if (plan->ending == SIM_CANCEL || plan->ending == SIM_FAIL)
        return r->records >= RECORDS_MIN / 10 && r->channels >= CHANNELS_MIN;
    return r->records >= RECORDS_MIN && r->batches >= BATCHES_MIN && r->channels >= CHANNELS_MIN &&
           r->blocked >= BLOCKED_MIN;
}

static void complain(const sim_plan *plan, const char *why)
{
    static const char *const endings[] = {"to the end", "stopped", "canceled", "failed"};
    printf("violation: seed %llu (%s): %s\n", (unsigned long long)plan->seed, endings[plan->ending], why);
    for (uint32_t i = 0; i < plan->nodes; i++) {
        const sim_node *n = &plan->node[i];
        printf("  %-12s p %u %s%s%s", n->uid, n->parallelism, n->blocking == WEIR_OWN_THREAD ? "own thread " : "",
               n->ordered ? "ordered " : "", n->ins ? "<-" : "");
        static const char *const routes[] = {"", " rebalance", " rescale", " shuffle", " global", " broadcast", " own"};
        for (uint32_t k = 0; k < n->ins; k++)
            printf("%s %s.%u", routes[n->in[k].route], plan->node[n->in[k].node].uid, n->in[k].port);
        puts("");
    }
    printf("repeat with: sim --seeds 1 --seed %llu --trace\n", (unsigned long long)plan->seed);
}

/* One seed, with more effort until there was enough traffic. */
static bool run_seed(uint64_t seed, const options *o, sim_result *result)
{
    static sim_plan plan;
    for (uint32_t effort = 0;; effort++) {
        sim_plan_make(&plan, seed, effort, false);
        sim_run(&plan, o->trace, result);
        if (result->violated) {
            complain(&plan, result->why);
            return false;
        }
        if (enough(&plan, result)) break;
        if (effort == EFFORT_MAX) {
            complain(&plan, "too little traffic, whatever the effort");
            return false;
        }
    }
    if (seed % TWICE != 0) return true;
    sim_result again;
    sim_run(&plan, false, &again);
    if (again.trace == result->trace && again.steps == result->steps) return true;
    complain(&plan, "the same seed gave another trace");
    return false;
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
        } else if (number != NULL && i + 1 < count) {
            *number = strtoull(texts[++i], &end, 10);
            if (*end != 0 || *texts[i] == 0) return false;
        } else {
            return false;
        }
    }
    return true;
}

int main(int count, char **texts)
{
    options o;
    if (!read_options(count, texts, &o)) {
        fputs("usage: sim [--seeds N] [--seed S] [--trace]\n", stderr);
        return 2;
    }
    wr_log_setup(2, WR_LOG_ERROR, NULL); /* a clock that jumps looks like slow user code */
    uint64_t violations = 0, records = 0, batches = 0, blocked = 0, steps = 0, watermarks = 0, idles = 0;
    for (uint64_t i = 0; i < o.seeds; i++) {
        sim_result r;
        if (!run_seed(o.seed + i, &o, &r)) violations++;
        if (o.seeds == 1) printf("trace %016llx\n", (unsigned long long)r.trace);
        records += r.records;
        batches += r.batches;
        blocked += r.blocked;
        steps += r.steps;
        watermarks += r.watermarks;
        idles += r.idles;
        fflush(stdout);
    }
    printf("steps %llu batches %llu blocked %llu watermarks %llu idles %llu\n", (unsigned long long)steps,
           (unsigned long long)batches, (unsigned long long)blocked, (unsigned long long)watermarks,
           (unsigned long long)idles);
    printf("seeds %llu records %llu violations %llu\n", (unsigned long long)o.seeds, (unsigned long long)records,
           (unsigned long long)violations);
    return violations == 0 ? 0 : 1;
}
