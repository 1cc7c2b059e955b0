/* Reads back what the pipeline of tools/chaos wrote: chaos_check FOLDER RECORDS. Each record number must be there once,
 * and the links of each key must form one unbroken chain. Prints "lines N lost N duplicated N broken N". */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct link {
    uint32_t key, seq, before, after;
} link;

static int by_chain(const void *a, const void *b)
{
    const link *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static uint32_t mix(uint32_t before, uint64_t n)
{
    uint64_t mixed = (before ^ (n + 1)) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed ^ mixed >> 29);
}

/* Five numbers parted by commas. */
static int parse(const char *at, uint64_t to[5])
{
    for (int i = 0; i < 5; i++) {
        char *end;
        to[i] = strtoull(at, &end, 10);
        if (end == at || *end != (i < 4 ? ',' : '\n')) return 0;
        at = end + 1;
    }
    return 1;
}

int main(int argc, char *argv[])
{
    if (argc != 3) return 2;
    uint64_t records = strtoull(argv[2], NULL, 10), lines = 0, lost = 0, duplicated = 0, broken = 0, seen = 0;
    link    *links = calloc(records, sizeof *links);
    char    *there = calloc(records, 1);
    DIR     *dir = opendir(argv[1]);
    char     line[256], path[4096];
    if (links == NULL || there == NULL || dir == NULL) return 2;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) return 2;
        while (fgets(line, sizeof line, file) != NULL) {
            uint64_t v[5];
            lines++;
            if (!parse(line, v) || v[0] >= records) {
                broken++;
                continue;
            }
            if (there[v[0]]) {
                duplicated++;
                continue;
            }
            there[v[0]] = 1;
            links[seen++] = (link){(uint32_t)v[1], (uint32_t)v[2], (uint32_t)v[3], (uint32_t)v[4]};
            broken += mix((uint32_t)v[3], v[0]) != v[4];
        }
        fclose(file);
    }
    closedir(dir);
    lost = records - seen;
    qsort(links, seen, sizeof *links, by_chain);
    for (uint64_t i = 0; i < seen; i++) {
        int first = i == 0 || links[i].key != links[i - 1].key;
        broken += links[i].seq != (first ? 1 : links[i - 1].seq + 1);
        broken += links[i].before != (first ? 0 : links[i - 1].after);
    }
    printf("lines %" PRIu64 " lost %" PRIu64 " duplicated %" PRIu64 " broken %" PRIu64 "\n", lines, lost, duplicated,
           broken);
    return lost + duplicated + broken != 0;
}
