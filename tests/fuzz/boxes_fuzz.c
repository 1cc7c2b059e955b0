/* A stream of control messages cut anywhere: the same messages as in one piece, and a plain loop finds them, too. What
 * an out-box gives, in pieces of any size, an in-box puts together again. */
#include "net/boxes.h"
#include "tests/fuzz/fuzz.h"

enum { MAX = 300, MESSAGES = 64 };

/* What was found: kinds and lengths, and the bytes of all messages behind each other. */
typedef struct found {
    uint32_t kind[MESSAGES], n[MESSAGES], count;
    size_t   bytes_n;
    uint8_t  bytes[1 << 16];
} found;

static void keep(found *f, uint32_t kind, const void *bytes, uint32_t n)
{
    if (f->count == MESSAGES || f->bytes_n + n > sizeof f->bytes) return;
    f->kind[f->count] = kind;
    f->n[f->count++] = n;
    memcpy(f->bytes + f->bytes_n, bytes, n);
    f->bytes_n += n;
}

static void plain(found *f, const uint8_t *at, size_t n)
{
    while (n >= 4) {
        uint32_t head = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        uint32_t length = head & 0x7fffffff;
        if (length == 0 || length > MAX) {
            keep(f, WR_INBOX_OVERSIZED, "", 0);
            return;
        }
        if (n - 4 < length) return;
        keep(f, head >> 31 ? WR_INBOX_GIFT : WR_INBOX_MESSAGE, at + 4, length);
        at += 4 + length;
        n -= 4 + length;
    }
}

static void in_pieces(found *f, const uint8_t *bytes, size_t n, input *cuts)
{
    wr_inbox in = {0};
    bool     over = false;
    for (size_t at = 0; at < n && !over;) {
        size_t piece = 1 + take_u8(cuts) % 40;
        if (piece > n - at) piece = n - at;
        char *copy = own(bytes + at, piece);
        for (size_t done = 0; done < piece && !over;) {
            size_t               used;
            char                *message;
            uint32_t             message_n;
            enum wr_inbox_result r = wr_inbox_feed(&in, MAX, copy + done, piece - done, &used, &message, &message_n);
            must(used <= piece - done);
            must(r != WR_INBOX_MORE || used == piece - done);
            done += used;
            over = r == WR_INBOX_OVERSIZED;
            if (over) keep(f, r, "", 0);
            if (r != WR_INBOX_MESSAGE && r != WR_INBOX_GIFT) continue;
            keep(f, r, message, message_n);
            must(!wr_inbox_amid(&in));
            free(message);
        }
        free(copy);
        at += piece;
    }
    wr_inbox_fini(&in);
}

/* The messages of `f` through an out-box, whatever the other side takes at once. */
static void round_trip(const found *f, input *cuts)
{
    wr_outbox out = {0};
    wr_inbox  in = {0};
    size_t    at = 0, compared = 0;
    uint32_t  next = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        if (f->n[i] > 0) wr_outbox_push(&out, own(f->bytes + at, f->n[i]), f->n[i], -1);
        at += f->n[i];
    }
    while (out.first != NULL) {
        wr_span  span[6];
        int      gift;
        uint32_t n = wr_outbox_spans(&out, span, 2 + take_u8(cuts) % 5, &gift);
        must(n > 0 && gift == -1);
        size_t room = 1 + take_u8(cuts), sent = 0;
        for (uint32_t i = 0; i < n && room > 0; i++) {
            size_t piece = span[i].bytes < room ? span[i].bytes : room, done = 0;
            while (done < piece) {
                size_t   used;
                char    *message;
                uint32_t message_n;
                if (wr_inbox_feed(&in, MAX, (char *)span[i].at + done, piece - done, &used, &message, &message_n) ==
                    WR_INBOX_MESSAGE) {
                    while (f->n[next] == 0) next++;
                    must(message_n == f->n[next++] && memcmp(message, f->bytes + compared, message_n) == 0);
                    compared += message_n;
                    free(message);
                }
                done += used;
            }
            sent += piece;
            room -= piece;
            if (piece < span[i].bytes) break;
        }
        wr_outbox_sent(&out, sent);
    }
    must(compared == f->bytes_n && out.bytes == 0);
    wr_inbox_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static found one, other;
    size_t       half = size / 4; /* the first quarter says where the rest is cut */
    input        cuts = {bytes, bytes + half};
    one = other = (found){0};
    plain(&one, bytes + half, size - half);
    in_pieces(&other, bytes + half, size - half, &cuts);
    must(one.count == other.count && one.bytes_n == other.bytes_n);
    must(memcmp(one.kind, other.kind, one.count * sizeof one.kind[0]) == 0);
    must(memcmp(one.n, other.n, one.count * sizeof one.n[0]) == 0);
    must(memcmp(one.bytes, other.bytes, one.bytes_n) == 0);
    round_trip(&one, &cuts);
    return 0;
}
