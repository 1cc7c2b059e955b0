#!/usr/bin/env python3
"""Compiles each C and C++ example of the documentation that is a whole program, with gcc and clang.

usage: compile_examples.py ROOT BUILD
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

import pages


def compile_block(job):
    root, folder, flags, block, compiler = job
    name = f'{folder}/{re.sub(r"[^a-z0-9]", "_", block.place.lower())}_{compiler}'
    source = f'{name}.{"c" if block.language == "c" else "cc"}'
    with open(source, 'w', encoding='utf-8') as file:
        file.write(block.text)
    kind = '-std=gnu17' if block.language == 'c' else '-std=c++17'
    command = [compiler, kind, '-Wall', '-Wextra', '-Werror', '-shared', *flags, source, '-o', name + '.so']
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else f'{block.place}: does not compile with {compiler}:\n{result.stderr}'


def main():
    root, build = sys.argv[1:3]
    environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(build, 'pkgconfig'))
    flags = subprocess.run(['pkg-config', '--cflags', 'weir'], env=environment, capture_output=True, text=True,
                           check=True).stdout.split()
    programs = [block for page in pages.pages(root) for block in pages.blocks(root, page) if block.is_program]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(root, folder, flags, block, compiler) for block in programs
                for compiler in (('gcc', 'clang') if block.language == 'c' else ('g++', 'clang++'))]
        failures = list(filter(None, pool.map(compile_block, jobs)))
    for failure in failures:
        print(failure)
    print(f'{len(programs)} programs, {len(failures)} failures')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
