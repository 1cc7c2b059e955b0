/* Validation of one operator by itself: its descriptor, its types, its keys. */
#include "graph/build.h"
#include <stdarg.h>
#include <stdio.h>

static uint32_t base_kind(uint32_t kind)
{
    return kind & ~(uint32_t)(WEIR_ARRAY | WEIR_OPTIONAL);
}

/* Bytes of a kind in a struct; 0: there is no such kind. */
static uint32_t kind_size(uint32_t kind)
{
    switch (kind) {
    case WEIR_BOOL:
    case WEIR_I8:
    case WEIR_U8: return 1;
    case WEIR_I16:
    case WEIR_U16: return 2;
    case WEIR_I32:
    case WEIR_U32:
    case WEIR_F32: return 4;
    case WEIR_I64:
    case WEIR_U64:
    case WEIR_F64:
    case WEIR_TIME:
    case WEIR_EVENT_TIMER:
    case WEIR_CLOCK_TIMER: return 8;
    case WEIR_STR:
    case WEIR_BYTES:
    case WEIR_TEXT:
    case WEIR_CELL_VALUE:
    case WEIR_CELL_LIST:
    case WEIR_CELL_TABLE: return 16;
    default: return 0;
    }
}

static bool key_kind(uint32_t kind)
{
    return (kind >= WEIR_BOOL && kind <= WEIR_U64) || kind == WEIR_TIME || kind == WEIR_STR || kind == WEIR_BYTES;
}

bool wr_graph_type_equal(const weir_type *a, const weir_type *b)
{
    if (a == b) return true;
    if (!a || !b || a->fields != b->fields || a->size != b->size || a->align != b->align) return false;
    for (uint32_t i = 0; i < a->fields; i++) {
        const weir_field *x = &a->field[i], *y = &b->field[i];
        if (strcmp(x->name, y->name) != 0 || x->kind != y->kind || x->offset != y->offset || x->size != y->size) {
            return false;
        }
        if ((x->element || y->element) && !wr_graph_type_equal(x->element, y->element)) return false;
        if (x->key != y->key || x->key_kind != y->key_kind || x->ttl != y->ttl) return false;
    }
    return true;
}

/* The same type is met at every operator that it passes: it is looked at once for each role. */
static bool seen(weir_pipeline *p, const weir_type *type, wr_type_role role)
{
    const void *mark = (const char *)type + role; /* types are larger than the number of roles */
    for (uint32_t i = 0; i < p->checked_count; i++) {
        if (p->checked[i] == mark) return true;
    }
    if (p->checked_count == p->checked_cap) {
        uint32_t          cap = p->checked_cap ? 2 * p->checked_cap : 32;
        const weir_type **grown = wr_arena_array(&p->arena, const weir_type *, cap);
        if (p->checked_count) memcpy(grown, p->checked, p->checked_count * sizeof *grown);
        p->checked = grown;
        p->checked_cap = cap;
    }
    p->checked[p->checked_count++] = mark;
    return false;
}

/* One place in a type, for messages. */
typedef struct wr_spot {
    weir_pipeline   *p;
    wr_draft        *draft;
    const weir_type *type;
    wr_type_role     role;
} wr_spot;

__attribute__((format(printf, 4, 5))) static void bad_field(const wr_spot *s, const weir_field *f, wr_err err,
                                                            const char *format, ...)
{
    char    text[WR_ERROR_BYTES_MAX / 2];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    wr_graph_problem(s->p, s->draft, err, "field '%s' of %s '%s' %s", f->name && *f->name ? f->name : "?",
                     s->role == WR_ROLE_RECORD ? "record" : "state", s->type->name, text);
}

static void check_cell(const wr_spot *s, const weir_field *f)
{
    uint32_t kind = base_kind(f->kind);
    if (s->role != WR_ROLE_STATE) {
        bad_field(s, f, WR_GRAPH, "is a cell, which only the state of a keyed operator can hold; use a plain field");
        return;
    }
    if (f->ttl != 0 && kind != WEIR_CELL_LIST && kind != WEIR_CELL_TABLE) {
        bad_field(s, f, WR_GRAPH, "has a time to live, which only lists and tables have for their rows; leave it out");
    } else if (f->ttl < 0) {
        bad_field(s, f, WR_GRAPH, "has a negative time to live; give a duration");
    }
    if (kind != WEIR_CELL_VALUE && kind != WEIR_CELL_LIST && kind != WEIR_CELL_TABLE) return;
    if (!f->element) {
        bad_field(s, f, WR_GRAPH, "does not say what it holds; declare it by the macros of WEIR_STATE");
        return;
    }
    wr_graph_check_type(s->p, s->draft, f->element, WR_ROLE_RECORD);
    if (kind != WEIR_CELL_TABLE) return;
    const weir_key key = {.count = 1, .field = {{.offset = f->key, .kind = f->key_kind}}};
    wr_graph_check_key(s->p, s->draft, f->element, &key);
}

