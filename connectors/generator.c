/* connectors/generator.c: records made from their number. Record i is the same in every run, however many splits there
 * are: split k of S makes the records k, k + S, k + 2 S, ... */
#include "base/hash.h"
#include "base/text.h"
#include "connectors/connectors.h"
#include "connectors/host.h"
#include "graph/job.h"
#include <stdio.h>
#include <stdlib.h>
#include <weir/io.h>

enum {
    STRINGS_BYTES = WR_KIB(64), /* long strings of one poll */
    STRING_BYTES_MAX = WR_NAME_BYTES_MAX + WR_TEXT_NUMBER_MAX,
};

/* The split and its position. */
typedef struct generator_split {
    weir_str name;
    uint64_t index, splits;
    uint64_t made; /* records of this split that are out */
} generator_split;

#define FIELD(NAME, KIND)                                                                                              \
    {                                                                                                                  \
#NAME, offsetof(generator_split, NAME), sizeof(((generator_split *)0)->NAME), KIND, 0, NULL, 0, 0, 0,          \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
static const weir_field split_fields[] = {FIELD(name, WEIR_STR), FIELD(index, WEIR_U64), FIELD(splits, WEIR_U64),
                                          FIELD(made, WEIR_U64)};
#undef FIELD
static const weir_type split_type = {.abi_size = sizeof(weir_type),
                                     .fields = 4,
                                     .name = "generator_split",
                                     .size = sizeof(generator_split),
                                     .align = _Alignof(generator_split),
                                     .field = split_fields};

/* One open split. */
typedef struct generator {
    const weir_type *type;
    uint32_t         numbered; /* the field that holds the record's number: the first integer; or none */
    uint64_t         count, keys, seed;
    int64_t          start_ns, step_ns;
    double           rate;     /* records per nanosecond of this split; 0: no limit */
    int64_t          paced_ns; /* monotonic time up to which `due` counts */
    double           due;      /* records that may go out */
    char            *strings;  /* STRINGS_BYTES, of the strings that do not lie in their records */
    size_t           strings_used;
} generator;

wr_err wr_generator_check_options(const weir_endpoint *endpoint, wr_errinfo *info)
{
    const char *start = weir_endpoint_str(endpoint, "start");
    uint64_t    splits = weir_endpoint_u64(endpoint, "splits");
    int64_t     ns;
    if (!wr_text_to_time(start, strlen(start), &ns))
        return wr_fail(info, WR_OPTION, "option start=%s is not a time such as 2024-01-01T00:00:00Z; correct it",
                       start);
    if (splits > WR_PARALLELISM_MAX)
        return wr_fail(info, WR_OPTION, "option splits=%llu is above %d; lower it, or leave it out for one per subtask",
                       (unsigned long long)splits, WR_PARALLELISM_MAX);
    if (weir_endpoint_u64(endpoint, "keys") == 0)
        return wr_fail(info, WR_OPTION, "option keys=0 leaves no value for a field; give 1 or more");
    return WR_OK;
}

static void generator_enumerate(weir_ctx *ctx)
{
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    const wr_node       *node = wr_host_op(ctx)->node;
    uint64_t             splits = weir_endpoint_u64(endpoint, "splits");
    weir_out             out = ctx->out[0];
    if (splits == 0) splits = node != NULL && node->parallelism > 0 ? node->parallelism : 1;
    for (uint64_t i = 0; i < splits; i++) {
        char name[40];
        int  n = snprintf(name, sizeof name, "generator#%llu", (unsigned long long)i);
        wr_emit_room(&out);
        generator_split *split = (generator_split *)(void *)out.next;
        *split = (generator_split){.name = weir_str_of(name, (size_t)n), .index = i, .splits = splits};
        if (split->name.len > WEIR_STR_INLINE) weir_out_own(out.engine, &split->name);
        out.next += sizeof *split;
    }
    ctx->out[0] = out;
}

static bool open_split(generator *g, weir_ctx *ctx, const generator_split *split)
{
    const weir_endpoint *endpoint = wr_host_endpoint(ctx);
    const wr_env        *env = wr_host_env(ctx);
    const char          *start = weir_endpoint_str(endpoint, "start");
    g->type = endpoint->type;
    g->numbered = g->type->fields;
    for (uint32_t i = g->type->fields; i-- > 0;) {
        if (g->type->field[i].kind >= WEIR_I8 && g->type->field[i].kind <= WEIR_U64) g->numbered = i;
    }
    g->count = weir_endpoint_u64(endpoint, "count");
    g->keys = weir_endpoint_u64(endpoint, "keys");
    g->seed = wr_fmix64(weir_endpoint_u64(endpoint, "seed") ^ WR_HASH_A);
    g->step_ns = (int64_t)weir_endpoint_u64(endpoint, "step");
    g->rate = (double)weir_endpoint_u64(endpoint, "rate") / 1e9 / (double)(split->splits > 0 ? split->splits : 1);
    g->paced_ns = env->mono_ns(env->self);
    (void)wr_text_to_time(start, strlen(start), &g->start_ns); /* it was checked */
    g->strings = malloc(STRINGS_BYTES + STRING_BYTES_MAX);
    if (g->strings != NULL) return true;
    wr_op_fail(wr_host_op(ctx), WR_MEMORY, "out of memory; source %s (%s)", endpoint->name, endpoint->uri);
    return false;
}

static void generator_open(weir_ctx *ctx)
{
    ctx->verdict[0] = open_split(ctx->local, ctx, ctx->state[0]);
}

/* Integers of any width: the low bytes of a little-endian word; narrow ones wrap. */
static void store_integer(char *to, uint32_t bytes, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value <<= 64 - 8 * bytes;
#endif
    memcpy(to, &value, bytes);
}

/* 0 to bound - 1 out of a hash, without a division. */
static uint64_t below(uint64_t hash, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)hash * bound) >> 64);
}

