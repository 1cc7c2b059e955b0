/* taskmanager/supervisor_parts.h: what the files of the supervisor share. */
#ifndef WR_TASKMANAGER_SUPERVISOR_PARTS_H
#define WR_TASKMANAGER_SUPERVISOR_PARTS_H
#include "graph/exec.h"
#include "graph/remote.h"
#include "taskmanager/blobs.h"
#include "taskmanager/litter.h"
#include "taskmanager/supervisor.h"

enum { WR_TM_BEATS_MAX = 64, WR_TM_PAST_MAX = 64 };

enum wr_tm_worker_state {
    WR_TM_FETCHES = 1, /* its files are on their way */
    WR_TM_RUNS,
    WR_TM_ENDS, /* its process was told or made to end */
    WR_TM_OVER  /* GONE was told while storage was waited for: what it leaves is put away behind that */
};

/* A proved data connection that its process is not there for yet. */
typedef struct wr_tm_guest {
    int           socket;
    wr_data_hello hello;
} wr_tm_guest;

/* Owner: its supervisor. */
typedef struct wr_tm_worker {
    uint64_t        job, process, peer;
    uint32_t        attempt;
    uint32_t        state; /* enum wr_tm_worker_state */
    char           *bytes; /* DEPLOY, until the process has it */
    size_t          n;
    wr_message      deployment; /* the same, decoded */
    wr_task_report *task;       /* what it said about each, by order of first mention */
    uint32_t        tasks, tasks_max;
    bool            clean; /* it ends because it was told to */
    wr_errinfo      why;   /* unclean: the first reason that we know */
    int64_t         said_ns;
    int64_t         end_by_ns; /* ENDS: then it is killed */
    wr_message      stats;     /* the newest; kind 0: none yet */
    bool            graph_seen;
    wr_remote      *graph; /* graph_seen: the job's, for names in metrics; NULL: it cannot be read */
    wr_exec        *exec;
    char            folder[WR_PATH_BYTES_MAX];
    wr_tm_copy      copy; /* FETCHES: of the file `copied` into the folder */
    uint32_t        copied;
    wr_tm_guest    *guest; /* FETCHES */
    uint32_t        guests, guests_max;
} wr_tm_worker;

enum wr_tm_link { WR_TM_AWAY = 1, WR_TM_DIALS, WR_TM_OPENS, WR_TM_REGISTERED };

typedef struct wr_tm_counts {
    uint64_t heartbeats, connections, lost, stale, deployed, ended, crashed, killed, garbage;
    int64_t  round_trip_ns; /* of the last heartbeat */
} wr_tm_counts;

/* What came while storage was waited for. */
typedef struct wr_tm_held {
    wr_peer_event e;
    uint64_t      job; /* that it is about; 0: none */
} wr_tm_held;

/* An attempt that was here. */
typedef struct wr_tm_past {
    uint64_t job;
    uint32_t attempt;
} wr_tm_past;

/* Owner: the thread that steps it. */
struct wr_supervisor {
    wr_supervisor_config config;
    const wr_env        *env;
    const wr_env        *files; /* its storage: env's, or used by `aside` */
    wr_aside            *aside; /* NULL: without threads */
    bool                 ready; /* made, and not ending: something may be done while storage is waited for */
    bool                 waits; /* it is: nothing may use storage, or take a worker out of the list */
    bool                 stuck; /* for so long that whoever needs storage was given up */
    wr_tm_held          *held;  /* a ring */
    uint32_t             held_first, helds, held_room;
    size_t               held_bytes;
    char                *jobmanager, *name, *folder, *http, *data; /* data: as others reach it */
    uint64_t             tm;
    int                  lock; /* descriptor + 1 of the folder's lock; 0: none */
    wr_acceptor         *acceptor;
    wr_tm_blobs         *blobs;
    wr_tm_litter         litter; /* working folders that are over */
    bool                 busy;   /* there are files to look at, or to copy: step comes back at once */
    wr_tm_worker       **worker;
    uint32_t             workers;
    wr_tm_past           past[WR_TM_PAST_MAX];
    uint32_t             pasts;
    /* The JobManager. */
    uint32_t     link; /* enum wr_tm_link */
    uint64_t     jm;   /* peer */
    uint64_t     leader;
    int64_t      dial_ns, back_off_ns;
    int64_t      heartbeat_ns, lease_ns; /* as it told us */
    uint64_t     seq;
    int64_t      sent_ns[WR_TM_BEATS_MAX]; /* heartbeats, by seq modulo; [0] of a connection: REGISTER */
    int64_t      beat_ns, heard_ns;        /* when the next one is due; when it last said anything */
    int64_t      lease_until_ns;
    wr_err       dial_told; /* the reason that was logged last */
    char       **late;      /* GONE messages that wait for a connection */
    size_t      *late_bytes;
    uint32_t     lates;
    wr_tm_counts count;
};

