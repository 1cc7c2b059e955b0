/* wire/control.h: every message of the control plane, to and from bytes: what clients, JobManager, TaskManagers and
 * workers tell each other. Each is one msgpack map with the members that its kind has; docs/protocol.md lists them.
 *
 * Who may act on a message is decided by the numbers in its head: a leader epoch below the greatest one seen, or an
 * attempt that is not the job's present one, makes it stale, and it has no effect. A message that comes twice has the
 * effect of one. Within a connection messages keep their order. Pure; any thread. */
#ifndef WR_WIRE_CONTROL_H
#define WR_WIRE_CONTROL_H
#include "base/arena.h"
#include "wire/snapshot.h"

/* Versions of this protocol that we speak. Two sides use the greatest one that both have; none in common: refused. */
#define WR_PROTOCOL     1u
#define WR_PROTOCOL_MIN 1u

enum { WR_MAC_BYTES = 32, WR_NONCE_BYTES = 32, WR_DIGEST_BYTES = 32 /* SHA-256 */ };

typedef enum wr_message_kind {
    /* Greeting: net/greeting.h. */
    WR_MSG_CHALLENGE = 1, /* listener: nonce, versions */
    WR_MSG_HELLO,         /* dialer: role, version, proof of the token, nonce of its own */
    WR_MSG_WELCOME,       /* listener: its proof */
    WR_MSG_REFUSED,       /* either, before it closes: info */
    /* TaskManager to JobManager. */
    WR_MSG_REGISTER = 16, /* after each greeting: what it is, and what runs on it */
    WR_MSG_HEARTBEAT,     /* seq */
    WR_MSG_REPORT,        /* from a worker: what became of subtasks */
    WR_MSG_ACK,           /* from a worker: one subtask's answer to a barrier */
    WR_MSG_STATS,         /* from a worker: what it measured; newest wins */
    WR_MSG_GONE,          /* a worker's process is no more: info says how */
    WR_MSG_BLOB_GET,      /* request, digest, offset */
    WR_MSG_LOG,           /* answer to LOG_GET */
    /* JobManager to TaskManager. */
    WR_MSG_REGISTERED = 32,
    WR_MSG_HEARD,   /* answer to HEARTBEAT: seq; the round trip renews leases */
    WR_MSG_DEPLOY,  /* start a worker for this attempt */
    WR_MSG_ORDER,   /* to a worker */
    WR_MSG_KILL,    /* end the worker of (job, attempt), now; harmless when there is none */
    WR_MSG_BLOB,    /* a piece of a blob, or why not */
    WR_MSG_LOG_GET, /* request, offset: the end of a job's log on that TaskManager */
    /* TaskManager to worker, besides DEPLOY and ORDER. */
    WR_MSG_LEASE = 48, /* until */
    /* Client and JobManager. */
    WR_MSG_REQUEST = 64, /* client: verb and what it needs */
    WR_MSG_REPLY,        /* JobManager: the end of a request */
    WR_MSG_PROGRESS,     /* JobManager: a piece of output; more follow, REPLY is last */
    WR_MSG_BLOB_PUT /* client: a piece of a blob; REPLY when the last piece is durable, or when it is there already */
} wr_message_kind;

enum wr_role { WR_ROLE_CLIENT = 1, WR_ROLE_TASKMANAGER };

typedef struct wr_greeting { /* CHALLENGE, HELLO, WELCOME */
    uint32_t    protocol, protocol_min, role;
    const char *weir; /* version of the program */
    uint8_t     nonce[WR_NONCE_BYTES], mac[WR_MAC_BYTES];
} wr_greeting;

typedef struct wr_task_report { /* an element of REPORT, and of what REGISTER says about a worker */
    uint32_t   subtask, state;  /* wr_task_state of taskmanager/worker.h: 1 CREATED ... 8 FAILED */
    wr_errinfo info;            /* FAILED: why */
} wr_task_report;

typedef struct wr_running_worker { /* REGISTER: one that is alive */
    uint64_t        job;
    uint32_t        attempt;
    wr_task_report *task; /* all of its subtasks, as far as it knows */
    uint32_t        tasks;
} wr_running_worker;

typedef struct wr_register {
    uint64_t           tm;   /* random, new at each start of the process */
    const char        *name; /* for people: "host:pid" unless configured */
    const char        *data; /* HOST:PORT of its data port, as others reach it */
    const char        *http; /* HOST:PORT of its metrics, or "" */
    uint32_t           slots;
    uint64_t           pid;
    wr_running_worker *worker;
    uint32_t           workers;
} wr_register;

