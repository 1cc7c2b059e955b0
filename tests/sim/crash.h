/* tests/sim/crash.h: a whole job with snapshots on a simulated disk: JobManager's machines and shell, slots, operators,
 * storage, exactly-once sinks, in one thread; killed at any step and started again until it has finished. */
#ifndef WR_SIM_CRASH_H
#define WR_SIM_CRASH_H
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

typedef struct sim_crash_result {
    uint64_t crashes, snapshots, restores, records, failures; /* failures: attempts that the disk's errors ended */
    uint64_t steps, states; /* states: keyed operators whose restored state was compared */
    uint64_t savepoints, forks, stops, drains, rescales, retries, repeats; /* forks: starts from a savepoint */
    uint64_t late;                                                         /* records that came too late for a window */
    uint64_t checked, reuses; /* manifests whose files were read after a crash; files that were overwritten */
    uint64_t trace;           /* hash over everything that happened */
    uint64_t scribe_turns;
    bool     scribes; /* threads write the snapshots, of most attempts */
    bool     violated;
    char     why[1024];
} sim_crash_result;

/* trace: a line per event on standard output. */
void sim_crash_run(const sim_plan *plan, bool trace, sim_crash_result *result);

/* ---- what the folders of the sinks hold: output.c ---- */
/* All records of the finished files of a sink's folder, in the order of the files' names. False: a file is broken. */
bool sim_output_read(sim_disk *disk, const char *folder, sim_items *items, char *why, size_t n);
/* All committed pages of that sink, in the order in which they were prepared. */
void sim_vault_read(const sim_vault *vault, uint32_t sink, sim_items *items);
/* NULL, or what is wrong. `part`: the job has not finished, so a part of it must be there and nothing else. ordered:
 * the records of each key are in the order of the reference. Sorts both. */
const char *sim_output_compare(sim_items *got, sim_items *expected, bool part, bool ordered, char text[256]);

/* ---- what keyed operators must hold: reference.c's tables, as order-free sums over their entries ---- */
typedef struct sim_digest {
    uint64_t keys, sum;
} sim_digest;
static inline void sim_digest_add(sim_digest *d, uint64_t a, uint64_t b)
{
    d->keys++;
    d->sum += sim_mix(a, b);
}
/* of[i]: node i after all that `emitted` says. */
void sim_reference_states(const sim_plan *plan, const uint64_t emitted[SIM_SOURCES][SIM_SPLITS],
                          sim_digest of[SIM_NODES]);
#endif
