/* operators/enumerate.h: the enumerator of a source: runs the user's enumerate, keeps the splits that no reader has
 * yet. */
#ifndef WR_OPERATORS_ENUMERATE_H
#define WR_OPERATORS_ENUMERATE_H
#include "base/arena.h"
#include "operators/saver.h"

/* Owned by its own thread, where enumerate may block. */
typedef struct wr_enumerator {
    weir_op          def;  /* the source, as an operator that gives splits */
    weir_op          take; /* and one that takes them */
    const weir_type *outs[1];
    wr_op            op, taker;
    wr_arena         arena;
    void           **split; /* all known, in order */
    uint32_t        *place; /* 2 * capacity of them: the number in split + 1, found by the hash of the first field */
    uint32_t         count, capacity, assigned;
    bool             ran; /* enumerate was called once at least, in this run or before the snapshot */
} wr_enumerator;

/* op's node, home, args and endpoint are those of the source. */
wr_err wr_enumerator_init(wr_enumerator *e, const wr_op *like, wr_errinfo *info);
void   wr_enumerator_fini(wr_enumerator *e);
/* Calls enumerate; splits whose first field is known are ignored. False: it failed, see e->op.failure. */
bool wr_enumerator_run(wr_enumerator *e);
/* The next split that no reader has, or NULL; stays so until wr_enumerator_assigned. */
const void        *wr_enumerator_next(const wr_enumerator *e);
static inline void wr_enumerator_assigned(wr_enumerator *e)
{
    e->assigned++;
}
/* What is in no reader's hands, and, if enumerate will be called again, what it must not hand out twice. */
void   wr_enumerator_save(const wr_enumerator *e, wr_saver *saver);
wr_err wr_enumerator_load(wr_enumerator *e, const wr_manifest_op *saved, wr_errinfo *info);
/* All splits were listed before the snapshot: what came up since then belongs to another run. */
bool wr_enumerator_rests(const wr_enumerator *e);
#endif
