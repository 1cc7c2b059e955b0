/* base/json.h: writes JSON, to a file or into a buffer. Does not read it. */
#ifndef WR_BASE_JSON_H
#define WR_BASE_JSON_H
#include "base/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Caller's storage, one thread. */
typedef struct wr_json {
    FILE    *file;       /* or NULL: into text */
    char    *text;       /* cap bytes, always ended by a zero byte */
    size_t   cap, count; /* count may exceed cap: then the text is cut, as snprintf does */
    bool     pretty;     /* one member per line, two blanks per level */
    uint32_t depth;
    char     open[WR_JSON_DEPTH_MAX]; /* '{' or '[' of each level */
    bool     filled[WR_JSON_DEPTH_MAX + 1];
} wr_json;

void wr_json_init_file(wr_json *json, FILE *file);
void wr_json_init_text(wr_json *json, char *text, size_t cap);
/* True when all that was opened is closed and nothing was cut or lost. */
bool wr_json_ok(const wr_json *json);

/* key is NULL inside an array and at the top. */
void wr_json_object(wr_json *json, const char *key);
void wr_json_array(wr_json *json, const char *key);
/* Closes the innermost object or array; in a file a newline follows the outermost. */
void wr_json_end(wr_json *json);
void wr_json_str(wr_json *json, const char *key, const char *text); /* NULL is null; invalid UTF-8 becomes U+FFFD */
void wr_json_bytes(wr_json *json, const char *key, const char *text, size_t count);
void wr_json_i64(wr_json *json, const char *key, int64_t value);
void wr_json_u64(wr_json *json, const char *key, uint64_t value);
void wr_json_f64(wr_json *json, const char *key, double value); /* not a number and infinity are null */
void wr_json_bool(wr_json *json, const char *key, bool value);
void wr_json_null(wr_json *json, const char *key);
/* One %-formatted string. */
void wr_json_printf(wr_json *json, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
