/* Runs in signal handlers: no allocation, no lock, no stdio. What may itself crash (reading a broken stack, printing
 * a broken record) is a stage of its own: a second fault there goes on with what is left. */
#include "taskmanager/crash.h"
#include "base/check.h"
#include "base/env.h"
#include "base/failed_check.h"
#include "connectors/format.h"
#include "operators/op.h"
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WR_CRASH_OFF 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WR_CRASH_OFF 1
#endif
#endif
#ifndef WR_CRASH_OFF
#define WR_CRASH_OFF 0
#endif

#if defined(__x86_64__)
#define PC_OF(UC) ((uintptr_t)(UC)->uc_mcontext.gregs[REG_RIP])
#define SP_OF(UC) ((uintptr_t)(UC)->uc_mcontext.gregs[REG_RSP])
#elif defined(__aarch64__)
#define PC_OF(UC) ((uintptr_t)(UC)->uc_mcontext.pc)
#define SP_OF(UC) ((uintptr_t)(UC)->uc_mcontext.sp)
#endif

enum {
    ALT_STACK_BYTES = 128 * 1024,          /* touched only in a crash */
    REPLAY_STACK_BYTES = 16 * 1024 * 1024, /* above that of threads, so that a replay does not run out earlier */
    FRAMES_MAX = 48,
    STAGE_SECONDS_MAX = 6, /* for what may wait for a lock that the crashed code holds: frames, replay */
    REPORT_SECONDS_MAX = 20,
    LINES_ARGS_MAX = 3
};

enum why { WHY_SIGNAL, WHY_EXIT, WHY_QUICK_EXIT, WHY_THREAD_EXIT, WHY_HANG };

/* What is being done, in this order; a fault goes on with the next. */
enum stage { STAGE_NONE, STAGE_FRAMES, STAGE_REPLAY, STAGE_RECORD, STAGE_BRIEF, STAGE_LINES };

/* One crash per process: written by the thread that crashed first. */
static struct crash {
    _Atomic int     thread; /* its id; 0: none */
    enum stage      stage;
    enum why        why;
    int             signal, code; /* EXIT: code is that of exit() */
    uintptr_t       address, pc, sp;
    void           *frame[FRAMES_MAX];
    int             frames;
    wr_user         user;
    const char     *in;
    const char     *check;    /* of ours, that failed; NULL: none had when it crashed */
    weir_ctx        ctx;      /* as it was before the replay */
    uint32_t        at;       /* record of the batch; UINT32_MAX: not known */
    bool            replayed; /* at was found by a replay */
    bool            failed;   /* the operator had failed already, and its function went on */
    bool            hurried;  /* its thread was told to leave the stage that it is in */
    _Atomic int64_t until_s;  /* so long it may take for what it does; monotonic */
} crash;

static const char *const *lines_program;
static bool               installed, terminal, only_inside_user, has_thread_key;
static pthread_key_t      thread_key;
static int                report_file = -1;
static unsigned           hang_seconds;
static pid_t              our_pid;

static _Thread_local const char *running_in;
static _Thread_local void       *alt_stack;
static _Thread_local uintptr_t   stack_low; /* 0: not known */

/* ---- text ---- */

static struct text {
    char   bytes[8192];
    size_t n;
} report;

static void put_n(const char *bytes, size_t n)
{
    if (n > sizeof report.bytes - report.n) n = sizeof report.bytes - report.n;
    memcpy(report.bytes + report.n, bytes, n);
    report.n += n;
}

static void put(const char *text)
{
    put_n(text, strlen(text));
}

static void put_u64(uint64_t value)
{
    char  digits[24];
    char *at = digits + sizeof digits;
    do *--at = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    put_n(at, (size_t)(digits + sizeof digits - at));
}

static char *hex(char *end, uintptr_t value)
{
    do *--end = "0123456789abcdef"[value & 15];
    while ((value >>= 4) != 0);
    *--end = 'x';
    *--end = '0';
    return end;
}

static void put_hex(uintptr_t value)
{
    char  digits[24];
    char *at = hex(digits + sizeof digits, value);
    put_n(at, (size_t)(digits + sizeof digits - at));
}

