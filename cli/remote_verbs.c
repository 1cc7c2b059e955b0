/* The verbs that ask the JobManager and print what it says. */
#include "base/check.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/remote.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool wr_cluster_known(const wr_settings *s)
{
    char       path[WR_PATH_BYTES_MAX];
    wr_errinfo none = {0};
    if (wr_setting_given(s, WR_SET_JOBMANAGER) || wr_setting_given(s, WR_SET_TOKEN)) return true;
    return wr_token_path(s, path, &none) == WR_OK && access(path, R_OK) == 0;
}

static void print_piece(void *self, const wr_reply *piece)
{
    (void)self;
    fwrite(piece->out, 1, piece->out_bytes, stdout);
    fflush(stdout);
    if (piece->info.code != WR_OK) fprintf(stderr, "weir: warning: %s\n", wr_errinfo_text(&piece->info));
}

/* What a verb that changes something says when it went well. */
static void say_done(const wr_options *o, const wr_request *ask, const wr_reply *r)
{
    const char *verb = ask->verb;
    if (o->json) {
        wr_json j;
        wr_json_init_file(&j, stdout);
        wr_json_object(&j, NULL);
        wr_json_printf(&j, "job", "%016llx", (unsigned long long)r->job);
        if (r->snapshot != 0) wr_json_u64(&j, "snapshot", r->snapshot);
        if (ask->path != NULL && ask->path[0] != 0) wr_json_str(&j, "savepoint", ask->path);
        wr_json_end(&j);
        return;
    }
    if (o->quiet) return;
    unsigned long long id = (unsigned long long)r->snapshot;
    if (strcmp(verb, "cancel") == 0) printf("%s is canceled\n", o->file);
    if (strcmp(verb, "snapshot") == 0) printf("snapshot %llu of %s completed\n", id, o->file);
    if (strcmp(verb, "savepoint") == 0) printf("savepoint %llu of %s completed\nit is in %s\n", id, o->file, ask->path);
    if (strcmp(verb, "stop") == 0 && id == 0) printf("%s has ended\n", o->file);
    if (strcmp(verb, "stop") == 0 && id != 0) {
        printf("snapshot %llu is the last of %s, which has ended\n", id, o->file);
        if (ask->path != NULL && ask->path[0] != 0) printf("a savepoint of it is in %s\n", ask->path);
    }
    if (strcmp(verb, "drain") == 0) printf("%s takes no new work\n", o->file);
    if (strcmp(verb, "undrain") == 0) printf("%s takes work again\n", o->file);
}

/* The exit code of a job that has ended: what became of it, not what its error would be in a command. */
static int exit_of_job(const wr_errinfo *info)
{
    if (info->code == WR_OK) return WR_EXIT_OK;
    int code = wr_cli_fail(info);
    return code == WR_EXIT_INTERRUPTED ? code : WR_EXIT_JOB_FAILED;
}

/* What `wait --json` says. */
static void say_end(const wr_reply *r)
{
    wr_json j;
    wr_json_init_file(&j, stdout);
    wr_json_object(&j, NULL);
    wr_json_printf(&j, "job", "%016llx", (unsigned long long)r->job);
    wr_json_str(&j, "state", r->info.code == WR_OK ? "FINISHED" : r->info.code == WR_CANCELED ? "CANCELED" : "FAILED");
    if (r->info.code == WR_OK || r->info.code == WR_CANCELED) {
        wr_json_null(&j, "cause");
    } else {
        wr_json_object(&j, "cause");
        wr_json_printf(&j, "code", "E%04d", (int)r->info.code);
        wr_json_str(&j, "text", r->info.text);
        wr_json_end(&j);
    }
    wr_json_end(&j);
}

/* Prints a reply; the exit code. */
static int tell(const wr_options *o, const wr_request *ask, const wr_reply *r)
{
    bool wait = strcmp(ask->verb, "wait") == 0;
    if (r->out_bytes > 0) {
        fwrite(r->out, 1, r->out_bytes, stdout);
        if (r->out[r->out_bytes - 1] != '\n') fputc('\n', stdout);
    } else if (r->info.code == WR_OK && !wait && strcmp(ask->verb, "logs") != 0) { /* whose pieces have come */
        say_done(o, ask, r);
    }
    if (wait && r->job != 0 && o->json) say_end(r);
    fflush(stdout);
    if (wait && r->job != 0) return exit_of_job(&r->info);
    return r->info.code == WR_OK ? WR_EXIT_OK : wr_cli_fail(&r->info);
}

int wr_ask_verb(const wr_options *o, wr_request *ask, bool reads)
{
    wr_errinfo info = {0};
    wr_link   *l = NULL;
    wr_message reply;
    bool       again = strcmp(ask->verb, "wait") == 0 || reads;
    if (ask->job == NULL) ask->job = "";
    if (ask->path == NULL) ask->path = "";
    ask->json = o->json;
    wr_err err = wr_link_open(&l, &o->settings, wr_link_until(o, reads && !ask->follow), &info);
    if (err == WR_OK && (ask->follow || strcmp(ask->verb, "wait") == 0)) wr_link_obey_signals(l);
    if (err == WR_OK) err = wr_link_ask(l, ask, again, print_piece, NULL, &reply, &info);
    int exit_code = err == WR_CANCELED && ask->follow ? WR_EXIT_OK : err != WR_OK ? wr_cli_fail(&info) : 0;
    if (err == WR_OK) {
        exit_code = tell(o, ask, &reply.reply);
        wr_message_free(&reply);
    }
    wr_link_close(l);
    return exit_code;
}

