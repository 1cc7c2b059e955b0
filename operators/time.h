/* operators/time.h: time operators: they give records their event times, and say how far event time has come.
 *
 * An origin is what event time is told apart by: a split of the source in the same chain (its number), or an input
 * channel (WR_ORIGIN_CHANNEL | n). Each open one holds the mark back until its first record, and again while its
 * records are behind; a silent one stops doing so after idle_after. All calls: the slot's thread. */
#ifndef WR_OPERATORS_TIME_H
#define WR_OPERATORS_TIME_H
#include "operators/op.h"

/* Origins come and go; `idle_after` of a new one begins at clock_ns. */
void wr_time_open(wr_op *op, uint64_t origin, int64_t clock_ns);
void wr_time_close(wr_op *op, uint64_t origin);
/* Makes the open origins those of the source at the head of the chain. */
void wr_time_follow(wr_op *op, const wr_op *source, int64_t clock_ns);

/* Brings op->mark and op->idle up to date. The clock is one that stands still under back-pressure. */
void wr_time_look(wr_op *op, int64_t clock_ns);
/* When, on that clock, an origin goes idle unless a record comes; INT64_MAX: never. */
int64_t wr_time_idle_at(const wr_op *op);
/* No record will come any more. */
void wr_time_end(wr_op *op);
/* Tests: event time is `mark` now, whatever the records said. */
void wr_time_force(wr_op *op, int64_t mark);
#endif
