/* net/address.h: "HOST:PORT" as people write it. Pure; any thread. */
#ifndef WR_NET_ADDRESS_H
#define WR_NET_ADDRESS_H
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

enum { WR_HOST_BYTES_MAX = 256 };

/* Parts of "HOST:PORT" or "[HOST]:PORT"; an empty host is every address of this machine. host has no brackets. */
wr_err wr_address_split(const char *address, char host[WR_HOST_BYTES_MAX], uint16_t *port, wr_errinfo *info);
/* Only this machine can reach it: 127.0.0.0/8, ::1, localhost. Other names count as reachable from elsewhere. */
bool wr_address_loopback(const char *address);

#endif
