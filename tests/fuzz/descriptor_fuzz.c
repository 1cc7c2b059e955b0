/* The descriptors that a shared object exports, as data: magic, ABI, sizes, counts; pointers are chosen among good
 * ones and NULL. A descriptor that is taken has what the engine will ask it for, and nothing is read behind its own
 * size. */
#include "cli/module.h"
#include "connectors/connectors.h"
#include "graph/endpoint.h"
#include "tests/fuzz/fuzz.h"

static void build(weir_pipeline *pipeline)
{
    (void)pipeline;
}

static void module(input *in)
{
    static const weir_module like = {.magic = WEIR_MODULE_MAGIC,
                                     .abi = WEIR_ABI,
                                     .header = WEIR_HEADER,
                                     .module_size = sizeof(weir_module),
                                     .op_size = sizeof(weir_op),
                                     .ctx_size = sizeof(weir_ctx),
                                     .out_size = sizeof(weir_out),
                                     .type_size = sizeof(weir_type),
                                     .field_size = sizeof(weir_field),
                                     .rows_size = sizeof(weir_rows),
                                     .str_size = sizeof(weir_str),
                                     .near_size = sizeof(weir_near)};
    enum { NUMBERS = 12 };
    wr_errinfo info = {0};
    uint32_t   number[NUMBERS];
    uint8_t    pointers = take_u8(in);
    memcpy(number, &like, sizeof number);
    _Static_assert(offsetof(weir_module, name) == sizeof number, "the numbers stand first");
    for (uint16_t mask = take_u16(in), i = 0; i < NUMBERS; i++) { /* some of them are not ours */
        if (mask >> i & 1) number[i] = (uint32_t)(number[i] + take_u16(in)) ^ (uint32_t)take_u8(in) << 24;
    }
    /* As many bytes as it says, and the numbers at least. */
    weir_module full = {.name = pointers & 1 ? "it" : NULL, .build = pointers & 2 ? build : NULL};
    memcpy(&full, number, sizeof number);
    size_t       said = full.module_size < sizeof full ? full.module_size : sizeof full;
    weir_module *m = (weir_module *)(void *)own(&full, said > sizeof number ? said : sizeof number);
    if (wr_module_accept(m, "it.so", &info) == WR_OK) {
        must(m->magic == like.magic && m->abi == like.abi && m->name != NULL && m->build != NULL);
        must(m->out_size == like.out_size && m->field_size == like.field_size);
        must(m->rows_size == like.rows_size && m->str_size == like.str_size);
        must(m->op_size <= like.op_size && m->ctx_size <= like.ctx_size && m->type_size <= like.type_size);
        must(m->near_size <= like.near_size && m->module_size <= like.module_size);
    } else {
        must(info.code == WR_NOT_A_PIPELINE || info.code == WR_WRONG_ABI);
        must(strstr(info.text, "it.so") != NULL);
    }
    free(m);
}

static void loop(weir_ctx *ctx)
{
    (void)ctx;
}

static const weir_type no_type;

/* NULL, or an operator with some of what it needs. */
static weir_op *some_op(input *in, uint32_t kind)
{
    uint8_t  what = take_u8(in);
    weir_op *op = what & 1 ? calloc(1, sizeof *op) : NULL;
    if (op == NULL) return NULL;
    op->abi_size = what & 2 ? take_u16(in) : (uint32_t)sizeof *op;
    op->kind = what & 4 ? take_u8(in) : kind;
    op->on_left = what & 8 ? NULL : loop;
    op->enumerate = what & 16 ? NULL : loop;
    op->state = what & 32 ? NULL : &no_type;
    return op;
}

static void connector(input *in)
{
    wr_errinfo       info = {0};
    uint8_t          what = take_u8(in);
    weir_connector  *c = calloc(1, sizeof *c);
    weir_option_def *option = calloc(4, sizeof *option);
    must(c != NULL && option != NULL);
    c->magic = what & 1 ? take_u16(in) : WEIR_CONNECTOR_MAGIC;
    c->abi = what & 2 ? take_u8(in) : WEIR_ABI;
    c->size = what & 4 ? take_u16(in) : (uint32_t)sizeof *c;
    c->option = what & 8 ? NULL : option;
    c->options = take_u8(in);
    if (c->option != NULL && c->options <= WR_OPTIONS_MAX) c->options %= 5; /* what is not there cannot be checked */
    weir_op *source = some_op(in, WEIR_OP_SOURCE), *sink = some_op(in, WEIR_OP_SINK);
    c->source = source;
    c->sink = sink;
    for (int i = 0; i < 4; i++)
        option[i] = (weir_option_def){.kind = take_u8(in), .name = take_u8(in) & 1 ? "x" : NULL};
    char *scheme = take_text(in, 0);
    c->scheme = what & 16 ? NULL : scheme;
    if (wr_connector_check(c, "it.so", &info) == WR_OK) {
        size_t n = 0;
        char   uri[256];
        must(c->source != NULL || c->sink != NULL);
        must(c->options == 0 || c->option != NULL);
        snprintf(uri, sizeof uri, "%s:", c->scheme);
        must(strlen(c->scheme) > 200 || (wr_uri_scheme(uri, &n) && n == strlen(c->scheme)));
        for (uint32_t i = 0; i < c->options; i++) must(option[i].name != NULL && option[i].kind - 1 < 5);
        must(source == NULL || (source->on_left != NULL && source->enumerate != NULL && source->state != NULL));
        must(sink == NULL || sink->on_left != NULL);
    } else {
        must(info.code != WR_OK && strstr(info.text, "it.so") != NULL);
    }
    free(scheme);
    free(source);
    free(sink);
    free(option);
    free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input in = {bytes, bytes + size};
    if (take_u8(&in) & 1)
        module(&in);
    else
        connector(&in);
    return 0;
}
