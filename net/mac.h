/* net/mac.h: proofs and digests, by mbedTLS, which nng brings along. Any thread. */
#ifndef WR_NET_MAC_H
#define WR_NET_MAC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* HMAC-SHA-256, and a comparison that takes as long wherever they differ. */
void wr_mac(const uint8_t *key, size_t key_bytes, const void *bytes, size_t n, uint8_t mac[32]);
bool wr_mac_equal(const uint8_t a[32], const uint8_t b[32]);
/* SHA-256, in pieces: names of blobs. */
typedef struct wr_sha256 wr_sha256;
wr_sha256               *wr_sha256_new(void);
void                     wr_sha256_add(wr_sha256 *s, const void *bytes, size_t n);
void                     wr_sha256_end(wr_sha256 *s, uint8_t digest[32]); /* frees it */

#endif
