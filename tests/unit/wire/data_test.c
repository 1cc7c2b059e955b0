/* Hellos and heads of frames: golden bytes, there and back, and what no frame may claim. */
#include "base/limits.h"
#include "wire/data.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire/manifest_sample.h"
#include <cmocka.h>

static const wr_data_hello hello = {
    .job = UINT64_C(0xfedcba9876543210), .attempt = 3, .from_slot = 1, .to_slot = 4, .mac = {1, 2, 3, [31] = 0xff}};
static const wr_barrier barrier = {.id = 9, .base = 7, .kind = WR_SAVEPOINT, .epoch = 4};

/* One of each kind, then records without times. */
static wr_data_head sample(uint32_t kind)
{
    wr_data_head h = {.kind = (uint8_t)(kind > WR_FRAME_CREDIT ? WR_FRAME_RECORDS : kind),
                      .attempt = 3,
                      .channel = 17,
                      .seq = 5,
                      .at = kind == WR_FRAME_CREDIT ? 2 : -1,
                      .job = hello.job,
                      .sum = UINT64_C(0x0123456789abcdef)};
    if (h.kind == WR_FRAME_RECORDS) {
        h.timed = kind == WR_FRAME_RECORDS;
        h.n = 100;
        h.stride = 32;
        h.heap_bytes = 77;
        h.body_bytes = 100 * 32 + (h.timed ? 100 * 8 : 0) + 77;
    }
    if (kind == WR_FRAME_CREDIT) h.n = 3;
    if (kind == WR_FRAME_BARRIER) h.body_bytes = WR_BARRIER_BYTES;
    return h;
}
enum { HEADS = WR_FRAME_CREDIT + 1 };

static void golden(void **state)
{
    (void)state;
    uint8_t bytes[WR_HELLO_BYTES + HEADS * WR_DATA_HEAD_BYTES + WR_BARRIER_BYTES], *at = bytes + WR_HELLO_BYTES;
    wr_data_hello_put(&hello, bytes);
    for (uint32_t kind = 1; kind <= HEADS; kind++, at += WR_DATA_HEAD_BYTES) {
        wr_data_head h = sample(kind);
        wr_data_head_put(&h, at);
    }
    wr_data_barrier_put(&barrier, at);
    assert_true(sample_is_golden("tests/golden/data1", (const char *)bytes, sizeof bytes));
}

static void there_and_back(void **state)
{
    (void)state;
    uint8_t       bytes[WR_HELLO_BYTES], head[WR_DATA_HEAD_BYTES], again[WR_DATA_HEAD_BYTES], body[WR_BARRIER_BYTES];
    wr_data_hello h;
    wr_data_head  f;
    wr_barrier    b;
    wr_errinfo    info = {0};
    wr_data_hello_put(&hello, bytes);
    assert_int_equal(wr_data_hello_get(&h, bytes, &info), WR_OK);
    assert_true(h.job == hello.job && h.attempt == hello.attempt && h.from_slot == hello.from_slot);
    assert_true(h.to_slot == hello.to_slot);
    assert_memory_equal(h.mac, hello.mac, sizeof h.mac);
    for (uint32_t kind = 1; kind <= HEADS; kind++) {
        wr_data_head want = sample(kind);
        wr_data_head_put(&want, head);
        assert_int_equal(wr_data_head_get(&f, head, &info), WR_OK);
        assert_true(f.kind == want.kind && f.timed == want.timed && f.attempt == 3 && f.channel == 17 && f.seq == 5);
        assert_true(f.n == want.n && f.stride == want.stride && f.heap_bytes == want.heap_bytes);
        assert_true(f.body_bytes == want.body_bytes && f.at == want.at && f.job == want.job && f.sum == want.sum);
        wr_data_head_put(&f, again);
        assert_memory_equal(head, again, sizeof head);
    }
    wr_data_barrier_put(&barrier, body);
    assert_int_equal(wr_data_barrier_get(&b, body, &info), WR_OK);
    assert_true(b.id == 9 && b.base == 7 && b.kind == WR_SAVEPOINT && b.epoch == 4);
}

static void assert_no_frame(const wr_data_head *h)
{
    uint8_t      bytes[WR_DATA_HEAD_BYTES];
    wr_data_head back;
    wr_errinfo   info = {0};
    wr_data_head_put(h, bytes);
    assert_int_not_equal(wr_data_head_get(&back, bytes, &info), WR_OK);
    assert_true(info.code != WR_OK && info.text[0] != 0);
}

