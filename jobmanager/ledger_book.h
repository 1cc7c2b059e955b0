/* jobmanager/ledger_book.h: what the records of a ledger add up to, and how each is written as bytes and read back.
 * Everything that happens to a job is a change: it becomes a record, and is applied; reading a ledger applies the same
 * changes again. Pure but for memory. */
#ifndef WR_JOBMANAGER_LEDGER_BOOK_H
#define WR_JOBMANAGER_LEDGER_BOOK_H
#include "jobmanager/ledger.h"
#include "wire/pack.h"

enum wr_book_type {
    WR_BOOK_LEADER = 1, /* the first record, and only that: leader, base_bytes */
    WR_BOOK_JOB,        /* id, request, wall_ms, spec */
    WR_BOOK_SPEC,       /* id, spec: what it is to be from now on */
    WR_BOOK_ATTEMPT,    /* id, attempt, place, secret, wall_ms, first; no place: nothing runs */
    WR_BOOK_FAILED,     /* id, wall_ms, attempt, subtask, cause, count, delay_ms; ends the attempt */
    WR_BOOK_STOPPING,   /* id, how, target */
    WR_BOOK_END,        /* id, wall_ms, state, cause */
    WR_BOOK_RESTART,    /* id, attempt, spec: it is being ended by order; no spec: the next one is as it was */
    WR_BOOK_PAST,       /* id, count, delay_ms, times: what FAILED records add up to for the restart strategy */
    WR_BOOK_DRAINED,    /* tm, on: that TaskManager takes no new work */
    WR_BOOK_TYPES
};
enum { WR_BOOK_FAILED_STATE = 1, WR_BOOK_CANCELED_STATE, WR_BOOK_FINISHED_STATE }; /* job states on disk */

typedef struct wr_book_change {
    uint32_t    type;
    uint64_t    id, request, leader;
    uint64_t    base_bytes; /* of the file, when it was published: none of them can be missing */
    int64_t     wall_ms;
    const char *spec;
    size_t      spec_bytes;
    char        target[WR_PATH_BYTES_MAX];
    uint64_t    tm;
    uint32_t    on, count;
    int64_t     delay_ms, time[WR_RESTART_RATE_MAX];
    uint32_t    times;
    uint32_t    attempt, first, planned, subtask, how, state;
    uint64_t    place[WR_SLOTS_MAX];
    uint32_t    places;
    uint8_t     secret[WR_MAC_BYTES];
    wr_errinfo  cause;
} wr_book_change;
#define WR_BOOK_NOT_SAID UINT32_MAX /* planned: by an older Weir */

typedef struct wr_book_job {
    wr_ledger_job pub;
    char         *spec; /* as bytes; malloc'ed */
    size_t        spec_bytes;
    wr_arena      arena; /* what pub.spec points to */
    char         *next_spec, *target;
    uint64_t      ended; /* the how manieth end that was; 0: it has not ended */
} wr_book_job;

/* Owner: a ledger, or who parses one; one thread. Zero is an empty one. */
typedef struct wr_book {
    uint64_t      leader, base_bytes;
    wr_book_job **job; /* oldest first */
    uint32_t      jobs, room, living;
    uint64_t      ends;
    uint64_t      living_bytes, ended_bytes; /* of specifications */
    uint64_t      drained[WR_TMS_MAX];       /* oldest first */
    uint32_t      draineds;
} wr_book;

void wr_book_free(wr_book *b);
/* Attempts that followed an order, once that one is there. */
uint32_t     wr_book_planned(const wr_ledger_job *j, uint32_t attempt);
wr_book_job *wr_book_find(const wr_book *b, uint64_t id);
/* The body of a record. */
void wr_book_put(wr_pack *body, const wr_book_change *change);
/* NULL, or what is wrong with the body, and where. What it points to lies in the bytes. version: of the file, 1 or 2;
 * what records of version 1 did not say is 0. */
const char *wr_book_take(wr_book_change *change, uint32_t version, const char *body, size_t n, size_t *offset);
/* NULL, or why the change does not fit what is there; nothing has changed then. A job that must go, because too many
 * have ended, is gone. */
const char *wr_book_apply(wr_book *b, const wr_book_change *change);
/* All changes that make this book of an empty one, but the leader's. */
void wr_book_all(const wr_book *b, void (*each)(void *arg, const wr_book_change *change), void *arg);

#endif
