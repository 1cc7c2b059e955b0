/* jobmanager/inside.h: what the files of the JobManager's shell share. Nobody else includes it. */
#ifndef WR_JOBMANAGER_INSIDE_H
#define WR_JOBMANAGER_INSIDE_H
#include "base/aside.h"
#include "base/prng.h"
#include "graph/exec.h"
#include "graph/remote.h"
#include "jobmanager/blobs.h"
#include "jobmanager/coordinator.h"
#include "jobmanager/core_job.h"
#include "jobmanager/core_pool.h"
#include "jobmanager/jobmanager.h"
#include "jobmanager/ledger.h"
#include "wire/control.h"

/* A TaskManager that has registered. Part of a wr_jobmanager. */
typedef struct wr_jm_tm {
    uint64_t tm, peer, pid;
    char    *name, *data, *http;
    uint32_t slots;
    int64_t  since_wall_ms, heard_ms;
} wr_jm_tm;

/* The process of one attempt on one TaskManager. Part of a wr_jm_job. */
typedef struct wr_jm_worker {
    uint64_t   tm;
    char      *tm_name;
    bool       gone;    /* its process is no more, or nobody can say */
    bool       unsent;  /* its deployment could not be made */
    bool       awaited; /* after a restart of the JobManager: its TaskManager has not come back yet */
    bool       missing; /* its TaskManager is back without it; GONE says why, if that comes until `late_ms` */
    bool       measured, compared; /* `stats` holds something; `last` too */
    wr_message stats, last;        /* the newest two: rates are made of them */
    int64_t    stats_ms, before_ms;
} wr_jm_worker;

/* What became of a job's snapshots in this JobManager's time: figures for /metrics. Part of a wr_jm_job. */
typedef struct wr_jm_snapshots {
    uint64_t completed, failed; /* of the attempts before the newest one; its own are its coordinator's */
    uint64_t id, bytes;         /* the last one that a later attempt may begin with; 0: there was none */
    double   took_s, at_s;      /* at_s: since 1970 */
} wr_jm_snapshots;

/* What one attempt is made of: the graph, and where it begins. Part of a wr_jm_job, or of a submit. */
typedef struct wr_jm_run {
    wr_remote *remote;
    wr_exec   *exec;
    wr_origin  origin;
    bool       open;    /* origin */
    uint32_t   attempt; /* its number */
    char      *graph;   /* as the workers will find it */
    size_t     graph_bytes;
    char       manifest[WR_PATH_BYTES_MAX]; /* of the snapshot that it begins with, or "" */
} wr_jm_run;

/* One job in this JobManager's time. Owner: its thread. */
typedef struct wr_jm_job {
    wr_jobmanager  *jm;
    uint64_t        id, rank;
    char            name[WR_NAME_BYTES_MAX + 1];
    wr_core_job     core;
    wr_execution    none; /* before an attempt was prepared */
    wr_execution   *execution;
    wr_job_action  *action, *action_old;
    uint32_t        actions_max;
    wr_jm_run       run;         /* of the attempt that is wanted, or runs */
    bool            prepared;    /* by submit or adoption: the next WANT takes it as it is */
    wr_coordinator *coordinator; /* of `attempt`, or NULL */
    wr_jm_snapshots snapshots;
    bool            quiet;   /* the coordinator is told nothing more: FINISH was said by the JobManager before us */
    bool            adopted; /* until it runs: it is a running attempt that we found */
    bool            heir;    /* since then: the JobManager before us may have said FINISH to some */
    uint32_t        attempt; /* granted */
    uint8_t         secret[WR_MAC_BYTES];
    uint64_t        place[WR_SLOTS_MAX]; /* TaskManager by slot */
    wr_jm_worker   *worker;
    uint32_t        workers;
    char          **was_on; /* names of the TaskManagers that had an attempt of it, in our time */
    uint32_t        was_ons;
    bool            released;
    int64_t         reconcile_ms, release_ms; /* until when workers may come back, or go; INT64_MAX: no matter */
    int64_t         late_ms;                  /* until when GONE of workers that are missing may come */
    int64_t         want_ms;                  /* when slots are asked for again, for which there was no claim */
    /* What settle does. */
    bool       refuse, restart, undeployed; /* undeployed: some worker is `unsent` */
    wr_errinfo refused, unsent;             /* why */
    bool       respec;                      /* the next attempt is made of spec_next */
    bool       moving;      /* a snapshot is under way, behind which it leaves a TaskManager that is drained */
    int64_t    move_ms;     /* when to look again */
    char      *stop_target; /* of a stop with a savepoint */
    bool       stop_tried;  /* so there may be a part of it */
    uint64_t   stop_ticket;
    wr_errinfo stop_why;      /* what of it could not be done, or WR_OK */
    uint64_t   last_snapshot; /* of a stop */
    char      *spec_next;     /* rescale: the new specification, until the snapshot is there */
    size_t     spec_next_bytes;
    uint32_t   slots_next;     /* of that */
    bool       short_of_slots; /* it goes on until there are so many, and is rescaled then */
    char      *report;         /* of the newest crash */
    bool       ended;
    uint32_t   end_state; /* which the ledger could not take: again at end_ms; INT64_MAX: it has it */
    int64_t    end_ms;
    bool       release_next; /* its workers, when it has */
    uint64_t   newest;       /* snapshot that was complete: no later attempt begins before it */
} wr_jm_job;