static void write_all(int file, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = write(file, bytes + at, n - at);
        if (got < 0 && errno != EINTR) break;
        if (got > 0) at += (size_t)got;
    }
}

static void write_report(void)
{
    write_all(STDERR_FILENO, report.bytes, report.n);
    if (report_file >= 0) write_all(report_file, report.bytes, report.n);
    report.n = 0;
}

/* ---- what happened ---- */

static const char *signal_name(int number)
{
    switch (number) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGFPE: return "SIGFPE";
    case SIGILL: return "SIGILL";
    case SIGABRT: return "SIGABRT";
    default: return "signal";
    }
}

static void put_memory_fault(void)
{
    bool overflow = stack_low != 0 && crash.address < stack_low + 65536 && crash.address + (1u << 20) >= stack_low;
    put(", address ");
    put_hex(crash.address);
    if (overflow)
        put(": stack overflow, perhaps by a recursion without end");
    else if (crash.address < WR_PAGE_BYTES)
        put(": a null pointer");
    else if (crash.code == SEGV_ACCERR)
        put(": memory that cannot be written");
}

static void put_cause(void)
{
    if (crash.why == WHY_EXIT) {
        put("it called exit(");
        put_u64((uint64_t)(unsigned)crash.code & 255);
        put(")");
        return;
    }
    if (crash.why == WHY_QUICK_EXIT) {
        put("it called quick_exit()");
        return;
    }
    if (crash.why == WHY_THREAD_EXIT) {
        put("it called pthread_exit()");
        return;
    }
    if (crash.check != NULL) {
        put(crash.check);
        return;
    }
    if (crash.why == WHY_HANG) {
        put("it did not return for ");
        put_u64(hang_seconds);
        put(" s");
        return;
    }
    put(signal_name(crash.signal));
    if (crash.code == SI_USER || (crash.code == SI_TKILL && crash.signal != SIGABRT)) {
        put(", sent by a process");
    } else if (crash.signal == SIGSEGV) {
        put_memory_fault();
    } else if (crash.signal == SIGBUS) {
        put(", address ");
        put_hex(crash.address);
        put(": a mapped file that became shorter, or a misaligned access");
    } else if (crash.signal == SIGFPE) {
        put(crash.code == FPE_INTDIV ? ": integer division by zero" : ": arithmetic error");
    } else if (crash.signal == SIGILL) {
        put(": illegal instruction, or __builtin_trap");
    } else {
        put(": abort() was called");
    }
}

static void put_place(void)
{
    const weir_op *def = crash.user.op->def;
    put("; operator ");
    put(crash.user.op->node->uid);
    put(", subtask ");
    put_u64(crash.user.op->subtask);
    put(" of ");
    put_u64(crash.user.op->subtasks);
    if (*crash.user.does != 0) put(", ");
    put(crash.user.does);
    if (crash.user.name != NULL) {
        put(" ");
        put(crash.user.name);
    }
    if (def->file == NULL || *def->file == 0) return; /* none that the pipeline declares */
    put(" (declared at ");
    put(def->file);
    put(":");
    put_u64(def->line);
    put(")");
}

/* The type of what `in` (or key) holds, and its start; NULL: this loop works on no records. */
static const weir_type *subject(const char **records, bool *key)
{
    const weir_op *def = crash.user.op->def;
    weir_loop     *loop = crash.user.loop;
    *key = loop != NULL && (loop == def->on_result || loop == def->on_timer);
    *records = crash.ctx.in;
    if (loop == NULL || def->kind == WEIR_OP_SOURCE) return NULL;
    if (*key) {
        *records = crash.ctx.key;
        return *records != NULL ? def->left : NULL;
    }
    if (*records == NULL) return NULL;
    if (loop == def->on_left || loop == def->on_near) return def->left;
    return loop == def->on_right ? def->right : NULL;
}

