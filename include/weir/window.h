/* weir/window.h: values that say when: windows, triggers, evictors, join conditions. Plain data, made by small
 * functions. */
#ifndef WEIR_WINDOW_H
#define WEIR_WINDOW_H
#include <weir/op.h>
WEIR_EXTERN_C_BEGIN_

/* ---- windows -----------------------------------------------------------------------------------------------------
 * All run but those of weir_delta and weir_per_batch, which are refused when the graph is built: "not yet". */
enum weir_window_kind {
    WEIR_TUMBLING = 1,
    WEIR_SLIDING,
    WEIR_SESSION,
    WEIR_COUNT,
    WEIR_DELTA,
    WEIR_GLOBAL,
    WEIR_RUNNING,
    WEIR_PER_BATCH
};
typedef struct weir_window {
    uint32_t kind;                /* enum weir_window_kind */
    uint32_t field, field_kind;   /* delta: which field */
    bool     clock;               /* processing time instead of event time */
    double   threshold;           /* delta */
    bool     relative;            /* delta: threshold is a part of the last value */
    double   start;               /* delta: the value before the first */
    int64_t  size, slide, offset; /* ns, or records for counts */
    uint64_t reserved[2];         /* 0 */
} weir_window;

WEIR_FN_ weir_window weir_window_of_kind_(uint32_t kind, int64_t size, int64_t slide)
{
    weir_window w;
    memset(&w, 0, sizeof w);
    w.kind = kind;
    w.size = size;
    w.slide = slide;
    return w;
}
/* [k * size, (k + 1) * size) for all k. */
WEIR_FN_ weir_window weir_tumbling(weir_duration size)
{
    return weir_window_of_kind_(WEIR_TUMBLING, size, size);
}
/* `size` long, a new one every `slide`. */
WEIR_FN_ weir_window weir_sliding(weir_duration size, weir_duration slide)
{
    return weir_window_of_kind_(WEIR_SLIDING, size, slide);
}
/* Ends after a silence of `gap`. */
WEIR_FN_ weir_window weir_session(weir_duration gap)
{
    return weir_window_of_kind_(WEIR_SESSION, gap, 0);
}
/* The last `size` records of a key, every `slide` records. */
WEIR_FN_ weir_window weir_count(uint64_t size, uint64_t slide)
{
    return weir_window_of_kind_(WEIR_COUNT, (int64_t)size, (int64_t)slide);
}
/* One window for all time: one result per key, at the end of the input, unless a trigger says otherwise. */
WEIR_FN_ weir_window weir_one_window(void)
{
    return weir_window_of_kind_(WEIR_GLOBAL, 0, 0);
}
/* One window for all time, with a result after each record. */
WEIR_FN_ weir_window weir_running(void)
{
    return weir_window_of_kind_(WEIR_RUNNING, 0, 0);
}
/* One window per micro-batch. */
WEIR_FN_ weir_window weir_per_batch(void)
{
    return weir_window_of_kind_(WEIR_PER_BATCH, 0, 0);
}
/* Processing time instead of event time. */
WEIR_FN_ weir_window weir_by_clock(weir_window w)
{
    w.clock = true;
    return w;
}
/* Borders moved by `offset`: days that begin at 6 o'clock. */
WEIR_FN_ weir_window weir_shifted(weir_window w, weir_duration offset)
{
    w.offset = offset;
    return w;
}

/* ---- triggers: when a window gives its result --------------------------------------------------------------------
 * Without one: when the watermark passes the window's end, and again for each late record within .lateness. A
 * trigger REPLACES that, as in Flink; it does not add to it: with .trigger = weir_each(100) a window whose end
 * passes with 40 records since the last firing gives no further result. weir_purging(t) empties the window each time
 * that t fires. Triggers are refused when the graph is built: "not yet". */
enum weir_trigger_kind { WEIR_AT_END, WEIR_EVERY, WEIR_EVERY_CLOCK, WEIR_EACH, WEIR_OWN_TRIGGER };
typedef struct weir_trigger_def {
    const weir_type *record, *state;
    weir_loop       *on_record, *on_timer;
    const char      *name;
    weir_loop       *on_merge; /* reserved, NULL: sessions merge the states of own triggers */
} weir_trigger_def;
typedef struct weir_trigger {
    uint32_t                kind; /* enum weir_trigger_kind */
    bool                    purge;
    int64_t                 every; /* ns, or records */
    const weir_trigger_def *def;
    uint64_t                reserved[2]; /* 0 */
} weir_trigger;
typedef enum weir_fire { WEIR_WAIT, WEIR_FIRE, WEIR_PURGE, WEIR_FIRE_AND_PURGE } weir_fire;
/* Which firing a result function is in. weir_pane(ctx) is reserved; it comes with the triggers. */
typedef enum weir_pane_kind { WEIR_PANE_EARLY, WEIR_PANE_ON_TIME, WEIR_PANE_LATE } weir_pane_kind;

