"""Crashes of user code: the report names operator, signal, line and record."""
import ctypes
import os
import re
import signal
import subprocess
import unittest

from kit import HEAD, SANITIZED, WEIR, Case, main

HEADERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "include", "weir")

CRASH = HEAD + r"""
#include <pthread.h>
#include <sys/wait.h>
static volatile int zero;
static int *volatile nothing;
static bool is(const weir_str *s, const char *text) { weir_str t = weir_str_of(text, strlen(text)); return weir_str_equal(s, &t); }
static int deep(int n)
{
    volatile char big[1000];
    big[0] = (char)n;
    return n < 0 ? 0 : deep(n + 1) + big[0];
}
WEIR_MAP(copy, line, in, line, out) { out->text = in->text; return true; }
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void with_a_lock(bool crash) /* again it never comes back */
{
    pthread_mutex_lock(&lock);
    if (crash) *nothing = 1; /* here: locked */
    pthread_mutex_unlock(&lock);
}
static void overrun(void) /* the C library finds out, and ends the process with its heap's lock in hand */
{
    volatile char *volatile block[3]; /* else the stores before a free would be left out */
    for (int i = 0; i < 3; i++) block[i] = malloc(100000);
    for (volatile int i = 100000; i < 100016; i++) block[1][i] = 0;
    free((void *)block[1]); /* here: heap */
}
static void not_twice(void)
{
    static int times;
    if (times++ > 0) exit(0);
    *nothing = 1; /* here: not-twice */
}
static void in_a_child(void) /* which is nobody's business but that of who has forked it */
{
    int   status = 0;
    pid_t child = fork();
    if (child == 0) *nothing = 1;
    waitpid(child, &status, 0);
    fprintf(stderr, "child: signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}
WEIR_FLAT_MAP(boom, line, in, word, out)
{
    with_a_lock(is(&in->text, "locked"));
    if (is(&in->text, "heap")) overrun();
    if (is(&in->text, "not-twice")) not_twice();
    if (is(&in->text, "child")) in_a_child();
    if (is(&in->text, "null")) *nothing = 1; /* here: null */
    if (is(&in->text, "abort")) abort(); /* here: abort */
    if (is(&in->text, "zero")) zero = (int)in->text.len / zero; /* here: zero */
    if (is(&in->text, "stack")) zero = deep(1);
    if (is(&in->text, "call")) ((void (*)(void))nothing)(); /* here: call */
    if (is(&in->text, "trap")) __builtin_trap(); /* here: trap */
    word_emit(out, (word){ .text = in->text, .n = 1 });
}
WEIR_KEYED(tracked, word, in, counter, state, word, out, ctx)
{
    if (is(&in->text, "tracked")) *nothing = 1; /* here: tracked */
    word_emit(out, (word){ .text = in->text, .n = ++state->seen });
}
WEIR_KEYED(counted, word, in, counter, state, word, out)
{
    state->seen++;
    if (is(&in->text, "counted")) *nothing = 1; /* here: counted */
    word_emit(out, *in);
}
WEIR_PIPELINE(crash, p)
{
    if (weir_arg_i64(weir_args_of(p), "build", 0)) *nothing = 1; /* here: build */
    const char *leave = weir_arg(weir_args_of(p), "leave", "");
    if (leave[0] != 0) printf("told on the way\n");
    if (strcmp(leave, "exit") == 0) exit(0); /* here: leave */
    if (strcmp(leave, "at-once") == 0) _exit(0);
    line_stream lines = weir_source(line, p, "file:in.txt", .name = "lines");
    word_stream words = weir_apply(boom, weir_apply(copy, lines));
    word_stream once = weir_apply(tracked, weir_key_by(words, text));
    weir_sink(weir_apply(counted, weir_key_by(once, text)), "file:out.txt", .name = "out");
}
"""

