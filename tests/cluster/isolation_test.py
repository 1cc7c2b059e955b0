"""User code that crashes, leaves, hangs, eats memory, fills the disk or talks too much: the user is told what and where, and
another job on the same TaskManagers does not notice."""
import json
import os
import re

import kit
from kit import Cluster, wait_until

BAD = kit.HEAD + """
#include <signal.h>
#include <string.h>
static char how[32];
__attribute__((noinline)) static int deeper(int n)
{
    volatile char room[4096];
    room[0] = (char)n;
    return n == 0 ? 0 : deeper(n + 1) + room[0];
}
WEIR_RECORD(event, (uint64_t, n), (uint64_t, user))
WEIR_FILTER(bad, event, in)
{
    if (in->n != 3000) return true;
    if (strcmp(how, "segv") == 0) *(volatile int *)8 = 1;
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "exit") == 0) exit(3);
    if (strcmp(how, "_exit") == 0) _exit(0);
    if (strcmp(how, "killed") == 0) kill(getpid(), SIGKILL);
    if (strcmp(how, "hang") == 0) for (volatile int i = 0;; i++) {}
    if (strcmp(how, "sleep") == 0) for (;;) sleep(1000);
    while (strcmp(how, "memory") == 0) {
        char *p = malloc(1 << 20);
        if (p != NULL) memset(p, 1, 1 << 20);
    }
    if (strcmp(how, "stack") == 0) deeper(1);
    for (int i = 0; strcmp(how, "talk") == 0 && i < 600000; i++)
        fprintf(stderr, "%08d a line that is long enough to fill the segments of a log before long\\n", i);
    return true;
}
WEIR_PIPELINE(bad, p)
{
    snprintf(how, sizeof how, "%s", weir_arg(weir_args_of(p), "how", "none"));
    event_stream events = weir_source(event, p, "generator:?count=10000", .name = "events");
    weir_sink(weir_apply(bad, weir_rebalance(events)), "file:none", .name = "none", .guarantee = WEIR_AT_LEAST_ONCE);
}
"""
# Code of the pipeline that is no record's: in the worker only, or every client would hang as well.
HANGS = kit.HEAD + """
#include <string.h>
#include <weir/io.h>
static bool hangs(const char *how, const char *here)
{
    char  words[64] = "";
    FILE *file = fopen("/proc/self/cmdline", "r");
    fread(words, 1, sizeof words - 1, file);
    fclose(file);
    return strcmp(how, here) == 0 && strcmp(words + strlen(words) + 1, "worker") == 0;
}
__attribute__((noinline)) static void for_ever(void) { for (;;) sleep(1000); }
WEIR_RECORD(event, (uint64_t, n))
typedef struct book { uint64_t rows; } book;
static char how[32];
static bool book_open(book *b, weir_ctx *ctx) { (void)b, (void)ctx; if (hangs(how, "open")) for_ever(); return true; }
static bool book_flush(book *b, weir_ctx *ctx) { (void)b, (void)ctx; return true; }
static void book_close(book *b, weir_ctx *ctx) { (void)b, (void)ctx; }
WEIR_SINK(keeps, event, in, book, b, ctx, book_open, book_flush, book_close)
{
    (void)ctx;
    b->rows += in->n;
}
WEIR_PIPELINE(pending, p)
{
    snprintf(how, sizeof how, "%s", weir_arg(weir_args_of(p), "how", "none"));
    if (hangs(how, "build")) for_ever();
    event_stream events = weir_source(event, p, "generator:?count=1000", .name = "events");
    weir_write(keeps, events, .blocking = WEIR_ON_SLOT);
}
"""
# What each must say: the cause, and the operator with its place where the code itself is to blame.
SAYS = {
    "segv": (r"SIGSEGV, address 0x8: a null pointer; operator bad, subtask \d of 2 \(declared at bad\.c:\d+\), record \d+ of \d+ .*n=3000",
             r"in bad +at .*bad\.c:\d+"),
    "abort": (r"SIGABRT: abort\(\) was called; operator bad, .*n=3000", r"in bad +at .*bad\.c:\d+"),
    "exit": (r"it called exit\(3\); operator bad, subtask \d of 2", r"at .*bad\.c:\d+"),
    "_exit": (r"ended with exit code 0, and nobody had told it to.*_exit",),
    "killed": (r"signal 9",),
    "hang": (r"did not return for 2 s; operator bad, subtask \d of 2", r"in bad +at .*bad\.c:\d+"),
    "sleep": (r"did not return for 2 s; operator bad, subtask \d of 2", r"in bad +at .*bad\.c:\d+"),
    "memory": (r"more memory than it may: \d+ MiB of 200 MiB|operator bad",),
    "stack": (r"stack overflow|operator bad",),
}


