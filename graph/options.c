/* Options of operators: checked and copied into the pipeline. */
#include "base/text.h"
#include "graph/build.h"
#include "wire/control.h"

/* *to is all zero when this is false. NULL options are the defaults. */
bool wr_graph_options(weir_pipeline *p, wr_draft *draft, const void *options, void *to, size_t size, const char *type)
{
    memset(to, 0, size);
    if (!options) return true;
    uint32_t given;
    memcpy(&given, options, sizeof given);
    if (given != size) {
        /* Today every header has the first version of every struct. Later ones may be shorter, never longer. */
        wr_graph_problem(p, draft, WR_WRONG_ABI,
                         "its options have %u bytes, but %s has %zu here; compile it with the headers of this Weir",
                         given, type, size);
        return false;
    }
    memcpy(to, options, size);
    return true;
}

static void check_enums(weir_pipeline *p, wr_draft *draft, const weir_options *o)
{
    if (o->chaining > WEIR_CHAIN_NEVER) {
        wr_graph_problem(p, draft, WR_OPTION, "%u is no .chaining; use one of enum weir_chaining", o->chaining);
    }
    if (o->on_error > WEIR_DEAD_LETTER) {
        wr_graph_problem(p, draft, WR_OPTION, "%u is no .on_error; use WEIR_FAIL, WEIR_SKIP or WEIR_DEAD_LETTER",
                         o->on_error);
        draft->node.on_error = WEIR_FAIL;
    }
    if (o->blocking > WEIR_ON_SLOT) {
        wr_graph_problem(p, draft, WR_OPTION, "%u is no .blocking; use true or WEIR_ON_SLOT", o->blocking);
    }
    if (o->reserved_u32 || o->reserved_u64) {
        wr_graph_problem(p, draft, WR_WRONG_ABI,
                         "a reserved option is not 0; compile it with the headers of this Weir");
    }
}

static const char *short_name(weir_pipeline *p, wr_draft *draft, const char *text, const char *option)
{
    if (!text || !*text) return NULL;
    if (wr_job_name_fits(text)) return wr_arena_str(&p->arena, text);
    if (strlen(text) <= WR_NAME_BYTES_MAX) {
        char *clean = wr_arena_str(&p->arena, text);
        wr_text_printable(clean);
        wr_graph_problem(p, draft, WR_OPTION,
                         "its %s has a line break or another control character ('%s'); leave it out", option, clean);
        return clean;
    }
    wr_graph_problem(p, draft, WR_OPTION, "its %s is longer than %d bytes ('%.32s...'); shorten it", option,
                     WR_NAME_BYTES_MAX, text);
    return wr_arena_copy(&p->arena, text, WR_NAME_BYTES_MAX);
}

/* The members of WEIR_COMMON_OPTIONS_; options points where a weir_options would begin, and may be NULL. */
void wr_graph_common(weir_pipeline *p, wr_draft *draft, const weir_options *options, const char *name)
{
    static const weir_options none;
    const weir_options       *o = options ? options : &none;
    wr_node                  *n = &draft->node;
    const char               *said = short_name(p, draft, o->name, ".name");
    const char               *uid = short_name(p, draft, o->uid, ".uid");
    if (!name || !*name) name = "?";
    n->uid = uid ? uid : said ? said : wr_arena_str(&p->arena, name);
    n->name = said ? said : n->uid;
    draft->uid_given = uid != NULL;
    draft->parallelism = o->parallelism;
    draft->max_parallelism = o->max_parallelism;
    draft->slot_group = short_name(p, draft, o->slot_group, ".slot_group");
    draft->blocking = o->blocking;
    n->chaining = o->chaining;
    n->on_error = o->on_error;
    check_enums(p, draft, o);
    wr_errinfo info;
    wr_errinfo_init(&info);
    n->args = wr_arena_str(&p->arena, o->args);
    if (wr_args_parse(&p->arena, n->args, p->args, &n->arguments, &info)) {
        wr_graph_problem(p, draft, info.code, "%s", info.text);
    }
}

