#include "base/text.h"
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const double POWER10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool wr_text_to_u64(const char *text, size_t count, uint64_t *value)
{
    size_t at = count > 0 && text[0] == '+';
    if (at == count) return false;
    uint64_t sum = 0;
    for (; at < count; at++) {
        if (!is_digit(text[at])) return false;
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, (uint64_t)(text[at] - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}

bool wr_text_to_i64(const char *text, size_t count, int64_t *value)
{
    bool     negative = count > 0 && text[0] == '-';
    uint64_t size;
    if (negative && count > 1 && text[1] == '+') return false;
    if (!wr_text_to_u64(text + negative, count - negative, &size)) return false;
    if (size > (uint64_t)INT64_MAX + negative) return false;
    *value = (int64_t)(negative ? 0 - size : size);
    return true;
}

/* What decimal text says: digits * 10^exponent, if they fit. */
typedef struct decimal {
    uint64_t digits;
    int      exponent;
    bool     negative, exact;
} decimal;

/* [+-] digits [. digits] [e [+-] digits], at least one digit before the exponent. */
static bool read_decimal(const char *text, size_t count, decimal *d)
{
    size_t at = 0, seen = 0;
    *d = (decimal){.exact = true};
    if (at < count && (text[at] == '+' || text[at] == '-')) d->negative = text[at++] == '-';
    for (bool point = false; at < count; at++) {
        if (text[at] == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(text[at])) break;
        seen++;
        if (d->digits < UINT64_C(100000000000000000)) {
            d->digits = d->digits * 10 + (uint64_t)(text[at] - '0');
            d->exponent -= point;
        } else {
            d->exact = false;
        }
    }
    if (seen == 0) return false;
    if (at == count) return true;
    if (text[at] != 'e' && text[at] != 'E') return false;
    int64_t exponent;
    if (++at < count && !wr_text_to_i64(text + at, count - at, &exponent)) return false;
    if (at == count) return false;
    if (exponent < -400 || exponent > 400)
        d->exact = false;
    else
        d->exponent += (int)exponent;
    return true;
}

/* strtod in the C locale, whatever the program's own locale is. */
static bool slow_f64(const char *text, size_t count, double *value)
{
    char local[128], *copy = count < sizeof local ? local : malloc(count + 1);
    if (copy == NULL) return false;
    memcpy(copy, text, count);
    copy[count] = 0;
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    char    *end = copy;
    if (c_locale != (locale_t)0) {
        *value = strtod_l(copy, &end, c_locale);
        freelocale(c_locale);
    }
    bool whole = end == copy + count;
    if (copy != local) free(copy);
    return whole;
}

bool wr_text_to_f64(const char *text, size_t count, double *value)
{
    static const char *const WORD[] = {"inf", "infinity", "nan"};
    decimal                  d;
    if (read_decimal(text, count, &d)) {
        /* Both numbers are exact doubles, so one operation rounds once: the nearest double. */
        if (d.exact && d.digits <= (UINT64_C(1) << 53) && d.exponent >= -22 && d.exponent <= 22) {
            double size = (double)d.digits;
            size = d.exponent < 0 ? size / POWER10[-d.exponent] : size * POWER10[d.exponent];
            *value = d.negative ? -size : size;
            return true;
        }
        return slow_f64(text, count, value);
    }
    size_t sign = count > 0 && (text[0] == '-' || text[0] == '+');
    for (size_t i = 0; i < sizeof WORD / sizeof WORD[0]; i++) {
        if (count - sign != strlen(WORD[i]) || strncasecmp(text + sign, WORD[i], count - sign) != 0) continue;
        double size = i == 2 ? (double)NAN : (double)INFINITY;
        *value = sign && text[0] == '-' ? -size : size;
        return true;
    }
    return false;
}

bool wr_text_to_bool(const char *text, size_t count, bool *value)
{
    static const char *const WORD[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof WORD / sizeof WORD[0]; i++) {
        if (count != strlen(WORD[i]) || strncasecmp(text, WORD[i], count) != 0) continue;
        *value = i & 1;
        return true;
    }
    return false;
}

/* ---- printing ---- */

size_t wr_text_of_u64(char *to, uint64_t value)
{
    char  digits[20];
    char *from = digits + sizeof digits;
    do *--from = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    size_t count = (size_t)(digits + sizeof digits - from);
    memcpy(to, from, count);
    to[count] = 0;
    return count;
}

size_t wr_text_of_i64(char *to, int64_t value)
{
    if (value >= 0) return wr_text_of_u64(to, (uint64_t)value);
    to[0] = '-';
    return 1 + wr_text_of_u64(to + 1, 0 - (uint64_t)value);
}

/* Numbers with at most six decimals and 15 digits: the shortest text is their integer with a point in it. */
static size_t short_decimal(char *to, double value)
{
    double size = fabs(value);
    if (!(size < 1e9) || (size < 1e-3 && size != 0)) return 0;
    for (unsigned places = 0; places <= 6; places++) {
        double scaled = nearbyint(size * POWER10[places]);
        if (scaled / POWER10[places] != size) continue;
        uint64_t number = (uint64_t)scaled, unit = (uint64_t)POWER10[places];
        size_t   count = 0;
        if (signbit(value)) to[count++] = '-';
        count += wr_text_of_u64(to + count, number / unit);
        if (places == 0) return count;
        to[count++] = '.';
        uint64_t rest = number % unit;
        for (unsigned i = places; i > 0; i--, rest /= 10) to[count + i - 1] = (char)('0' + rest % 10);
        to[count + places] = 0;
        return count + places;
    }
    return 0;
}

/* snprintf follows the locale: its decimal point, one byte or more, becomes a point. */
static size_t print_digits(char *to, int digits, double value)
{
    char   text[WR_TEXT_NUMBER_MAX + 1];
    size_t count = 0;
    snprintf(text, sizeof text, "%.*g", digits, value);
    bool point = false;
    for (const char *c = text; *c != 0; c++) {
        bool known = is_digit(*c) || *c == '-' || *c == '+' || *c == 'e';
        if (!known && point) continue;
        point |= !known;
        to[count++] = known ? *c : '.';
    }
    to[count] = 0;
    return count;
}

size_t wr_text_of_f64(char *to, double value)
{
    if (isnan(value) || isinf(value))
        return (size_t)snprintf(to, WR_TEXT_NUMBER_MAX + 1, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    size_t count = short_decimal(to, value);
    if (count > 0) return count;
    /* 15 digits or fewer are told apart by every double but the denormal ones, and %g drops zeros at the end. */
    for (int digits = fabs(value) < DBL_MIN ? 1 : DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
        double back = 0;
        count = print_digits(to, digits, value);
        if (wr_text_to_f64(to, count, &back) && back == value) break;
    }
    return count;
}

size_t wr_text_of_f32(char *to, float value)
{
    if (isnan(value) || isinf(value)) return wr_text_of_f64(to, (double)value);
    size_t count = 0;
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        double back = 0;
        count = print_digits(to, digits, (double)value);
        if (wr_text_to_f64(to, count, &back) && (float)back == value) break;
    }
    return count;
}

size_t wr_text_of_bool(char *to, bool value)
{
    memcpy(to, value ? "true" : "false", value ? 5 : 6);
    return value ? 4 : 5;
}

void wr_text_printable(char *text)
{
    for (char *c = text; *c != 0; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = '?';
    }
}

/* ---- did you mean ---- */

enum { WORD_MAX = 64 };

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

uint32_t wr_text_distance(const char *a, const char *b)
{
    uint32_t row[3][WORD_MAX + 1]; /* the last three rows of the table, used in turn */
    size_t   a_count = strnlen(a, WORD_MAX), b_count = strnlen(b, WORD_MAX);
    for (uint32_t j = 0; j <= b_count; j++) row[0][j] = j;
    for (size_t i = 1; i <= a_count; i++) {
        uint32_t *now = row[i % 3], *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];
        now[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_count; j++) {
            uint32_t steps = last[j - 1] + (a[i - 1] != b[j - 1]);
            steps = least(steps, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) steps = least(steps, before[j - 2] + 1);
            now[j] = steps;
        }
    }
    return row[a_count % 3][b_count];
}

const char *wr_did_you_mean(const char *word, const char *const names[], size_t count)
{
    const char *best = NULL;
    uint32_t    best_steps = (uint32_t)(strlen(word) / 3) + 1; /* short words must be nearer to count as meant */
    if (best_steps > 3) best_steps = 3;
    for (size_t i = 0; i < count; i++) {
        if (names[i] == NULL) continue;
        uint32_t steps = wr_text_distance(word, names[i]);
        /* Replacing every letter is no misspelling. */
        if (steps > best_steps || steps >= strlen(names[i]) || steps >= strlen(word)) continue;
        if (best != NULL && steps == best_steps) continue;
        best = names[i];
        best_steps = steps;
    }
    return best;
}
