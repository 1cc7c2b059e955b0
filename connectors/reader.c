/* connectors/reader.c: the window of a reader, the loop over framed records, and a shorter one for plain lines. */
#include "connectors/reader.h"
#include "base/check.h"
#include "connectors/lines.h"
#include <stdio.h>
#include <stdlib.h>

enum { BEFORE_BYTES = 64 }; /* readable before the buffer: a line looks at the byte before its end */

static bool out_of_memory(weir_ctx *ctx, size_t bytes)
{
    wr_op_fail(wr_host_op(ctx), WR_MEMORY, "out of memory for %zu bytes of input; %s (%s)", bytes,
               wr_host_endpoint(ctx)->name, wr_host_endpoint(ctx)->uri);
    return false;
}

bool wr_reader_open(wr_reader *reader, weir_ctx *ctx)
{
    reader->codec = wr_host_codec(ctx);
    if (reader->codec == NULL) return false;
    wr_layout_init(&reader->layout, reader->codec);
    reader->skip_blank = wr_option_u64(wr_host_endpoint(ctx), "skip-blank", 0) != 0;
    reader->record_max = WR_RECORD_BYTES_MAX - reader->codec->type->size;
    reader->bytes = WR_READER_BYTES;
    reader->memory = malloc(BEFORE_BYTES + reader->bytes + WR_LINES_SPARE);
    if (reader->memory == NULL) return out_of_memory(ctx, reader->bytes);
    memset(reader->memory, 0, BEFORE_BYTES);
    reader->buffer = reader->memory + BEFORE_BYTES;
    return true;
}

void wr_reader_close(wr_reader *reader)
{
    wr_codec_free(reader->codec);
    free(reader->memory);
    free(reader->scratch);
    memset(reader, 0, sizeof *reader);
}

char *wr_reader_space(wr_reader *reader, weir_ctx *ctx, size_t *room, size_t *dropped)
{
    size_t left = reader->end - reader->begin;
    *dropped = reader->begin;
    if (reader->begin > 0 && left > 0) memmove(reader->buffer, reader->buffer + reader->begin, left);
    reader->begin = 0;
    reader->end = left;
    if (left > reader->bytes / 2) { /* a long record: the window grows until it holds it */
        size_t bytes = 2 * reader->bytes;
        char  *memory = realloc(reader->memory, BEFORE_BYTES + bytes + WR_LINES_SPARE);
        if (memory == NULL) {
            out_of_memory(ctx, bytes);
            return NULL;
        }
        reader->memory = memory;
        reader->buffer = memory + BEFORE_BYTES;
        reader->bytes = bytes;
    }
    *room = reader->bytes - left;
    return reader->buffer + left;
}

static void bad_record(wr_reader *reader, weir_ctx *ctx, const char *why, size_t n)
{
    char place[WR_PATH_BYTES_MAX + 64];
    reader->place(reader, ctx, reader->begin, place, sizeof place);
    wr_op_bad(wr_host_op(ctx), why, place, reader->buffer + reader->begin, n);
}

/* ---- plain lines ------------------------------------------------------------------------------------------------- */

enum { ENDS = 448 }; /* line ends that are looked for before their lines are made */

/* The offsets of line ends in [from, to), 64 bytes at a time, until there are `enough`. Nearly always one or two lines
 * end in 64 bytes, so that the loop has no branch which is mispredicted. Returns how many, 63 more at most; *seen: how
 * far it looked. */
static uint32_t find_ends(const char *base, size_t from, size_t to, uint32_t *ends, uint32_t enough, size_t *seen)
{
    uint32_t n = 0;
    size_t   at = from;
    for (; at < to && n < enough; at += 64) {
        uint64_t mask = wr_newlines_64(base + at);
        if (to - at < 64) mask &= (UINT64_C(1) << (to - at)) - 1;
        for (uint32_t i = 0; i < 2; i++, mask &= mask - 1) {
            ends[n] = (uint32_t)at + (uint32_t)__builtin_ctzll(mask | UINT64_C(1) << 63);
            n += mask != 0;
        }
        for (; __builtin_expect(mask != 0, 0); mask &= mask - 1)
            ends[n++] = (uint32_t)at + (uint32_t)__builtin_ctzll(mask);
    }
    *seen = at < to ? at : to;
    return n;
}

/* The text format into a record of one string: the line ends of 64 bytes at once, no call per record. */
static enum wr_read emit_lines(wr_reader *reader, weir_out *out, size_t limit)
{
    const char *base = reader->buffer;
    size_t      line = reader->begin, seen = line, stop = limit < reader->end ? limit : reader->end;
    weir_str   *next = (weir_str *)(void *)out->next, *room = (weir_str *)(void *)out->end;
    weir_time  *time = out->time;
    const bool  skip_blank = reader->skip_blank;
    uint32_t    ends[ENDS + 64], n = 0, i = 0;
    while (next != room && line < stop) { /* lines begin before `stop` */
        if (i == n) {
            if (seen == reader->end) break;
            n = find_ends(base, seen, reader->end, ends, room - next < ENDS ? (uint32_t)(room - next) : ENDS, &seen);
            i = 0;
            continue;
        }
        size_t bytes = ends[i] - line;
        bytes -= bytes > 0 && base[ends[i] - 1] == '\r';
        *next = wr_str_spare(base + line, bytes);
        line = (size_t)ends[i++] + 1;
        reader->lines++;
        if (skip_blank && bytes == 0) continue;
        next++;
        if (time != NULL) *time++ = (weir_time){WEIR_NO_TIME};
    }
    out->next = (char *)next;
    out->time = time;
    reader->begin = line;
    if (line >= stop && limit <= reader->end) return WR_READ_DONE;
    return next == room ? WR_READ_FULL : WR_READ_HUNGRY;
}

