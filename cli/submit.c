/* weir submit, weir rescale: the pipeline is built in a child, and shipped with what it needs. */
#include "base/check.h"
#include "base/json.h"
#include "cli/child.h"
#include "cli/local.h"
#include "cli/remote.h"
#include "graph/remote.h"
#include "jobmanager/core_restart.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_MAX = 2 * WR_CLI_LIST_MAX };

/* A job on its way. Main thread. */
typedef struct parcel {
    wr_options     options; /* of the child: --set made absolute */
    char          *owned[WR_CLI_LIST_MAX];
    uint32_t       owneds;
    bool           one_path[WR_CLI_LIST_MAX]; /* of --set: no list, since it is a sink's */
    wr_child_graph graph;
    wr_job_spec    spec;
    wr_blob_ref    file[FILES_MAX];
    const char    *path[FILES_MAX]; /* of each file here */
    char           snapshots[WR_PATH_BYTES_MAX], restore[WR_PATH_BYTES_MAX];
} parcel;

static void parcel_free(parcel *p)
{
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->owneds; i++) free(p->owned[i]);
    wr_child_graph_free(&p->graph);
    free(p);
}

static const char *bare(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool is_shipped(const parcel *p, const char *path, size_t n)
{
    for (uint32_t i = 0; i < p->options.ship.count; i++) {
        const char *name = bare(p->options.ship.text[i]);
        if (strlen(name) == n && memcmp(path, name, n) == 0) return true;
    }
    return false;
}

/* A relative path behind file: is meant from here, unless the file is shipped: then it is in the worker's folder. */
static wr_err put_path(const parcel *p, FILE *to, const char *path, size_t n, wr_errinfo *info)
{
    char part[WR_PATH_BYTES_MAX], whole[WR_PATH_BYTES_MAX];
    if (n == 0 || n >= sizeof part || path[0] == '/' || is_shipped(p, path, n)) {
        fprintf(to, "%.*s", (int)n, path); /* one that is too long is refused with its URI */
        return WR_OK;
    }
    snprintf(part, sizeof part, "%.*s", (int)n, path);
    WR_TRY(wr_absolute(whole, part, info));
    fputs(whole, to);
    return WR_OK;
}

/* The path of a file: URI in --set, up to its options; NULL: it has none. */
static const char *path_of_set(const char *set, size_t *n)
{
    const char *uri = strchr(set, '=');
    if (uri == NULL || strncmp(uri + 1, "file:", 5) != 0) return NULL;
    *n = strcspn(uri + 6, "?");
    return uri + 6;
}

/* set number i; of a list of paths each one. */
static wr_err take_set(parcel *p, uint32_t i, const char *set, wr_errinfo *info)
{
    size_t      n = 0, bytes = 0;
    const char *path = path_of_set(set, &n), *end = path + n;
    char       *text = NULL;
    FILE       *to = path != NULL ? open_memstream(&text, &bytes) : NULL;
    wr_err      err = WR_OK;
    p->options.set.text[p->options.set.count++] = set;
    if (path == NULL) return WR_OK;
    if (to == NULL) return wr_fail(info, WR_MEMORY, "no memory for a URI");
    fprintf(to, "%.*s", (int)(path - set), set);
    for (bool more = true; more && err == WR_OK;) {
        const char *comma = p->one_path[i] ? NULL : memchr(path, ',', (size_t)(end - path));
        const char *behind = comma != NULL ? comma : end;
        err = put_path(p, to, path, (size_t)(behind - path), info);
        more = comma != NULL;
        if (more) fputc(',', to);
        path = behind + more;
    }
    fputs(end, to);
    bool good = fclose(to) == 0;
    p->owned[p->owneds++] = text;
    if (err == WR_OK && !good) err = wr_fail(info, WR_MEMORY, "no memory for a URI");
    if (err == WR_OK) p->options.set.text[p->options.set.count - 1] = text;
    return err;
}

static wr_err take_sets(parcel *p, const wr_options *o, wr_errinfo *info)
{
    for (; p->owneds > 0; p->owneds--) free(p->owned[p->owneds - 1]);
    p->options.set.count = 0;
    for (uint32_t i = 0; i < o->set.count; i++) WR_TRY(take_set(p, i, o->set.text[i], info));
    p->spec.set = p->options.set.text;
    p->spec.sets = p->options.set.count;
    return WR_OK;
}

/* A sink has one path, whatever commas are in it; only the graph says which are sinks. *again: one was taken for a
 * list. */
static wr_err find_paths_of_sinks(parcel *p, const wr_options *o, bool *again, wr_errinfo *info)
{
    wr_remote *graph = NULL;
    size_t     n = 0;
    WR_TRY(wr_remote_decode(&graph, p->graph.graph, p->graph.graph_bytes, info));
    const wr_job *job = wr_remote_job(graph);
    for (uint32_t i = 0; i < o->set.count; i++) {
        const char *set = o->set.text[i], *path = path_of_set(set, &n);
        if (path == NULL || memchr(path, ',', n) == NULL) continue;
        size_t name = (size_t)(strchr(set, '=') - set);
        for (uint32_t k = 0; k < job->nodes; k++) {
            const wr_node *node = &job->node[k];
            if (node->kind != WR_NODE_SINK || strlen(node->name) != name || memcmp(node->name, set, name) != 0)
                continue;
            p->one_path[i] = *again = true;
        }
    }
    wr_remote_free(graph);
    return WR_OK;
}

static int build(parcel *p, const wr_options *o, int64_t until_ns)
{
    wr_errinfo info = {0};
    bool       again = false;
    int        exit_code = wr_child_graph_of(&p->options, NULL, until_ns, &p->graph);
    if (exit_code != WR_EXIT_OK) return exit_code;
    if (find_paths_of_sinks(p, o, &again, &info) != WR_OK) return wr_cli_fail(&info);
    if (!again) return WR_EXIT_OK;
    wr_child_graph_free(&p->graph);
    if (take_sets(p, o, &info) != WR_OK) return wr_cli_fail(&info);
    return wr_child_graph_of(&p->options, NULL, until_ns, &p->graph);
}

static wr_err add_file(parcel *p, const char *path, wr_errinfo *info)
{
    wr_blob_ref *ref = &p->file[p->spec.files];
    WR_TRY(wr_blob_describe(path, ref, info));
    for (uint32_t i = 0; i < p->spec.files; i++)
        if (strcmp(p->file[i].name, ref->name) == 0)
            return wr_fail(info, WR_USAGE, "two files are called %s; %s and %s; workers open them by that name",
                           ref->name, p->path[i], path);
    p->path[p->spec.files++] = path;
    return WR_OK;
}

static uint32_t strategy_of(const char *name)
{
    static const char *const NAMES[] = {[WR_RESTART_NONE] = "none",
                                        [WR_RESTART_FIXED] = "fixed",
                                        [WR_RESTART_EXPONENTIAL] = "exponential",
                                        [WR_RESTART_FAILURE_RATE] = "failure-rate"};
    for (uint32_t i = 1; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (strcmp(NAMES[i], name) == 0) return i;
    return WR_RESTART_DEFAULT;
}

static void take_settings(wr_job_spec *spec, const wr_options *o)
{
    const wr_settings *s = &o->settings;
    spec->parallelism = o->parallelism;
    spec->parallelism_default = 1;
    spec->state_max = o->state_max;
    spec->memory_max = wr_setting_bytes(s, WR_SET_MEMORY_MAX);
    spec->allow_non_restored = o->allow_non_restored;
    spec->snapshot_timeout_ms = wr_setting_ms(s, WR_SET_SNAPSHOT_TIMEOUT);
    spec->snapshots_keep = wr_setting_count(s, WR_SET_SNAPSHOTS_KEEP);
    spec->restart = strategy_of(wr_setting_text(s, WR_SET_RESTART));
    spec->restart_delay_ms = wr_setting_ms(s, WR_SET_RESTART_DELAY);
    spec->restart_delay_most_ms = wr_setting_ms(s, WR_SET_RESTART_DELAY_MOST);
    spec->restart_window_ms = wr_setting_ms(s, WR_SET_RESTART_WINDOW);
    spec->restart_attempts = wr_setting_count(s, WR_SET_RESTART_ATTEMPTS);
    spec->restart_factor_permille = wr_setting_permille(s, WR_SET_RESTART_FACTOR);
}

/* Folders as the JobManager and the workers see them. */
static wr_err take_folders(parcel *p, const wr_options *o, wr_errinfo *info)
{
    wr_job_spec *spec = &p->spec;
    const char  *folder = o->snapshots != NULL ? o->snapshots : p->graph.snapshots;
    spec->snapshot_interval_ms = o->snapshot_interval_ns > 0 ? o->snapshot_interval_ns / 1000000
                                                             : p->graph.snapshot_interval_ms;
    if (spec->snapshot_interval_ms == 0) spec->snapshot_interval_ms = WR_SNAPSHOT_INTERVAL_MS;
    bool none = strcmp(folder, "none") == 0; /* not even into the folder that the JobManager has for such jobs */
    if (none) snprintf(p->snapshots, sizeof p->snapshots, "none");
    if (folder[0] != 0 && !none) WR_TRY(wr_absolute(p->snapshots, folder, info));
    if (o->restore != NULL && strcmp(o->restore, "latest") != 0) WR_TRY(wr_absolute(p->restore, o->restore, info));
    if (o->restore != NULL && p->restore[0] == 0) snprintf(p->restore, sizeof p->restore, "latest");
    spec->snapshots = p->snapshots;
    spec->restore = p->restore;
    if (p->graph.gone[0] != 0 && !none) return wr_fail(info, WR_OPTION, "%s (--snapshots none)", p->graph.gone);
    return WR_OK;
}

static wr_err fill(parcel *p, const wr_options *o, wr_errinfo *info)
{
    p->options = *o;
    p->options.parallelism_default = 1;
    p->options.json = false;
    if (o->name != NULL && !wr_job_name_fits(o->name))
        return wr_fail(info, WR_USAGE, "a job has a name of 1 to %d printable bytes", WR_NAME_BYTES_MAX);
    WR_TRY(take_sets(p, o, info));
    WR_TRY(wr_blob_describe(o->file, &p->spec.module, info));
    for (uint32_t i = 0; i < o->connector.count; i++) WR_TRY(add_file(p, o->connector.text[i], info));
    for (uint32_t i = 0; i < o->ship.count; i++) WR_TRY(add_file(p, o->ship.text[i], info));
    for (uint32_t i = o->connector.count; i < p->spec.files; i++) {
        size_t n = strlen(p->file[i].name);
        if (n > 3 && strcmp(p->file[i].name + n - 3, ".so") == 0)
            return wr_fail(info, WR_USAGE, "%s would be taken for a connector; give it by --connector, or rename it",
                           p->path[i]);
    }
    p->spec.file = p->file;
    p->spec.arg = o->rest;
    p->spec.args = o->rests;
    take_settings(&p->spec, o);
    return WR_OK;
}

static wr_err ship(wr_link *l, const parcel *p, const char *module, wr_errinfo *info)
{
    WR_TRY(wr_link_put(l, module, &p->spec.module, info));
    for (uint32_t i = 0; i < p->spec.files; i++) WR_TRY(wr_link_put(l, p->path[i], &p->file[i], info));
    return WR_OK;
}

static void say_submitted(const wr_options *o, const char *name, uint64_t id)
{
    if (o->json && o->detached) {
        wr_json j;
        wr_json_init_file(&j, stdout);
        wr_json_object(&j, NULL);
        wr_json_str(&j, "job", name);
        wr_json_printf(&j, "id", "%016llx", (unsigned long long)id);
        wr_json_end(&j);
    } else if (o->detached && o->quiet) {
        printf("%016llx\n", (unsigned long long)id);
    } else if (o->detached) {
        printf("%s is job %016llx\n", name, (unsigned long long)id);
    } else if (!o->quiet && !o->json) {
        fprintf(stderr, "weir: %s is job %016llx; Ctrl-C leaves it running\n", name, (unsigned long long)id);
    }
}

static void show_progress(void *self, const wr_reply *piece)
{
    const wr_options *o = self;
    size_t            n = piece->out_bytes;
    while (n > 0 && piece->out[n - 1] == '\n') n--;
    if (!o->quiet && !o->json) fprintf(stderr, "weir: %.*s\n", (int)n, piece->out);
}

/* What `weir info --json` says about it. */
static void show_summary(wr_link *l, const char *job)
{
    wr_errinfo       info = {0};
    wr_message       m;
    const wr_request ask = {.verb = "info", .job = job, .path = "", .json = true};
    if (wr_link_ask(l, &ask, true, NULL, NULL, &m, &info) != WR_OK) return;
    fwrite(m.reply.out, 1, m.reply.out_bytes, stdout);
    if (m.reply.out_bytes > 0 && m.reply.out[m.reply.out_bytes - 1] != '\n') fputc('\n', stdout);
    wr_message_free(&m);
}

/* Until the job has ended, or the user has seen enough. */
static int attend(wr_link *l, const wr_options *o, const char *name, uint64_t id)
{
    char       job[20];
    wr_errinfo info = {0};
    wr_message m;
    snprintf(job, sizeof job, "%016llx", (unsigned long long)id);
    const wr_request ask = {.verb = "wait", .job = job, .path = "", .json = o->json, .follow = true};
    wr_link_obey_signals(l);
    wr_err err = wr_link_ask(l, &ask, true, show_progress, (void *)(uintptr_t)o, &m, &info);
    if (err == WR_CANCELED) {
        fprintf(stderr, "weir: %s goes on: `weir info %.8s` shows it, `weir cancel %.8s` ends it\n", name, job, job);
        return WR_EXIT_OK;
    }
    if (err != WR_OK) return wr_cli_fail(&info);
    const wr_reply *r = &m.reply;
    if (o->json) show_summary(l, job);
    int exit_code = WR_EXIT_OK;
    if (r->info.code != WR_OK) {
        exit_code = wr_cli_fail(&r->info);
        if (r->job != 0 && r->info.code != WR_CANCELED) exit_code = WR_EXIT_JOB_FAILED;
    }
    wr_message_free(&m);
    return exit_code;
}

static int send_job(const wr_options *o, parcel *p, int64_t until_ns)
{
    wr_errinfo info = {0};
    wr_link   *l = NULL;
    wr_message reply;
    uint64_t   id = 0;
    int        exit_code;
    wr_err     err = wr_link_open(&l, &o->settings, until_ns, &info);
    if (err == WR_OK) err = ship(l, p, o->file, &info);
    const wr_request ask = {.verb = "submit", .job = "", .path = "", .json = o->json, .spec = p->spec};
    if (err == WR_OK) err = wr_link_ask(l, &ask, true, NULL, NULL, &reply, &info);
    if (err == WR_OK) {
        err = reply.reply.info.code;
        if (err != WR_OK) wr_fail(&info, err, "%s", reply.reply.info.text);
        id = reply.reply.job;
        wr_message_free(&reply);
    }
    if (err == WR_OK) {
        say_submitted(o, p->spec.name, id);
        fflush(stdout);
        exit_code = o->detached ? WR_EXIT_OK : attend(l, o, p->spec.name, id);
    } else {
        exit_code = wr_cli_fail(&info);
    }
    wr_link_close(l);
    return exit_code;
}

int wr_cli_submit(const wr_options *o)
{
    wr_errinfo info = {0};
    int        exit_code = WR_EXIT_OK;
    int64_t    until_ns = wr_link_until(o, false); /* building counts */
    parcel    *p = calloc(1, sizeof *p);
    if (p == NULL) {
        wr_fail(&info, WR_MEMORY, "no memory for a job");
        return wr_cli_fail(&info);
    }
    if (fill(p, o, &info) != WR_OK) {
        parcel_free(p);
        return wr_cli_fail(&info);
    }
    exit_code = build(p, o, until_ns);
    if (exit_code == WR_EXIT_OK && take_folders(p, o, &info) != WR_OK) exit_code = wr_cli_fail(&info);
    if (exit_code == WR_EXIT_OK) {
        p->spec.name = o->name != NULL ? o->name : p->graph.name;
        p->spec.graph = p->graph.graph;
        p->spec.graph_bytes = (uint32_t)p->graph.graph_bytes;
        exit_code = send_job(o, p, until_ns);
    }
    parcel_free(p);
    return exit_code;
}
