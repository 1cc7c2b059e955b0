#include "base/quota.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The word at *at, which ends at a blank or the line's end; *at is behind it then. Octal escapes become bytes. False:
 * there is none, or it is too long. */
static bool next_word(const char **at, char *word, size_t size)
{
    const char *from = *at + strspn(*at, " ");
    size_t      n = 0;
    while (*from != 0 && *from != ' ' && *from != '\n') {
        unsigned byte = (unsigned char)*from++;
        if (byte == '\\' && strspn(from, "01234567") >= 3) {
            byte = (unsigned)(from[0] - '0') << 6 | (unsigned)(from[1] - '0') << 3 | (unsigned)(from[2] - '0');
            from += 3;
        }
        if (n + 1 >= size || byte == 0 || byte > 255) return false;
        word[n++] = (char)byte;
    }
    word[n] = 0;
    *at = from;
    return n != 0;
}

/* Whether a word is in a list with commas. */
static bool lists(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += n) {
        if ((at == list || at[-1] == ',') && (at[n] == 0 || at[n] == ',')) return true;
    }
    return false;
}

bool wr_cgroup_mount_of(const char *line, wr_cgroup_mount *mount)
{
    char        word[WR_PATH_BYTES_MAX];
    const char *at = line;
    for (int i = 0; i < 3; i++) { /* id, parent, device */
        if (!next_word(&at, word, sizeof word)) return false;
    }
    if (!next_word(&at, mount->group, sizeof mount->group) || !next_word(&at, mount->point, sizeof mount->point))
        return false;
    do { /* options, any number of tags, and a lone hyphen */
        if (!next_word(&at, word, sizeof word)) return false;
    } while (strcmp(word, "-") != 0);
    if (!next_word(&at, word, sizeof word)) return false;
    mount->unified = strcmp(word, "cgroup2") == 0;
    if (mount->unified) return true;
    if (strcmp(word, "cgroup") != 0) return false;
    return next_word(&at, word, sizeof word) && next_word(&at, word, sizeof word) && lists(word, "cpu");
}

bool wr_cgroup_of(const char *line, bool unified, char path[WR_PATH_BYTES_MAX])
{
    const char *names = strchr(line, ':'), *at = names != NULL ? strchr(names + 1, ':') : NULL;
    if (at == NULL) return false;
    char   list[256];
    size_t n = (size_t)(at - names - 1), length = strcspn(at + 1, "\n");
    if (n >= sizeof list || length == 0 || length >= WR_PATH_BYTES_MAX || at[1] != '/') return false;
    memcpy(list, names + 1, n);
    list[n] = 0;
    if (unified ? n != 0 || line[0] != '0' || names != line + 1 : !lists(list, "cpu")) return false;
    memcpy(path, at + 1, length);
    path[length] = 0;
    return true;
}

uint64_t wr_cpu_max_of(const char *text)
{
    unsigned long long quota, period;
    if (sscanf(text, "%19llu %19llu", &quota, &period) != 2 || quota == 0 || period == 0) return 0;
    return quota > UINT64_MAX / 1000 ? 0 : (quota * 1000 + period - 1) / period;
}

static bool read_line(const char *root, const char *folder, const char *name, char *line, size_t size)
{
    char path[3 * WR_PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return read;
}

/* In thousandths; 0: none. */
static uint64_t quota_in(const char *root, const char *folder, bool unified)
{
    char quota[64], period[64], both[130];
    if (unified) return read_line(root, folder, "cpu.max", both, sizeof both) ? wr_cpu_max_of(both) : 0;
    if (!read_line(root, folder, "cpu.cfs_quota_us", quota, sizeof quota) ||
        !read_line(root, folder, "cpu.cfs_period_us", period, sizeof period))
        return 0;
    quota[strcspn(quota, "\n")] = 0; /* -1: none */
    snprintf(both, sizeof both, "%s %s", quota, period);
    return wr_cpu_max_of(both);
}

static uint64_t less(uint64_t a, uint64_t b) /* 0: none */
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The group of this process in a hierarchy, as its folder below the mount's; false: not in it. */
static bool below_mount(const char *root, const wr_cgroup_mount *mount, char folder[2 * WR_PATH_BYTES_MAX])
{
    char   path[WR_PATH_BYTES_MAX], name[WR_PATH_BYTES_MAX + 32], *line = NULL;
    size_t size = 0, n = strlen(mount->group);
    snprintf(name, sizeof name, "%s/proc/self/cgroup", root);
    FILE *file = fopen(name, "re");
    if (file == NULL) return false;
    bool found = false;
    while (!found && getline(&line, &size, file) > 0) found = wr_cgroup_of(line, mount->unified, path);
    free(line);
    fclose(file);
    if (!found) return false;
    const char *rest = "";
    if (strcmp(mount->group, "/") == 0)
        rest = path;
    else if (strncmp(path, mount->group, n) == 0 && (path[n] == '/' || path[n] == 0))
        rest = path + n; /* else it is somewhere else in the tree: what is seen is all that can be known */
    snprintf(folder, 2 * WR_PATH_BYTES_MAX, "%s%s", mount->point, strcmp(rest, "/") == 0 ? "" : rest);
    return true;
}

uint32_t wr_cpu_quota(const char *root)
{
    static const char mounts[] = "/proc/self/mountinfo";
    wr_cgroup_mount   mount;
    uint64_t          quota = 0;
    size_t            size = 0;
    char              folder[2 * WR_PATH_BYTES_MAX], name[WR_PATH_BYTES_MAX + sizeof mounts], *line = NULL;
    snprintf(name, sizeof name, "%s%s", root, mounts);
    FILE *file = fopen(name, "re");
    if (file == NULL) return 0;
    while (getline(&line, &size, file) > 0) {
        if (!wr_cgroup_mount_of(line, &mount) || !below_mount(root, &mount, folder)) continue;
        for (size_t top = strlen(mount.point);;) { /* from the group up to the mount's */
            quota = less(quota, quota_in(root, folder, mount.unified));
            char *slash = strrchr(folder, '/');
            if (slash == NULL || strlen(folder) <= top) break;
            *slash = 0;
        }
    }
    free(line);
    fclose(file);
    return quota == 0 ? 0 : quota > UINT64_C(1000) * INT32_MAX ? INT32_MAX : (uint32_t)((quota + 999) / 1000);
}
