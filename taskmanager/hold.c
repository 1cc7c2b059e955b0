/* taskmanager/hold.c: which input waits, and for how long: from watermarks and the clock of the pass. */
#include "taskmanager/hold.h"
#include "base/limits.h"
#include "taskmanager/tasklet.h"

static bool is_ahead(const wr_hold *h, const wr_pipe *p)
{
    int64_t lead;
    if (h->slowest->watermark == WEIR_NO_TIME || p->watermark == WEIR_NO_TIME) return false;
    if (__builtin_sub_overflow(p->watermark, h->slowest->watermark, &lead)) return false;
    return lead > h->apart_ns && lead / WR_HOLD_NEIGHBOURS <= h->apart_ns;
}

bool wr_hold_back(wr_tasklet *t, const wr_pipe *p)
{
    wr_hold *h = &t->hold;
    int64_t  now = t->home->mono_ns;
    if (h->apart_ns == 0 || h->slowest == NULL || h->slowest == p || t->barriers.aligning) return false;
    if (now < h->free_until_mono_ns || now - h->slowest->taken_mono_ns >= WR_HOLD_QUIET_NS || !is_ahead(h, p))
        return false;
    if (now - h->last_mono_ns > WR_HOLD_QUIET_NS) h->since_mono_ns = now;
    if (now - h->since_mono_ns >= WR_HOLD_NS_MAX) {
        h->free_until_mono_ns = now + WR_HOLD_NS_MAX;
        return false;
    }
    h->last_mono_ns = now;
    h->until_mono_ns = h->slowest->taken_mono_ns + WR_HOLD_QUIET_NS;
    if (h->until_mono_ns > h->since_mono_ns + WR_HOLD_NS_MAX) h->until_mono_ns = h->since_mono_ns + WR_HOLD_NS_MAX;
    return true;
}

void wr_hold_waits(const wr_tasklet *t, int64_t *until_mono_ns)
{
    int64_t until = t->hold.until_mono_ns;
    if (until != 0 && until < *until_mono_ns) *until_mono_ns = until;
}
