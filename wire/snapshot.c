/* Names and ends of what wire/snapshot.h describes. */
#include "wire/snapshot.h"
#include <stdlib.h>

const char *wr_snapshot_phase_name(uint32_t phase)
{
    static const char *const name[] = {"?", "start", "align", "sync", "async", "manifest", "commit"};
    return name[phase <= WR_PHASE_COMMIT ? phase : 0];
}

void wr_ack_free(wr_ack *ack)
{
    if (ack == NULL) return;
    for (uint32_t i = 0; i < ack->ops; i++) {
        for (uint32_t k = 0; k < ack->op[i].items; k++) free(ack->op[i].item[k].data);
        free(ack->op[i].item);
    }
    free(ack->op);
    wr_arena_fini(&ack->arena);
    free(ack);
}
