"""What the tests of the program share."""
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

WEIR = os.path.abspath(os.environ.get("WEIR", "build/release/weir"))
SANITIZED = os.environ.get("WEIR_SANITIZE", "") != ""

HEAD = """#include <weir/pipeline.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
WEIR_RECORD(line, (weir_str, text))
WEIR_RECORD(word, (weir_str, text), (int64_t, n))
WEIR_STATE(counter, (int64_t, seen))
"""
COUNT = """
WEIR_FLAT_MAP(split, line, in, word, out)
{
    weir_cursor c = weir_str_cursor(&in->text);
    for (weir_str token; weir_next_token(&c, ' ', &token);) word_emit(out, (word){ .text = token, .n = 1 });
}
WEIR_KEYED(count, word, in, counter, state, word, out)
{
    state->seen += in->n;
    word_emit(out, (word){ .text = in->text, .n = state->seen });
}
"""


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


class Case(unittest.TestCase):
    """A folder of its own for each class; pipelines are compiled there once."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="weir-cli-")
        cls.folder = cls.temporary.name

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def write(cls, name, content):
        with open(cls.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return cls.path(name)

    @classmethod
    def read(cls, name):
        with open(cls.path(name), "rb") as file:
            return file.read().decode(errors="replace")

    @classmethod
    def weir(cls, *args, stdin=b"", timeout=120, env=None):
        done = subprocess.run([WEIR, *map(str, args)], input=stdin, capture_output=True, timeout=timeout, cwd=cls.folder,
                              env={**os.environ, **(env or {})}, check=False)
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    @classmethod
    def build(cls, name, text, *flags):
        """NAME.so of the text; the headers' macros stand in front of it."""
        cls.write(name + ".c", text)
        got = cls.weir("build", "-q", name + ".c", "--", "-w", *flags)
        if got.code != 0:
            raise AssertionError(f"{name}.c does not compile: {got}")
        return name + ".so"

    def start(self, *args, stdin=subprocess.PIPE):
        return subprocess.Popen([WEIR, *map(str, args)], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                cwd=self.folder, bufsize=0)

    def wait_until(self, condition, what, seconds=60):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                self.fail("waited in vain: " + what)
            time.sleep(0.01)

    def expect(self, got, code, *patterns, out=None):
        """Exit code, and regular expressions that standard error must match."""
        self.assertEqual(got.code, code, got)
        for pattern in patterns:
            self.assertRegex(got.err, pattern, got)
        if out is not None:
            self.assertEqual(got.out, out, got)
        return got

    def error(self, got, code, number, name, *patterns):
        """One error line of this number and name, and nothing on standard output."""
        self.expect(got, code, rf"(?m)^weir: error\[E{number:04d} {name}\]: ", *patterns)
        self.assertEqual(len(re.findall(r"(?m)^weir: error", got.err)), 1, got)
        self.assertEqual(got.out, "", got)
        return got


def main():
    if not os.access(WEIR, os.X_OK):
        sys.exit(f"there is no program {WEIR}; set WEIR")
    unittest.main(verbosity=1)