static void put_record(void)
{
    const char      *records;
    bool             key;
    const weir_type *type = subject(&records, &key);
    if (type == NULL) return;
    uint32_t n = crash.ctx.n;
    put(key ? ", key " : ", record ");
    if (crash.at >= n) {
        put("unknown, one of ");
        put_u64(n);
        put(" in its batch");
        return;
    }
    put_u64((uint64_t)crash.at + 1);
    put(" of ");
    put_u64(n);
    put(crash.replayed ? " in its batch (found by running them again one by one): " : " in its batch: ");
    if (crash.stage != STAGE_RECORD) {
        put("{it cannot be read}");
        return;
    }
    char line[2048];
    put_n(line, wr_record_print(type, records + (size_t)crash.at * type->size, line, sizeof line));
}

static void put_split(void)
{
    const weir_op *def = crash.user.op->def;
    if (def->kind != WEIR_OP_SOURCE || crash.stage != STAGE_RECORD || crash.ctx.state == NULL) return;
    if (crash.user.loop == NULL || crash.user.loop == def->enumerate) return;
    if (crash.ctx.state[0] == NULL || def->state == NULL || def->state->fields == 0) return;
    char line[1024];
    put(", split ");
    put_n(line, wr_record_print(def->state, crash.ctx.state[0], line, sizeof line));
}

/* What it crashed of may be what it was told and did not heed: a resource that did not open. */
static void put_failure(void)
{
    if (!crash.failed) return;
    put("; it had failed before: ");
    put(crash.user.op->failure.text);
}

/* Threads that we start are known; others are the pipeline's, or those of a library that it brought. */
static bool is_users(void)
{
    if (crash.check != NULL) return false;
    return crash.user.op != NULL || crash.in != NULL || alt_stack == NULL;
}

/* For whoever reads the report file. */
static void mark_report(void)
{
    if (report_file < 0 || crash.user.op == NULL) return;
    put("@");
    put_u64(crash.user.op->task);
    put("\n");
    write_all(report_file, report.bytes, report.n);
    report.n = 0;
}

static void put_head(void)
{
    bool user = is_users();
    report.n = 0;
    mark_report();
    if (terminal) put("\r\033[K");
    put(user ? "weir: error[E0506 CRASH]: the pipeline's own code crashed: "
             : "weir: error[E0903 INTERNAL]: Weir crashed: ");
    put_cause();
    if (crash.user.op != NULL) {
        put_place();
        put_record();
        put_split();
        put_failure();
    } else if (crash.in != NULL) {
        put("; in ");
        put(crash.in);
    } else if (user) {
        put("; in a thread that Weir did not start");
    }
    put(user ? "; what sinks had written stays; correct the code at the first lines of the backtrace, and compile with "
               "-g if they name no file\n"
             : "; please report it with the backtrace\n");
}

/* ---- backtrace ---- */

/* From the faulting instruction outwards; frames of this handler are left out. */
static void take_frames(void)
{
    void *all[FRAMES_MAX];
    int   n = backtrace(all, FRAMES_MAX), from = 0;
    while (from < n && (uintptr_t)all[from] != crash.pc) from++;
    crash.frame[0] = (void *)crash.pc;
    crash.frames = 1;
    if (from < n) {
        for (int i = from + 1; i < n; i++) crash.frame[crash.frames++] = all[i];
        return;
    }
#if defined(__x86_64__)
    /* A call of a wild pointer: its caller's address lies on top of the stack. */
    if (crash.frames < FRAMES_MAX && crash.sp != 0) crash.frame[crash.frames++] = *(void **)crash.sp;
#endif
}

static void put_addresses(void)
{
    for (int i = 0; i < crash.frames; i++) {
        put("  ");
        put_hex((uintptr_t)crash.frame[i]);
        put("\n");
    }
    write_report();
}

/* What the other process has written into the report, once more to where people look. */
static void copy_report(off_t from)
{
    char    bytes[1024];
    ssize_t n;
    if (report_file < 0 || from < 0) return;
    while ((n = pread(report_file, bytes, sizeof bytes, from)) > 0) {
        write_all(STDERR_FILENO, bytes, (size_t)n);
        from += n;
    }
}

