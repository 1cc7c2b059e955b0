/* net/greeting.h: how two sides of a control connection prove to each other that they know the cluster's token, which
 * is never sent, and find a version of the protocol that both speak. docs/protocol.md has the messages:
 *     listener: CHALLENGE (nonce)  ->  dialer: HELLO (nonce, proof)  ->  listener: WELCOME (proof)
 * Each proof covers both nonces, both version ranges, the dialer's role and the listener's leader epoch, and says whose
 * proof it is. Whoever gives up says REFUSED first. Pure. */
#ifndef WR_NET_GREETING_H
#define WR_NET_GREETING_H
#include "wire/control.h"

typedef struct wr_greeter { /* owner: its connection */
    const char *token;
    bool        listener;
    uint32_t    step;
    uint32_t    role;     /* the dialer's */
    uint32_t    protocol; /* once it is over: the one to speak */
    uint64_t    leader;   /* the listener's */
    wr_greeting here, there;
} wr_greeter;

enum wr_greet_result {
    WR_GREET_MORE, /* the other side's turn */
    WR_GREET_OVER, /* both have proved themselves */
    WR_GREET_GARBAGE,
    WR_GREET_WRONG_TOKEN,
    WR_GREET_WRONG_VERSION,
    WR_GREET_REFUSED /* the other side gave up; info says why */
};

/* random: WR_NONCE_BYTES fresh ones. role and leader: of the side that has them. */
void wr_greeter_init(wr_greeter *g, bool listener, const char *token, uint32_t role, uint64_t leader,
                     const uint8_t *random);
/* What the listener says first. */
void wr_greeter_begin(wr_greeter *g, char **bytes, size_t *n);
/* Takes a message. *reply (malloc'ed, NULL: none) goes to the other side in any case. Other results than the first two
 * end the connection, and info says why. */
enum wr_greet_result wr_greeter_take(wr_greeter *g, const char *bytes, size_t n, char **reply, size_t *reply_n,
                                     wr_errinfo *info);

#endif