class Isolation(kit.Case):
    def test_code_that_goes_wrong_harms_nobody_else(self):
        with Cluster(taskmanagers=2, slots=2, snapshot_interval="200ms", hang_timeout="2s", memory_max="200MiB") as c:
            bad = c.build("bad", BAD)
            good = c.submit(c.build("counts", kit.COUNTS), "-p", "2", "--set", "tallies=file:tallies", "--set",
                            "events=generator:?keys=100&splits=4&rate=2000")
            c.wait_state(good, "RUNNING")
            for how, says in SAYS.items():
                with self.subTest(how):
                    # Parallelism 2 puts it into workers on both TaskManagers.
                    got = self.expect(c.weir("submit", bad, "-n", how, "-p", "2", "--restart", "none", "--set", f"none=file:{how}", "--", f"how={how}"),
                                      5, "E0506 CRASH", *says)
                    self.assertNotIn("data connection", got.err)  # a consequence is not the cause
                    info = c.info(how)
                    self.assertEqual((info["state"], info["cause"]["code"]), ("FAILED", "E0506"))
            # The whole backtrace is in the log.
            self.assertRegex(c.weir("logs", "segv", code=0).out, r"#0 +bad +at .*bad\.c:\d+")
            self.assertEqual((c.info(good)["restarts"], c.info(good)["exceptions"]), (0, []))
            before = c.snapshots(good)
            wait_until(lambda: c.snapshots(good) > before + 1, "the good job goes on")
            self.expect(c.weir("stop", good, "--drain"), 0)
            self.assertEqual(c.info(good)["restarts"], 0)
            numbers = sorted(int(line.split(",")[1]) for line in kit.lines_of(c.path("tallies")))
            for split in range(4):  # each came to another end when it was stopped, and has lost nothing before
                mine = [n for n in numbers if n % 4 == split]
                self.assertEqual(mine, list(range(split, 4 * len(mine), 4)))
            wait_until(lambda: not c.workers(), "workers end after their jobs")

    def test_what_hangs_before_the_first_record(self):
        with Cluster(taskmanagers=2, slots=1, hang_timeout="3s") as c:
            pending = c.build("pending", HANGS)
            for how, says in (("build", r"did not return for 3 s; in the build function of pending"),
                              ("open", r"did not return for 3 s; operator keeps, subtask \d of 2, in its open function")):
                with self.subTest(how):
                    self.expect(c.weir("submit", pending, "-n", how, "-p", "2", "--restart", "none", "--", f"how={how}"), 5, "E0506 CRASH", says,
                                r"at .*pending\.c:\d+")
            c.weir("submit", pending, "-p", "2", code=0)

    def test_a_restart_strategy_applies(self):
        with Cluster(taskmanagers=1, slots=2) as c:
            bad = c.build("bad", BAD)
            self.expect(c.weir("submit", bad, "--restart", "fixed", "--restart-attempts", "3", "--restart-delay", "10ms", "--", "how=exit"), 5,
                        r"it called exit\(3\)")
            info = c.info("bad")
            self.assertEqual((info["restarts"], info["attempt"]), (3, 4))
            self.assertEqual(len(info["exceptions"]), 4, json.dumps(info["exceptions"], indent=1))

    def test_code_that_does_not_let_go_is_canceled(self):
        """By the worker's end; nobody waits for it longer than cancel-timeout."""
        with Cluster(taskmanagers=2, slots=1, hang_timeout="1h", cancel_timeout="300ms") as c:
            job = c.submit(c.build("bad", BAD), "-p", "2", "--set", "none=file:none", "--", "how=sleep")
            c.wait_state(job, "RUNNING")
            self.expect(c.weir("cancel", job), 0, "is canceled")
            self.assertEqual(c.state(job), "CANCELED")
            wait_until(lambda: not c.workers(), "its workers have ended")
            self.assertEqual([(tm["slots"], tm["free"]) for tm in c.json("taskmanagers")], [(1, 1)] * 2)

    def test_logs_turn(self):
        with Cluster(taskmanagers=1, slots=2) as c:
            bad = c.build("bad", BAD)
            job = c.submit(bad, "-p", "1", "--set", "none=file:none", "--", "how=talk")
            self.expect(c.weir("wait", job), 0)
            folder = c.path(f"tm0/logs/{job}")
            names = sorted(os.listdir(folder))
            sizes = [os.path.getsize(os.path.join(folder, name)) for name in names]
            self.assertLess(sum(sizes), 200 << 20)
            for name, size, after in zip(names, sizes, names[1:]):
                self.assertEqual(int(name[4:]) + size, int(after[4:]))  # nothing is missing between two segments
            text = c.weir("logs", job, code=0).out
            lines = [int(line[:8]) for line in text.splitlines() if re.match(r"\d{8} a line", line)]
            self.assertEqual(lines[-1], 599999)
            self.assertEqual(lines, list(range(lines[0], 600000)))

    def test_a_full_disk(self):
        """Of one job's results: /dev/full refuses every write."""
        with Cluster(taskmanagers=1, slots=4, snapshot_interval="200ms") as c:
            good = c.submit(c.build("counts", kit.COUNTS), "-p", "2", "--set", "tallies=file:tallies", "--set", "events=generator:?keys=100&rate=2000")
            c.wait_state(good, "RUNNING")
            bad = c.build("bad", BAD)
            self.expect(c.weir("submit", bad, "-p", "1", "--restart", "none", "--set", "none=file:/dev/full"), 5, "E0401 IO.*No space left on device")
            self.assertEqual(c.info(good)["restarts"], 0)
            before = c.snapshots(good)
            wait_until(lambda: c.snapshots(good) > before, "the good job goes on")
            c.weir("cancel", good, code=0)


if __name__ == "__main__":
    kit.main()
