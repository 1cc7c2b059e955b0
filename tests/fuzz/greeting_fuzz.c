/* A greeting of control connections with somebody between who changes bytes, or with somebody who has no token at all.
 * Whoever believes the other side has the same token as it, and heard what it said. */
#include "net/greeting.h"
#include "tests/fuzz/fuzz.h"

static void plain_text(const wr_errinfo *info)
{
    must(info->code != WR_OK && info->text[0] != 0);
    for (const char *c = info->text; *c != 0; c++) must((unsigned char)*c >= ' ' && *c != 0x7f);
}

/* Changes some bytes, or cuts the end off, or puts other bytes in its place. */
static void meddle(char **bytes, size_t *n, input *in)
{
    uint8_t what = take_u8(in);
    if (what % 4 == 0) return;
    if (what % 4 == 3) {
        size_t mine = rest(in) < 400 ? rest(in) : 400;
        free(*bytes);
        *bytes = own(in->at, mine);
        in->at += mine;
        *n = mine;
        return;
    }
    for (uint8_t i = 0; i < what / 4 % 4 && *n > 0; i++) (*bytes)[take_u16(in) % *n] = (char)take_u8(in);
    if (what % 4 == 2) *n = *n * take_u8(in) / 256;
}

static enum wr_greet_result give(wr_greeter *g, char *bytes, size_t n, char **reply, size_t *reply_n)
{
    wr_errinfo           info = {0};
    char                *copy = own(bytes, n);
    enum wr_greet_result r = wr_greeter_take(g, copy, n, reply, reply_n, &info);
    free(copy);
    free(bytes);
    if (r == WR_GREET_MORE || r == WR_GREET_OVER)
        must(info.code == WR_OK);
    else
        plain_text(&info);
    must(r != WR_GREET_MORE || *reply != NULL);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const TOKENS[] = {"0123456789abcdef", "0123456789abcdeF"};
    input                    in = {bytes, bytes + size};
    wr_greeter               l, d;
    uint8_t                  random[2][WR_NONCE_BYTES];
    uint8_t                  flags = take_u8(&in);
    for (int i = 0; i < WR_NONCE_BYTES; i++) {
        random[0][i] = (uint8_t)(flags + i);
        random[1][i] = (uint8_t)(flags * 3 + i * 7);
    }
    const char *of_l = TOKENS[0], *of_d = TOKENS[flags & 1];
    wr_greeter_init(&l, true, of_l, 0, flags >> 4, random[0]);
    wr_greeter_init(&d, false, of_d, WR_ROLE_CLIENT + (flags >> 1 & 1), 0, random[1]);
    enum wr_greet_result at_l = WR_GREET_MORE, at_d = WR_GREET_MORE;
    char                *message;
    size_t               n;
    wr_greeter_begin(&l, &message, &n);
    must(n <= WR_GREETING_BYTES_MAX);
    bool to_dialer = true;
    for (uint32_t turns = 0; message != NULL && turns < 8; turns++) {
        char  *reply;
        size_t reply_n;
        meddle(&message, &n, &in);
        enum wr_greet_result *at = to_dialer ? &at_d : &at_l;
        if (*at != WR_GREET_MORE) {
            free(message);
            message = NULL;
            break;
        }
        *at = give(to_dialer ? &d : &l, message, n, &reply, &reply_n);
        must(reply_n <= WR_GREETING_BYTES_MAX);
        message = reply;
        n = reply_n;
        to_dialer = !to_dialer;
    }
    free(message);
    if (at_l == WR_GREET_OVER || at_d == WR_GREET_OVER) {
        must(strcmp(of_l, of_d) == 0);
        must(at_l == WR_GREET_OVER); /* the dialer believes only what the listener said when it believed */
        must(l.role == d.here.role && memcmp(l.there.nonce, random[1], WR_NONCE_BYTES) == 0);
        must(d.leader == l.leader && memcmp(d.there.nonce, random[0], WR_NONCE_BYTES) == 0);
        must(l.protocol == WR_PROTOCOL && d.protocol == WR_PROTOCOL);
    }
    return 0;
}
