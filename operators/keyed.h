/* operators/keyed.h: inside operators/ only: what a keyed operator keeps beside its table. */
#ifndef WR_OPERATORS_KEYED_H
#define WR_OPERATORS_KEYED_H
#include "operators/op.h"
#include "snapshot/near.h"
#include "snapshot/timer.h"

enum wr_firing { WR_FIRING_NONE, WR_FIRING_EVENT, WR_FIRING_CLOCK };

/* Timers and times to live, of operators that have some. Slot-owned. */
typedef struct wr_keyed_time {
    wr_timers *timers;   /* NULL: the state has none */
    uint32_t   firing;   /* enum wr_firing: of the call that runs */
    bool       ending;   /* the last sweep is under way */
    bool       early;    /* event timers were set at or before the watermark */
    int64_t    ttl_ns;   /* the shortest; 0: nothing expires */
    int64_t    sweep_ns; /* wall clock of the next step of the sweep; 0: there is nothing to sweep */
    uint32_t   keys_max; /* records in keys */
    char      *keys;
    weir_time  due[WR_TIMERS_AT_ONCE];
    uint32_t   cell[WR_TIMERS_AT_ONCE];
    uint64_t   seen[WR_BATCH_RECORDS_MAX]; /* hashes of states before the user's loop */
} wr_keyed_time;

/* Index arrays of one batch. Slot-owned, one per keyed operator: they stay in its cache. */
typedef struct wr_keyed {
    _Alignas(WR_CACHE_LINE) uint64_t hash[WR_BATCH_RECORDS_MAX];
    void          *state[WR_BATCH_RECORDS_MAX];
    uint8_t        fresh[WR_BATCH_RECORDS_MAX];
    wr_near        near;
    bool           has_near, reads;
    char          *keys; /* results: records with only the key fields set */
    wr_table_scan  scan;
    wr_keyed_time *time; /* NULL: neither timers nor a time to live */
} wr_keyed;

/* keyed.c */
void wr_keyed_fail_state_max(wr_op *op);
void wr_keyed_note(wr_op *op); /* after a batch: how much state there is, and whether it is too much */

/* keyed_time.c: after the table is made or loaded. */
wr_err wr_keyed_time_open(wr_op *op, wr_errinfo *info);
void   wr_keyed_time_close(wr_op *op);
/* Before a batch: the clock of the table; after it, when the table is settled: when the next tick is wanted. */
void wr_keyed_time_begin(wr_op *op);
void wr_keyed_time_arm(wr_op *op);
bool wr_keyed_advance(wr_op *op);
bool wr_keyed_tick(wr_op *op);
bool wr_keyed_end(wr_op *op);
/* Takes away all keys whose time is over; false: call again. */
bool wr_keyed_swept(wr_op *op);
#endif
