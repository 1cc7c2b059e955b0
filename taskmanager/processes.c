#include "taskmanager/processes.h"
#include "base/check.h"
#include "taskmanager/proc.h"
#include "taskmanager/report.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEASURE_NS = 200000000 };
#define DATA_SLACK ((uint64_t)WR_MIB(256)) /* stacks of threads, and what is mapped but never touched */

typedef struct process {
    uint64_t number, peer;
    pid_t    pid;
    int      pidfd, report;
    uint32_t uid;              /* when there is an identity */
    int      lock;             /* of the uid; -1: none */
    uint64_t memory_max, most; /* bytes; most: that it was seen to have */
    bool     over;             /* killed for it */
    bool     killed;
} process;

/* Owner: the supervisor's thread. */
struct wr_real_processes {
    const wr_env      *env;
    wr_peers_pair     *pair;
    wr_processes       table;
    char              *program;
    int                poller;
    const wr_identity *identity; /* NULL: workers are who we are */
    process           *process[WR_TM_WORKERS_MAX];
    uint32_t           count;
    uint64_t           numbers;
    int64_t            measure_ns;
    uint64_t           left;                        /* peer of the one that ended last; 0: closed */
    char               report[WR_REPORT_BYTES_MAX]; /* of the one that ended last */
};

static process *find(const wr_real_processes *p, uint64_t number)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->process[i]->number == number) return p->process[i];
    return NULL;
}

/* ---- start ---- */

/* Between fork and exec: nothing that takes a lock. */
typedef struct birth {
    const wr_process_spec *spec;
    const char            *program;
    const wr_identity     *identity; /* NULL: ours */
    uint32_t               uid;
    int                    socket, report, told; /* told: -errno goes there when it cannot be */
} birth;

/* Moves a descriptor where nothing else will be put. */
static int out_of_the_way(int file)
{
    return fcntl(file, F_DUPFD_CLOEXEC, 16); /* dup2 clears that; and without close_range nothing stays open */
}

/* Comes back, with errno, only when it cannot be; *told is where that is to be said then. */
static void become(const birth *b, int *told)
{
    char *const argv[] = {(char *)(uintptr_t) "weir", (char *)(uintptr_t) "worker", NULL};
    sigset_t    none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    umask(007);
    if (b->identity != NULL && wr_identity_become(b->identity, b->uid) != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user forgets it */
    int socket = out_of_the_way(b->socket), report = out_of_the_way(b->report);
    int log = open(b->spec->log, O_WRONLY | O_CREAT | O_APPEND, 0660), nothing = open("/dev/null", O_RDWR);
    if (log < 0) log = nothing; /* a full disk must not keep a job from running */
    log = out_of_the_way(log);
    *told = out_of_the_way(b->told);
    if (socket < 0 || report < 0 || *told < 0 || log < 0 || nothing < 0 || chdir(b->spec->folder) != 0) return;
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    dup2(socket, WR_WORKER_SOCKET);
    dup2(report, WR_WORKER_REPORT);
    *told = dup2(*told, WR_WORKER_REPORT + 1);
    fcntl(*told, F_SETFD, FD_CLOEXEC);
    close_range(WR_WORKER_REPORT + 2, ~0u, 0);
    struct rlimit data;
    if (b->spec->memory_max > 0 && getrlimit(RLIMIT_DATA, &data) == 0) {
        rlim_t most = b->spec->memory_max + b->spec->memory_max / 4 + DATA_SLACK;
        if (most < data.rlim_max) data.rlim_cur = most; /* the worker raises it by what it only reserves */
        setrlimit(RLIMIT_DATA, &data);
    }
    execv(b->program, argv);
}

/* The new process, or -errno. */
static pid_t give_birth(birth *b)
{
    int told[2], number = 0;
    if (pipe2(told, O_CLOEXEC) != 0) return -errno;
    b->told = told[1];
    pid_t pid = fork();
    if (pid == 0) {
        int to = b->told;
        become(b, &to);
        number = errno;
        ssize_t n = write(to >= 0 ? to : b->told, &number, sizeof number);
        _exit(n > 0 ? 127 : 126);
    }
    if (pid < 0) number = errno;
    close(told[1]);
    ssize_t n = 0;
    while (pid > 0 && (n = read(told[0], &number, sizeof number)) < 0 && errno == EINTR) {}
    if (n == sizeof number) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
        pid = -1;
    }
    close(told[0]);
    return pid > 0 ? pid : -number;
}

static wr_err find_user(const wr_real_processes *p, const wr_process_spec *spec, process *o, wr_errinfo *info)
{
    if (p->identity == NULL) return WR_OK;
    WR_TRY(wr_identity_claim(p->identity, &o->uid, &o->lock, info));
    return wr_identity_hand_over(p->identity, o->uid, spec->folder, spec->log, info);
}

