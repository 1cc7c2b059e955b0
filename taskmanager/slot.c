#include "taskmanager/slot.h"
#include "base/check.h"
#include "base/lease.h"
#include "base/log.h"
#include "net/plane.h"
#include "taskmanager/crash.h"

enum {
    GAP_BUSY_NS = 200000, /* work arrives further apart than this: a spin would mostly be for nothing */
    SPIN_SHORT_NS = 2000,
    SPIN_LONG_NS = 50000,
    TAKEN_NS = 300000,        /* a look around that took this long: others want the CPU */
    SPIN_AGAIN_NS = 20000000, /* they have it for so long */
    WALL_EVERY_NS = 10000000
};

static void add_relaxed(_Atomic uint64_t *to, uint64_t by)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + by, memory_order_relaxed);
}

/* One clock read per call of a tasklet; the wall clock follows by an offset that is looked at now and then. */
static int64_t read_clock(wr_slot *s)
{
    const wr_env *env = s->home.env;
    int64_t       now = env->mono_ns(env->self);
    if (now - s->wall_read_mono_ns > WALL_EVERY_NS || s->wall_read_mono_ns == 0) {
        s->wall_read_mono_ns = now;
        s->wall_offset_ns = env->wall_ns(env->self) - now;
    }
    s->home.mono_ns = now;
    s->home.now_ns = now + s->wall_offset_ns;
    return now;
}

/* Once per tasklet: who blocks is to be told, and its neighbours' logs are not to be flooded. */
static void name_the_slow(wr_tasklet *t, int64_t spent_ns)
{
    if (t->named_slow) return;
    t->named_slow = true;
    wr_log(WR_LOG_WARN,
           "task %s subtask %u held its slot for %lld ms; nothing else ran there; give what blocks .blocking = true",
           t->vertex->name, t->subtask->index, (long long)(spent_ns / 1000000));
}

/* A call's time ends where the next one's begins. Waiting is counted by what the tasklet said when it was called
 * last. */
static void charge_last(wr_slot *s, int64_t now)
{
    if (s->last == NULL || s->last->called != WR_CALLED_PROGRESS) return;
    int64_t spent = now - s->last->called_mono_ns;
    add_relaxed(&s->last->busy_ns, (uint64_t)spent);
    if (spent > (int64_t)WR_WATCHDOG_MS * 1000000 && !s->last->subtask->own_thread) name_the_slow(s->last, spent);
}

static void charge(wr_slot *s, wr_tasklet *t, int64_t now)
{
    charge_last(s, now);
    if (t->called_mono_ns != 0 && t->called != WR_CALLED_PROGRESS) {
        add_relaxed(t->called == WR_CALLED_BLOCKED ? &t->back_pressured_ns : &t->idle_ns,
                    (uint64_t)(now - t->called_mono_ns));
    }
    s->last = t;
    t->called_mono_ns = now;
}

/* In a cluster: what none of its tasklets can go on without is gone. */
static bool lost(wr_slot *s, wr_errinfo *info)
{
    if (wr_lease_over_at(s->home.lease_until_ns, s->home.mono_ns)) {
        wr_fail(info, WR_UNREACHABLE,
                "nothing was heard of the JobManager for so long that another worker may do the work by now; it stops");
        return true;
    }
    return s->plane != NULL && wr_plane_failed(s->plane, info);
}

static enum wr_called call(wr_slot *s, wr_tasklet *t)
{
    charge(s, t, read_clock(s));
    uint32_t   before = atomic_load_explicit(&t->state, memory_order_relaxed);
    wr_errinfo info = {0};
    if (s->home.lease_until_ns != NULL && lost(s, &info))
        t->called = wr_tasklet_fail(t, &info);
    else
        t->called = wr_tasklet_call(t);
    bool news = atomic_load_explicit(&t->state, memory_order_relaxed) != before || t->barriers.news;
    t->barriers.news = false;
    if (news && s->notify != NULL) s->notify(s->notify_self);
    return t->called;
}

/* The plane's share of a round; its time is nobody's. */
static bool serve(wr_slot *s)
{
    int64_t now = read_clock(s);
    charge_last(s, now);
    s->last = NULL;
    return wr_plane_step(s->plane, now);
}