static void fill_number(const generator *g, uint32_t kind, uint64_t number, uint64_t hash, char *to)
{
    double d = (double)(hash >> 11) * 0x1p-53 * (double)g->keys;
    switch (kind) {
    case WEIR_BOOL: *to = (char)(hash >> 63); return;
    case WEIR_F32: memcpy(to, &(float){(float)d}, sizeof(float)); return;
    case WEIR_F64: memcpy(to, &d, sizeof d); return;
    case WEIR_TIME: {
        int64_t ns = (int64_t)((uint64_t)g->start_ns + number * (uint64_t)g->step_ns);
        memcpy(to, &ns, sizeof ns);
        return;
    }
    default: store_integer(to, wr_kind_bytes(kind), below(hash, g->keys)); return;
    }
}

static void fill_string(generator *g, const weir_field *field, uint64_t hash, char *to)
{
    char  *text = g->strings + g->strings_used, *end = text;
    size_t name = strnlen(field->name, WR_NAME_BYTES_MAX);
    if (field->kind == WEIR_BYTES) {
        store_integer(end, 8, hash);
        end += 8;
    } else {
        memcpy(end, field->name, name);
        end += name;
        *end++ = '-';
        end += wr_text_of_u64(end, below(hash, g->keys));
    }
    *(weir_str *)(void *)to = weir_str_of(text, (size_t)(end - text));
    if (end - text > (int)WEIR_STR_INLINE) g->strings_used += (size_t)(end - text);
}

static void fill_record(generator *g, uint64_t number, char *record)
{
    for (uint32_t i = 0; i < g->type->fields; i++) {
        const weir_field *field = &g->type->field[i];
        char             *to = record + field->offset;
        uint64_t          hash = wr_fmix64(number ^ (g->seed + i * WEIR_NEAR_MIX));
        uint32_t          kind = field->kind & ~(uint32_t)WEIR_ARRAY, size = field->size;
        if (i == g->numbered) {
            store_integer(to, size, number);
        } else if (wr_kind_is_string(kind)) {
            fill_string(g, field, hash, to);
        } else if (kind == field->kind) {
            fill_number(g, kind, number, hash, to);
        } else {
            uint32_t one = wr_kind_bytes(kind);
            for (uint32_t at = 0; at < size; at += one) fill_number(g, kind, number, wr_fmix64(hash + at), to + at);
        }
    }
}