static void ttl_option(weir_pipeline *p, wr_draft *draft, const weir_state_options *o)
{
    const weir_op *op = draft->node.op;
    uint32_t       window = draft->node.window.window.kind;
    if (o->ttl < 0) {
        wr_graph_problem(p, draft, WR_GRAPH, ".ttl is negative; give a duration, or leave it out");
    }
    if ((op->flags & WEIR_OP_READS) && o->ttl_rule == WEIR_TTL_ON_READ) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         "it only reads, so it cannot note when a state was read last; leave .ttl_rule out, or use "
                         "WEIR_KEYED");
    }
    if (op->kind != WEIR_OP_KEYED && window && window != WEIR_GLOBAL) {
        wr_graph_problem(p, draft, WR_GRAPH, "windows end by themselves and have no time to live; leave .ttl out");
    }
}

static bool upgrade_option(weir_pipeline *p, wr_draft *draft, const weir_upgrade *upgrade)
{
    if (!upgrade->from || !upgrade->to || !upgrade->loop) {
        wr_graph_problem(p, draft, WR_GRAPH, "an .upgrade has no types or no function; declare it by WEIR_UPGRADE");
        return false;
    }
    wr_graph_check_type(p, draft, upgrade->from, WR_ROLE_STATE);
    if (wr_graph_type_equal(upgrade->to, draft->node.op->state)) return true;
    wr_graph_problem(p, draft, WR_GRAPH, "an .upgrade makes state '%s', but its state is '%s'; upgrade to the latter",
                     upgrade->to->name, draft->node.op->state ? draft->node.op->state->name : "?");
    return false;
}

static void state_options(weir_pipeline *p, wr_draft *draft, const weir_state_options *o)
{
    draft->node.ttl = o->ttl > 0 ? o->ttl : 0;
    draft->node.ttl_rule = o->ttl_rule;
    if (o->ttl) ttl_option(p, draft, o);
    if (o->ttl_rule > WEIR_TTL_ON_READ) {
        wr_graph_problem(p, draft, WR_OPTION, "%u is no .ttl_rule; use one of enum weir_ttl_rule", o->ttl_rule);
    }
    if (o->ttl_rule && !o->ttl) {
        wr_graph_problem(p, draft, WR_OPTION, ".ttl_rule without .ttl says nothing; give .ttl, or leave .ttl_rule out");
    }
    if (o->initial) {
        wr_graph_problem(p, draft, WR_NOT_YET,
                         ".initial does not run yet; leave it out, and feed the starting values as records");
    }
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof o->upgrade / sizeof o->upgrade[0]; i++) {
        if (o->upgrade[i] && upgrade_option(p, draft, o->upgrade[i])) draft->node.upgrade[n++] = o->upgrade[i];
    }
}

static size_t size_of(const weir_options *options)
{
    return options ? options->size : 0;
}

/* Every kind of operator takes exactly one of three structs; those that do not run yet are not asked which. */
void wr_graph_op_options(weir_pipeline *p, wr_draft *draft, const weir_options *options)
{
    union {
        weir_options       plain;
        weir_state_options state;
        weir_async_options async;
    } o;
    const weir_op *op = draft->node.op;
    size_t         size = size_of(options);
    bool           state = op->kind == WEIR_OP_KEYED || op->kind == WEIR_OP_AGGREGATE || op->kind == WEIR_OP_REDUCE ||
                 op->kind == WEIR_OP_WINDOW;
    bool plain = op->kind == WEIR_OP_MAP || op->kind == WEIR_OP_FILTER || op->kind == WEIR_OP_FLAT_MAP;
    bool good;
    memset(&o, 0, sizeof o);
    if (!plain && !state) state = size == sizeof(weir_state_options);
    if (state) {
        good = wr_graph_options(p, draft, options, &o.state, sizeof o.state, "weir_state_options");
    } else if (!plain && size == sizeof(weir_async_options)) {
        good = wr_graph_options(p, draft, options, &o.async, sizeof o.async, "weir_async_options");
    } else {
        good = wr_graph_options(p, draft, options, &o.plain, sizeof o.plain, "weir_options");
    }
    wr_graph_common(p, draft, good ? &o.plain : NULL, op->name);
    if (good && state) state_options(p, draft, &o.state);
}
