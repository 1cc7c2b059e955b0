#include "wire/pack.h"
#include "base/check.h"
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 16 }; /* our formats nest far less */

/* ---- packing ----------------------------------------------------------------------------------------------------- */

void wr_pack_free(wr_pack *p)
{
    free(p->data);
    *p = (wr_pack){0};
}

void wr_pack_raw(wr_pack *p, const void *bytes, size_t n)
{
    if (p->room - p->bytes < n) {
        size_t room = p->room == 0 ? 1024 : p->room;
        while (room - p->bytes < n) room *= 2;
        char *data = realloc(p->data, room);
        if (data == NULL) { /* as an arena: the control plane does not go on without memory */
            fprintf(stderr, "weir: out of memory: %zu bytes for the control plane\n", room);
            exit(1);
        }
        p->data = data;
        p->room = room;
    }
    if (n > 0) memcpy(p->data + p->bytes, bytes, n);
    p->bytes += n;
}

static int write_to(void *data, const char *bytes, size_t n)
{
    wr_pack_raw(data, bytes, n);
    return 0;
}

static msgpack_packer packer(wr_pack *p)
{
    msgpack_packer m;
    msgpack_packer_init(&m, p, write_to);
    return m;
}

void wr_pack_map(wr_pack *p, uint32_t members)
{
    msgpack_packer m = packer(p);
    msgpack_pack_map(&m, members);
}

void wr_pack_array(wr_pack *p, uint32_t elements)
{
    msgpack_packer m = packer(p);
    msgpack_pack_array(&m, elements);
}

void wr_pack_nil(wr_pack *p)
{
    msgpack_packer m = packer(p);
    msgpack_pack_nil(&m);
}

void wr_pack_bool(wr_pack *p, bool value)
{
    msgpack_packer m = packer(p);
    if (value)
        msgpack_pack_true(&m);
    else
        msgpack_pack_false(&m);
}

void wr_pack_u64(wr_pack *p, uint64_t value)
{
    msgpack_packer m = packer(p);
    msgpack_pack_uint64(&m, value);
}

void wr_pack_i64(wr_pack *p, int64_t value)
{
    msgpack_packer m = packer(p);
    msgpack_pack_int64(&m, value);
}

void wr_pack_f64(wr_pack *p, double value)
{
    msgpack_packer m = packer(p);
    msgpack_pack_double(&m, value);
}

void wr_pack_str(wr_pack *p, const char *text)
{
    if (text == NULL) {
        wr_pack_nil(p);
        return;
    }
    msgpack_packer m = packer(p);
    size_t         n = strlen(text);
    msgpack_pack_str(&m, n);
    msgpack_pack_str_body(&m, text, n);
}

void wr_pack_bin(wr_pack *p, const void *bytes, size_t n)
{
    msgpack_packer m = packer(p);
    msgpack_pack_bin(&m, n);
    if (n > 0) msgpack_pack_bin_body(&m, bytes, n);
}

/* ---- unpacking --------------------------------------------------------------------------------------------------- */

void wr_unpack_init(wr_unpack *u, const void *bytes, size_t n)
{
    *u = (wr_unpack){.begin = bytes, .at = bytes, .end = (const char *)bytes + n};
}

void wr_unpack_fail(wr_unpack *u, const char *problem)
{
    if (u->problem != NULL) return;
    u->problem = problem;
    u->offset = (size_t)(u->at - u->begin);
    u->at = u->end; /* whoever goes on finds nothing */
}

/* The n bytes behind the tag, big endian. */
static uint64_t number(wr_unpack *u, uint32_t n)
{
    if ((size_t)(u->end - u->at) < n) {
        wr_unpack_fail(u, "it ends in the middle of a value");
        return 0;
    }
    uint64_t value = 0;
    for (uint32_t i = 0; i < n; i++) value = value << 8 | (uint8_t)u->at[i];
    u->at += n;
    return value;
}

/* Takes the tag byte. 0xc1, which no value has, at the end of the bytes and after a problem. */
static uint8_t tag(wr_unpack *u)
{
    if (u->problem != NULL) return 0xc1;
    if (u->at == u->end) {
        wr_unpack_fail(u, "it ends where a value should begin");
        return 0xc1;
    }
    return (uint8_t)*u->at++;
}

