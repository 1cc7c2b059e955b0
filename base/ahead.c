#include "base/ahead.h"
#include "base/check.h"
#include "base/limits.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LEAD_BYTES (UINT64_C(32) << 20) /* how far in front of the owner */

/* Shared: ranges under the lock, the rest as said. No slot takes the lock but when a table is made large, or freed. */
struct wr_ahead {
    const wr_env   *env;
    pthread_mutex_t lock;
    wr_ahead_range *ranges;
    wr_thread      *thread;
    wr_parker       parker;
    _Atomic bool    ends;
    bool            refused; /* the kernel does not know the advice; helper's */
};

/* One step for one range; false: nothing to do. With the lock. */
static bool touch(wr_ahead *a, wr_ahead_range *r)
{
    uint64_t used = atomic_load_explicit(&r->used, memory_order_acquire);
    if (r->done < used) r->done = used & ~(uint64_t)(WR_HUGE_BYTES - 1);
    uint64_t wanted = atomic_load_explicit(&r->wanted, memory_order_acquire), most = r->no_lead ? 0 : used + LEAD_BYTES;
    if (most < wanted) most = wanted;
    if (most > r->bytes) most = r->bytes;
    if (a->refused) atomic_store_explicit(&r->ready, wanted, memory_order_release); /* advice only */
    if (a->refused || r->done + WR_AHEAD_STEP_BYTES > most) return false;
    if (madvise(r->base + r->done, WR_AHEAD_STEP_BYTES, MADV_POPULATE_WRITE) != 0) a->refused = true;
    r->done += WR_AHEAD_STEP_BYTES;
    atomic_store_explicit(&r->ready, r->done, memory_order_release);
    return true;
}

static void run(void *arg)
{
    wr_ahead *a = arg;
    while (!atomic_load_explicit(&a->ends, memory_order_acquire)) {
        bool worked = false;
        wr_parker_prepare(&a->parker);
        pthread_mutex_lock(&a->lock); /* held for one step of each range: whoever removes one waits for that long */
        for (wr_ahead_range *r = a->ranges; r != NULL; r = r->next) worked |= touch(a, r);
        pthread_mutex_unlock(&a->lock);
        if (worked || atomic_load_explicit(&a->ends, memory_order_acquire))
            wr_parker_cancel(&a->parker);
        else
            a->env->park(a->env->self, &a->parker, -1);
    }
}

wr_ahead *wr_ahead_new(const wr_env *env)
{
    wr_ahead *a = calloc(1, sizeof *a);
    if (a == NULL) return NULL;
    a->env = env;
    if (env->parker_init(env->self, &a->parker) < 0) {
        free(a);
        return NULL;
    }
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

void wr_ahead_free(wr_ahead *a)
{
    if (a == NULL) return;
    check(a->ranges == NULL);
    atomic_store_explicit(&a->ends, true, memory_order_release);
    if (a->thread != NULL) {
        wr_parker_wake(a->env, &a->parker);
        a->env->thread_join(a->env->self, a->thread);
    }
    a->env->parker_fini(a->env->self, &a->parker);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void wr_ahead_add(wr_ahead *a, wr_ahead_range *r, void *base, uint64_t bytes, uint64_t used)
{
    check(r->ahead == NULL);
    if (a == NULL) return;
    r->base = base;
    r->bytes = bytes;
    r->told = used;
    r->done = used & ~(uint64_t)(WR_HUGE_BYTES - 1);
    atomic_store_explicit(&r->used, used, memory_order_relaxed);
    r->ahead = a;
    pthread_mutex_lock(&a->lock);
    r->next = a->ranges;
    a->ranges = r;
    if (a->thread == NULL && a->env->thread_start(a->env->self, &a->thread, run, a, "weir-ahead", -1) != 0)
        a->thread = NULL;
    pthread_mutex_unlock(&a->lock);
    wr_parker_wake(a->env, &a->parker);
}

void wr_ahead_remove(wr_ahead_range *r)
{
    wr_ahead *a = r->ahead;
    if (a == NULL) return;
    pthread_mutex_lock(&a->lock);
    wr_ahead_range **at = &a->ranges;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    pthread_mutex_unlock(&a->lock);
    r->ahead = NULL;
}

void wr_ahead_want(wr_ahead_range *r, uint64_t bytes)
{
    if (r->ahead == NULL || bytes <= atomic_load_explicit(&r->wanted, memory_order_relaxed)) return;
    /* Whole steps are touched. */
    bytes = (bytes + WR_AHEAD_STEP_BYTES - 1) & ~(WR_AHEAD_STEP_BYTES - 1);
    atomic_store_explicit(&r->wanted, bytes < r->bytes ? bytes : r->bytes, memory_order_release);
    wr_parker_wake(r->ahead->env, &r->ahead->parker);
}

void wr_ahead_tell(wr_ahead_range *r, uint64_t used)
{
    r->told = used;
    atomic_store_explicit(&r->used, used, memory_order_release);
    wr_parker_wake(r->ahead->env, &r->ahead->parker);
}
