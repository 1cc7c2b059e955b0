/* base/aside.h: an environment whose storage does not hold up the thread that uses it. What that thread asks of
 * storage is done by a helper thread, one call at a time; while it lasts, the asking thread does what must never wait
 * for a disk (answering heartbeats), and then goes on with the result. So whoever uses storage is written as if it
 * were fast, and may rely on what it had found before the call, but for what `meanwhile` changes. */
#ifndef WR_BASE_ASIDE_H
#define WR_BASE_ASIDE_H
#include "base/env.h"
#include "base/error.h"

typedef struct wr_aside wr_aside; /* Owner: the thread that made it. Shared with the helper: one call at a time */

/* meanwhile: on the owner's thread, again and again while a call lasts, and now and then between many short ones. It
 * must not use the storage of wr_aside_env. */
wr_err wr_aside_new(wr_aside **take, const wr_env *env, void (*meanwhile)(void *self), void *self, wr_errinfo *info);
void   wr_aside_free(wr_aside *a); /* NULL is nothing. Files stay open: they are env's */

/* Storage, and waiting for the end of a thread, in this way; called on other threads, they are done there and then.
 * Clock, random, threads and parking are env's. It has no network and no storage in the background. */
const wr_env *wr_aside_env(const wr_aside *a);

/* The owner's thread: run(arg) in the same way, for what blocks and is not in the table. Its result. */
int64_t wr_aside_run(wr_aside *a, int64_t (*run)(void *arg), void *arg);
/* The owner's thread, for `meanwhile`: when the call that lasts was asked for, monotonic; 0: none lasts. */
int64_t wr_aside_since_ns(const wr_aside *a);

#endif
