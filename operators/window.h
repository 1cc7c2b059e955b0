/* operators/window.h: windows at work. What the files operators/window*.c know of each other.
 *
 * All that a window remembers lies in the operator's table, so that a snapshot has it. Windows of time are cut into
 * slices of gcd(size, slide): slice s covers [offset + s * slice_ns, + slice_ns), and a window ends where slice `e`
 * begins. An entry keeps the accumulators of R slices side by side (slice s in place s mod R) and further ones as rows
 * of a list, in order of slices. What a place holds is valid while its slice is not over: closing writes nothing. */
#ifndef WR_OPERATORS_WINDOW_H
#define WR_OPERATORS_WINDOW_H
#include "base/check.h"
#include "base/limits.h"
#include "operators/op.h"
#include "snapshot/near.h"

#define WR_PLACES_MAX     8u
#define WR_RESULTS        1024u
#define WR_SLICE_NEVER    (INT64_MIN / 4) /* below all slices; - this: above them */
#define WR_RING_BYTES_MAX 4096u
#define WR_WINDOW_NEARS   4u
#define WR_SESSION_REST   24u /* bytes of a session before its accumulator */

/* The type of an entry's state, made of the operator's own: its field table makes snapshots readable. Operator's. */
typedef struct wr_window_type {
    weir_type   state, row, row2;   /* row: of the list at `list`; row2: at `list2` */
    weir_field *field;              /* of all three */
    uint32_t    places;             /* accumulators of slices in an entry */
    uint32_t    acc[WR_PLACES_MAX]; /* offsets in the state */
    uint32_t    acc_bytes;
    uint32_t    list, list2; /* offsets of cells; WR_NONE: none */
    uint32_t    mark;        /* offset of a number: of slices, or of records */
    uint32_t    total;      /* sliding with RETRACT: the accumulator of the window that fired last; WR_NONE: none ... */
    uint32_t    total_end;  /* ... and which end that was; 0: not valid */
    uint32_t    held, ring; /* offsets of the ring of slices and of its bits: window_ring.c; WR_NONE: none */
    uint32_t    session;    /* offset of the youngest session */
    uint32_t    row_acc;    /* offset in a row */
} wr_window_type;

/* One window of one key, as it lies in a session's row (with its accumulator behind it) and in the state. */
typedef struct wr_session {
    int64_t first, last; /* event times of its records */
    int64_t due;         /* when it stands in the calendar; greater than its end: it has fired */
} wr_session;

/* Keys by the time at which something is due. In memory only: it is made anew from the table. Slot-owned. */
typedef struct wr_due {
    int64_t  at;
    uint64_t hash;
} wr_due;
typedef struct wr_due_bucket {
    int64_t  number;
    wr_due  *due;
    uint32_t n, max;
} wr_due_bucket;
typedef struct wr_calendar {
    int64_t        width_ns;
    wr_due        *heap; /* of what is due before `edge`, the next one first */
    uint32_t       heap_n, heap_max;
    int64_t        edge;   /* number of the first bucket that is not in the heap */
    wr_due_bucket *bucket; /* the others, in order of numbers */
    uint32_t       buckets, buckets_max;
    wr_budget     *budget;
} wr_calendar;
void wr_calendar_add(wr_calendar *c, int64_t at, uint64_t hash);
/* The next one that is due at or before `until`. */
bool wr_calendar_next(wr_calendar *c, int64_t until, wr_due *due);
/* When something may be due next; INT64_MAX: never. Never too late. */
int64_t wr_calendar_when(const wr_calendar *c);
void    wr_calendar_fini(wr_calendar *c);

/* Pairs for on_merge and on_retract: collected, then done at once. */
typedef struct wr_pairs {
    void       *into[WR_RESULTS];
    const void *from[WR_RESULTS];
    uint32_t    n;
} wr_pairs;

/* A lookaside whose lines point at the accumulators of one slice, in places or in rows of lists. */
typedef struct wr_window_near {
    wr_near  lines;
    int64_t  slice;
    uint64_t used; /* the last turn in which it was asked for */
} wr_window_near;

typedef struct wr_windows wr_windows;

/* Windows of one operator in one subtask. Slot-owned: op->kernel_state. */
struct wr_windows {
    _Alignas(WR_CACHE_LINE) uint64_t hash[WR_BATCH_RECORDS_MAX];
    void          *state[WR_BATCH_RECORDS_MAX];
    uint8_t        fresh[WR_BATCH_RECORDS_MAX];
    uint32_t       pick[WR_BATCH_RECORDS_MAX], rest[WR_BATCH_RECORDS_MAX];
    int64_t        slice[WR_BATCH_RECORDS_MAX];
    wr_window_near near[WR_WINDOW_NEARS];
    uint64_t       near_turn;
    bool           has_near;

