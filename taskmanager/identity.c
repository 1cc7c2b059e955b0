#include "taskmanager/identity.h"
#include "base/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- names ---- */

static bool to_id(const char *text, size_t n, uint32_t *id)
{
    uint64_t number = 0;
    if (!wr_text_to_u64(text, n, &number) || number >= UINT32_MAX) return false; /* the last one means none */
    *id = (uint32_t)number;
    return true;
}

wr_err wr_identity_group(const char *text, uint32_t *gid, wr_errinfo *info)
{
    if (to_id(text, strlen(text), gid)) return WR_OK;
    const struct group *g = getgrnam(text);
    if (g == NULL)
        return wr_fail(info, WR_CONFIG, "there is no group %.100s on this machine; make it (groupadd --system)", text);
    *gid = g->gr_gid;
    return WR_OK;
}

wr_err wr_identity_member(uint32_t gid, const char *text, wr_errinfo *info)
{
    gid_t list[256];
    int   n = getgroups(256, list);
    if (geteuid() == 0 || getegid() == gid) return WR_OK;
    for (int i = 0; i < n; i++)
        if (list[i] == gid) return WR_OK;
    return wr_fail(info, WR_CONFIG, "files-group = %.100s: this process (uid %u) is not in that group; add its user",
                   text, (unsigned)geteuid());
}

static wr_err add_group(wr_identity *id, uint32_t gid, wr_errinfo *info)
{
    for (uint32_t i = 0; i < id->groups; i++)
        if (id->group[i] == gid) return WR_OK;
    if (id->groups == WR_WORKER_GROUPS_MAX)
        return wr_fail(info, WR_LIMIT, "workers would be in more than %d groups", WR_WORKER_GROUPS_MAX);
    id->group[id->groups++] = gid;
    return WR_OK;
}

static wr_err add_groups(wr_identity *id, const char *text, wr_errinfo *info)
{
    char name[WR_NAME_BYTES_MAX];
    while (*text != 0) {
        size_t   n = strcspn(text, ",");
        uint32_t gid = 0;
        snprintf(name, sizeof name, "%.*s", (int)n, text);
        WR_TRY(wr_identity_group(name, &gid, info));
        WR_TRY(add_group(id, gid, info));
        text += n + (text[n] == ',');
    }
    return WR_OK;
}

/* A user whom the machine knows brings its groups. *primary: left alone when it knows none. */
static wr_err known_user(wr_identity *id, const struct passwd *user, uint32_t *primary, wr_errinfo *info)
{
    gid_t list[WR_WORKER_GROUPS_MAX];
    int   n = WR_WORKER_GROUPS_MAX;
    if (user == NULL) return WR_OK;
    *primary = user->pw_gid;
    id->first = id->last = user->pw_uid;
    if (getgrouplist(user->pw_name, user->pw_gid, list, &n) < 0)
        return wr_fail(info, WR_LIMIT, "the user %.100s is in more than %d groups", user->pw_name,
                       WR_WORKER_GROUPS_MAX);
    for (int i = 0; i < n; i++) WR_TRY(add_group(id, list[i], info));
    return WR_OK;
}

/* All processes of a number are ended with its worker: so it must be nobody's. */
static wr_err nobody_else(const wr_identity *id, const char *text, wr_errinfo *info)
{
    wr_err err = WR_OK;
    setpwent();
    for (const struct passwd *user; err == WR_OK && (user = getpwent()) != NULL;) {
        if (user->pw_uid < id->first || user->pw_uid > id->last) continue;
        err = wr_fail(info, WR_CONFIG,
                      "worker-user = %.100s has the user %.100s (%u) in it; take numbers of nobody else", text,
                      user->pw_name, (unsigned)user->pw_uid);
    }
    endpwent();
    return err;
}

static wr_err find_users(wr_identity *id, const char *text, uint32_t *primary, wr_errinfo *info)
{
    const char *dash = strchr(text, '-');
    if (to_id(text, strlen(text), &id->first)) {
        id->last = id->first;
        return known_user(id, getpwuid(id->first), primary, info);
    }
    if (dash != NULL && to_id(text, (size_t)(dash - text), &id->first) && to_id(dash + 1, strlen(dash + 1), &id->last))
        return id->first < id->last
                   ? nobody_else(id, text, info)
                   : wr_fail(info, WR_CONFIG, "worker-user = %.100s: the first must be less than the last", text);
    const struct passwd *user = getpwnam(text);
    if (user == NULL)
        return wr_fail(info, WR_CONFIG,
                       "worker-user takes a user, its number, or a range of numbers (70000-70999); there is no user "
                       "%.100s on this machine",
                       text);
    return known_user(id, user, primary, info);
}