/* How many records may go out now, at most `room`. Zero after it has asked to be woken. */
static uint64_t paced(generator *g, weir_ctx *ctx, uint64_t room)
{
    const wr_env *env = wr_host_env(ctx);
    if (g->rate <= 0) return room;
    int64_t now = env->mono_ns(env->self);
    double  most = g->rate * 1e8 > 1 ? g->rate * 1e8 : 1; /* a tenth of a second may pile up */
    g->due += (double)(now - g->paced_ns) * g->rate;
    if (g->due > most) g->due = most;
    g->paced_ns = now;
    if (g->due < 1) {
        weir_wake_after(ctx, (int64_t)((1 - g->due) / g->rate) + 1000);
        return 0;
    }
    return g->due < (double)room ? (uint64_t)g->due : room;
}

static uint64_t left_of(const generator *g, const generator_split *split)
{
    if (g->count == 0) return UINT64_MAX;
    uint64_t all = g->count > split->index ? (g->count - split->index - 1) / split->splits + 1 : 0;
    return all > split->made ? all - split->made : 0;
}

static void generator_poll(weir_ctx *ctx)
{
    generator_split *split = ctx->state[0];
    generator       *g = ctx->local;
    uint64_t         left = left_of(g, split);
    if (left == 0) {
        ctx->verdict[0] = WEIR_END;
        return;
    }
    weir_out out = ctx->out[0];
    wr_emit_room(&out);
    uint64_t n = (uint64_t)(out.end - out.next) / g->type->size;
    n = paced(g, ctx, n < left ? n : left);
    out.borrowed = g->strings;
    out.borrowed_bytes = STRINGS_BYTES + STRING_BYTES_MAX;
    g->strings_used = 0;
    uint64_t made = 0;
    memset(out.next, 0, n * g->type->size); /* what lies between fields is not garbage either */
    for (; made < n && g->strings_used < STRINGS_BYTES - WR_FIELDS_MAX * STRING_BYTES_MAX; made++) {
        fill_record(g, split->index + (split->made + made) * split->splits, out.next);
        out.next += g->type->size;
        if (out.time != NULL) *out.time++ = (weir_time){WEIR_NO_TIME};
    }
    ctx->out[0] = out;
    split->made += made;
    if (g->rate > 0) g->due -= (double)made;
    ctx->verdict[0] = made == 0 ? WEIR_IDLE : made == left ? WEIR_END : WEIR_MORE;
}

static void generator_close(weir_ctx *ctx)
{
    generator *g = ctx->local;
    free(g->strings);
    g->strings = NULL;
}

static const weir_op generator_source = {
    WR_CONNECTOR_OP(WEIR_OP_SOURCE, "generator"),
    .outs = 1,
    .out = wr_endpoint_out,
    .state = &split_type,
    .local_size = sizeof(generator),
    .on_left = generator_poll,
    .open = generator_open,
    .close = generator_close,
    .enumerate = generator_enumerate,
};

static const weir_option_def options[] = {
    {"count", WEIR_OPTION_U64, 0, "0", "records in all; 0: no end"},
    {"rate", WEIR_OPTION_U64, 0, "0", "records per second in all; 0: as fast as possible"},
    {"splits", WEIR_OPTION_U64, 0, "0", "parts that are made side by side; 0: the source's parallelism"},
    {"keys", WEIR_OPTION_U64, 0, "1000", "integers and strings have so many different values"},
    {"seed", WEIR_OPTION_U64, 0, "1", "another seed gives other values"},
    {"start", WEIR_OPTION_STR, 0, "2024-01-01T00:00:00Z", "times of record 0"},
    {"step", WEIR_OPTION_DURATION, 0, "1ms", "times go on by it from record to record"},
};

const weir_connector wr_connector_generator = {
    .magic = WEIR_CONNECTOR_MAGIC,
    .abi = WEIR_ABI,
    .size = sizeof(weir_connector),
    .scheme = "generator",
    .summary = "source: made-up records of any type, the same in every run",
    .option = options,
    .options = sizeof options / sizeof options[0],
    .source = &generator_source,
};
_Static_assert(STRINGS_BYTES > 2 * WR_FIELDS_MAX * STRING_BYTES_MAX, "one record always fits");