    const struct wr_window_form *form;
    wr_window_type               type;
    weir_window                  window;
    int64_t                      lateness;
    bool                         rows; /* keeps records: WEIR_WINDOW */
    bool                         totals, ring;
    int64_t                      slice_ns, offset, step, per;     /* a new window every `step` slices, `per` long */
    int64_t                      slice_from, slice_to, slice_now; /* [from, to) is slice `now` */

    int64_t  clock_ns;    /* windows by clock: the latest time seen */
    int64_t  fired, dead; /* windows that end at or before have fired; are forgotten. As slices */
    int64_t  alive;       /* the first slice that is not over */
    int64_t  fired_most;
    int64_t *fired_of; /* after a restore, while they differ: how far each key group had come; else NULL */
    int64_t *live;     /* slices that may have data, ascending */
    uint32_t lives, lives_max;
    int64_t  next_ns; /* event time at which something is due; INT64_MAX: nothing */

    /* A sweep under way. */
    bool           sweeping, purging, forgetting;
    bool           walks; /* by `walk`, in order of address: nothing is forgotten, all key groups have come as far */
    int64_t        sweep_end;
    wr_table_sweep sweep;
    wr_table_walk  walk;
    uint64_t       used, unused; /* entries that had data, that had none */

    wr_calendar calendar;

    /* Results of one call. */
    uint32_t  results;
    void     *result[WR_RESULTS], *result_key[WR_RESULTS];
    weir_span span[WR_RESULTS];
    weir_time time[WR_RESULTS];
    weir_rows row[WR_RESULTS];
    wr_pairs  merge, retract;
    char     *keys;     /* records with only the key fields set */
    char     *left;     /* accumulators on their way out of rings */
    char     *made;     /* accumulators that are put together for results */
    char     *gathered; /* records of windows */
    uint64_t  gathered_bytes, gathered_max;
    wr_due    seen[1024]; /* direct-mapped: which states this round has met */
    uint64_t  round;
};

/* What each kind of window does with a batch and with time. One const table per kind. */
typedef struct wr_window_form {
    wr_err (*open)(wr_op *op, wr_windows *k, wr_errinfo *info); /* the table is there, perhaps from a snapshot */
    void (*push)(wr_op *op, wr_windows *k, const wr_view *view);
    bool (*until)(wr_op *op, wr_windows *k, int64_t watermark); /* fires; true: that was all */
    bool (*end)(wr_op *op, wr_windows *k);
} wr_window_form;
extern const wr_window_form wr_form_slices, wr_form_sessions, wr_form_count, wr_form_running, wr_form_global;

/* window_type.c */
/* Of this node's windows, with so many accumulators side by side; 0: as many as suit it. */
wr_err wr_window_type_make(wr_window_type *type, const wr_node *node, uint32_t places, wr_errinfo *info);
void   wr_window_type_free(wr_window_type *type);

/* window_time.c. Pure. */
int64_t wr_slices_per(const weir_window *w); /* slices of a tumbling or sliding window */
void    wr_slices_init(wr_windows *k);
int64_t wr_slice_of(const wr_windows *k, int64_t ns);
int64_t wr_slice_start(const wr_windows *k, int64_t slice);     /* saturates at the ends of time */
int64_t wr_slice_first_end(const wr_windows *k, int64_t slice); /* of the windows that hold this slice */
int64_t wr_slice_last_end(const wr_windows *k, int64_t slice);
int64_t wr_slice_ends_by(const wr_windows *k, int64_t watermark); /* the last end - 1 ns at or before it */
int64_t wr_saturating(int64_t a, int64_t b);                      /* a + b */
bool    wr_times_within(const weir_time *time, uint32_t n, int64_t from, int64_t to); /* all in [from, to) */
/* A slice gets data: remembers it and when it is due. */
void wr_live_add(wr_windows *k, int64_t slice);
/* The next end of a window that fires, or (*purge) after which a slice is forgotten; false: nothing by then. */
bool wr_live_next(const wr_windows *k, int64_t watermark, int64_t *end, bool *purge);
void wr_live_drop(wr_windows *k);               /* slices that are over */
void wr_dead_until(wr_windows *k, int64_t end); /* windows that end at or before it are forgotten */