typedef struct wr_registered {
    int64_t heartbeat_ms, lease_ms; /* how often; how long a worker lives after the last round trip began */
} wr_registered;

typedef struct wr_blob_ref {
    const char *name; /* file name without folders: what user code opens, relative to its working folder */
    uint8_t     digest[WR_DIGEST_BYTES];
    uint64_t    bytes;
} wr_blob_ref;

typedef struct wr_place { /* of one slot of a job */
    uint64_t    tm;
    const char *data; /* HOST:PORT of that TaskManager's data port */
} wr_place;

/* What makes a job, as the client says it and the journal keeps it. */
typedef struct wr_job_spec {
    const char        *name;   /* wr_job_name_fits */
    wr_blob_ref        module; /* the pipeline */
    wr_blob_ref       *file;   /* connectors (name ends in .so) and the user's own files */
    uint32_t           files;
    const char *const *arg; /* "name=value" */
    uint32_t           args;
    const char *const *set; /* "NAME=URI" */
    uint32_t           sets;
    uint32_t           parallelism, parallelism_default; /* as wr_job_settings has them */
    const char        *graph;                            /* graph/remote.h */
    uint32_t           graph_bytes;
    /* Snapshots: folder, "": none are taken. */
    const char *snapshots;
    int64_t     snapshot_interval_ms, snapshot_timeout_ms;
    uint32_t    snapshots_keep;
    const char *restore; /* path, "latest", or "" */
    bool        allow_non_restored;
    uint64_t    state_max;  /* bytes of keyed state per TaskManager; 0: no bound */
    uint64_t    memory_max; /* bytes of a worker's process; the TaskManager's holds, too; 0: only that */
    uint32_t    restart;    /* enum wr_restart_strategy of jobmanager/core_job.h */
    int64_t     restart_delay_ms, restart_delay_most_ms, restart_window_ms;
    uint32_t    restart_attempts;        /* FIXED, FAILURE_RATE: how many; 0: no limit */
    uint32_t    restart_factor_permille; /* EXPONENTIAL: 1500 */
} wr_job_spec;
/* 1 to WR_NAME_BYTES_MAX bytes, none of which moves a terminal's cursor or ends a line of a table. */
bool wr_job_name_fits(const char *name);

typedef struct wr_deploy {
    wr_job_spec spec; /* `graph` too: the worker compares its own with it, byte by byte */
    wr_place   *place;
    uint32_t    places;               /* slots of the job */
    uint64_t    self;                 /* the TaskManager that this is for: its slots are those with place.tm == self */
    uint8_t     secret[WR_MAC_BYTES]; /* of the attempt: for hellos on data ports */
    const char *lineage;
    const char *restore_manifest; /* its file's path; "": start empty */
    const char *restore_folder;   /* where its data files are */
} wr_deploy;

typedef enum wr_order_verb {
    WR_DO_GO = 1,   /* all subtasks of the job are LOADED: open and run */
    WR_DO_TRIGGER,  /* barrier */
    WR_DO_ABORT,    /* barrier.id */
    WR_DO_COMPLETE, /* barrier.id */
    WR_DO_PAUSE_SOURCES,
    WR_DO_STOP_SOURCES,
    WR_DO_FINISH,
    WR_DO_CANCEL, /* all of its subtasks */
    WR_DO_RELEASE /* the attempt is over everywhere: the process may end */
} wr_order_verb;

typedef struct wr_worker_order {
    uint32_t   verb; /* enum wr_order_verb */
    wr_barrier barrier;
} wr_worker_order;

typedef struct wr_stats_task {
    uint32_t subtask;
    uint64_t busy_ns, idle_ns, back_pressured_ns;
} wr_stats_task;
typedef struct wr_stats_operator {
    uint32_t    node, subtask; /* id in wr_job.node; index within the operator */
    uint64_t    in, out, bad, late, batches, state_bytes, keys;
    int64_t     watermark; /* WEIR_NO_TIME: none yet */
    const char *held;      /* time operators: what holds it back, e.g. "split old.txt"; "" */
} wr_stats_operator;
typedef struct wr_stats_metric { /* the user's own */
    uint32_t    node, subtask;
    const char *name;
    uint32_t    kind; /* 1 counter, 2 gauge, 3 histogram */
    double      value;
    uint64_t    count;
} wr_stats_metric;
typedef struct wr_stats {
    wr_stats_task     *task;
    wr_stats_operator *op;
    wr_stats_metric   *metric;
    uint32_t           tasks, ops, metrics;
    uint64_t           rss_bytes, cpu_ns, sent_bytes, received_bytes, state_bytes;
} wr_stats;

