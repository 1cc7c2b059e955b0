/* snapshot/timer.c: cells and hints. */
#include "snapshot/timer.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "snapshot/table_inner.h"
#include "snapshot/wheel.h"
#include <stdlib.h>

#define WORK_CHUNKS     128u   /* moved in one call of take, at most */
#define STALE_MAX       4096u  /* stale hints dropped in one call of take */
#define SCAN_ENTRIES    2048u  /* per step of putting in order */
#define HINTS_SPARE_MIN 16384u /* so many stale ones are no reason to do anything */
#define AHEAD           32u    /* hints whose entries are asked for ahead */
#define MARKS           4096u  /* slots of the set of positions of one batch: a power of two, above AT_ONCE */

/* Timers of one clock. */
typedef struct clocked {
    wr_wheel      wheel[2]; /* [0]: the index; [1]: its successor, while `renewing` */
    bool          has, renewing;
    uint64_t      live; /* cells that are set; too large when users overwrite cells */
    uint32_t      fields;
    uint32_t     *field; /* offsets in the state */
    wr_table_scan scan;  /* of renewing */
} clocked;

/* Owner: a keyed operator, its slot's thread. */
struct wr_timers {
    wr_table *table;
    clocked   clock[2];
    uint32_t  round; /* of the marks */
    struct {
        uint32_t position, round;
    } mark[MARKS];
    uint32_t offset[]; /* of the fields of both clocks */
};