/* Another process finds functions and lines: this one's heap may be broken, and its locks held. */
static bool run_lines_program(void)
{
    static char text[FRAMES_MAX + 1][24];
    char       *argv[LINES_ARGS_MAX + FRAMES_MAX + 2];
    int         n = 0;
    if (WR_CRASH_OFF || lines_program == NULL) return false;
    while (n < LINES_ARGS_MAX && lines_program[n] != NULL) {
        argv[n] = (char *)(uintptr_t)lines_program[n];
        n++;
    }
    for (int i = 0; i <= crash.frames; i++) {
        char *end = text[i] + sizeof text[i] - 1;
        *end = 0;
        argv[n++] = hex(end, i == 0 ? (uintptr_t)getpid() : (uintptr_t)crash.frame[i - 1]);
    }
    argv[n] = NULL;
    off_t end = report_file >= 0 ? lseek(report_file, 0, SEEK_END) : -1;
    pid_t child = _Fork();
    if (child == 0) {
        dup2(report_file >= 0 ? report_file : STDERR_FILENO, STDOUT_FILENO);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return false;
    }
    copy_report(end);
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int exit_code(void)
{
    return is_users() ? WR_EXIT_JOB_FAILED : WR_EXIT_FAILED;
}

static int64_t now_s(void)
{
    const wr_env *env = wr_env_real();
    return env->mono_ns(env->self) / 1000000000;
}

/* For what comes next. */
static void give_time(unsigned seconds)
{
    atomic_store(&crash.until_s, now_s() + seconds);
    alarm(seconds + 1);
}

_Noreturn static void finish(void)
{
    give_time(REPORT_SECONDS_MAX);
    switch (crash.stage) {
    case STAGE_NONE:
    case STAGE_FRAMES:
    case STAGE_REPLAY:
        crash.stage = STAGE_RECORD;
        put_head();
        break;
    default: /* the record itself could not be printed */ crash.stage = STAGE_BRIEF; put_head();
    }
    write_report();
    crash.stage = STAGE_LINES;
    if (!run_lines_program()) put_addresses();
    _exit(exit_code());
}

/* ---- replay ---- */

/* It came to another end than the crash did. */
_Noreturn static void no_replay(void)
{
    crash.replayed = false;
    crash.at = UINT32_MAX;
    finish();
}

#ifdef PC_OF

static void *const *advance_array(void *const *array, uint32_t by)
{
    return array != NULL ? array + by : NULL;
}

/* The crashed thread again, on a stack of its own. User code runs here; a fault in it comes to the handler. */
static void replay(void)
{
    static const uint32_t ZERO[1] = {0};
    wr_op                *op = crash.user.op;
    weir_ctx             *ctx = &op->ctx;
    const weir_type      *type = crash.user.loop == op->def->on_right ? op->def->right : op->def->left;
    uint32_t              n = crash.ctx.pick != NULL ? crash.ctx.pick_n : crash.ctx.n;
    for (uint32_t i = 0; i < op->outs; i++) op->emit[i].targets = 0; /* what it emits goes nowhere */
    crash.replayed = true;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = crash.ctx.pick != NULL ? crash.ctx.pick[k] : k;
        crash.at = i;
        *ctx = crash.ctx;
        ctx->n = 1;
        ctx->at = 0;
        ctx->failed = 0;
        ctx->in = (const char *)crash.ctx.in + (size_t)i * type->size;
        ctx->time = crash.ctx.time != NULL ? crash.ctx.time + i : NULL;
        ctx->state = advance_array(crash.ctx.state, i);
        ctx->fresh = crash.ctx.fresh != NULL ? crash.ctx.fresh + i : NULL;
        ctx->other = (const void *const *)advance_array((void *const *)crash.ctx.other, i);
        if (crash.ctx.pick != NULL) {
            ctx->pick = ZERO;
            ctx->pick_n = 1;
        }
        if (ctx->near != NULL) ctx->near->misses = 0;
        for (uint32_t o = 0; o < op->outs; o++) {
            op->out[o].next = op->emit[o].base;
            op->out[o].end = op->emit[o].base + (size_t)op->emit[o].capacity * op->emit[o].stride;
            op->out[o].time = op->emit[o].time;
        }
        crash.user.loop(ctx);
    }
    no_replay(); /* it did not happen again: the state is no longer what it was */
}

