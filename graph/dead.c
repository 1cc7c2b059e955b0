/* Dead letters: the record that they are, and the node that takes those of all operators and passes them on. */
#include "graph/build.h"

/* Passes everything on. A FILTER has room for n records; far strings stay in the input batch, which the engine
 * handles as for every filter. */
static void dead_letters_loop(weir_ctx *ctx)
{
    memcpy(ctx->out[0].next, ctx->in, (size_t)ctx->n * sizeof(wr_dead));
    ctx->out[0].next += (size_t)ctx->n * sizeof(wr_dead);
}

#define DEAD_FIELD_(NAME, KIND)                                                                                        \
    {                                                                                                                  \
        .name = #NAME, .offset = offsetof(wr_dead, NAME), .size = sizeof(((wr_dead *)0)->NAME), .kind = KIND           \
    }
static const weir_field dead_fields[] = {
    DEAD_FIELD_(uid, WEIR_STR),      DEAD_FIELD_(reason, WEIR_STR),   DEAD_FIELD_(source, WEIR_STR),
    DEAD_FIELD_(position, WEIR_STR), DEAD_FIELD_(record, WEIR_BYTES), DEAD_FIELD_(at, WEIR_TIME),
};
const weir_type wr_dead_type = {
    .abi_size = sizeof(weir_type),
    .fields = sizeof dead_fields / sizeof dead_fields[0],
    .name = "weir_dead",
    .size = sizeof(wr_dead),
    .align = _Alignof(wr_dead),
    .field = dead_fields,
};
static const weir_type *const dead_out[] = {&wr_dead_type};
static const weir_op          dead_op = {
             .abi_size = sizeof(weir_op),
             .kind = WEIR_OP_FILTER,
             .name = "dead-letters",
             .file = "",
             .outs = 1,
             .left = &wr_dead_type,
             .out = dead_out,
             .on_left = dead_letters_loop,
};

weir_node weir_graph_dead_letters(weir_pipeline *p)
{
    weir_node node;
    if (p->dead != WR_NONE) {
        wr_stream *again = wr_graph_stream(p, WR_STREAM_NODE, &node);
        if (again) again->node = p->dead;
        return node;
    }
    wr_draft *draft = wr_graph_draft(p, WR_NODE_DEAD_LETTERS, &node);
    if (!draft) return node;
    p->dead = draft->node.id;
    draft->node.name = draft->node.uid = "dead-letters";
    draft->node.op = &dead_op;
    draft->node.in[0] = &wr_dead_type;
    draft->node.on_error = WEIR_FAIL;
    draft->alone = true;
    wr_graph_common(p, draft, NULL, "dead-letters");
    wr_graph_give(draft, &wr_dead_type);
    return node;
}
