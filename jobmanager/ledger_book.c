#include "jobmanager/ledger_book.h"
#include "base/check.h"
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
    B_KEYS
};
static const char *const key_name[] = {"type",    "id",  "request", "wall_ms", "spec", "attempt", "place", "secret",
                                       "subtask", "how", "state",   "code",    "text", "leader",  "base",  "weir"};
#define BIT(KEY) (UINT64_C(1) << (KEY))
/* What a record of each type has, no more and no less. */
static const uint64_t members[] = {
    [WR_BOOK_LEADER] = BIT(B_LEADER) | BIT(B_BASE) | BIT(B_WEIR),
    [WR_BOOK_JOB] = BIT(B_ID) | BIT(B_REQUEST) | BIT(B_WALL) | BIT(B_SPEC),
    [WR_BOOK_SPEC] = BIT(B_ID) | BIT(B_SPEC),
    [WR_BOOK_ATTEMPT] = BIT(B_ID) | BIT(B_ATTEMPT) | BIT(B_PLACE) | BIT(B_SECRET),
    [WR_BOOK_FAILED] = BIT(B_ID) | BIT(B_WALL) | BIT(B_ATTEMPT) | BIT(B_SUBTASK) | BIT(B_CODE) | BIT(B_TEXT),
    [WR_BOOK_STOPPING] = BIT(B_ID) | BIT(B_HOW),
    [WR_BOOK_END] = BIT(B_ID) | BIT(B_WALL) | BIT(B_STATE) | BIT(B_CODE) | BIT(B_TEXT),
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
    default: wr_pack_str(p, WR_VERSION); break;
    }
}

void wr_book_put(wr_pack *body, const wr_book_change *c)
{
    check(c->type >= WR_BOOK_LEADER && c->type <= WR_BOOK_END);
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
    default: break; /* skipped already */
    }
}

const char *wr_book_take(wr_book_change *c, const char *body, size_t n, size_t *offset)
{
    wr_unpack u;
    uint64_t  seen = 0;
    memset(c, 0, sizeof *c);
    wr_unpack_init(&u, body, n);
    for (uint32_t left = wr_unpack_map(&u); left > 0 && u.problem == NULL; left--)
        take_member(&u, c, wr_unpack_key(&u, key_name, B_KEYS, &seen));
    wr_unpack_leave(&u);
    wr_unpack_end(&u);
    if (u.problem == NULL) {
        if (c->type < WR_BOOK_LEADER || c->type > WR_BOOK_END)
            wr_unpack_fail(&u, "a record is of a type that there is not");
        else if ((seen & members[c->type]) != members[c->type])
            wr_unpack_fail(&u, "a record lacks a member");
    }
    *offset = u.offset;
    return u.problem;
}

/* ---- what they add up to ----------------------------------------------------------------------------------------- */

static void job_free(wr_book_job *j)
{
    free(j->spec);
    free(j->pub.place);
    free(j->pub.failure);
    wr_arena_fini(&j->arena);
    free(j);
}

void wr_book_free(wr_book *b)
{
    for (uint32_t i = 0; i < b->jobs; i++) job_free(b->job[i]);
    free(b->job);
    memset(b, 0, sizeof *b);
}

wr_book_job *wr_book_find(const wr_book *b, uint64_t id)
{
    for (uint32_t i = 0; i < b->jobs; i++)
        if (b->job[i]->pub.id == id) return b->job[i];
    return NULL;
}

static void *must_have(void *memory)
{
    check(memory != NULL); /* as wr_arena_get: the control plane does not go on without memory */
    return memory;
}

/* The bytes are copied; the old specification is gone when the new one can be read. */
static const char *set_spec(wr_book_job *j, const char *spec, size_t n)
{
    wr_job_spec decoded;
    wr_arena    arena;
    wr_arena_init(&arena);
    if (n == 0 || wr_job_spec_decode(&decoded, &arena, spec, n, NULL) != WR_OK) {
        wr_arena_fini(&arena);
        return "a job's specification cannot be read";
    }
    wr_arena_fini(&j->arena);
    free(j->spec);
    j->spec = must_have(malloc(n));
    memcpy(j->spec, spec, n);
    j->spec_bytes = n;
    j->arena = arena;
    j->pub.spec = decoded;
    return NULL;
}