enum wr_jm_wait_kind {
    WR_JM_WAIT_END = 1, /* wait */
    WR_JM_WAIT_CANCELED,
    WR_JM_WAIT_STOPPED,
    WR_JM_WAIT_SNAPSHOT, /* snapshot, savepoint */
    WR_JM_WAIT_RESCALED, /* first its snapshot, then RUNNING */
    WR_JM_WAIT_MOVE,     /* nobody's: the snapshot before a job leaves a TaskManager */
    WR_JM_WAIT_LOGS
};

typedef struct wr_jm_log { /* of one TaskManager */
    uint64_t tm, offset;
    bool     asked, whole, gone;
    char     name[WR_NAME_BYTES_MAX]; /* its: who comes back has another number, and perhaps the same folder */
} wr_jm_log;

/* A request that is not answered yet. Owner: the JobManager's thread. */
typedef struct wr_jm_wait {
    struct wr_jm_wait *next;
    uint64_t   peer, request, job, ticket, snapshot; /* ticket: of the coordinator, and the name of a log's asking */
    uint32_t   kind;                                 /* enum wr_jm_wait_kind */
    bool       follow, taken, savepoint;             /* savepoint: of a stop, one was asked for */
    wr_jm_log *log;
    uint32_t   logs, told;       /* told: whose name stands above the last piece, + 1 */
    uint64_t   from;             /* of a log: where to begin */
    bool       json, last_round; /* of a log: as objects; the job has ended, and all was asked for once more since */
    bool       any, away;        /* of a log: something was told; a part of it is on a TaskManager that is not here */
    int64_t    next_ms;
} wr_jm_wait;

typedef struct wr_jm_grant {
    uint64_t job;
    uint32_t attempt;
} wr_jm_grant;

struct wr_jobmanager {
    wr_jobmanager_config config;
    const wr_env        *env;
    wr_peers            *peers;
    wr_ledger           *ledger;
    wr_blobs            *blobs;
    uint64_t             leader;
    wr_prng              random; /* of a simulator */
    int64_t              started_ms;
    wr_core_pool         pool;
    wr_pool_tm          *pool_tm;
    wr_pool_claim       *pool_claim;
    wr_pool_action      *pool_action;
    wr_jm_tm           **tm;
    uint32_t             tms;
    wr_jm_job          **job; /* in the order of the ledger */
    uint32_t             jobs, jobs_room;
    wr_jm_wait          *wait;
    wr_jm_grant         *grant;
    uint32_t             grants, grants_room;
    uint64_t             tickets, ranks;
    bool                 look_at_moves, more; /* more: events that the last step left */
    wr_errinfo           over;                /* why it leads no more; code WR_OK: it does */
    wr_aside            *aside;               /* whose table `env` is; NULL: without threads */
    wr_peer_event       *held;                /* a ring: what came while storage was waited for */
    uint32_t             held_first, helds, held_room;
    size_t               held_bytes;
    char                 folder[WR_PATH_BYTES_MAX], blobs_folder[WR_PATH_BYTES_MAX], snapshots[WR_PATH_BYTES_MAX];
    struct {
        uint64_t stale, unknown, undecodable, wrong_role, reports, acks, failures;
    } count;
};

/* ---- jobmanager.c ---- */
int64_t  wr_jm_now_ms(const wr_jobmanager *jm);
int64_t  wr_jm_wall_ms(const wr_jobmanager *jm);
uint64_t wr_jm_random(wr_jobmanager *jm);
/* leader is put in. An error: it cannot be made; nothing was sent. */
wr_err     wr_jm_try_send(wr_jobmanager *jm, uint64_t peer, wr_message *m, wr_errinfo *info);
void       wr_jm_send(wr_jobmanager *jm, uint64_t peer, wr_message *m); /* or it is logged */
void       wr_jm_close(wr_jobmanager *jm, uint64_t peer);               /* the connection; no CLOSED event follows */
wr_jm_job *wr_jm_job_of(wr_jobmanager *jm, uint64_t id); /* NULL: it ended before our time, or never was */
wr_jm_tm  *wr_jm_tm_of(wr_jobmanager *jm, uint64_t tm);
void       wr_jm_pool(wr_jobmanager *jm, wr_pool_event event);
/* What a job that is known calls this file; NULL: none has it. */
const char *wr_jm_blob_name(const wr_jobmanager *jm, const uint8_t digest[WR_DIGEST_BYTES]);
/* Makes it and joins it to the others; the ledger has it. */
wr_jm_job *wr_jm_job_new(wr_jobmanager *jm, uint64_t id, wr_errinfo *info);

