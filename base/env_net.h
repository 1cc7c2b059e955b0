/* base/env_net.h: sockets of the operating system: the network functions of wr_env_real(). Streams over TCP, never
 * blocking but for the lookup of a host's name, without delay of small pieces. Pollers are epoll sets. */
#ifndef WR_BASE_ENV_NET_H
#define WR_BASE_ENV_NET_H
#include "base/env.h"

/* As the members of wr_env say. self is not looked at. */
int      wr_net_real_listen(void *self, const char *address);
int      wr_net_real_port_of(void *self, int socket);
int      wr_net_real_accept(void *self, int listener);
int      wr_net_real_connect(void *self, const char *address);
int      wr_net_real_connected(void *self, int socket);
int64_t  wr_net_real_send(void *self, int socket, const wr_span *from, uint32_t n);
int64_t  wr_net_real_receive(void *self, int socket, const wr_span *to, uint32_t n);
int      wr_net_real_half_close(void *self, int socket);
int64_t  wr_net_real_unheard_ms(void *self, int socket);
void     wr_net_real_hang_up(void *self, int socket);
int      wr_net_real_poll_new(void *self);
void     wr_net_real_poll_free(void *self, int poller);
int      wr_net_real_watch(void *self, int poller, int socket, uint32_t what);
uint32_t wr_net_real_ready(void *self, int poller, int *socket, uint32_t n);

#endif
