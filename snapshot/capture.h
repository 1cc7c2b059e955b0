/* snapshot/capture.h: an image of a table as it was at one moment, taken in small steps while the table changes.
 *
 * Owner: the table's slot. begin is the barrier: it remembers counts and swaps bitmaps. Then wr_capture_pieces
 * (snapshot/piece.h) hands out the regions, group by group; whatever is written in the meantime saves its old bytes
 * first. end forgets the saved bytes, and outcome says what became of the snapshot: the bits of one that failed are
 * dirty again. */
#ifndef WR_SNAPSHOT_CAPTURE_H
#define WR_SNAPSHOT_CAPTURE_H
#include "snapshot/table.h"

/* Owner: who captures. Zero to begin. */
typedef struct wr_capture_walk {
    uint32_t group, family, region;
} wr_capture_walk;

/* What a group must remember besides its entries. */
typedef struct wr_group_image {
    uint32_t count, free; /* free: number + 1 of the first free entry */
    uint64_t ids;         /* family 0: ids given so far */
} wr_group_image;

/* Dirty marking, on for increments. Off at first. Not while a capture is open. */
wr_err wr_table_mark(wr_table *table, bool on, wr_errinfo *info);
/* How many keys were found since the last call: so many entries have changed at most, or there is the lookaside. */
uint64_t wr_table_met(wr_table *table);
/* full = false needs marking, and gives what changed since the last begin. Drops the lookaside (generation). */
wr_err         wr_capture_begin(wr_table *table, bool full, wr_errinfo *info);
wr_group_image wr_capture_group(const wr_table *table, uint32_t group, uint32_t family); /* group: absolute */
uint32_t       wr_capture_families(const wr_table *table);
uint64_t       wr_capture_undo_bytes(const wr_table *table); /* saved bytes now */
uint64_t       wr_capture_undo_room(const wr_table *table);  /* how many there may be before their memory is dear */
/* Has memory made ready for more; now or later. */
void wr_capture_want(wr_table *table);
/* Another thread than the table's captures (wr_capture_pieces), from the next begin on and for ever; the table's says
 * so, before the first wr_image_prepare. Capturing then takes as long as storage does, so memory for more old bytes is
 * made ready, from now on as the table grows. */
void wr_capture_apart(wr_table *table);
void wr_capture_end(wr_table *table);
void wr_capture_outcome(wr_table *table, bool durable); /* after end, once, before the next begin */

#endif
