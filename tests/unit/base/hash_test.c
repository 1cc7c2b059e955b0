/* The hash of keys: golden values, agreement of its forms, spread of its bits. */
#include "base/hash.h"
#include "base/prng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static size_t bytes_of_hex(const char *hex, unsigned char *bytes)
{
    size_t count = 0;
    for (; hex[0] != 0 && hex[0] != '-'; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        bytes[count++] = (unsigned char)byte;
    }
    return count;
}

static void golden_values(void **state)
{
    (void)state;
    FILE *file = fopen("tests/golden/hash.txt", "r");
    assert_non_null(file);
    static char          line[4096], a[2048], b[64], c[64];
    static unsigned char bytes[1024];
    int                  rows[3] = {0};
    while (fgets(line, sizeof line, file) != NULL) {
        char kind[16];
        if (line[0] == '#') continue;
        int      parts = sscanf(line, "%15s %2047s %63s %63s", kind, a, b, c);
        uint64_t x = strtoull(a, NULL, 16), y = strtoull(b, NULL, 16);
        if (strcmp(kind, "u64") == 0 && parts == 3) {
            assert_true(wr_fmix64(x) == y);
            assert_true(wr_unfmix64(y) == x);
            rows[0]++;
        } else if (strcmp(kind, "bytes") == 0 && parts == 3) {
            size_t count = bytes_of_hex(a, bytes);
            assert_true(wr_hash_bytes(bytes, count) == y);
            weir_str str = weir_str_of((const char *)bytes, count);
            assert_true(wr_hash_str(&str) == y);
            rows[1]++;
        } else {
            assert_string_equal(kind, "fold");
            assert_int_equal(parts, 4);
            assert_true(wr_hash_fold(x, y) == strtoull(c, NULL, 16));
            rows[2]++;
        }
    }
    fclose(file);
    assert_true(rows[0] >= 14 && rows[1] >= 35 && rows[2] >= 9);
}

static void inverse(void **state)
{
    (void)state;
    wr_prng prng = wr_prng_of(1);
    for (int i = 0; i < 100000; i++) {
        uint64_t x = wr_prng_next(&prng);
        assert_true(wr_unfmix64(wr_fmix64(x)) == x);
    }
}

/* Strings hash by content, wherever they lie. */
static void every_length(void **state)
{
    (void)state;
    unsigned char bytes[300], moved[310];
    wr_prng       prng = wr_prng_of(2);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)wr_prng_next(&prng);
    for (size_t count = 0; count <= sizeof bytes; count++) {
        size_t shift = count % 9;
        memset(moved, 0xee, sizeof moved);
        memcpy(moved + shift, bytes, count);
        weir_str str = weir_str_of((const char *)moved + shift, count);
        assert_true(wr_hash_str(&str) == wr_hash_bytes(bytes, count));
    }
}

/* Every input bit turns about half of all output bits: the mean over many keys lies within 3 % of a half for each
 * pair. */
static void avalanche_of(size_t count, uint64_t (*hash)(const void *bytes, size_t count))
{
    enum { ROUNDS = 4000 };
    unsigned char key[200];
    wr_prng       prng = wr_prng_of(count);
    static int    turned[64];
    for (size_t bit = 0; bit<count * 8; bit += count> 24 ? 7 : 1) {
        memset(turned, 0, sizeof turned);
        for (int round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < count; i++) key[i] = (unsigned char)wr_prng_next(&prng);
            uint64_t before = hash(key, count);
            key[bit / 8] ^= (unsigned char)(1u << bit % 8);
            uint64_t change = before ^ hash(key, count);
            for (int out = 0; out < 64; out++) turned[out] += change >> out & 1;
        }
        for (int out = 0; out < 64; out++)
            if (abs(turned[out] - ROUNDS / 2) > ROUNDS / 2 * 12 / 100)
                fail_msg("%zu bytes, input bit %zu, output bit %d: %d of %d", count, bit, out, turned[out], ROUNDS);
    }
}

static uint64_t fold_16(const void *bytes, size_t count)
{
    (void)count;
    return wr_hash_fold(wr_fmix64(wr_load_u64_le(bytes)), wr_fmix64(wr_load_u64_le((const char *)bytes + 8)));
}

static void avalanche(void **state)
{
    (void)state;
    static const size_t COUNTS[] = {4, 8, 12, 13, 16, 24, 64, 130};
    for (size_t i = 0; i < sizeof COUNTS / sizeof COUNTS[0]; i++) avalanche_of(COUNTS[i], wr_hash_bytes);
    avalanche_of(16, fold_16);
}

/* Keys that people really have: small differences, few characters. Buckets by low bits and by high bits fill evenly. */
static void spread_of(uint64_t (*hash)(uint32_t i))
{
    enum { BUCKETS = 1024, KEYS = BUCKETS * 64 };
    static uint32_t low[BUCKETS], high[BUCKETS];
    memset(low, 0, sizeof low);
    memset(high, 0, sizeof high);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint64_t h = hash(i);
        low[h % BUCKETS]++;
        high[h >> 54]++;
    }
    double chi_low = 0, chi_high = 0;
    for (int i = 0; i < BUCKETS; i++) {
        chi_low += (low[i] - 64.0) * (low[i] - 64.0) / 64;
        chi_high += (high[i] - 64.0) * (high[i] - 64.0) / 64;
    }
    /* Chi squared with 1,023 degrees of freedom: 45 is its deviation; six of them are no accident. */
    assert_true(chi_low < 1023 + 6 * 45 && chi_low > 1023 - 6 * 45);
    assert_true(chi_high < 1023 + 6 * 45 && chi_high > 1023 - 6 * 45);
}

static uint64_t of_number(uint32_t i)
{
    char text[16];
    return wr_hash_bytes(text, (size_t)snprintf(text, sizeof text, "%u", i));
}

static uint64_t of_user(uint32_t i)
{
    char text[64];
    return wr_hash_bytes(text, (size_t)snprintf(text, sizeof text, "user-%08u@example.org", i));
}

static uint64_t of_pair(uint32_t i)
{
    return wr_hash_fold(wr_fmix64(i / 256), wr_fmix64(i % 256));
}

static uint64_t of_twelve(uint32_t i)
{
    char text[12] = {0};
    memcpy(text + i % 9, &i, 4);
    text[11] = (char)(i % 9);
    return wr_hash_bytes(text, sizeof text);
}

static void spread(void **state)
{
    (void)state;
    spread_of(of_number);
    spread_of(of_user);
    spread_of(of_pair);
    spread_of(of_twelve);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A tail that makes one factor zero does not make keys equal. */
static void zero_factor(void **state)
{
    (void)state;
    enum { KEYS = 10000 };
    static uint64_t hashes[KEYS];
    for (uint32_t i = 0; i < KEYS; i++) {
        unsigned char text[12];
        uint64_t      tail = WR_HASH_B;
        memcpy(text, &i, 4);
        memcpy(text + 4, &tail, 8);
        hashes[i] = wr_hash_bytes(text, 12);
    }
    qsort(hashes, KEYS, sizeof hashes[0], by_value);
    for (int i = 1; i < KEYS; i++) assert_true(hashes[i] != hashes[i - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_values), cmocka_unit_test(inverse), cmocka_unit_test(every_length),
        cmocka_unit_test(avalanche),     cmocka_unit_test(spread),  cmocka_unit_test(zero_factor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
