#!/usr/bin/env python3
"""Tests of tools/check: each rule finds what it must find, and nothing in a clean tree."""
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader('check', os.path.join(HERE, 'check'))
check = importlib.util.module_from_spec(importlib.util.spec_from_loader('check', loader))
loader.exec_module(check)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def tree(self, **files):
        """A tree of files; in names __ stands for / and the last _ for the dot."""
        for name, text in files.items():
            head, _, ending = name.replace('__', '/').rpartition('_')
            self.write(f'{head}.{ending}', text)
        return check.Tree(self.folder.name)

    def write(self, path, text):
        full = os.path.join(self.folder.name, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as file:
            file.write(text)

    def found(self, rule, *args):
        return list(rule(check.Tree(self.folder.name), *args))


class Layers(Case):
    def test_down_and_own_folder(self):
        includes = ('"base/ring.h"', '"graph/b.h"', '<weir/op.h>', '<sys/stat.h>')
        tree = self.tree(graph__a_c=''.join(f'#include {name}\n' for name in includes))
        self.assertEqual(list(check.layers(tree)), [])

    def test_up(self):
        problems = list(check.layers(self.tree(base__a_c='\n#include "graph/b.h"\n')))
        self.assertEqual(len(problems), 1)
        self.assertTrue(problems[0].startswith('base/a.c:2: includes "graph/b.h"'))

    def test_sideways(self):
        self.tree(connectors__a_c='#include "net/b.h"\n', net__b_c='#include "connectors/b.h"\n',
                  jobmanager__a_c='#include "taskmanager/b.h"\n', taskmanager__b_c='#include "jobmanager/b.h"\n')
        self.assertEqual(len(self.found(check.layers)), 4)

    def test_without_folder_and_unknown(self):
        self.tree(base__a_c='#include "ring.h"\n  #  include "tests/x.h"\n')
        self.assertEqual(len(self.found(check.layers)), 2)

    def test_public_headers(self):
        self.tree(include__weir__a_h='#include "base/ring.h"\n', examples__a_c='#include "base/ring.h"\n')
        self.assertEqual(len(self.found(check.layers)), 2)

    def test_libraries(self):
        self.tree(base__a_c='#include <elfutils/libdw.h>\n', taskmanager__a_c='#include <elfutils/libdw.h>\n')
        self.assertEqual(len(self.found(check.layers)), 1)

    def test_tests_see_all(self):
        self.assertEqual(list(check.layers(self.tree(tests__unit__a_c='#include "cli/x.h"\n'))), [])


class Lengths(Case):
    def body(self, count, head='int f(int a)'):
        return head + '\n{\n' + '    a++;\n' * (count - 2) + '}\n'

    def test_function(self):
        self.tree(base__a_c=self.body(70), base__b_c=self.body(71),
                  base__c_c=self.body(71, 'WEIR_MAP(twice, t, in, t, out)'))
        problems = self.found(check.lengths)
        self.assertEqual(len(problems), 2)
        self.assertIn('base/b.c:2: f() has 71 lines', problems[0])
        self.assertIn('twice() has 71 lines', problems[1])

    def test_long_head(self):
        self.tree(base__a_c=self.body(71, 'int f(int a,\n      int b)'))
        self.assertIn('f() has 71 lines', self.found(check.lengths)[0])

    def test_brace_in_comment_or_string(self):
        text = 'int f(void)\n{\n/*\n}\n*/\n    x = "\\"}";\n' + '    a++;\n' * 70 + '}\n'
        self.assertEqual(len(list(check.lengths(self.tree(base__a_c=text)))), 1)

    def test_data_is_no_function(self):
        text = 'static const int A[] =\n{\n' + '    1,\n' * 90 + '};\nstruct a\n{\n' + '    int b;\n' * 90 + '};\n'
        self.assertEqual(list(check.lengths(self.tree(base__a_c=text))), [])

    def test_file_and_line(self):
        self.tree(base__a_c='\n' * 1001, base__b_c='/* ' + 'x' * 120 + ' */\n', base__c_c='\n' * 1000 + 'ä' * 120)
        problems = self.found(check.lengths)
        self.assertEqual(len(problems), 2)
        self.assertIn('1001 lines', problems[0])
        self.assertIn('126 columns', problems[1])


class Banned(Case):
    def test_each(self):
        for names, _, _ in check.BANNED:
            for name in names.split():
                with self.subTest(name):
                    self.assertEqual(len(list(check.banned(self.tree(base__x_c=f'    a = {name} (b);\n')))), 1)

    def test_what_only_looks_alike(self):
        text = ('/* time(x) and strcpy(a, b) */\nconst char *s = "system(x)"; // rand()\nenv->time(x); e.system(x);\n'
                'weir_time(x); wr_rand(x); int time; snprintf(a, 1, "");\n')
        self.assertEqual(list(check.banned(self.tree(base__a_c=text))), [])

    def test_free_files(self):
        call = 'clock_gettime(a, b);\n'
        self.tree(base__env_c=call, bench__a_c=call, base__envy_c=call)
        self.assertEqual(len(self.found(check.banned)), 1)

    def test_cores(self):
        self.tree(jobmanager__core_job_c='p = malloc(1);\n', jobmanager__shell_c='p = malloc(1);\n')
        problems = self.found(check.banned)
        self.assertEqual(len(problems), 1)
        self.assertIn('core_job.c:1: calls malloc', problems[0])


class Rest(Case):
    def test_leftovers(self):
        word = 'TO' + 'DO'
        self.tree(base__a_c=f'int a; /* {word}: later */\n', docs__a_md=f'{word}S are no markers\n')
        self.assertEqual(len(self.found(check.leftovers)), 1)

    def test_readmes(self):
        self.tree(base__a_c='', graph__a_c='', graph__README_md='', tests__unit__base__a_c='',
                  tests__unit__README_md='')
        self.assertEqual(self.found(check.readmes), ['base/: no README.md'])

    def test_unrun(self):
        loop = 'foreach(group IN ITEMS one\n  two) # three\n  add_test(x ${group}_test.py)\nendforeach()\n'
        other = 'foreach(kind IN ITEMS six)\n  add_test(x ${kind}.py)\nendforeach()\n'
        self.tree(tests__cli__one_test_py='', tests__cli__two_test_py='', tests__cli__three_test_py='',
                  tests__cli__four_test_py='', tests__cli__five_test_py='', tests__cli__six_test_py='',
                  tests__cli__kit_py='', tests__cluster__one_test_py='')
        self.write('tests/cli/CMakeLists.txt', loop + other + 'add_test(x four_test.py)\n# add_test(x five_test.py)\n')
        self.assertEqual(sorted(p.split(':')[0] for p in self.found(check.unrun)),
                         ['tests/cli/five_test.py', 'tests/cli/six_test.py', 'tests/cli/three_test.py',
                          'tests/cluster/one_test.py'])
        self.assertIn('name it in tests/cluster/CMakeLists.txt', ''.join(self.found(check.unrun)))

    def test_headers(self):
        self.tree(base__a_h='#include <stdint.h>\nuint32_t f(void);\n', base__b_h='uint32_t f(void);\n',
                  base__part_h='/* check: part of a.h */\nuint32_t f(void);\n',
                  include__weir__c_h='#include <stdint.h>\nuint32_t class(void);\n')
        problems = self.found(check.headers)
        self.assertEqual(sorted(p.split(':')[0] for p in problems), ['base/b.h', 'include/weir/c.h'])
        self.assertIn('g++', [p for p in problems if p.startswith('include')][0])

    def test_format(self):
        with open(os.path.join(HERE, '..', '.clang-format'), encoding='utf-8') as file:
            self.write('.clang-format', file.read())
        self.tree(base__a_c='int f(void)\n{\n    return 1;\n}\n', base__b_c='int f(void) {\n  return 1; }\n')
        self.assertEqual(self.found(check.formatting), ['base/b.c:1: not formatted; run ./dev fmt'])

    def test_purity(self):
        self.write('jobmanager/core_a.c', 'int wr_b(int); int wr_a(int x) { return wr_b(x); }\n')
        self.write('jobmanager/core_b.c', 'int puts(const char *); int wr_b(int x) { return puts("x") + x; }\n')
        for name in ('core_a', 'core_b'):
            path = os.path.join(self.folder.name, 'jobmanager', name)
            subprocess.run(['gcc', '-c', path + '.c', '-o', path + '.c.o'], check=True)
        problems = self.found(check.purity, self.folder.name)
        self.assertEqual(len(problems), 1)
        self.assertIn('core_b.c.o: needs puts', problems[0])

    def test_whole_program(self):
        self.tree(base__a_c='int a; /* ' + 'x' * 120 + ' */\n', base__README_md='')
        run = [sys.executable, '-B', os.path.join(HERE, 'check'), '--root', self.folder.name]
        result = subprocess.run([*run, '--only', 'lengths,readmes'], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn('2 files, 2 rules, 1 problems', result.stdout)
        self.assertEqual(subprocess.run([*run, '--only', 'readmes'], capture_output=True, check=False).returncode, 0)
        self.assertEqual(subprocess.run([*run, '--only', 'nothing'], capture_output=True, check=False).returncode, 2)


if __name__ == '__main__':
    unittest.main()
