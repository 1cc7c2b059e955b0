#!/usr/bin/env python3
"""Does what the documentation shows: writes its files, builds and runs its pipelines, types its commands, compares what they
print. README.md of this folder has the rules.

usage: run_pages.py ROOT WEIR [PAGE...]     WEIR: the program under test
"""
import concurrent.futures
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pages

TIMEOUT_S = 60
FOREVER_S = 2  # a pipeline without an end is stopped after this
# Commands that belong to a clone or to the reader's machine: a block with one of these is for reading.
READ_ONLY = re.compile(r'^((\./dev|git|cd|sudo|apt|cmake|ctest|man)\b|export PATH=)')
DEMO = './dev demo'
# What a job says on a machine that is busy with other things; no page shows it.
SLOW = re.compile(r'\d{4}-\d\d-\d\dT[\d:.]+Z warn {2}task .* held its slot for .*\n')


class Failure(Exception):
    pass


def commands(block):
    """[command, expected output] for each "$ " line; lines that begin with "> " continue the command."""
    found = []
    for line in block.text.splitlines():
        if line.startswith('$ '):
            found.append([line[2:], []])
        elif line.startswith('> ') and found and not found[-1][1]:
            found[-1][0] += '\n' + line[2:]
        elif found:
            found[-1][1].append(line)
    return found


def pattern(line):
    """A line in which "..." stands for anything but nothing; then runs of blanks need not have the same width."""
    if '...' not in line:
        return re.compile(re.escape(line.rstrip()) + r'\s*\Z')
    parts = [r'\s+'.join(re.escape(word) for word in re.split(r' +', part)) for part in line.strip().split('...')]
    return re.compile(r'\s*' + r'.+?'.join(parts) + r'\s*\Z')


def equal(expected, actual):
    """A line that is only "..." stands for any number of lines."""
    if not expected:
        return not actual
    if expected[0].strip() == '...':
        return any(equal(expected[1:], actual[i:]) for i in range(len(actual) + 1))
    return bool(actual) and pattern(expected[0]).match(actual[0]) is not None and equal(expected[1:], actual[1:])


def trim(lines):
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


