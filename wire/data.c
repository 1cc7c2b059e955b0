#include "wire/data.h"
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie");

static void put32(uint8_t *to, uint32_t v)
{
    memcpy(to, &v, sizeof v);
}
static void put64(uint8_t *to, uint64_t v)
{
    memcpy(to, &v, sizeof v);
}
static uint32_t get32(const uint8_t *from)
{
    uint32_t v;
    memcpy(&v, from, sizeof v);
    return v;
}
static uint64_t get64(const uint8_t *from)
{
    uint64_t v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* ---- hello ---- */

/* Magic, version, job, attempt, slots, 8 zeros, proof. */
static const uint8_t MAGIC[8] = {'w', 'e', 'i', 'r', 'd', 'a', 't', 'a'};
enum { AT_VERSION = 8, AT_JOB = 12, AT_ATTEMPT = 20, AT_FROM = 24, AT_TO = 28, AT_ZERO = 32 };
_Static_assert(AT_ZERO + 8 == WR_HELLO_SIGNED_BYTES && WR_HELLO_SIGNED_BYTES + 32 == WR_HELLO_BYTES, "");

void wr_data_hello_put(const wr_data_hello *h, uint8_t to[WR_HELLO_BYTES])
{
    memcpy(to, MAGIC, sizeof MAGIC);
    put32(to + AT_VERSION, WR_DATA_VERSION);
    put64(to + AT_JOB, h->job);
    put32(to + AT_ATTEMPT, h->attempt);
    put32(to + AT_FROM, h->from_slot);
    put32(to + AT_TO, h->to_slot);
    put64(to + AT_ZERO, 0);
    memcpy(to + WR_HELLO_SIGNED_BYTES, h->mac, sizeof h->mac);
}

wr_err wr_data_hello_get(wr_data_hello *h, const uint8_t from[WR_HELLO_BYTES], wr_errinfo *info)
{
    if (memcmp(from, MAGIC, sizeof MAGIC) != 0)
        return wr_fail(info, WR_IO, "what came is no greeting of a data connection of Weir");
    uint32_t version = get32(from + AT_VERSION);
    if (version != WR_DATA_VERSION)
        return wr_fail(info, WR_NEWER,
                       "a data connection of version %u, this Weir has %u; run the same Weir everywhere", version,
                       WR_DATA_VERSION);
    *h = (wr_data_hello){.job = get64(from + AT_JOB),
                         .attempt = get32(from + AT_ATTEMPT),
                         .from_slot = get32(from + AT_FROM),
                         .to_slot = get32(from + AT_TO)};
    memcpy(h->mac, from + WR_HELLO_SIGNED_BYTES, sizeof h->mac);
    if (get64(from + AT_ZERO) != 0 || h->from_slot == h->to_slot)
        return wr_fail(info, WR_IO, "a greeting of a data connection makes no sense: slot %u to slot %u", h->from_slot,
                       h->to_slot);
    return WR_OK;
}

/* ---- frames ---- */

enum {
    AT_KIND = 0,
    AT_TIMED = 1,
    AT_PAD = 2,
    AT_HEAD_ATTEMPT = 4,
    AT_CHANNEL = 8,
    AT_SEQ = 12,
    AT_N = 16,
    AT_STRIDE = 20,
    AT_HEAP = 24,
    AT_BODY = 28,
    AT_AT = 32,
    AT_HEAD_JOB = 40,
    AT_SUM = 48,
    AT_LAST = 56
};

void wr_data_head_put(const wr_data_head *h, uint8_t to[WR_DATA_HEAD_BYTES])
{
    put32(to, 0);
    to[AT_KIND] = h->kind;
    to[AT_TIMED] = h->timed;
    put32(to + AT_HEAD_ATTEMPT, h->attempt);
    put32(to + AT_CHANNEL, h->channel);
    put32(to + AT_SEQ, h->seq);
    put32(to + AT_N, h->n);
    put32(to + AT_STRIDE, h->stride);
    put32(to + AT_HEAP, h->heap_bytes);
    put32(to + AT_BODY, h->body_bytes);
    put64(to + AT_AT, (uint64_t)h->at);
    put64(to + AT_HEAD_JOB, h->job);
    put64(to + AT_SUM, h->sum);
    put64(to + AT_LAST, 0);
}

/* What a frame of records may be at most: an ordinary batch, or one large record. */
static bool records_fit(const wr_data_head *h)
{
    if (h->n == 0 || h->n > WR_BATCH_RECORDS_MAX || h->stride == 0) return false;
    uint64_t records = (uint64_t)h->n * h->stride, times = h->timed ? (uint64_t)h->n * 8 : 0;
    if (h->n == 1 ? records + h->heap_bytes > WR_RECORD_BYTES_MAX
                  : records > WR_BATCH_BYTES || h->heap_bytes > WR_BATCH_HEAP_BYTES)
        return false;
    return h->body_bytes == records + times + h->heap_bytes;
}

static bool body_fits(const wr_data_head *h)
{
    if (h->kind == WR_FRAME_RECORDS) return records_fit(h);
    if (h->timed || h->stride != 0 || h->heap_bytes != 0) return false;
    if (h->kind == WR_FRAME_CREDIT)
        return h->n > 0 && h->n <= WR_CREDITS_MAX && h->at >= 0 && h->at <= h->n && h->body_bytes == 0;
    return h->n == 0 && h->body_bytes == (h->kind == WR_FRAME_BARRIER ? WR_BARRIER_BYTES : 0u);
}

wr_err wr_data_head_get(wr_data_head *h, const uint8_t from[WR_DATA_HEAD_BYTES], wr_errinfo *info)
{
    *h = (wr_data_head){.kind = from[AT_KIND],
                        .timed = from[AT_TIMED] == 1,
                        .attempt = get32(from + AT_HEAD_ATTEMPT),
                        .channel = get32(from + AT_CHANNEL),
                        .seq = get32(from + AT_SEQ),
                        .n = get32(from + AT_N),
                        .stride = get32(from + AT_STRIDE),
                        .heap_bytes = get32(from + AT_HEAP),
                        .body_bytes = get32(from + AT_BODY),
                        .at = (int64_t)get64(from + AT_AT),
                        .job = get64(from + AT_HEAD_JOB),
                        .sum = get64(from + AT_SUM)};
    bool zeros = from[AT_PAD] == 0 && from[AT_PAD + 1] == 0 && get64(from + AT_LAST) == 0;
    if (!zeros || from[AT_TIMED] > 1 || h->kind < WR_FRAME_RECORDS || h->kind > WR_FRAME_CREDIT || !body_fits(h))
        return wr_fail(info, WR_IO, "a frame makes no sense: kind %u, %u records of %u bytes, heap %u, body %u",
                       h->kind, h->n, h->stride, h->heap_bytes, h->body_bytes);
    return WR_OK;
}

void wr_data_barrier_put(const wr_barrier *b, uint8_t to[WR_BARRIER_BYTES])
{
    put64(to, b->id);
    put64(to + 8, b->base);
    put32(to + 16, b->kind);
    put32(to + 20, b->epoch);
    put64(to + 24, 0);
}

wr_err wr_data_barrier_get(wr_barrier *b, const uint8_t from[WR_BARRIER_BYTES], wr_errinfo *info)
{
    *b = (wr_barrier){.id = get64(from), .base = get64(from + 8), .kind = get32(from + 16), .epoch = get32(from + 20)};
    if (b->id == 0 || (b->kind != WR_SNAPSHOT && b->kind != WR_SAVEPOINT) || get64(from + 24) != 0)
        return wr_fail(info, WR_IO, "a barrier makes no sense: snapshot %llu of kind %u", (unsigned long long)b->id,
                       b->kind);
    return WR_OK;
}
