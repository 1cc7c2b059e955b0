/* connectors/host.c: codecs of endpoints, options, and the public weir_decode and weir_encode. */
#include "connectors/host.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool wr_option_has(const weir_endpoint *endpoint, const char *option)
{
    const weir_connector *connector = endpoint->connector;
    for (uint32_t i = 0; connector != NULL && i < connector->options; i++) {
        if (strcmp(connector->option[i].name, option) == 0) return true;
    }
    return false;
}

uint64_t wr_option_u64(const weir_endpoint *endpoint, const char *option, uint64_t otherwise)
{
    return wr_option_has(endpoint, option) ? weir_endpoint_u64(endpoint, option) : otherwise;
}

wr_err wr_endpoint_codec(wr_codec **codec, const weir_endpoint *endpoint, wr_errinfo *info)
{
    wr_codec_spec spec = {
        .type = endpoint->type,
        .format = endpoint->format,
        .field = endpoint->field,
        .separator = endpoint->separator,
        .header = endpoint->header,
        .multiline = wr_option_u64(endpoint, "multiline", 0) != 0,
    };
    WR_TRY(wr_codec_new(codec, &spec, info));
    bool blank = wr_option_u64(endpoint, "skip-blank", 0) != 0;
    if ((!blank || (*codec)->format->lines) && (!spec.multiline || (*codec)->format == &wr_format_csv)) return WR_OK;
    wr_fail(info, WR_OPTION, "option %s has no meaning in format %s; leave it out",
            spec.multiline ? "multiline" : "skip-blank", (*codec)->format->name);
    wr_codec_free(*codec);
    *codec = NULL;
    return WR_OPTION;
}

wr_codec *wr_host_codec(const weir_ctx *ctx)
{
    wr_codec  *codec = NULL;
    wr_errinfo info = {0};
    if (wr_endpoint_codec(&codec, wr_host_endpoint(ctx), &info) != WR_OK)
        wr_op_fail(wr_host_op(ctx), info.code, "%s; %s (%s)", info.text, wr_host_endpoint(ctx)->name,
                   wr_host_endpoint(ctx)->uri);
    return codec;
}

void wr_host_fail_errno(weir_ctx *ctx, int number, const char *verb, const char *path, const char *hint)
{
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    wr_op_fail(wr_host_op(ctx), wr_err_of_errno(number), "cannot %s %s: %s; %s %s (%s); %s", verb, path,
               strerror(number), endpoint->sink ? "sink" : "source", endpoint->name, endpoint->uri, hint);
}

/* ---- weir_decode, weir_encode: for connectors that are not built in ---------------------------------------------- */

/* A resource of the subtask: owner and thread as those of its loops. */
typedef struct shared_codec {
    wr_codec *codec;
    wr_layout layout;
    char     *scratch;
    size_t    scratch_bytes;
} shared_codec;

static bool shared_open(void *self, const weir_args *args)
{
    (void)args;
    memset(self, 0, sizeof(shared_codec)); /* the codec is made at first use: only then there is a ctx */
    return true;
}

static void shared_close(void *self)
{
    shared_codec *shared = self;
    wr_codec_free(shared->codec);
    free(shared->scratch);
}

static const weir_resource shared_codec_of = {"codec", sizeof(shared_codec), shared_open, shared_close};

static shared_codec *codec_of_task(weir_ctx *ctx)
{
    shared_codec *shared = weir_resource_of(ctx, &shared_codec_of);
    if (shared == NULL || shared->codec != NULL) return shared;
    shared->codec = wr_host_codec(ctx);
    if (shared->codec == NULL) return NULL;
    wr_layout_init(&shared->layout, shared->codec);
    return shared;
}

bool weir_decode(weir_ctx *ctx, const char *bytes, size_t n, const char *place, uint64_t place_number)
{
    wr_reason     reason;
    char          where[WR_PATH_BYTES_MAX];
    shared_codec *shared = codec_of_task(ctx);
    if (shared == NULL) return false;
    if (shared->scratch_bytes < n) {
        free(shared->scratch);
        shared->scratch_bytes = n + n / 2 + 64;
        shared->scratch = malloc(shared->scratch_bytes);
        if (shared->scratch == NULL) {
            shared->scratch_bytes = 0;
            wr_op_fail(wr_host_op(ctx), WR_MEMORY, "out of memory for a record of %zu bytes; at %s:%llu", n, place,
                       (unsigned long long)place_number);
            return false;
        }
    }
    weir_out *out = &ctx->out[0];
    wr_emit_room(out);
    const wr_codec *codec = shared->codec;
    memset(out->next, 0, codec->type->size);
    bool fits = n <= WR_RECORD_BYTES_MAX - codec->type->size;
    if (!fits) wr_reason_set(&reason, "a record of %zu bytes; at most %d are possible", n, WR_RECORD_BYTES_MAX);
    if (fits && codec->format->decode(codec, &shared->layout, bytes, n, out->next, shared->scratch, &reason)) {
        wr_emit_record(out, codec, out->next);
        return true;
    }
    snprintf(where, sizeof where, "%s:%llu", place, (unsigned long long)place_number);
    wr_op_bad(wr_host_op(ctx), reason.text, where, bytes, n);
    return false;
}

weir_str weir_encode(weir_ctx *ctx, const void *record)
{
    shared_codec *shared = codec_of_task(ctx);
    if (shared == NULL) return weir_str_of("", 0);
    const wr_codec *codec = shared->codec;
    size_t          bound = codec->format->bound(codec, record);
    if (shared->scratch_bytes < bound) {
        free(shared->scratch);
        shared->scratch_bytes = bound + bound / 2 + 64;
        shared->scratch = malloc(shared->scratch_bytes);
        if (shared->scratch == NULL) {
            shared->scratch_bytes = 0;
            wr_op_fail(wr_host_op(ctx), WR_MEMORY, "out of memory for a record of %zu bytes; %s", bound,
                       wr_host_endpoint(ctx)->name);
            return weir_str_of("", 0);
        }
    }
    char *end = codec->format->encode(codec, record, shared->scratch);
    return weir_keep(ctx, shared->scratch, (size_t)(end - shared->scratch));
}