WEIR_FN_ weir_trigger weir_trigger_of_kind_(uint32_t kind, int64_t every, const weir_trigger_def *def)
{
    weir_trigger t;
    memset(&t, 0, sizeof t);
    t.kind = kind;
    t.every = every;
    t.def = def;
    return t;
}
/* When the watermark passes the window's end: the default, spelled out. */
WEIR_FN_ weir_trigger weir_at_end(void)
{
    return weir_trigger_of_kind_(WEIR_AT_END, 0, NULL);
}
/* Every d of event time, until the end. */
WEIR_FN_ weir_trigger weir_every(weir_duration d)
{
    return weir_trigger_of_kind_(WEIR_EVERY, d, NULL);
}
/* Every d of processing time. */
WEIR_FN_ weir_trigger weir_every_clock(weir_duration d)
{
    return weir_trigger_of_kind_(WEIR_EVERY_CLOCK, d, NULL);
}
/* After each `records` records of a key. */
WEIR_FN_ weir_trigger weir_each(uint64_t records)
{
    return weir_trigger_of_kind_(WEIR_EACH, (int64_t)records, NULL);
}
WEIR_FN_ weir_trigger weir_own_trigger_(const weir_trigger_def *def)
{
    return weir_trigger_of_kind_(WEIR_OWN_TRIGGER, 0, def);
}
/* A WEIR_TRIGGER. */
#define weir_own_trigger(NAME) weir_own_trigger_(&weir_trigger_##NAME)
WEIR_FN_ weir_trigger weir_purging(weir_trigger t)
{
    t.purge = true;
    return t;
}

/* ---- evictors: what a window forgets before its result; makes it keep its records. Not yet ----------------------- */
enum weir_evict_kind { WEIR_EVICT_NONE, WEIR_KEEP_LAST, WEIR_KEEP_RECENT };
typedef struct weir_evict {
    uint32_t kind;        /* enum weir_evict_kind */
    int64_t  amount;      /* records, or ns */
    uint64_t reserved[2]; /* 0 */
} weir_evict;
WEIR_FN_ weir_evict weir_keep_last(uint64_t records)
{
    weir_evict e = {WEIR_KEEP_LAST, (int64_t)records, {0, 0}};
    return e;
}
WEIR_FN_ weir_evict weir_keep_recent(weir_duration d)
{
    weir_evict e = {WEIR_KEEP_RECENT, d, {0, 0}};
    return e;
}

typedef struct weir_window_spec {
    weir_window   window;
    weir_duration lateness; /* how long after its end a window still takes records */
    weir_trigger  trigger;
    weir_evict    evict;
    uint64_t      reserved[2]; /* 0 */
    int           weir_end_;
} weir_window_spec;

/* ---- which records of two streams meet. Not yet ------------------------------------------------------------------ */
enum weir_meet_kind { WEIR_MEET_NONE, WEIR_MEET_WITHIN, WEIR_MEET_SAME_WINDOW, WEIR_MEET_ALWAYS, WEIR_MEET_AS_OF };
typedef struct weir_meet {
    uint32_t    kind; /* enum weir_meet_kind */
    int64_t     low, high;
    weir_window window;
    uint64_t    reserved[2]; /* 0 */
} weir_meet;
WEIR_FN_ weir_meet weir_meet_of_kind_(uint32_t kind)
{
    weir_meet m;
    memset(&m, 0, sizeof m);
    m.kind = kind;
    return m;
}
/* right.time in [left.time + low, left.time + high] */
WEIR_FN_ weir_meet weir_within(weir_duration low, weir_duration high)
{
    weir_meet m = weir_meet_of_kind_(WEIR_MEET_WITHIN);
    m.low = low;
    m.high = high;
    return m;
}
WEIR_FN_ weir_meet weir_same_window(weir_window w)
{
    weir_meet m = weir_meet_of_kind_(WEIR_MEET_SAME_WINDOW);
    m.window = w;
    return m;
}
/* All of the left with all of the right; bound it by .ttl. */
WEIR_FN_ weir_meet weir_always(void)
{
    return weir_meet_of_kind_(WEIR_MEET_ALWAYS);
}
/* Each left record with the newest right record that is not later: a temporal join. */
WEIR_FN_ weir_meet weir_as_of(void)
{
    return weir_meet_of_kind_(WEIR_MEET_AS_OF);
}
WEIR_EXTERN_C_END_
#endif
