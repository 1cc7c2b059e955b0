/* weir/state.h: what is remembered (WEIR_STATE, WEIR_TABLE), held open (WEIR_RESOURCE) and upgraded (WEIR_UPGRADE).
 * Included by weir/record.h.
 *
 * A state belongs to one key of one operator; only the thread that runs the operator touches it, while the user's
 * function runs. Functions on cells take the ctx of that call. Setters copy; what a getter returns lives until that
 * cell changes or the function returns. */
#ifndef WEIR_STATE_H
#define WEIR_STATE_H

/* ---- WEIR_STATE(S, entry, ...): what is kept per key, broadcast, or accumulated ----------------------------------
 *   (type, name)              a number, bool, weir_time, array: inline, zero at first; assign it
 *   (weir_text, name)         a string of the state's: weir_text_set(ctx, &st->name, s), weir_text_get(ctx, &st->name)
 *   (weir_event_timer, name)  one timer per key, by event time;  (weir_clock_timer, name)  by processing time
 *   (value, T, name)          a whole record, or none:           T_value_get / _set / _clear
 *   (list,  T, name [, ttl])  records in order of adding:        T_list_add / _rows / _drop / _remove / _clear / _count
 *   (table, T, name [, ttl])  records by WEIR_TABLE's key field: T_table_get / _put / _remove / _rows / _clear / _count
 * The field table is saved with every snapshot: fields may be added, removed and widened later; see WEIR_UPGRADE. */
