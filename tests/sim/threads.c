/* Threads that are stepped: contexts with stacks of their own. */
#include "tests/sim/threads.h"
#include "base/check.h"
#include "tests/sim/disk.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifdef ASAN /* it must be told of each change of stacks */
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define leaves(KEPT, LOW, BYTES)  __sanitizer_start_switch_fiber(KEPT, LOW, BYTES)
#define arrives(KEPT, LOW, BYTES) __sanitizer_finish_switch_fiber(KEPT, LOW, BYTES)
#define forget_frames(LOW, BYTES) ASAN_UNPOISON_MEMORY_REGION(LOW, BYTES)
#else
#define leaves(KEPT, LOW, BYTES)  ((void)(KEPT), (void)(LOW), (void)(BYTES))
#define arrives(KEPT, LOW, BYTES) ((void)(KEPT), (void)(LOW), (void)(BYTES))
#define forget_frames(LOW, BYTES) ((void)(LOW), (void)(BYTES))
#endif

enum { STACK_BYTES = 4 << 20, GUARD_BYTES = 64 << 10, STACKS_KEPT = 32 };
/* Who parks for so long waits on the scale of a real cluster, where leases last 300 times as long as here: it returns
 * early, as it may. */
enum { LONG_NS = 10000000, SHORTER = 100 };

enum state { READY = 1, RUNS, PARKED, CALLS, JOINS, RESTS, ENDED };

struct wr_thread {
    wr_thread   *next;
    sim_threads *of;
    ucontext_t   context;
    char        *stack;
    void        *kept; /* of AddressSanitizer */
    void (*run)(void *arg);
    void            *arg;
    enum state       state;
    const wr_parker *parker;   /* PARKED */
    int64_t          until_ns; /* PARKED, CALLS */
    const wr_thread *joined;   /* JOINS */
};

static ucontext_t  scheduler;
static const void *scheduler_low; /* its stack */
static size_t      scheduler_bytes;
static wr_thread  *running;
static char       *stack[STACKS_KEPT]; /* of threads that have ended, to be used again */
static uint32_t    stacks;

static char *take_stack(void)
{
    if (stacks > 0) return stack[--stacks];
    char *low = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(low != MAP_FAILED && mprotect(low, GUARD_BYTES, PROT_NONE) == 0);
    return low;
}

static void give_stack(char *low)
{
    forget_frames(low + GUARD_BYTES, STACK_BYTES - GUARD_BYTES);
    if (stacks < STACKS_KEPT)
        stack[stacks++] = low;
    else
        munmap(low, STACK_BYTES);
}

/* ---- from the scheduler to a thread and back ---- */

static void go_back(enum state state)
{
    wr_thread *t = running;
    t->state = state;
    leaves(state == ENDED ? NULL : &t->kept, scheduler_low, scheduler_bytes);
    check(swapcontext(&t->context, &scheduler) == 0);
    arrives(t->kept, &scheduler_low, &scheduler_bytes);
}

static void enter(void)
{
    wr_thread *t = running;
    arrives(NULL, &scheduler_low, &scheduler_bytes);
    t->run(t->arg);
    go_back(ENDED);
    check(!"a thread that has ended goes on");
}

static void go_on(wr_thread *t)
{
    void *kept = NULL;
    check(running == NULL && t->state != ENDED);
    running = t;
    t->state = RUNS;
    t->of->turns++;
    leaves(&kept, t->stack, (size_t)STACK_BYTES);
    check(swapcontext(&scheduler, &t->context) == 0);
    arrives(kept, NULL, NULL);
    running = NULL;
    if (t->state != ENDED) return;
    give_stack(t->stack);
    t->stack = NULL;
}

/* ---- which one ---- */

static bool may_go_on(const wr_thread *t, enum sim_which which)
{
    bool late = t->of->hurry || t->until_ns <= t->of->clock->now_ns;
    if (t->state == CALLS) return late;
    if (which == SIM_CALLS) return false;
    switch (t->state) {
    case READY: return true;
    case PARKED: return late || atomic_load(&t->parker->state) != WR_PARKER_PARKED;
    case JOINS: return t->joined->state == ENDED;
    case RESTS: return which == SIM_ANY;
    default: return false;
    }
}