static const char *add_job(wr_book *b, const wr_book_change *c)
{
    if (c->id == 0) return "a job has no id";
    if (wr_book_find(b, c->id) != NULL) return "a job comes twice";
    if (b->jobs >= WR_JOBS_MAX + WR_JOBS_ENDED_KEPT) return "there are more jobs than can be";
    wr_book_job *j = must_have(calloc(1, sizeof *j));
    j->pub.id = c->id;
    j->pub.request = c->request;
    j->pub.submitted_wall_ms = c->wall_ms;
    const char *problem = set_spec(j, c->spec, c->spec_bytes);
    if (problem != NULL) {
        job_free(j);
        return problem;
    }
    if (b->jobs == b->room) {
        b->room = b->room > 0 ? 2 * b->room : 16;
        b->job = must_have(realloc(b->job, b->room * sizeof(wr_book_job *)));
    }
    b->job[b->jobs++] = j;
    b->living++;
    b->living_bytes += j->spec_bytes;
    return NULL;
}

static const char *change_spec(wr_book *b, wr_book_job *j, const wr_book_change *c)
{
    size_t      before = j->spec_bytes;
    const char *problem = set_spec(j, c->spec, c->spec_bytes);
    if (problem == NULL) b->living_bytes += j->spec_bytes - before;
    return problem;
}

static void no_place(wr_ledger_job *j)
{
    free(j->place);
    j->place = NULL;
    j->places = 0;
}

static const char *add_attempt(wr_ledger_job *j, const wr_book_change *c)
{
    if (c->attempt == 0 || c->attempt < j->attempt) return "an attempt comes after a later one";
    no_place(j);
    j->attempt = c->attempt;
    memcpy(j->secret, c->secret, WR_MAC_BYTES);
    if (c->places == 0) return NULL;
    j->place = must_have(malloc(c->places * sizeof *j->place));
    memcpy(j->place, c->place, c->places * sizeof *j->place);
    j->places = c->places;
    return NULL;
}

static const char *add_failure(wr_ledger_job *j, const wr_book_change *c)
{
    if (j->failure == NULL) j->failure = must_have(calloc(WR_FAILURES_KEPT, sizeof *j->failure));
    if (j->failures == WR_FAILURES_KEPT) {
        memmove(j->failure, j->failure + 1, (WR_FAILURES_KEPT - 1) * sizeof *j->failure);
        j->failures--;
    }
    j->failure[j->failures++] = (wr_ledger_failure){
        .wall_ms = c->wall_ms, .attempt = c->attempt, .subtask = c->subtask, .info = c->cause};
    if (c->attempt >= j->attempt) { /* nothing of it runs any more */
        j->attempt = c->attempt;
        no_place(j);
    }
    return NULL;
}

static uint32_t oldest_ended(const wr_book *b, uint32_t *ended)
{
    uint32_t at = UINT32_MAX;
    *ended = 0;
    for (uint32_t i = 0; i < b->jobs; i++) {
        if (b->job[i]->ended == 0) continue;
        ++*ended;
        if (at == UINT32_MAX || b->job[i]->ended < b->job[at]->ended) at = i;
    }
    return at;
}

static void forget_oldest(wr_book *b)
{
    uint32_t ended, at;
    while ((at = oldest_ended(b, &ended)) != UINT32_MAX &&
           (ended > WR_JOBS_ENDED_KEPT || b->ended_bytes > WR_LEDGER_ENDED_BYTES_MAX)) {
        b->ended_bytes -= b->job[at]->spec_bytes;
        job_free(b->job[at]);
        memmove(&b->job[at], &b->job[at + 1], (b->jobs - at - 1) * sizeof(wr_book_job *));
        b->jobs--;
    }
}

static const uint32_t state_of[] = {0, WR_JOB_FAILED, WR_JOB_CANCELED, WR_JOB_FINISHED};

