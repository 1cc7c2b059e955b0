/* taskmanager/blobs.h: files that jobs are made of, under their digests: asked of the JobManager piece by piece,
 * checked, kept for the next job. A digest names one content for ever, so nothing here is ever stale. */
#ifndef WR_TASKMANAGER_BLOBS_H
#define WR_TASKMANAGER_BLOBS_H
#include "base/env.h"
#include "wire/control.h"

typedef struct wr_tm_blobs wr_tm_blobs; /* Owner: its supervisor */

/* ask: sends BLOB_GET for this piece; requests only grow. */
wr_err wr_tm_blobs_new(wr_tm_blobs **take, const wr_env *env, const char *folder,
                       void (*ask)(void *self, uint64_t request, const wr_blob *what), void *self, wr_errinfo *info);
void   wr_tm_blobs_free(wr_tm_blobs *b);

enum wr_tm_blob_state { WR_TM_BLOB_COMES, WR_TM_BLOB_HERE, WR_TM_BLOB_FAILED };
/* Begins to fetch it when nobody does. FAILED: says why, and forgets: the next one who wants it asks again. */
enum wr_tm_blob_state wr_tm_blob_want(wr_tm_blobs *b, const wr_blob_ref *ref, wr_errinfo *info);
/* HERE: a copy of it, a piece per call, since heartbeats must not wait for a large one. *done: it is complete, and what
 * its digest says. Once begun it needs nothing of what is kept here. After an error, and to give up, call the other.
 * Zero is one that has not begun. */
typedef struct wr_tm_copy {
    int               in, out; /* descriptors + 1; 0: none */
    struct wr_sha256 *sum;
} wr_tm_copy;
wr_err wr_tm_blob_copy(wr_tm_blobs *b, wr_tm_copy *copy, const wr_blob_ref *ref, const char *to, bool *done,
                       wr_errinfo *info);
void   wr_tm_blob_copy_end(wr_tm_blobs *b, wr_tm_copy *copy);
/* Looks a piece further into what was there before, and asks again for what does not come; true: there is more to look
 * at. */
bool    wr_tm_blobs_step(wr_tm_blobs *b);
int64_t wr_tm_blobs_due_ns(const wr_tm_blobs *b); /* monotonic; INT64_MAX: nothing is due */
/* A BLOB message: the answer to that request. */
void wr_tm_blob_take(wr_tm_blobs *b, uint64_t request, const wr_blob *piece);
/* There is a new connection: what was on its way is asked for again. */
void wr_tm_blobs_again(wr_tm_blobs *b);

#endif
