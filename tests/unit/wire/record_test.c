/* Records as bytes: there and back in another layout, golden bytes, what is refused. */
#include "wire/record.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct trade {
    bool       open;
    int8_t     side;
    uint16_t   venue;
    float      weight[3];
    weir_str   symbol;
    int64_t    price;
    weir_bytes raw;
    weir_time  at;
} trade;
#define FIELD(NAME, KIND)                                                                                              \
    {                                                                                                                  \
#NAME, offsetof(trade, NAME), sizeof(((trade *)0)->NAME), KIND, 0, NULL, 0, 0, 0,                              \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
static const weir_field trade_fields[] = {
    FIELD(open, WEIR_BOOL),  FIELD(side, WEIR_I8),   FIELD(venue, WEIR_U16), FIELD(weight, WEIR_ARRAY | WEIR_F32),
    FIELD(symbol, WEIR_STR), FIELD(price, WEIR_I64), FIELD(raw, WEIR_BYTES), FIELD(at, WEIR_TIME)};
static const weir_type trade_type = {sizeof(weir_type), 8, "trade", sizeof(trade), 8, trade_fields, NULL, 0};

static trade sample(void)
{
    trade t;
    memset(&t, 0xee, sizeof t); /* padding is not written */
    t.open = true;
    t.side = -1;
    t.venue = 515;
    t.weight[0] = 1;
    t.weight[1] = -2.5f;
    t.weight[2] = 0;
    t.symbol = weir_lit("ABCDEFGHIJKLMNOP");
    t.price = -2;
    t.raw.raw = weir_str_of("\0\1", 2);
    t.at.ns = INT64_C(0x0102030405060708);
    return t;
}

static void golden(void **state)
{
    (void)state;
    static const char bytes[] = "\x01\xff\x03\x02"
                                "\0\0\x80\x3f\0\0\x20\xc0\0\0\0\0"
                                "\x10\0\0\0ABCDEFGHIJKLMNOP"
                                "\xfe\xff\xff\xff\xff\xff\xff\xff"
                                "\x02\0\0\0\0\x01"
                                "\x08\x07\x06\x05\x04\x03\x02\x01";
    trade             t = sample(), back;
    size_t            n;
    char             *to = wr_record_encode(&trade_type, &t, &n);
    assert_int_equal(n, sizeof bytes - 1);
    assert_int_equal(n, wr_record_bytes(&trade_type, &t));
    assert_memory_equal(to, bytes, n);
    memset(&back, 0x77, sizeof back);
    assert_true(wr_record_decode(&trade_type, to, n, &back));
    assert_true(back.open && back.side == -1 && back.venue == 515 && back.price == -2 && back.at.ns == t.at.ns);
    assert_memory_equal(back.weight, t.weight, sizeof t.weight);
    assert_true(weir_str_equal(&back.symbol, &t.symbol));
    assert_true(back.symbol.u.far >= to && back.symbol.u.far < to + n);
    assert_true(weir_str_equal(&back.raw.raw, &t.raw.raw));
    free(to);
}

static void cut_anywhere(void **state)
{
    (void)state;
    trade  t = sample(), back;
    size_t n;
    char  *to = wr_record_encode(&trade_type, &t, &n);
    for (size_t i = 0; i < n; i++) {
        char *copy = malloc(i > 0 ? i : 1);
        memcpy(copy, to, i);
        assert_int_equal(wr_record_read(&trade_type, copy, i, &back), 0);
        assert_false(wr_record_decode(&trade_type, copy, i, &back));
        free(copy);
    }
    char *more = malloc(n + 1);
    memcpy(more, to, n);
    more[n] = 0;
    assert_int_equal(wr_record_read(&trade_type, more, n + 1, &back), n);
    assert_false(wr_record_decode(&trade_type, more, n + 1, &back));
    more[0] = 2; /* no bool */
    assert_int_equal(wr_record_read(&trade_type, more, n, &back), 0);
    free(more);
    free(to);
}

/* The same fields at other places: same bytes. */
static void other_layout(void **state)
{
    (void)state;
    weir_field fields[8];
    uint32_t   at = 0;
    memcpy(fields, trade_fields, sizeof fields);
    for (int i = 7; i >= 0; i--) {
        at = (at + 7) & ~7u;
        fields[i].offset = at;
        at += fields[i].size;
    }
    weir_type other = {sizeof(weir_type), 8, "other", (at + 7) & ~7u, 8, fields, NULL, 0};
    trade     t = sample();
    size_t    n, m;
    char     *to = wr_record_encode(&trade_type, &t, &n);
    char     *record = calloc(1, other.size);
    assert_true(wr_record_decode(&other, to, n, record));
    char *again = wr_record_encode(&other, record, &m);
    assert_int_equal(n, m);
    assert_memory_equal(to, again, n);
    free(again);
    free(record);
    free(to);
}

static void no_fields(void **state)
{
    (void)state;
    weir_type none = {sizeof(weir_type), 0, "none", 0, 1, NULL, NULL, 0};
    size_t    n;
    char      record[1] = {0};
    char     *to = wr_record_encode(&none, record, &n);
    assert_int_equal(n, 1);
    assert_true(wr_record_decode(&none, to, n, record));
    assert_false(wr_record_decode(&none, to, 0, record));
    to[0] = 1;
    assert_false(wr_record_decode(&none, to, n, record));
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(cut_anywhere),
                                       cmocka_unit_test(other_layout), cmocka_unit_test(no_fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
