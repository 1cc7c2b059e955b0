#!/usr/bin/env python3
"""Runs each file of examples/ as the comment at its top says, and compares what comes out. The rules are those of a page's
console blocks; README.md of this folder has them.

usage: run_examples.py ROOT WEIR [EXAMPLE...]     WEIR: the program under test
"""
import glob
import os
import re
import shutil
import sys
import tempfile

import pages
import run_pages

COMMENT = re.compile(r'/\*.*?\*/|(?://[^\n]*\n)+', re.S)
INDENT = ' ' * 5


def console(text):
    """What the first comment types and shows: its lines that are indented by five blanks."""
    found = COMMENT.match(text)
    lines = re.sub(r'^(?: \*|//|/\*)', '', found.group(), flags=re.M).splitlines() if found else []
    return ''.join(line[len(INDENT):] + '\n' for line in lines if line.startswith(INDENT))


def is_shown(root, path):
    """A page that holds the file word for word runs it."""
    return any(block.name == path for page in pages.pages(root) for block in pages.blocks(root, page))


def run(root, weir, path):
    """None, or what is wrong. Works in a copy of the folder, where it may leave files."""
    text = pages.read(root, path)
    block = pages.Block(path, 1, 'console', console(text), None)
    if not run_pages.commands(block):
        return None if is_shown(root, path) else f'{path}: the comment at its top does not say how to run it'
    page = run_pages.Page(root, weir, path)
    with tempfile.TemporaryDirectory(prefix='weir-examples-') as folder:
        page.folder = os.path.join(folder, 'examples')
        shutil.copytree(os.path.join(root, 'examples'), page.folder)
        try:
            page.type(block)
        except run_pages.Failure as failure:
            return str(failure)
    if page.ran['commands'] == 0:
        return f'{path}: a command that a test must not type stands in its comment'
    return None


def main():
    root, weir = (os.path.realpath(path) for path in sys.argv[1:3])
    found = [path for ending in ('c', 'cc') for path in sorted(glob.glob(f'examples/*.{ending}', root_dir=root))]
    todo = sys.argv[3:] or found
    failures = list(filter(None, (run(root, weir, path) for path in todo)))
    listed = pages.read(root, 'examples/README.md')
    failures += [f'examples/README.md does not list {path}' for path in found if f'`{os.path.basename(path)}`' not in listed]
    for failure in failures:
        print(failure)
    print(f'{len(todo)} examples, {len(failures)} failures')
    return 1 if failures or not todo else 0


if __name__ == '__main__':
    sys.exit(main())