static inline uint64_t key_of(int64_t ns)
{
    return (uint64_t)ns ^ UINT64_C(1) << 63;
}
static inline int64_t ns_of(uint64_t key)
{
    return (int64_t)(key ^ UINT64_C(1) << 63);
}
static inline int64_t cell_get(const void *cell)
{
    int64_t value;
    memcpy(&value, cell, sizeof value);
    return value;
}
static inline void cell_put(void *cell, int64_t value)
{
    memcpy(cell, &value, sizeof value);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static bool is_timer(const weir_field *field, uint32_t clock)
{
    return field->kind == (clock == WR_TIMER_EVENT ? WEIR_EVENT_TIMER : WEIR_CLOCK_TIMER);
}

bool wr_timers_in(const weir_type *state)
{
    for (uint32_t i = 0; state != NULL && i < state->fields; i++) {
        if (is_timer(&state->field[i], WR_TIMER_EVENT) || is_timer(&state->field[i], WR_TIMER_CLOCK)) return true;
    }
    return false;
}

wr_err wr_timers_new(wr_timers **take, wr_table *table, wr_errinfo *info)
{
    const weir_type *state = table->config.state;
    wr_timers       *t = calloc(1, sizeof *t + state->fields * sizeof *t->offset);
    *take = NULL;
    if (t == NULL) return wr_fail(info, WR_MEMORY, "out of memory: timers of operator %s", table->config.uid);
    t->table = table;
    uint32_t *offset = t->offset;
    for (uint32_t c = 0; c < 2; c++) {
        clocked *clock = &t->clock[c];
        clock->field = offset;
        for (uint32_t i = 0; i < state->fields; i++) {
            if (!is_timer(&state->field[i], c)) continue;
            *offset++ = state->field[i].offset;
            clock->fields++;
        }
        if (clock->fields == 0) continue;
        clock->has = true;
        wr_err err = wr_wheel_init(&clock->wheel[0], table->config.budget, &table->bytes, info);
        if (err != WR_OK) {
            wr_timers_free(t);
            return err;
        }
    }
    table->timers = t;
    *take = t;
    return WR_OK;
}

void wr_timers_free(wr_timers *t)
{
    if (t == NULL) return;
    for (uint32_t c = 0; c < 2; c++) {
        if (!t->clock[c].has) continue;
        wr_wheel_fini(&t->clock[c].wheel[0]);
        if (t->clock[c].renewing) wr_wheel_fini(&t->clock[c].wheel[1]);
    }
    if (t->table->timers == t) t->table->timers = NULL;
    free(t);
}

/* ---- hints ------------------------------------------------------------------------------------------------------- */

/* New hints go to the index that will stay. */
static inline void add_hint(clocked *clock, uint32_t position, uint32_t offset, int64_t due_ns)
{
    wr_wheel_add(&clock->wheel[clock->renewing], key_of(due_ns), position, offset);
}

/* Hints for all timers that are set in the entry. */
static void hint_entry(const wr_timers *t, clocked *clock, uint32_t position)
{
    const char *state = wr_family_at(&t->table->entries, position) + t->table->state_at;
    for (uint32_t i = 0; i < clock->fields; i++) {
        int64_t value = cell_get(state + clock->field[i]);
        if (value != 0) add_hint(clock, position, clock->field[i], value - 1);
    }
}

void wr_timers_moved(wr_timers *t, uint32_t position)
{
    for (uint32_t c = 0; c < 2; c++) hint_entry(t, &t->clock[c], position);
}

void wr_timers_forgotten(wr_timers *t, const void *state)
{
    for (uint32_t c = 0; c < 2; c++) {
        clocked *clock = &t->clock[c];
        for (uint32_t i = 0; i < clock->fields; i++) {
            bool set = cell_get((const char *)state + clock->field[i]) != 0;
            clock->live -= set && clock->live != 0;
        }
    }
}

static clocked *clocked_of(wr_timers *t, uint32_t clock, const void *state, const void *cell)
{
    clocked *of = &t->clock[clock];
    uint64_t offset = (uint64_t)((const char *)cell - (const char *)state);
    check(of->has && offset < t->table->config.state->size);
    return of;
}

void wr_timers_set(wr_timers *t, uint32_t clock, void *state, void *cell, int64_t due_ns)
{
    if (due_ns == WEIR_NO_TIME) {
        wr_timers_clear(t, clock, state, cell);
        return;
    }
    if (due_ns == INT64_MAX) due_ns--; /* the last time that a cell can hold */
    if (due_ns == -1) due_ns = 0;      /* -1 would read as none */
    clocked *of = clocked_of(t, clock, state, cell);
    int64_t  old = cell_get(cell);
    cell_put(cell, due_ns + 1);
    of->live += old == 0;
    if (old != 0 && old <= due_ns + 1) return; /* its hint comes up no later, and is moved then */
    add_hint(of, wr_table_position_of(t->table, state), (uint32_t)((char *)cell - (char *)state), due_ns);
}

void wr_timers_clear(wr_timers *t, uint32_t clock, void *state, void *cell)
{
    clocked *of = clocked_of(t, clock, state, cell);
    of->live -= cell_get(cell) != 0 && of->live != 0;
    cell_put(cell, 0);
}

/* ---- what is due ------------------------------------------------------------------------------------------------- */

static inline bool entry_lives(const wr_family *entries, uint32_t position)
{
    uint64_t where = entries->where[position >> entries->granule_log2];
    uint32_t number = (uint32_t)where + (position & ((1u << entries->granule_log2) - 1));
    return number < entries->group[where >> 32].count;
}

/* False: the key stands in this batch already. */
static bool mark(wr_timers *t, uint32_t position)
{
    uint32_t at = (position * 0x9E3779B1u) >> 20;
    _Static_assert(MARKS == 1u << 12, "20 bits are shifted out");
    for (; t->mark[at].round == t->round; at = (at + 1) % MARKS) {
        if (t->mark[at].position == position) return false;
    }
    t->mark[at].position = position;
    t->mark[at].round = t->round;
    return true;
}

static void begin_marks(wr_timers *t)
{
    if (++t->round != 0) return;
    memset(t->mark, 0, sizeof t->mark);
    t->round = 1;
}

/* Inlined by force: gcc takes a function that only asks ahead for one without effect, and leaves its calls out. */
static inline __attribute__((always_inline)) void ask_entries(const wr_timers *t, const wr_wheel *wheel, uint32_t from,
                                                              uint32_t to)
{
    const wr_family *entries = &t->table->entries;
    for (uint32_t i = from; i < to; i++) {
        const wr_hint *hint = wr_wheel_ahead(wheel, i);
        if (hint == NULL) return;
        const char *entry = wr_family_at(entries, hint->position);
        WR_FETCH(entry);
        if (entries->stride > WR_CACHE_LINE) WR_FETCH(entry + t->table->state_at + hint->field);
        WR_FETCH(&entries->where[hint->position >> entries->granule_log2]);
    }
}

/* The wheel with the earliest hint that is due, or NULL. *sinking: a wheel has more to do before that is known. */
static wr_wheel *earliest(clocked *clock, uint64_t limit, uint32_t *work, bool *sinking)
{
    enum wr_wheel_state old = wr_wheel_look(&clock->wheel[0], limit, work);
    if (!clock->renewing) {
        *sinking = old == WR_WHEEL_SINKING;
        return old == WR_WHEEL_DUE ? &clock->wheel[0] : NULL;
    }
    enum wr_wheel_state next = wr_wheel_look(&clock->wheel[1], limit, work);
    *sinking = old == WR_WHEEL_SINKING || next == WR_WHEEL_SINKING;
    if (*sinking) return NULL;
    if (old != WR_WHEEL_DUE || next != WR_WHEEL_DUE)
        return old == WR_WHEEL_DUE ? &clock->wheel[0] : next == WR_WHEEL_DUE ? &clock->wheel[1] : NULL;
    bool second = wr_wheel_first(&clock->wheel[1])->key < wr_wheel_first(&clock->wheel[0])->key;
    return &clock->wheel[second];
}

enum verdict { STALE, MOVED, DUE };

static enum verdict judge(const wr_timers *t, const wr_hint *hint, int64_t *value)
{
    const wr_table *table = t->table;
    if (!entry_lives(&table->entries, hint->position)) return STALE;
    *value = cell_get(wr_family_at(&table->entries, hint->position) + table->state_at + hint->field);
    if (*value == 0) return STALE;
    int64_t due = ns_of(hint->key);
    if (*value - 1 == due) return table->stamp_at != 0 && wr_ttl_gone(table, hint->position) ? STALE : DUE;
    return *value - 1 > due ? MOVED : STALE;
}

uint32_t wr_timers_take(wr_timers *t, uint32_t c, int64_t limit_ns, uint32_t max, void **state, weir_time *due,
                        uint32_t *cell, bool *all)
{
    clocked   *clock = &t->clock[c];
    wr_family *entries = &t->table->entries;
    uint32_t   n = 0, work = WORK_CHUNKS;
    bool       sinking = false;
    check(max <= WR_TIMERS_AT_ONCE);
    *all = true;
    if (!clock->has) return 0;
    begin_marks(t);
    for (uint32_t stale = 0; n < max && stale < STALE_MAX;) {
        wr_wheel *wheel = earliest(clock, key_of(limit_ns), &work, &sinking);
        if (wheel == NULL) {
            *all = !sinking;
            return n;
        }
        if (n + stale == 0 || wheel->run_at == 0) ask_entries(t, wheel, 0, AHEAD);
        ask_entries(t, wheel, AHEAD, AHEAD + 1);
        wr_hint      hint = *wr_wheel_first(wheel);
        int64_t      value;
        enum verdict verdict = judge(t, &hint, &value);
        /* A key's next timer comes in the next batch; the same one twice is stale, since its cell is cleared. */
        if (verdict == DUE && clock->fields > 1 && !mark(t, hint.position)) break;
        wr_wheel_drop(wheel);
        if (verdict == DUE) {
            wr_family_touch(entries, hint.position);
            state[n] = wr_family_at(entries, hint.position) + t->table->state_at;
            due[n].ns = value - 1;
            cell[n] = hint.field;
            cell_put((char *)state[n] + hint.field, 0);
            clock->live -= clock->live != 0;
            n++;
        } else {
            if (verdict == MOVED) add_hint(clock, hint.position, hint.field, value - 1);
            stale++;
        }
    }
    *all = false;
    return n;
}

int64_t wr_timers_next(const wr_timers *t, uint32_t c)
{
    const clocked *clock = &t->clock[c];
    uint64_t       least = UINT64_MAX, key;
    if (!clock->has) return INT64_MAX;
    if (wr_wheel_next(&clock->wheel[0], &key)) least = key;
    if (clock->renewing && wr_wheel_next(&clock->wheel[1], &key) && key < least) least = key;
    return ns_of(least);
}

/* ---- putting in order -------------------------------------------------------------------------------------------- */

static bool needs_order(const wr_timers *t, const clocked *clock)
{
    uint64_t keys = t->table->count, live = clock->live;
    if (live > keys * clock->fields) live = keys * clock->fields;
    uint64_t spare = keys / 4 > HINTS_SPARE_MIN ? keys / 4 : HINTS_SPARE_MIN;
    return clock->wheel[0].count > 2 * live + spare;
}

static void scan_some(wr_timers *t, clocked *clock, uint32_t n)
{
    const wr_family *entries = &t->table->entries;
    wr_table_scan   *scan = &clock->scan;
    while (n > 0 && scan->group < t->table->groups) {
        const wr_group *group = &entries->group[scan->group];
        if (scan->entry >= group->count) {
            scan->group++;
            scan->entry = 0;
            continue;
        }
        uint32_t first, region = wr_family_region_of(entries, scan->entry, &first);
        uint32_t end = first + wr_family_region_entries(entries, region);
        if (end > group->count) end = group->count;
        for (; scan->entry < end && n > 0; scan->entry++, n--)
            hint_entry(t, clock, group->region[region] + (scan->entry - first));
    }
}

static void renew(wr_timers *t, clocked *clock)
{
    scan_some(t, clock, SCAN_ENTRIES);
    if (clock->scan.group < t->table->groups) return;
    wr_wheel_fini(&clock->wheel[0]);
    clock->wheel[0] = clock->wheel[1];
    clock->renewing = false;
    if (clock->live > clock->wheel[0].count) clock->live = clock->wheel[0].count;
}

void wr_timers_settle(wr_timers *t)
{
    for (uint32_t c = 0; c < 2; c++) {
        clocked *clock = &t->clock[c];
        if (clock->renewing)
            renew(t, clock);
        else if (clock->has && __builtin_expect(needs_order(t, clock), 0)) {
            wr_errinfo info; /* without memory for a second index the first one serves on */
            wr_errinfo_init(&info);
            clock->renewing = wr_wheel_init(&clock->wheel[1], t->table->config.budget, &t->table->bytes, &info) ==
                              WR_OK;
            if (!clock->renewing) wr_wheel_fini(&clock->wheel[1]);
            clock->scan = (wr_table_scan){0};
        }
    }
}

void wr_timers_rebuild(wr_timers *t)
{
    for (uint32_t c = 0; c < 2; c++) {
        clocked *clock = &t->clock[c];
        check(!clock->has || clock->wheel[0].count == 0);
        clock->scan = (wr_table_scan){0};
        if (clock->has) scan_some(t, clock, UINT32_MAX);
        clock->live = clock->wheel[0].count;
    }
}

uint64_t wr_timers_count(const wr_timers *t, uint32_t c)
{
    return t->clock[c].live;
}
uint64_t wr_timers_hints(const wr_timers *t, uint32_t c)
{
    const clocked *clock = &t->clock[c];
    return clock->wheel[0].count + (clock->renewing ? clock->wheel[1].count : 0);
}