/* ---- taskmanagers.c ---- */
void wr_jm_send_blob(wr_jobmanager *jm, uint64_t peer, const wr_message *m);
void wr_jm_from_tm(wr_jobmanager *jm, uint64_t peer, wr_message *m);
/* Answers what is a heartbeat, and of a TaskManager that has not been given up. */
bool      wr_jm_heartbeat(wr_jobmanager *jm, const wr_peer_event *e);
void      wr_jm_tm_lost(wr_jobmanager *jm, uint64_t tm, bool in_pool, const char *how);
wr_jm_tm *wr_jm_tm_of_peer(wr_jobmanager *jm, uint64_t peer);
void      wr_jm_nobody_said_why(wr_jm_job *j); /* its late_ms has come */

/* ---- crashes.c ---- */
void  wr_jm_crash_keep(wr_jobmanager *jm, uint64_t job, const char *report);
char *wr_jm_crash_of(wr_jobmanager *jm, uint64_t job); /* the newest report, malloc'ed; NULL: there is none */
void  wr_jm_crashes_sweep(wr_jobmanager *jm);          /* those of forgotten jobs go */

/* ---- job.c ---- */
void wr_jm_feed(wr_jm_job *j, wr_job_event event);
void wr_jm_job_free(wr_jm_job *j);
void wr_jm_job_due(wr_jm_job *j);
void wr_jm_granted(wr_jm_job *j, uint32_t attempt);
void wr_jm_settle_job(wr_jm_job *j, bool *more);
void wr_jm_order(wr_jm_job *j, const wr_worker_order *order);
/* What a worker says; checked. */
void wr_jm_report(wr_jm_job *j, uint64_t tm, const wr_task_report *r);
void wr_jm_ack(wr_jm_job *j, uint64_t tm, wr_ack *ack);
/* Its subtasks are no more. */
void          wr_jm_worker_lost(wr_jm_job *j, wr_jm_worker *w, bool clean, uint32_t subtask, const wr_errinfo *info);
void          wr_jm_kill(wr_jm_job *j);
wr_jm_worker *wr_jm_worker_of(wr_jm_job *j, uint64_t tm);
/* Memory of the machine for so many. */
wr_err wr_jm_room_for(wr_jm_job *j, uint32_t subtasks, wr_errinfo *info);
void   wr_jm_end_in_ledger(wr_jm_job *j, wr_job_state state, const wr_errinfo *cause);

/* ---- takeover.c ---- */
/* A job of the ledger that has not ended, when the JobManager begins. */
void wr_jm_begin(wr_jm_job *j, const wr_ledger_job *l);

/* ---- attempt.c ---- */
enum wr_jm_begins {
    WR_JM_FIRST = 1, /* of a new job; else its own snapshots win over what it was restored from */
    WR_JM_NEXT,
    WR_JM_ADOPTED /* it runs already */
};
/* attempt: its number, or one that it must not be below. */
wr_err wr_jm_run_prepare(wr_jobmanager *jm, wr_jm_run *run, const wr_job_spec *spec, enum wr_jm_begins how,
                         uint32_t attempt, wr_errinfo *info);
void   wr_jm_run_free(wr_jm_run *run);
void   wr_jm_drop_coordinator(wr_jm_job *j); /* its counts stay */
wr_err wr_jm_new_coordinator(wr_jm_job *j, const wr_job_spec *spec, wr_errinfo *info);
void   wr_jm_places(wr_jm_job *j, const uint64_t *place, uint32_t places);
void   wr_jm_was_on(wr_jm_job *j, const wr_jm_tm *t);
void   wr_jm_deploy(wr_jm_job *j);
void   wr_jm_forget_workers(wr_jm_job *j);

/* ---- submit.c ---- */
/* The greatest attempt of older jobs in that folder of snapshots, as far as the ledger remembers them; before NULL: of
 * all. */
uint32_t wr_jm_attempts_before(wr_jobmanager *jm, const char *snapshots, const wr_ledger_job *before);
void     wr_jm_submit(wr_jobmanager *jm, uint64_t peer, wr_message *m);
void     wr_jm_drain(wr_jobmanager *jm, uint64_t peer, wr_message *m, bool on);
void     wr_jm_moves(wr_jobmanager *jm);

