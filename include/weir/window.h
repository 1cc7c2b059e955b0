/* weir/window.h: values that say when: windows, triggers, evictors, join conditions. */
#ifndef WEIR_WINDOW_H
#define WEIR_WINDOW_H
#include <weir/op.h>
WEIR_EXTERN_C_BEGIN_

typedef enum weir_window_kind { WEIR_TUMBLING = 1, WEIR_SLIDING, WEIR_SESSION, WEIR_COUNT, WEIR_DELTA, WEIR_GLOBAL, WEIR_RUNNING, WEIR_PER_BATCH } weir_window_kind;
typedef struct weir_window { uint32_t kind; bool clock; uint32_t field, field_kind; double threshold; bool relative; double start; int64_t size, slide, offset; } weir_window;

WEIR_FN_ weir_window weir_window_of_kind_(weir_window_kind kind, int64_t size, int64_t slide)
{ weir_window w; memset(&w, 0, sizeof w); w.kind = kind; w.size = size; w.slide = slide; return w; }
WEIR_FN_ weir_window weir_tumbling(weir_duration size)                       { return weir_window_of_kind_(WEIR_TUMBLING, size, size); }
WEIR_FN_ weir_window weir_sliding(weir_duration size, weir_duration slide)   { return weir_window_of_kind_(WEIR_SLIDING, size, slide); }
WEIR_FN_ weir_window weir_session(weir_duration gap)                         { return weir_window_of_kind_(WEIR_SESSION, gap, 0); }
WEIR_FN_ weir_window weir_count(uint64_t size, uint64_t slide)               { return weir_window_of_kind_(WEIR_COUNT, (int64_t)size, (int64_t)slide); }
WEIR_FN_ weir_window weir_one_window(void)                                   { return weir_window_of_kind_(WEIR_GLOBAL, 0, 0); }   /* needs a trigger */
WEIR_FN_ weir_window weir_running(void)                                      { return weir_window_of_kind_(WEIR_RUNNING, 0, 0); }  /* result after each record */
WEIR_FN_ weir_window weir_per_batch(void)                                    { return weir_window_of_kind_(WEIR_PER_BATCH, 0, 0); }
WEIR_FN_ weir_window weir_by_clock(weir_window w) { w.clock = true; return w; }          /* processing time instead of event time */
WEIR_FN_ weir_window weir_shifted(weir_window w, weir_duration offset) { w.offset = offset; return w; }

/* When a window gives its result. Default: when the watermark passes its end, and again for each late record. */
typedef enum weir_trigger_kind { WEIR_AT_END, WEIR_EVERY, WEIR_EVERY_CLOCK, WEIR_EACH, WEIR_OWN_TRIGGER } weir_trigger_kind;
typedef struct weir_trigger_def { const weir_type *record, *state; weir_loop *on_record, *on_timer; const char *name; } weir_trigger_def;
typedef struct weir_trigger { uint32_t kind; int64_t every; bool purge; const weir_trigger_def *def; } weir_trigger;
WEIR_FN_ weir_trigger weir_trigger_of_kind_(weir_trigger_kind kind, int64_t every, const weir_trigger_def *def)
{ weir_trigger t; memset(&t, 0, sizeof t); t.kind = kind; t.every = every; t.def = def; return t; }
WEIR_FN_ weir_trigger weir_at_end(void)                        { return weir_trigger_of_kind_(WEIR_AT_END, 0, NULL); }
WEIR_FN_ weir_trigger weir_every(weir_duration d)              { return weir_trigger_of_kind_(WEIR_EVERY, d, NULL); }
WEIR_FN_ weir_trigger weir_every_clock(weir_duration d)        { return weir_trigger_of_kind_(WEIR_EVERY_CLOCK, d, NULL); }
WEIR_FN_ weir_trigger weir_each(uint64_t records)              { return weir_trigger_of_kind_(WEIR_EACH, (int64_t)records, NULL); }
WEIR_FN_ weir_trigger weir_own_trigger_(const weir_trigger_def *def) { return weir_trigger_of_kind_(WEIR_OWN_TRIGGER, 0, def); }
#define weir_own_trigger(NAME) weir_own_trigger_(&weir_trigger_##NAME)
WEIR_FN_ weir_trigger weir_purging(weir_trigger t)             { t.purge = true; return t; }
typedef enum weir_fire { WEIR_WAIT, WEIR_FIRE, WEIR_PURGE, WEIR_FIRE_AND_PURGE } weir_fire;

/* What a window forgets before its result. Makes it keep its records. */
typedef struct weir_evict { uint32_t kind; int64_t amount; } weir_evict;
WEIR_FN_ weir_evict weir_keep_last(uint64_t records)           { weir_evict e = { 1, (int64_t)records }; return e; }
WEIR_FN_ weir_evict weir_keep_recent(weir_duration d)          { weir_evict e = { 2, d }; return e; }

typedef struct weir_window_spec { weir_window window; weir_duration lateness; weir_trigger trigger; weir_evict evict; int weir_end_; } weir_window_spec;

/* Which records of two streams meet. */
typedef struct weir_meet { uint32_t kind; int64_t low, high; weir_window window; } weir_meet;
WEIR_FN_ weir_meet weir_within(weir_duration low, weir_duration high)    /* right.time in [left.time + low, left.time + high] */
{ weir_meet m; memset(&m, 0, sizeof m); m.kind = 1; m.low = low; m.high = high; return m; }
WEIR_FN_ weir_meet weir_same_window(weir_window w) { weir_meet m; memset(&m, 0, sizeof m); m.kind = 2; m.window = w; return m; }
WEIR_FN_ weir_meet weir_always(void) { weir_meet m; memset(&m, 0, sizeof m); m.kind = 3; return m; }   /* symmetric hash; bound it by .ttl */

WEIR_EXTERN_C_END_
#endif
