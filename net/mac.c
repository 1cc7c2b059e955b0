#include "net/mac.h"
#include "base/check.h"
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <stdlib.h>

/* Failures of these are only those of a caller that gives nonsense, or of a hardware that there is none of. */

void wr_mac(const uint8_t *key, size_t key_bytes, const void *bytes, size_t n, uint8_t mac[32])
{
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    check(sha256 != NULL);
    check(mbedtls_md_hmac(sha256, key, key_bytes, bytes, n, mac) == 0);
}

bool wr_mac_equal(const uint8_t a[32], const uint8_t b[32])
{
    const volatile uint8_t *x = a, *y = b; /* volatile: no compiler makes an early end of it */
    uint8_t                 difference = 0;
    for (int i = 0; i < 32; i++) difference |= x[i] ^ y[i];
    return difference == 0;
}

/* Owner: who made it. */
struct wr_sha256 {
    mbedtls_sha256_context context;
};

wr_sha256 *wr_sha256_new(void)
{
    wr_sha256 *s = malloc(sizeof *s);
    check(s != NULL);
    mbedtls_sha256_init(&s->context);
    check(mbedtls_sha256_starts_ret(&s->context, 0) == 0);
    return s;
}

void wr_sha256_add(wr_sha256 *s, const void *bytes, size_t n)
{
    check(mbedtls_sha256_update_ret(&s->context, bytes, n) == 0);
}

void wr_sha256_end(wr_sha256 *s, uint8_t digest[32])
{
    check(mbedtls_sha256_finish_ret(&s->context, digest) == 0);
    mbedtls_sha256_free(&s->context);
    free(s);
}
