/* Messages of the control plane to and from bytes: a head, and a body with the members of its kind. */
#include "wire/control.h"
#include "base/check.h"
#include "base/limits.h"
#include "wire/control_tables.h"
#include "wire/schema.h"
#include <stdlib.h>
#include <string.h>
#include <weir/op.h>

bool wr_job_name_fits(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) return false;
    }
    return n >= 1 && n <= WR_NAME_BYTES_MAX;
}

enum { H_KIND, H_LEADER, H_JOB, H_ATTEMPT, H_REQUEST, H_BODY, H_KEYS };
static const char *const head_key[] = {"kind", "leader", "job", "attempt", "request", "body"};

const char *wr_message_name(uint32_t kind)
{
    const wr_message_body *body = wr_message_body_of(kind);
    return body != NULL ? body->name : "?";
}

/* ---- encode ------------------------------------------------------------------------------------------------------ */

static void pack_head(wr_pack *p, const wr_message *m)
{
    wr_pack_map(p, H_KEYS);
    wr_pack_str(p, head_key[H_KIND]);
    wr_pack_u64(p, m->kind);
    wr_pack_str(p, head_key[H_LEADER]);
    wr_pack_u64(p, m->leader);
    wr_pack_str(p, head_key[H_JOB]);
    wr_pack_u64(p, m->job);
    wr_pack_str(p, head_key[H_ATTEMPT]);
    wr_pack_u64(p, m->attempt);
    wr_pack_str(p, head_key[H_REQUEST]);
    wr_pack_u64(p, m->request);
    wr_pack_str(p, head_key[H_BODY]);
}

static wr_err give(wr_pack *p, const char *bad, size_t bytes_max, const char *what, char **bytes, size_t *n,
                   wr_errinfo *info)
{
    if (bad == NULL && p->bytes <= bytes_max) {
        *bytes = p->data;
        *n = p->bytes;
        return WR_OK;
    }
    wr_fail(info, WR_LIMIT, "%s cannot be sent: beyond its bounds: %s; %zu bytes", what,
            bad != NULL ? bad : "all of it", p->bytes);
    wr_pack_free(p);
    return WR_LIMIT;
}

wr_err wr_message_encode(const wr_message *m, char **bytes, size_t *n, wr_errinfo *info)
{
    const wr_message_body *body = wr_message_body_of(m->kind);
    wr_pack                p = {0};
    check(body != NULL);
    check(m->kind != WR_MSG_ACK || m->ack != NULL);
    pack_head(&p, m);
    const void *it = m->kind == WR_MSG_ACK ? (const void *)m->ack : (const char *)m + body->at;
    const char *bad = wr_struct_pack(&p, body->of, it);
    return give(&p, bad, WR_MESSAGE_BYTES_MAX, body->name, bytes, n, info);
}

