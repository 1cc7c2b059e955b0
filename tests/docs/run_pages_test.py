#!/usr/bin/env python3
"""Tests of run_pages.py itself: what must be refused is refused.

usage: run_pages_test.py ROOT WEIR
"""
import os
import sys
import tempfile
import unittest

import run_examples
import run_pages

ROOT, WEIR = '.', 'weir'
PIPELINE = """#include <weir/pipeline.h>
WEIR_RECORD(line, (weir_str, text))
WEIR_PIPELINE(echo, p) { weir_sink(weir_source(line, p, "stdin:"), "print:", .name = "result"); }
"""


def fenced(language, text, name=None):
    return (f'<!-- file: {name} -->\n' if name else '') + f'```{language}\n{text}```\n\n'


class RunPages(unittest.TestCase):
    def result(self, text):
        with tempfile.TemporaryDirectory() as root:
            with open(os.path.join(root, 'README.md'), 'w', encoding='utf-8') as file:
                file.write(text)
            return run_pages.Page(root, os.path.realpath(WEIR), 'README.md').run()

    def test_wildcards(self):
        self.assertTrue(run_pages.equal(['a ... b', '...', 'z'], ['a  1.5   b', 'x', 'y', 'z']))
        self.assertTrue(run_pages.equal(['...'], []))
        self.assertFalse(run_pages.equal(['a ... b'], ['a  b']))
        self.assertFalse(run_pages.equal(['a'], ['a', 'b']))
        self.assertFalse(run_pages.equal(['a  b'], ['a b']))

    def test_a_page_that_is_right(self):
        page = fenced('c', PIPELINE, 'echo.c') + fenced(
            'console', '$ weir build -q echo.c\n$ echo hello | weir run -q echo.so\nhello\n$ false\n$ echo $?\n1\n')
        self.assertIsNone(self.result(page))

    def test_other_output(self):
        self.assertIn('--- the program\nhello', self.result(fenced('console', '$ echo hello\ngood bye\n')))

    def test_exit_code_that_the_page_hides(self):
        self.assertIn('ends with 1', self.result(fenced('console', '$ false\n')))

    def test_pipeline_that_does_not_compile(self):
        self.assertIn('weir build fails', self.result(fenced('c', PIPELINE.replace('weir_sink(', 'weir_sing('))))

    def test_pipeline_that_no_command_runs(self):
        self.assertIsNone(self.result(fenced('c', PIPELINE)))
        crash = PIPELINE.replace('WEIR_PIPELINE', 'WEIR_FILTER(bad, line, in, c) { weir_fail(c, "no"); return in->text.len; }\n'
                                 'WEIR_PIPELINE').replace('weir_source(line, p, "stdin:")',
                                                          'weir_apply(bad, weir_source(line, p, "stdin:"))')
        self.assertIn('ends with 5', self.result(fenced('c', crash)))

    def test_file_that_differs_from_the_sources(self):
        with tempfile.TemporaryDirectory() as root:
            for name, text in ('x.c', 'a\n'), ('README.md', fenced('c', 'b\n', 'x.c')):
                with open(os.path.join(root, name), 'w', encoding='utf-8') as file:
                    file.write(text)
            self.assertIn('differs', run_pages.Page(root, os.path.realpath(WEIR), 'README.md').run())

    def test_a_page_has_one_shell(self):
        block = fenced('console', '$ export WORD=hello\n$ sleep 60 > out &\n') + fenced('console', '$ echo $WORD\n{}\n$ kill %1\n')
        self.assertIsNone(self.result(block.format('hello')))
        self.assertIn('--- the program\nhello', self.result(block.format('good bye')))

    def test_a_shell_that_ends(self):
        self.assertIn('did not run to their end', self.result(fenced('console', '$ exit 3\n$ echo here\nhere\n')))

    def test_a_comment_at_the_top_may_be_left_out(self):
        for text, says in ('b\n', None), ('c\n', 'differs'):
            with tempfile.TemporaryDirectory() as root:
                for name, inside in ('x.txt', '/* of x */\nb\n'), ('README.md', fenced('text', text, 'x.txt')):
                    with open(os.path.join(root, name), 'w', encoding='utf-8') as file:
                        file.write(inside)
                got = run_pages.Page(root, os.path.realpath(WEIR), 'README.md').run()
                self.assertEqual(got is None, says is None, got)

    def example(self, text):
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(os.path.join(root, 'examples'))
            with open(os.path.join(root, 'examples/x.c'), 'w', encoding='utf-8') as file:
                file.write(text)
            return run_examples.run(root, os.path.realpath(WEIR), 'examples/x.c')

    def test_examples(self):
        run = '/* An echo.\n *\n *     $ weir build -q x.c\n *     $ echo hello | weir run -q x.so\n *     {}\n */\n'
        self.assertIsNone(self.example(run.format('hello') + PIPELINE))
        self.assertIn('--- the program\nhello', self.example(run.format('good bye') + PIPELINE))
        self.assertIn('does not say how to run it', self.example(PIPELINE))
        self.assertIn('must not type', self.example('/*\n *     $ git status\n */\n'))


if __name__ == '__main__':
    ROOT, WEIR = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main(argv=sys.argv)
