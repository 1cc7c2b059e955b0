/* wire/data.h: bytes between slots of different workers: the hello that opens a connection, and the frames on it.
 * Little endian, fixed layouts, a version in the hello: docs/protocol.md. Pure; any thread. */
#ifndef WR_WIRE_DATA_H
#define WR_WIRE_DATA_H
#include "base/error.h"
#include "wire/snapshot.h"

/* ---- hello ---- */
/* Who accepts sends WR_DATA_NONCE_BYTES first; who dialed answers with exactly WR_HELLO_BYTES. mac: HMAC-SHA-256 by
 * the attempt's secret over the nonce and the bytes before the mac. */
enum { WR_DATA_VERSION = 1, WR_DATA_NONCE_BYTES = 32, WR_HELLO_BYTES = 72, WR_HELLO_SIGNED_BYTES = 40 };
typedef struct wr_data_hello {
    uint64_t job;
    uint32_t attempt, from_slot, to_slot; /* slots of the job; from: the dialer's */
    uint8_t  mac[32];
} wr_data_hello;
void   wr_data_hello_put(const wr_data_hello *h, uint8_t to[WR_HELLO_BYTES]);
wr_err wr_data_hello_get(wr_data_hello *h, const uint8_t from[WR_HELLO_BYTES], wr_errinfo *info); /* mac not checked */

/* ---- frames ---- */
enum wr_frame_kind { /* the first ones have the numbers of enum wr_element of operators/batch.h */
                     WR_FRAME_RECORDS = 1,
                     WR_FRAME_WATERMARK,
                     WR_FRAME_BARRIER,
                     WR_FRAME_END,
                     WR_FRAME_IDLE,
                     WR_FRAME_ABORT,
                     /* the other way: the channel's consumer has room for `n` more elements; `at` of those that it gave
                        home were records */
                     WR_FRAME_CREDIT
};
enum { WR_DATA_HEAD_BYTES = 64 };
/* In front of every frame. Records: n records of `stride` bytes, then n event times when `timed`, then the heap of far
 * strings, in which a far string is an offset. seq counts the frames of a channel in one direction from 0, without
 * gaps. sum: xxh3-64 of the records (or of another kind's body) seeded with the xxh3-64 of the head in which sum is 0;
 * that seeds the sum of the times, and that the one of the heap, if there are any. at of a barrier: how long ago it was
 * triggered, -1: not known; clocks differ. */
typedef struct wr_data_head {
    uint8_t  kind; /* enum wr_frame_kind */
    bool     timed;
    uint32_t attempt, channel, seq;
    uint32_t n, stride, heap_bytes;
    uint32_t body_bytes;
    int64_t  at; /* as wr_batch.at */
    uint64_t job, sum;
} wr_data_head;
void wr_data_head_put(const wr_data_head *h, uint8_t to[WR_DATA_HEAD_BYTES]);
/* Checks everything that can be checked without knowing the channel: kind, bounds of limits.h, that body_bytes is what
 * the counts say. */
wr_err wr_data_head_get(wr_data_head *h, const uint8_t from[WR_DATA_HEAD_BYTES], wr_errinfo *info);
/* A barrier's body. */
enum { WR_BARRIER_BYTES = 32 };
void   wr_data_barrier_put(const wr_barrier *b, uint8_t to[WR_BARRIER_BYTES]);
wr_err wr_data_barrier_get(wr_barrier *b, const uint8_t from[WR_BARRIER_BYTES], wr_errinfo *info);

#endif
