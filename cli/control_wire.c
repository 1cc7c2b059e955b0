#include "cli/control_wire.h"
#include <string.h>

uint32_t wr_control_length(const char head[WR_CONTROL_HEAD_BYTES], uint32_t most)
{
    uint32_t n = 0;
    for (int i = 0; i < WR_CONTROL_HEAD_BYTES; i++) n |= (uint32_t)(unsigned char)head[i] << (8 * i);
    return n <= most ? n : 0;
}

/* Room for the length, which is known at the end. */
static void open_message(wr_pack *p)
{
    static const char none[WR_CONTROL_HEAD_BYTES];
    memset(p, 0, sizeof *p);
    wr_pack_raw(p, none, sizeof none);
}

static void close_message(wr_pack *p)
{
    uint64_t n = p->bytes - WR_CONTROL_HEAD_BYTES;
    for (int i = 0; i < WR_CONTROL_HEAD_BYTES; i++) p->data[i] = (char)(unsigned char)(n >> (8 * i));
}

static const char *const REQUEST[] = {"verb", "json", "drain", "path"};
static const char *const REPLY[] = {"code", "id", "text", "out", "job"};

void wr_control_pack_request(wr_pack *p, const wr_control_request *request)
{
    open_message(p);
    wr_pack_map(p, 4);
    wr_pack_str(p, REQUEST[0]);
    wr_pack_u64(p, request->verb);
    wr_pack_str(p, REQUEST[1]);
    wr_pack_bool(p, request->json);
    wr_pack_str(p, REQUEST[2]);
    wr_pack_bool(p, request->drain);
    wr_pack_str(p, REQUEST[3]);
    wr_pack_str(p, request->path);
    close_message(p);
}

void wr_control_pack_reply(wr_pack *p, const wr_control_reply *reply)
{
    open_message(p);
    wr_pack_map(p, 5);
    wr_pack_str(p, REPLY[0]);
    wr_pack_u64(p, reply->code);
    wr_pack_str(p, REPLY[1]);
    wr_pack_u64(p, reply->id);
    wr_pack_str(p, REPLY[2]);
    wr_pack_bin(p, reply->text, reply->text_bytes);
    wr_pack_str(p, REPLY[3]);
    wr_pack_bin(p, reply->out, reply->out_bytes);
    wr_pack_str(p, REPLY[4]);
    wr_pack_bin(p, reply->job, reply->job_bytes);
    close_message(p);
}

static wr_err bad(const wr_unpack *u, const char *what, wr_errinfo *info)
{
    return wr_fail(info, WR_USAGE, "%s on a control socket cannot be read: %s at byte %zu", what, u->problem,
                   u->offset);
}

wr_err wr_control_read_request(wr_control_request *request, const char *bytes, size_t n, wr_errinfo *info)
{
    wr_unpack u;
    uint64_t  seen = 0;
    memset(request, 0, sizeof *request);
    wr_unpack_init(&u, bytes, n);
    for (uint32_t left = wr_unpack_map(&u); left > 0; left--) {
        size_t      length = 0;
        const char *text;
        switch (wr_unpack_key(&u, REQUEST, 4, &seen)) {
        case 0: request->verb = (uint32_t)wr_unpack_u64(&u, WR_CONTROL_VERBS); break;
        case 1: request->json = wr_unpack_bool(&u); break;
        case 2: request->drain = wr_unpack_bool(&u); break;
        case 3:
            text = wr_unpack_str(&u, sizeof request->path - 1, &length);
            if (text != NULL) memcpy(request->path, text, length);
            break;
        default: break;
        }
    }
    wr_unpack_leave(&u);
    wr_unpack_end(&u);
    if (u.problem != NULL) return bad(&u, "a request", info);
    if (request->verb == 0 || request->verb >= WR_CONTROL_VERBS)
        return wr_fail(info, WR_USAGE, "a request on a control socket names no verb that this version knows");
    if (request->verb == WR_CONTROL_SAVEPOINT && request->path[0] == 0)
        return wr_fail(info, WR_USAGE, "a savepoint needs a folder");
    if (request->path[0] != 0 && request->path[0] != '/')
        return wr_fail(info, WR_USAGE, "the path %s on a control socket is not absolute", request->path);
    return WR_OK;
}

wr_err wr_control_read_reply(wr_control_reply *reply, const char *bytes, size_t n, wr_errinfo *info)
{
    wr_unpack u;
    uint64_t  seen = 0;
    memset(reply, 0, sizeof *reply);
    wr_unpack_init(&u, bytes, n);
    for (uint32_t left = wr_unpack_map(&u); left > 0; left--) {
        switch (wr_unpack_key(&u, REPLY, 5, &seen)) {
        case 0: reply->code = (uint32_t)wr_unpack_u64(&u, UINT32_MAX); break;
        case 1: reply->id = wr_unpack_u64(&u, UINT64_MAX); break;
        case 2: reply->text = wr_unpack_bin(&u, WR_ERROR_BYTES_MAX, &reply->text_bytes); break;
        case 3: reply->out = wr_unpack_bin(&u, WR_CONTROL_ANSWER_MAX, &reply->out_bytes); break;
        case 4: reply->job = wr_unpack_bin(&u, WR_NAME_BYTES_MAX, &reply->job_bytes); break;
        default: break;
        }
    }
    wr_unpack_leave(&u);
    wr_unpack_end(&u);
    if (u.problem != NULL) return bad(&u, "an answer", info);
    return WR_OK;
}
