/* weir/operators_edge.h: WEIR_ASYNC, WEIR_PARTITION, WEIR_WATERMARK. */
#ifndef WEIR_OPERATORS_EDGE_H
#define WEIR_OPERATORS_EDGE_H
#include <weir/loop.h>

/* ---- WEIR_ASYNC(NAME, T, IN, U, REPLY [, CTX])     start a request and return at once ----------------------------
 * Later, from any thread, exactly one of  U_reply_with(REPLY, (U){ ... })  and  U_reply_error(REPLY, "why"). IN
 * stays valid until then. */
#define WEIR_ASYNC(NAME, T, IN, U, ...)                                                                                \
    static inline void weir_user_##NAME(const T *, U##_reply *, weir_ctx *);                                           \
    WEIR_LOOP_         weir_loop_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        WEIR_FOR_EACH_(NULL, weir_user_##NAME(&in_[i_], (U##_reply *)(void *)c_->reply[i_], c_))                       \
    }                                                                                                                  \
    WEIR_OP_(NAME){                                                                                                    \
        WEIR_OP_IS_(ASYNC, NAME, WEIR_OP_TRACKS).outs = WEIR_OUTS_(U),                                                 \
        .left = &weir_type_##T,                                                                                        \
        .out = weir_outs_##U,                                                                                          \
        .on_left = weir_loop_##NAME,                                                                                   \
    };                                                                                                                 \
    typedef weir_async_options weir_options_of_##NAME;                                                                 \
    WEIR_FN_ U##_stream weir_apply_##NAME(T##_stream in_, weir_async_options o_)                                       \
        WEIR_VERB_(NAME, U, x_.left = in_.handle.node;) static inline void weir_user_##NAME(                           \
            const T *IN, U##_reply *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))

/* ---- WEIR_PARTITION(NAME, T, IN, CHANNELS)     uint32_t below CHANNELS.  Use: weir_partition(NAME, stream) ------- */
#define WEIR_PARTITION(NAME, T, IN, CHANNELS)                                                                          \
    static inline uint32_t weir_user_##NAME(const T *, uint32_t);                                                      \
    WEIR_LOOP_             weir_loop_##NAME(weir_ctx *c_)                                                              \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        uint32_t channels_ = c_->channels;                                                                             \
        for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) {                                                             \
            c_->verdict[i_] = weir_user_##NAME(&in_[i_], channels_);                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    WEIR_FN_ T##_stream weir_partition_##NAME(T##_stream s_)                                                           \
    {                                                                                                                  \
        return weir_stream_##T(weir_graph_route(s_.handle.node, WEIR_ROUTE_OWN, weir_loop_##NAME));                    \
    }                                                                                                                  \
    static inline uint32_t weir_user_##NAME(const T *IN, uint32_t CHANNELS)

/* ---- WEIR_WATERMARK(NAME, T, IN)     weir_time: watermark after this record, or .ns = WEIR_NO_TIME ---------------
 * Use: weir_event_time_by(NAME, stream, field). */
#define WEIR_WATERMARK(NAME, T, IN)                                                                                    \
    static inline weir_time weir_user_##NAME(const T *);                                                               \
    WEIR_LOOP_              weir_loop_##NAME(weir_ctx *c_)                                                             \
    {                                                                                                                  \
        const T *in_ = (const T *)c_->in;                                                                              \
        for (uint32_t i_ = 0, n_ = c_->n; i_ < n_; i_++) c_->mark[i_] = weir_user_##NAME(&in_[i_]);                    \
    }                                                                                                                  \
    WEIR_UNUSED_ static const weir_watermark_def weir_watermark_##NAME = {#NAME, weir_loop_##NAME};                    \
    WEIR_FN_ T##_stream weir_event_time_by_##NAME(T##_stream s_, uint32_t offset_, weir_time_options o_)               \
    {                                                                                                                  \
        return weir_stream_##T(weir_graph_time(s_.handle.node, offset_, &weir_watermark_##NAME, &o_));                 \
    }                                                                                                                  \
    static inline weir_time weir_user_##NAME(const T *IN)

/* ---- WEIR_UPGRADE(NAME, OLD, FROM, NEW, TO [, CTX])     states saved with schema OLD become NEW ------------------
 * Use: .upgrade = { &NAME }. *TO starts zeroed. */
#define WEIR_UPGRADE(NAME, OLD, FROM, NEW, ...)                                                                        \
    static inline void weir_user_##NAME(const OLD *, NEW *, weir_ctx *);                                               \
    WEIR_LOOP_         weir_loop_##NAME(weir_ctx *c_)                                                                  \
    {                                                                                                                  \
        WEIR_FOR_EACH_(c_->state[i_], weir_user_##NAME((const OLD *)c_->other[i_], (NEW *)c_->state[i_], c_))          \
    }                                                                                                                  \
    WEIR_UNUSED_ static const weir_upgrade NAME = {&weir_type_##OLD, &weir_type_##NEW, weir_loop_##NAME};              \
    static inline void weir_user_##NAME(const OLD *FROM, NEW *WEIR_OUT_(__VA_ARGS__), WEIR_CTX_PARAM_(__VA_ARGS__))
#endif
