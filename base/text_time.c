#include "base/text.h"
#include <stdio.h>
#include <string.h>

/* ---- days of the civil calendar, proleptic Gregorian; March is the first month, so that leap days come last ---- */

static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t  era = (year >= 0 ? year : year - 399) / 400;
    unsigned in_era = (unsigned)(year - era * 400);
    unsigned in_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    return era * 146097 + (int64_t)(in_era * 365 + in_era / 4 - in_era / 100 + in_year) - 719468;
}

static void date_of_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t  era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned in_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * in_year + 2) / 153;
    *day = in_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = (int64_t)year_of_era + era * 400 + (*month <= 2);
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool                       leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return DAYS[month - 1] + (leap && month == 2);
}

/* ---- a cursor that fails for good ---- */

typedef struct reader {
    const char *at, *end;
    bool        ok;
} reader;

static unsigned digits(reader *r, unsigned count)
{
    unsigned value = 0;
    if (r->end - r->at < (ptrdiff_t)count) r->ok = false;
    for (; r->ok && count > 0; count--, r->at++) {
        if (*r->at < '0' || *r->at > '9') r->ok = false;
        value = value * 10 + (unsigned)(*r->at - '0');
    }
    return value;
}

static bool next_is(reader *r, char c)
{
    if (!r->ok || r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

static void need(reader *r, bool condition)
{
    r->ok = r->ok && condition;
}

/* .digits behind seconds; more than nine are cut. */
static int64_t fraction_ns(reader *r)
{
    int64_t ns = 0, unit = 100000000;
    if (!next_is(r, '.') && !next_is(r, ',')) return 0;
    const char *from = r->at;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, unit /= 10) ns += (*r->at - '0') * unit;
    need(r, r->at > from);
    return ns;
}

/* Z, +02:00, +0200, +02 or nothing: seconds east of UTC. */
static int64_t zone_seconds(reader *r)
{
    if (r->at == r->end || next_is(r, 'Z')) return 0;
    bool west = next_is(r, '-');
    need(r, west || next_is(r, '+'));
    unsigned hours = digits(r, 2), minutes = 0;
    if (r->ok && r->at < r->end) {
        next_is(r, ':');
        minutes = digits(r, 2);
    }
    need(r, hours <= 18 && minutes < 60);
    int64_t seconds = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    return west ? -seconds : seconds;
}

/* Of any year with four digits. */
static bool read_time(const char *text, size_t count, __int128 *ns)
{
    reader   r = {text, text + count, true};
    unsigned year = digits(&r, 4);
    need(&r, next_is(&r, '-'));
    unsigned month = digits(&r, 2);
    need(&r, next_is(&r, '-'));
    unsigned day = digits(&r, 2);
    need(&r, month >= 1 && month <= 12);
    if (!r.ok || day < 1 || day > days_in_month(year, month)) return false;
    int64_t seconds = days_of_date(year, month, day) * 86400, part = 0;
    if (next_is(&r, 'T') || next_is(&r, 't') || next_is(&r, ' ')) {
        unsigned hour = digits(&r, 2);
        need(&r, next_is(&r, ':'));
        unsigned minute = digits(&r, 2), second = 0;
        if (next_is(&r, ':')) {
            second = digits(&r, 2);
            part = fraction_ns(&r);
        }
        need(&r, hour < 24 && minute < 60 && second < 60);
        seconds += (int64_t)hour * 3600 + (int64_t)minute * 60 + second;
        seconds -= zone_seconds(&r);
    }
    if (!r.ok || r.at != r.end) return false;
    /* In 128 bits, since the first nanoseconds of the range lie before a second that does not fit by itself. */
    *ns = (__int128)seconds * 1000000000 + part;
    return true;
}

bool wr_text_is_time(const char *text, size_t count)
{
    __int128 whole;
    return read_time(text, count, &whole);
}

bool wr_text_to_time(const char *text, size_t count, int64_t *ns)
{
    __int128 whole;
    if (!read_time(text, count, &whole)) return false;
    if (whole < INT64_MIN || whole > INT64_MAX) return false;
    *ns = (int64_t)whole;
    return true;
}

size_t wr_text_of_time(char *to, int64_t ns)
{
    int64_t seconds = ns / 1000000000, part = ns % 1000000000;
    if (part < 0) {
        part += 1000000000;
        seconds--;
    }
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t  year;
    unsigned month, day;
    date_of_days(days, &year, &month, &day);
    int count = snprintf(to, WR_TEXT_NUMBER_MAX + 1, "%04d-%02u-%02uT%02d:%02d:%02d", (int)year, month, day,
                         (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
    if (part != 0) {
        int places = part % 1000 != 0 ? 9 : part % 1000000 != 0 ? 6 : 3;
        for (int i = places; i < 9; i++) part /= 10;
        count += snprintf(to + count, (size_t)(WR_TEXT_NUMBER_MAX + 1 - count), ".%0*d", places, (int)part);
    }
    to[count++] = 'Z';
    to[count] = 0;
    return (size_t)count;
}

/* ---- numbers with a unit ---- */

typedef struct unit {
    const char *name;
    uint64_t    size;
} unit;

/* Biggest first. */
static const unit TIMES[] = {
    {"d", UINT64_C(86400000000000)},
    {"h", UINT64_C(3600000000000)},
    {"m", UINT64_C(60000000000)},
    {"s", 1000000000},
    {"ms", 1000000},
    {"us", 1000},
    {"ns", 1},
};
static const unit SIZES[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
    {"T", UINT64_C(1) << 40},   {"G", 1 << 30},   {"M", 1 << 20},   {"K", 1 << 10},   {"TB", UINT64_C(1000000000000)},
    {"GB", 1000000000},         {"MB", 1000000},  {"kB", 1000},     {"KB", 1000},     {"", 1},
};

/* digits [. digits] UNIT from the cursor, added to *sum; false when it is malformed or too large. */
static bool read_quantity(reader *r, const unit *units, size_t unit_count, uint64_t *sum)
{
    uint64_t    whole = 0, part = 0, part_unit = 1;
    const char *from = r->at;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*r->at - '0'), &whole))
            return false;
    if (r->at == from) return false;
    if (next_is(r, '.')) {
        from = r->at;
        for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
            if (part_unit >= UINT64_C(1000000000)) return false;
            part = part * 10 + (uint64_t)(*r->at - '0');
            part_unit *= 10;
        }
        if (r->at == from) return false;
    }
    from = r->at;
    while (r->at < r->end && (*r->at < '0' || *r->at > '9')) r->at++;
    size_t count = (size_t)(r->at - from);
    for (size_t i = 0; i < unit_count; i++) {
        if (strlen(units[i].name) != count || memcmp(units[i].name, from, count) != 0) continue;
        uint64_t add;
        if (__builtin_mul_overflow(whole, units[i].size, &add)) return false;
        uint64_t rest = (uint64_t)((unsigned __int128)part * units[i].size / part_unit);
        return !__builtin_add_overflow(add, rest, &add) && !__builtin_add_overflow(*sum, add, sum);
    }
    return false;
}

