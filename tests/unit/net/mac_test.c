/* HMAC-SHA-256 and SHA-256 against published values (RFC 4231, FIPS 180). */
#include "net/mac.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *hex(const uint8_t bytes[32])
{
    static char text[65];
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

static void proofs(void **state)
{
    (void)state;
    uint8_t mac[32], key[131];
    memset(key, 0x0b, 20);
    wr_mac(key, 20, "Hi There", 8, mac);
    assert_string_equal(hex(mac), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    wr_mac((const uint8_t *)"Jefe", 4, "what do ya want for nothing?", 28, mac);
    assert_string_equal(hex(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, 131); /* longer than a block */
    wr_mac(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54, mac);
    assert_string_equal(hex(mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void equality(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    for (int i = 0; i < 32; i++) a[i] = b[i] = (uint8_t)(i * 7);
    assert_true(wr_mac_equal(a, b));
    for (int bit = 0; bit < 256; bit++) {
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(wr_mac_equal(a, b));
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void digests(void **state)
{
    (void)state;
    uint8_t    digest[32];
    wr_sha256 *s = wr_sha256_new();
    wr_sha256_end(s, digest);
    assert_string_equal(hex(digest), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    s = wr_sha256_new();
    const char *text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (size_t i = 0; i < 56; i += 7) wr_sha256_add(s, text + i, 7);
    wr_sha256_end(s, digest);
    assert_string_equal(hex(digest), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(proofs), cmocka_unit_test(equality), cmocka_unit_test(digests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
