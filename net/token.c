/* The cluster's token in its file: peers_nng.h. */
#include "net/peers_nng.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FRESH_WORDS = 4 };

/* Whole and synced under another name first: nobody ever reads half a token. */
static wr_err make_token(const char *path, wr_errinfo *info)
{
    char text[FRESH_WORDS * 16 + 2], name[WR_PATH_BYTES_MAX];
    for (int i = 0; i < FRESH_WORDS; i++)
        snprintf(text + 16 * i, 18, "%016llx\n", (unsigned long long)wr_env_real()->random(NULL));
    if (snprintf(name, sizeof name, "%s.XXXXXX", path) >= (int)sizeof name)
        return wr_fail(info, WR_CONFIG, "the path of the token is too long");
    int file = mkostemp(name, O_CLOEXEC); /* 0600 */
    if (file < 0) return wr_fail_errno(info, errno, "cannot make the token file %s", path);
    bool fine = write(file, text, sizeof text - 1) == (ssize_t)(sizeof text - 1) && fsync(file) == 0;
    if (fine && link(name, path) != 0 && errno != EEXIST) fine = false; /* there: another process was faster */
    int error = errno;
    unlink(name);
    close(file);
    explicit_bzero(text, sizeof text);
    return fine ? WR_OK : wr_fail_errno(info, error, "cannot make the token file %s", path);
}

static wr_err take_token(int file, const char *path, char *to, size_t room, wr_errinfo *info)
{
    struct stat about;
    char        text[WR_TOKEN_BYTES_MAX + 1];
    if (fstat(file, &about) != 0) return wr_fail_errno(info, errno, "cannot read the token file %s", path);
    if (!S_ISREG(about.st_mode)) return wr_fail(info, WR_PERMISSION, "the token %s is no file", path);
    if (about.st_uid != geteuid())
        return wr_fail(info, WR_PERMISSION, "the token file %s belongs to somebody else; it must be yours", path);
    if ((about.st_mode & 077) != 0)
        return wr_fail(info, WR_PERMISSION, "others may read the token file %s; chmod 600 it", path);
    ssize_t n = read(file, text, sizeof text);
    if (n < 0) return wr_fail_errno(info, errno, "cannot read the token file %s", path);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' ')) n--;
    if (n < WR_TOKEN_BYTES_MIN || n >= WR_TOKEN_BYTES_MAX || (size_t)n >= room || memchr(text, 0, (size_t)n) != NULL)
        return wr_fail(info, WR_CONFIG, "the token in %s has %zd characters; %d to %d of plain text are fine", path, n,
                       WR_TOKEN_BYTES_MIN, WR_TOKEN_BYTES_MAX - 1);
    memcpy(to, text, (size_t)n);
    to[n] = 0;
    explicit_bzero(text, sizeof text);
    return WR_OK;
}

wr_err wr_token_read(const char *path, bool make, char *to, size_t room, wr_errinfo *info)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 && errno == ENOENT && make) {
        WR_TRY(make_token(path, info));
        file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    if (file < 0) return wr_fail_errno(info, errno, "cannot open the token file %s", path);
    wr_err err = take_token(file, path, to, room, info);
    close(file);
    return err;
}
