/* tests/sim/host.h: one of several simulated processes: its own view of clock, random, disk and network, which goes
 * dead when the process is killed, while its memory is freed. */
#ifndef WR_SIM_HOST_H
#define WR_SIM_HOST_H
#include "tests/sim/disk.h"
#include "tests/sim/threads.h"

enum { SIM_HOST_FILES = 512, SIM_HOST_QUEUES = 64 };

struct sim_net;
/* One thread, like all of the simulator. */
typedef struct sim_host {
    sim_clock      *clock;
    struct sim_net *net;
    uint32_t        machine; /* whose network it has */
    bool            dead;
    int64_t         stirred_ns; /* then something of its sockets is another than when this was set to INT64_MAX */
    uint64_t        die_in;     /* the nth storage call from now on is its last; 0: none is */
    wr_prng         random;
    sim_threads     threads;     /* those that it has started; where it has none, all is done within a step */
    wr_prng         waits;       /* of how long they wait for storage */
    uint64_t        long_one_in; /* one in so many is long */
    bool            threaded;    /* it may have some */
    int             cpus;
    uint64_t        calls, long_calls; /* that threads waited for; of a millisecond and more */
    wr_env          base, env;         /* of the disk and the clock; of the process */
    int             file[SIM_HOST_FILES];
    wr_io          *queue[SIM_HOST_QUEUES];
} sim_host;

/* clock and net outlive it. */
void sim_host_init(sim_host *host, sim_clock *clock, struct sim_net *net, uint32_t machine, uint64_t seed);
/* kill -9: from now on its calls do nothing and fail; what it has open is closed, its locks are free. */
void sim_host_kill(sim_host *host);
/* When the next thing is done that it gave to its disk, INT64_MAX: there is none. */
int64_t sim_host_io_due_ns(const sim_host *host);
#endif
