/* taskmanager/scribe.h: a thread that captures and writes the keyed state of slots, where there is a processor for it.
 *
 * A slot gives it the writer of a file at the barrier, and goes on: from then on it saves old bytes before it changes
 * what was not taken yet, and looks now and then how far the file is. Without a scribe the slot steps the writer
 * itself, between batches (taskmanager/capture.h). */
#ifndef WR_TASKMANAGER_SCRIBE_H
#define WR_TASKMANAGER_SCRIBE_H
#include "base/env.h"
#include "snapshot/image.h"

typedef struct wr_scribe wr_scribe;

enum wr_scribe_state {
    WR_SCRIBE_NONE,    /* the slot's */
    WR_SCRIBE_WRITING, /* the scribe's, but for wr_image_writer_captured and what goes with it */
    WR_SCRIBE_DURABLE, /* from here on the slot's again */
    WR_SCRIBE_FAILED,  /* info says why */
    WR_SCRIBE_LEFT     /* the slot took it back */
};

/* One file. Slot-owned; what the scribe reads and writes is said at each. Zero to begin. */
typedef struct wr_scribe_job {
    wr_image_writer      *writer;       /* the scribe's while WRITING */
    wr_parker            *owner;        /* of the slot: woken when all is captured, and at the end */
    int64_t               from_mono_ns; /* it is not begun before */
    wr_errinfo            info;         /* the scribe's while WRITING */
    _Atomic uint32_t      state;        /* enum wr_scribe_state; shared */
    _Atomic bool          stop;         /* shared */
    bool                  told;         /* that all is captured; the scribe's */
    struct wr_scribe_job *next;         /* the scribe's */
} wr_scribe_job;

/* Starts its thread. number: for its name. NULL: no memory or no thread, which is no error: slots write themselves. */
wr_scribe *wr_scribe_new(const wr_env *env, uint32_t number);
/* Ends it; nothing is WRITING. NULL is nothing. */
void wr_scribe_free(wr_scribe *scribe);
/* What its writers wait on: the parker of their configuration. */
wr_parker *wr_scribe_parker(wr_scribe *scribe);

/* The slot: the job becomes WRITING. job and writer stay where they are until it is no more. */
void wr_scribe_give(wr_scribe *scribe, wr_scribe_job *job);
/* The slot: waits until it is not WRITING any more, which takes the scribe one step of another file at most. */
void wr_scribe_take_back(wr_scribe *scribe, wr_scribe_job *job);

#endif
