/* weir/operators_fields.h: WEIR_AGGREGATE_FIELDS, an aggregate from a list of fields instead of functions.
 *
 *   WEIR_AGGREGATE_FIELDS(NAME, T, U, (output field, function [, input field]), ...)
 *
 *     key f            the key field f of T                    count            records, a uint64_t
 *     sum f            numbers, in the output field's type     mean f           a double; 0 when there was no record
 *     min f, max f     a number of the same type               first f, last f  likewise, in order of arrival
 *     start, end       of the window, a weir_time
 *
 * A sum of whole numbers wraps at the ends of its type. min and max take no account of a NaN, unless there is nothing
 * else. A key f by which the stream is not keyed is refused when the graph is built.
 *
 * reads: "quote.mean = mean of tick.price". It writes a typed WEIR_AGGREGATE: nothing is looked up while it runs, the
 * accumulator NAME_acc has a field table of its own, and each field's type is checked. */
#ifndef WEIR_OPERATORS_FIELDS_H
#define WEIR_OPERATORS_FIELDS_H
#include <weir/operators_window.h>

#define WEIR_AGGREGATE_FIELDS(NAME, T, U, ...)                                                                         \
    typedef struct NAME##_acc {                                                                                        \
        uint64_t n;                                                                                                    \
        WEIR_EACH_(WEIR_AF_MEMBER_, (T, U, NAME), __VA_ARGS__)                                                         \
    } NAME##_acc;                                                                                                      \
    WEIR_EACH_(WEIR_AF_CHECK_, (T, U, NAME), __VA_ARGS__)                                                              \
    WEIR_UNUSED_ static const weir_field weir_fields_##NAME##_acc[] = {                                                \
        WEIR_FIELD_ROW3_(NAME##_acc, n) WEIR_EACH_(WEIR_AF_ROW_, (T, U, NAME), __VA_ARGS__)};                          \
    WEIR_UNUSED_ static const weir_field weir_keys_of_##NAME[] = {                                                     \
        WEIR_EACH_(WEIR_AF_KEY_, (T, U, NAME), __VA_ARGS__){.name = NULL}};                                            \
    WEIR_UNUSED_ static const weir_type weir_type_##NAME##_acc = {                                                     \
        .abi_size = sizeof(weir_type),                                                                                 \
        .fields = sizeof weir_fields_##NAME##_acc / sizeof weir_fields_##NAME##_acc[0],                                \
        .name = #NAME "_acc",                                                                                          \
        .size = sizeof(NAME##_acc),                                                                                    \
        .align = WEIR_ALIGN_(NAME##_acc),                                                                              \
        .field = weir_fields_##NAME##_acc,                                                                             \
        .keys = weir_keys_of_##NAME,                                                                                   \
    };                                                                                                                 \
    enum { weir_cells_##NAME##_acc = 0 };                                                                              \
    WEIR_FN_ void weir_fields_merge_##NAME(NAME##_acc *into_, const NAME##_acc *from_)                                 \
    {                                                                                                                  \
        WEIR_EACH_(WEIR_AF_MERGE_, (T, U, NAME), __VA_ARGS__)                                                          \
        into_->n += from_->n;                                                                                          \
    }                                                                                                                  \
    WEIR_FN_ void weir_fields_result_##NAME(const T *key_, const NAME##_acc *acc_, U##_out *out_, weir_ctx *ctx_)      \
    {                                                                                                                  \
        U made_;                                                                                                       \
        memset(&made_, 0, sizeof made_);                                                                               \
        (void)key_;                                                                                                    \
        (void)acc_;                                                                                                    \
        (void)ctx_;                                                                                                    \
        WEIR_EACH_(WEIR_AF_RESULT_, (T, U, NAME), __VA_ARGS__)                                                         \
        U##_emit(out_, made_);                                                                                         \
    }                                                                                                                  \
    WEIR_AGGREGATE(NAME, T, in_, NAME##_acc, acc_, U, weir_fields_merge_##NAME, weir_fields_result_##NAME)             \
    {                                                                                                                  \
        (void)in_;                                                                                                     \
        WEIR_EACH_(WEIR_AF_ADD_, (T, U, NAME), __VA_ARGS__)                                                            \
        acc_->n++;                                                                                                     \
    }

/* M ## function (T, U, NAME, output field, input field) for one entry of the list. */
#define WEIR_AF_CALL_(M, X, F)                            WEIR_AF_CALL2_(M, WEIR_UNPACK_ X, WEIR_UNPACK_ F)
#define WEIR_AF_CALL2_(M, ...)                            WEIR_AF_CALL3_(M, __VA_ARGS__, , )
#define WEIR_AF_CALL3_(M, T, U, NAME, OUTF, FN, INF, ...) WEIR_CAT2_(M, FN)(T, U, NAME, OUTF, INF)
#define WEIR_AF_MEMBER_(X, F)                             WEIR_AF_CALL_(WEIR_AF_MEMBER_, X, F)
#define WEIR_AF_CHECK_(X, F)                              WEIR_AF_CALL_(WEIR_AF_CHECK_, X, F)
#define WEIR_AF_ROW_(X, F)                                WEIR_AF_CALL_(WEIR_AF_ROW_, X, F)
#define WEIR_AF_KEY_(X, F)                                WEIR_AF_CALL_(WEIR_AF_KEY_, X, F)
#define WEIR_AF_ADD_(X, F)                                WEIR_AF_CALL_(WEIR_AF_ADD_, X, F)
#define WEIR_AF_MERGE_(X, F)                              WEIR_AF_CALL_(WEIR_AF_MERGE_, X, F)
#define WEIR_AF_RESULT_(X, F)                             WEIR_AF_CALL_(WEIR_AF_RESULT_, X, F)

#define WEIR_AF_TYPE_(T, F)                   __typeof__(WEIR_FIELD_OF_(T, F))
#define WEIR_AF_IS_NUMBER_(T, F)              WEIR_IS_NUMBER_KIND_(WEIR_KIND_(WEIR_FIELD_OF_(T, F)))
#define WEIR_AF_SAME_(T, F, U, G)             WEIR_SAME_(WEIR_AF_TYPE_(T, F), WEIR_AF_TYPE_(U, G))
#define WEIR_AF_SAY_(NAME, O, WHAT)           "aggregate " #NAME ", field " #O ": " WHAT
#define WEIR_AF_REQUIRE_(NAME, O, COND, TEXT) WEIR_CHECK_AS_(NAME##_##O##_fits_, COND, WEIR_AF_SAY_(NAME, O, TEXT))
#define WEIR_AF_LIKE_(T, U, NAME, O, I, WHAT)                                                                          \
    WEIR_AF_REQUIRE_(NAME, O, WEIR_AF_IS_NUMBER_(T, I) && WEIR_AF_SAME_(U, O, T, I),                                   \
                     WHAT " of " #T "." #I " needs the same numeric type")

#define WEIR_AF_IS_FLOAT_(T, F)                                                                                        \
    (WEIR_KIND_(WEIR_FIELD_OF_(T, F)) == WEIR_F32 || WEIR_KIND_(WEIR_FIELD_OF_(T, F)) == WEIR_F64)
/* Whole numbers without a sign, where running over is defined. */
#define WEIR_AF_PLUS_(U, O, A, B)                                                                                      \
    (WEIR_AF_IS_FLOAT_(U, O) ? (WEIR_AF_TYPE_(U, O))((A) + (B)) : (WEIR_AF_TYPE_(U, O))((uint64_t)(A) + (uint64_t)(B)))
#define WEIR_AF_IS_NAN_(T, F, A) (WEIR_AF_IS_FLOAT_(T, F) && weir_is_nan_((double)(A)))
WEIR_FN_ bool weir_is_nan_(double x)
{
    return x != x;
}

/* One block per function: its member in the accumulator, the check of its types, its row in the field table, the field
 * that it takes from the key, and what it does when a record is added, when two accumulators are merged, and for the
 * result. */
#define WEIR_AF_MEMBER_key(T, U, NAME, O, I)
#define WEIR_AF_CHECK_key(T, U, NAME, O, I)                                                                            \
    WEIR_AF_REQUIRE_(NAME, O, WEIR_AF_SAME_(U, O, T, I), "differs in type from key " #T "." #I)
#define WEIR_AF_ROW_key(T, U, NAME, O, I)
#define WEIR_AF_KEY_key(T, U, NAME, O, I) WEIR_FIELD_ROW3_(T, I)
#define WEIR_AF_ADD_key(T, U, NAME, O, I)
#define WEIR_AF_MERGE_key(T, U, NAME, O, I)
#define WEIR_AF_RESULT_key(T, U, NAME, O, I) made_.O = key_->I;

#define WEIR_AF_MEMBER_count(T, U, NAME, O, I)
#define WEIR_AF_CHECK_count(T, U, NAME, O, I)                                                                          \
    WEIR_AF_REQUIRE_(NAME, O, WEIR_SAME_(WEIR_AF_TYPE_(U, O), uint64_t), "count needs a uint64_t")
#define WEIR_AF_ROW_count(T, U, NAME, O, I)
#define WEIR_AF_KEY_count(T, U, NAME, O, I)
#define WEIR_AF_ADD_count(T, U, NAME, O, I)
#define WEIR_AF_MERGE_count(T, U, NAME, O, I)
#define WEIR_AF_RESULT_count(T, U, NAME, O, I) made_.O = acc_->n;

#define WEIR_AF_MEMBER_start(T, U, NAME, O, I)
#define WEIR_AF_CHECK_start(T, U, NAME, O, I)                                                                          \
    WEIR_AF_REQUIRE_(NAME, O, WEIR_SAME_(WEIR_AF_TYPE_(U, O), weir_time), "start needs a weir_time")
#define WEIR_AF_ROW_start(T, U, NAME, O, I)
#define WEIR_AF_KEY_start(T, U, NAME, O, I)
#define WEIR_AF_ADD_start(T, U, NAME, O, I)
#define WEIR_AF_MERGE_start(T, U, NAME, O, I)
#define WEIR_AF_RESULT_start(T, U, NAME, O, I) made_.O = weir_window_of(ctx_).start;

#define WEIR_AF_MEMBER_end(T, U, NAME, O, I)
#define WEIR_AF_CHECK_end(T, U, NAME, O, I)                                                                            \
    WEIR_AF_REQUIRE_(NAME, O, WEIR_SAME_(WEIR_AF_TYPE_(U, O), weir_time), "end needs a weir_time")
#define WEIR_AF_ROW_end(T, U, NAME, O, I)
#define WEIR_AF_KEY_end(T, U, NAME, O, I)
#define WEIR_AF_ADD_end(T, U, NAME, O, I)
#define WEIR_AF_MERGE_end(T, U, NAME, O, I)
#define WEIR_AF_RESULT_end(T, U, NAME, O, I) made_.O = weir_window_of(ctx_).end;

#define WEIR_AF_MEMBER_sum(T, U, NAME, O, I) WEIR_AF_TYPE_(U, O) O;
#define WEIR_AF_CHECK_sum(T, U, NAME, O, I)                                                                            \
    WEIR_AF_REQUIRE_(NAME, O, WEIR_AF_IS_NUMBER_(T, I) && WEIR_AF_IS_NUMBER_(U, O),                                    \
                     "sum of " #T "." #I " needs numbers")
#define WEIR_AF_ROW_sum(T, U, NAME, O, I) WEIR_FIELD_ROW3_(NAME##_acc, O)
#define WEIR_AF_KEY_sum(T, U, NAME, O, I)
#define WEIR_AF_ADD_sum(T, U, NAME, O, I)    acc_->O = WEIR_AF_PLUS_(U, O, acc_->O, (WEIR_AF_TYPE_(U, O))in_->I);
#define WEIR_AF_MERGE_sum(T, U, NAME, O, I)  into_->O = WEIR_AF_PLUS_(U, O, into_->O, from_->O);
#define WEIR_AF_RESULT_sum(T, U, NAME, O, I) made_.O = acc_->O;

#define WEIR_AF_MEMBER_mean(T, U, NAME, O, I) double O;
#define WEIR_AF_CHECK_mean(T, U, NAME, O, I)                                                                           \
    WEIR_AF_REQUIRE_(NAME, O, WEIR_AF_IS_NUMBER_(T, I) && WEIR_SAME_(WEIR_AF_TYPE_(U, O), double),                     \
                     "mean of " #T "." #I " needs a number and a double")
#define WEIR_AF_ROW_mean(T, U, NAME, O, I) WEIR_FIELD_ROW3_(NAME##_acc, O)
#define WEIR_AF_KEY_mean(T, U, NAME, O, I)
#define WEIR_AF_ADD_mean(T, U, NAME, O, I)    acc_->O += (double)in_->I;
#define WEIR_AF_MERGE_mean(T, U, NAME, O, I)  into_->O += from_->O;
#define WEIR_AF_RESULT_mean(T, U, NAME, O, I) made_.O = acc_->n ? acc_->O / (double)acc_->n : 0;

#define WEIR_AF_MEMBER_min(T, U, NAME, O, I) WEIR_AF_TYPE_(U, O) O;
#define WEIR_AF_CHECK_min(T, U, NAME, O, I)  WEIR_AF_LIKE_(T, U, NAME, O, I, "min")
#define WEIR_AF_ROW_min(T, U, NAME, O, I)    WEIR_FIELD_ROW3_(NAME##_acc, O)
#define WEIR_AF_KEY_min(T, U, NAME, O, I)
#define WEIR_AF_ADD_min(T, U, NAME, O, I)                                                                              \
    if (!acc_->n || in_->I < acc_->O || WEIR_AF_IS_NAN_(U, O, acc_->O)) acc_->O = in_->I;
#define WEIR_AF_MERGE_min(T, U, NAME, O, I)                                                                            \
    if (from_->n && (!into_->n || from_->O < into_->O || WEIR_AF_IS_NAN_(U, O, into_->O))) into_->O = from_->O;
#define WEIR_AF_RESULT_min(T, U, NAME, O, I) made_.O = acc_->O;

#define WEIR_AF_MEMBER_max(T, U, NAME, O, I) WEIR_AF_TYPE_(U, O) O;
#define WEIR_AF_CHECK_max(T, U, NAME, O, I)  WEIR_AF_LIKE_(T, U, NAME, O, I, "max")
#define WEIR_AF_ROW_max(T, U, NAME, O, I)    WEIR_FIELD_ROW3_(NAME##_acc, O)
#define WEIR_AF_KEY_max(T, U, NAME, O, I)
#define WEIR_AF_ADD_max(T, U, NAME, O, I)                                                                              \
    if (!acc_->n || in_->I > acc_->O || WEIR_AF_IS_NAN_(U, O, acc_->O)) acc_->O = in_->I;
#define WEIR_AF_MERGE_max(T, U, NAME, O, I)                                                                            \
    if (from_->n && (!into_->n || from_->O > into_->O || WEIR_AF_IS_NAN_(U, O, into_->O))) into_->O = from_->O;
#define WEIR_AF_RESULT_max(T, U, NAME, O, I) made_.O = acc_->O;

#define WEIR_AF_MEMBER_first(T, U, NAME, O, I) WEIR_AF_TYPE_(U, O) O;
#define WEIR_AF_CHECK_first(T, U, NAME, O, I)  WEIR_AF_LIKE_(T, U, NAME, O, I, "first")
#define WEIR_AF_ROW_first(T, U, NAME, O, I)    WEIR_FIELD_ROW3_(NAME##_acc, O)
#define WEIR_AF_KEY_first(T, U, NAME, O, I)
#define WEIR_AF_ADD_first(T, U, NAME, O, I)                                                                            \
    if (!acc_->n) acc_->O = in_->I;
#define WEIR_AF_MERGE_first(T, U, NAME, O, I)                                                                          \
    if (!into_->n) into_->O = from_->O;
#define WEIR_AF_RESULT_first(T, U, NAME, O, I) made_.O = acc_->O;

#define WEIR_AF_MEMBER_last(T, U, NAME, O, I) WEIR_AF_TYPE_(U, O) O;
#define WEIR_AF_CHECK_last(T, U, NAME, O, I)  WEIR_AF_LIKE_(T, U, NAME, O, I, "last")
#define WEIR_AF_ROW_last(T, U, NAME, O, I)    WEIR_FIELD_ROW3_(NAME##_acc, O)
#define WEIR_AF_KEY_last(T, U, NAME, O, I)
#define WEIR_AF_ADD_last(T, U, NAME, O, I) acc_->O = in_->I;
#define WEIR_AF_MERGE_last(T, U, NAME, O, I)                                                                           \
    if (from_->n) into_->O = from_->O;
#define WEIR_AF_RESULT_last(T, U, NAME, O, I) made_.O = acc_->O;
#endif
