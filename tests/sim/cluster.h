/* tests/sim/cluster.h: a whole cluster in one thread: JobManager, TaskManagers, workers with real operators, a client,
 * network and disk, under seeded crashes, pauses, partitions and errors, until the job has finished. */
#ifndef WR_SIM_CLUSTER_H
#define WR_SIM_CLUSTER_H
#include "tests/sim/crash.h"

typedef struct sim_cluster_result {
    uint64_t crashes, snapshots, restores, records; /* restores: attempts that began with a snapshot */
    uint64_t steps, attempts, leaders, pauses, partitions, breaks, powers, messages, bytes, rescales, savepoints;
    uint64_t states, stops, drains, cancels, forks, ends, unmounts; /* ends: a job's end was asked for again later */
    uint64_t trace;
    uint64_t files;   /* of the job, compared in the folder of a worker */
    uint64_t late;    /* records that came too late for a window */
    uint64_t others;  /* crashes of another job */
    bool     alone;   /* and nothing else happened */
    bool     aside;   /* the JobManager has threads, one of which uses storage for it */
    bool     scribes; /* threads write the snapshots, of most workers */
    uint64_t scribe_turns;
    uint64_t asides, long_asides, cuts; /* calls of theirs; of a millisecond and more; it was killed in the middle */
    bool     violated;
    char     why[1024];
} sim_cluster_result;

extern bool sim_shared_fate; /* sabotage: what crashes takes others with it */

/* Whether processes have threads besides the ones that are stepped: as the seed says, yes, or no. */
enum sim_threading { SIM_AS_SEED, SIM_THREADS, SIM_NO_THREADS };

/* trace: a line per event on standard output. */
void sim_cluster_run(const sim_plan *plan, enum sim_threading threads, bool trace, sim_cluster_result *result);
#endif