static void check_field(const wr_spot *s, const weir_field *f)
{
    uint32_t kind = base_kind(f->kind), size = kind_size(kind);
    bool     array = f->kind & WEIR_ARRAY;
    if (!size) {
        bad_field(s, f, WR_GRAPH, "has kind %u, which this Weir does not know; compile with its headers", f->kind);
        return;
    }
    if (f->kind & WEIR_OPTIONAL) {
        bad_field(s, f, WR_NOT_YET, "is optional; fields without a value do not run yet; use a value that means none");
    }
    if (array && (kind < WEIR_I8 || kind > WEIR_F64)) {
        bad_field(s, f, WR_GRAPH, "is an array of something that is no number; make it a field each");
    } else if (array ? f->size == 0 || f->size % size : f->size != size) {
        bad_field(s, f, WR_GRAPH, "has %u bytes, but its kind has %u; compile with the headers of this Weir", f->size,
                  size);
    }
    if (array && f->size > WR_FIELD_BYTES_MAX) {
        bad_field(s, f, WR_LIMIT, "has %u bytes; an array has at most %d; make it smaller", f->size,
                  WR_FIELD_BYTES_MAX);
    }
    if ((uint64_t)f->offset + f->size > s->type->size) {
        bad_field(s, f, WR_GRAPH, "ends behind its struct (%u + %u of %u bytes); correct the field table", f->offset,
                  f->size, s->type->size);
    }
    if (f->logical) bad_field(s, f, WR_NOT_YET, "has a logical type, which does not run yet; leave it 0");
    if (kind >= WEIR_TEXT) check_cell(s, f);
    if ((kind == WEIR_STR || kind == WEIR_BYTES) && s->role == WR_ROLE_STATE) {
        bad_field(s, f, WR_GRAPH, "is a borrowed string, which cannot be kept; use weir_text");
    }
}

static void check_overlap(const wr_spot *s)
{
    const weir_type *t = s->type;
    for (uint32_t i = 0; i < t->fields; i++) {
        const weir_field *a = &t->field[i];
        for (uint32_t k = 0; k < i; k++) {
            const weir_field *b = &t->field[k];
            if (a->name && b->name && strcmp(a->name, b->name) == 0) {
                bad_field(s, a, WR_GRAPH, "stands twice; rename one of the two");
            }
            if (a->offset < (uint64_t)b->offset + b->size && b->offset < (uint64_t)a->offset + a->size) {
                bad_field(s, a, WR_GRAPH, "overlaps field '%s'; correct the field table", b->name ? b->name : "?");
            }
        }
    }
}

void wr_graph_check_type(weir_pipeline *p, wr_draft *draft, const weir_type *type, wr_type_role role)
{
    const char *what = role == WR_ROLE_RECORD ? "record" : "state";
    if (!type) {
        wr_graph_problem(p, draft, WR_GRAPH, "it has no %s type; declare one by WEIR_%s", what,
                         role == WR_ROLE_RECORD ? "RECORD" : "STATE");
        return;
    }
    if (seen(p, type, role)) return;
    if (type->abi_size != sizeof *type) {
        wr_graph_problem(p, draft, WR_WRONG_ABI, "a %s type has %u bytes, here it has %zu; compile with these headers",
                         what, type->abi_size, sizeof *type);
        return;
    }
    uint32_t max = role == WR_ROLE_RECORD ? WR_BATCH_BYTES : WR_STATE_BYTES_MAX;
    wr_spot  s = {.p = p, .draft = draft, .type = type, .role = role};
    if (!type->name || !*type->name || !type->fields || !type->field || !type->size) {
        wr_graph_problem(p, draft, WR_GRAPH, "%s '%s' has no name or no fields; correct its field table", what,
                         type->name ? type->name : "?");
        return;
    }
    if (type->fields > WR_FIELDS_MAX) {
        wr_graph_problem(p, draft, WR_LIMIT, "%s '%s' has %u fields; at most %d; split it", what, type->name,
                         type->fields, WR_FIELDS_MAX);
        return;
    }
    if (type->size > max) {
        wr_graph_problem(p, draft, WR_LIMIT, "%s '%s' has %u bytes; at most %u; hold long parts in strings or cells",
                         what, type->name, type->size, max);
    }
    if (!type->align || (type->align & (type->align - 1)) || type->align > WR_CACHE_LINE || type->size % type->align) {
        wr_graph_problem(p, draft, WR_GRAPH, "%s '%s' cannot be aligned to %u; at most %d, a power of two", what,
                         type->name, type->align, WR_CACHE_LINE);
    }
    for (uint32_t i = 0; i < type->fields; i++) {
        if (!type->field[i].name || !*type->field[i].name)
            bad_field(&s, &type->field[i], WR_GRAPH, "has no name; give it one");
        check_field(&s, &type->field[i]);
    }
    check_overlap(&s);
}