/* ---- any format -------------------------------------------------------------------------------------------------- */

/* Goes behind the next line end. False: there is none in the window. */
static bool skip_line(wr_reader *reader)
{
    const char *at = reader->buffer + reader->begin;
    const char *newline = memchr(at, '\n', reader->end - reader->begin);
    if (newline == NULL) {
        reader->begin = reader->end;
        return false;
    }
    reader->begin = (size_t)(newline + 1 - reader->buffer);
    reader->lines++;
    reader->skipping = false;
    return true;
}

/* The record is longer than the window may become. */
static enum wr_read too_long(wr_reader *reader, weir_ctx *ctx)
{
    char why[128];
    snprintf(why, sizeof why, "a record of more than %zu bytes, which is the maximum", reader->record_max);
    bad_record(reader, ctx, why, 256);
    if (!reader->codec->format->lines && !ctx->failed)
        wr_op_fail(wr_host_op(ctx), WR_RECORD_TOO_LARGE,
                   "%s; %s (%s); where the next one begins cannot be known in this format", why,
                   wr_host_endpoint(ctx)->name, wr_host_endpoint(ctx)->uri);
    reader->begin = reader->end;
    reader->skipping = true;
    return ctx->failed ? WR_READ_FAILED : WR_READ_HUNGRY;
}

static bool grow_scratch(wr_reader *reader, weir_ctx *ctx, size_t n)
{
    if (n <= reader->scratch_bytes) return true;
    free(reader->scratch);
    reader->scratch_bytes = n + n / 2 + 64;
    reader->scratch = malloc(reader->scratch_bytes);
    if (reader->scratch != NULL) return true;
    reader->scratch_bytes = 0;
    return out_of_memory(ctx, n);
}

/* Decodes one framed record into the output. False: the task has failed. */
static bool emit_one(wr_reader *reader, weir_ctx *ctx, weir_out *out, const wr_frame *frame)
{
    const wr_codec *codec = reader->codec;
    const char     *bytes = reader->buffer + reader->begin;
    wr_reason       reason;
    if (!grow_scratch(reader, ctx, frame->content)) return false;
    if (frame->content > reader->record_max) {
        wr_reason_set(&reason, "a record of %zu bytes; at most %zu are possible", frame->content, reader->record_max);
        bad_record(reader, ctx, reason.text, 256);
        return !ctx->failed;
    }
    memset(out->next, 0, codec->type->size);
    if (codec->format->decode(codec, &reader->layout, bytes, frame->content, out->next, reader->scratch, &reason)) {
        wr_emit_record(out, codec, out->next);
        return true;
    }
    bad_record(reader, ctx, reason.text, frame->content);
    return !ctx->failed;
}

static enum wr_read emit_framed(wr_reader *reader, weir_ctx *ctx, weir_out *out, size_t limit)
{
    const wr_format *format = reader->codec->format;
    for (;;) {
        wr_frame  frame;
        wr_reason reason;
        if (reader->begin >= limit || (reader->ended && reader->begin == reader->end)) return WR_READ_DONE;
        if (out->next == out->end) return WR_READ_FULL;
        const char *bytes = reader->buffer + reader->begin;
        size_t      left = reader->end - reader->begin;
        if (!format->frame(reader->codec, bytes, left, &frame, &reason)) {
            char place[WR_PATH_BYTES_MAX + 64];
            reader->place(reader, ctx, reader->begin, place, sizeof place);
            wr_op_fail(wr_host_op(ctx), WR_BAD_RECORD,
                       "%s; %s; check that the input has format %s and this record type", reason.text, place,
                       format->name);
            return WR_READ_FAILED;
        }
        if (frame.whole == 0 && !reader->ended)
            return left > reader->record_max ? too_long(reader, ctx) : WR_READ_HUNGRY;
        if (frame.whole == 0) frame.whole = left; /* the last one has no line end */
        if (!(reader->skip_blank && frame.content == 0 && format->lines) && !emit_one(reader, ctx, out, &frame))
            return WR_READ_FAILED;
        reader->begin += frame.whole;
        reader->lines += frame.lines;
    }
}

enum wr_read wr_reader_emit(wr_reader *reader, weir_ctx *ctx, weir_out *out, size_t limit)
{
    check(out->fused == NULL); /* only sources that are compiled with the loop behind them are fused */
    out->borrowed = reader->buffer;
    out->borrowed_bytes = reader->end;
    wr_emit_room(out);
    if (reader->skipping && !skip_line(reader)) return reader->ended ? WR_READ_DONE : WR_READ_HUNGRY;
    if (reader->codec->plain) {
        enum wr_read read = emit_lines(reader, out, limit);
        /* What is left has no line end: the last line of the input, or the beginning of one. */
        if (read != WR_READ_HUNGRY) return read;
        if (!reader->ended && reader->end - reader->begin <= reader->record_max) return read;
    }
    return emit_framed(reader, ctx, out, limit);
}