# Crashes where -- where=NAME says, outside of plain operators.
EDGES = HEAD + r"""
#include <pthread.h>
WEIR_RECORD(part, (weir_str, name), (uint64_t, at))
WEIR_RECORD(number, (uint64_t, n))
WEIR_STATE(adder, (uint64_t, sum))
typedef struct reader { int unused; } reader;
typedef struct writer { int unused; } writer;
static int *volatile nothing;
static const char *where = "";
static void crash_in(const char *place) { if (strcmp(where, place) == 0) *nothing = 1; }
static void *own_thread(void *arg) { crash_in("thread"); return arg; }
static void list_parts(part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    crash_in("enumerate");
    part_emit(out, (part){ .name = weir_lit("the only part") });
}
static bool open_part(const part *p, reader *r, weir_ctx *ctx) { (void)p, (void)r, (void)ctx; crash_in("open"); return true; }
static void close_part(reader *r) { (void)r; }
WEIR_SOURCE(numbers, part, p, reader, r, number, out, ctx, list_parts, open_part, close_part)
{
    (void)r, (void)ctx;
    while (weir_room(&out->out)) {
        if (p->at == 1000) crash_in("poll");
        if (p->at == 2000) return WEIR_END;
        number_emit(out, (number){ .n = p->at++ });
    }
    return WEIR_MORE;
}
WEIR_PARTITION(spread, number, in, channels)
{
    if (in->n == 500) crash_in("partition");
    return (uint32_t)(in->n % channels);
}
WEIR_MAP(wild, number, in, line, out)
{
    out->text = weir_str_of("a text of more than twelve bytes", 32);
    return true;
}
WEIR_FILTER(look, line, in)
{
    static int count;
    if (++count == 600 && strcmp(where, "wild") == 0) ((line *)(uintptr_t)in)->text.u.far = (const char *)16;
    return weir_str_data(&in->text)[0] == 'a';
}
WEIR_KEYED(late, number, in, adder, state, number, out)
{
    if (++state->sum == 1 && in->n == 700) crash_in("once"); /* not again when it is run again: then it is 2 */
    number_emit(out, *in);
}
static bool open_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; return true; }
static bool flush_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; return true; }
static void close_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; }
WEIR_SINK(keep, number, in, writer, w, ctx, open_sink, flush_sink, close_sink)
{
    (void)w, (void)ctx;
    if (in->n == 800) crash_in("write");
    if (in->n == 801 && strcmp(where, "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, own_thread, NULL);
        pthread_join(thread, NULL);
    }
}
typedef struct door { int *lock; } door; /* what knock makes of one that does not open is its own mistake */
static bool open_door(door *d, const weir_args *args) { (void)d, (void)args; return strcmp(where, "locked") != 0; }
static void close_door(door *d) { (void)d; }
WEIR_RESOURCE(door, open_door, close_door)
WEIR_FILTER(knock, line, in, ctx)
{
    door *d = door_of(ctx);
    if (strcmp(where, "locked") == 0) *d->lock = 1;
    return in->text.len > 0;
}
WEIR_PIPELINE(edges, p)
{
    where = weir_arg(weir_args_of(p), "where", "");
    number_stream all = weir_read(numbers, p);
    weir_write(keep, weir_partition(spread, weir_apply(late, weir_key_by(all, n))));
    weir_sink(weir_apply(look, weir_apply(knock, weir_apply(wild, all))), "blackhole:", .name = "out");
}
"""