/* What may wait for a disk: perhaps on another thread, while the owner goes on with the processes that it has. */
typedef struct bearing {
    const wr_real_processes *p;
    process                 *o; /* nobody else knows it yet */
    birth                    birth;
    wr_errinfo               info;
} bearing;

static int64_t bear(void *arg)
{
    bearing               *b = arg;
    const wr_process_spec *spec = b->birth.spec;
    WR_TRY(find_user(b->p, spec, b->o, &b->info));
    b->birth.uid = b->o->uid;
    b->o->pid = give_birth(&b->birth);
    if (b->o->pid > 0) return WR_OK;
    return wr_fail_errno(&b->info, -b->o->pid, "cannot start a worker process in %s", spec->folder);
}

static wr_err begin(wr_real_processes *p, const wr_process_spec *spec, process *o, wr_errinfo *info)
{
    int pair[2];
    o->report = memfd_create("weir-report", MFD_CLOEXEC);
    if (o->report < 0) return wr_fail_errno(info, errno, "cannot make a file for the report of a worker");
    fcntl(o->report, F_SETFL, O_APPEND);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return wr_fail_errno(info, errno, "cannot make a socket pair for a worker; raise the limit of open files");
    bearing b = {.p = p, .o = o};
    b.birth = (birth){
        .spec = spec, .program = p->program, .identity = p->identity, .socket = pair[1], .report = o->report};
    int64_t err = spec->aside != NULL ? wr_aside_run(spec->aside, bear, &b) : bear(&b);
    close(pair[1]);
    if (err != WR_OK) {
        close(pair[0]);
        *info = b.info;
        return b.info.code;
    }
    o->peer = wr_peers_pair_add(p->pair, pair[0]);
    o->pidfd = pidfd_open(o->pid, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = o->number};
    if (o->pidfd >= 0) {
        fcntl(o->pidfd, F_SETFD, FD_CLOEXEC);
        epoll_ctl(p->poller, EPOLL_CTL_ADD, o->pidfd, &event);
    }
    return WR_OK;
}

static wr_err start_one(void *self, const wr_process_spec *spec, uint64_t *number, uint64_t *peer, wr_errinfo *info)
{
    wr_real_processes *p = self;
    process           *o = p->count < WR_TM_WORKERS_MAX ? calloc(1, sizeof *o) : NULL;
    if (o == NULL) return wr_fail(info, WR_MEMORY, "no memory for a worker, or %u are here already", p->count);
    *o = (process){.number = ++p->numbers, .pidfd = -1, .report = -1, .lock = -1, .memory_max = spec->memory_max};
    wr_err err = begin(p, spec, o, info);
    if (err != WR_OK) {
        if (o->report >= 0) close(o->report);
        if (o->lock >= 0) wr_identity_release(p->identity, o->uid, o->lock);
        free(o);
        return err;
    }
    p->process[p->count++] = o;
    *number = o->number;
    *peer = o->peer;
    if (p->measure_ns == INT64_MAX) p->measure_ns = p->env->mono_ns(p->env->self);
    return WR_OK;
}

/* ---- while it lives ---- */

/* The worker is the first of its group: programs that user code has started go with it. */
static void end_group(const process *o)
{
    kill(-o->pid, SIGKILL);
    kill(o->pid, SIGKILL);
}

static void kill_one(void *self, uint64_t number)
{
    process *o = find(self, number);
    if (o == NULL) return;
    o->killed = true;
    end_group(o);
}

static void give_one(void *self, uint64_t number, int socket, const wr_data_hello *hello)
{
    wr_real_processes *p = self;
    const process     *o = find(p, number);
    uint8_t            bytes[WR_HELLO_BYTES];
    if (o == NULL) {
        p->env->hang_up(p->env->self, socket);
        return;
    }
    wr_data_hello_put(hello, bytes);
    wr_peers_pair_give(p->pair, o->peer, socket, bytes, sizeof bytes);
}

static void measure(wr_real_processes *p)
{
    int64_t now = p->env->mono_ns(p->env->self);
    if (now < p->measure_ns) return;
    bool any = false;
    for (uint32_t i = 0; i < p->count; i++) {
        process *o = p->process[i];
        char     pid[24];
        if (o->memory_max == 0 || o->over) continue;
        any = true;
        snprintf(pid, sizeof pid, "%d", (int)o->pid);
        uint64_t bytes = wr_process_rss_bytes(p->env, pid);
        if (bytes > o->most) o->most = bytes;
        if (bytes <= o->memory_max) continue;
        o->over = true;
        end_group(o);
    }
    p->measure_ns = any ? now + MEASURE_NS : INT64_MAX;
}

/* ---- how it ended ---- */

