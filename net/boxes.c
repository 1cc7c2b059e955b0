#include "net/boxes.h"
#include "base/check.h"
#include "base/limits.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put32(uint8_t to[4], uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get32(const uint8_t from[4])
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* ---- in ---- */

enum wr_inbox_result wr_inbox_feed(wr_inbox *in, uint32_t max, const char *from, size_t n, size_t *used, char **message,
                                   uint32_t *message_n)
{
    *used = 0;
    while (in->head_n < WR_BOX_HEAD_BYTES && *used < n) in->head[in->head_n++] = (uint8_t)from[(*used)++];
    if (in->head_n < WR_BOX_HEAD_BYTES) return WR_INBOX_MORE;
    if (in->bytes == NULL) {
        uint32_t length = get32(in->head);
        in->gift = (length & WR_BOX_GIFT) != 0;
        in->n = length & ~WR_BOX_GIFT;
        in->have = 0;
        if (in->n == 0 || in->n > max) return WR_INBOX_OVERSIZED;
        in->bytes = malloc(in->n);
        check(in->bytes != NULL);
    }
    size_t more = in->n - in->have;
    if (more > n - *used) more = n - *used;
    memcpy(in->bytes + in->have, from + *used, more);
    in->have += (uint32_t)more;
    *used += more;
    if (in->have < in->n) return WR_INBOX_MORE;
    *message = in->bytes;
    *message_n = in->n;
    in->bytes = NULL;
    in->head_n = 0;
    return in->gift ? WR_INBOX_GIFT : WR_INBOX_MESSAGE;
}

void wr_inbox_fini(wr_inbox *in)
{
    free(in->bytes);
    *in = (wr_inbox){0};
}

/* ---- out ---- */

/* Owner: its box. */
struct wr_outgoing {
    wr_outgoing *next;
    char        *bytes;
    size_t       n;
    int          gift;
    uint8_t      head[WR_BOX_HEAD_BYTES];
};

void wr_outbox_push(wr_outbox *out, char *bytes, size_t n, int gift)
{
    check(n > 0 && n <= WR_MESSAGE_BYTES_MAX);
    wr_outgoing *o = malloc(sizeof *o);
    check(o != NULL);
    *o = (wr_outgoing){.bytes = bytes, .n = n, .gift = gift};
    put32(o->head, (uint32_t)n | (gift >= 0 ? WR_BOX_GIFT : 0));
    if (out->last != NULL)
        out->last->next = o;
    else
        out->first = o;
    out->last = o;
    out->bytes += WR_BOX_HEAD_BYTES + n;
}

uint32_t wr_outbox_spans(const wr_outbox *out, wr_span *span, uint32_t room, int *gift)
{
    uint32_t count = 0;
    size_t   sent = out->sent;
    *gift = -1;
    for (wr_outgoing *o = out->first; o != NULL && count + 2 <= room; o = o->next) {
        if (o->gift >= 0 && count > 0) break; /* it goes by itself: the descriptor belongs to its first byte */
        if (o->gift >= 0 && sent == 0) *gift = o->gift;
        size_t skip = sent < WR_BOX_HEAD_BYTES ? 0 : sent - WR_BOX_HEAD_BYTES;
        if (sent < WR_BOX_HEAD_BYTES) span[count++] = (wr_span){o->head + sent, WR_BOX_HEAD_BYTES - sent};
        span[count++] = (wr_span){o->bytes + skip, o->n - skip};
        sent = 0;
        if (o->gift >= 0) break;
    }
    return count;
}

static void drop_first(wr_outbox *out)
{
    wr_outgoing *o = out->first;
    out->first = o->next;
    if (out->first == NULL) out->last = NULL;
    out->bytes -= WR_BOX_HEAD_BYTES + o->n;
    out->sent = 0;
    if (o->gift >= 0) close(o->gift);
    free(o->bytes);
    free(o);
}

void wr_outbox_sent(wr_outbox *out, size_t bytes)
{
    while (bytes > 0) {
        check(out->first != NULL);
        size_t left = WR_BOX_HEAD_BYTES + out->first->n - out->sent;
        if (bytes < left) {
            out->sent += bytes;
            return;
        }
        bytes -= left;
        drop_first(out);
    }
}

void wr_outbox_append(wr_outbox *out, wr_outbox *other)
{
    check(other->sent == 0);
    if (other->first == NULL) return;
    if (out->last != NULL)
        out->last->next = other->first;
    else
        out->first = other->first;
    out->last = other->last;
    out->bytes += other->bytes;
    *other = (wr_outbox){0};
}

void wr_outbox_fini(wr_outbox *out)
{
    while (out->first != NULL) drop_first(out);
}