#define WEIR_STATE(S, ...)                                                                                             \
    typedef struct S {                                                                                                 \
        WEIR_EACH_(WEIR_STATE_MEMBER_, S, __VA_ARGS__)                                                                 \
    } S;                                                                                                               \
    WEIR_EACH_(WEIR_STATE_CHECK_, S, __VA_ARGS__)                                                                      \
    WEIR_UNUSED_ static const weir_field weir_fields_##S[] = {WEIR_EACH_(WEIR_STATE_ROW_, S, __VA_ARGS__)};            \
    WEIR_TYPE_(weir_type_##S, S)                                                                                       \
    enum {                                                                                                             \
        weir_timers_##S = 0 WEIR_EACH_(WEIR_STATE_OR_TIMER_, S, __VA_ARGS__),                                          \
        weir_cells_##S = 0 WEIR_EACH_(WEIR_STATE_OR_CELL_, S, __VA_ARGS__)                                             \
    };

/* An entry of two arguments is plain, of three or four a cell: M_plain_ or M_cell_. */
#define WEIR_ENTRY_(M, F)      WEIR_CAT_(M, WEIR_CAT_(WEIR_ENTRY_OF_, WEIR_ENTRY_COUNT_ F))
#define WEIR_ENTRY_COUNT_(...) WEIR_COUNT_(__VA_ARGS__)
#define WEIR_ENTRY_OF_1        plain_
#define WEIR_ENTRY_OF_2        plain_
#define WEIR_ENTRY_OF_3        cell_
#define WEIR_ENTRY_OF_4        cell_

#define WEIR_STATE_MEMBER_(S, F)              WEIR_ENTRY_(WEIR_STATE_MEMBER_, F) F
#define WEIR_STATE_MEMBER_plain_(TYPE, NAME)  TYPE NAME;
#define WEIR_STATE_MEMBER_cell_(CELL, T, ...) T##_##CELL WEIR_FIRST_(__VA_ARGS__);

#define WEIR_STATE_CHECK_(S, F) WEIR_WITH_(WEIR_ENTRY_(WEIR_STATE_CHECK_, F), S, WEIR_UNPACK_ F)
#define WEIR_STATE_CHECK_cell_(S, CELL, T, ...)
#define WEIR_STATE_CHECK_plain_(S, TYPE, NAME)                                                                         \
    WEIR_CHECK_AS_(S##_##NAME##_can_be_kept_, WEIR_IS_PLAIN_STATE_KIND_(WEIR_KIND_(WEIR_FIELD_OF_(S, NAME))),          \
                   "state " #S ", field " #NAME ": this type cannot be kept (strings: weir_text; records: (value, T, " \
                   "name); else numbers, bool, weir_time, timers)")

#define WEIR_STATE_ROW_(S, F)                WEIR_WITH_(WEIR_ENTRY_(WEIR_STATE_ROW_, F), S, WEIR_UNPACK_ F)
#define WEIR_STATE_ROW_plain_(S, TYPE, NAME) WEIR_FIELD_ROW3_(S, NAME)
#define WEIR_STATE_ROW_cell_(S, CELL, T, ...)                                                                          \
    {                                                                                                                  \
        .name = WEIR_TEXT_(WEIR_FIRST_(__VA_ARGS__)),                                                                  \
        .offset = offsetof(S, WEIR_FIRST_(__VA_ARGS__)),                                                               \
        .size = sizeof(T##_##CELL),                                                                                    \
        .kind = WEIR_CELL_KIND_##CELL,                                                                                 \
        .key = WEIR_CELL_KEY_##CELL(T),                                                                                \
        .element = &weir_type_##T,                                                                                     \
        .ttl = WEIR_SECOND_(__VA_ARGS__, 0, 0),                                                                        \
        .key_kind = WEIR_CELL_KEY_KIND_##CELL(T),                                                                      \
    },
#define WEIR_CELL_KIND_value        WEIR_CELL_VALUE
#define WEIR_CELL_KIND_list         WEIR_CELL_LIST
#define WEIR_CELL_KIND_table        WEIR_CELL_TABLE
#define WEIR_CELL_KEY_value(T)      0
#define WEIR_CELL_KEY_list(T)       0
#define WEIR_CELL_KEY_table(T)      weir_table_key_##T
#define WEIR_CELL_KEY_KIND_value(T) 0
#define WEIR_CELL_KEY_KIND_list(T)  0
#define WEIR_CELL_KEY_KIND_table(T) weir_table_kind_##T

#define WEIR_STATE_OR_TIMER_(S, F)                WEIR_WITH_(WEIR_ENTRY_(WEIR_STATE_OR_TIMER_, F), S, WEIR_UNPACK_ F)
#define WEIR_STATE_OR_TIMER_plain_(S, TYPE, NAME) || WEIR_IS_TIMER_KIND_(WEIR_KIND_(WEIR_FIELD_OF_(S, NAME)))
#define WEIR_STATE_OR_TIMER_cell_(S, CELL, T, ...)

#define WEIR_STATE_OR_CELL_(S, F)                 WEIR_WITH_(WEIR_ENTRY_(WEIR_STATE_OR_CELL_, F), S, WEIR_UNPACK_ F)
#define WEIR_STATE_OR_CELL_plain_(S, TYPE, NAME)  || !WEIR_IS_RECORD_KIND_(WEIR_KIND_(WEIR_FIELD_OF_(S, NAME)))
#define WEIR_STATE_OR_CELL_cell_(S, CELL, T, ...) || 1

/* ---- the cells that every record can be kept in ------------------------------------------------------------------
 *   T_value_get   the record, or NULL when none was set          T_list_rows    walks from the oldest to the newest
 *   T_list_drop   forgets the oldest n                       T_list_remove  forgets the row that T_next gave last */
#define WEIR_RECORD_CELLS_(T)                                                                                          \
    typedef struct T##_value {                                                                                         \
        weir_cell cell;                                                                                                \
    } T##_value;                                                                                                       \
    typedef struct T##_list {                                                                                          \
        weir_cell cell;                                                                                                \
    } T##_list;                                                                                                        \
    WEIR_FN_ const T *T##_value_get(const weir_ctx *ctx_, const T##_value *value_)                                     \
    {                                                                                                                  \
        return (const T *)weir_value_get(ctx_, &value_->cell, &weir_type_##T);                                         \
    }                                                                                                                  \
    WEIR_FN_ void T##_value_set(weir_ctx *ctx_, T##_value *value_, T record_)                                          \
    {                                                                                                                  \
        weir_value_set(ctx_, &value_->cell, &weir_type_##T, &record_);                                                 \
    }                                                                                                                  \
    WEIR_FN_ void T##_value_clear(weir_ctx *ctx_, T##_value *value_)                                                   \
    {                                                                                                                  \
        weir_cell_clear(ctx_, &value_->cell, &weir_type_##T);                                                          \
    }                                                                                                                  \
    WEIR_FN_ void T##_list_add(weir_ctx *ctx_, T##_list *list_, T record_)                                             \
    {                                                                                                                  \
        weir_list_add(ctx_, &list_->cell, &weir_type_##T, &record_);                                                   \
    }                                                                                                                  \
    WEIR_FN_ void T##_list_drop(weir_ctx *ctx_, T##_list *list_, uint32_t oldest_)                                     \
    {                                                                                                                  \
        weir_list_drop(ctx_, &list_->cell, &weir_type_##T, oldest_);                                                   \
    }                                                                                                                  \
    WEIR_FN_ void T##_list_clear(weir_ctx *ctx_, T##_list *list_)                                                      \
    {                                                                                                                  \
        weir_cell_clear(ctx_, &list_->cell, &weir_type_##T);                                                           \
    }                                                                                                                  \
    WEIR_FN_ uint32_t T##_list_count(const T##_list *list_)                                                            \
    {                                                                                                                  \
        return list_->cell.count;                                                                                      \
    }                                                                                                                  \
    WEIR_FN_ T##_rows T##_list_rows(const weir_ctx *ctx_, const T##_list *list_)                                       \
    {                                                                                                                  \
        T##_rows r_;                                                                                                   \
        r_.rows = weir_cell_rows(ctx_, &list_->cell, &weir_type_##T);                                                  \
        return r_;                                                                                                     \
    }                                                                                                                  \
    WEIR_FN_ void T##_list_remove(weir_ctx *ctx_, T##_list *list_, T##_rows *rows_)                                    \
    {                                                                                                                  \
        weir_rows_remove(ctx_, &list_->cell, &rows_->rows, &weir_type_##T);                                            \
    }

/* ---- WEIR_TABLE(T, FIELD): records of T, at most one per value of FIELD; a cell of a state -----------------------
 *   T_table_get     the record with that key, or NULL           T_table_rows    walks in order of first put
 *   T_table_put     adds it, or replaces the one with its key   T_table_remove  false: there was none */
#define WEIR_TABLE(T, FIELD)                                                                                           \
    WEIR_UNUSED_ static const uint32_t weir_table_key_kind_##T = WEIR_KEY_KIND_(WEIR_FIELD_OF_(T, FIELD));             \
    typedef struct T##_table {                                                                                         \
        weir_cell cell;                                                                                                \
    } T##_table;                                                                                                       \
    typedef __typeof__(WEIR_FIELD_OF_(T, FIELD)) weir_table_key_of_##T;                                                \
    enum { weir_table_key_##T = offsetof(T, FIELD), weir_table_kind_##T = WEIR_KIND_(WEIR_FIELD_OF_(T, FIELD)) };      \
    WEIR_UNUSED_ static const weir_field weir_table_of_##T = {                                                         \
        .name = #FIELD,                                                                                                \
        .size = sizeof(T##_table),                                                                                     \
        .kind = WEIR_CELL_TABLE,                                                                                       \
        .key = weir_table_key_##T,                                                                                     \
        .element = &weir_type_##T,                                                                                     \
        .key_kind = weir_table_kind_##T,                                                                               \
    };                                                                                                                 \
    WEIR_FN_ const T *T##_table_get(const weir_ctx *ctx_, const T##_table *table_, weir_table_key_of_##T key_)         \
    {                                                                                                                  \
        return (const T *)weir_table_get(ctx_, &table_->cell, &weir_table_of_##T, &key_);                              \
    }                                                                                                                  \
    WEIR_FN_ void T##_table_put(weir_ctx *ctx_, T##_table *table_, T record_)                                          \
    {                                                                                                                  \
        weir_table_put(ctx_, &table_->cell, &weir_table_of_##T, &record_);                                             \
    }                                                                                                                  \
    WEIR_FN_ bool T##_table_remove(weir_ctx *ctx_, T##_table *table_, weir_table_key_of_##T key_)                      \
    {                                                                                                                  \
        return weir_table_remove(ctx_, &table_->cell, &weir_table_of_##T, &key_);                                      \
    }                                                                                                                  \
    WEIR_FN_ void T##_table_clear(weir_ctx *ctx_, T##_table *table_)                                                   \
    {                                                                                                                  \
        weir_cell_clear(ctx_, &table_->cell, &weir_type_##T);                                                          \
    }                                                                                                                  \
    WEIR_FN_ uint32_t T##_table_count(const T##_table *table_)                                                         \
    {                                                                                                                  \
        return table_->cell.count;                                                                                     \
    }                                                                                                                  \
    WEIR_FN_ T##_rows T##_table_rows(const weir_ctx *ctx_, const T##_table *table_)                                    \
    {                                                                                                                  \
        T##_rows r_;                                                                                                   \
        r_.rows = weir_cell_rows(ctx_, &table_->cell, &weir_type_##T);                                                 \
        return r_;                                                                                                     \
    }                                                                                                                  \
    WEIR_FN_ void T##_table_remove_row(weir_ctx *ctx_, T##_table *table_, T##_rows *rows_)                             \
    {                                                                                                                  \
        weir_rows_remove(ctx_, &table_->cell, &rows_->rows, &weir_type_##T);                                           \
    }

/* ---- WEIR_RESOURCE(R, OPEN, CLOSE): a connection, a pattern, a configuration: one R per subtask, R_of(ctx) ----
 *   bool OPEN(R *self, const weir_args *args)    at first use, on the operator's thread; false fails the task
 *   void CLOSE(R *self)                          at the end, by the same thread; also when OPEN returned false
 * *self is zeroed before OPEN, and aligned to at most 64 bytes. Never saved.
 * R_of(ctx) is never NULL. Where OPEN has returned false it is *self as OPEN left it: the function that asked runs to
 * its end, and must look before it follows a pointer in there; it is the last one that the operator runs. */
#define WEIR_RESOURCE(R, OPEN, CLOSE)                                                                                  \
    WEIR_SIGNATURE_(OPEN, bool, (R *, const weir_args *),                                                              \
                    #OPEN " must be: bool " #OPEN "(" #R " *self, const weir_args *args)")                             \
    WEIR_SIGNATURE_(CLOSE, void, (R *), #CLOSE " must be: void " #CLOSE "(" #R " *self)")                              \
    WEIR_CHECK_(WEIR_ALIGN_(R) <= 64, "resource " #R ": it must not be aligned to more than 64 bytes")                 \
    WEIR_FN_ bool weir_open_##R(void *self_, const weir_args *args_)                                                   \
    {                                                                                                                  \
        return OPEN((R *)self_, args_);                                                                                \
    }                                                                                                                  \
    WEIR_FN_ void weir_close_##R(void *self_)                                                                          \
    {                                                                                                                  \
        CLOSE((R *)self_);                                                                                             \
    }                                                                                                                  \
    static const weir_resource weir_resource_##R = {#R, sizeof(R), weir_open_##R, weir_close_##R};                     \
    WEIR_FN_ R                *R##_of(weir_ctx *ctx_)                                                                  \
    {                                                                                                                  \
        return (R *)weir_resource_of(ctx_, &weir_resource_##R);                                                        \
    }
#endif
