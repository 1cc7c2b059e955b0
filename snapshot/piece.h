/* snapshot/piece.h: regions of a table as pieces of a file, and back. Far strings are addresses in memory and numbers
 * in the file: 16-byte units in the blob family of their group.
 *
 * Owner: the table's slot, but for what wr_capture_pieces says. */
#ifndef WR_SNAPSHOT_PIECE_H
#define WR_SNAPSHOT_PIECE_H
#include "snapshot/capture.h"
#include "snapshot/image_format.h"

#define WR_PIECES_AT_ONCE  16u   /* regions whose undo records are looked up together */
#define WR_PIECE_BYTES_MAX 50000 /* no piece is larger, since no entry is */

enum wr_pieces { WR_PIECES_SOME, WR_PIECES_NO_ROOM, WR_PIECES_ALL };
typedef struct wr_pieces_result {
    uint64_t bytes;   /* of pieces that stand in `to` now; a multiple of 8 */
    uint64_t looked;  /* work done, in bytes of regions */
    uint64_t changed; /* bytes of entries that changed since the last capture; where changes are marked */
} wr_pieces_result;

/* The next regions of an open capture, WR_PIECES_AT_ONCE at most, as pieces at `to` (aligned to 8). SOME: call again;
 * NO_ROOM: the next piece may need more, and nothing was done; ALL: there is no more (bytes may have come).
 *
 * The table's thread calls it between batches; or, after wr_capture_apart, one other thread, while the table's goes on.
 * That copies entries as they happen to be, looks then which of them had old bytes saved, and puts those over: an entry
 * changes only after its old bytes are there to be seen, so one that was copied while it changed is made good. What
 * else it reads stands still from begin to end. (Formally a data race, on bytes that are then overwritten.) The
 * table's thread calls wr_capture_end when it knows that all was taken. */
enum wr_pieces wr_capture_pieces(wr_table *table, wr_capture_walk *walk, uint16_t number, char *to, uint64_t room,
                                 wr_pieces_result *result);

/* "" or why these n bytes do not begin with a piece: all that can be said without a table. */
const char *wr_piece_problem(const wr_piece *piece, uint64_t n);
/* Stores the entries of a piece whose numbers are below the group's count. The piece was found right, its stride is
 * the family's, its group the table's, and the group's regions are there. False: it is not within one region. */
bool wr_piece_apply(wr_table *table, const wr_piece *piece);

#endif
