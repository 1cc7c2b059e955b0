/* jobmanager/core_checkpoint.h: when snapshots of one job begin, complete and fail, as a pure machine: events in,
 * actions out. Like core_job.h it knows no clock, thread, file or worker, and its memory is fixed when it is made.
 *
 * One snapshot is under way at a time. It begins by the clock (interval, but never within `pause_ms` of the end of the
 * last one), by request (queued), when a stop was ordered, or when all subtasks have ended. It completes when every
 * subtask has acknowledged AND its manifest is durable, in this order; whatever goes wrong before fails it, which is
 * recorded, put off by a growing time, and harms nobody. An id is used only after its block is durable, and once. */
#ifndef WR_JOBMANAGER_CORE_CHECKPOINT_H
#define WR_JOBMANAGER_CORE_CHECKPOINT_H
#include "wire/snapshot.h"

/* What one subtask did for one snapshot. Part of a wr_core_checkpoint. */
typedef struct wr_snapshot_figures {
    bool     acked, ended, increment;
    int64_t  start_delay_ns, align_ns, sync_ns, async_ns;
    uint64_t bytes;      /* written: all of the keyed state, or what had changed */
    uint64_t bytes_full; /* of its keyed state */
} wr_snapshot_figures;

enum wr_snapshot_outcome { WR_SNAPSHOT_UNDER_WAY = 1, WR_SNAPSHOT_COMPLETED, WR_SNAPSHOT_FAILED };
const char *wr_snapshot_outcome_name(uint32_t outcome); /* "completed" */

/* One line of the history. Part of a wr_core_checkpoint. */
typedef struct wr_snapshot_record {
    uint64_t                   id; /* 0: it failed before it had one */
    uint64_t                   base;
    uint32_t                   kind, outcome;
    bool                       last; /* nothing came after it: stopped or ended */
    int64_t                    wall_ms, begun_ms, ended_ms;
    uint32_t                   acked;
    uint64_t                   bytes, bytes_full;     /* sums */
    uint32_t                   failed_subtask, phase; /* FAILED: where; WR_SNAPSHOT_NOBODY: no subtask's fault */
    wr_errinfo                 why;
    const wr_snapshot_figures *figures; /* by subtask */
} wr_snapshot_record;
#define WR_SNAPSHOT_NOBODY UINT32_MAX

/* Not the same type as a completed one, so that nobody takes the one for the other. */
typedef struct wr_pending_snapshot {
    wr_barrier           barrier;
    int64_t              begun_ms;
    bool                 paused; /* the sources gave nothing any more when it began */
    uint32_t             acked, ended;
    uint64_t             ticket[WR_SNAPSHOT_QUEUE_MAX]; /* who waits for it */
    uint32_t             tickets;
    wr_snapshot_figures *figures;
    wr_snapshot_record  *record;
} wr_pending_snapshot;

/* Ordinary, durable and kept. */
typedef struct wr_completed_snapshot {
    uint64_t id;
} wr_completed_snapshot;

typedef struct wr_checkpoint_config {
    uint32_t                     subtasks; /* at least 1 */
    uint32_t                     epoch;
    int64_t                      interval_ms;                 /* 0: only by request and at the end */
    int64_t                      timeout_ms;                  /* of one snapshot, from its barrier to the last ack */
    int64_t                      pause_ms;                    /* between the end of one and a periodic beginning */
    int64_t                      backoff_ms, backoff_most_ms; /* after a failure; doubles with each further one */
    uint32_t                     keep;                        /* 1 to WR_SNAPSHOTS_KEEP_MAX */
    uint64_t                     base;  /* what the job starts from, if this lineage wrote it; else 0 */
    uint64_t                     ids;   /* all up to this one may have been used */
    const wr_completed_snapshot *known; /* completed before, rising, for retention */
    uint32_t                     knowns;
} wr_checkpoint_config;

enum wr_checkpoint_phase {
    WR_CHECKPOINT_IDLE = 1,
    WR_CHECKPOINT_IDS,     /* a block of ids is being made durable */
    WR_CHECKPOINT_ACKS,    /* the barrier is out */
    WR_CHECKPOINT_MANIFEST /* all acked; the manifest is being made durable */
};

typedef struct wr_checkpoint_request {
    uint64_t ticket;
    uint32_t kind;
} wr_checkpoint_request;

/* Owner: its shell, one thread. */
typedef struct wr_core_checkpoint {
    uint32_t              magic;
    wr_checkpoint_config  config;
    uint32_t              phase; /* enum wr_checkpoint_phase */
    int64_t               now_ms, wall_ms;
    bool                  started, closed, finished;
    bool                  stopping; /* sources are paused; a last snapshot follows */
    bool                  draining; /* sources were ended: the snapshot of the end is the last one */
    uint64_t              stop_ticket;
    bool                  stop_waits; /* somebody has that ticket */
    uint64_t              next_id, ids_durable;
    uint64_t              newest;        /* completed and ordinary: the base of the next */
    bool                  anew;          /* but files are damaged: the next has no base */
    int64_t               next_ms;       /* when the next periodic one may begin */
    int64_t               not_before_ms; /* back-off */
    uint32_t              failures;      /* in a row */
    uint64_t              completions, failures_all, savepoints;
    uint64_t              stale, repeated; /* acks that changed nothing */
    uint32_t              ended;           /* subtasks */
    wr_pending_snapshot   pending;         /* ACKS and MANIFEST */
    wr_completed_snapshot completed[WR_SNAPSHOTS_KEEP_MAX + 1];
    uint32_t              completeds;
    wr_checkpoint_request queue[WR_SNAPSHOT_QUEUE_MAX];
    uint32_t              queued;
    wr_snapshot_record    record[WR_SNAPSHOT_HISTORY];
    uint64_t              records;       /* ever made; the newest is record[(records - 1) % WR_SNAPSHOT_HISTORY] */
    wr_snapshot_figures  *figures;       /* the caller's memory: (WR_SNAPSHOT_HISTORY) * subtasks */
    bool                 *subtask_ended; /* the caller's memory: subtasks */
} wr_core_checkpoint;

