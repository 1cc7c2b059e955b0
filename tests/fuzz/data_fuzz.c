/* What comes on a data connection: hellos (first byte 0), heads of frames (1), barriers (else). What is taken keeps the
 * bounds that the receiver's memory is made by, and is written as the same bytes. */
#include "base/limits.h"
#include "tests/fuzz/fuzz.h"
#include "wire/data.h"

static void hello(const uint8_t *bytes)
{
    wr_data_hello h;
    uint8_t       again[WR_HELLO_BYTES];
    wr_errinfo    info = {0};
    if (wr_data_hello_get(&h, bytes, &info) != WR_OK) {
        must(info.code != WR_OK && info.text[0] != 0);
        return;
    }
    must(h.from_slot != h.to_slot);
    wr_data_hello_put(&h, again);
    must(memcmp(bytes, again, sizeof again) == 0);
}

static void head(const uint8_t *bytes)
{
    wr_data_head h;
    uint8_t      again[WR_DATA_HEAD_BYTES];
    wr_errinfo   info = {0};
    if (wr_data_head_get(&h, bytes, &info) != WR_OK) {
        must(info.code != WR_OK && info.text[0] != 0);
        return;
    }
    must(h.kind >= WR_FRAME_RECORDS && h.kind <= WR_FRAME_CREDIT);
    if (h.kind == WR_FRAME_RECORDS) {
        uint64_t records = (uint64_t)h.n * h.stride;
        must(h.n > 0 && h.n <= WR_BATCH_RECORDS_MAX && h.stride > 0);
        must(h.n == 1 ? records + h.heap_bytes <= WR_RECORD_BYTES_MAX
                      : records <= WR_BATCH_BYTES && h.heap_bytes <= WR_BATCH_HEAP_BYTES);
        must(h.body_bytes == records + (h.timed ? 8u * h.n : 0) + h.heap_bytes);
    } else {
        must(h.body_bytes <= WR_BARRIER_BYTES && h.n <= WR_CREDITS_MAX);
    }
    wr_data_head_put(&h, again);
    must(memcmp(bytes, again, sizeof again) == 0);
}

static void barrier(const uint8_t *bytes)
{
    wr_barrier b;
    uint8_t    again[WR_BARRIER_BYTES];
    if (wr_data_barrier_get(&b, bytes, NULL) != WR_OK) return;
    must(b.id != 0 && (b.kind == WR_SNAPSHOT || b.kind == WR_SAVEPOINT));
    wr_data_barrier_put(&b, again);
    must(memcmp(bytes, again, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t own_bytes[WR_HELLO_BYTES] = {0};
    if (size == 0) return 0;
    memcpy(own_bytes, bytes + 1, size - 1 < sizeof own_bytes ? size - 1 : sizeof own_bytes);
    if (bytes[0] == 0)
        hello(own_bytes);
    else if (bytes[0] == 1)
        head(own_bytes);
    else
        barrier(own_bytes);
    return 0;
}