bool wr_text_to_duration(const char *text, size_t count, int64_t *ns)
{
    reader   r = {text, text + count, true};
    bool     negative = next_is(&r, '-');
    uint64_t sum = 0;
    if (r.at == r.end) return false;
    if (r.end - r.at == 1 && *r.at == '0') {
        *ns = 0;
        return true;
    }
    while (r.at < r.end)
        if (!read_quantity(&r, TIMES, sizeof TIMES / sizeof TIMES[0], &sum)) return false;
    if (sum > (uint64_t)INT64_MAX + negative) return false;
    *ns = (int64_t)(negative ? 0 - sum : sum);
    return true;
}

bool wr_text_to_size(const char *text, size_t count, uint64_t *bytes)
{
    reader   r = {text, text + count, true};
    uint64_t sum = 0;
    if (!read_quantity(&r, SIZES, sizeof SIZES / sizeof SIZES[0], &sum) || r.at != r.end) return false;
    *bytes = sum;
    return true;
}

size_t wr_text_of_duration(char *to, int64_t ns)
{
    uint64_t rest = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    size_t   count = 0;
    if (ns < 0) to[count++] = '-';
    for (size_t i = 0; i < sizeof TIMES / sizeof TIMES[0]; i++) {
        if (rest < TIMES[i].size) continue;
        count += wr_text_of_u64(to + count, rest / TIMES[i].size);
        count += (size_t)snprintf(to + count, WR_TEXT_NUMBER_MAX + 1 - count, "%s", TIMES[i].name);
        rest %= TIMES[i].size;
    }
    if (count == 0) count = (size_t)snprintf(to, WR_TEXT_NUMBER_MAX + 1, "0s");
    return count;
}

size_t wr_text_of_size(char *to, uint64_t bytes)
{
    for (size_t i = 0; i < 4; i++) {
        if (bytes < SIZES[i].size) continue;
        uint64_t tenths = bytes / SIZES[i].size * 10;
        tenths += bytes % SIZES[i].size * 10 / SIZES[i].size;
        size_t count = wr_text_of_u64(to, tenths / 10);
        if (tenths % 10 != 0 && tenths < 1000) {
            to[count++] = '.';
            to[count++] = (char)('0' + tenths % 10);
        }
        return count + (size_t)snprintf(to + count, WR_TEXT_NUMBER_MAX + 1 - count, " %s", SIZES[i].name);
    }
    return (size_t)snprintf(to, WR_TEXT_NUMBER_MAX + 1, "%d B", (int)bytes);
}