static const char *end_job(wr_book *b, wr_book_job *j, const wr_book_change *c)
{
    if (c->state < WR_BOOK_FAILED_STATE || c->state > WR_BOOK_FINISHED_STATE) return "a job has ended in no state";
    j->pub.state = state_of[c->state];
    j->pub.cause = c->cause;
    j->pub.ended_wall_ms = c->wall_ms;
    no_place(&j->pub);
    j->ended = ++b->ends;
    b->living--;
    b->living_bytes -= j->spec_bytes;
    b->ended_bytes += j->spec_bytes;
    forget_oldest(b);
    return NULL;
}

const char *wr_book_apply(wr_book *b, const wr_book_change *c)
{
    if ((c->type == WR_BOOK_LEADER) != (b->leader == 0)) return "a record stands where it does not belong";
    if (c->type == WR_BOOK_LEADER) {
        if (c->leader == 0) return "there is no leader 0";
        b->leader = c->leader;
        b->base_bytes = c->base_bytes;
        return NULL;
    }
    if (c->type == WR_BOOK_JOB) return add_job(b, c);
    wr_book_job *j = wr_book_find(b, c->id);
    if (j == NULL) return "a record is about a job that there is not";
    if (j->ended != 0) return "a record is about a job that has ended";
    switch (c->type) {
    case WR_BOOK_SPEC: return change_spec(b, j, c);
    case WR_BOOK_ATTEMPT: return add_attempt(&j->pub, c);
    case WR_BOOK_FAILED: return add_failure(&j->pub, c);
    case WR_BOOK_STOPPING:
        if (c->how > WR_LEDGER_CANCEL) return "a job is to stop in no known way";
        j->pub.stopping = c->how;
        return NULL;
    default: return end_job(b, j, c);
    }
}

/* ---- all of it again --------------------------------------------------------------------------------------------- */

static void job_again(const wr_book_job *j, void (*each)(void *arg, const wr_book_change *change), void *arg)
{
    const wr_ledger_job *p = &j->pub;
    wr_book_change       c = {.type = WR_BOOK_JOB,
                              .id = p->id,
                              .request = p->request,
                              .wall_ms = p->submitted_wall_ms,
                              .spec = j->spec,
                              .spec_bytes = j->spec_bytes};
    each(arg, &c);
    for (uint32_t i = 0; i < p->failures; i++) {
        const wr_ledger_failure *f = &p->failure[i];
        c = (wr_book_change){.type = WR_BOOK_FAILED,
                             .id = p->id,
                             .wall_ms = f->wall_ms,
                             .attempt = f->attempt,
                             .subtask = f->subtask,
                             .cause = f->info};
        each(arg, &c);
    }
    if (p->attempt > 0) {
        c = (wr_book_change){.type = WR_BOOK_ATTEMPT, .id = p->id, .attempt = p->attempt, .places = p->places};
        if (p->places > 0) memcpy(c.place, p->place, p->places * sizeof c.place[0]);
        memcpy(c.secret, p->secret, WR_MAC_BYTES);
        each(arg, &c);
    }
    c = (wr_book_change){.type = WR_BOOK_STOPPING, .id = p->id, .how = p->stopping};
    if (p->stopping != 0) each(arg, &c);
}

static void end_again(const wr_book_job *j, void (*each)(void *arg, const wr_book_change *change), void *arg)
{
    wr_book_change c = {.type = WR_BOOK_END, .id = j->pub.id, .wall_ms = j->pub.ended_wall_ms, .cause = j->pub.cause};
    for (uint32_t s = WR_BOOK_FAILED_STATE; s <= WR_BOOK_FINISHED_STATE; s++)
        if (state_of[s] == j->pub.state) c.state = s;
    each(arg, &c);
}

/* The ends come last, in their order: it says who is forgotten first. */
void wr_book_all(const wr_book *b, void (*each)(void *arg, const wr_book_change *change), void *arg)
{
    for (uint32_t i = 0; i < b->jobs; i++) job_again(b->job[i], each, arg);
    for (uint64_t last = 0;;) {
        const wr_book_job *next = NULL;
        for (uint32_t i = 0; i < b->jobs; i++) {
            const wr_book_job *j = b->job[i];
            if (j->ended > last && (next == NULL || j->ended < next->ended)) next = j;
        }
        if (next == NULL) return;
        last = next->ended;
        end_again(next, each, arg);
    }
}