# Each function that a pipeline can give, and that is not in EDGES; event n comes at second n. UPGRADES: tell's state
# is that of a later version.
PLACES = HEAD + r"""
WEIR_RECORD(part, (weir_str, name), (uint64_t, at))
WEIR_RECORD(event, (uint64_t, n), (uint64_t, key), (weir_time, at))
WEIR_STATE(tally, (uint64_t, sum))
WEIR_STATE(seen_1, (uint64_t, sum), (weir_event_timer, alarm))
WEIR_STATE(seen_2, (uint64_t, sum), (uint64_t, more), (weir_event_timer, alarm))
#ifdef UPGRADES
typedef seen_2 seen;
#define weir_type_seen weir_type_seen_2
#define weir_timers_seen weir_timers_seen_2
#else
typedef seen_1 seen;
#define weir_type_seen weir_type_seen_1
#define weir_timers_seen weir_timers_seen_1
#endif
typedef struct reader { int unused; } reader;
typedef struct writer { uint64_t n; } writer;
typedef struct wire { int unused; } wire;
static int *volatile nothing;
static const char *where = "";
#define crash_in(PLACE) do { if (strcmp(where, PLACE) == 0) *nothing = __LINE__; } while (0) /* no two are one for a compiler */
__attribute__((constructor)) static void when_loaded(void)
{
    where = getenv("CRASH_IN") != NULL ? getenv("CRASH_IN") : "";
    crash_in("load");
}
static bool open_link(wire *l, const weir_args *args) { (void)l, (void)args; crash_in("link_open"); return true; }
static void close_link(wire *l) { (void)l; crash_in("link_close"); }
WEIR_RESOURCE(wire, open_link, close_link)
static void list_parts(part_out *out, weir_ctx *ctx) { (void)ctx; part_emit(out, (part){ .name = weir_lit("the only part") }); }
static bool open_part(const part *p, reader *r, weir_ctx *ctx) { (void)p, (void)r, (void)ctx; return true; }
static void close_part(reader *r) { (void)r; crash_in("source_close"); }
static void durable_part(const part *p, reader *r) { (void)p, (void)r; crash_in("durable"); }
WEIR_SOURCE(events, part, p, reader, r, event, out, ctx, list_parts, open_part, close_part, durable_part)
{
    (void)r, (void)ctx;
    while (weir_room(&out->out)) {
        if (p->at == 3000) return WEIR_END;
        p->at++;
        event_emit(out, (event){ .n = p->at, .key = p->at % 7, .at = { (int64_t)p->at * 1000000000 } });
    }
    return WEIR_MORE;
}
WEIR_WATERMARK(marks, event, in) { if (in->n == 500) crash_in("watermark"); return in->at; }
WEIR_FILTER(linked, event, in, ctx) { (void)wire_of(ctx); return in->n > 0; }
static void on_alarm(const event *key, seen *state, event_out *out, weir_ctx *ctx)
{
    (void)state, (void)out, (void)ctx;
    if (key->key == 3) crash_in("timer");
}
WEIR_KEYED(tell, event, in, seen, state, event, out, ctx, on_alarm)
{
    state->sum++;
    weir_event_timer_set(ctx, &state->alarm, in->at);
    event_emit(out, *in);
}
#ifdef UPGRADES
WEIR_UPGRADE(newer, seen_1, from, seen_2, to) { to->sum = from->sum; crash_in("upgrade"); }
#endif
static void merge_tally(tally *into, const tally *from) { into->sum += from->sum; crash_in("merge"); }
static void take_tally(tally *from, const tally *leaving) { from->sum -= leaving->sum; crash_in("retract"); }
static void tell_tally(const event *key, const tally *acc, event_out *out, weir_ctx *ctx)
{
    (void)ctx;
    if (key->key == 3) crash_in("result");
    event_emit(out, (event){ .n = acc->sum, .key = key->key });
}
WEIR_AGGREGATE(total, event, in, tally, acc, event, merge_tally, tell_tally, take_tally) { acc->sum += in->n; }
static bool open_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; crash_in("sink_open"); return true; }
static bool flush_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; crash_in("flush"); return true; }
static void close_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; crash_in("sink_close"); }
WEIR_SINK(keep, event, in, writer, w, ctx, open_sink, flush_sink, close_sink) { w->n += in->n; }
static bool open_book(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; crash_in("book_open"); return true; }
static void close_book(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; crash_in("book_close"); }
static bool prepare_book(writer *w, part_out *out, weir_ctx *ctx)
{
    (void)ctx;
    crash_in("prepare");
    part_emit(out, (part){ .name = weir_lit("page"), .at = w->n });
    return true;
}
static weir_commit commit_book(writer *w, const part *c, uint32_t n, uint64_t snapshot, weir_ctx *ctx)
{
    (void)w, (void)c, (void)n, (void)snapshot, (void)ctx;
    crash_in("commit");
    return WEIR_COMMITTED;
}
static bool recover_book(writer *w, const weir_sink_id *id, const part *known, uint32_t n, weir_ctx *ctx)
{
    (void)w, (void)id, (void)known, (void)n, (void)ctx;
    crash_in("recover");
    return true;
}
WEIR_TWO_PHASE_SINK(book, event, in, writer, w, part, ctx, open_book, close_book, prepare_book, commit_book, recover_book)
{
    w->n++;
    if (in->n == 700) crash_in("book_write");
}
WEIR_PIPELINE(places, p)
{
    event_stream timed = weir_event_time_by(marks, weir_read(events, p), at);
    event_stream all = weir_apply(linked, timed);
#ifdef UPGRADES
    event_stream told = weir_apply(tell, weir_key_by(all, key), .upgrade = { &newer });
#else
    event_stream told = weir_apply(tell, weir_key_by(all, key));
#endif
    weir_write(book, told);
    event_stream totals = weir_apply(total, weir_window(weir_key_by(all, key), weir_sliding(4 * WEIR_MINUTE, WEIR_MINUTE)));
    weir_write(keep, totals);
}
"""