wr_err wr_ask_has(const wr_options *o, const char *job, wr_errinfo *info)
{
    wr_link         *l = NULL;
    wr_message       reply;
    const wr_request ask = {.verb = "info", .job = job, .path = ""};
    WR_TRY(wr_link_open(&l, &o->settings, wr_link_until(o, true), info));
    wr_err err = wr_link_ask(l, &ask, false, NULL, NULL, &reply, info);
    if (err == WR_OK) {
        err = reply.reply.info.code;
        if (err != WR_OK) wr_fail(info, err, "%s", reply.reply.info.text);
        wr_message_free(&reply);
    }
    wr_link_close(l);
    return err;
}

int wr_ask_list(const wr_options *o, char **out, size_t *n)
{
    wr_errinfo       info = {0};
    wr_link         *l = NULL;
    wr_message       reply;
    const wr_request ask = {.verb = "list", .job = "", .path = "", .json = o->json, .all = true};
    int              exit_code = WR_EXIT_OK;
    *out = NULL;
    *n = 0;
    wr_err err = wr_link_open(&l, &o->settings, wr_link_until(o, true), &info);
    if (err == WR_OK) err = wr_link_ask(l, &ask, true, NULL, NULL, &reply, &info);
    if (err == WR_OK) {
        if (reply.reply.info.code != WR_OK)
            exit_code = wr_cli_fail(&reply.reply.info);
        else if ((*out = malloc(reply.reply.out_bytes + 1)) != NULL)
            memcpy(*out, reply.reply.out, *n = reply.reply.out_bytes);
        wr_message_free(&reply);
    } else {
        exit_code = wr_cli_fail(&info);
    }
    wr_link_close(l);
    return exit_code;
}

int wr_ask_job(const wr_options *o, const char *verb)
{
    wr_errinfo  info = {0};
    char        path[WR_PATH_BYTES_MAX] = "";
    const char *said = strcmp(verb, "savepoint") == 0 ? o->second : strcmp(verb, "stop") == 0 ? o->savepoint : NULL;
    if (said != NULL && wr_absolute(path, said, &info) != WR_OK) return wr_cli_fail(&info);
    wr_request ask = {.verb = verb, .job = o->file, .path = path, .drain = o->drain};
    return wr_ask_verb(o, &ask, strcmp(verb, "snapshots") == 0);
}

/* ---- verbs of the cluster only ---- */

int wr_cli_info(const wr_options *o)
{
    wr_request ask = {.verb = "info", .job = o->file};
    return wr_ask_verb(o, &ask, true);
}

int wr_cli_why(const wr_options *o)
{
    wr_request ask = {.verb = "why", .job = o->file};
    return wr_ask_verb(o, &ask, true);
}

int wr_cli_wait(const wr_options *o)
{
    wr_request ask = {.verb = "wait", .job = o->file};
    return wr_ask_verb(o, &ask, false);
}

int wr_cli_cancel(const wr_options *o)
{
    wr_request ask = {.verb = "cancel", .job = o->file};
    return wr_ask_verb(o, &ask, false);
}

int wr_cli_logs(const wr_options *o)
{
    wr_request ask = {.verb = "logs", .job = o->file, .follow = o->follow};
    return wr_ask_verb(o, &ask, true);
}

int wr_cli_taskmanagers(const wr_options *o)
{
    wr_request ask = {.verb = "taskmanagers"};
    return wr_ask_verb(o, &ask, true);
}

int wr_cli_drain(const wr_options *o)
{
    wr_request ask = {.verb = o->undo ? "undrain" : "drain", .path = o->file};
    return wr_ask_verb(o, &ask, false);
}

/* On a terminal again and again, until it is interrupted. */
int wr_cli_top(const wr_options *o)
{
    wr_request ask = {.verb = "top", .job = o->file != NULL ? o->file : "", .path = "", .json = o->json};
    wr_errinfo info = {0};
    wr_link   *l = NULL;
    wr_message reply;
    const bool watch = isatty(STDOUT_FILENO) == 1 && !o->json;
    if (!watch) return wr_ask_verb(o, &ask, true);
    wr_err err = wr_link_open(&l, &o->settings, wr_link_until(o, true), &info);
    if (err == WR_OK) wr_link_obey_signals(l);
    while (err == WR_OK && !wr_link_interrupted()) {
        wr_link_patience(l, wr_link_until(o, true)); /* of each picture */
        err = wr_link_ask(l, &ask, true, NULL, NULL, &reply, &info);
        if (err != WR_OK) break;
        if (reply.reply.info.code != WR_OK) err = wr_fail(&info, reply.reply.info.code, "%s", reply.reply.info.text);
        fputs("\033[H\033[2J", stdout);
        fwrite(reply.reply.out, 1, reply.reply.out_bytes, stdout);
        fflush(stdout);
        wr_message_free(&reply);
        wr_link_pause(l, 1000000000);
    }
    wr_link_close(l);
    return err == WR_OK || err == WR_CANCELED ? WR_EXIT_OK : wr_cli_fail(&info);
}
