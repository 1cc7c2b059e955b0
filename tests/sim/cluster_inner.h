/* tests/sim/cluster_inner.h: the simulated processes of a cluster, and the world that they share. */
#ifndef WR_SIM_CLUSTER_INNER_H
#define WR_SIM_CLUSTER_INNER_H
#include "jobmanager/jobmanager.h"
#include "taskmanager/agent.h"
#include "taskmanager/supervisor.h"
#include "tests/sim/cluster.h"
#include "tests/sim/host.h"
#include "tests/sim/net.h"

enum { TMS = 3, WORKERS = 32, GIFTS = 64, ENDS = 32, SEEN = 256, VARIANTS = 3, OTHER = VARIANTS, OTHERS_FOLDER = 1000 };
enum { MACHINE_JM = 0, MACHINE_TM = 1, MACHINE_CLIENT = MACHINE_TM + TMS };
enum { SLOTS = 3, RESTS = SIM_NODES * SIM_SUBTASKS + SLOTS, LOOKS_EVERY_NS = 1000000 }; /* RESTS: own threads, too */
enum { HEARTBEAT_MS = 3, LEASE_MS = 15, SILENT_MS = 20, CANCEL_MS = 8 };

typedef struct world world;

typedef struct gift {
    int           socket;
    wr_data_hello hello;
} gift;

typedef struct slot_rest {
    uint32_t idle;   /* turns without anything done */
    int64_t  due_ns; /* parked: until then, unless it is woken */
} slot_rest;

/* A worker process. */
typedef struct worker_node {
    world         *w;
    bool           used;
    sim_host       host;
    wr_parker      parker;
    sim_port      *port;
    wr_agent      *agent;
    sim_world     *user;
    sim_plan       plan; /* with the parallelisms of its deployment */
    weir_pipeline *pipeline;
    wr_exec       *exec;
    uint32_t       tm;     /* of which machine */
    uint64_t       parent; /* incarnation of the supervisor that started it */
    uint64_t       process, job, leader;
    uint32_t       attempt;
    bool           other; /* of the other job */
    char           folder[WR_PATH_BYTES_MAX];
    int64_t        starts_ns, paused_ns, lease_ns; /* lease_ns: what it was told last; 0: nothing yet */
    uint32_t       overdue;                        /* so often it was stepped when its lease was over */
    gift           gift[GIFTS];
    uint32_t       gifts;
    slot_rest      rest[RESTS];
    int64_t        looks_ns; /* then all of its slots look whether there is something to do */
} worker_node;

/* A TaskManager's supervisor. */
typedef struct tm_node {
    world         *w;
    bool           alive;
    uint32_t       index;
    uint64_t       incarnation;
    sim_host       host;
    sim_port      *up, *down;
    wr_processes   processes;
    wr_supervisor *supervisor;
    wr_process_end end[ENDS];
    uint32_t       ends;
    char           name[16], folder[32], listen[32];
    int64_t        paused_ns, starts_ns; /* not alive: when it is started again */
} tm_node;

typedef struct jm_node {
    world         *w;
    bool           alive;
    sim_host       host;
    wr_parker      parker;
    sim_port      *port;
    wr_jobmanager *jm;
    uint64_t       leader;
    int64_t        paused_ns, starts_ns;
    /* How it began, or did not. */
    wr_jobmanager_config config;
    wr_err               err;
    wr_errinfo           info;
    bool                 begun, rival; /* rival: there was another one meanwhile */
    uint64_t             errors;       /* of the disk, before */
    /* With threads. */
    wr_thread *main;
    bool       inside; /* in the middle of a step, or of its beginning */
} jm_node;

/* What the client asks for so that a job ends early. */
enum ending { ENDS_ITSELF, ENDS_STOPPED, ENDS_SAVED, ENDS_DRAINED, ENDS_CANCELED, ENDINGS };

typedef struct client_node {
    world    *w;
    sim_host  host;
    sim_port *port;
    uint64_t  peer;
    bool      opened, waits; /* waits: it asked to be told of the end */
    uint64_t  submit, job, asked;
    int64_t   again_ns, ask_ns; /* when it dials again; when it asks for something else */
    uint64_t  ticket;
    uint32_t  variant;
    uint32_t  endings; /* so many jobs may still be ended early */
    uint32_t  ending;  /* enum ending: what it asked for */
    uint64_t  ends;    /* number of that request, and 0 when it was answered */
    uint32_t  folder;  /* of the snapshots; each start from a savepoint has another one */
    uint64_t  other;   /* request of another job, which crashes again and again; 0: there is none */
    uint64_t  saved;   /* request of the savepoint that the next job begins with, or 0 */
    bool      drain;   /* of the request that is being made */
    char     *file;    /* the pipeline as it is shipped, another one for each job */
    uint64_t  file_bytes, files;
    uint8_t   digest[WR_DIGEST_BYTES];
    uint64_t  put;      /* request of the piece that is on its way; 0: none is */
    uint64_t  over_job; /* it has heard of the end of this one */
} client_node;