class Page:
    def __init__(self, root, weir, page):
        self.root, self.weir, self.page = root, weir, page
        self.blocks = list(pages.blocks(root, page))
        self.ran = {'files': 0, 'pipelines': 0, 'commands': 0}
        self.folder = None
        self.bash = self.script = None  # the shell that the page's commands are typed into, and where

    def environment(self):
        return dict(os.environ, PATH=os.path.dirname(self.weir) + os.pathsep + os.environ['PATH'], LC_ALL='C.UTF-8',
                    PKG_CONFIG_PATH=os.path.join(os.path.dirname(self.weir), 'pkgconfig'),
                    XDG_RUNTIME_DIR=self.folder, XDG_STATE_HOME=self.folder)  # jobs of this page see each other, and no others

    def shell(self, script):
        done = subprocess.run(['bash', '-c', script], cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
        return done.returncode, SLOW.sub('', done.stdout.decode(errors='replace'))

    def page_shell(self, script, marks):
        """What all of the page's commands are typed into, with variables and jobs. The output until so many marks have come."""
        if self.bash is None:
            read, self.script = os.pipe()
            self.bash = subprocess.Popen(['bash', f'/dev/fd/{read}'], cwd=self.folder, env=self.environment(), pass_fds=[read],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
            os.close(read)
        os.write(self.script, script.encode())
        fd, out, until = self.bash.stdout.fileno(), b'', time.monotonic() + TIMEOUT_S
        while out.count(b'\001') < marks:
            if not select.select([fd], [], [], max(until - time.monotonic(), 0))[0]:
                raise Failure(f'{self.page}: a command did not end:\n{out.decode(errors="replace")}')
            got = os.read(fd, 65536)
            if not got:
                break
            out += got
        return SLOW.sub('', out.decode(errors='replace'))

    def end_shell(self):
        """With all that was started in it."""
        if self.bash is None:
            return
        os.close(self.script)
        os.killpg(self.bash.pid, signal.SIGKILL)
        self.bash.wait()
        self.bash.stdout.close()

    def write(self, block):
        """A block of a file: as it is in the sources when they have it, but perhaps for a comment at its top."""
        if os.path.exists(os.path.join(self.root, block.name)):
            text = pages.read(self.root, block.name)
            if block.text not in (text, re.sub(r'\A/\*.*?\*/\n', '', text, flags=re.S)):
                raise Failure(f'{block.place}: differs from {block.name}')
        path = os.path.join(self.folder, block.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(block.text)
        self.ran['files'] += 1

    def is_run_by_the_page(self, at):
        """A later command, before the file is replaced, runs what is built of it, or shows what is wrong with it."""
        name = self.blocks[at].name
        made = re.sub(r'\.\w+\Z', '.so', os.path.basename(name))
        for block in self.blocks[at + 1:]:
            if block.name == name:
                return False
            if block.language == 'console' and any(re.search(r'weir (run|check|submit)\b', c) and made in c for c, _ in commands(block)):
                return True
        return False

    def build_and_run(self, at):
        block = self.blocks[at]
        source = block.name or f'line_{block.line}.{"c" if block.language == "c" else "cc"}'
        if not block.name:
            with open(os.path.join(self.folder, source), 'w', encoding='utf-8') as file:
                file.write(block.text)
        code, out = self.shell(f'weir build -q {source} -o built.so -- -Wall -Wextra -Werror')
        if code != 0:
            raise Failure(f'{block.place}: weir build fails:\n{out}')
        self.ran['pipelines'] += 1
        if not (block.name and self.is_run_by_the_page(at)):
            self.run_made_up(block)

    def run_made_up(self, block):
        """Runs a pipeline that the page does not: its URIs are replaced, so that it needs nothing from outside."""
        code, plan = self.shell('weir plan --json built.so')
        if code != 0:
            raise Failure(f'{block.place}: weir plan fails:\n{plan}')
        command = [self.weir, 'run', '-q', 'built.so']
        for node in json.loads(plan)['nodes']:
            if 'uri' in node:
                to = 'generator:?count=1000' if node['kind'] == 'source' else 'blackhole:'
                command += ['--set', f'{node["name"]}={to}']
        process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        try:
            out = process.communicate(timeout=FOREVER_S)[0]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out = process.communicate(timeout=TIMEOUT_S)[0]
        if process.returncode != 0:
            raise Failure(f'{block.place}: ends with {process.returncode}:\n{out.decode(errors="replace")}')

    def has_demo(self):
        """tools/demo takes the release tree, and another text where there is no bible-kjv."""
        return self.weir == os.path.join(self.root, 'build/release/weir') and shutil.which('bible') is not None

    def type(self, block):
        typed = commands(block)
        for i, (command, _) in enumerate(typed):
            if command == DEMO and self.has_demo():
                typed[i][0] = os.path.join(self.root, 'tools/demo')
            elif READ_ONLY.match(command):
                return
        # The shell tells the end and the exit code of each command and keeps $? for the next one.
        script = ''.join(f'{command}\nS_=$?; printf "\\001%d\\001" $S_; (exit $S_)\n' for command, _ in typed)
        out = self.page_shell(script, 2 * len(typed)).split('\001')
        if len(out) != 2 * len(typed) + 1:
            raise Failure(f'{block.place}: the commands did not run to their end:\n{"".join(out)}')
        for i, (command, expected) in enumerate(typed):
            actual, expected = trim(out[2 * i].splitlines()), trim(expected)
            if not equal(expected, actual):
                raise Failure(f'{block.place}: $ {command}\n--- the page\n' + '\n'.join(expected) + '\n--- the program\n' +
                              '\n'.join(actual))
            asks = i + 1 < len(typed) and '$?' in typed[i + 1][0]
            if out[2 * i + 1] != '0' and not asks and 'error' not in '\n'.join(expected):
                raise Failure(f'{block.place}: $ {command}\nends with {out[2 * i + 1]}, and the page does not say so')
            self.ran['commands'] += 1

    def run(self):
        self.folder = tempfile.mkdtemp(prefix='weir-docs-')
        try:
            for at, block in enumerate(self.blocks):
                if block.name:
                    self.write(block)
                if block.is_pipeline:
                    self.build_and_run(at)
                if block.language == 'console':
                    self.type(block)
        except (Failure, subprocess.TimeoutExpired) as failure:
            return str(failure)
        finally:
            self.end_shell()
            self.shell('weir cluster stop -q')
            for job in json.loads(self.shell('weir list --json 2>/dev/null')[1].strip() or '[]'):
                os.kill(job['pid'], signal.SIGKILL)
            shutil.rmtree(self.folder)
        return None


def main():
    root, weir = (os.path.realpath(path) for path in sys.argv[1:3])
    todo = [Page(root, weir, page) for page in sys.argv[3:] or pages.pages(root)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = list(filter(None, pool.map(Page.run, todo)))
    for failure in failures:
        print(failure)
    ran = ', '.join(f'{sum(page.ran[what] for page in todo)} {what}' for what in ('files', 'pipelines', 'commands'))
    print(f'{len(todo)} pages, {ran}, {len(failures)} failures')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
