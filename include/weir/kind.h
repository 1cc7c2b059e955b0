/* weir/kind.h: from a C type to its row in a field table. Preprocessor and templates only.
 * (check: part of weir/types.h, which includes it.) */
#ifndef WEIR_KIND_H
#define WEIR_KIND_H

/* (WEIR_ARRAY_OF(double, 3), position): a fixed array as a field. */
#define WEIR_ARRAY_OF(T, N) __typeof__(T[N])

#ifdef __cplusplus
/* WEIR_KIND_(expression) = enum weir_kind of its type. */
namespace weir_detail
{
template <class X> struct kind {
    static constexpr unsigned value = WEIR_NOT_A_KIND;
};
#define WEIR_KIND_CPP_(X, K)                                                                                           \
    template <> struct kind<X> {                                                                                       \
        static constexpr unsigned value = (K);                                                                         \
    };
WEIR_KIND_CPP_(bool, WEIR_BOOL)
WEIR_KIND_CPP_(int8_t, WEIR_I8)
WEIR_KIND_CPP_(int16_t, WEIR_I16)
WEIR_KIND_CPP_(int32_t, WEIR_I32)
WEIR_KIND_CPP_(int64_t, WEIR_I64)
WEIR_KIND_CPP_(uint8_t, WEIR_U8)
WEIR_KIND_CPP_(uint16_t, WEIR_U16)
WEIR_KIND_CPP_(uint32_t, WEIR_U32)
WEIR_KIND_CPP_(uint64_t, WEIR_U64)
WEIR_KIND_CPP_(float, WEIR_F32)
WEIR_KIND_CPP_(double, WEIR_F64)
WEIR_KIND_CPP_(weir_time, WEIR_TIME)
WEIR_KIND_CPP_(weir_str, WEIR_STR)
WEIR_KIND_CPP_(weir_bytes, WEIR_BYTES)
WEIR_KIND_CPP_(weir_text, WEIR_TEXT)
WEIR_KIND_CPP_(weir_event_timer, WEIR_EVENT_TIMER)
WEIR_KIND_CPP_(weir_clock_timer, WEIR_CLOCK_TIMER)
template <class X, size_t N> struct kind<X[N]> {
    static constexpr unsigned element = kind<X>::value;
    static constexpr bool     number = element >= WEIR_I8 && element <= WEIR_F64;
    static constexpr unsigned value = number ? (unsigned)WEIR_ARRAY | element : (unsigned)WEIR_NOT_A_KIND;
};
template <class X> struct key_kind {
    static constexpr unsigned value = kind<X>::value;
    static_assert(value >= WEIR_BOOL && value <= WEIR_BYTES && value != WEIR_F32 && value != WEIR_F64,
                  "this field cannot be a key: no floating point, no arrays");
};
template <class X> struct time_field {
    static constexpr bool value = std::is_same<X, weir_time>::value;
    static_assert(value, "event time needs a weir_time field");
};
} // namespace weir_detail
#define WEIR_BARE_(X)     std::remove_reference<decltype(X)>::type
#define WEIR_KIND_(X)     weir_detail::kind<WEIR_BARE_(X)>::value
#define WEIR_KEY_KIND_(X) weir_detail::key_kind<WEIR_BARE_(X)>::value
#else
/* Arrays decay inside _Generic; a true pointer field is told from an array by its own type. */
#define WEIR_IS_POINTER_TO_(X, T) WEIR_SAME_(__typeof__(X), T *)
#define WEIR_IS_POINTER_(X)                                                                                            \
    (WEIR_IS_POINTER_TO_(X, int8_t) || WEIR_IS_POINTER_TO_(X, int16_t) || WEIR_IS_POINTER_TO_(X, int32_t) ||           \
     WEIR_IS_POINTER_TO_(X, int64_t) || WEIR_IS_POINTER_TO_(X, uint8_t) || WEIR_IS_POINTER_TO_(X, uint16_t) ||         \
     WEIR_IS_POINTER_TO_(X, uint32_t) || WEIR_IS_POINTER_TO_(X, uint64_t) || WEIR_IS_POINTER_TO_(X, float) ||          \
     WEIR_IS_POINTER_TO_(X, double))
