/* One record of the ledger as bytes. */
#include "base/check.h"
#include "jobmanager/ledger_book.h"
#include <stdlib.h>
#include <string.h>

enum {
    B_TYPE,
    B_ID,
    B_REQUEST,
    B_WALL,
    B_SPEC,
    B_ATTEMPT,
    B_PLACE,
    B_SECRET,
    B_SUBTASK,
    B_HOW,
    B_STATE,
    B_CODE,
    B_TEXT,
    B_LEADER,
    B_BASE,
    B_WEIR,
    B_COUNT,
    B_DELAY,
    B_TARGET,
    B_TIMES,
    B_TM,
    B_ON,
    B_FIRST,
    B_PLANNED,
    B_KEYS
};
static const char *const key_name[] = {"type",   "id",     "request", "wall_ms", "spec",  "attempt",
                                       "place",  "secret", "subtask", "how",     "state", "code",
                                       "text",   "leader", "base",    "weir",    "count", "delay_ms",
                                       "target", "times",  "tm",      "on",      "first", "planned"};
#define BIT(KEY) (UINT64_C(1) << (KEY))
/* What a record of each type has, no more and no less. */
static const uint64_t members[WR_BOOK_TYPES] = {
    [WR_BOOK_LEADER] = BIT(B_LEADER) | BIT(B_BASE) | BIT(B_WEIR),
    [WR_BOOK_JOB] = BIT(B_ID) | BIT(B_REQUEST) | BIT(B_WALL) | BIT(B_SPEC),
    [WR_BOOK_SPEC] = BIT(B_ID) | BIT(B_SPEC),
    [WR_BOOK_ATTEMPT] = BIT(B_ID) | BIT(B_ATTEMPT) | BIT(B_PLACE) | BIT(B_SECRET) | BIT(B_WALL) | BIT(B_FIRST) |
                        BIT(B_PLANNED),
    [WR_BOOK_FAILED] = BIT(B_ID) | BIT(B_WALL) | BIT(B_ATTEMPT) | BIT(B_SUBTASK) | BIT(B_CODE) | BIT(B_TEXT) |
                       BIT(B_COUNT) | BIT(B_DELAY),
    [WR_BOOK_STOPPING] = BIT(B_ID) | BIT(B_HOW) | BIT(B_TARGET),
    [WR_BOOK_END] = BIT(B_ID) | BIT(B_WALL) | BIT(B_STATE) | BIT(B_CODE) | BIT(B_TEXT),
    [WR_BOOK_RESTART] = BIT(B_ID) | BIT(B_ATTEMPT) | BIT(B_SPEC),
    [WR_BOOK_PAST] = BIT(B_ID) | BIT(B_COUNT) | BIT(B_DELAY) | BIT(B_TIMES),
    [WR_BOOK_DRAINED] = BIT(B_TM) | BIT(B_ON),
};
/* What may be missing: it came later than version 2. */
static const uint64_t later[WR_BOOK_TYPES] = {[WR_BOOK_ATTEMPT] = BIT(B_PLANNED)};
/* What those of version 1 lack. */
static const uint64_t since_2[WR_BOOK_TYPES] = {
    [WR_BOOK_ATTEMPT] = BIT(B_WALL) | BIT(B_FIRST),
    [WR_BOOK_FAILED] = BIT(B_COUNT) | BIT(B_DELAY),
    [WR_BOOK_STOPPING] = BIT(B_TARGET),
};

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static void put_member(wr_pack *p, const wr_book_change *c, int key)
{
    wr_pack_str(p, key_name[key]);
    switch (key) {
    case B_ID: wr_pack_u64(p, c->id); break;
    case B_REQUEST: wr_pack_u64(p, c->request); break;
    case B_WALL: wr_pack_i64(p, c->wall_ms); break;
    case B_SPEC: wr_pack_bin(p, c->spec, c->spec_bytes); break;
    case B_ATTEMPT: wr_pack_u64(p, c->attempt); break;
    case B_PLACE:
        wr_pack_array(p, c->places);
        for (uint32_t i = 0; i < c->places; i++) wr_pack_u64(p, c->place[i]);
        break;
    case B_SECRET: wr_pack_bin(p, c->secret, WR_MAC_BYTES); break;
    case B_SUBTASK: wr_pack_u64(p, c->subtask); break;
    case B_HOW: wr_pack_u64(p, c->how); break;
    case B_STATE: wr_pack_u64(p, c->state); break;
    case B_CODE: wr_pack_u64(p, (uint64_t)c->cause.code); break;
    case B_TEXT: wr_pack_str(p, c->cause.text); break;
    case B_LEADER: wr_pack_u64(p, c->leader); break;
    case B_BASE: wr_pack_u64(p, c->base_bytes); break;
    case B_COUNT: wr_pack_u64(p, c->count); break;
    case B_DELAY: wr_pack_i64(p, c->delay_ms); break;
    case B_TARGET: wr_pack_str(p, c->target); break;
    case B_TIMES:
        wr_pack_array(p, c->times);
        for (uint32_t i = 0; i < c->times; i++) wr_pack_i64(p, c->time[i]);
        break;
    case B_TM: wr_pack_u64(p, c->tm); break;
    case B_ON: wr_pack_u64(p, c->on); break;
    case B_FIRST: wr_pack_u64(p, c->first); break;
    case B_PLANNED: wr_pack_u64(p, c->planned); break;
    default: wr_pack_str(p, WR_VERSION); break;
    }
}

