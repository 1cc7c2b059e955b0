/* weir/record.h: what flows: WEIR_RECORD and WEIR_OUTPUTS. Declarations at file scope; they make types, constant
 * tables and small inline functions, and nothing that runs by itself. */
#ifndef WEIR_RECORD_H
#define WEIR_RECORD_H
#include <weir/graph.h>

/* ---- handles: what a build function passes around ---------------------------------------------------------------- */

/* Plain values, owned by the build function; copying one copies no data. */
typedef struct weir_handle {
    weir_node        node;
    const weir_type *type; /* what flows there */
    weir_key         key;  /* count 0: none */
} weir_handle;

WEIR_FN_ weir_handle weir_handle_of_(weir_node node, const weir_type *type)
{
    weir_handle h;
    memset(&h, 0, sizeof h);
    h.node = node;
    h.type = type;
    return h;
}

/* T_stream -> T_keyed -> T_windowed. Members after the handle are never read: they carry types, and their names are
 * error messages ('line_stream' has no member named 'needs_weir_key_by'). */
#define WEIR_STREAMS_(T)                                                                                               \
    typedef struct T##_windowed {                                                                                      \
        weir_handle      handle;                                                                                       \
        weir_window_spec window;                                                                                       \
        T               *record;                                                                                       \
    } T##_windowed;                                                                                                    \
    typedef struct T##_keyed {                                                                                         \
        weir_handle   handle;                                                                                          \
        T            *record;                                                                                          \
        T##_windowed *needs_weir_key_by;                                                                               \
    } T##_keyed;                                                                                                       \
    typedef struct T##_stream {                                                                                        \
        weir_handle   handle;                                                                                          \
        T            *record;                                                                                          \
        T##_keyed    *needs_a_plain_stream;                                                                            \
        T##_windowed *needs_a_plain_stream_;                                                                           \
    } T##_stream;

/* ---- WEIR_RECORD(T, (type, field), ...) --------------------------------------------------------------------------
 * Up to 128 fields of the types bool, intN_t, uintN_t, float, double, weir_time, weir_str, weir_bytes and
 * WEIR_ARRAY_OF.
 *
 *   T                              the struct, and its field table
 *   T_stream, T_keyed, T_windowed  handles while building
 *   T_out, T_emit(out, record)     the emitter: copies the record into the output batch, strings included
 *   T_rows, T_next(rows)           stored rows, one after the other; NULL at the end
 *   T_value, T_list                cells of a state, see weir/state.h
 *   T_reply                        an asynchronous reply, see weir/operators_edge.h */