wr_err wr_identity_make(wr_identity *id, const char *user, const char *group, const char *groups, wr_errinfo *info)
{
    uint32_t gid = UINT32_MAX;
    memset(id, 0, sizeof *id);
    if (user[0] == 0 && groups[0] == 0) return WR_OK;
    if (user[0] == 0)
        return wr_fail(info, WR_CONFIG, "worker-groups = %.100s needs worker-user: whose groups they are", groups);
    if (geteuid() != 0)
        return wr_fail(info, WR_CONFIG,
                       "worker-user = %.100s: only root may start workers as others, and this TaskManager is uid %u; "
                       "start it as root, or leave worker-user out",
                       user, (unsigned)geteuid());
    WR_TRY(find_users(id, user, &gid, info));
    if (group[0] != 0) WR_TRY(wr_identity_group(group, &gid, info));
    if (gid == UINT32_MAX)
        return wr_fail(info, WR_CONFIG, "worker-user = %.100s has no group of its own; say files-group, too", user);
    if (id->first == 0 || gid == 0)
        return wr_fail(info, WR_CONFIG,
                       "workers run code of pipelines: not as root, nor in its group; worker-user = %.100s, "
                       "files-group = %.100s",
                       user, group);
    id->gid = gid;
    id->on = true;
    return add_groups(id, groups, info);
}

/* ---- becoming ---- */

/* By the system calls: those of libc look after threads, and take a lock for that. */
int wr_identity_become(const wr_identity *id, uint32_t uid)
{
    gid_t list[WR_WORKER_GROUPS_MAX];
    for (uint32_t i = 0; i < id->groups; i++) list[i] = id->group[i];
    if (syscall(SYS_setgroups, (size_t)id->groups, list) != 0) return -1;
    if (syscall(SYS_setresgid, id->gid, id->gid, id->gid) != 0) return -1;
    if (syscall(SYS_setresuid, uid, uid, uid) != 0) return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* no program gives back what was given up */
}

/* Ends every process of the user, as the user: whatever has been started meanwhile, too. */
static void end_all(const wr_identity *id, uint32_t uid)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (wr_identity_become(id, uid) == 0) kill(-1, SIGKILL);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
}

/* ---- one user per worker ---- */

wr_err wr_identity_claim(const wr_identity *id, uint32_t *uid, int *lock, wr_errinfo *info)
{
    *uid = id->first;
    *lock = -1;
    if (id->first == id->last) return WR_OK;
    for (; *uid <= id->last; ++*uid) {
        char path[64];
        snprintf(path, sizeof path, "/run/weir-worker-%u", *uid);
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (file < 0) return wr_fail_errno(info, errno, "cannot open %s, which says that a user is taken", path);
        if (flock(file, LOCK_EX | LOCK_NB) == 0) {
            *lock = file;
            end_all(id, *uid); /* of a TaskManager that was killed */
            return WR_OK;
        }
        close(file);
    }
    return wr_fail(info, WR_LIMIT, "all users of worker-user = %u-%u are taken, each by a worker; make it longer",
                   id->first, id->last);
}

void wr_identity_release(const wr_identity *id, uint32_t uid, int lock)
{
    if (lock < 0) return; /* others may be this user as well */
    end_all(id, uid);
    close(lock);
}

/* ---- folders ---- */

static wr_err give(const char *path, uint32_t uid, uint32_t gid, mode_t mode, wr_errinfo *info)
{
    if (lchown(path, uid, gid) == 0 && (mode == 0 || chmod(path, mode) == 0)) return WR_OK;
    return wr_fail_errno(info, errno, "cannot give %s to uid %u, gid %u", path, uid, gid);
}

/* Plain files only, and those that have no other name: what earlier workers of the job have left must not lead us to
 * files that are not theirs. */
static bool plain(const char *path)
{
    struct stat about;
    return lstat(path, &about) == 0 && S_ISREG(about.st_mode) && about.st_nlink == 1;
}