typedef enum wr_checkpoint_event_kind {
    WR_CHECKPOINT_START = 1,     /* all subtasks run */
    WR_CHECKPOINT_TICK,          /* time passed; see wr_core_checkpoint_due */
    WR_CHECKPOINT_REQUEST,       /* somebody wants one: ticket, barrier_kind */
    WR_CHECKPOINT_STOP,          /* ticket, drain */
    WR_CHECKPOINT_ACK,           /* a subtask's answer: ack */
    WR_CHECKPOINT_ENDED,         /* a subtask has no more input and gave all results */
    WR_CHECKPOINT_IDS_DONE,      /* the answer to DO_IDS: info */
    WR_CHECKPOINT_MANIFEST_DONE, /* the answer to DO_MANIFEST: id, info */
    WR_CHECKPOINT_REFUSED,       /* instead of DO_TRIGGER: id, info */
    WR_CHECKPOINT_CLOSE          /* the job is ending in another way: nothing begins or completes any more */
} wr_checkpoint_event_kind;

typedef struct wr_checkpoint_event {
    wr_checkpoint_event_kind kind;
    int64_t                  now_ms;  /* never goes back */
    int64_t                  wall_ms; /* may */
    uint64_t                 ticket;
    bool                     nobody; /* STOP: nobody waits for an answer; ticket means nothing */
    uint32_t                 barrier_kind;
    bool                     drain;
    uint32_t                 subtask; /* ENDED */
    const wr_ack            *ack;
    uint64_t                 id;
    const wr_errinfo        *info; /* IDS_DONE, MANIFEST_DONE: code WR_OK, or why not */
} wr_checkpoint_event;

typedef enum wr_checkpoint_action_kind {
    WR_CHECKPOINT_DO_IDS = 1,       /* make "ids up to `id`" durable, then IDS_DONE */
    WR_CHECKPOINT_DO_TRIGGER,       /* send `barrier` */
    WR_CHECKPOINT_DO_ABORT,         /* tell the subtasks that `id` will not complete; forget its acks */
    WR_CHECKPOINT_DO_MANIFEST,      /* make the manifest of `id` durable, then MANIFEST_DONE */
    WR_CHECKPOINT_DO_COMPLETE,      /* tell the subtasks that `id` is durable */
    WR_CHECKPOINT_DO_SWEEP,         /* remove what `completed` does not keep */
    WR_CHECKPOINT_DO_PAUSE_SOURCES, /* once */
    WR_CHECKPOINT_DO_END_SOURCES,   /* once */
    WR_CHECKPOINT_DO_FINISH,        /* the last snapshot is durable: the subtasks finish */
    WR_CHECKPOINT_DO_ANSWER         /* to `ticket`: id, or why not (info, until the next step) */
} wr_checkpoint_action_kind;

typedef struct wr_checkpoint_action {
    wr_checkpoint_action_kind kind;
    uint64_t                  id, ticket;
    wr_barrier                barrier;
    const wr_errinfo         *info; /* ANSWER: NULL when it went well */
} wr_checkpoint_action;

/* The most actions of one step: an answer to everybody, and what one snapshot's end and the next one's begin take. */
#define WR_CHECKPOINT_ACTIONS_MAX (2 * WR_SNAPSHOT_QUEUE_MAX + 16)

/* figures: WR_SNAPSHOT_HISTORY * subtasks of them; ended: one per subtask. Both outlive the machine. */
void wr_core_checkpoint_init(wr_core_checkpoint *m, const wr_checkpoint_config *config, wr_snapshot_figures *figures,
                             bool *ended, int64_t now_ms);
/* One event. Writes actions, in the order in which they must be done, and returns how many; cap is at least
 * WR_CHECKPOINT_ACTIONS_MAX. What subtasks say is checked and, when it does not fit, counted and ignored. */
uint32_t wr_core_checkpoint_step(wr_core_checkpoint *m, const wr_checkpoint_event *event, wr_checkpoint_action *actions,
                                 uint32_t cap);
/* When the next TICK is wanted, in its clock; INT64_MAX: not before another event. */
int64_t wr_core_checkpoint_due(const wr_core_checkpoint *m);
/* The newest completed ordinary snapshot; 0: none. */
uint64_t wr_core_checkpoint_newest(const wr_core_checkpoint *m);
/* Line i of the history, 0 is the newest; NULL: no more. */
const wr_snapshot_record *wr_core_checkpoint_record(const wr_core_checkpoint *m, uint32_t i);
/* The newest failure while none has come to its end since; NULL: the last one did. */
const wr_snapshot_record *wr_core_checkpoint_failing(const wr_core_checkpoint *m);
/* NULL: it is not among the last ones. */
const wr_snapshot_record *wr_core_checkpoint_find(const wr_core_checkpoint *m, uint64_t id);
void                      wr_core_checkpoint_check(const wr_core_checkpoint *m);

#endif
