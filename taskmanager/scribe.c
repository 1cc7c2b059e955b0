#include "taskmanager/scribe.h"
#include "base/check.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "taskmanager/crash.h"
#include <stdio.h>
#include <stdlib.h>

#define QUANTUM_BYTES (UINT64_C(256) << 10) /* from one file, until the next one has its turn */

/* Owner: the worker. Shared: given, stop (atomics), parker. */
struct wr_scribe {
    const wr_env            *env;
    wr_thread               *thread;
    wr_parker                parker;
    _Atomic(wr_scribe_job *) given; /* by slots, newest first */
    _Atomic bool             stop;
    wr_scribe_job           *jobs;         /* its own, like what follows */
    int64_t                  next_mono_ns; /* when one may be begun that may not be yet */
};

/* The job is the slot's from here on. */
static void hand_back(const wr_scribe *s, wr_scribe_job *job, enum wr_scribe_state state)
{
    wr_parker *owner = job->owner;
    atomic_store_explicit(&job->state, state, memory_order_release);
    wr_parker_wake(s->env, owner);
}

static void accept_given(wr_scribe *s)
{
    wr_scribe_job *job = atomic_exchange_explicit(&s->given, NULL, memory_order_acquire);
    while (job != NULL) {
        wr_scribe_job *next = job->next;
        job->next = s->jobs;
        s->jobs = job;
        job = next;
    }
}

/* False: it is handed back. */
static bool write_some(wr_scribe *s, wr_scribe_job *job, int64_t now, bool *progress)
{
    if (atomic_load_explicit(&job->stop, memory_order_acquire)) {
        hand_back(s, job, WR_SCRIBE_LEFT);
        return false;
    }
    if (now < job->from_mono_ns) {
        if (job->from_mono_ns < s->next_mono_ns) s->next_mono_ns = job->from_mono_ns;
        return true;
    }
    wr_failpoint("async-write");
    enum wr_image_step step = wr_image_writer_step(job->writer, QUANTUM_BYTES, &job->info);
    *progress |= step != WR_IMAGE_WAIT;
    if (step == WR_IMAGE_DURABLE || step == WR_IMAGE_FAILED) {
        hand_back(s, job, step == WR_IMAGE_DURABLE ? WR_SCRIBE_DURABLE : WR_SCRIBE_FAILED);
        return false;
    }
    if (!job->told && wr_image_writer_captured(job->writer)) {
        job->told = true;
        wr_parker_wake(s->env, job->owner);
    }
    return true;
}

static bool look_around(wr_scribe *s)
{
    bool    progress = false;
    int64_t now = s->env->mono_ns(s->env->self);
    s->next_mono_ns = INT64_MAX;
    accept_given(s);
    for (wr_scribe_job **at = &s->jobs; *at != NULL;) {
        wr_scribe_job *job = *at, *next = job->next;
        if (write_some(s, job, now, &progress)) {
            at = &job->next;
        } else {
            *at = next; /* nothing of the job is ours any more */
            progress = true;
        }
    }
    return progress;
}

static void park(wr_scribe *s)
{
    int64_t timeout = -1;
    if (s->next_mono_ns != INT64_MAX) {
        int64_t now = s->env->mono_ns(s->env->self);
        timeout = s->next_mono_ns > now ? s->next_mono_ns - now : 0;
    }
    s->env->park(s->env->self, &s->parker, timeout);
}

static void scribe_main(void *arg)
{
    wr_scribe *s = arg;
    wr_crash_thread_init();
    for (;;) {
        if (look_around(s)) continue;
        wr_parker_prepare(&s->parker);
        bool stop = atomic_load_explicit(&s->stop, memory_order_acquire);
        if (look_around(s) || stop)
            wr_parker_cancel(&s->parker);
        else
            park(s);
        if (stop) break;
    }
    check(s->jobs == NULL);
    wr_crash_thread_fini();
}

wr_scribe *wr_scribe_new(const wr_env *env, uint32_t number)
{
    char       name[16];
    wr_scribe *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->env = env;
    if (env->parker_init(env->self, &s->parker) < 0) {
        free(s);
        return NULL;
    }
    snprintf(name, sizeof name, "weir-scribe-%u", number % 100);
    if (env->thread_start(env->self, &s->thread, scribe_main, s, name, -1) < 0) {
        env->parker_fini(env->self, &s->parker);
        free(s);
        return NULL;
    }
    return s;
}

void wr_scribe_free(wr_scribe *s)
{
    if (s == NULL) return;
    atomic_store_explicit(&s->stop, true, memory_order_release);
    wr_parker_wake(s->env, &s->parker);
    s->env->thread_join(s->env->self, s->thread);
    s->env->parker_fini(s->env->self, &s->parker);
    free(s);
}

wr_parker *wr_scribe_parker(wr_scribe *s)
{
    return &s->parker;
}

void wr_scribe_give(wr_scribe *s, wr_scribe_job *job)
{
    atomic_store_explicit(&job->stop, false, memory_order_relaxed);
    job->told = false;
    job->info = (wr_errinfo){0};
    atomic_store_explicit(&job->state, WR_SCRIBE_WRITING, memory_order_relaxed);
    job->next = atomic_load_explicit(&s->given, memory_order_relaxed);
    while (
        !atomic_compare_exchange_weak_explicit(&s->given, &job->next, job, memory_order_release, memory_order_relaxed))
        continue;
    wr_parker_wake(s->env, &s->parker);
}

void wr_scribe_take_back(wr_scribe *s, wr_scribe_job *job)
{
    atomic_store_explicit(&job->stop, true, memory_order_release);
    wr_parker_wake(s->env, &s->parker);
    for (;;) {
        wr_parker_prepare(job->owner);
        if (atomic_load_explicit(&job->state, memory_order_acquire) != WR_SCRIBE_WRITING) break;
        s->env->park(s->env->self, job->owner, WR_PARK_NS_MAX);
    }
    wr_parker_cancel(job->owner);
}
