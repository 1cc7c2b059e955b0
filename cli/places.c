/* Folders and files that the settings name, or where they are when nobody says. */
#include "base/env.h"
#include "cli/settings.h"
#include "net/peers_nng.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

wr_err wr_absolute(char to[WR_PATH_BYTES_MAX], const char *path, wr_errinfo *info)
{
    char here[WR_PATH_BYTES_MAX];
    int  n;
    if (strncmp(path, "file:", 5) == 0) path += 5;
    if (path[0] == '/') {
        n = snprintf(to, WR_PATH_BYTES_MAX, "%s", path);
    } else {
        if (getcwd(here, sizeof here) == NULL) return wr_fail_errno(info, errno, "cannot tell the working directory");
        n = snprintf(to, WR_PATH_BYTES_MAX, "%s/%s", here, path);
    }
    if (n >= WR_PATH_BYTES_MAX) return wr_fail(info, WR_LIMIT, "the path %.200s is too long", path);
    return WR_OK;
}

wr_err wr_state_folder(char to[WR_PATH_BYTES_MAX], const char *name, wr_errinfo *info)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int         n;
    if (state != NULL && state[0] == '/')
        n = snprintf(to, WR_PATH_BYTES_MAX, "%s/weir/%s", state, name);
    else if (home != NULL && home[0] == '/')
        n = snprintf(to, WR_PATH_BYTES_MAX, "%s/.local/state/weir/%s", home, name);
    else
        return wr_fail(info, WR_CONFIG, "neither $XDG_STATE_HOME nor $HOME is set; say where by --%s",
                       strcmp(name, "cluster") == 0 ? "cluster-dir" : "dir");
    if (n >= WR_PATH_BYTES_MAX) return wr_fail(info, WR_LIMIT, "$XDG_STATE_HOME or $HOME is too long");
    return WR_OK;
}

wr_err wr_jobmanager_dir(const wr_settings *s, char to[WR_PATH_BYTES_MAX], wr_errinfo *info)
{
    const char *said = wr_setting_text(s, WR_SET_JOBMANAGER_DIR);
    return said[0] != 0 ? wr_absolute(to, said, info) : wr_state_folder(to, "jobmanager", info);
}

wr_err wr_cluster_dir(const wr_settings *s, char to[WR_PATH_BYTES_MAX], wr_errinfo *info)
{
    const char *said = wr_setting_text(s, WR_SET_CLUSTER_DIR);
    return said[0] != 0 ? wr_absolute(to, said, info) : wr_state_folder(to, "cluster", info);
}

wr_err wr_token_path(const wr_settings *s, char to[WR_PATH_BYTES_MAX], wr_errinfo *info)
{
    const char *said = wr_setting_text(s, WR_SET_TOKEN);
    if (said[0] != 0) return wr_absolute(to, said, info);
    WR_TRY(wr_jobmanager_dir(s, to, info));
    size_t n = strlen(to);
    if (n + sizeof "/token" > WR_PATH_BYTES_MAX) return wr_fail(info, WR_LIMIT, "the path %s is too long", to);
    memcpy(to + n, "/token", sizeof "/token");
    return WR_OK;
}

wr_err wr_cli_token(const wr_settings *s, char *to, size_t room, wr_errinfo *info)
{
    char       path[WR_PATH_BYTES_MAX];
    wr_errinfo why = {0};
    WR_TRY(wr_token_path(s, path, info));
    wr_err err = wr_token_read(path, false, to, room, &why);
    if (err == WR_NOT_FOUND)
        return wr_fail(info, WR_UNREACHABLE,
                       "there is no token of a cluster; %s; start one by `weir cluster start`, or name the token file "
                       "of your JobManager by --token",
                       path);
    return err == WR_OK ? WR_OK : wr_fail(info, err, "%s", why.text);
}

wr_err wr_make_folders(const char *path, wr_errinfo *info)
{
    char   part[WR_PATH_BYTES_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part) return wr_fail(info, WR_LIMIT, "not a path of a folder: %.200s", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return wr_fail_errno(info, errno, "cannot make the folder %s", part);
    }
    return WR_OK;
}
