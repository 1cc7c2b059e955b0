/* operators/window_near.c: the lookasides of windows, and which slices have them. */
#include "operators/window.h"

#define REST_TURNS 256u /* batches without one of its own after which a slice may lose its lines to an older slice */

static bool init(wr_op *op, wr_window_near *near)
{
    near->slice = WR_SLICE_NEVER;
    return wr_near_init(&near->lines, op->table, wr_near_blind(op->def));
}

void wr_windows_near_open(wr_op *op, wr_windows *k)
{
    bool wanted = !k->rows && op->def->on_near != NULL && k->form == &wr_form_slices;
    k->has_near = wanted && init(op, &k->near[0]);
}

void wr_windows_near_close(wr_windows *k)
{
    for (uint32_t i = 0; i < WR_WINDOW_NEARS; i++) {
        if (k->near[i].lines.probe.line != NULL) wr_near_fini(&k->near[i].lines);
    }
    k->has_near = false;
}

/* Whose lines a slice without any may take: unused ones, those of a slice that gets no more batches, or the least
 * recently used if the slice is younger than all or they rest. So the lines change hands a few times per slice, however
 * many sources there are. */
static wr_window_near *yielding(const wr_windows *k, wr_window_near *near, int64_t slice)
{
    wr_window_near *oldest = &near[0];
    bool            youngest = true;
    for (uint32_t i = 0; i < WR_WINDOW_NEARS; i++) {
        bool unused = near[i].lines.probe.line == NULL || near[i].slice == WR_SLICE_NEVER;
        if (unused || wr_slice_first_end(k, near[i].slice) <= k->fired) return &near[i];
        youngest &= near[i].slice < slice;
        if (near[i].used < oldest->used) oldest = &near[i];
    }
    return youngest || k->near_turn - oldest->used >= REST_TURNS ? oldest : NULL;
}

wr_near *wr_windows_near(wr_op *op, wr_windows *k, int64_t slice, uint32_t n)
{
    wr_window_near *near = NULL;
    if (!k->has_near) return NULL;
    k->near_turn++;
    for (uint32_t i = 0; i < WR_WINDOW_NEARS && near == NULL; i++) {
        if (k->near[i].lines.probe.line != NULL && k->near[i].slice == slice) near = &k->near[i];
    }
    if (near == NULL) {
        near = yielding(k, k->near, slice);
        if (near == NULL || (near->lines.probe.line == NULL && !init(op, near))) return NULL;
        near->slice = slice;
        wr_near_drop(&near->lines);
    }
    near->used = k->near_turn;
    return wr_near_begin(&near->lines, op->table, n) ? &near->lines : NULL;
}

void wr_windows_near_moved(wr_op *op, wr_windows *k, const void *state)
{
    for (uint32_t i = 0; k->has_near && i < WR_WINDOW_NEARS; i++) wr_near_forget(&k->near[i].lines, op->table, state);
}
