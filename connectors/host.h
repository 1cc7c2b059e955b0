/* connectors/host.h: what the built-in connectors ask of the operator that runs them. Thread: the loop's. */
#ifndef WR_CONNECTORS_HOST_H
#define WR_CONNECTORS_HOST_H
#include "connectors/format.h"
#include "operators/op.h"

static inline wr_op *wr_host_op(const weir_ctx *ctx)
{
    return ctx->engine;
}

static inline const weir_endpoint *wr_host_endpoint(const weir_ctx *ctx)
{
    return wr_host_op(ctx)->endpoint;
}

static inline const wr_env *wr_host_env(const weir_ctx *ctx)
{
    return wr_host_op(ctx)->home->env;
}

/* A codec for the task's endpoint, or NULL after it has failed the task. Freed by wr_codec_free. */
wr_codec *wr_host_codec(const weir_ctx *ctx);
/* The same from an endpoint alone; also the check of the build step. */
wr_err wr_endpoint_codec(wr_codec **codec, const weir_endpoint *endpoint, wr_errinfo *info);

/* Fails the task with "cannot VERB PATH: CAUSE; source or sink NAME (URI); HINT". number is a positive errno. */
void wr_host_fail_errno(weir_ctx *ctx, int number, const char *verb, const char *path, const char *hint);

/* Whether the connector has this option, and its value then. */
bool     wr_option_has(const weir_endpoint *endpoint, const char *option);
uint64_t wr_option_u64(const weir_endpoint *endpoint, const char *option, uint64_t otherwise);

/* Takes over the record that was built at out->next: its far strings are made to live long enough, its event time is
 * unknown. With a fused loop behind the source the record lies elsewhere and is handed to it. */
static inline void wr_emit_record(weir_out *out, const wr_codec *codec, char *record)
{
    for (uint32_t i = 0; i < codec->strings; i++) {
        weir_str *str = (weir_str *)(void *)(record + codec->string[i]);
        if (str->len > WEIR_STR_INLINE && (size_t)(str->u.far - out->borrowed) >= out->borrowed_bytes)
            weir_out_own(out->engine, str);
    }
    out->next = record + codec->type->size;
    if (out->time != NULL) *out->time++ = (weir_time){WEIR_NO_TIME};
}

/* Room for one record at least. A poll that finds its output full at the start would never get on otherwise. */
static inline void wr_emit_room(weir_out *out)
{
    if (__builtin_expect(out->next != out->end, 1)) return;
    weir_grown grown = weir_out_grow(out->engine, out->next);
    out->next = grown.next;
    out->end = grown.end;
    out->time = grown.time;
}

#endif