/* ---- the descriptor ---------------------------------------------------------------------------------------------- */

static bool has_state(uint32_t kind)
{
    return kind == WEIR_OP_KEYED || kind == WEIR_OP_AGGREGATE || kind == WEIR_OP_REDUCE || kind == WEIR_OP_CO_KEYED ||
           kind == WEIR_OP_KEYED_SHARED;
}

static bool has_timers(const weir_type *state)
{
    if (!state || state->abi_size != sizeof *state || !state->field) return false;
    for (uint32_t i = 0; i < state->fields && i < WR_FIELDS_MAX; i++) {
        if (state->field[i].kind == WEIR_EVENT_TIMER || state->field[i].kind == WEIR_CLOCK_TIMER) return true;
    }
    return false;
}

static void check_loops(weir_pipeline *p, wr_draft *draft, const weir_op *op)
{
    bool        folds = op->kind == WEIR_OP_AGGREGATE || op->kind == WEIR_OP_REDUCE;
    bool        later = op->kind >= WEIR_OP_WINDOW && op->kind <= WEIR_OP_COGROUP; /* on_result only */
    const char *lacks = NULL;
    if (!op->on_left && !later) lacks = "on_left";
    if (folds && !op->on_merge) lacks = "on_merge";
    if ((folds || op->kind == WEIR_OP_WINDOW) && !op->on_result) lacks = "on_result";
    if (op->kind == WEIR_OP_TWO_PHASE_SINK)
        lacks = !op->prepare ? "prepare" : !op->commit ? "commit" : !op->recover ? "recover" : lacks;
    if (lacks) wr_graph_problem(p, draft, WR_GRAPH, "its descriptor has no %s; fill it in", lacks);
    bool timers = has_timers(op->state) && op->kind == WEIR_OP_KEYED;
    if (timers && !op->on_timer) {
        wr_graph_problem(p, draft, WR_GRAPH, "its state has timers, but its descriptor has no on_timer; fill it in");
    } else if (!timers && op->on_timer) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         "it has a timer function that would never run; put a timer into its state");
    }
}

static void check_types(weir_pipeline *p, wr_draft *draft, const weir_op *op)
{
    bool source = op->kind == WEIR_OP_SOURCE, sink = op->kind == WEIR_OP_SINK || op->kind == WEIR_OP_TWO_PHASE_SINK;
    if (!source) wr_graph_check_type(p, draft, op->left, WR_ROLE_RECORD);
    if (op->right) wr_graph_check_type(p, draft, op->right, WR_ROLE_RECORD);
    if (!sink && op->outs == 0) wr_graph_problem(p, draft, WR_GRAPH, "its descriptor has no output; give it one");
    for (uint32_t i = 0; i < op->outs && !sink; i++) wr_graph_check_type(p, draft, op->out[i], WR_ROLE_RECORD);
    if (source) wr_graph_check_type(p, draft, op->state, WR_ROLE_RECORD);
    if (op->kind == WEIR_OP_TWO_PHASE_SINK) {
        wr_graph_check_type(p, draft, op->shared, WR_ROLE_RECORD);
        if (op->outs != 1)
            wr_graph_problem(p, draft, WR_GRAPH, "its descriptor has %u outputs; committables are one", op->outs);
    }
    if (has_state(op->kind)) {
        wr_type_role role = op->kind == WEIR_OP_AGGREGATE || op->kind == WEIR_OP_REDUCE ? WR_ROLE_ACCUMULATOR
                                                                                        : WR_ROLE_STATE;
        wr_graph_check_type(p, draft, op->state, role);
    }
}

bool wr_graph_check_op(weir_pipeline *p, wr_draft *draft, const weir_op *op)
{
    uint32_t want = draft->node.kind;
    if (!op) {
        wr_graph_problem(p, draft, WR_GRAPH, "it has no descriptor; pass a weir_op");
        return false;
    }
    if (op->abi_size != sizeof *op) {
        wr_graph_problem(p, draft, WR_WRONG_ABI,
                         "its descriptor has %u bytes, here it has %zu; compile with these headers", op->abi_size,
                         sizeof *op);
        return false;
    }
    if (op->outs > WR_OUTS_MAX) {
        wr_graph_problem(p, draft, WR_LIMIT, "it has %u outputs; at most %d; split it", op->outs, WR_OUTS_MAX);
        return false;
    }
    bool sink = op->kind == WEIR_OP_SINK || op->kind == WEIR_OP_TWO_PHASE_SINK, source = op->kind == WEIR_OP_SOURCE;
    bool fits = want == WR_NODE_READ ? source : want == WR_NODE_WRITE ? sink : !source && !sink;
    if (op->kind < WEIR_OP_MAP || op->kind > WEIR_OP_TWO_PHASE_SINK || !fits) {
        wr_graph_problem(p, draft, WR_GRAPH, "an operator of kind %u cannot stand here; %s", op->kind,
                         want == WR_NODE_READ    ? "weir_read takes a WEIR_SOURCE"
                         : want == WR_NODE_WRITE ? "weir_write takes a WEIR_SINK"
                                                 : "use weir_read for sources and weir_write for sinks");
        return false;
    }
    if (op->outs && !op->out) {
        wr_graph_problem(p, draft, WR_GRAPH, "its descriptor has no output types; fill them in");
        return false;
    }
    draft->node.op = op; /* so that messages name file and line */
    return true;
}