/* window.c */
/* One more result; runs the user's function when there are WR_RESULTS. `at`: its event time. */
void wr_result_add(wr_op *op, wr_windows *k, void *key_state, void *acc, weir_span span, int64_t at);
void wr_result_flush(wr_op *op, wr_windows *k);
void wr_pairs_add(wr_op *op, wr_windows *k, wr_pairs *pairs, void *into, const void *from);
void wr_pairs_flush(wr_op *op, wr_windows *k, wr_pairs *pairs);
/* Runs the accumulators' loop over picked records (NULL: all) whose k->state and k->fresh are set. */
void wr_windows_add(wr_op *op, wr_windows *k, const wr_view *view, const uint32_t *pick, uint32_t n);
bool wr_windows_full(wr_op *op); /* fails it: state is larger than it may be. False */
bool wr_windows_find(wr_op *op, wr_windows *k, const wr_view *view, const uint32_t *pick, uint32_t n);
/* Keeps record i with its time in a list of the state. */
void wr_rows_add(wr_op *op, wr_windows *k, void *state, const char *record, int64_t at);
/* Records of [start, end) for the next result that is added; false: there are none. */
bool wr_rows_gather(wr_op *op, wr_windows *k, void *state, int64_t start, int64_t end, weir_rows *rows);
/* Forgets the oldest records as long as they are before `start`. */
void wr_rows_drop(wr_op *op, wr_windows *k, void *state, int64_t start);
/* True once per state and round: a second one needs a flush first. */
bool wr_round_first(wr_windows *k, const void *state);

/* window_save.c: what a snapshot keeps besides the table. */
wr_err wr_windows_save(wr_op *op, const wr_barrier *barrier, wr_saver *saver, wr_errinfo *info);
/* Accumulators side by side in the snapshot's entries; 0: it has none. */
wr_err wr_windows_places(const wr_node *node, const wr_manifest_op *saved, uint32_t *places, wr_errinfo *info);
/* Whether what the snapshot's windows keep becomes what these keep, as wr_windows_match. */
wr_err wr_windows_fit(const wr_node *node, const wr_manifest_op *saved, const wr_window_type *type, uint32_t *match,
                      wr_errinfo *info);
/* How far the key groups of this subtask had come. */
wr_err wr_windows_times(wr_op *op, wr_windows *k, const wr_manifest_op *saved, wr_errinfo *info);

/* window_near.c. Sources that are apart in time take turns with batches of different slices, so each slice has lines of
 * its own. */
void wr_windows_near_open(wr_op *op, wr_windows *k);
void wr_windows_near_close(wr_windows *k);
/* The lines for a batch of n records of one slice; NULL: none, or it does not pay now. */
wr_near *wr_windows_near(wr_op *op, wr_windows *k, int64_t slice, uint32_t n);
/* The accumulators of this key have moved. */
void wr_windows_near_moved(wr_op *op, wr_windows *k, const void *state);

/* window_slices.c */
/* Rows of a list, by slice; NULL: none. */
const void *wr_far_find(wr_op *op, wr_windows *k, char *state, int64_t slice, weir_rows *rows);
/* Takes out a place's accumulator into the list. */
void wr_place_evict(wr_op *op, wr_windows *k, char *state, int64_t slice);

/* window_ring.c */
bool wr_ring_any(const wr_windows *k, char *state);
/* For writing: the accumulator of a slice of the window that ended at `end`, zero when there was none. */
char *wr_ring_open(wr_op *op, wr_windows *k, char *state, int64_t slice, int64_t end);
void  wr_ring_run(wr_op *op, wr_windows *k, void *const *state, uint32_t n, int64_t end, const weir_span *span);
void  wr_ring_live(wr_windows *k, char *state);

/* window_close.c */
void wr_may_forget(wr_op *op, wr_windows *k, char *state); /* an entry that had nothing in the window of the sweep */
bool wr_slices_until(wr_op *op, wr_windows *k, int64_t watermark);
/* One key's window once more: a late record came. */
void wr_slices_refire(wr_op *op, wr_windows *k, char *state, int64_t end);

static inline int64_t *wr_mark_of(const wr_windows *k, char *state)
{
    return (int64_t *)(void *)(state + k->type.mark);
}
static inline weir_cell *wr_cell_at(char *state, uint32_t offset)
{
    return (weir_cell *)(void *)(state + offset);
}
static inline void *wr_windows_list(const wr_windows *k, void *state) /* the cell */
{
    return (char *)state + k->type.list;
}
static inline uint32_t wr_place_of(const wr_windows *k, int64_t slice)
{
    return (uint32_t)slice & (k->type.places - 1);
}
static inline wr_table_place wr_table_place_of(const wr_windows *k, int64_t slice)
{
    uint32_t place = wr_place_of(k, slice);
    return (wr_table_place){.number = slice,
                            .word = k->type.mark,
                            .value = k->type.acc[place],
                            .place = place,
                            .places = k->type.places,
                            .alive = k->alive,
                            .others = k->type.list + (uint32_t)offsetof(weir_cell, count)};
}
/* Whether an entry with this mark has the slice in its place. */
static inline bool wr_mark_has(const wr_windows *k, int64_t mark, int64_t slice)
{
    const wr_table_place in = wr_table_place_of(k, slice);
    return wr_table_placed(&in, (uint64_t)mark);
}
#endif
