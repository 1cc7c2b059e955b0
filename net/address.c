#include "net/address.h"
#include "base/text.h"
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

wr_err wr_address_split(const char *address, char host[WR_HOST_BYTES_MAX], uint16_t *port, wr_errinfo *info)
{
    const char *colon = strrchr(address, ':'), *from = address;
    uint64_t    number;
    size_t      n = colon != NULL ? (size_t)(colon - address) : 0;
    bool        fine = colon != NULL && wr_text_to_u64(colon + 1, strlen(colon + 1), &number) && number <= UINT16_MAX;
    if (n >= 2 && from[0] == '[' && from[n - 1] == ']') {
        from++;
        n -= 2;
    } else if (memchr(from, ':', n) != NULL) {
        fine = false; /* the last part of a bare IPv6 address is not meant as a port */
    }
    for (size_t i = 0; i < n && fine; i++) fine = from[i] > ' ' && from[i] < 0x7f && strchr("/@?#[]", from[i]) == NULL;
    if (!fine || n >= WR_HOST_BYTES_MAX)
        return wr_fail(info, WR_CONFIG, "\"%s\" is no address; it must be HOST:PORT, [IPv6]:PORT for an IPv6 address",
                       address);
    memcpy(host, from, n);
    host[n] = 0;
    *port = (uint16_t)number;
    return WR_OK;
}

bool wr_address_loopback(const char *address)
{
    char            host[WR_HOST_BYTES_MAX];
    uint16_t        port;
    struct in_addr  four;
    struct in6_addr six;
    if (wr_address_split(address, host, &port, NULL) != WR_OK) return false;
    if (inet_pton(AF_INET, host, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &six) == 1) return IN6_IS_ADDR_LOOPBACK(&six);
    return strcasecmp(host, "localhost") == 0;
}