typedef struct seen_attempt {
    uint64_t leader, job;
    uint32_t attempt, folder;
    uint8_t  secret[WR_MAC_BYTES];
    char     restore[WR_PATH_BYTES_MAX]; /* manifest; "": none */
    bool     went;
} seen_attempt;

typedef struct seen_id {
    uint64_t id, leader;
    uint32_t attempt, folder, kind;
} seen_id;

/* What all processes share. */
struct world {
    const sim_plan     *plan;
    sim_plan            variant[VARIANTS + 1]; /* the last one is the other job's */
    sim_clock           clock;
    sim_disk           *disk;
    sim_net            *net;
    wr_prng             random, apart; /* apart: of what came later, so that older choices stay */
    sim_vault           vault;
    sim_cluster_result *result;
    bool                trace;
    jm_node             jm[2]; /* the second one comes while the first is stopped */
    tm_node             tm[TMS];
    worker_node         worker[WORKERS];
    client_node         client;
    uint64_t            processes, incarnations, idle, arrived, errors_before;
    uint32_t            faults;            /* still to come */
    int64_t             fault_ns, calm_ns; /* when the next one comes; when what is wrong now is over */
    bool                broken;            /* the disk misbehaves */
    seen_attempt        attempt[SEEN];
    uint32_t            attempts;
    seen_id             id[SEEN * 16];
    uint32_t            ids;
    uint64_t            completed;                     /* newest snapshot */
    uint64_t            durable;                       /* and of those in the folder of the snapshots */
    uint64_t            over_leader;                   /* newest one when the client heard of the end */
    uint64_t            leader;                        /* greatest one that anything came from */
    uint64_t            read[SIM_SOURCES][SIM_SPLITS]; /* how far the newest attempt's sources came */
    bool                drained;
    bool                others, alone; /* there is another job; nothing but it crashes */
    uint64_t            other_job;
    sim_vault           other_vault;
    uint32_t            newest;          /* attempt of our job */
    uint64_t            top_leader[TMS]; /* greatest one that a message to that TaskManager came from */
    bool                finished;
    uint32_t injected; /* a message from the past has come to the JobManager, which takes it within 2 steps */
    int64_t  inject_ns;
};

__attribute__((format(printf, 2, 3))) void sim_violate(world *w, const char *format, ...);
__attribute__((format(printf, 2, 3))) void sim_note(world *w, const char *format, ...);
static inline uint64_t                     below(world *w, uint64_t bound)
{
    return wr_prng_below(&w->random, bound);
}
static inline bool one_in(world *w, uint64_t times)
{
    return wr_prng_one_in(&w->random, times) != 0;
}

/* cluster_jm.c */
void    sim_jm_start(jm_node *n);
void    sim_jm_kill(jm_node *n);
void    sim_jm_step(jm_node *n);
bool    sim_jm_turns(jm_node *n); /* of its threads that are in the middle of something. True: something was done */
int64_t sim_jm_due_ns(const jm_node *n);
bool    sim_jm_between(const jm_node *n); /* steps: then it may be looked into */
/* cluster_nodes.c */
void    sim_tm_start(tm_node *n);
void    sim_tm_kill(tm_node *n);
void    sim_worker_kill(worker_node *n, int signal);
void    sim_note_read(const worker_node *n);
void    sim_worker_step(worker_node *n);                 /* its agent */
bool    sim_worker_turns(worker_node *n, uint32_t most); /* true: something was done */
bool    sim_worker_round(worker_node *n);
void    sim_worker_wake(worker_node *n);
int64_t sim_worker_due_ns(worker_node *n);
/* cluster_client.c */
void sim_client_start(world *w);
void sim_client_step(world *w);
void sim_client_free(world *w);
void sim_check_file(world *w, const char *folder); /* in a worker's */
/* cluster_watch.c: what must never be said; called with each message when it arrives. */
void sim_watch_tm(void *arg, const char *bytes, size_t n);
void sim_watch_jm(void *arg, const char *bytes, size_t n);
void sim_watch_worker(void *arg, const char *bytes, size_t n);
/* Messages from the past: of an attempt that is over, of a leader that is no more. */
void sim_inject(world *w);
void sim_watch_injected(jm_node *n); /* after its step */
/* A worker that was stepped and lives. */
void sim_watch_lease(worker_node *n);
#endif