/* WEIR_KIND_(expression) = enum weir_kind of its type. */
#define WEIR_KIND_(X) (WEIR_IS_POINTER_(X) ? WEIR_NOT_A_KIND : WEIR_KIND2_(X))
#define WEIR_KIND2_(X)                                                                                                 \
    _Generic((X),                                                                                                      \
        bool: WEIR_BOOL,                                                                                               \
        int8_t: WEIR_I8,                                                                                               \
        int16_t: WEIR_I16,                                                                                             \
        int32_t: WEIR_I32,                                                                                             \
        int64_t: WEIR_I64,                                                                                             \
        uint8_t: WEIR_U8,                                                                                              \
        uint16_t: WEIR_U16,                                                                                            \
        uint32_t: WEIR_U32,                                                                                            \
        uint64_t: WEIR_U64,                                                                                            \
        float: WEIR_F32,                                                                                               \
        double: WEIR_F64,                                                                                              \
        int8_t *: (WEIR_ARRAY | WEIR_I8),                                                                              \
        int16_t *: (WEIR_ARRAY | WEIR_I16),                                                                            \
        int32_t *: (WEIR_ARRAY | WEIR_I32),                                                                            \
        int64_t *: (WEIR_ARRAY | WEIR_I64),                                                                            \
        uint8_t *: (WEIR_ARRAY | WEIR_U8),                                                                             \
        uint16_t *: (WEIR_ARRAY | WEIR_U16),                                                                           \
        uint32_t *: (WEIR_ARRAY | WEIR_U32),                                                                           \
        uint64_t *: (WEIR_ARRAY | WEIR_U64),                                                                           \
        float *: (WEIR_ARRAY | WEIR_F32),                                                                              \
        double *: (WEIR_ARRAY | WEIR_F64),                                                                             \
        weir_time: WEIR_TIME,                                                                                          \
        weir_str: WEIR_STR,                                                                                            \
        weir_bytes: WEIR_BYTES,                                                                                        \
        weir_text: WEIR_TEXT,                                                                                          \
        weir_event_timer: WEIR_EVENT_TIMER,                                                                            \
        weir_clock_timer: WEIR_CLOCK_TIMER,                                                                            \
        default: WEIR_NOT_A_KIND)
/* A field's kind as a key: no floating point, no arrays. The odd name of the struct is the error message. */
#define WEIR_KEY_KIND_(X)                                                                                              \
    _Generic((X), bool                                                                                                 \
             : WEIR_BOOL, int8_t                                                                                       \
             : WEIR_I8, int16_t                                                                                        \
             : WEIR_I16, int32_t                                                                                       \
             : WEIR_I32, int64_t                                                                                       \
             : WEIR_I64, uint8_t                                                                                       \
             : WEIR_U8, uint16_t                                                                                       \
             : WEIR_U16, uint32_t                                                                                      \
             : WEIR_U32, uint64_t                                                                                      \
             : WEIR_U64, weir_time                                                                                     \
             : WEIR_TIME, weir_str                                                                                     \
             : WEIR_STR, weir_bytes                                                                                    \
             : WEIR_BYTES, default                                                                                     \
             : (struct weir_this_field_cannot_be_a_key *)0)
#endif

#define WEIR_BASE_KIND_(K)      ((K) & ~(unsigned)WEIR_ARRAY)
#define WEIR_IS_RECORD_KIND_(K) (WEIR_BASE_KIND_(K) >= WEIR_BOOL && WEIR_BASE_KIND_(K) <= WEIR_BYTES)
#define WEIR_IS_STRING_KIND_(K) ((K) == WEIR_STR || (K) == WEIR_BYTES)
#define WEIR_IS_PLAIN_STATE_KIND_(K)                                                                                   \
    (WEIR_BASE_KIND_(K) >= WEIR_BOOL && WEIR_BASE_KIND_(K) <= WEIR_CLOCK_TIMER && !WEIR_IS_STRING_KIND_(K))
#define WEIR_IS_TIMER_KIND_(K)  ((K) == WEIR_EVENT_TIMER || (K) == WEIR_CLOCK_TIMER)
#define WEIR_IS_NUMBER_KIND_(K) ((K) >= WEIR_I8 && (K) <= WEIR_F64)
#endif