#define WEIR_RECORD(T, ...)                                                                                            \
    typedef struct T {                                                                                                 \
        WEIR_EACH_(WEIR_MEMBER_, T, __VA_ARGS__)                                                                       \
    } T;                                                                                                               \
    WEIR_EACH_(WEIR_CHECK_FIELD_, T, __VA_ARGS__)                                                                      \
    WEIR_UNUSED_ static const weir_field weir_fields_##T[] = {WEIR_EACH_(WEIR_FIELD_ROW_, T, __VA_ARGS__)};            \
    WEIR_TYPE_(weir_type_##T, T)                                                                                       \
    WEIR_UNUSED_ static const weir_type *const weir_outs_##T[] = {&weir_type_##T};                                     \
    enum { weir_strings_##T = 0 WEIR_EACH_(WEIR_OR_STRING_, T, __VA_ARGS__) };                                         \
    WEIR_STREAMS_(T)                                                                                                   \
    WEIR_EMITTER_(T)                                                                                                   \
    WEIR_INLINE_ void weir_own_##T(const weir_out *o_, T *slot_)                                                       \
    {                                                                                                                  \
        (void)o_;                                                                                                      \
        (void)slot_;                                                                                                   \
        WEIR_EACH_(WEIR_OWN_FIELD_, T, __VA_ARGS__)                                                                    \
    }                                                                                                                  \
    WEIR_INLINE_ bool weir_same_strings_##T(const T *a_, const T *b_)                                                  \
    {                                                                                                                  \
        (void)a_;                                                                                                      \
        (void)b_;                                                                                                      \
        return true WEIR_EACH_(WEIR_AND_SAME_STRING_, T, __VA_ARGS__);                                                 \
    }                                                                                                                  \
    WEIR_EMIT_(T)                                                                                                      \
    WEIR_ROWS_(T)                                                                                                      \
    WEIR_RECORD_CELLS_(T)                                                                                              \
    WEIR_REPLY_(T)                                                                                                     \
    WEIR_RECORD_VERBS_(T)

/* The members of the struct. The name of the second macro is what a compiler prints when the comma is missing. */
#define WEIR_MEMBER_(T, F)                                         WEIR_A_FIELD_IS_type_COMMA_name_IN_PARENTHESES F
#define WEIR_A_FIELD_IS_type_COMMA_name_IN_PARENTHESES(TYPE, NAME) TYPE NAME;
#define WEIR_FIELD_NAME_(TYPE, NAME)                               NAME
#define WEIR_FIELD_OF_(T, NAME)                                    (((T *)0)->NAME)

/* Each type must be able to travel. */
#define WEIR_CHECK_FIELD_(T, F)     WEIR_CHECK_FIELD2_(T, WEIR_FIELD_NAME_ F)
#define WEIR_CHECK_FIELD2_(T, NAME) WEIR_CHECK_FIELD3_(T, NAME)
#define WEIR_CHECK_FIELD3_(T, NAME)                                                                                    \
    WEIR_CHECK_AS_(T##_##NAME##_can_travel_, WEIR_IS_RECORD_KIND_(WEIR_KIND_(WEIR_FIELD_OF_(T, NAME))),                \
                   "record " #T ", field " #NAME                                                                       \
                   ": this type cannot travel (use bool, intN_t, uintN_t, float, double, "                             \
                   "weir_time, weir_str, weir_bytes, WEIR_ARRAY_OF)")

/* The field table. */
#define WEIR_FIELD_ROW_(T, F)     WEIR_FIELD_ROW2_(T, WEIR_FIELD_NAME_ F)
#define WEIR_FIELD_ROW2_(T, NAME) WEIR_FIELD_ROW3_(T, NAME)
#define WEIR_FIELD_ROW3_(T, NAME)                                                                                      \
    {                                                                                                                  \
        .name = #NAME,                                                                                                 \
        .offset = offsetof(T, NAME),                                                                                   \
        .size = sizeof(WEIR_FIELD_OF_(T, NAME)),                                                                       \
        .kind = WEIR_KIND_(WEIR_FIELD_OF_(T, NAME)),                                                                   \
    },
#define WEIR_TYPE_(NAME, T)                                                                                            \
    WEIR_UNUSED_ static const weir_type NAME = {                                                                       \
        .abi_size = sizeof(weir_type),                                                                                 \
        .fields = sizeof weir_fields_##T / sizeof weir_fields_##T[0],                                                  \
        .name = #T,                                                                                                    \
        .size = sizeof(T),                                                                                             \
        .align = WEIR_ALIGN_(T),                                                                                       \
        .field = weir_fields_##T,                                                                                      \
    };

/* Strings: does the record have any, whose are they, and are those of two records the same bytes in the same place?
 * All of it folds to nothing for numbers. */
#define WEIR_KIND_OF_(T, F)   WEIR_KIND_(WEIR_FIELD_OF_(T, WEIR_FIELD_NAME_ F))
#define WEIR_OR_STRING_(T, F) || WEIR_IS_STRING_KIND_(WEIR_KIND_OF_(T, F))
#define WEIR_OWN_FIELD_(T, F) weir_own_field_(o_, &slot_->WEIR_FIELD_NAME_ F, WEIR_KIND_OF_(T, F));
#define WEIR_AND_SAME_STRING_(T, F)                                                                                    \
    &&weir_same_string_(&a_->WEIR_FIELD_NAME_ F, &b_->WEIR_FIELD_NAME_ F, WEIR_KIND_OF_(T, F))
WEIR_INLINE_ void weir_own_field_(const weir_out *o, void *field, unsigned kind)
{
    if (!WEIR_IS_STRING_KIND_(kind)) return;
    weir_str *s = (weir_str *)field;
    bool      far_away = s->len > WEIR_STR_INLINE && (size_t)(s->u.far - o->borrowed) >= o->borrowed_bytes;
    if (WEIR_RARE_(far_away)) weir_out_own(o->engine, s);
}
WEIR_INLINE_ bool weir_same_string_(const void *a, const void *b, unsigned kind)
{
    /* The count is zero for others: gcc -O0 would warn of reading behind a number even where it never does. */
    return memcmp(a, b, WEIR_IS_STRING_KIND_(kind) ? sizeof(weir_str) : 0) == 0;
}

/* ---- emitters ----------------------------------------------------------------------------------------------------
 * may_alias: the engine's array of weir_out is read and written as T_out, and a fused source writes through the
 * emitter of its own record into that of another one. */
#define WEIR_EMITTER_(T)                                                                                               \
    typedef struct __attribute__((may_alias)) T##_out {                                                                \
        weir_out out;                                                                                                  \
    } T##_out;                                                                                                         \
    WEIR_INLINE_ T##_out weir_load_##T(weir_ctx *c_, bool timed_)                                                      \
    {                                                                                                                  \
        T##_out out_;                                                                                                  \
        out_ = *(T##_out *)(void *)c_->out;                                                                            \
        weir_plain_(&out_.out, timed_);                                                                                \
        return out_;                                                                                                   \
    }

/* Of a loop's own copy: nothing is fused behind it, and whether there is event time is known while compiling. */
WEIR_INLINE_ void weir_plain_(weir_out *o, bool timed)
{
    o->fused = NULL;
    if (!timed) o->time = NULL;
}

/* The local copy of all emitters, back to the engine. */
#define WEIR_STORE_(C, LOCAL) (*(__typeof__(LOCAL) *)(void *)(C)->out = (LOCAL))

/* Room for one record at o->next. A loop that knows that there is no event time keeps that knowledge. */
WEIR_INLINE_ void weir_need_(weir_out *o)
{
    if (WEIR_LIKELY_(o->next != o->end)) return;
    weir_grown g = weir_out_grow(o->engine, o->next);
    o->next = g.next;
    o->end = g.end;
    o->time = o->time ? g.time : NULL;
}

/* The record at o->next becomes data, with the event time of the record now in user code; keep == false: it stays
 * garbage. */
WEIR_INLINE_ void weir_keep_if_(weir_out *o, size_t bytes, bool keep)
{
    o->next += (size_t)keep * bytes;
    if (!o->time) return;
    *o->time = weir_time_of(o->ctx);
    o->time += keep;
}

#define WEIR_EMIT_(T)                                                                                                  \
    WEIR_INLINE_ void T##_emit(T##_out *out_, T record_)                                                               \
    {                                                                                                                  \
        weir_out *o_ = &out_->out;                                                                                     \
        weir_need_(o_);                                                                                                \
        if (o_->fused) {                                                                                               \
            weir_grown room_ = {o_->next, o_->end, o_->time};                                                          \
            room_ = o_->fused(&record_, room_, o_->ctx);                                                               \
            o_->next = room_.next;                                                                                     \
            o_->end = room_.end;                                                                                       \
            o_->time = room_.time;                                                                                     \
            return;                                                                                                    \
        }                                                                                                              \
        T *slot_ = (T *)(void *)o_->next;                                                                              \
        *slot_ = record_;                                                                                              \
        weir_own_##T(o_, slot_);                                                                                       \
        weir_keep_if_(o_, sizeof(T), true);                                                                            \
    }

/* ---- stored rows ------------------------------------------------------------------------------------------------- */
#define WEIR_ROWS_(T)                                                                                                  \
    typedef struct T##_rows {                                                                                          \
        weir_rows rows;                                                                                                \
    } T##_rows;                                                                                                        \
    WEIR_FN_ const T *T##_next(T##_rows *rows_)                                                                        \
    {                                                                                                                  \
        if (rows_->rows.at == rows_->rows.end && !weir_rows_refill(&rows_->rows, sizeof(T))) return NULL;              \
        const T *row_ = (const T *)(const void *)rows_->rows.at;                                                       \
        rows_->rows.at += sizeof(T);                                                                                   \
        return row_;                                                                                                   \
    }

/* ---- asynchronous replies: from any thread, exactly one of the two, once ----------------------------------------- */
#define WEIR_REPLY_(T)                                                                                                 \
    typedef struct T##_reply T##_reply;                                                                                \
    WEIR_FN_ void            T##_reply_with(T##_reply *reply_, T record_)                                              \
    {                                                                                                                  \
        weir_reply_with((weir_reply *)(void *)reply_, &weir_type_##T, &record_);                                       \
    }                                                                                                                  \
    WEIR_FN_ void T##_reply_error(T##_reply *reply_, const char *reason_)                                              \
    {                                                                                                                  \
        weir_reply_error((weir_reply *)(void *)reply_, reason_);                                                       \
    }

/* ---- what the verbs of weir/pipeline.h call ---------------------------------------------------------------------- */
#define WEIR_RECORD_VERBS_(T)                                                                                          \
    WEIR_FN_ T##_stream weir_stream_##T(weir_node node_)                                                               \
    {                                                                                                                  \
        T##_stream s_;                                                                                                 \
        memset(&s_, 0, sizeof s_);                                                                                     \
        s_.handle = weir_handle_of_(node_, &weir_type_##T);                                                            \
        return s_;                                                                                                     \
    }                                                                                                                  \
    WEIR_FN_ T##_stream weir_streams_##T(weir_node node_)                                                              \
    {                                                                                                                  \
        return weir_stream_##T(node_);                                                                                 \
    }                                                                                                                  \
    WEIR_FN_ T##_stream weir_source_of_##T(weir_pipeline *p_, weir_source_options options_)                            \
    {                                                                                                                  \
        return weir_stream_##T(weir_graph_source(p_, &weir_type_##T, &options_));                                      \
    }                                                                                                                  \
    WEIR_FN_ T##_stream weir_feedback_##T(weir_pipeline *p_, weir_options options_)                                    \
    {                                                                                                                  \
        return weir_stream_##T(weir_graph_feedback(p_, &weir_type_##T, &options_));                                    \
    }

/* ---- WEIR_OUTPUTS(O, (T, name), ...): an operator with several outputs -------------------------------------------
 * Makes O_out, a struct of emitters, and O_streams, a struct of streams. O may stand wherever an operator names its
 * output. */
#define WEIR_OUTPUTS(O, ...)                                                                                           \
    typedef struct __attribute__((may_alias)) O##_out {                                                                \
        WEIR_EACH_(WEIR_OUTPUT_EMITTER_, O, __VA_ARGS__)                                                               \
    } O##_out;                                                                                                         \
    typedef struct O##_streams {                                                                                       \
        WEIR_EACH_(WEIR_OUTPUT_STREAM_, O, __VA_ARGS__)                                                                \
    } O##_streams;                                                                                                     \
    typedef O##_streams O##_stream;                                                                                    \
    WEIR_CHECK_(sizeof(O##_out) == WEIR_COUNT_(__VA_ARGS__) * sizeof(weir_out),                                        \
                "outputs " #O " are an array of emitters")                                                             \
    WEIR_UNUSED_ static const weir_type *const weir_outs_##O[] = {WEIR_EACH_(WEIR_OUTPUT_TYPE_, O, __VA_ARGS__)};      \
    WEIR_INLINE_ O##_out weir_load_##O(weir_ctx *c_, bool timed_)                                                      \
    {                                                                                                                  \
        O##_out out_;                                                                                                  \
        memcpy(&out_, c_->out, sizeof out_);                                                                           \
        WEIR_EACH_(WEIR_OUTPUT_PLAIN_, O, __VA_ARGS__)                                                                 \
        return out_;                                                                                                   \
    }                                                                                                                  \
    WEIR_FN_ O##_streams weir_streams_##O(weir_node node_)                                                             \
    {                                                                                                                  \
        O##_streams s_;                                                                                                \
        uint32_t    port_ = 0;                                                                                         \
        WEIR_EACH_(WEIR_OUTPUT_PORT_, O, __VA_ARGS__)                                                                  \
        return s_;                                                                                                     \
    }
#define WEIR_OUTPUT_EMITTER_(O, F)     WEIR_OUTPUT_EMITTER2_ F
#define WEIR_OUTPUT_EMITTER2_(T, NAME) T##_out NAME;
#define WEIR_OUTPUT_STREAM_(O, F)      WEIR_OUTPUT_STREAM2_ F
#define WEIR_OUTPUT_STREAM2_(T, NAME)  T##_stream NAME;
#define WEIR_OUTPUT_TYPE_(O, F)        WEIR_OUTPUT_TYPE2_ F
#define WEIR_OUTPUT_TYPE2_(T, NAME)    &weir_type_##T,
#define WEIR_OUTPUT_PLAIN_(O, F)       WEIR_OUTPUT_PLAIN2_ F
#define WEIR_OUTPUT_PLAIN2_(T, NAME)   weir_plain_(&out_.NAME.out, timed_);
#define WEIR_OUTPUT_PORT_(O, F)        WEIR_OUTPUT_PORT2_ F
#define WEIR_OUTPUT_PORT2_(T, NAME)                                                                                    \
    node_.port = port_++;                                                                                              \
    s_.NAME = weir_stream_##T(node_);

#include <weir/state.h>
#endif
