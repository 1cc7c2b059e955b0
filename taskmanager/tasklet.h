/* taskmanager/tasklet.h: one subtask at work: an explicit state machine that does at most one batch per call and
 * never waits. It lives and dies on its slot. */
#ifndef WR_TASKMANAGER_TASKLET_H
#define WR_TASKMANAGER_TASKLET_H
#include "graph/exec.h"
#include "operators/enumerate.h"
#include "operators/exchange.h"
#include "operators/kernels.h"
#include "taskmanager/advance.h"
#include "taskmanager/barrier.h"
#include "taskmanager/hold.h"
#include "taskmanager/pieces.h"
#include "taskmanager/worker.h"

enum wr_called {
    WR_CALLED_PROGRESS, /* did something; call again */
    WR_CALLED_IDLE,     /* no input */
    WR_CALLED_BLOCKED,  /* no room: back-pressure */
    WR_CALLED_DONE      /* finished, canceled or failed: never call again */
};

/* Bits, set by the worker's owner. */
enum { WR_COMMAND_STOP = 1, WR_COMMAND_CANCEL = 2, WR_COMMAND_GO = 4, WR_COMMAND_PAUSE = 8, WR_COMMAND_RUN = 16 };

/* Slot-owned but for the atomics. */
typedef struct wr_tasklet {
    const wr_vertex   *vertex;
    const wr_subtask  *subtask;
    wr_home           *home;
    wr_op             *op; /* of its chain, head first; NULL: enumerator */
    uint32_t           ops;
    wr_exchange       *exchange;
    uint32_t           exchanges;
    wr_pipe          **in;
    uint32_t           ins, live, next;
    wr_pipe           *splits; /* sources: from their enumerator, or NULL */
    wr_batch          *held;   /* of `splits`: a split that the reader does not want yet */
    bool               heeds;  /* a barrier of `splits` waits until its order was heard: see heads.c */
    _Atomic uint64_t   heard;  /* newest snapshot that an order named; written by the worker's owner */
    bool               splits_ended;
    int64_t            watermark; /* least of the inputs' */
    wr_advance         advance;
    wr_hold            hold;
    wr_pieces          pieces;
    wr_barriers        barriers;
    uint32_t           attempt;
    bool               wait_go;  /* waits in LOADED, restored or not */
    bool               wait_run; /* RUNNING, but takes nothing before it is told */
    const wr_manifest *restore;  /* starts from this one, or NULL */
    const char        *restore_folder;
    uint64_t           ended_before;    /* bit i: operator i had ended when the snapshot was taken: no results again */
    bool               finishing;       /* ordered to finish without further results */
    uint32_t           opened;          /* operators that are open: the last ones of the chain, all when it runs */
    bool               opening;         /* the one before them: its open was called, and it is not ready yet */
    uint32_t           ending;          /* the operator that gives its last results; ops: all did */
    bool               ended, said_end; /* all inputs did; the outputs know it */
    bool               quiet;           /* idle, and everything open was sent */
    wr_enumerator     *enumerator;
    int64_t            discover_mono_ns;
    wr_errinfo         failure; /* before `state` becomes FAILED */
    _Atomic uint32_t   state;   /* wr_task_state; written by the slot, release */
    _Atomic uint32_t   command; /* written by the worker's owner */
    bool               named_slow;
    enum wr_called     called; /* what the last call said, and when it began */
    int64_t            called_mono_ns;
    _Atomic uint64_t   busy_ns, idle_ns, back_pressured_ns;
    uint32_t           reported;  /* worker's owner */
    uint64_t           reused_id; /* worker's owner: the newest snapshot whose file was another one's before */
} wr_tasklet;

/* home->mono_ns and now_ns are those of this call. */
enum wr_called wr_tasklet_call(wr_tasklet *t);
/* Instead of that: what it needs is gone. */
enum wr_called wr_tasklet_fail(wr_tasklet *t, const wr_errinfo *info);
/* What it waits for when idle: descriptors (appended) and a time. */
void wr_tasklet_waits(const wr_tasklet *t, int *fd, uint32_t *fds, int64_t *until_mono_ns);

/* ---- for the files of this folder ---- */
void           wr_tasklet_forward(wr_tasklet *t, uint32_t kind, int64_t at); /* to all outputs */
enum wr_called wr_tasklet_leave(wr_tasklet *t, wr_task_state state);
bool           wr_tasklet_failed(wr_tasklet *t); /* moves the first failure of the chain to the tasklet */
void           wr_tasklet_say_end(wr_tasklet *t);
/* After the end: finishes, or stays for the last snapshot. */
enum wr_called wr_tasklet_rest(wr_tasklet *t);
#endif