static void what_is_no_frame(void **state)
{
    (void)state;
    wr_data_head h = sample(WR_FRAME_RECORDS);
    h.kind = 0;
    assert_no_frame(&h);
    h.kind = WR_FRAME_CREDIT + 1;
    assert_no_frame(&h);
    h = sample(WR_FRAME_RECORDS);
    h.body_bytes++;
    assert_no_frame(&h);
    h = sample(WR_FRAME_RECORDS);
    h.timed = false;
    assert_no_frame(&h);
    h = sample(WR_FRAME_RECORDS);
    h.n = 0;
    h.body_bytes = h.heap_bytes;
    assert_no_frame(&h);
    /* Products and sums that wrap around, each with the body that they wrap to. */
    h = sample(WR_FRAME_RECORDS);
    h.timed = false;
    h.stride = UINT32_MAX;
    h.body_bytes = (uint32_t)(h.n * h.stride + h.heap_bytes);
    assert_no_frame(&h);
    h = (wr_data_head){.kind = WR_FRAME_RECORDS, .n = 1, .stride = UINT32_MAX, .heap_bytes = 1, .body_bytes = 0};
    assert_no_frame(&h);
    h = (wr_data_head){.kind = WR_FRAME_RECORDS, .n = 1, .stride = 16, .heap_bytes = WR_RECORD_BYTES_MAX};
    h.body_bytes = 16 + h.heap_bytes;
    assert_no_frame(&h);
    h = (wr_data_head){.kind = WR_FRAME_RECORDS, .n = WR_BATCH_RECORDS_MAX + 1, .stride = 1};
    h.body_bytes = h.n;
    assert_no_frame(&h);
    h = (wr_data_head){.kind = WR_FRAME_RECORDS, .n = 2, .stride = 16, .heap_bytes = WR_BATCH_HEAP_BYTES + 1};
    h.body_bytes = 32 + h.heap_bytes;
    assert_no_frame(&h);
    for (uint32_t kind = WR_FRAME_WATERMARK; kind <= WR_FRAME_CREDIT; kind++) {
        h = sample(kind);
        h.body_bytes += 1;
        assert_no_frame(&h);
        h = sample(kind);
        h.stride = 8;
        assert_no_frame(&h);
        h = sample(kind);
        h.n = WR_CREDITS_MAX + 1;
        assert_no_frame(&h);
    }
    h = sample(WR_FRAME_CREDIT);
    h.n = 0;
    assert_no_frame(&h);
}

/* The largest that there can be: what the sender makes, the receiver takes. */
static void the_largest_frames(void **state)
{
    (void)state;
    const wr_data_head heads[] = {
        {.kind = WR_FRAME_RECORDS,
         .n = 1,
         .stride = 64,
         .heap_bytes = WR_RECORD_BYTES_MAX - 64,
         .body_bytes = WR_RECORD_BYTES_MAX},
        {.kind = WR_FRAME_RECORDS,
         .timed = true,
         .n = WR_BATCH_RECORDS_MAX,
         .stride = 8,
         .heap_bytes = WR_BATCH_HEAP_BYTES,
         .body_bytes = WR_BATCH_RECORDS_MAX * 16 + WR_BATCH_HEAP_BYTES},
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        uint8_t      bytes[WR_DATA_HEAD_BYTES];
        wr_data_head back;
        wr_errinfo   info = {0};
        wr_data_head_put(&heads[i], bytes);
        if (wr_data_head_get(&back, bytes, &info) != WR_OK) fail_msg("%s", info.text);
    }
}

static void what_is_no_hello(void **state)
{
    (void)state;
    uint8_t       bytes[WR_HELLO_BYTES];
    wr_data_hello h = hello, back;
    wr_errinfo    info = {0};
    h.to_slot = h.from_slot;
    wr_data_hello_put(&h, bytes);
    assert_int_not_equal(wr_data_hello_get(&back, bytes, &info), WR_OK);
    wr_data_hello_put(&hello, bytes);
    bytes[8]++; /* version */
    wr_errinfo_init(&info);
    assert_int_equal(wr_data_hello_get(&back, bytes, &info), WR_NEWER);
    for (size_t i = 0; i < 8; i++) {
        wr_data_hello_put(&hello, bytes);
        bytes[i] ^= 1;
        assert_int_not_equal(wr_data_hello_get(&back, bytes, NULL), WR_OK);
    }
    uint8_t    body[WR_BARRIER_BYTES];
    wr_barrier b = {.id = 0, .kind = WR_SNAPSHOT}, none;
    wr_data_barrier_put(&b, body);
    assert_int_not_equal(wr_data_barrier_get(&none, body, NULL), WR_OK);
    b = (wr_barrier){.id = 1, .kind = 3};
    wr_data_barrier_put(&b, body);
    assert_int_not_equal(wr_data_barrier_get(&none, body, NULL), WR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),           cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_no_frame), cmocka_unit_test(the_largest_frames),
        cmocka_unit_test(what_is_no_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