/* Loops over records whose work can be repeated: what leaves them is emitted or kept in state, and both end with us. */
static bool replayable(void)
{
    const char *records;
    bool        key;
    if (crash.user.op == NULL || crash.user.loop == NULL || crash.check != NULL) return false;
    uint32_t kind = crash.user.op->def->kind;
    if (kind == WEIR_OP_SOURCE || kind == WEIR_OP_SINK || kind == WEIR_OP_TWO_PHASE_SINK) return false;
    return crash.at == UINT32_MAX && subject(&records, &key) != NULL && !key && crash.ctx.n > 0;
}

/* The handler returns into replay(), so that the alternate stack is free again. */
static bool return_into_replay(ucontext_t *uc)
{
    char *stack = mmap(NULL, REPLAY_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
    if (stack == MAP_FAILED) return false;
    mprotect(stack, WR_PAGE_BYTES, PROT_NONE);
    uintptr_t top = (uintptr_t)(stack + REPLAY_STACK_BYTES) & ~(uintptr_t)63;
#if defined(__x86_64__)
    uc->uc_mcontext.gregs[REG_RSP] = (greg_t)(top - 8); /* as behind a call */
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)replay;
    uc->uc_mcontext.gregs[REG_EFL] &= ~0x400l; /* direction flag */
#else
    uc->uc_mcontext.sp = top;
    uc->uc_mcontext.pc = (uintptr_t)replay;
#endif
    return true;
}

#else
#define PC_OF(UC) ((uintptr_t)0)
#define SP_OF(UC) ((uintptr_t)0)
static bool replayable(void)
{
    return false;
}
static bool return_into_replay(ucontext_t *uc)
{
    (void)uc;
    return false;
}
#endif

/* ---- handler ---- */

/* Neither ours nor the C library's. */
static bool is_foreign(const void *address)
{
    Dl_info ours, libc, its;
    if (dladdr((const void *)(uintptr_t)is_foreign, &ours) == 0 || dladdr((const void *)(uintptr_t)exit, &libc) == 0)
        return true;
    return dladdr(address, &its) != 0 && its.dli_fbase != ours.dli_fbase && its.dli_fbase != libc.dli_fbase;
}

static void note(int number, const siginfo_t *info, const ucontext_t *uc)
{
    crash.signal = number;
    crash.code = info->si_code;
    crash.address = (uintptr_t)info->si_addr;
    crash.pc = PC_OF(uc);
    crash.sp = SP_OF(uc);
    crash.user = wr_user_now;
    crash.in = running_in;
    crash.check = wr_check_text();
    crash.at = UINT32_MAX;
    if (crash.user.op == NULL) return;
    crash.ctx = crash.user.op->ctx;
    crash.failed = wr_op_failed(crash.user.op);
    if (crash.ctx.n == 1)
        crash.at = 0;
    else if (crash.user.op->def->flags & WEIR_OP_TRACKS)
        crash.at = crash.ctx.at;
}

/* False: another thread is reporting, and ends the process when it is done. */
static bool first_to_report(void)
{
    int me = (int)gettid(), none = 0;
    return atomic_compare_exchange_strong(&crash.thread, &none, me) || none == me;
}

/* A child that user code has forked: it ends as it would without us, and its parent, who waits for it, sees how. */
static bool of_a_child(int number)
{
    if (getpid() == our_pid) return false;
    signal(number, SIG_DFL);
    raise(number);
    return true;
}

