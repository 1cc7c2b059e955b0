/* weir/operators_stateless.h: WEIR_FILTER, WEIR_MAP, WEIR_FLAT_MAP, WEIR_SPLIT, WEIR_FUSE. They take a T_stream:
 * weir_apply(NAME, stream).
 *
 * Each makes, besides its loop and descriptor:
 *   weir_step_NAME   one record into one record, if any: what a WEIR_FUSE begins with
 *   weir_push_NAME   one record into an emitter that has room: what a WEIR_FUSE ends with */
#ifndef WEIR_OPERATORS_STATELESS_H
#define WEIR_OPERATORS_STATELESS_H
#include <weir/loop.h>

/* What a WEIR_FUSE has to know about its parts. */
#define WEIR_FUSABLE_(NAME, T, U, TRACKS)                                                                              \
    typedef T       weir_in_##NAME;                                                                                    \
    typedef U##_out weir_emitter_of_##NAME;                                                                            \
    enum { weir_tracks_of_##NAME = TRACKS };                                                                           \
    WEIR_INLINE_ U##_out weir_load_for_##NAME(weir_ctx *c_, bool timed_)                                               \
    {                                                                                                                  \
        return weir_load_##U(c_, timed_);                                                                              \
    }                                                                                                                  \
    WEIR_FN_ U##_stream weir_wrap_##NAME(weir_node node_)                                                              \
    {                                                                                                                  \
        return weir_streams_##U(node_);                                                                                \
    }                                                                                                                  \
    WEIR_FN_ const weir_op *weir_fuse_##NAME(void)                                                                     \
    {                                                                                                                  \
        return &weir_op_##NAME;                                                                                        \
    }                                                                                                                  \
    typedef struct weir_this_is_no_source weir_reads_##NAME;                                                           \
    WEIR_FN_ void                         weir_poll_into_##NAME(weir_ctx *c_, void *out_)                              \
    {                                                                                                                  \
        (void)c_;                                                                                                      \
        (void)out_;                                                                                                    \
    }

/* ---- WEIR_FILTER(NAME, T, IN [, CTX])     bool: keep it? ---------------------------------------------------------
 * The engine guarantees room for all n. Each record is copied and only then kept or not, so that the loop has no
 * branch. Its strings live as long as the input's: nothing to own. */
#define WEIR_FILTER(NAME, T, ...)                                                                                      \
    WEIR_BODY_ bool weir_user_##NAME(const T *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__));                   \
    WEIR_LOOP_      weir_loop_##NAME(weir_ctx *c_)                                                                     \
    {                                                                                                                  \
        const bool tracks_ = WEIR_TRACKS_(__VA_ARGS__);                                                                \
        const T   *in_ = (const T *)c_->in;                                                                            \
        T         *o_ = (T *)(void *)c_->out->next;                                                                    \
        weir_time *time_ = c_->out->time;                                                                              \
        WEIR_TWICE_({                                                                                                  \
            for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) {                                                         \
                weir_track_(c_, tracks_, i_, NULL);                                                                    \
                *o_ = in_[i_];                                                                                         \
                if (timed_) *time_ = c_->time[i_];                                                                     \
                bool keep_ = weir_user_##NAME(&in_[i_], c_);                                                           \
                o_ += keep_;                                                                                           \
                if (timed_) time_ += keep_;                                                                            \
                if (weir_stopped_(c_, tracks_)) break;                                                                 \
            }                                                                                                          \
        })                                                                                                             \
        c_->out->next = (char *)o_;                                                                                    \
        c_->out->time = time_;                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(FILTER, NAME, WEIR_TRACKS_FLAG_(__VA_ARGS__)).outs = 1,                                            \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##T,                                                                                          \
        .on_left = weir_loop_##NAME,                                                                                   \
    };                                                                                                                 \
    WEIR_APPLY_STREAM_(NAME, T, T)                                                                                     \
    WEIR_FUSABLE_(NAME, T, T, WEIR_TRACKS_(__VA_ARGS__))                                                               \
    typedef T         weir_made_by_##NAME;                                                                             \
    WEIR_INLINE_ bool weir_step_##NAME(const T *in_, T *made_, weir_ctx *c_, uint32_t i_)                              \
    {                                                                                                                  \
        (void)i_;                                                                                                      \
        *made_ = *in_;                                                                                                 \
        return weir_user_##NAME(in_, c_);                                                                              \
    }                                                                                                                  \
    WEIR_INLINE_ void weir_push_##NAME(const T *in_, T##_out *out_, weir_ctx *c_, uint32_t i_)                         \
    {                                                                                                                  \
        T   *slot_ = (T *)(void *)out_->out.next;                                                                      \
        bool keep_ = weir_step_##NAME(in_, slot_, c_, i_);                                                             \
        if (weir_strings_##T && keep_) weir_own_##T(&out_->out, slot_);                                                \
        weir_keep_if_(&out_->out, sizeof(T), keep_);                                                                   \
    }                                                                                                                  \
    WEIR_BODY_ bool weir_user_##NAME(const T *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

/* A small record is held in registers while it is mapped: then the compiler sees that zeroing *OUT does not change
 * *IN, and drops the zeroes that the body overwrites. Nothing of a larger one is read that the body does not use. */
#define WEIR_HELD_BYTES_ 64

/* ---- WEIR_MAP(NAME, T, IN, U, OUT [, CTX])     bool: could it be mapped? -----------------------------------------
 * *OUT starts zeroed and is built inside the output batch, where the engine guarantees room for all n. false = bad
 * record: .on_error decides; say why with `return weir_reject(ctx, "why")`. True after weir_reject: it counts as bad,
 * and *OUT goes on all the same. Strings put into *OUT come from *IN, weir_keep or weir_format. */
#define WEIR_MAP(NAME, T, IN, U, ...)                                                                                  \
    WEIR_BODY_ bool   weir_user_##NAME(const T *IN, U *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__));          \
    WEIR_INLINE_ bool weir_step_##NAME(const T *in_, U *made_, weir_ctx *c_, uint32_t i_)                              \
    {                                                                                                                  \
        const T held_ = *in_;                                                                                          \
        memset(made_, 0, sizeof *made_);                                                                               \
        if (WEIR_LIKELY_(weir_user_##NAME(sizeof(T) <= WEIR_HELD_BYTES_ ? &held_ : in_, made_, c_))) return true;      \
        weir_reject_unmapped(c_, i_);                                                                                  \
        return false;                                                                                                  \
    }                                                                                                                  \
    WEIR_LOOP_ weir_loop_##NAME(weir_ctx *c_)                                                                          \
    {                                                                                                                  \
        const bool     tracks_ = WEIR_TRACKS_(__VA_ARGS__);                                                            \
        const T       *in_ = (const T *)c_->in;                                                                        \
        const weir_out owner_ = *c_->out;                                                                              \
        U             *o_ = (U *)(void *)owner_.next;                                                                  \
        weir_time     *time_ = owner_.time;                                                                            \
        WEIR_TWICE_({                                                                                                  \
            for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) {                                                         \
                weir_track_(c_, tracks_, i_, NULL);                                                                    \
                if (timed_) *time_ = c_->time[i_];                                                                     \
                bool mapped_ = weir_step_##NAME(&in_[i_], o_, c_, i_);                                                 \
                if (weir_strings_##U && mapped_) weir_own_##U(&owner_, o_);                                            \
                o_ += mapped_;                                                                                         \
                if (timed_) time_ += mapped_;                                                                          \
                if (weir_stopped_(c_, tracks_)) break;                                                                 \
            }                                                                                                          \
        })                                                                                                             \
        c_->out->next = (char *)o_;                                                                                    \
        c_->out->time = time_;                                                                                         \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(MAP, NAME, WEIR_TRACKS_FLAG_(__VA_ARGS__)).outs = 1,                                               \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .on_left = weir_loop_##NAME,                                                                                   \
    };                                                                                                                 \
    WEIR_APPLY_STREAM_(NAME, T, U)                                                                                     \
    WEIR_FUSABLE_(NAME, T, U, WEIR_TRACKS_(__VA_ARGS__))                                                               \
    typedef U         weir_made_by_##NAME;                                                                             \
    WEIR_INLINE_ void weir_push_##NAME(const T *in_, U##_out *out_, weir_ctx *c_, uint32_t i_)                         \
    {                                                                                                                  \
        U   *slot_ = (U *)(void *)out_->out.next;                                                                      \
        bool mapped_ = weir_step_##NAME(in_, slot_, c_, i_);                                                           \
        if (weir_strings_##U && mapped_) weir_own_##U(&out_->out, slot_);                                              \
        weir_keep_if_(&out_->out, sizeof(U), mapped_);                                                                 \
    }                                                                                                                  \
    WEIR_BODY_ bool weir_user_##NAME(const T *IN, U *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

/* ---- WEIR_FLAT_MAP(NAME, T, IN, U, OUT [, CTX])     emits any number; U may be a record or WEIR_OUTPUTS ---------- */
#define WEIR_FLAT_MAP(NAME, T, IN, U, ...)                                                                             \
    WEIR_BODY_ void   weir_user_##NAME(const T *IN, U##_out *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__));    \
    WEIR_INLINE_ void weir_push_##NAME(const T *in_, U##_out *out_, weir_ctx *c_, uint32_t i_)                         \
    {                                                                                                                  \
        (void)i_;                                                                                                      \
        weir_user_##NAME(in_, out_, c_);                                                                               \
    }                                                                                                                  \
    WEIR_PUSH_LOOP_(NAME, T, U##_out, weir_load_##U, WEIR_TRACKS_(__VA_ARGS__))                                        \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(FLAT_MAP, NAME, WEIR_TRACKS_FLAG_(__VA_ARGS__)).outs = WEIR_OUTS_(U),                              \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .on_left = weir_loop_##NAME,                                                                                   \
    };                                                                                                                 \
    WEIR_APPLY_STREAM_(NAME, T, U)                                                                                     \
    WEIR_FUSABLE_(NAME, T, U, WEIR_TRACKS_(__VA_ARGS__))                                                               \
    WEIR_BODY_ void weir_user_##NAME(const T *IN, U##_out *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

/* ---- WEIR_SPLIT(NAME, T, TEXT, SEPARATOR, U, TOKEN)     one U per token ------------------------------------------
 *      WEIR_SPLIT_WITH(NAME, T, TEXT, SEPARATOR, U, TOKEN, FIELD, ...)
 * The tokens of T.TEXT between characters SEPARATOR, a constant, become U.TOKEN, one record each, in their order; empty
 * ones are skipped. Each FIELD is copied from T to U, where it has the same name and type; the others are zero. A
 * WEIR_FLAT_MAP with a weir_cursor does the same in twice the time: here the engine splits many records at once, with
 * the vectors that the CPU has. */
#define WEIR_SPLIT(NAME, T, TEXT, SEPARATOR, U, TOKEN)                                                                 \
    WEIR_UNUSED_ static const weir_copy weir_copies_of_##NAME[1] = {{0, 0, 0, 0}};                                     \
    WEIR_SPLIT_(NAME, T, TEXT, SEPARATOR, U, TOKEN, 0)
#define WEIR_SPLIT_WITH(NAME, T, TEXT, SEPARATOR, U, TOKEN, ...)                                                       \
    WEIR_EACH_(WEIR_SPLIT_CHECK_, (NAME, T, U), __VA_ARGS__)                                                           \
    static const weir_copy weir_copies_of_##NAME[] = {WEIR_EACH_(WEIR_SPLIT_ROW_, (NAME, T, U), __VA_ARGS__)};         \
    WEIR_SPLIT_(NAME, T, TEXT, SEPARATOR, U, TOKEN, WEIR_COUNT_(__VA_ARGS__))
#define WEIR_SPLIT_(NAME, T, TEXT, SEPARATOR, U, TOKEN, COPIES)                                                        \
    WEIR_CHECK_AS_(NAME##_splits_strings_,                                                                             \
                   WEIR_KIND_(WEIR_FIELD_OF_(T, TEXT)) == WEIR_STR &&                                                  \
                       WEIR_KIND_(WEIR_FIELD_OF_(U, TOKEN)) == WEIR_STR,                                               \
                   "WEIR_SPLIT(" #NAME "): " #T "." #TEXT " and " #U "." #TOKEN " must be weir_str")                   \
    WEIR_UNUSED_ static const weir_splitting weir_splitting_##NAME = {                                                 \
        .abi_size = sizeof(weir_splitting),                                                                            \
        .text = offsetof(T, TEXT),                                                                                     \
        .in_size = sizeof(T),                                                                                          \
        .token = offsetof(U, TOKEN),                                                                                   \
        .out_size = sizeof(U),                                                                                         \
        .copies = COPIES,                                                                                              \
        .copy = weir_copies_of_##NAME,                                                                                 \
        .separator = SEPARATOR,                                                                                        \
    };                                                                                                                 \
    WEIR_LOOP_ weir_loop_##NAME(weir_ctx *c_)                                                                          \
    {                                                                                                                  \
        weir_split(c_, &weir_splitting_##NAME);                                                                        \
    }                                                                                                                  \
    WEIR_INLINE_ void weir_push_##NAME(const T *in_, U##_out *out_, weir_ctx *c_, uint32_t i_)                         \
    {                                                                                                                  \
        weir_cursor cursor_ = weir_str_cursor(&in_->TEXT);                                                             \
        (void)c_;                                                                                                      \
        (void)i_;                                                                                                      \
        for (weir_str token_; weir_next_token(&cursor_, SEPARATOR, &token_);) {                                        \
            U made_;                                                                                                   \
            memset(&made_, 0, sizeof made_);                                                                           \
            for (uint32_t k_ = 0, n_ = COPIES; k_ < n_; k_++)                                                          \
                memcpy((char *)&made_ + weir_copies_of_##NAME[k_].to,                                                  \
                       (const char *)in_ + weir_copies_of_##NAME[k_].from, weir_copies_of_##NAME[k_].size);            \
            made_.TOKEN = token_;                                                                                      \
            U##_emit(out_, made_);                                                                                     \
        }                                                                                                              \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(FLAT_MAP, NAME, 0u).outs = WEIR_OUTS_(U),                                                          \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .on_left = weir_loop_##NAME,                                                                                   \
    };                                                                                                                 \
    WEIR_APPLY_STREAM_(NAME, T, U)                                                                                     \
    WEIR_FUSABLE_(NAME, T, U, false)
#define WEIR_SPLIT_ROW_(X, F) WEIR_SPLIT_ROW2_(WEIR_UNPACK_ X, F)
#define WEIR_SPLIT_ROW2_(...) WEIR_SPLIT_ROW3_(__VA_ARGS__)
#define WEIR_SPLIT_ROW3_(NAME, T, U, F)                                                                                \
    {offsetof(T, F), offsetof(U, F), sizeof(WEIR_FIELD_OF_(T, F)),                                                     \
     WEIR_IS_STRING_KIND_(WEIR_KIND_(WEIR_FIELD_OF_(T, F)))},
#define WEIR_SPLIT_CHECK_(X, F) WEIR_SPLIT_CHECK2_(WEIR_UNPACK_ X, F)
#define WEIR_SPLIT_CHECK2_(...) WEIR_SPLIT_CHECK3_(__VA_ARGS__)
#define WEIR_SPLIT_CHECK3_(NAME, T, U, F)                                                                              \
    WEIR_CHECK_AS_(NAME##_##F##_fits_, WEIR_SAME_(__typeof__(WEIR_FIELD_OF_(T, F)), __typeof__(WEIR_FIELD_OF_(U, F))), \
                   "WEIR_SPLIT_WITH(" #NAME "): " #T "." #F " and " #U "." #F " differ in type")

/* Pushes every record into a local copy of the emitters. */
#define WEIR_PUSH_LOOP_(NAME, T, EMITTERS, LOAD, TRACKS)                                                               \
    WEIR_LOOP_ weir_loop_##NAME(weir_ctx *c_)                                                                          \
    {                                                                                                                  \
        const bool tracks_ = TRACKS;                                                                                   \
        const T   *in_ = (const T *)c_->in;                                                                            \
        WEIR_TWICE_({                                                                                                  \
            EMITTERS out_ = LOAD(c_, timed_);                                                                          \
            for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) {                                                         \
                weir_locate_(c_, timed_, i_);                                                                          \
                weir_track_(c_, tracks_, i_, NULL);                                                                    \
                weir_push_##NAME(&in_[i_], &out_, c_, i_);                                                             \
                if (weir_stopped_(c_, tracks_)) break;                                                                 \
            }                                                                                                          \
            WEIR_STORE_(c_, out_);                                                                                     \
        })                                                                                                             \
    }

/* ---- WEIR_FUSE(NAME, FIRST, REST)     one loop for both; the record between them stays in registers --------------
 * FIRST maps, filters or is a WEIR_SOURCE; REST is any operator of this file; for more than two, nest in REST. Use a
 * fused source by weir_read(NAME, p), anything else by weir_apply(NAME, stream).
 *
 * A fused source emits into an emitter whose `fused` is weir_fused_NAME: a constant that the compiler sees through,
 * so that REST is inlined where the record is emitted. next, end and time are those of REST's output all the while. */
#define WEIR_FUSE(NAME, FIRST, REST)                                                                                   \
    WEIR_CHECK_(WEIR_SAME_(weir_made_by_##FIRST, weir_in_##REST),                                                      \
                "WEIR_FUSE(" #NAME "): " #FIRST " does not make what " #REST " takes")                                 \
    typedef weir_in_##FIRST        weir_in_##NAME;                                                                     \
    typedef weir_takes_##FIRST     weir_takes_##NAME;                                                                  \
    typedef weir_gives_##REST      weir_gives_##NAME;                                                                  \
    typedef weir_emitter_of_##REST weir_emitter_of_##NAME;                                                             \
    typedef weir_options           weir_options_of_##NAME;                                                             \
    enum { weir_tracks_of_##NAME = weir_tracks_of_##FIRST || weir_tracks_of_##REST };                                  \
    WEIR_INLINE_ weir_emitter_of_##NAME weir_load_for_##NAME(weir_ctx *c_, bool timed_)                                \
    {                                                                                                                  \
        return weir_load_for_##REST(c_, timed_);                                                                       \
    }                                                                                                                  \
    WEIR_FN_ weir_gives_##NAME weir_wrap_##NAME(weir_node node_)                                                       \
    {                                                                                                                  \
        return weir_wrap_##REST(node_);                                                                                \
    }                                                                                                                  \
    WEIR_INLINE_ void weir_push_##NAME(const weir_in_##FIRST *in_, weir_emitter_of_##REST *out_, weir_ctx *c_,         \
                                       uint32_t i_)                                                                    \
    {                                                                                                                  \
        weir_made_by_##FIRST between_;                                                                                 \
        if (weir_step_##FIRST(in_, &between_, c_, i_)) weir_push_##REST(&between_, out_, c_, i_);                      \
    }                                                                                                                  \
    WEIR_PUSH_LOOP_(NAME, weir_in_##FIRST, weir_emitter_of_##REST, weir_load_for_##REST, weir_tracks_of_##NAME)        \
    WEIR_INLINE_ weir_grown weir_fused_##NAME(const void *record_, weir_grown room_, weir_ctx *c_)                     \
    {                                                                                                                  \
        weir_emitter_of_##REST out_ = weir_load_for_##REST(c_, true);                                                  \
        weir_out              *o_ = (weir_out *)(void *)&out_;                                                         \
        o_->next = room_.next;                                                                                         \
        o_->end = room_.end;                                                                                           \
        o_->time = room_.time;                                                                                         \
        c_->at++; /* a reject is told from that of the record before */                                                \
        weir_push_##REST((const weir_in_##REST *)record_, &out_, c_, c_->at);                                          \
        room_.next = o_->next;                                                                                         \
        room_.end = o_->end;                                                                                           \
        room_.time = o_->time;                                                                                         \
        if (sizeof out_ > sizeof(weir_out)) memcpy(c_->out + 1, o_ + 1, sizeof out_ - sizeof(weir_out));               \
        return room_;                                                                                                  \
    }                                                                                                                  \
    WEIR_LOOP_ weir_poll_##NAME(weir_ctx *c_)                                                                          \
    {                                                                                                                  \
        WEIR_TWICE_({                                                                                                  \
            weir_out out_ = c_->out[0];                                                                                \
            weir_plain_(&out_, timed_);                                                                                \
            out_.fused = weir_fused_##NAME;                                                                            \
            weir_poll_into_##FIRST(c_, &out_);                                                                         \
            out_.fused = NULL;                                                                                         \
            c_->out[0] = out_;                                                                                         \
        })                                                                                                             \
    }                                                                                                                  \
    WEIR_UNUSED_ static weir_op weir_op_##NAME;                                                                        \
    WEIR_FN_ const weir_op     *weir_fuse_##NAME(void)                                                                 \
    {                                                                                                                  \
        const weir_op *rest_ = weir_fuse_##REST(); /* a fuse fills its own here */                                     \
        bool           from_source_ = weir_op_##FIRST.kind == WEIR_OP_SOURCE;                                          \
        weir_op_##NAME = from_source_ ? weir_op_##FIRST : *rest_;                                                      \
        weir_op_##NAME.name = #NAME;                                                                                   \
        weir_op_##NAME.file = __FILE__;                                                                                \
        weir_op_##NAME.line = __LINE__;                                                                                \
        weir_op_##NAME.flags = weir_op_##FIRST.flags | rest_->flags;                                                   \
        weir_op_##NAME.left = weir_op_##FIRST.left;                                                                    \
        weir_op_##NAME.outs = rest_->outs;                                                                             \
        weir_op_##NAME.out = rest_->out;                                                                               \
        weir_op_##NAME.on_left = from_source_ ? weir_poll_##NAME : weir_loop_##NAME;                                   \
        return &weir_op_##NAME;                                                                                        \
    }                                                                                                                  \
    WEIR_FN_ weir_gives_##NAME weir_apply_##NAME(weir_takes_##NAME in_, weir_options o_)                               \
    {                                                                                                                  \
        weir_inputs x_;                                                                                                \
        memset(&x_, 0, sizeof x_);                                                                                     \
        x_.size = sizeof x_;                                                                                           \
        x_.left = in_.handle.node;                                                                                     \
        return weir_wrap_##NAME(weir_graph_op(weir_fuse_##NAME(), &x_, &o_));                                          \
    }                                                                                                                  \
    WEIR_FN_ weir_gives_##NAME weir_read_by_##NAME(weir_reads_##FIRST *p_, weir_read_options o_)                       \
    {                                                                                                                  \
        return weir_wrap_##NAME(weir_graph_read((weir_pipeline *)(void *)p_, weir_fuse_##NAME(), &o_));                \
    }
#endif