# ends=exit, quick, thread: all threads end the process at once; check: Weir is called with what cannot be.
ENDS = HEAD + r"""
#include <pthread.h>
WEIR_RECORD(number, (uint64_t, n))
typedef struct writer { int unused; } writer;
static bool ends(weir_ctx *ctx, const char *how) { return strcmp(weir_arg(weir_ctx_args(ctx), "ends", ""), how) == 0; }
WEIR_MAP(pass, number, in, number, out, ctx)
{
    if (in->n == 500 && ends(ctx, "check")) number_reply_error((number_reply *)8, "nobody asked");
    *out = *in;
    return true;
}
static bool open_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; return true; }
static bool flush_sink(writer *w, weir_ctx *ctx)
{
    (void)w;
    if (ends(ctx, "exit")) exit(0);
    if (ends(ctx, "quick")) quick_exit(0);
    if (ends(ctx, "thread")) pthread_exit(NULL);
    return true;
}
static void close_sink(writer *w, weir_ctx *ctx) { (void)w, (void)ctx; }
WEIR_SINK(keep, number, in, writer, w, ctx, open_sink, flush_sink, close_sink) { (void)in, (void)w, (void)ctx; }
WEIR_PIPELINE(ends, p)
{
    weir_write(keep, weir_apply(pass, weir_source(number, p, "generator:?count=2000", .name = "in")));
}
"""

# Has state, and no end.
GOES_ON = HEAD + r"""
WEIR_RECORD(number, (uint64_t, n))
WEIR_KEYED(add, number, in, counter, state, number, out) { state->seen += (int64_t)in->n; number_emit(out, *in); }
WEIR_PIPELINE(goes_on, p)
{
    number_stream all = weir_source(number, p, "generator:?rate=1000&keys=100", .name = "in");
    weir_sink(weir_apply(add, weir_key_by(all, n)), "blackhole:", .name = "out");
}
"""

