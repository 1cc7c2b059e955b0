"""Files that two write, or that one reads and another would clear; values of URIs that are none."""
import os
import signal

from kit import HEAD, Case, main

COPY = HEAD + """
WEIR_PIPELINE(copy, p)
{
    line_stream lines = weir_source(line, p, "file:in.txt", .name = "lines");
    weir_sink(lines, "file:out.txt", .name = "out");
}
"""
TWO = HEAD + """
WEIR_PIPELINE(two, p)
{
    line_stream lines = weir_source(line, p, "file:in.txt", .name = "lines");
    weir_sink(lines, "file:one.txt", .name = "one");
    weir_sink(lines, "file:other.txt", .name = "other");
}
"""


class Files(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.build("copy", COPY)
        cls.build("two", TWO)

    def setUp(self):
        for name in os.listdir(self.folder):
            if name.endswith(".txt"):
                os.unlink(self.path(name))
        self.write("in.txt", "a\n")

    def test_two_sinks_in_one_file(self):
        for path in ("one.txt", "./one.txt", self.path("one.txt")):
            for verb in ("check", "plan", "run"):
                self.error(self.weir(verb, "two.so", "-p1", "--set", f"other=file:{path}"), 2, 102, "CONFIG",
                           r"sink 'other' \(file:\S*one\.txt\): it writes where sink 'one' \(file:one\.txt\) does")
        self.assertFalse(os.path.exists(self.path("one.txt")))
        self.expect(self.weir("run", "two.so", "-p1", "--set", "one=file:/dev/null", "--set", "other=file:/dev/null"), 0)

    def running(self, *flags):
        """A run that has opened its sink, and waits for input."""
        run = self.start("run", "-q", "copy.so", "-p1", "--set", "lines=stdin:", *flags)
        self.addCleanup(lambda: (run.kill(), run.communicate()))
        self.wait_until(lambda: self.locked("out.txt"), "the sink opens")
        return run

    def locked(self, name):
        if not os.path.exists(self.path(name)):
            return False
        inode = str(os.stat(self.path(name)).st_ino)
        with open("/proc/locks", encoding="utf-8") as locks:
            return any(line.split()[5].endswith(":" + inode) for line in locks if len(line.split()) > 5)

    def test_two_runs_at_once(self):
        first = self.running()
        for flags in ((), ("--set", "out=file:out.txt?overwrite=true")):
            self.error(self.weir("run", "-q", "copy.so", "-p1", *flags), 1, 604, "BUSY", r"out\.txt is being written by somebody else.*sink out")
        first.communicate(b"of the first\n")
        self.assertEqual((first.returncode, self.read("out.txt")), (0, "of the first\n"))

    def test_a_lock_dies_with_its_process(self):
        first = self.running()
        first.send_signal(signal.SIGKILL)
        first.communicate()
        self.expect(self.weir("run", "-q", "copy.so", "-p1"), 0)
        self.assertEqual(self.read("out.txt"), "a\n")

    def test_values_that_are_none(self):
        for uri, text in (("out=print:?to=nowhere", "option to=nowhere is neither stdout nor stderr"),
                          ("lines=generator:?start=yesterday", "option start=yesterday is not a time"),
                          ("lines=generator:?splits=99999999", "option splits=99999999 is above 32768"),
                          ("lines=generator:?keys=0", "option keys=0 leaves no value"),
                          ("lines=file:in.txt?split-bytes=1", "option split-bytes=1 makes parts .* 1024 or more")):
            for verb in ("check", "plan", "run"):
                self.error(self.weir(verb, "copy.so", "-p1", "--set", uri), 2, 303, "OPTION", text)

    def test_input_is_not_cleared(self):
        text = "0123456789abcde\n" * (1 << 16)
        self.write("in.txt", text)
        os.link(self.path("in.txt"), self.path("name.txt"))
        for path in ("in.txt", "./in.txt", "name.txt"):
            for verb in ("run", "check"):
                self.error(self.weir(verb, "copy.so", "-p1", "--set", f"out=file:{path}?overwrite=true"), 2, 102, "CONFIG",
                           r"sink 'out' .*it would clear in\.txt, which source 'lines' \(file:in\.txt\) reads")
        self.assertEqual(self.read("in.txt"), text)


if __name__ == "__main__":
    main()