bool sim_threads_step(sim_threads *threads, enum sim_which which)
{
    uint32_t n = 0;
    for (const wr_thread *t = threads->first; t != NULL; t = t->next) n += may_go_on(t, which);
    if (n == 0) return false;
    uint32_t   pick = n > 1 ? (uint32_t)wr_prng_below(&threads->random, n) : 0;
    wr_thread *t = threads->first;
    for (;; t = t->next) {
        if (may_go_on(t, which) && pick-- == 0) break;
    }
    go_on(t);
    return true;
}

int64_t sim_threads_due_ns(const sim_threads *threads, enum sim_which which)
{
    int64_t due = INT64_MAX, now = threads->clock->now_ns;
    for (const wr_thread *t = threads->first; t != NULL; t = t->next) {
        bool    waits = t->state == CALLS || (t->state == PARKED && which != SIM_CALLS);
        int64_t at = may_go_on(t, which) ? now + 1 : waits ? t->until_ns : INT64_MAX;
        if (at < due) due = at;
    }
    return due;
}

/* On no thread: one of them goes on, or time does, but not beyond `until`. */
static void pass(sim_threads *threads, enum sim_which which, int64_t until)
{
    if (sim_threads_step(threads, which)) return;
    int64_t due = sim_threads_due_ns(threads, which);
    if (until < due) due = until;
    check(due != INT64_MAX); /* else nothing will ever happen */
    if (threads->clock->now_ns < due) threads->clock->now_ns = due;
}

/* ---- what threads do ---- */

void sim_threads_init(sim_threads *threads, sim_clock *clock, uint64_t seed)
{
    *threads = (sim_threads){.clock = clock, .random = wr_prng_of(seed)};
}

/* By itself: for a compiler, getcontext may come back twice. */
static void make_context(ucontext_t *context, char *low)
{
    check(getcontext(context) == 0);
    context->uc_stack.ss_sp = low;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = NULL;
    makecontext(context, enter, 0);
}

int sim_threads_start(sim_threads *threads, wr_thread **thread, void (*run)(void *arg), void *arg)
{
    wr_thread *t = calloc(1, sizeof *t), **last = &threads->first;
    check(t != NULL);
    *t = (wr_thread){.of = threads, .run = run, .arg = arg, .state = READY, .stack = take_stack()};
    make_context(&t->context, t->stack);
    while (*last != NULL) last = &(*last)->next;
    *last = t;
    *thread = t;
    return 0;
}

void sim_threads_join(sim_threads *threads, wr_thread *thread)
{
    if (running != NULL) {
        running->joined = thread;
        if (thread->state != ENDED) go_back(JOINS);
    }
    while (thread->state != ENDED) pass(threads, SIM_ANY, INT64_MAX);
    wr_thread **at = &threads->first;
    while (*at != thread) at = &(*at)->next;
    *at = thread->next;
    free(thread);
}

void sim_threads_park(sim_threads *threads, wr_parker *parker, int64_t timeout_ns)
{
    int64_t until = INT64_MAX;
    if (timeout_ns >= LONG_NS) timeout_ns = (int64_t)wr_prng_below(&threads->random, (uint64_t)timeout_ns / SHORTER);
    if (timeout_ns >= 0) until = threads->clock->now_ns + timeout_ns;
    int64_t woken = threads->clock->disk != NULL ? sim_disk_wakes_ns(threads->clock->disk, parker) : INT64_MAX;
    if (woken < until) until = woken;
    if (running != NULL) {
        running->parker = parker;
        running->until_ns = until;
        go_back(PARKED);
    }
    while (running == NULL && !threads->hurry && atomic_load(&parker->state) == WR_PARKER_PARKED &&
           threads->clock->now_ns < until)
        pass(threads, SIM_UNDER_WAY, until);
    if (running == NULL && threads->hurry) sim_threads_step(threads, SIM_UNDER_WAY);
    atomic_store(&parker->state, WR_PARKER_AWAKE);
}

void sim_threads_cut(sim_threads *threads, wr_prng *random)
{
    for (wr_thread *t = threads->first; t != NULL; t = t->next) {
        if (t->state == CALLS && wr_prng_one_in(random, 2)) go_on(t);
    }
}

const wr_thread *sim_thread_running(void)
{
    return running;
}

void sim_thread_call(int64_t ns)
{
    running->until_ns = running->of->clock->now_ns + ns;
    go_back(CALLS);
}

void sim_thread_yield(void)
{
    go_back(READY);
}

void sim_thread_breathe(void)
{
    if (running != NULL && !running->of->hurry && wr_prng_one_in(&running->of->random, 3)) go_back(READY);
}

void sim_thread_rest(void)
{
    go_back(RESTS);
}
