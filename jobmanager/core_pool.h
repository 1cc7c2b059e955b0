/* jobmanager/core_pool.h: TaskManagers and their slots, as a pure machine: who is alive, who may take work, which job
 * has which slot. Events in, actions out, like core_job.h; memory is fixed when it is made.
 *
 * Liveness: a TaskManager is gone at once when its connection closes, and by silence when no heartbeat came for
 * `silent_ms`. A job gets all slots that it wants or none. Jobs that fit go first, and of these the one of the least
 * rank, then the one that has waited longest: who waits for many slots does not hold up others. Slots are spread
 * evenly: each goes to the TaskManager with the most free slots per slot. What was taken from a TaskManager that is
 * gone never comes back; it returns, if at all, as a new one or with a list of what still runs.
 *
 * A job that restarts keeps its slots, so that nobody takes its place while it waits for its time, or for the last of
 * its old workers to go. When it has asked and all of them are gone, what it does not need, or all if it needs more
 * than there are, is free for others. One that is about to be ended because it wants other slots has them reserved
 * before: they are kept for it, as if it had left them. */
#ifndef WR_JOBMANAGER_CORE_POOL_H
#define WR_JOBMANAGER_CORE_POOL_H
#include "base/error.h"
#include "base/limits.h"
#include <stdbool.h>
#include <stdint.h>

enum wr_tm_state {
    WR_TM_FREE = 0, /* this entry is of nobody */
    WR_TM_ALIVE,
    WR_TM_DRAINING /* takes no new work; its jobs are asked to move */
};

/* Part of a wr_core_pool. */
typedef struct wr_pool_tm {
    uint64_t tm; /* as it registered */
    uint32_t state;
    uint32_t slots, used;
    int64_t  heard_ms;
} wr_pool_tm;

enum wr_claim_state { WR_CLAIM_NONE = 0, WR_CLAIM_WAITS, WR_CLAIM_HELD };

/* What one job wants or has. Part of a wr_core_pool. */
typedef struct wr_pool_claim {
    uint64_t job;
    uint32_t attempt; /* 0: what was reserved for its next one */
    uint32_t state;   /* enum wr_claim_state */
    uint32_t slots;
    uint64_t rank, order;        /* as it was said; of asking */
    uint64_t tm[WR_SLOTS_MAX];   /* HELD: by slot of the job; a slot that was freed alone: 0 */
    bool     kept[WR_SLOTS_MAX]; /* nothing runs there any more, but the job will want it again */
} wr_pool_claim;

/* Owner: its shell, one thread. */
typedef struct wr_core_pool {
    uint32_t       magic;
    int64_t        silent_ms, now_ms;
    wr_pool_tm    *tm; /* the caller's memory */
    uint32_t       tms_max;
    wr_pool_claim *claim; /* the caller's memory; one per attempt that has slots */
    uint32_t       claims_max;
    uint64_t       asked;
} wr_core_pool;

typedef enum wr_pool_event_kind {
    WR_POOL_JOIN = 1, /* tm, slots, on (it is drained): it registered. Again with the same number: harmless. Without
                         room for another one nothing happens: see wr_core_pool_tm_of */
    WR_POOL_LEAVE,    /* tm: its connection closed */
    WR_POOL_HEARD,    /* tm: a heartbeat */
    WR_POOL_DRAIN,    /* tm, on */
    WR_POOL_WANT, /* job, attempt, slots, rank. What the job kept counts as free for it, and it is asked first. Without
                     room for another claim what the job kept is given back for one; without that nothing happens: see
                     wr_core_pool_claim_of, and ask again later */
    WR_POOL_RESERVE, /* job, slots: of its next attempt. What it lacks is kept for it, beside what it has, until that
                        attempt is granted or FORGET. Beyond wr_core_pool_reach, or without room for another claim,
                        nothing happens; again: what was reserved before is free; 0: only that */
    WR_POOL_HOLDS,   /* job, attempt, slots, place: what it has already (after a restart of the JobManager). Slots of
                         a TaskManager that is not here are taken when it joins; again: what was given up is back */
    WR_POOL_FREED,   /* job, attempt, tm: the worker there is no more. keep: the job will restart and keeps the slots */
    WR_POOL_RETURN,  /* job, attempt: it was granted and nothing was started: all of it is free */
    WR_POOL_FORGET,  /* job: wants nothing any more, keeps nothing; slots that are held stay so until FREED */
    WR_POOL_TICK
} wr_pool_event_kind;

typedef struct wr_pool_event {
    wr_pool_event_kind kind;
    int64_t            now_ms;
    uint64_t           tm, job, rank;
    uint32_t           attempt, slots;
    bool               on, keep;
    const uint64_t    *place; /* HOLDS: TaskManager by slot; 0: none */
} wr_pool_event;

typedef enum wr_pool_action_kind {
    WR_POOL_DO_GRANT = 1, /* job, attempt: find its places in wr_core_pool_claim */
    WR_POOL_DO_LOST       /* tm: it was silent for too long; close its connection, its workers are gone */
} wr_pool_action_kind;

typedef struct wr_pool_action {
    wr_pool_action_kind kind;
    uint64_t            tm, job;
    uint32_t            attempt;
} wr_pool_action;

void wr_core_pool_init(wr_core_pool *p, wr_pool_tm *tm, uint32_t tms_max, wr_pool_claim *claim, uint32_t claims_max,
                       int64_t silent_ms, int64_t now_ms);
/* cap: at least tms_max + claims_max. */
uint32_t wr_core_pool_step(wr_core_pool *p, const wr_pool_event *event, wr_pool_action *actions, uint32_t cap);
/* When the next TICK is wanted; INT64_MAX: not before another event. */
int64_t wr_core_pool_due(const wr_core_pool *p);
/* NULL: none. */
const wr_pool_claim *wr_core_pool_claim_of(const wr_core_pool *p, uint64_t job, uint32_t attempt);
const wr_pool_tm    *wr_core_pool_tm_of(const wr_core_pool *p, uint64_t tm);
/* How many slots the job could have if it were ended now: its own and the free ones, on TaskManagers that take work. */
uint32_t wr_core_pool_reach(const wr_core_pool *p, uint64_t job);
typedef struct wr_pool_sums {
    uint32_t tms, draining, slots, free_slots, kept; /* free and slots: of those that take work */
    uint32_t waiting, wanted;                        /* claims, and their slots */
} wr_pool_sums;
void wr_core_pool_sums(const wr_core_pool *p, wr_pool_sums *sums);
/* All that must hold; looks at every claim. step looks at less. */
void wr_core_pool_check(const wr_core_pool *p);

#endif