static wr_err give_files(const char *folder, uint32_t uid, uint32_t gid, wr_errinfo *info)
{
    DIR   *all = opendir(folder);
    wr_err err = WR_OK;
    if (all == NULL) return wr_fail_errno(info, errno, "cannot read %s", folder);
    for (const struct dirent *e; err == WR_OK && (e = readdir(all)) != NULL;) {
        char path[WR_PATH_BYTES_MAX];
        bool fits = snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path;
        if (fits && plain(path)) err = give(path, uid, gid, 0, info);
    }
    closedir(all);
    return err;
}

/* Its own are for the user only; logs may be read by the group. */
wr_err wr_identity_hand_over(const wr_identity *id, uint32_t uid, const char *folder, const char *log, wr_errinfo *info)
{
    char logs[WR_PATH_BYTES_MAX];
    WR_TRY(give_files(folder, uid, id->gid, info));
    WR_TRY(give(folder, uid, id->gid, 0700, info));
    snprintf(logs, sizeof logs, "%s", log);
    char *slash = strrchr(logs, '/');
    if (slash == NULL || slash == logs) return WR_OK;
    *slash = 0;
    WR_TRY(give_files(logs, uid, id->gid, info));
    return give(logs, uid, id->gid, 02750, info);
}

/* ---- whether all that can be ---- */

typedef struct answer {
    int    number; /* errno; 0: all is well */
    size_t at;     /* of the path: so much of it could be passed; SIZE_MAX: it could not become the user */
} answer;

/* In a child: goes along the path as the user. */
static void try_path(const wr_identity *id, const char *folder, answer *a)
{
    char path[WR_PATH_BYTES_MAX];
    *a = (answer){.at = SIZE_MAX};
    if (wr_identity_become(id, id->first) != 0) {
        a->number = errno;
        return;
    }
    memcpy(path, folder, strlen(folder) + 1); /* was measured */
    for (size_t i = 1; path[i - 1] != 0; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        char was = path[i];
        path[i] = 0;
        a->at = i;
        if (access(path, X_OK) != 0) {
            a->number = errno;
            return;
        }
        path[i] = was;
    }
}

static wr_err explain(const wr_identity *id, const char *folder, const answer *a, bool ends, wr_errinfo *info)
{
    if (a->number != 0 && a->at == SIZE_MAX)
        return wr_fail_errno(info, a->number, "cannot become uid %u; root needs CAP_SETUID and CAP_SETGID here",
                             id->first);
    if (a->number != 0)
        return wr_fail(info, WR_CONFIG,
                       "workers, as uid %u and gid %u, may not pass %.*s on their way to %s; choose another --dir, or "
                       "chmod o+x",
                       id->first, id->gid, (int)a->at, folder, folder);
    if (!ends) return wr_fail(info, WR_PERMISSION, "could not end a process of uid %u; root needs CAP_KILL", id->first);
    return WR_OK;
}

wr_err wr_identity_guard(const wr_identity *id, const char *folder, wr_errinfo *info)
{
    static const struct {
        const char *name;
        mode_t      mode;
    } below[] = {{"", 0711}, {"/jobs", 0711}, {"/logs", 0711}, {"/blobs", 0700}};
    char path[WR_PATH_BYTES_MAX];
    int  told[2];
    if (!id->on) return WR_OK;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        if (snprintf(path, sizeof path, "%s%s", folder, below[i].name) >= (int)sizeof path)
            return wr_fail(info, WR_LIMIT, "the folder's path is too long; %.200s", folder);
        if (mkdir(path, below[i].mode) != 0 && errno != EEXIST)
            return wr_fail_errno(info, errno, "cannot make the folder %s", path);
        WR_TRY(give(path, 0, 0, below[i].mode, info));
    }
    if (pipe2(told, O_CLOEXEC) != 0) return wr_fail_errno(info, errno, "cannot make a pipe");
    pid_t  pid = fork();
    answer a = {.number = EIO};
    if (pid == 0) {
        try_path(id, folder, &a);
        ssize_t n = write(told[1], &a, sizeof a);
        alarm(10); /* should we not be able to end it */
        while (n > 0) pause();
        _exit(1);
    }
    close(told[1]);
    bool ends = pid > 0 && read(told[0], &a, sizeof a) == sizeof a && kill(pid, SIGKILL) == 0;
    close(told[0]);
    while (ends && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
    return explain(id, folder, &a, ends, info);
}
