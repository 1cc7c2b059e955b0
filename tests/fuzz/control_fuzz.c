/* What comes on a job's control socket, and what comes back: any bytes are either read whole or refused in words; what
 * is read can be said again, and means the same. The first byte chooses the side. */
#include "cli/control_wire.h"
#include "tests/fuzz/fuzz.h"

static void request(const char *bytes, size_t n)
{
    wr_control_request r, again;
    wr_errinfo         info = {0};
    wr_pack            pack;
    if (wr_control_read_request(&r, bytes, n, &info) != WR_OK) {
        must(info.code == WR_USAGE && info.text[0] != 0);
        return;
    }
    must(r.verb > 0 && r.verb < WR_CONTROL_VERBS && strnlen(r.path, sizeof r.path) < sizeof r.path);
    must(r.path[0] == 0 || r.path[0] == '/');
    wr_control_pack_request(&pack, &r);
    uint32_t length = wr_control_length(pack.data, WR_CONTROL_REQUEST_MAX);
    must(length + WR_CONTROL_HEAD_BYTES == pack.bytes);
    must(wr_control_read_request(&again, pack.data + WR_CONTROL_HEAD_BYTES, length, &info) == WR_OK);
    must(again.verb == r.verb && again.json == r.json && again.drain == r.drain && strcmp(again.path, r.path) == 0);
    wr_pack_free(&pack);
}

static void reply(const char *bytes, size_t n)
{
    wr_control_reply r, again;
    wr_errinfo       info = {0};
    wr_pack          pack;
    if (wr_control_read_reply(&r, bytes, n, &info) != WR_OK) {
        must(info.code == WR_USAGE && info.text[0] != 0);
        return;
    }
    must(r.text_bytes <= WR_ERROR_BYTES_MAX && r.job_bytes <= WR_NAME_BYTES_MAX && r.out_bytes <= n);
    wr_control_pack_reply(&pack, &r);
    must(wr_control_read_reply(&again, pack.data + WR_CONTROL_HEAD_BYTES, pack.bytes - WR_CONTROL_HEAD_BYTES, &info) ==
         WR_OK);
    must(again.code == r.code && again.id == r.id && again.out_bytes == r.out_bytes);
    must(again.out_bytes == 0 || memcmp(again.out, r.out, r.out_bytes) == 0);
    wr_pack_free(&pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input   in = {bytes, bytes + size};
    uint8_t side = take_u8(&in);
    size_t  n = rest(&in);
    char   *copy = own(in.at, n);
    if (n >= WR_CONTROL_HEAD_BYTES) must(wr_control_length(copy, 1000) <= 1000);
    if (side % 2 == 0)
        request(copy, n);
    else
        reply(copy, n);
    free(copy);
    return 0;
}
