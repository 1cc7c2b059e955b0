/* operators/saver.h: where a kernel's save puts its items. Made by the tasklet for one barrier. */
#ifndef WR_OPERATORS_SAVER_H
#define WR_OPERATORS_SAVER_H
#include "operators/op.h"

/* Slot-owned; lives for one barrier. */
struct wr_saver {
    wr_ack_op *to;
    uint32_t   from, items_max;
};

/* A record of `type` as an item. */
void wr_save_record(wr_saver *saver, uint32_t kind, const weir_type *type, const void *record);
#endif