static void wrong(wr_unpack *u, const char *problem)
{
    if (u->problem == NULL && u->at > u->begin) u->at--; /* the offset of the tag */
    wr_unpack_fail(u, problem);
}

/* Elements need `each` bytes at least. */
static uint32_t enter(wr_unpack *u, uint64_t n, uint32_t each)
{
    if (u->problem == NULL && n > (uint64_t)(u->end - u->at) / each)
        wr_unpack_fail(u, "it counts more elements than there are bytes");
    if (u->problem == NULL && ++u->depth > DEPTH_MAX) wr_unpack_fail(u, "it is nested too deeply");
    return u->problem == NULL ? (uint32_t)n : 0;
}

uint32_t wr_unpack_map(wr_unpack *u)
{
    uint8_t  t = tag(u);
    uint64_t n = 0;
    if ((t & 0xf0) == 0x80)
        n = t & 15;
    else if (t == 0xde || t == 0xdf)
        n = number(u, t == 0xde ? 2 : 4);
    else
        wrong(u, "a map is expected here");
    return enter(u, n, 2);
}

uint32_t wr_unpack_array(wr_unpack *u)
{
    uint8_t  t = tag(u);
    uint64_t n = 0;
    if ((t & 0xf0) == 0x90)
        n = t & 15;
    else if (t == 0xdc || t == 0xdd)
        n = number(u, t == 0xdc ? 2 : 4);
    else
        wrong(u, "an array is expected here");
    return enter(u, n, 1);
}

void wr_unpack_leave(wr_unpack *u)
{
    if (u->problem != NULL) return;
    check(u->depth > 0);
    u->depth--;
}

bool wr_unpack_is_nil(wr_unpack *u)
{
    bool nil = u->at < u->end && (uint8_t)*u->at == 0xc0;
    if (nil) u->at++;
    return nil;
}

bool wr_unpack_bool(wr_unpack *u)
{
    uint8_t t = tag(u);
    if (t != 0xc2 && t != 0xc3) wrong(u, "true or false is expected here");
    return t == 0xc3;
}

uint64_t wr_unpack_u64(wr_unpack *u, uint64_t max)
{
    uint8_t  t = tag(u);
    uint64_t value = 0;
    if (t < 0x80)
        value = t;
    else if (t >= 0xcc && t <= 0xcf)
        value = number(u, 1u << (t - 0xcc));
    else
        wrong(u, "a number that is not negative is expected here");
    if (u->problem == NULL && value > max) wr_unpack_fail(u, "a number is larger than it may be");
    return u->problem == NULL ? value : 0;
}

int64_t wr_unpack_i64(wr_unpack *u)
{
    uint8_t t = u->at < u->end ? (uint8_t)*u->at : 0;
    if (t < 0x80 || (t >= 0xcc && t <= 0xcf)) return (int64_t)wr_unpack_u64(u, INT64_MAX);
    t = tag(u);
    if (t >= 0xe0) return (int8_t)t;
    if (t < 0xd0 || t > 0xd3) {
        wrong(u, "a number is expected here");
        return 0;
    }
    uint32_t bytes = 1u << (t - 0xd0);
    uint64_t value = number(u, bytes) << (64 - 8 * bytes);
    return (int64_t)value >> (64 - 8 * bytes);
}

