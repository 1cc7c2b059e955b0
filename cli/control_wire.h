/* cli/control_wire.h: requests and answers on a job's control socket: four
 * bytes of length, then one msgpack map. Whatever comes is checked; unknown
 * members are skipped, so that a newer program can say more. Pure. */
#ifndef WR_CLI_CONTROL_WIRE_H
#define WR_CLI_CONTROL_WIRE_H
#include "base/error.h"
#include "wire/pack.h"

enum {
    WR_CONTROL_HEAD_BYTES = 4,
    WR_CONTROL_REQUEST_MAX = WR_PATH_BYTES_MAX + 256,
    WR_CONTROL_ANSWER_MAX = 64 * 1024 * 1024
};

enum wr_control_verb {
    WR_CONTROL_INFO = 1, /* one line, or object, about the job */
    WR_CONTROL_SNAPSHOT,
    WR_CONTROL_SAVEPOINT, /* path: its folder, absolute */
    WR_CONTROL_STOP,      /* path: of a savepoint, or empty; drain */
    WR_CONTROL_SNAPSHOTS,
    WR_CONTROL_VERBS
};

/* Caller's storage. */
typedef struct wr_control_request {
    uint32_t verb; /* enum wr_control_verb */
    bool     json, drain;
    char     path[WR_PATH_BYTES_MAX];
} wr_control_request;

/* Texts point into the bytes of the message. */
typedef struct wr_control_reply {
    uint32_t    code; /* wr_err; 0: well */
    uint64_t    id;   /* of the snapshot that was asked for */
    const char *text, *out, *job;
    size_t      text_bytes, out_bytes, job_bytes;
} wr_control_reply;

/* How many bytes the message behind these four has; 0: none that we take. */
uint32_t wr_control_length(const char head[WR_CONTROL_HEAD_BYTES], uint32_t most);
/* The whole message, head included; wr_pack_free it. */
void   wr_control_pack_request(wr_pack *p, const wr_control_request *request);
void   wr_control_pack_reply(wr_pack *p, const wr_control_reply *reply);
wr_err wr_control_read_request(wr_control_request *request, const char *bytes, size_t n, wr_errinfo *info);
wr_err wr_control_read_reply(wr_control_reply *reply, const char *bytes, size_t n, wr_errinfo *info);

#endif
