/* operators/exchange.h: the edge of a chain: which record goes to which channel, and the copy into its open batch. */
#ifndef WR_OPERATORS_EXCHANGE_H
#define WR_OPERATORS_EXCHANGE_H
#include "operators/op.h"

/* Slot-owned, by the producer. */
struct wr_exchange {
    const wr_edge   *edge;
    const weir_type *type;
    wr_home         *home;
    wr_op           *op; /* that feeds it: strings of its chain, failures */
    wr_pool          pool;
    wr_pipe        **channel; /* frozen after build */
    uint32_t         channels;
    uint32_t         max_parallelism;
    uint32_t         stride;
    bool             timed;     /* its records have event times, and it sends watermarks */
    bool             idle_sent; /* consumers know that nothing comes */
    int64_t          watermark_sent;
    uint32_t         strings;   /* number of string fields */
    uint16_t        *string_at; /* their offsets */
    uint32_t        *bound;     /* hash: channel c takes h >> 32 in [bound[c], bound[c + 1]) */
    uint32_t        *start;     /* of each channel in a sorted list */
    uint16_t        *of_group;  /* hash over many channels: the channel of each key group */
    uint32_t         next;      /* rebalance */
    uint32_t         open;      /* channels with an open batch */
    uint64_t        *hash;      /* scratch of one batch */
    uint32_t        *list;      /* selection of one channel */
    uint32_t        *verdict;
    weir_ctx         own; /* for the user's partitioner */
    wr_calls         calls;
};

wr_err wr_exchange_init(wr_exchange *x, const wr_edge *edge, wr_op *op, wr_pipe **channel, uint32_t channels,
                        uint32_t max_parallelism);
void   wr_exchange_fini(wr_exchange *x);
void   wr_exchange_push(wr_exchange *x, const wr_view *view);
/* One record to one channel, sent at once: splits. */
void wr_exchange_put(wr_exchange *x, uint32_t channel, const void *record);
/* Sends open batches: all of them, or those open since before `older_than_ns`. */
void wr_exchange_send_open(wr_exchange *x, int64_t older_than_ns);
void wr_exchange_control(wr_exchange *x, uint32_t kind, int64_t at);
void wr_exchange_barrier(wr_exchange *x, const wr_barrier *barrier, int64_t triggered_mono_ns);
/* Tries to move the overdraft on; true when the producer may run. */
bool wr_exchange_ready(wr_exchange *x);

/* Selects indices i of [0, n) with lo <= hash[i] >> 32 <= last, ascending; list has room for n + 16. Picks AVX-512,
 * AVX2 or scalar code at start. */
uint32_t wr_select_range(const uint64_t *hash, uint32_t n, uint32_t lo, uint32_t last, uint32_t *list);
uint32_t wr_select_equal(const uint32_t *value, uint32_t n, uint32_t wanted, uint32_t *list);
#endif
