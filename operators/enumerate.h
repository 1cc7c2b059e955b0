/* operators/enumerate.h: the enumerator of a source: runs the user's enumerate, keeps the splits that no reader has
 * yet. */
#ifndef WR_OPERATORS_ENUMERATE_H
#define WR_OPERATORS_ENUMERATE_H
#include "base/arena.h"
#include "base/lookup.h"
#include "operators/saver.h"

/* How a split was listed last. */
typedef struct wr_listed {
    uint64_t content; /* hash of all its fields */
    uint64_t call;    /* of enumerate in this run, from 1; 0: it is from a snapshot */
} wr_listed;

/* Owned by its own thread, where enumerate may block. */
typedef struct wr_enumerator {
    weir_op          def;  /* the source, as an operator that gives splits */
    weir_op          take; /* and one that takes them */
    const weir_type *outs[1];
    wr_op            op, taker;
    wr_arena         arena;
    void           **split; /* all known, in order */
    wr_listed       *listed;
    wr_lookup        names; /* numbers of splits by the hash of their first field */
    uint64_t         calls; /* of enumerate in this run */
    uint32_t         count, capacity, assigned;
    bool             ran; /* enumerate was called once at least, in this run or before the snapshot */
} wr_enumerator;

/* op's node, home, args and endpoint are those of the source. */
wr_err wr_enumerator_init(wr_enumerator *e, const wr_op *like, wr_errinfo *info);
void   wr_enumerator_fini(wr_enumerator *e);
/* Calls enumerate; splits whose first field is known are ignored, but two different ones of one call with the same
 * first field are a failure. False: it failed, see e->op.failure. */
bool wr_enumerator_run(wr_enumerator *e);
/* The first field of a split, for people; the end of a long text. */
void wr_split_name(const weir_type *type, const void *record, char *text, size_t bytes);
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