typedef struct wr_gone {
    bool        clean;   /* it was RELEASEd or KILLed: nobody's fault */
    uint32_t    subtask; /* whose code it was, as the crash report says; UINT32_MAX: not known */
    wr_errinfo  info;
    const char *report; /* the whole crash report with its backtrace, for people; "" */
} wr_gone;

typedef struct wr_blob { /* BLOB, BLOB_PUT, BLOB_GET */
    uint8_t     digest[WR_DIGEST_BYTES];
    uint64_t    bytes, offset; /* of the whole blob; of this piece */
    const char *data;          /* at most WR_BLOB_PIECE_BYTES */
    uint32_t    data_bytes;
    wr_errinfo  info; /* BLOB: there is none, and why */
} wr_blob;

typedef struct wr_request { /* REQUEST: members that a verb does not use are empty */
    const char *verb; /* "submit", "list", "info", "cancel", "stop", "snapshot", "savepoint", "snapshots", "rescale",
                         "why", "top", "logs", "wait", "graph", "taskmanagers", "drain", "undrain", "config" */
    const char *job;  /* an id, the beginning of one, or a name; "" */
    const char *path; /* savepoint, stop */
    bool        json, drain, all, follow; /* follow: of rescale: wait for slots that are not there */
    uint32_t    parallelism;              /* rescale */
    uint64_t    offset;                   /* logs */
    wr_job_spec spec;                     /* submit, rescale: module.name is not NULL */
} wr_request;

typedef struct wr_reply { /* REPLY, PROGRESS */
    wr_errinfo  info;     /* code WR_OK: it went well */
    const char *out;      /* text or JSON, as was asked for */
    uint32_t    out_bytes;
    uint64_t    job, snapshot; /* that it was about; 0: none */
} wr_reply;

typedef struct wr_log_piece { /* LOG_GET: offset, data_bytes_max; LOG */
    uint64_t    offset, end;  /* of this piece; where the log ends now */
    const char *data;
    uint32_t    data_bytes;
} wr_log_piece;

/* Caller's storage. Of a decoded one everything that is pointed to lies in `arena` (acks: wr_ack_free). */
typedef struct wr_message {
    uint32_t kind;                      /* enum wr_message_kind */
    uint32_t attempt;                   /* 0: not of an attempt */
    uint64_t leader, job, request, seq; /* seq: HEARTBEAT, HEARD */
    int64_t  until_mono_ns;             /* LEASE: in the clock of this host */
    union {
        wr_greeting   greeting;
        wr_register   reg;
        wr_registered registered;
        struct {
            wr_task_report *task;
            uint32_t        tasks;
        } report;
        wr_ack         *ack; /* owned by the message; set NULL to keep it */
        wr_stats        stats;
        wr_gone         gone;
        wr_deploy       deploy;
        wr_worker_order order;
        wr_blob         blob;
        wr_request      ask;
        wr_reply        reply;
        wr_log_piece    log;
        wr_errinfo      refused;
    };
    wr_arena arena;
} wr_message;

const char *wr_message_name(uint32_t kind); /* "HEARTBEAT"; "?" */
/* The whole message, msgpack without any frame; the caller frees *bytes with free(). WR_LIMIT when it would not pass
 * the bounds that decode checks (limits.h: WR_MESSAGE_*). An ack's types are written as schemas. */
wr_err wr_message_encode(const wr_message *m, char **bytes, size_t *n, wr_errinfo *info);
/* Fills *m; `bytes` may go afterwards. On an error there is nothing to free. Kinds and members that nobody knows are
 * WR_NEWER and skipped, in this order. */
wr_err wr_message_decode(wr_message *m, const char *bytes, size_t n, wr_errinfo *info);
void   wr_message_free(wr_message *m); /* what decode made; zero is nothing */

/* A job's specification by itself, as the journal keeps it. */
wr_err wr_job_spec_encode(const wr_job_spec *spec, char **bytes, size_t *n, wr_errinfo *info);
wr_err wr_job_spec_decode(wr_job_spec *spec, wr_arena *arena, const char *bytes, size_t n, wr_errinfo *info);

#endif
