"""The blocks of the documentation's pages: what the tests of this folder share."""
import glob
import os
import re

FENCE = re.compile(r'^( *)```([a-z]*)\n(.*?)^\1```', re.M | re.S)
NAME = re.compile(r'<!-- file: (\S+) -->\s*\Z')


class Block:
    """One fenced block. `name` is the file that the comment in front of it says it is, or None."""

    def __init__(self, page, line, language, text, name):
        self.page, self.line, self.language, self.text, self.name = page, line, language, text, name

    @property
    def place(self):
        return f'{self.page}:{self.line}'

    @property
    def is_program(self):
        """A whole program; a block without an include is a fragment, and one that includes another file needs its page."""
        return (self.language in ('c', 'cpp') and re.search(r'#include\s*<weir/', self.text) is not None and
                '#include "' not in self.text)

    @property
    def is_pipeline(self):
        return self.is_program and re.search(r'^WEIR_PIPELINE\(', self.text, re.M) is not None


def pages(root):
    """Paths of README.md, CONTRIBUTING.md and docs/*.md, as seen from the root."""
    found = ['README.md', 'CONTRIBUTING.md', *sorted(glob.glob('docs/*.md', root_dir=root))]
    return [page for page in found if os.path.exists(os.path.join(root, page))]


def read(root, page):
    with open(os.path.join(root, page), encoding='utf-8') as file:
        return file.read()


def blocks(root, page):
    text = read(root, page)
    for found in FENCE.finditer(text):
        indent, language, inner = found.groups()
        name = NAME.search(text, 0, found.start())
        if indent:
            inner = re.sub(rf'^{indent}', '', inner, flags=re.M)
        yield Block(page, text.count('\n', 0, found.start()) + 2, language, inner, name and name.group(1))