static void handler(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (of_a_child(number)) return;
    while (!first_to_report()) pause();
    switch (crash.stage) {
    case STAGE_NONE:
        give_time(STAGE_SECONDS_MAX);
        note(number, info, uc);
        crash.stage = STAGE_FRAMES;
        take_frames();
        break;
    case STAGE_FRAMES: /* the stack is broken: what was found must do */
        if (crash.frames == 0) crash.frame[crash.frames++] = (void *)crash.pc;
        break;
    case STAGE_REPLAY: finish(); /* again: crash.at is the record */
    case STAGE_RECORD: finish(); /* without the record */
    case STAGE_BRIEF:
    case STAGE_LINES: _exit(exit_code()); /* cannot be helped */
    }
    if (replayable()) {
        crash.stage = STAGE_REPLAY;
        give_time(STAGE_SECONDS_MAX);
        if (return_into_replay(uc)) return;
    }
    finish();
}

/* The thread that got the signal is where it should have left long ago. */
static void on_hang(int number, siginfo_t *info, void *context)
{
    while (!first_to_report()) pause();
    if (crash.stage != STAGE_NONE) return; /* it is writing a report of its own */
    give_time(STAGE_SECONDS_MAX);
    note(number, info, context);
    crash.why = WHY_HANG;
    crash.stage = STAGE_FRAMES;
    take_frames();
    finish();
}

/* exit() takes a handler off its list before it runs it: another thread that calls it meanwhile finds the next one, and
 * where there is none it ends the process under the report. So there are several, and each that is used up by code that
 * ends the process adds one. */
enum { EXIT_HANDLERS = 16 };

static void on_process_exit(int code, void *only_inside);
static void on_quick_exit(void);

/* False: it may end the process. */
static bool reports_exit(void)
{
    if (getpid() != our_pid) return false; /* a child that user code has forked */
    return !only_inside_user || wr_user_now.op != NULL || running_in != NULL;
}

/* Runs on the thread that called exit(). Frames between that call and this function stand in front. */
static void report_exit(enum why why, int code)
{
    while (!first_to_report()) pause();
    if (crash.stage == STAGE_REPLAY) no_replay();
    if (crash.stage != STAGE_NONE) _exit(exit_code());
    give_time(STAGE_SECONDS_MAX);
    const siginfo_t none = {0};
    ucontext_t      here;
    memset(&here, 0, sizeof here);
    note(0, &none, &here);
    crash.why = why;
    crash.code = code;
    if (crash.user.op == NULL && crash.in == NULL) alt_stack = NULL; /* ours does not call it */
    crash.stage = STAGE_FRAMES;
    fflush(stdout); /* it may have said why; nobody else will do that */
    void *all[FRAMES_MAX];
    int   n = backtrace(all, FRAMES_MAX), from = 1;
    while (from < n - 1 && !is_foreign(all[from])) from++;
    for (int i = from; i < n; i++) crash.frame[crash.frames++] = all[i];
    crash.frame[0] = (char *)crash.frame[0] - 1; /* like all others it is a return address */
    finish();
}

static void on_process_exit(int code, void *unused)
{
    (void)unused;
    if (!reports_exit()) return;
    on_exit(on_process_exit, NULL);
    report_exit(WHY_EXIT, code);
}

static void on_quick_exit(void)
{
    if (!reports_exit()) return;
    at_quick_exit(on_quick_exit);
    report_exit(WHY_QUICK_EXIT, 0);
}

/* Runs when a thread of ours ends by pthread_exit(): nobody would ever hear of its operators again. */
static void on_thread_exit(void *unused)
{
    (void)unused;
    if (wr_user_now.op != NULL || running_in != NULL) report_exit(WHY_THREAD_EXIT, 0);
}

/* What the crashed code held when it crashed, a mutex of its own or the heap's lock, nobody gives back: a stage that
 * waits for it never ends. Only the thread that reports can leave it. */
static void leave_stage(void)
{
    if (crash.stage == STAGE_REPLAY) no_replay();
    if (crash.frames == 0) crash.frame[crash.frames++] = (void *)crash.pc;
    finish();
}

