/* base/text.h: numbers, times and sizes from text and back. Independent of the locale. Pure. Any thread.
 *
 * Every parser takes the whole string (text, count bytes, no zero byte needed) or returns false and leaves the value
 * alone. */
#ifndef WR_BASE_TEXT_H
#define WR_BASE_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool wr_text_to_i64(const char *text, size_t count, int64_t *value);  /* [+-]digits */
bool wr_text_to_u64(const char *text, size_t count, uint64_t *value); /* [+]digits */
bool wr_text_to_f64(const char *text, size_t count, double *value);   /* decimal, exponent, inf, nan; nearest double */
bool wr_text_to_bool(const char *text, size_t count, bool *value);    /* true false yes no on off 1 0 */
/* ISO-8601: 2024-05-06, 2024-05-06T07:08[:09[.123456789]][Z|+02:00]; a blank may stand for T; no zone means UTC.
 * Nanoseconds since 1970 UTC; years 1678 to 2261. */
bool wr_text_to_time(const char *text, size_t count, int64_t *ns);
bool wr_text_is_time(const char *text, size_t count); /* the same of years 0000 to 9999: well-formed, if too far off */
/* 250ms 5s 1h30m 1.5s 2d; units d h m s ms us ns; may start with -; a bare 0 is fine. */
bool wr_text_to_duration(const char *text, size_t count, int64_t *ns);
/* 4096, 64KiB, 64MiB, 1GiB, 2TiB; 10kB, 10MB, 1GB, 1TB by 1,000; K M G T by 1,024; a fraction is fine: 1.5GiB. */
bool wr_text_to_size(const char *text, size_t count, uint64_t *bytes);

/* Printers write at most WR_TEXT_NUMBER_MAX bytes and a zero byte, and return the count without it. */
enum { WR_TEXT_NUMBER_MAX = 40 };
size_t wr_text_of_i64(char *to, int64_t value);
size_t wr_text_of_u64(char *to, uint64_t value);
size_t wr_text_of_f64(char *to, double value); /* the shortest text that reads back as the same double */
size_t wr_text_of_f32(char *to, float value);
size_t wr_text_of_bool(char *to, bool value);     /* true, false */
size_t wr_text_of_time(char *to, int64_t ns);     /* 2024-05-06T07:08:09[.123[456[789]]]Z */
size_t wr_text_of_duration(char *to, int64_t ns); /* 1h30m, 250ms, 0s; reads back as the same */
size_t wr_text_of_size(char *to, uint64_t bytes); /* for people: 1.5 GiB, 12 KiB, 7 B */

/* For people: a control character, which would break a line or move a cursor, becomes a '?'. */
void wr_text_printable(char *text);

/* Steps (insert, delete, replace, swap two neighbours) from one word to the other; words are cut at 64 bytes. */
uint32_t wr_text_distance(const char *a, const char *b);
/* The name nearest to word, or NULL when none is near enough to be meant. names may hold NULLs. */
const char *wr_did_you_mean(const char *word, const char *const names[], size_t count);

#endif