# Members of the headers' structs that are functions of a pipeline: where each crashes above, or why nothing does.
WHERE = {
    "weir_op.on_left": ["poll", "write", "book_write"],
    "weir_op.on_right": "no kind of operator that has one runs yet",
    "weir_op.on_near": "test_record_of_a_keyed_loop_by_replay",
    "weir_op.on_timer": ["timer"],
    "weir_op.on_merge": ["merge"],
    "weir_op.on_retract": ["retract"],
    "weir_op.on_result": ["result"],
    "weir_op.open": ["open", "sink_open", "book_open"],
    "weir_op.close": ["source_close", "sink_close", "book_close"],
    "weir_op.enumerate": ["enumerate"],
    "weir_op.flush": ["flush"],
    "weir_op.prepare": ["prepare"],
    "weir_op.commit": ["commit"],
    "weir_op.recover": ["recover"],
    "weir_op.durable": ["durable"],
    "weir_upgrade.loop": ["upgrade"],
    "weir_watermark_def.loop": ["watermark"],
    "weir_resource.open": ["link_open"],
    "weir_resource.close": ["link_close"],
    "weir_trigger_def.on_record": "triggers do not run yet",
    "weir_trigger_def.on_timer": "triggers do not run yet",
    "weir_trigger_def.on_merge": "triggers do not run yet",
    "weir_out.fused": "it is compiled into its source's loop",
    "weir_module.build": "test_build_function",
}


