/* tests/sim/threads.h: threads of simulated processes. Each has a stack of its own; all of them run on the simulator's
 * one thread, one at a time, each from one wait to the next, in an order drawn from a seed. What they run is the
 * engine's: it learns of them by the environment's table only.
 *
 * A thread waits where its environment says so: when it parks, joins another, or is in a call of storage. Whoever steps
 * them (the scheduler) is on no thread of these. */
#ifndef WR_SIM_THREADS_H
#define WR_SIM_THREADS_H
#include "tests/sim/sim.h"

/* Of one process. */
typedef struct sim_threads {
    sim_clock *clock;
    wr_prng    random; /* of their order */
    wr_thread *first;  /* that were not joined, the oldest first */
    bool       hurry;  /* the process is dead: no time is waited for, so that each comes to its end */
    uint64_t   turns;
} sim_threads;

/* Which of those that could go on. */
enum sim_which {
    SIM_CALLS,     /* of a process that is stopped: what the system does for it goes on */
    SIM_UNDER_WAY, /* but those that rest */
    SIM_ANY
};

void sim_threads_init(sim_threads *threads, sim_clock *clock, uint64_t seed);
/* 0. The first turn comes when it is stepped. */
int sim_threads_start(sim_threads *threads, wr_thread **thread, void (*run)(void *arg), void *arg);
/* On a thread: waits. On none: steps them until it has ended. Frees it. */
void sim_threads_join(sim_threads *threads, wr_thread *thread);
/* One of them goes on to its next wait. False: none can. On no thread. */
bool sim_threads_step(sim_threads *threads, enum sim_which which);
/* When one of them can go on; INT64_MAX: none will by itself. */
int64_t sim_threads_due_ns(const sim_threads *threads, enum sim_which which);
/* As env->park. On no thread, it steps them meanwhile. */
void sim_threads_park(sim_threads *threads, wr_parker *parker, int64_t timeout_ns);
/* Before the process is killed: each call of storage that is under way is done, or it is not. */
void sim_threads_cut(sim_threads *threads, wr_prng *random);

/* Which one is running; NULL: none, but the scheduler. */
const wr_thread *sim_thread_running(void);
/* On a thread. It waits for a call of storage, behind it for its turn, and for somebody to ask for what it does. */
void sim_thread_call(int64_t ns);
void sim_thread_yield(void);
void sim_thread_rest(void);
/* On any: here others may have their turns first. */
void sim_thread_breathe(void);
#endif