wr_err wr_job_spec_encode(const wr_job_spec *spec, char **bytes, size_t *n, wr_errinfo *info)
{
    wr_pack     p = {0};
    const char *bad = wr_struct_pack(&p, &wr_job_spec_struct, spec);
    return give(&p, bad, WR_SPEC_BYTES_MAX, "the specification of a job", bytes, n, info);
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

/* Whoever takes the answer may keep it beyond the message: so it owns its memory. */
static wr_ack *own_ack(const wr_ack *from)
{
    wr_ack *ack = malloc(sizeof *ack);
    if (ack == NULL) goto no_memory;
    *ack = *from;
    ack->arena = (wr_arena){0};
    ack->op = calloc(from->ops > 0 ? from->ops : 1, sizeof *ack->op);
    if (ack->op == NULL) goto no_memory;
    for (uint32_t i = 0; i < from->ops; i++) {
        wr_ack_op *op = &ack->op[i];
        *op = from->op[i];
        op->record = wr_schema_copy(&ack->arena, op->record);
        op->state = wr_schema_copy(&ack->arena, op->state);
        if (op->key != NULL) {
            weir_key *key = wr_arena_array(&ack->arena, weir_key, 1);
            *key = *op->key;
            op->key = key;
        }
        op->item = calloc(op->items > 0 ? op->items : 1, sizeof *op->item);
        if (op->item == NULL) goto no_memory;
        for (uint32_t k = 0; k < op->items; k++) {
            const wr_item *item = &from->op[i].item[k];
            op->item[k] = *item;
            op->item[k].data = malloc(item->bytes + 1u);
            if (op->item[k].data == NULL) goto no_memory;
            if (item->bytes > 0) memcpy(op->item[k].data, item->data, item->bytes);
        }
    }
    return ack;
no_memory: /* as an arena: the control plane does not go on without memory */
    fprintf(stderr, "weir: out of memory: an answer to a barrier\n");
    exit(1);
}

/* Everything but the body, which is found and stepped over. */
static void read_head(wr_unpack *u, wr_message *m, const char **body)
{
    uint64_t seen = 0;
    for (uint32_t n = wr_unpack_map(u); n > 0 && u->problem == NULL; n--) {
        switch (wr_unpack_key(u, head_key, H_KEYS, &seen)) {
        case H_KIND: m->kind = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
        case H_LEADER: m->leader = wr_unpack_u64(u, UINT64_MAX); break;
        case H_JOB: m->job = wr_unpack_u64(u, UINT64_MAX); break;
        case H_ATTEMPT: m->attempt = (uint32_t)wr_unpack_u64(u, UINT32_MAX); break;
        case H_REQUEST: m->request = wr_unpack_u64(u, UINT64_MAX); break;
        case H_BODY:
            *body = u->at;
            wr_unpack_skip(u);
            break;
        default: break;
        }
    }
    if (seen != (UINT64_C(1) << H_KEYS) - 1) wr_unpack_fail(u, "a member is missing");
    wr_unpack_leave(u);
    wr_unpack_end(u);
}

static void read_body(wr_unpack *u, wr_message *m, const wr_message_body *kind)
{
    if (kind->at != 0 && kind->kind != WR_MSG_ACK) {
        wr_struct_unpack(u, &m->arena, WR_MESSAGE_MEMORY_MAX, kind->of, (char *)m + kind->at);
    } else if (kind->kind != WR_MSG_ACK) { /* members of the message itself, of which nothing but they may change */
        wr_message whole;
        wr_struct_unpack(u, &m->arena, WR_MESSAGE_MEMORY_MAX, kind->of, &whole);
        if (kind->of->members == 0 || u->problem != NULL) return;
        if (kind->kind == WR_MSG_REPORT) m->report = whole.report;
        if (kind->kind == WR_MSG_LEASE) m->until_mono_ns = whole.until_mono_ns;
        if (kind->kind == WR_MSG_HEARTBEAT || kind->kind == WR_MSG_HEARD) m->seq = whole.seq;
    } else {
        wr_ack ack;
        wr_struct_unpack(u, &m->arena, WR_MESSAGE_MEMORY_MAX, kind->of, &ack);
        if (u->problem == NULL) m->ack = own_ack(&ack);
    }
}

wr_err wr_message_decode(wr_message *m, const char *bytes, size_t n, wr_errinfo *info)
{
    wr_unpack   u;
    const char *body = NULL;
    memset(m, 0, sizeof *m);
    if (n > WR_MESSAGE_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "a message has %zu bytes; at most %d are taken", n, WR_MESSAGE_BYTES_MAX);
    wr_unpack_init(&u, bytes, n);
    read_head(&u, m, &body);
    const wr_message_body *kind = wr_message_body_of(m->kind);
    if (u.problem == NULL && kind == NULL)
        return wr_fail(info, WR_NEWER, "a message is of kind %u, which this Weir does not know", m->kind);
    if (u.problem == NULL) {
        wr_unpack_init(&u, body, (size_t)(bytes + n - body)); /* other members may follow it: the head was checked */
        read_body(&u, m, kind);
    }
    if (u.problem == NULL) return WR_OK;
    wr_fail(info, WR_DAMAGED, "a message is none: %s; %s, offset %zu", u.problem, kind != NULL ? kind->name : "head",
            (size_t)(u.begin - bytes) + u.offset);
    wr_arena_fini(&m->arena);
    memset(m, 0, sizeof *m);
    return WR_DAMAGED;
}

void wr_message_free(wr_message *m)
{
    if (m->kind == WR_MSG_ACK) wr_ack_free(m->ack);
    wr_arena_fini(&m->arena);
    memset(m, 0, sizeof *m);
}

wr_err wr_job_spec_decode(wr_job_spec *spec, wr_arena *arena, const char *bytes, size_t n, wr_errinfo *info)
{
    wr_unpack u;
    memset(spec, 0, sizeof *spec);
    if (n > WR_SPEC_BYTES_MAX)
        return wr_fail(info, WR_LIMIT, "the specification of a job has %zu bytes; at most %d are taken", n,
                       WR_SPEC_BYTES_MAX);
    wr_unpack_init(&u, bytes, n);
    wr_struct_unpack(&u, arena, arena->bytes + WR_MESSAGE_MEMORY_MAX, &wr_job_spec_struct, spec);
    wr_unpack_end(&u);
    if (u.problem == NULL) return WR_OK;
    memset(spec, 0, sizeof *spec);
    return wr_fail(info, WR_DAMAGED, "the specification of a job is none: %s; offset %zu", u.problem, u.offset);
}
