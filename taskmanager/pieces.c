#include "taskmanager/pieces.h"
#include "taskmanager/tasklet.h"

enum { FIRST = 16 }; /* of the largest records they fit into what a step may use */

_Static_assert((uint64_t)FIRST *WR_RECORD_BYTES_MAX <= WR_STEP_BYTES_MAX, "");

/* Bytes that the task has used so far; only differences mean something. */
static uint64_t used_by(const wr_tasklet *t)
{
    uint64_t used = t->home->scratch.before + t->home->scratch.bytes;
    for (uint32_t i = 0; i < t->exchanges; i++) used += t->exchange[i].pool.overdrawn;
    return used;
}

/* How many the next piece has. */
static uint32_t next_most(uint32_t *most)
{
    if (*most == 0) *most = FIRST;
    return *most;
}

/* n of them used so many bytes. */
static void learn(uint32_t *most, uint64_t n, uint64_t used)
{
    if (used > WR_STEP_BYTES) {
        uint64_t fewer = n * (WR_STEP_BYTES / 2) / used;
        *most = fewer < 1 ? 1 : fewer < *most ? (uint32_t)fewer : *most;
    } else if (used < WR_STEP_BYTES / 4 && n >= *most && *most < WR_BATCH_RECORDS_MAX) {
        *most *= 2;
    }
}

bool wr_pieces_push(wr_tasklet *t)
{
    wr_pieces      *p = &t->pieces;
    const wr_batch *b = p->batch;
    uint32_t        most = next_most(&p->most), left = b->n - p->done, n = left < most ? left : most;
    wr_view         view = {.records = b->records + (size_t)p->done * b->stride,
                            .n = n,
                            .time = b->time != NULL ? b->time + p->done : NULL,
                            .borrowed = b->heap,
                            .borrowed_bytes = b->heap_used};
    uint64_t        before = used_by(t);
    t->home->split = p->pipe->origin;
    wr_op_push(&t->op[0], &view, p->pipe->port);
    learn(&p->most, n, used_by(t) - before);
    p->done += n;
    if (p->done < b->n) return false;
    p->batch = NULL;
    return true;
}

enum wr_polled wr_pieces_poll(wr_tasklet *t)
{
    const wr_emit *e = &t->op[0].emit[0];
    uint64_t       used = used_by(t), records = e->records;
    t->home->piece = next_most(&t->pieces.most);
    enum wr_polled polled = wr_source_poll(&t->op[0]);
    learn(&t->pieces.most, e->records - records, used_by(t) - used);
    return polled;
}

/* Many steps have few results, or none: only what was made says how large the next ones are. */
bool wr_pieces_step(wr_tasklet *t, wr_op *op, bool (*step)(wr_op *op))
{
    wr_pieces *p = &t->pieces;
    wr_home   *home = t->home;
    uint64_t   used = used_by(t), results = home->results;
    home->results_most = next_most(&p->results_most);
    bool done = step(op);
    home->results_most = 0;
    p->results += home->results - results;
    p->results_used += used_by(t) - used;
    if (p->results < p->results_most && p->results_used <= WR_STEP_BYTES) return done;
    learn(&p->results_most, p->results, p->results_used);
    p->results = p->results_used = 0;
    return done;
}

void wr_pieces_drop(wr_tasklet *t)
{
    if (t->pieces.batch == NULL) return;
    wr_pipe_return(t->pieces.pipe, t->pieces.batch, t->home->env);
    t->pieces.batch = NULL;
}
