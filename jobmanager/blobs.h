/* jobmanager/blobs.h: files that were shipped, in a folder, under the hex of their SHA-256. Pieces come in order, one
 * blob at a time from one peer; a file has its name only when it is whole, right and durable. Everything blocks. */
#ifndef WR_JOBMANAGER_BLOBS_H
#define WR_JOBMANAGER_BLOBS_H
#include "base/env.h"
#include "wire/control.h"

typedef struct wr_blobs wr_blobs; /* Owner: the JobManager's thread */
/* Makes the folder; what an earlier process left half done goes. */
wr_err wr_blobs_open(wr_blobs **take, const wr_env *env, const char *folder, wr_errinfo *info);
void   wr_blobs_close(wr_blobs *b);

bool wr_blobs_has(const wr_blobs *b, const uint8_t digest[WR_DIGEST_BYTES], uint64_t bytes);
/* *have: bytes of it that are there now; all of them: it is durable. One that is there already is read, and taken
 * anew if it is not what its digest says any more. A piece that does not follow the last one is WR_CONFIG, and the blob
 * begins anew. */
wr_err wr_blobs_put(wr_blobs *b, uint64_t peer, const wr_blob *piece, uint64_t *have, wr_errinfo *info);
/* The piece at want->offset, at most WR_BLOB_PIECE_BYTES; `data` is malloc'ed. The last one of a file that was asked
 * for in order, and is not what its digest says any more, is WR_IO. */
wr_err wr_blobs_get(wr_blobs *b, uint64_t peer, const wr_blob *want, wr_blob *piece, wr_errinfo *info);
/* What it was sending goes. */
void wr_blobs_peer_gone(wr_blobs *b, uint64_t peer);
/* Deletes what `named` does not know, but for what somebody ships now, or has shipped for a job that may still come:
 * until a while after its connection has gone. */
void wr_blobs_sweep(wr_blobs *b, bool (*named)(void *self, const uint8_t digest[WR_DIGEST_BYTES]), void *self);
/* When that is to be done again: something was shipped for no job, or it is long ago. Monotonic. */
int64_t wr_blobs_due_ms(const wr_blobs *b);

#endif