/* A stage hangs, or the report does. Any thread gets the alarm; what another one sends says that this one is meant. */
static void too_long(int number, siginfo_t *info, void *context)
{
    static const char TEXT[] =
        "weir: error[E0506 CRASH]: the pipeline's own code crashed, and the report does not come to an end\n";
    (void)context;
    int     reporter = atomic_load(&crash.thread);
    int64_t left_s = atomic_load(&crash.until_s) - now_s();
    bool    waits = crash.stage == STAGE_FRAMES || crash.stage == STAGE_REPLAY, sent = info->si_code == SI_TKILL;
    if (reporter == 0) return;
    if (!sent && left_s > 0) { /* of a stage that is over by now */
        alarm((unsigned)left_s);
        return;
    }
    if (waits && reporter == (int)gettid()) leave_stage();
    if (sent) return;
    if (waits && !crash.hurried) {
        crash.hurried = true;
        give_time(STAGE_SECONDS_MAX);
        if (tgkill(getpid(), reporter, number) == 0) return;
    }
    if (crash.stage <= STAGE_REPLAY) {
        ssize_t n = write(STDERR_FILENO, TEXT, sizeof TEXT - 1);
        (void)n;
    }
    _exit(WR_EXIT_JOB_FAILED);
}

/* ---- life ---- */

static void on_our_thread(bool begins)
{
    if (begins)
        wr_crash_thread_init();
    else
        wr_crash_thread_fini();
}

void wr_crash_install(const char *const *lines)
{
    if (WR_CRASH_OFF || installed) return;
    static const int NUMBER[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    installed = true;
    our_pid = getpid();
    lines_program = lines;
    terminal = isatty(STDERR_FILENO) == 1;
    has_thread_key = pthread_key_create(&thread_key, on_thread_exit) == 0;
    wr_crash_thread_init();
    wr_env_watch_threads(on_our_thread);
    void *none[1];
    (void)backtrace(none, 1); /* the first one loads a library, which takes memory: not when the heap's lock is held */
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (size_t i = 0; i < sizeof NUMBER / sizeof NUMBER[0]; i++) sigaction(NUMBER[i], &action, NULL);
    struct sigaction late;
    memset(&late, 0, sizeof late);
    late.sa_sigaction = too_long;
    late.sa_flags = SA_SIGINFO | SA_ONSTACK |
                    SA_NODEFER; /* it may go on to write the report, which has its time, too */
    sigaction(SIGALRM, &late, NULL);
}

void wr_crash_report_to(int file)
{
    report_file = file;
}

void wr_crash_at_exit(bool only_inside)
{
    our_pid = getpid();
    only_inside_user = only_inside;
    for (int i = 0; i < EXIT_HANDLERS && !WR_CRASH_OFF; i++) {
        on_exit(on_process_exit, NULL);
        at_quick_exit(on_quick_exit);
    }
}

int wr_crash_hang_signal(unsigned seconds)
{
    if (!installed) return 0;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_hang;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    hang_seconds = seconds;
    return sigaction(SIGRTMIN + 5, &action, NULL) == 0 ? SIGRTMIN + 5 : 0;
}

void wr_crash_thread_init(void)
{
    if (!installed || alt_stack != NULL) return;
    void *stack = mmap(NULL, ALT_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                       0);
    if (stack == MAP_FAILED) return; /* a crash is then reported unless the stack itself is the cause */
    stack_t use = {.ss_sp = stack, .ss_size = ALT_STACK_BYTES};
    if (sigaltstack(&use, NULL) != 0) {
        munmap(stack, ALT_STACK_BYTES);
        return;
    }
    alt_stack = stack;
    if (has_thread_key) pthread_setspecific(thread_key, stack);
    pthread_attr_t attr;
    if (pthread_getattr_np(pthread_self(), &attr) != 0) return;
    void  *low;
    size_t bytes;
    if (pthread_attr_getstack(&attr, &low, &bytes) == 0) stack_low = (uintptr_t)low;
    pthread_attr_destroy(&attr);
}

void wr_crash_thread_fini(void)
{
    if (alt_stack == NULL) return;
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    if (has_thread_key) pthread_setspecific(thread_key, NULL);
    munmap(alt_stack, ALT_STACK_BYTES);
    alt_stack = NULL;
}

void wr_crash_in(const char *what)
{
    running_in = what;
}

bool wr_crash_under_way(void)
{
    return atomic_load_explicit(&crash.thread, memory_order_relaxed) != 0;
}
