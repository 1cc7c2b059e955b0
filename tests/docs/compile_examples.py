#!/usr/bin/env python3
"""Compiles each C example of README.md and docs/*.md that is a whole program, with gcc and clang.

usage: compile_examples.py ROOT BUILD

A fenced block marked ```c that includes a <weir/...> header is a whole program. A block without is a fragment and is
left alone. A block marked ```cpp is compiled as C++17.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile


def blocks(path):
    """(line, language, text) of each whole program in a page."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    for found in re.finditer(r'^( *)```(c|cpp)\n(.*?)^\1```', text, re.M | re.S):
        if re.search(r'#include\s*<weir/', found.group(3)):
            yield text.count('\n', 0, found.start()) + 2, found.group(2), found.group(3)


def compile_block(job):
    root, folder, flags, page, line, language, text, compiler = job
    name = f'{folder}/{os.path.basename(page)}_{line}_{compiler}'
    source = f'{name}.{"c" if language == "c" else "cc"}'
    with open(source, 'w', encoding='utf-8') as file:
        file.write(text)
    kind = '-std=c17' if language == 'c' else '-std=c++17'
    command = [compiler, kind, '-Wall', '-Wextra', '-Werror', '-shared', *flags, source, '-o', name + '.so']
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else f'{page}:{line}: does not compile with {compiler}:\n{result.stderr}'


def main():
    root, build = sys.argv[1:3]
    environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(build, 'pkgconfig'))
    flags = subprocess.run(['pkg-config', '--cflags', 'weir'], env=environment, capture_output=True, text=True,
                           check=True).stdout.split()
    pages = [os.path.join(root, 'README.md'), *sorted(glob.glob(os.path.join(root, 'docs', '*.md')))]
    pages = [page for page in pages if os.path.exists(page)]
    programs = [(os.path.relpath(page, root), *block) for page in pages for block in blocks(page)]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(root, folder, flags, *program, compiler) for program in programs for language in [program[2]]
                for compiler in (('gcc', 'clang') if language == 'c' else ('g++', 'clang++'))]
        failures = list(filter(None, pool.map(compile_block, jobs)))
    for failure in failures:
        print(failure)
    print(f'{len(programs)} programs in {len(pages)} pages, {len(failures)} failures')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
