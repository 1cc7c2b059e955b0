#!/usr/bin/env python3
"""docs/errors.md, docs/limits.md and the manual page say what the sources say, and links between pages lead somewhere.

usage: tables_test.py ROOT
"""
import os
import re
import subprocess
import sys
import unittest

import pages

ROOT = '.'
REACTION = {'WR_RETRY': 'retry', 'WR_FAIL_TASK': 'task fails', 'WR_FAIL_JOB': 'job fails', 'WR_FATAL': 'process ends'}


def rows(text, heading, columns):
    """The rows of the first table behind a heading, without code marks."""
    section = text.split(f'\n## {heading}\n', 1)[1].split('\n## ', 1)[0]
    found = [[cell.strip().strip('`') for cell in line.strip('|').split('|')] for line in section.splitlines()
             if line.startswith('|')]
    return [row[:columns] for row in found[2:]]


class Tables(unittest.TestCase):
    maxDiff = None

    def test_errors(self):
        source, page = pages.read(ROOT, 'base/error.h'), pages.read(ROOT, 'docs/errors.md')
        exits = {name: number for name, number in re.findall(r'^    (WR_EXIT_\w+) = (\d+)', source, re.M)}
        table = re.findall(r'^\s*X\((\w+),\s*(\d+),\s*(\w+),\s*(\w+),\s*"([^"]*)"\)', source, re.M)
        self.assertGreater(len(table), 20)
        self.assertEqual(rows(page, 'Errors', 5), [[f'E0{number}', name, text, exits[code], REACTION[reaction]]
                                                   for name, number, code, reaction, text in table])
        self.assertEqual([row[0] for row in rows(page, 'Exit codes', 1)], list(exits.values()))
        manual = pages.read(ROOT, 'docs/weir.1').split('\n.SH EXIT STATUS\n')[1].split('\n.SH ')[0]
        self.assertEqual(re.findall(r'^\.B (\d+)', manual, re.M), list(exits.values()))

    def test_limits(self):
        source, page = pages.read(ROOT, 'base/limits.h'), pages.read(ROOT, 'docs/limits.md')
        value = {name: size(text, source) for name, text in re.findall(r'^#define (WR_[A-Z_]+)[ \t]+([^/\n]+?)[ \t]*(?:/\*.*)?$',
                                                                       source, re.M)}
        told = []
        for heading in re.findall(r'^## (.*)$', page, re.M):
            told += rows(page, heading, 2)
        self.assertGreater(len(told), 20)
        for limit, text in told:
            self.assertEqual(size(text, source), value[limit], limit)
        # What is no bound of anything that a user can meet.
        inside = {'WR_CACHE_LINE', 'WR_PAGE_BYTES', 'WR_HUGE_BYTES'}
        self.assertEqual(sorted({limit for limit, _ in told}), sorted(set(value) - inside))

    def test_configuration(self):
        done = subprocess.run([sys.executable, '-B', os.path.join(ROOT, 'tools/configuration'), '--check'], capture_output=True,
                              text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_manual_has_all_flags_and_verbs(self):
        manual = pages.read(ROOT, 'docs/weir.1').replace('\\-', '-')
        flags = pages.read(ROOT, 'cli/options.c').split('static const flag FLAGS[] = {')[1].split('\n};')[0]
        hidden = {'parallelism-default'}  # of what `submit` starts
        own = re.findall(r"\{'.', ('.'|0), FLAG_\w+,\s*\"([\w-]+)\"", flags)
        settings = re.findall(r'^X\(\w+,\s*"([\w-]+)",\s*(NULL|"[\w-]+")', pages.read(ROOT, 'cli/settings.def'), re.M)
        self.assertTrue(len(own) > 20 and len(settings) > 30)
        wanted = {name for _, name in own} | {key if flag == 'NULL' else flag.strip('"') for key, flag in settings} | {'config'}
        told = manual.split('\n.SH FLAGS\n')[1].split('\n.SH ')[0]
        heads = ' '.join(re.findall(r'^\.TP\n(.*)', told, re.M))
        self.assertEqual(sorted(set(re.findall(r'--([a-z][a-z-]*)', heads))), sorted(wanted - hidden))
        for letter, name in own:
            if letter != '0':
                self.assertRegex(heads, rf'-{letter[1]} ", " --{name}\b')
        verbs = re.findall(r'^    \{"([a-z]+)", ', pages.read(ROOT, 'cli/verbs.c'), re.M)
        self.assertGreater(len(verbs), 20)
        described = manual.split('\n.SH DESCRIPTION\n')[1].split('\n.SH ')[0]
        for verb in verbs:
            if verb != 'worker':
                self.assertRegex(' '.join(re.findall(r'^\.TP\n(.*)', described, re.M)), rf'\b{verb}\b')

    def test_readmes_name_their_files(self):
        """Headers of the engine's folders but for those that are inside of others; tests and targets of the folders of tests."""
        inside = re.compile(r'_(inner|inside|parts|body)\.h$')
        wanted = [(folder, name[:-2]) for folder in ('base', 'wire', 'graph', 'snapshot', 'operators', 'net', 'connectors', 'taskmanager',
                                                     'jobmanager', 'cli')
                  for name in os.listdir(os.path.join(ROOT, folder)) if name.endswith('.h') and not inside.search(name)]
        wanted += [(folder, name) for folder in ('tests/cli', 'tests/cluster', 'tests/docs') for name in os.listdir(os.path.join(ROOT, folder))
                   if name.endswith('.py')]
        wanted += [('tests/fuzz', name[:-len('_fuzz.c')]) for name in os.listdir(os.path.join(ROOT, 'tests/fuzz')) if name.endswith('_fuzz.c')]
        self.assertGreater(len(wanted), 150)
        text = {folder: pages.read(ROOT, folder + '/README.md') for folder, _ in wanted}
        missing = [f'{folder}/README.md: no {name}' for folder, name in wanted if not re.search(rf'`[^`]*\b{name}\b[^`]*`', text[folder])]
        self.assertEqual(missing, [])

    def test_roadmap_names_what_is_refused(self):
        page = pages.read(ROOT, 'docs/roadmap.md').split('\n## What is refused today\n')[1]
        later = pages.read(ROOT, 'graph/later.c').split('later_kinds[] = {')[1].split('};')[0]
        kinds = [entry for what in re.findall(r'\{WEIR_OP_\w+, "([^"]*)"', later) for entry in re.findall(r'WEIR_\w+', what)]
        self.assertGreater(len(kinds), 5)
        for kind in kinds:
            self.assertIn(f'`{kind}', page)

    def test_links(self):
        for page in pages.pages(ROOT):
            text = re.sub(r'```.*?```', '', pages.read(ROOT, page), flags=re.S)
            for link in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', text):
                target = os.path.join(ROOT, os.path.dirname(page), link)
                self.assertTrue(os.path.exists(target), f'{page}: no {link}')


def size(text, source):
    """"32 KiB", "WR_KIB(32)", "1,024", "100 ms", or the name of another bound: bytes, ns, or a count."""
    text = text.strip().replace(',', '')
    if text.startswith('WR_') and '(' not in text:
        return size(re.search(rf'^#define {text}\s+([^/\n]+)', source, re.M).group(1), source)
    unit = {'KiB': 1 << 10, 'MiB': 1 << 20, 'ns': 1, 'us': 1000, 'ms': 10**6}
    found = re.fullmatch(r'WR_([KM])IB\((\d+)(?:ULL)?\)|(\d+)(?: (KiB|MiB|B|ns|us|ms))?', text)
    if not found:
        raise ValueError(f'not a size: {text!r}')
    if found.group(1):
        return int(found.group(2)) * unit[found.group(1) + 'iB']
    return int(found.group(3)) * unit.get(found.group(4), 1)


if __name__ == '__main__':
    ROOT = sys.argv.pop(1)
    unittest.main(argv=sys.argv)
