/* tests/sim/net_inner.h: what the two halves of the network share. */
#ifndef WR_SIM_NET_INNER_H
#define WR_SIM_NET_INNER_H
#include "tests/sim/net.h"

typedef struct sim_socks sim_socks;
struct sim_net {
    sim_clock    *clock;
    wr_prng       random;
    bool          parted[SIM_MACHINES][SIM_MACHINES], silent[SIM_MACHINES];
    int64_t       delay_most_ns;
    sim_socks    *socks;
    sim_port     *ports;
    uint64_t      peers; /* numbers given */
    uint64_t      arrived;
    sim_net_stats stats;
};

static inline int64_t sim_net_delay(sim_net *net)
{
    int64_t most = net->delay_most_ns;
    if (wr_prng_one_in(&net->random, 50)) most *= 20;
    return 1000 + (int64_t)wr_prng_below(&net->random, (uint64_t)most);
}
static inline bool sim_net_between(uint32_t x, uint32_t y, uint32_t a, uint32_t b)
{
    return (x == a && (y == b || b == SIM_MACHINES)) || (y == a && (x == b || b == SIM_MACHINES));
}

sim_socks *sim_socks_new(void);
void       sim_socks_free(sim_net *net);
void       sim_socks_forget(sim_net *net, const sim_host *host);
void       sim_socks_break(sim_net *net, uint32_t a, uint32_t b, uint32_t one_in);
void       sim_socks_due(const sim_net *net, const sim_host *host, int64_t *due); /* host: NULL, of all */
#endif
