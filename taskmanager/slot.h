/* taskmanager/slot.h: one thread and the tasklets that take turns on it. */
#ifndef WR_TASKMANAGER_SLOT_H
#define WR_TASKMANAGER_SLOT_H
#include "taskmanager/tasklet.h"

struct wr_plane;

/* Owned by its thread once started; before and after, by the worker's owner. */
struct wr_slot {
    wr_home             home;
    wr_parker           parker;
    wr_budget           budget;
    wr_tasklet        **tasklet;
    uint32_t            tasklets, next, turn; /* turn: of a step by hand */
    bool                spin;
    int                 cpu; /* -1: not pinned */
    char                name[16];
    wr_thread          *thread;
    int64_t             wall_offset_ns, wall_read_mono_ns;
    wr_tasklet         *last;                    /* called last: its time is not counted yet */
    int64_t             gap_ns, arrived_mono_ns; /* between arrivals of work, smoothed */
    int64_t             spin_again_ns;           /* not before: somebody else wanted the CPU */
    struct wr_plane    *plane;   /* in a cluster: to slots of other workers; NULL: none. Of own threads: their slot's */
    bool                serves;  /* it steps the plane, and goes on when its tasklets are done: see wr_worker_join */
    const _Atomic bool *leaving; /* until this */
    void (*notify)(void *self);
    void *notify_self;
};

/* Calls every tasklet once. True: one of them did something. *done: all of them are. */
bool wr_slot_round(wr_slot *s, bool *done);
/* Calls the next tasklet once; true: it did something. */
bool wr_slot_step(wr_slot *s);
/* The thread: rounds until all tasklets are done. */
void wr_slot_run(void *slot);
#endif
