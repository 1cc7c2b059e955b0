#!/usr/bin/env python3
"""Compiles each wrong use of the API with gcc and clang: none may compile, and the first error line must say what is wrong.

usage: run.py INCLUDE [FILE]...

The second line of a file is /* says: PATTERN */, a regular expression for the first error line of either compiler. No warning
flags are given: the headers alone must refuse. Files named good_*.c must compile, as C and as C++, with warnings as errors:
they show that it is the misuse that fails, and not what surrounds it.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
C, CPP = ('-x', 'c', '-std=c17'), ('-x', 'c++', '-std=c++17')


def compile_file(include, path, compiler, flags):
    command = [compiler, *flags, '-I', include, '-I', HERE, '-fPIC', '-c', path, '-o', '/dev/null']
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, LC_ALL='C.UTF-8'))


def first_error(result):
    return next((line for line in result.stderr.splitlines() if 'error:' in line), result.stderr.strip()[:200])


def refused(include, path, compiler):
    """None when the compiler refuses it for the right reason, else a problem."""
    with open(path, encoding='utf-8') as file:
        said = re.match(r'/\* .* \*/\n/\* says: (.+) \*/\n', file.read())
    name = os.path.basename(path)
    if not said:
        return f'{name}: the first two lines must be a comment and /* says: PATTERN */'
    result = compile_file(include, path, compiler, C)
    if result.returncode == 0:
        return f'{name}: {compiler} compiles it'
    line = first_error(result)
    if not re.search(said.group(1), line):
        return f'{name}: {compiler} says "{line}", not "{said.group(1)}"'
    return None


def accepted(include, path, compiler, flags):
    result = compile_file(include, path, compiler, (*flags, '-Wall', '-Wextra', '-Werror'))
    if result.returncode == 0:
        return None
    return f'{os.path.basename(path)}: {compiler} {" ".join(flags)} refuses it: {first_error(result)}'


def main():
    include = sys.argv[1]
    files = sys.argv[2:] or sorted(glob.glob(os.path.join(HERE, '[0-9]*.c')) + glob.glob(os.path.join(HERE, 'good_*.c')))
    jobs = []
    for path in files:
        if not os.path.basename(path).startswith('good_'):
            jobs += [(refused, include, path, compiler) for compiler in ('gcc', 'clang')]
            continue
        jobs += [(accepted, include, path, compiler, (*C, level)) for compiler in ('gcc', 'clang') for level in ('-O0', '-O3')]
        jobs += [(accepted, include, path, compiler, (*CPP, '-O3')) for compiler in ('g++', 'clang++')]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = list(filter(None, pool.map(lambda job: job[0](*job[1:]), jobs)))
    for problem in problems:
        print(problem)
    print(f'{len(files)} files, {len(jobs)} compilations, {len(problems)} problems')
    return 1 if problems or not files else 0


if __name__ == '__main__':
    sys.exit(main())
