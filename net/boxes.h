/* net/boxes.h: messages on their way through a stream: four bytes of length (little endian), then the message. The
 * in-box puts pieces together, the out-box takes messages apart. The topmost bit of the length says that a descriptor
 * comes with it (socket pairs only). Pure but for memory. Owner: whose connection it is. */
#ifndef WR_NET_BOXES_H
#define WR_NET_BOXES_H
#include "base/env.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WR_BOX_HEAD_BYTES = 4 };
#define WR_BOX_GIFT 0x80000000u

typedef struct wr_inbox {
    uint8_t  head[WR_BOX_HEAD_BYTES];
    uint32_t head_n;
    char    *bytes; /* of the message that has begun */
    uint32_t n, have;
    bool     gift;
} wr_inbox;

enum wr_inbox_result {
    WR_INBOX_MORE,     /* all bytes were used */
    WR_INBOX_MESSAGE,  /* *message, *message_n are the caller's; call again with what is left */
    WR_INBOX_GIFT,     /* the same, and its descriptor came along */
    WR_INBOX_OVERSIZED /* longer than max, or empty: nothing that follows has a meaning */
};
/* Takes from `from`; *used: how many bytes of it. Memory for a message is taken when its head is known. */
enum wr_inbox_result wr_inbox_feed(wr_inbox *in, uint32_t max, const char *from, size_t n, size_t *used, char **message,
                                   uint32_t *message_n);
static inline bool   wr_inbox_amid(const wr_inbox *in) /* a message has begun */
{
    return in->head_n > 0;
}
void wr_inbox_fini(wr_inbox *in);

typedef struct wr_outgoing wr_outgoing;
typedef struct wr_outbox {
    wr_outgoing *first, *last;
    size_t       sent;  /* of the first one, head included */
    uint64_t     bytes; /* of all, heads included, what was sent of the first one too */
} wr_outbox;

/* Takes bytes (malloc'ed). gift: a descriptor, closed when it was sent; -1: none. */
void wr_outbox_push(wr_outbox *out, char *bytes, size_t n, int gift);
/* What to send next. *gift: it must go along with the first byte; -1: none. */
uint32_t wr_outbox_spans(const wr_outbox *out, wr_span *span, uint32_t room, int *gift);
void     wr_outbox_sent(wr_outbox *out, size_t bytes);
void     wr_outbox_append(wr_outbox *out, wr_outbox *other); /* all of other, of which nothing was sent */
void     wr_outbox_fini(wr_outbox *out);

#endif