bool wr_slot_round(wr_slot *s, bool *done)
{
    bool progress = s->serves && serve(s), blocked = false;
    *done = !s->serves || atomic_load_explicit(s->leaving, memory_order_acquire);
    for (uint32_t i = 0; i < s->tasklets; i++) {
        if (atomic_load_explicit(&s->tasklet[i]->state, memory_order_relaxed) >= WR_TASK_FINISHED) continue;
        enum wr_called called = call(s, s->tasklet[i]);
        progress |= called == WR_CALLED_PROGRESS;
        blocked |= called == WR_CALLED_BLOCKED;
        *done &= called == WR_CALLED_DONE;
    }
    s->home.back_pressured = blocked;
    return progress;
}

bool wr_slot_step(wr_slot *s)
{
    uint32_t turns = s->tasklets + s->serves; /* the plane has the last one */
    for (uint32_t i = 0; i < turns; i++) {
        uint32_t turn = s->next++ % turns;
        if (turn == s->tasklets) return serve(s);
        wr_tasklet *t = s->tasklet[turn];
        if (atomic_load_explicit(&t->state, memory_order_relaxed) >= WR_TASK_FINISHED) continue;
        enum wr_called called = call(s, t);
        return called == WR_CALLED_PROGRESS || called == WR_CALLED_DONE;
    }
    return false;
}

/* Work came after a pause: how far apart is it? Arrival to arrival; from wake-up it would always say "park". */
static void note_arrival(wr_slot *s, int64_t now)
{
    if (s->arrived_mono_ns != 0) s->gap_ns += (now - s->arrived_mono_ns - s->gap_ns) / 10;
    s->arrived_mono_ns = now;
}

static int64_t spin_ns(const wr_slot *s)
{
    if (!s->spin || s->home.mono_ns < s->spin_again_ns) return 0;
    if (s->gap_ns > GAP_BUSY_NS) return SPIN_SHORT_NS;
    return 4 * s->gap_ns > SPIN_LONG_NS ? 4 * s->gap_ns : SPIN_LONG_NS;
}

static void park(wr_slot *s)
{
    const wr_env *env = s->home.env;
    int           fd[WR_PARK_FDS_MAX];
    uint32_t      fds = 0;
    int64_t       until = INT64_MAX;
    if (s->serves && (fd[0] = wr_plane_fd(s->plane)) >= 0) fds++; /* first: others may fill what is left */
    for (uint32_t i = 0; i < s->tasklets; i++) wr_tasklet_waits(s->tasklet[i], fd, &fds, &until);
    int64_t timeout = WR_PARK_NS_MAX;
    if (until != INT64_MAX) {
        int64_t now = env->mono_ns(env->self);
        if (until - now < timeout) timeout = until > now ? until - now : 0;
    }
    if (fds > 0)
        env->park_fds(env->self, &s->parker, timeout, fd, fds);
    else
        env->park(env->self, &s->parker, timeout);
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Nothing to do: looks a while longer, then parks. Returns after something may have changed. */
static void idle(wr_slot *s, bool *done)
{
    int64_t from = s->home.mono_ns, before = from, most = spin_ns(s);
    while (most > 0 && s->home.mono_ns - from < most) {
        for (int i = 0; i < 16; i++) relax();
        if (wr_slot_round(s, done) || *done) {
            note_arrival(s, s->home.mono_ns);
            if (!s->home.back_pressured) s->home.spare_ns += s->home.mono_ns - from;
            return;
        }
        /* Where other workers may be on this host: nobody counted CPUs for all of them. */
        if (s->home.lease_until_ns != NULL && s->home.mono_ns - before > TAKEN_NS) {
            s->spin_again_ns = s->home.mono_ns + SPIN_AGAIN_NS;
            break;
        }
        before = s->home.mono_ns;
    }
    wr_parker_prepare(&s->parker);
    bool worked = wr_slot_round(s, done) || *done;
    /* Whoever waited on the parker in this round (wr_scribe_take_back) may have taken a wake-up that was for us. */
    if (worked || atomic_load_explicit(&s->parker.state, memory_order_relaxed) != WR_PARKER_PARKED) {
        wr_parker_cancel(&s->parker);
    } else {
        park(s);
    }
    int64_t now = s->home.env->mono_ns(s->home.env->self);
    note_arrival(s, now);
    if (!s->home.back_pressured) s->home.spare_ns += now - from;
}

void wr_slot_run(void *slot)
{
    wr_slot *s = slot;
    wr_crash_thread_init();
    for (bool done = false; !done;) {
        if (!wr_slot_round(s, &done) && !done) idle(s, &done);
    }
    wr_crash_thread_fini();
}