def functions_of_headers():
    """STRUCT.MEMBER of each member that is a function."""
    found = set()
    for name in os.listdir(HEADERS):
        with open(os.path.join(HEADERS, name), encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        for struct, body in re.findall(r"(?m)^(?:typedef )?struct (\w+) \{\n(.*?)^\}", text, flags=re.S):
            for line in body.split(";"):
                if re.search(r"\bweir_loop\b", line):
                    found.update(f"{struct}.{member}" for member in re.findall(r"\*(\w+)", line))
                found.update(f"{struct}.{member}" for member in re.findall(r"\(\*(\w+)\)", line))
    return found


@unittest.skipIf(SANITIZED, "a sanitizer reports crashes itself")
class Crashes(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("crash", CRASH)
        cls.build("edges", EDGES)
        cls.build("ends", ENDS)
        cls.build("goes_on", GOES_ON)
        cls.build("places", PLACES)
        cls.build("upgraded", PLACES, "-DUPGRADES")

    def line_of(self, mark):
        return CRASH[: CRASH.index(f"/* here: {mark} */")].count("\n") + 1

    def crashes(self, word, *flags):
        """800 lines, the 501st of which is the word."""
        lines = [str(i) for i in range(800)]
        lines[500] = word
        self.write("in.txt", "\n".join(lines) + "\n")
        got = self.weir("run", "crash.so", "-p", "1", *flags)
        self.expect(got, 5, r"weir: error\[E0506 CRASH\]: the pipeline's own code crashed: ")
        return got

    def names(self, word, operator, signal, mark):
        got = self.crashes(word)
        self.expect(got, 5, f"crashed: {signal}", f"operator {operator}, subtask 0 of 1 \\(declared at crash.c:\\d+\\)",
                    f'record \\d+ of \\d+ in its batch.*: {{text="{word}"',
                    rf"(?m)^  #\d+ +{operator} +at .*crash\.c:{self.line_of(mark)}$")

    def test_null_pointer(self):
        self.names("null", "boom", "SIGSEGV, address 0x0: a null pointer", "null")

    def test_abort(self):
        self.names("abort", "boom", r"SIGABRT: abort\(\) was called", "abort")

    def test_division_by_zero(self):
        self.names("zero", "boom", "SIGFPE: integer division by zero", "zero")

    def test_illegal_instruction(self):
        self.names("trap", "boom", "SIGILL: illegal instruction", "trap")

    def test_call_of_a_null_pointer(self):
        got = self.crashes("call")
        self.expect(got, 5, "SIGSEGV, address 0x0", r"#0 +0x0: no code there", rf"#1 +boom +at .*crash\.c:{self.line_of('call')}")

    def test_stack_overflow(self):
        got = self.crashes("stack")
        self.expect(got, 5, "SIGSEGV, address 0x[0-9a-f]+: stack overflow", r'record \d+ of .*{text="stack"}', r"#0 +deep +at .*crash\.c",
                    r"and \d+ more of these")

    def cannot_be_replayed(self, word, why, function):
        """The report comes all the same, without the record."""
        got = self.crashes(word)
        self.expect(got, 5, f"crashed: {why}", r"operator boom, .*, record unknown, one of \d+ in its batch;",
                    rf"(?m)^  #\d+ +{function} +at .*crash\.c:{self.line_of(word)}$")
        self.assertEqual(len(re.findall("E0506", got.err)), 1, got)

    def test_crash_with_a_lock_in_hand(self):
        self.cannot_be_replayed("locked", "SIGSEGV, address 0x0: a null pointer", "with_a_lock")

    def test_crash_with_the_heaps_lock_in_hand(self):
        self.cannot_be_replayed("heap", r"SIGABRT: abort\(\) was called", "overrun")

    def test_replay_that_ends_the_process(self):
        self.cannot_be_replayed("not-twice", "SIGSEGV, address 0x0: a null pointer", "not_twice")

    def test_crash_of_a_child(self):
        self.write("in.txt", "child\n")
        got = self.weir("run", "-q", "crash.so", "-p", "1", "--set", "out=blackhole:")
        self.assertEqual((got.code, got.err), (0, "child: signal 11\n"))

    def test_record_that_the_loop_tracks(self):
        self.names("tracked", "tracked", "SIGSEGV", "tracked")

    def test_record_of_a_keyed_loop_by_replay(self):
        self.names("counted", "counted", "SIGSEGV", "counted")

    def test_no_replay_reaches_the_sink(self):
        self.crashes("counted")
        try:
            written = self.read("out.txt").split()
        except FileNotFoundError:
            written = []
        self.assertEqual(len(written), len(set(written)), "a record was written twice")

    def edge(self, where, *patterns):
        got = self.weir("run", "edges.so", "-p", "2", "--", "where=" + where)
        return self.expect(got, 5, "E0506 CRASH.*SIGSEGV, address 0x0: a null pointer", *patterns, rf"#0 +crash_in +at .*edges\.c",)

    def test_without_a_crash(self):
        self.expect(self.weir("run", "edges.so", "-p", "2"), 0)

    def test_source(self):
        self.edge("enumerate", "operator numbers, .*, in its enumerate function", "#1 +list_parts")
        self.edge("open", "operator numbers, .*, in its open function", "#1 +open_part")
        self.edge("poll", r'operator numbers, .*, polling \(declared at edges.c:\d+\), split {name="the only part", at=1000}', "#1 +numbers")

    def test_sink(self):
        self.edge("write", r"operator keep, .*, writing \(.*, record \d+ of \d+ in its batch: {n=800}", "#1 +keep")

    def test_partitioner(self):
        self.edge("partition", "operator late, .*, in the partitioner behind it", "#1 +spread")

    def test_thread_of_the_pipeline(self):
        self.edge("thread", "in a thread that Weir did not start", "#1 +own_thread")

    def test_thread_of_ours(self):
        """Where io_uring is forbidden, as in containers, a thread writes the files of snapshots."""
        forbidding = os.path.join(os.path.dirname(WEIR), "tests", "no_uring")
        command = [forbidding, WEIR, "run", "-q", "goes_on.so", "-p", "1", "--snapshots", self.path("of-ours"), "--snapshot-interval", "20ms"]
        with subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE) as child:
            found = []

            def looked():
                for thread in os.listdir(f"/proc/{child.pid}/task") if child.poll() is None else []:
                    try:
                        with open(f"/proc/{child.pid}/task/{thread}/comm", encoding="utf-8") as name:
                            found.extend([int(thread)] if name.read() == "weir-io\n" else [])
                    except OSError:
                        pass  # it has ended meanwhile
                return found or child.poll() is not None
            try:
                self.wait_until(looked, "the thread")
                if child.poll() is None:
                    ctypes.CDLL(None).tgkill(child.pid, found[0], signal.SIGSEGV)
                said = child.communicate(timeout=60)[1].decode()
            finally:
                child.kill()
        if child.returncode == 77:
            self.skipTest("no seccomp here")
        self.assertRegex(said, r"^weir: error\[E0903 INTERNAL\]: Weir crashed: SIGSEGV, sent by a process; please report it")
        self.assertEqual(child.returncode, 1)

    def test_crash_that_does_not_happen_again(self):
        self.edge("once", r"operator late, .*, record unknown, one of \d+ in its batch;", "#1 +late")

    def test_record_that_cannot_be_read(self):
        got = self.weir("run", "edges.so", "-p", "1", "--", "where=wild")
        self.expect(got, 5, r"SIGSEGV, address 0x10: a null pointer; operator look, .*, record \d+ of \d+ .*: {it cannot be read}; ",
                    r"#0 +.*look", )

    def test_what_had_failed_before_is_told(self):
        got = self.weir("run", "edges.so", "-p", "2", "--", "where=locked")
        self.expect(got, 5, r"SIGSEGV, address 0x0: a null pointer; operator knock, .*, record 1 of \d+ in its batch: {.*}; "
                            r"it had failed before: resource door did not open; operator knock subtask \d; look at its open "
                            r"function and arguments; what sinks", r"#0 +knock +at .*edges\.c")

    def place(self, where, operator, does, function, *flags, pipeline="places.so"):
        """The function crashes, as whose it is and what it does."""
        got = self.weir("run", pipeline, "-p", "1", *flags, env={"CRASH_IN": where})
        named = rf"operator {operator}, subtask 0 of 1, {does}"
        self.expect(got, 5, "E0506 CRASH.*SIGSEGV, address 0x0: a null pointer; " + named,
                    rf"(?m)^  #0 +{function} +at .*(places|upgraded)\.c:\d+$")
        return got

    def declared(self, macro):
        return rf" \(declared at (places|upgraded)\.c:{PLACES[: PLACES.index(macro)].count(chr(10)) + 1}\)"

    def test_every_function_of_the_headers_has_a_case(self):
        self.assertEqual(functions_of_headers(), set(WHERE))
        with open(__file__, encoding="utf-8") as file:
            text = file.read()
        for member, places in WHERE.items():
            if isinstance(places, str) and places.startswith("test_"):
                self.assertTrue(hasattr(self, places), member)
            for place in places if isinstance(places, list) else []:
                with self.subTest(member=member, place=place):
                    self.assertRegex(text, rf'crash_in\("{place}"\)')
                    self.assertRegex(text, rf'self\.(place|edge)\("{place}"')

    def test_places_without_a_crash(self):
        self.expect(self.weir("run", "places.so", "-p", "1", "--snapshots", self.path("none")), 0)

    def test_source_at_its_end(self):
        at = self.declared("WEIR_SOURCE(")
        split = r', split {name="the only part", at=3000};'
        self.place("source_close", "events", "in its close function" + at + split, "close_part")
        self.place("durable", "events", "in its durable function" + at + split, "durable_part", "--snapshots", self.path("durable"))

    def test_watermark_function(self):
        self.place("watermark", r"\S+", r"in its watermark function marks, record \d+ of \d+ in its batch.*: {n=500, .*}; what", "marks")

    def test_keyed(self):
        self.place("timer", "tell", "in its timer function" + self.declared("WEIR_KEYED(") + ", key ", "on_alarm")

    def test_upgrade(self):
        saved = self.path("saved")
        self.expect(self.weir("run", "places.so", "-p", "1", "--snapshots", saved), 0)
        self.place("upgrade", "tell", "in its upgrade from state seen_1" + self.declared("WEIR_KEYED("), "newer", "--restore", saved,
                   pipeline="upgraded.so")

    def test_windows(self):
        at = self.declared("WEIR_AGGREGATE(")
        self.place("merge", "total", "in its merge function" + at, "merge_tally")
        self.place("retract", "total", "in its retract function" + at, "take_tally")
        self.place("result", "total", "making a result" + at + ", key ", "tell_tally")

    def test_resource(self):
        at = self.declared("WEIR_FILTER(")
        got = self.place("link_open", "linked", "in the open function of resource wire" + at + "; what", "open_link")
        self.assertRegex(got.err, r"#\d+ +linked +at ", "who wanted it")
        self.place("link_close", "linked", "in the close function of resource wire" + at + "; what", "close_link")

    def test_own_sink(self):
        at = self.declared("WEIR_SINK(")
        self.place("sink_open", "keep", "in its open function" + at, "open_sink")
        self.place("flush", "keep", "in its flush function" + at, "flush_sink")
        self.place("sink_close", "keep", "in its close function" + at, "close_sink")

    def test_two_phase_sink(self):
        at = self.declared("WEIR_TWO_PHASE_SINK(")
        self.place("book_open", "book", "in its open function" + at, "open_book")
        self.place("recover", "book", "in its recover function" + at, "recover_book")
        self.place("book_write", "book", "writing" + at + r", record \d+ of \d+ in its batch: {n=700,", "book")
        for snapshots in ([], ["--snapshots", self.path("two-phase")]):
            self.place("prepare", "book", "in its prepare function" + at, "prepare_book", *snapshots)
            self.place("commit", "book", "in its commit function" + at, "commit_book", *snapshots)
        self.place("book_close", "book", "in its close function" + at, "close_book")

    def test_loading(self):
        for verb in ("run", "check", "plan"):
            got = self.weir(verb, "places.so", env={"CRASH_IN": "load"})
            self.expect(got, 5, "E0506 CRASH.*SIGSEGV.*in what runs when the pipeline's file is loaded;", r"#0 +when_loaded", out="")

    def test_build_function(self):
        for verb in ("run", "check", "plan"):
            got = self.weir(verb, "crash.so", "--", "build=1")
            self.expect(got, 5, r"E0506 CRASH.*SIGSEGV.*in the build function of crash;", rf"crash\.c:{self.line_of('build')}", out="")
            self.assertEqual(len(re.findall("E0506", got.err)), 1)

    def test_build_function_that_ends_the_process(self):
        for verb in ("run", "check", "plan", "graph-here"):
            got = self.weir(verb, "crash.so", "--", "leave=exit")
            self.expect(got, 5, r"E0506 CRASH.*it called exit\(0\); in the build function of crash;", rf"crash\.c:{self.line_of('leave')}")
            self.assertIn("told on the way", got.out + got.err)
        self.expect(self.weir("check", "crash.so", "--", "leave=at-once"), 5, "E0506 CRASH.*build function ended the process", out="")

    def test_threads_that_end_the_process_together(self):
        for how, call in (("exit", r"exit\(0\)"), ("quick", r"quick_exit\(\)")):
            for _ in range(20):
                got = self.weir("run", "-q", "ends.so", "-p", "2", "--", "ends=" + how)
                self.expect(got, 5, rf"E0506 CRASH.*it called {call}; operator keep, subtask \d of 2, in its flush function .*\n"
                                    r"  #0 +flush_sink +at .*ends\.c:\d+\n")

    def test_thread_that_ends_in_user_code(self):
        got = self.weir("run", "-q", "ends.so", "-p", "2", "--", "ends=thread", timeout=20)
        self.expect(got, 5, r"E0506 CRASH.*it called pthread_exit\(\); operator keep, subtask \d of 2, in its flush function ")

    def test_check_that_fails_below_a_call_of_the_pipeline(self):
        got = self.weir("run", "-q", "ends.so", "-p", "1", "--", "ends=check")
        self.expect(got, 1, r"E0903 INTERNAL\]: Weir crashed: check failed: \S.*; at \S+\.c:\d+; operator pass, subtask 0 of 1")
        self.assertNotIn("E0506", got.err)


if __name__ == "__main__":
    main()
