#include "cli/local_orders.h"
#include "base/check.h"

void wr_local_order(wr_worker *w, const wr_worker_order *order)
{
    switch (order->verb) {
    case WR_DO_GO: wr_worker_go(w); break;
    case WR_DO_TRIGGER: wr_worker_trigger(w, &order->barrier); break;
    case WR_DO_ABORT: wr_worker_abort(w, order->barrier.id); break;
    case WR_DO_COMPLETE: wr_worker_complete(w, order->barrier.id); break;
    case WR_DO_PAUSE_SOURCES: wr_worker_pause_sources(w); break;
    case WR_DO_STOP_SOURCES: wr_worker_stop_sources(w); break;
    case WR_DO_FINISH: wr_worker_finish(w); break;
    default: check(!"an order that no coordinator gives");
    }
}

void wr_local_configure(wr_worker_options *options, const wr_origin *o, int64_t timeout_ms)
{
    if (o->journal != NULL) {
        options->snapshots = o->folder;
        options->lineage = wr_journal_lineage(o->journal);
    }
    if (o->restores) {
        options->restore = &o->manifest;
        options->restore_folder = o->files;
        if (o->journal == NULL) options->lineage = o->manifest.lineage;
    }
    options->snapshot_timeout_ns = timeout_ms * 1000000;
}
