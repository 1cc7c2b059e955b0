/* snapshot/timer.h: the timers of a table. The truth is the timer cell in the state (due time + 1; 0: none), which
 * snapshots hold like any other field; here is only the index that finds what is due, and which a scan of the table
 * makes anew after a restore.
 *
 * Owner: the table's slot, its thread. A hint in the index may be stale: the timer was moved, cleared or forgotten, or
 * its entry filled a hole elsewhere. What holds is that each cell that is set has a hint at or before its due time.
 * When most hints are stale, a second index is filled by a scan in small steps and takes over. */
#ifndef WR_SNAPSHOT_TIMER_H
#define WR_SNAPSHOT_TIMER_H
#include "snapshot/table.h"

#define WR_TIMERS_AT_ONCE 1024u

enum wr_timer_clock { WR_TIMER_EVENT, WR_TIMER_CLOCK };
typedef struct wr_timers wr_timers;

/* True when a state of this type has timers. */
bool wr_timers_in(const weir_type *state);
/* The timers of a table whose state has some; the table tells them what it forgets and moves. */
wr_err wr_timers_new(wr_timers **take, wr_table *table, wr_errinfo *info);
void   wr_timers_free(wr_timers *timers); /* before its table; NULL is nothing */
/* After a load: hints for all cells of the table that are set. */
void wr_timers_rebuild(wr_timers *timers);

/* `state` is one that wr_table_find or wr_timers_take gave in this batch, `cell` points into it. Set again: moves. Set
 * to WEIR_NO_TIME: clears. */
void wr_timers_set(wr_timers *timers, uint32_t clock, void *state, void *cell, int64_t due_ns);
void wr_timers_clear(wr_timers *timers, uint32_t clock, void *state, void *cell);

/* What is due by limit_ns, in order of time, at most `max` <= WR_TIMERS_AT_ONCE and each key at most once: its state,
 * marked for the snapshot and with the cell already cleared, its due time, and the offset of the cell in the state.
 * *all: nothing more is due; else call again, perhaps after 0 were given. Next: the user's loop, wr_table_settle,
 * wr_timers_settle. */
uint32_t wr_timers_take(wr_timers *timers, uint32_t clock, int64_t limit_ns, uint32_t max, void **state, weir_time *due,
                        uint32_t *cell, bool *all);
/* A time at or before which nothing is due; INT64_MAX: there is none. */
int64_t wr_timers_next(const wr_timers *timers, uint32_t clock);
/* After each batch: a step of putting the index in order, when it needs that. */
void wr_timers_settle(wr_timers *timers);

uint64_t wr_timers_count(const wr_timers *timers, uint32_t clock); /* that are set; roughly */
uint64_t wr_timers_hints(const wr_timers *timers, uint32_t clock);

#endif
