#include "taskmanager/pieces.h"
#include "taskmanager/tasklet.h"

enum { FIRST = 16 }; /* of the largest records they fit into what a step may use */

_Static_assert((uint64_t)FIRST *WR_RECORD_BYTES_MAX <= WR_STEP_BYTES_MAX, "");

uint64_t wr_pieces_used(const wr_tasklet *t)
{
    uint64_t used = t->home->scratch.before + t->home->scratch.bytes;
    for (uint32_t i = 0; i < t->exchanges; i++) used += t->exchange[i].pool.overdrawn;
    return used;
}

void wr_pieces_learn(wr_pieces *p, uint64_t n, uint64_t used)
{
    if (used > WR_STEP_BYTES) {
        uint64_t fewer = n * (WR_STEP_BYTES / 2) / used;
        p->most = fewer < 1 ? 1 : fewer < p->most ? (uint32_t)fewer : p->most;
    } else if (used < WR_STEP_BYTES / 4 && n >= p->most && p->most < WR_BATCH_RECORDS_MAX) {
        p->most *= 2;
    }
}

uint32_t wr_pieces_most(wr_tasklet *t)
{
    if (t->pieces.most == 0) t->pieces.most = FIRST;
    return t->pieces.most;
}

bool wr_pieces_push(wr_tasklet *t)
{
    wr_pieces      *p = &t->pieces;
    const wr_batch *b = p->batch;
    uint32_t        most = wr_pieces_most(t), left = b->n - p->done, n = left < most ? left : most;
    wr_view         view = {.records = b->records + (size_t)p->done * b->stride,
                            .n = n,
                            .time = b->time != NULL ? b->time + p->done : NULL,
                            .borrowed = b->heap,
                            .borrowed_bytes = b->heap_used};
    uint64_t        before = wr_pieces_used(t);
    t->home->split = p->pipe->origin;
    wr_op_push(&t->op[0], &view, p->pipe->port);
    wr_pieces_learn(p, n, wr_pieces_used(t) - before);
    p->done += n;
    if (p->done < b->n) return false;
    p->batch = NULL;
    return true;
}

void wr_pieces_drop(wr_tasklet *t)
{
    if (t->pieces.batch == NULL) return;
    wr_pipe_return(t->pieces.pipe, t->pieces.batch, t->home->env);
    t->pieces.batch = NULL;
}
