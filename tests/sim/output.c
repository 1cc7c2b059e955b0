/* What readers find in the folders of exactly-once file sinks, held against the reference. */
#include "tests/sim/crash.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 20000, NAME_MAX_BYTES = 160 };

typedef struct names {
    char (*name)[NAME_MAX_BYTES];
    uint32_t n;
} names;

static void take_name(void *arg, const char *name)
{
    names *all = arg;
    if (name[0] == '.' || all->n == FILES_MAX) return;
    snprintf(all->name[all->n++], NAME_MAX_BYTES, "%s", name);
}

/* PREFIX-SUBTASK-EPOCH-NUMBER.csv: by epoch first, since the keys of a subtask move when the job is rescaled. */
static const char *epoch_of(const char *name)
{
    const char *number = strrchr(name, '-');
    return number != NULL && number - name > 10 ? number - 10 : name;
}
static int by_name(const void *a, const void *b)
{
    int by_epoch = strncmp(epoch_of(a), epoch_of(b), 10);
    return by_epoch != 0 ? by_epoch : strcmp(a, b);
}

static bool read_file(sim_disk *disk, const char *path, sim_items *items)
{
    const char *bytes;
    size_t      n;
    if (!sim_disk_content(disk, path, &bytes, &n)) return false;
    for (size_t at = 0; at < n;) {
        char        line[128];
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t      length = end != NULL ? (size_t)(end - (bytes + at)) : 0;
        sim_item    item = {0};
        int         used = 0;
        if (end == NULL || length >= sizeof line) return false;
        memcpy(line, bytes + at, length);
        line[length] = 0;
        int got = sscanf(line, "%" SCNu64 ",%" SCNu64 ",%" SCNu64 ",%" SCNu64 "%n", &item.key, &item.seq, &item.value,
                         &item.ink, &used);
        if (got != 4 || (size_t)used != length) return false;
        sim_items_add(items, item);
        at += length + 1;
    }
    return true;
}

bool sim_output_read(sim_disk *disk, const char *folder, sim_items *items, char *why, size_t n)
{
    names all = {.name = malloc((size_t)FILES_MAX * NAME_MAX_BYTES)};
    bool  good = all.name != NULL;
    if (!good) abort();
    sim_disk_names(disk, folder, take_name, &all);
    qsort(all.name, all.n, sizeof *all.name, by_name);
    for (uint32_t i = 0; i < all.n && good; i++) {
        char path[NAME_MAX_BYTES + 64];
        snprintf(path, sizeof path, "%s/%s", folder, all.name[i]);
        good = read_file(disk, path, items);
        if (!good) snprintf(why, n, "the finished file %s is broken", path);
    }
    free(all.name);
    return good;
}

void sim_vault_read(const sim_vault *vault, uint32_t sink, sim_items *items)
{
    for (uint32_t i = 0; i < vault->pages; i++) {
        const sim_page *p = &vault->page[i];
        for (uint32_t k = 0; p->sink == sink && p->committed && k < p->items.n; k++)
            sim_items_add(items, p->items.at[k]);
    }
}

/* ---- comparison ---- */

typedef struct placed {
    sim_item item;
    uint32_t at;
} placed;

static int by_all(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(sim_item));
}

static int by_key(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->item.key != y->item.key) return x->item.key < y->item.key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static placed *sorted_by_key(const sim_items *items)
{
    placed *p = malloc((items->n + 1) * sizeof *p);
    if (p == NULL) abort();
    for (uint32_t i = 0; i < items->n; i++) p[i] = (placed){items->at[i], i};
    qsort(p, items->n, sizeof *p, by_key);
    return p;
}

static const char *say(char text[256], const char *what, const sim_item *x)
{
    snprintf(text, 256, "%s: key %" PRIu64 " seq %" PRIu64 " value %" PRIx64 " ink %" PRIx64, what, x->key, x->seq,
             x->value, x->ink);
    return text;
}

/* Of each key the records that are there are the first ones that must be, in their order. */
static const char *compare_order(const sim_items *got, const sim_items *expected, char text[256])
{
    placed     *g = sorted_by_key(got), *e = sorted_by_key(expected);
    const char *wrong = NULL;
    for (uint32_t i = 0, k = 0; i < got->n && wrong == NULL; i++, k++) {
        while (k < expected->n && e[k].item.key < g[i].item.key) k++;
        if (k == expected->n || memcmp(&e[k].item, &g[i].item, sizeof(sim_item)) != 0)
            wrong = say(text, "out of order, twice, or too early", &g[i].item);
    }
    free(g);
    free(e);
    return wrong;
}

const char *sim_output_compare(sim_items *got, sim_items *expected, bool part, bool ordered, char text[256])
{
    const char *wrong = NULL;
    if (ordered) wrong = compare_order(got, expected, text);
    if (wrong != NULL) return wrong;
    if (got->n > 0) qsort(got->at, got->n, sizeof *got->at, by_all);
    if (expected->n > 0) qsort(expected->at, expected->n, sizeof *expected->at, by_all);
    uint32_t k = 0;
    for (uint32_t i = 0; i < got->n; i++, k++) {
        while (k < expected->n && by_all(&expected->at[k], &got->at[i]) < 0) {
            if (!part) return say(text, "lost", &expected->at[k]);
            k++;
        }
        if (k == expected->n || by_all(&expected->at[k], &got->at[i]) != 0)
            return say(text, i > 0 && by_all(&got->at[i - 1], &got->at[i]) == 0 ? "twice" : "wrong", &got->at[i]);
    }
    return !part && k < expected->n ? say(text, "lost", &expected->at[k]) : NULL;
}
