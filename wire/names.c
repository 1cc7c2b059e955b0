#include "wire/names.h"
#include <stdio.h>
#include <string.h>

void wr_name_manifest(char to[WR_FILE_NAME_BYTES], uint32_t epoch, uint64_t id)
{
    snprintf(to, WR_FILE_NAME_BYTES, "m-%08x-%016llx.wman", epoch, (unsigned long long)id);
}

void wr_name_state(char to[WR_FILE_NAME_BYTES], uint32_t epoch, uint64_t id, uint32_t node, const char *uid,
                   uint32_t subtask)
{
    char   slug[17];
    size_t n = 0;
    for (; uid[n] != 0 && n < sizeof slug - 1; n++) {
        char c = uid[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        slug[n] = plain ? c : '-';
    }
    slug[n] = 0;
    snprintf(to, WR_FILE_NAME_BYTES, "s-%08x-%016llx-%u-%s-%u.wst", epoch, (unsigned long long)id, node, slug, subtask);
}

void wr_name_spare(char to[WR_FILE_NAME_BYTES], const char *state)
{
    snprintf(to, WR_FILE_NAME_BYTES, "r%s", state + 1);
}

static bool hex(const char *text, uint32_t digits, uint64_t *value)
{
    *value = 0;
    for (uint32_t i = 0; i < digits; i++) {
        char     c = text[i];
        uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : (uint32_t)(c - 'a') + 10;
        if (digit > 15) return false;
        *value = *value << 4 | digit;
    }
    return true;
}

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);
    return n >= m && memcmp(name + n - m, with, m) == 0;
}

enum { PREFIX = 2 + 8 + 1 + 16 };

const char *wr_name_task(const char *name)
{
    uint32_t          epoch;
    uint64_t          id;
    enum wr_name_kind kind = wr_name_read(name, &epoch, &id);
    return kind == WR_NAME_STATE || kind == WR_NAME_SPARE ? name + PREFIX : "";
}

enum wr_name_kind wr_name_read(const char *name, uint32_t *epoch, uint64_t *id)
{
    *epoch = 0;
    *id = 0;
    if (strcmp(name, WR_JOURNAL_NAME) == 0) return WR_NAME_JOURNAL;
    if (strcmp(name, WR_LOCK_NAME) == 0) return WR_NAME_LOCK;
    if (strcmp(name, WR_JOURNAL_NAME ".tmp") == 0) return WR_NAME_TEMP;
    size_t   n = strlen(name);
    uint64_t e, i;
    if (n <= PREFIX || n >= WR_FILE_NAME_BYTES + 4 || name[1] != '-' || name[10] != '-') return WR_NAME_OTHER;
    if (!hex(name + 2, 8, &e) || !hex(name + 11, 16, &i)) return WR_NAME_OTHER;
    enum wr_name_kind kind = WR_NAME_OTHER;
    if (name[0] == 'm' && strcmp(name + PREFIX, ".wman") == 0) kind = WR_NAME_MANIFEST;
    if (name[0] == 'm' && strcmp(name + PREFIX, ".wman.tmp") == 0) kind = WR_NAME_TEMP;
    if (name[PREFIX] == '-' && ends(name, ".wst") && n < WR_FILE_NAME_BYTES)
        kind = name[0] == 's' ? WR_NAME_STATE : name[0] == 'r' ? WR_NAME_SPARE : kind;
    if (kind == WR_NAME_OTHER) return kind;
    *epoch = (uint32_t)e;
    *id = i;
    return kind;
}