static void read_report(wr_real_processes *p, const process *o, wr_process_end *end)
{
    wr_crash_report report;
    ssize_t         n = pread(o->report, p->report, sizeof p->report - 1, 0);
    if (n < 0) n = 0;
    p->report[n] = 0;
    wr_crash_report_read(&report, p->report, (size_t)n);
    end->subtask = report.subtask;
    end->report = report.text;
    end->info = report.info;
}

static void say_how(const process *o, wr_process_end *end)
{
    unsigned long long mib = o->memory_max >> 20;
    if (o->over) {
        end->info.code = WR_OK;
        end->info.text[0] = 0;
        wr_fail(&end->info, WR_CRASH,
                "the worker process had more memory than it may: %llu MiB of %llu MiB; it was killed; give the job "
                "more, or keep less in its state and its own memory",
                (unsigned long long)(o->most >> 20), mib);
    } else if (end->info.code != WR_OK || o->killed) {
        return;
    } else if (end->signal != 0) {
        wr_fail(&end->info, WR_CRASH, "the worker process was ended by signal %d (%s), sent from outside%s",
                end->signal, strsignal(end->signal),
                end->signal == SIGKILL ? "; perhaps the system had no memory left" : "");
    } else {
        wr_fail(&end->info, WR_CRASH,
                "the worker process ended with exit code %d, and nobody had told it to; code of the pipeline may have "
                "called _exit",
                end->exit_code);
    }
}

static void close_left(wr_real_processes *p)
{
    wr_peers *peers = wr_peers_pair_table(p->pair);
    if (p->left != 0) peers->close(peers->self, p->left);
    p->left = 0;
}

static void release(wr_real_processes *p, uint32_t at)
{
    process *o = p->process[at];
    close_left(p);
    p->left = o->peer;
    if (o->pidfd >= 0) close(o->pidfd);
    close(o->report);
    if (o->lock >= 0) wr_identity_release(p->identity, o->uid, o->lock);
    free(o);
    p->process[at] = p->process[--p->count];
}

static bool take_end(void *self, wr_process_end *end)
{
    wr_real_processes *p = self;
    close_left(p);
    measure(p);
    for (uint32_t i = 0; i < p->count; i++) {
        process  *o = p->process[i];
        siginfo_t how = {0};
        if (waitid(P_PID, (id_t)o->pid, &how, WEXITED | WNOHANG | WNOWAIT) != 0 || how.si_pid != o->pid) continue;
        end_group(o); /* while nobody else can have its number */
        while (waitpid(o->pid, NULL, 0) < 0 && errno == EINTR) {}
        end->process = o->number;
        end->signal = how.si_code == CLD_EXITED ? 0 : how.si_status;
        end->exit_code = how.si_code == CLD_EXITED ? how.si_status : 0;
        end->out_of_memory = o->over;
        read_report(p, o, end);
        say_how(o, end);
        release(p, i);
        return true;
    }
    return false;
}

/* ---- life ---- */

wr_err wr_real_processes_new(wr_real_processes **take, const wr_env *env, wr_peers_pair *pair, const char *program,
                             wr_errinfo *info)
{
    *take = NULL;
    wr_real_processes *p = calloc(1, sizeof *p);
    if (p == NULL || (p->program = strdup(program != NULL ? program : "/proc/self/exe")) == NULL) {
        free(p);
        return wr_fail(info, WR_MEMORY, "no memory for processes");
    }
    p->env = env;
    p->pair = pair;
    p->measure_ns = INT64_MAX;
    p->table = (wr_processes){.self = p, .start = start_one, .kill = kill_one, .give = give_one, .ended = take_end};
    p->poller = epoll_create1(EPOLL_CLOEXEC);
    if (p->poller < 0) {
        int number = errno;
        wr_real_processes_free(p);
        return wr_fail_errno(info, number, "cannot make a poller for worker processes");
    }
    *take = p;
    return WR_OK;
}

void wr_real_processes_identity(wr_real_processes *p, const wr_identity *id)
{
    p->identity = id->on ? id : NULL;
}

wr_processes *wr_real_processes_table(wr_real_processes *p)
{
    return &p->table;
}

int wr_real_processes_fd(const wr_real_processes *p)
{
    return p->poller;
}

int64_t wr_real_processes_due_ns(const wr_real_processes *p)
{
    return p->measure_ns;
}

uint64_t wr_real_processes_pid(const wr_real_processes *p, uint64_t number)
{
    const process *o = find(p, number);
    return o != NULL ? (uint64_t)o->pid : 0;
}

void wr_real_processes_free(wr_real_processes *p)
{
    if (p == NULL) return;
    while (p->count > 0) {
        process *o = p->process[p->count - 1];
        end_group(o);
        while (waitpid(o->pid, NULL, 0) < 0 && errno == EINTR) {}
        release(p, p->count - 1);
    }
    close_left(p);
    if (p->poller >= 0) close(p->poller);
    free(p->program);
    free(p);
}