double wr_unpack_f64(wr_unpack *u)
{
    uint8_t  t = tag(u);
    uint64_t bits = 0;
    double   value;
    if (t == 0xcb)
        bits = number(u, 8);
    else
        wrong(u, "a floating-point number is expected here");
    if (u->problem != NULL) bits = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static const char *text(wr_unpack *u, uint64_t bytes, size_t max, size_t *n)
{
    *n = 0;
    if (u->problem == NULL && bytes > max) wr_unpack_fail(u, "a text is longer than it may be");
    if (u->problem == NULL && bytes > (uint64_t)(u->end - u->at)) wr_unpack_fail(u, "it ends in the middle of a text");
    if (u->problem != NULL) return NULL;
    const char *from = u->at;
    *n = (size_t)bytes;
    u->at += bytes;
    return from;
}

const char *wr_unpack_str(wr_unpack *u, size_t max, size_t *n)
{
    uint8_t  t = tag(u);
    uint64_t bytes = 0;
    if ((t & 0xe0) == 0xa0)
        bytes = t & 31;
    else if (t >= 0xd9 && t <= 0xdb)
        bytes = number(u, 1u << (t - 0xd9));
    else
        wrong(u, "a text is expected here");
    const char *from = text(u, bytes, max, n);
    if (from != NULL && memchr(from, 0, *n) != NULL) wr_unpack_fail(u, "a text holds a zero byte");
    return u->problem == NULL ? from : NULL;
}

const char *wr_unpack_bin(wr_unpack *u, size_t max, size_t *n)
{
    uint8_t  t = tag(u);
    uint64_t bytes = 0;
    if (t >= 0xc4 && t <= 0xc6)
        bytes = number(u, 1u << (t - 0xc4));
    else
        wrong(u, "bytes are expected here");
    return text(u, bytes, max, n);
}

/* What one value takes beside its tag and count, and how many values are in it. */
static uint64_t inside(wr_unpack *u, uint8_t t)
{
    size_t ignored;
    if (t >= 0x80 && t <= 0x8f) return 2u * (t & 15);
    if (t >= 0x90 && t <= 0x9f) return t & 15;
    if (t == 0xdc || t == 0xdd) return number(u, t == 0xdc ? 2 : 4);
    if (t == 0xde || t == 0xdf) return 2 * number(u, t == 0xde ? 2 : 4);
    if (t >= 0xa0 && t <= 0xbf) text(u, t & 31, SIZE_MAX, &ignored);
    if (t >= 0xc4 && t <= 0xc6) text(u, number(u, 1u << (t - 0xc4)), SIZE_MAX, &ignored);
    if (t >= 0xd9 && t <= 0xdb) text(u, number(u, 1u << (t - 0xd9)), SIZE_MAX, &ignored);
    if (t >= 0xc7 && t <= 0xc9) text(u, number(u, 1u << (t - 0xc7)) + 1, SIZE_MAX, &ignored);
    if (t >= 0xd4 && t <= 0xd8) text(u, (1u << (t - 0xd4)) + 1, SIZE_MAX, &ignored);
    if (t == 0xca || t == 0xcb) text(u, t == 0xca ? 4 : 8, SIZE_MAX, &ignored);
    if (t >= 0xcc && t <= 0xd3) text(u, 1u << ((t - 0xcc) & 3), SIZE_MAX, &ignored);
    if (t == 0xc1) wrong(u, "a byte begins no value");
    return 0;
}

void wr_unpack_skip(wr_unpack *u)
{
    uint64_t left[DEPTH_MAX + 1] = {1};
    uint32_t depth = 0;
    for (;;) {
        while (left[depth] == 0) {
            if (depth-- == 0) return;
        }
        left[depth]--;
        uint64_t n = inside(u, tag(u));
        if (u->problem != NULL) return;
        if (n == 0) continue;
        if (depth + 1 + u->depth > DEPTH_MAX) {
            wr_unpack_fail(u, "it is nested too deeply");
            return;
        }
        left[++depth] = n;
    }
}

int wr_unpack_key(wr_unpack *u, const char *const names[], uint32_t n, uint64_t *seen)
{
    check(n <= 64);
    size_t      bytes;
    const char *key = wr_unpack_str(u, SIZE_MAX, &bytes);
    if (key == NULL) return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (strlen(names[i]) != bytes || memcmp(names[i], key, bytes) != 0) continue;
        if (*seen >> i & 1) {
            wr_unpack_fail(u, "a member stands twice");
            return -1;
        }
        *seen |= UINT64_C(1) << i;
        return (int)i;
    }
    wr_unpack_skip(u);
    return -1;
}

void wr_unpack_end(wr_unpack *u)
{
    check(u->problem != NULL || u->depth == 0); /* a reader that forgot to leave would refuse what is deep by count */
    if (u->problem == NULL && u->at != u->end) wr_unpack_fail(u, "there is more behind its end");
}