void wr_book_put(wr_pack *body, const wr_book_change *c)
{
    check(c->type >= WR_BOOK_LEADER && c->type < WR_BOOK_TYPES);
    wr_pack_map(body, 1 + (uint32_t)__builtin_popcountll(members[c->type]));
    wr_pack_str(body, key_name[B_TYPE]);
    wr_pack_u64(body, c->type);
    for (int key = 0; key < B_KEYS; key++)
        if (members[c->type] & BIT(key)) put_member(body, c, key);
}

static void take_places(wr_unpack *u, wr_book_change *c)
{
    c->places = 0;
    uint32_t n = wr_unpack_array(u);
    if (n > WR_SLOTS_MAX) wr_unpack_fail(u, "an attempt has more slots than there can be");
    for (uint32_t i = 0; i < n && u->problem == NULL; i++) {
        c->place[i] = wr_unpack_u64(u, UINT64_MAX);
        if (c->place[i] == 0) wr_unpack_fail(u, "a slot has no TaskManager");
    }
    wr_unpack_leave(u);
    if (u->problem == NULL) c->places = n;
}

static void take_times(wr_unpack *u, wr_book_change *c)
{
    c->times = 0;
    uint32_t n = wr_unpack_array(u);
    if (n > WR_RESTART_RATE_MAX) wr_unpack_fail(u, "a job has more times of failures than are kept");
    for (uint32_t i = 0; i < n && u->problem == NULL; i++) c->time[i] = wr_unpack_i64(u);
    wr_unpack_leave(u);
    if (u->problem == NULL) c->times = n;
}

static void take_text(wr_unpack *u, char *to, size_t bytes)
{
    size_t      n = 0;
    const char *from = wr_unpack_str(u, bytes - 1, &n);
    if (from != NULL) memcpy(to, from, n);
    to[from != NULL ? n : 0] = 0;
}

/* A newer Weir may know errors that we do not. */
static wr_err code_of(uint64_t number)
{
    wr_err err = (wr_err)number;
    return wr_err_name(err)[0] != '?' ? err : WR_INTERNAL;
}

static void take_member(wr_unpack *u, wr_book_change *c, int key)
{
    size_t n = 0;
    char   weir[65];
    switch (key) {
    case B_TYPE: c->type = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    case B_ID: c->id = wr_unpack_u64(u, UINT64_MAX); break;
    case B_REQUEST: c->request = wr_unpack_u64(u, UINT64_MAX); break;
    case B_WALL: c->wall_ms = wr_unpack_i64(u); break;
    case B_SPEC: c->spec = wr_unpack_bin(u, WR_SPEC_BYTES_MAX, &c->spec_bytes); break;
    case B_ATTEMPT: c->attempt = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    case B_PLACE: take_places(u, c); break;
    case B_SECRET: {
        const char *secret = wr_unpack_bin(u, WR_MAC_BYTES, &n);
        if (secret != NULL && n == WR_MAC_BYTES)
            memcpy(c->secret, secret, WR_MAC_BYTES);
        else
            wr_unpack_fail(u, "a secret has not 32 bytes");
        break;
    }
    case B_SUBTASK: c->subtask = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    case B_HOW: c->how = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    case B_STATE: c->state = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    case B_CODE: c->cause.code = code_of(wr_unpack_u64(u, INT32_MAX)); break;
    case B_TEXT: take_text(u, c->cause.text, sizeof c->cause.text); break;
    case B_LEADER: c->leader = wr_unpack_u64(u, UINT64_MAX); break;
    case B_BASE: c->base_bytes = wr_unpack_u64(u, UINT64_MAX); break;
    case B_WEIR: take_text(u, weir, sizeof weir); break;
    case B_COUNT: c->count = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    case B_DELAY: c->delay_ms = wr_unpack_i64(u); break;
    case B_TARGET: take_text(u, c->target, sizeof c->target); break;
    case B_TIMES: take_times(u, c); break;
    case B_TM: c->tm = wr_unpack_u64(u, UINT64_MAX); break;
    case B_ON: c->on = (uint32_t)wr_unpack_u64(u, 1); break;
    case B_FIRST: c->first = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    case B_PLANNED: c->planned = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
    default: break; /* skipped already */
    }
}

const char *wr_book_take(wr_book_change *c, uint32_t version, const char *body, size_t n, size_t *offset)
{
    wr_unpack u;
    uint64_t  seen = 0;
    memset(c, 0, sizeof *c);
    c->planned = WR_BOOK_NOT_SAID;
    wr_unpack_init(&u, body, n);
    for (uint32_t left = wr_unpack_map(&u); left > 0 && u.problem == NULL; left--)
        take_member(&u, c, wr_unpack_key(&u, key_name, B_KEYS, &seen));
    wr_unpack_leave(&u);
    wr_unpack_end(&u);
    if (u.problem == NULL) {
        uint32_t types = version == 1 ? WR_BOOK_END + 1 : WR_BOOK_TYPES;
        if (c->type < WR_BOOK_LEADER || c->type >= types)
            wr_unpack_fail(&u, "a record is of a type that there is not");
        else if ((members[c->type] & ~seen & ~later[c->type] & ~(version == 1 ? since_2[c->type] : 0)) != 0)
            wr_unpack_fail(&u, "a record lacks a member");
    }
    *offset = u.offset;
    return u.problem;
}