/* After the options, so that problems name the operator as its author does. */
void wr_graph_check_parts(weir_pipeline *p, wr_draft *draft)
{
    const weir_op *op = draft->node.op;
    bool           later = op->kind != WEIR_OP_KEYED && op->kind != WEIR_OP_AGGREGATE && op->kind != WEIR_OP_REDUCE &&
                 op->kind != WEIR_OP_WINDOW && op->kind > WEIR_OP_FLAT_MAP && op->kind != WEIR_OP_SOURCE &&
                 op->kind != WEIR_OP_SINK && op->kind != WEIR_OP_TWO_PHASE_SINK;
    if (!later) check_loops(p, draft, op); /* the others are refused as a whole */
    if (!later) check_types(p, draft, op);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

void wr_graph_check_key(weir_pipeline *p, wr_draft *draft, const weir_type *type, const weir_key *key)
{
    if (key->count > WR_KEY_FIELDS_MAX) {
        wr_graph_problem(p, draft, WR_LIMIT, "its key has %u fields; at most %d; join some into one", key->count,
                         WR_KEY_FIELDS_MAX);
        return;
    }
    if (!type || !type->field) return;
    for (uint32_t i = 0; i < key->count; i++) {
        const weir_field *f = NULL;
        for (uint32_t k = 0; k < type->fields; k++) {
            if (type->field[k].offset == key->field[i].offset) f = &type->field[k];
        }
        if (!f || f->kind != key->field[i].kind) {
            wr_graph_problem(p, draft, WR_GRAPH,
                             "field %u of its key is no field of record '%s'; key by one of its fields", i + 1,
                             type->name);
        } else if (!key_kind(f->kind)) {
            wr_graph_problem(p, draft, WR_GRAPH,
                             "field '%s' of record '%s' cannot be a key; use a whole number, time or string", f->name,
                             type->name);
        }
    }
}

/* In what a result function is given, fields that are not of the key are zero. */
static void check_result_keys(weir_pipeline *p, wr_draft *draft, const weir_op *op, const weir_key *key)
{
    bool says = op->kind == WEIR_OP_AGGREGATE && op->state && op->state->abi_size == sizeof *op->state;
    for (const weir_field *f = says ? op->state->keys : NULL; f && f->name; f++) {
        bool found = false;
        for (uint32_t i = 0; i < key->count && i < WR_KEY_FIELDS_MAX; i++) found |= key->field[i].offset == f->offset;
        if (found) continue;
        wr_graph_problem(
            p, draft, WR_GRAPH,
            "its list takes '%s' from the key, and its stream is not keyed by that, so it would be zero in "
            "each result; key by it, or leave it out",
            f->name);
    }
}

/* What the kind of operator says about its keys, and that those of two inputs agree. */
void wr_graph_check_keys(weir_pipeline *p, wr_draft *draft)
{
    wr_node       *n = &draft->node;
    const weir_op *op = n->op;
    bool           takes = has_state(op->kind) || op->kind >= WEIR_OP_WINDOW; /* of the kinds that stand here */
    wr_graph_check_key(p, draft, op->left, &n->key[0]);
    if (op->right) wr_graph_check_key(p, draft, op->right, &n->key[1]);
    check_result_keys(p, draft, op, &n->key[0]);
    if (!takes && n->key[0].count) {
        wr_graph_problem(p, draft, WR_GRAPH, "it has no state, so it takes no key; give it the plain stream");
    }
    draft->alone = has_state(op->kind) && n->key[0].count == 0;
    bool two = op->kind == WEIR_OP_CO_KEYED || op->kind == WEIR_OP_JOIN || op->kind == WEIR_OP_COGROUP;
    if (!two) return;
    bool same = n->key[0].count == n->key[1].count;
    for (uint32_t i = 0; same && i < n->key[0].count && i < WR_KEY_FIELDS_MAX; i++) {
        same = n->key[0].field[i].kind == n->key[1].field[i].kind;
    }
    if (!same) {
        wr_graph_problem(p, draft, WR_GRAPH,
                         "the keys of its two inputs differ in number or kind of fields; key both by the same kinds");
    }
}