/* ---- rescale.c ---- */
void wr_jm_rescale(wr_jobmanager *jm, uint64_t peer, wr_message *m, wr_jm_job *j);
/* Those that wait for slots: there may be enough now. */
void wr_jm_rescales(wr_jobmanager *jm);
/* It stays as it was, and who asked hears why. */
void wr_jm_not_rescaled(wr_jm_job *j, const wr_errinfo *why);
/* Ahead of its restart, the snapshot for it is complete: whether it will get its slots, which are reserved. false: it
 * goes on as it is; of a rescale it was said why, or it waits for slots. */
bool wr_jm_rescale_fits(wr_jm_job *j);
bool wr_jm_move_fits(wr_jm_job *j);
/* The attempt before is over: from now on it is another job. */
wr_err wr_jm_respec(wr_jm_job *j, wr_errinfo *info);

/* ---- requests.c ---- */
/* By id, the beginning of one, or name. NULL, and why. */
const wr_ledger_job *wr_jm_find_job(wr_jobmanager *jm, const char *text, wr_errinfo *info);
void                 wr_jm_from_client(wr_jobmanager *jm, uint64_t peer, wr_message *m);
void        wr_jm_reply(wr_jobmanager *jm, uint64_t peer, uint64_t request, const wr_errinfo *info, uint64_t job,
                        uint64_t snapshot);
void        wr_jm_reply_text(wr_jobmanager *jm, uint64_t peer, uint64_t request, char *out, size_t n);
void        wr_jm_progress(wr_jobmanager *jm, const wr_jm_wait *w, const char *out, size_t n);
wr_jm_wait *wr_jm_wait_new(wr_jobmanager *jm, uint64_t peer, uint64_t request, uint64_t job, uint32_t kind);
void        wr_jm_wait_end(wr_jobmanager *jm, wr_jm_wait *w); /* forgets it */
void        wr_jm_peer_gone(wr_jobmanager *jm, uint64_t peer);
void        wr_jm_answered(wr_jm_job *j, uint64_t ticket, uint64_t id, const wr_errinfo *why);
void        wr_jm_told(wr_jm_job *j, wr_job_state state); /* the job entered it */
void        wr_jm_went(wr_jm_job *j);                     /* all of its subtasks may run */

/* ---- logs.c ---- */
void    wr_jm_logs(wr_jobmanager *jm, uint64_t peer, const wr_message *m, uint64_t job);
void    wr_jm_log_came(wr_jobmanager *jm, uint64_t tm, const wr_message *m);
void    wr_jm_logs_due(wr_jobmanager *jm);
void    wr_jm_logs_lost(wr_jobmanager *jm, uint64_t tm); /* it answers no more */
int64_t wr_jm_logs_next_ms(const wr_jobmanager *jm);

/* ---- top.c ---- */
typedef struct wr_jm_times { /* shares of the time of a task's subtasks: means, and of the one with most */
    double   busy, idle, back_pressured, busiest;
    uint32_t subtasks; /* that were measured */
    uint32_t busiest_subtask;
} wr_jm_times;
typedef struct wr_jm_flow {      /* of an operator: sums over its subtasks */
    bool        measured, rated; /* rated: there were two measurements */
    uint64_t    in, out, bad, late, state_bytes, keys;
    double      in_rate, out_rate;
    int64_t     watermark; /* the least; WEIR_NO_TIME: none */
    int64_t     ahead;     /* the greatest of those that have not ended; WEIR_NO_TIME: none */
    uint32_t    slowest;   /* whose the least is */
    bool        stands;    /* it was the same at the measurement before */
    const char *held;      /* what holds it back there, or "" */
} wr_jm_flow;
void wr_jm_times_of(const wr_jm_job *j, uint32_t vertex, wr_jm_times *sum);
void wr_jm_flow_of(const wr_jm_job *j, uint32_t node, wr_jm_flow *sum);

/* ---- show.c ---- */
char *wr_jm_show_list(wr_jobmanager *jm, uint64_t nobody, bool json, size_t *n);
/* Attempts that followed a failure. */
uint32_t wr_jm_restarts_of(wr_jobmanager *jm, const wr_ledger_job *l);
char    *wr_jm_show_job(wr_jobmanager *jm, uint64_t id, bool json, size_t *n);
char    *wr_jm_show_snapshots(wr_jobmanager *jm, uint64_t id, bool json, size_t *n);
char    *wr_jm_show_taskmanagers(wr_jobmanager *jm, uint64_t nobody, bool json, size_t *n);
char    *wr_jm_show_top(wr_jobmanager *jm, uint64_t id, bool json, size_t *n);
char    *wr_jm_show_why(wr_jobmanager *jm, uint64_t id, bool json, size_t *n);

#endif