/* ---- supervisor.c ---- */
int64_t wr_tm_now(const wr_supervisor *s);
/* To the JobManager; lost without a connection, since REGISTER tells what is. m->leader is filled in. */
void wr_tm_send(wr_supervisor *s, wr_message *m);
/* GONE: it waits for a connection. */
void wr_tm_send_sure(wr_supervisor *s, wr_message *m);

/* A message of the JobManager; takes the bytes over. */
void wr_tm_take(wr_supervisor *s, const wr_peer_event *e);

/* ---- supervisor_aside.c ---- */
/* Makes s->files. While that waits for storage, what must not wait is done: not before s->ready. */
wr_err wr_tm_aside_new(wr_supervisor *s, wr_errinfo *info);
/* Of the JobManager's connection: first what was held. */
bool wr_tm_next(wr_supervisor *s, wr_peer_event *e);
/* Storage is waited for, and the message must wait as well: it was put behind the others, with its bytes. */
bool wr_tm_hold(wr_supervisor *s, const wr_peer_event *e, const wr_message *m);
/* Storage has not answered for so long that nobody should wait for it: why. */
bool wr_tm_stuck(const wr_supervisor *s, wr_errinfo *why);
/* What must go on while storage is waited for. */
void wr_tm_meanwhile(wr_supervisor *s);
void wr_tm_held_free(wr_supervisor *s);

/* ---- supervisor_workers.c ---- */
wr_tm_worker *wr_tm_find(const wr_supervisor *s, uint64_t job, uint32_t attempt);
/* Takes the message and its bytes over. */
void wr_tm_deploy(wr_supervisor *s, wr_message *m, char *bytes, size_t n);
void wr_tm_order(wr_supervisor *s, const wr_message *m, const char *bytes, size_t n);
void wr_tm_kill(wr_supervisor *s, uint64_t job, uint32_t attempt);
/* A proved data connection, to whom it is for. */
void wr_tm_connect(wr_supervisor *s, int socket, const wr_data_hello *hello);
void wr_tm_relay_lease(wr_supervisor *s);
/* Starts what has all of its files, takes what workers say, ends what is due, tells who has gone. */
void wr_tm_step_workers(wr_supervisor *s);
/* Of that, what needs no storage; `give_up`: who waits for storage is told to be gone, and why. */
void    wr_tm_workers_meanwhile(wr_supervisor *s, const wr_errinfo *give_up);
int64_t wr_tm_workers_due(const wr_supervisor *s);
void    wr_tm_worker_free(wr_supervisor *s, wr_tm_worker *w);

/* ---- supervisor_logs.c ---- */
/* The folder of a job's log; false: its path is too long. */
bool wr_tm_log_folder(const wr_supervisor *s, uint64_t job, char folder[WR_PATH_BYTES_MAX]);
/* Its newest segment, made when there is none; folders of old jobs go. */
wr_err wr_tm_log_open(wr_supervisor *s, uint64_t job, char path[WR_PATH_BYTES_MAX], wr_errinfo *info);
void   wr_tm_log_tell(wr_supervisor *s, const wr_message *ask);

#endif
