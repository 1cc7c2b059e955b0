/* base/lease.h: until when what this process does counts. In a cluster the time is moved on by each round trip to the
 * JobManager; when it is over nothing may have an effect any more, since another process may do the work by now. */
#ifndef WR_BASE_LEASE_H
#define WR_BASE_LEASE_H
#include "base/env.h"
#include "base/sabotage.h"

/* NULL: there is no lease (everything in one process). Any thread. */
static inline bool wr_lease_over_at(const _Atomic int64_t *until_mono_ns, int64_t now_mono_ns)
{
    if (until_mono_ns == NULL) return false;
    return now_mono_ns > atomic_load_explicit(until_mono_ns, memory_order_acquire) && !wr_sabotage.no_lease;
}

/* Right before an effect: by the clock of now. */
static inline bool wr_lease_over(const wr_env *env, const _Atomic int64_t *until_mono_ns)
{
    return until_mono_ns != NULL && wr_lease_over_at(until_mono_ns, env->mono_ns(env->self));
}

#endif
