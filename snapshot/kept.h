/* snapshot/kept.h: files that a savepoint keeps for its sinks. A savepoint commits nothing, so what its committables
 * speak of must survive until it is restored, whatever becomes of the job meanwhile: a restart from an older snapshot
 * removes what that one does not know. So who writes the savepoint copies these files into its folder; who restores it
 * and finds them nowhere else takes them from there.
 *
 * An item of kind WR_ITEM_FILE is one wr_kept, as msgpack: docs/formats-manifest.md. */
#ifndef WR_SNAPSHOT_KEPT_H
#define WR_SNAPSHOT_KEPT_H
#include "base/arena.h"
#include "base/env.h"
#include "base/error.h"
#include "wire/snapshot.h"

typedef struct wr_kept {
    const char *name; /* what its sink calls it */
    const char *path; /* in an answer to a barrier: where it lies. In a savepoint "" */
    const char *file; /* in a savepoint: its name in the folder. In an answer "" */
    uint64_t    bytes;
    uint64_t    hash[2]; /* xxh3-128; in a savepoint */
} wr_kept;

/* free() *bytes. WR_LIMIT: a name or path is too long. Any thread, as all of these. */
wr_err wr_kept_encode(const wr_kept *k, char **bytes, size_t *n, wr_errinfo *info);
/* What it points to goes into the arena. WR_DAMAGED. */
wr_err wr_kept_decode(wr_kept *k, wr_arena *arena, const char *bytes, size_t n, wr_errinfo *info);
/* The bytes of `from` to `to`, durable but for its folder's entry; to NULL: only reads. k->bytes and hash get what was
 * read. Blocks; `stop` (may be NULL) ends it with WR_CANCELED. After an error `to` is not there. */
wr_err wr_kept_copy(const wr_env *env, const char *from, const char *to, _Atomic bool *stop, wr_kept *k,
                    wr_errinfo *info);

/* Those of one sink in the savepoint that it starts from. Zero is none. Owner: the sink. */
typedef struct wr_kept_list {
    wr_arena    arena;
    const char *folder;
    wr_kept    *kept;
    uint32_t    n, room;
} wr_kept_list;
wr_err         wr_kept_add(wr_kept_list *list, const char *folder, const wr_item *item, wr_errinfo *info);
const wr_kept *wr_kept_find(const wr_kept_list *list, const char *name, size_t n); /* NULL: none */
void           wr_kept_fini(wr_kept_list *list);

#endif
