"""Turn each chapter (MyST Markdown) into the notebook beside it (plain Markdown, no outputs).

``python -m tools.notebooks`` writes the notebooks; with ``--check`` it lists those that are stale
and exits 1; with ``--solutions FOLDER`` it writes the solved notebooks of the problem sets there.
A notebook is a function of the chapters, the bibliography, _toc.yml, _config.yml and of what its
cells import, which its first one installs on Colab: the same sources give the same bytes. Colab and
Jupyter know neither directives nor roles: each is turned into plain Markdown, numbered as in the
built book, and one that is not known is an error.
"""

import argparse
import os
import sys
from pathlib import Path

from tools.generator.book import ROOT, Book
from tools.generator.source import ChapterError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the notebook of each chapter.")
    parser.add_argument("--check", action="store_true", help="list stale notebooks, write nothing")
    parser.add_argument("--solutions", metavar="FOLDER", help="write those of problem sets there")
    parsed = parser.parse_args(arguments)
    check, folder = parsed.check, parsed.solutions
    try:
        book = Book()
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            notebooks = {Path(folder) / name: text for name, text in book.solutions().items()}
        else:
            notebooks = book.notebooks()
    except ChapterError as error:
        sys.exit(str(error))
    stale = [
        path
        for path, text in notebooks.items()
        if not path.exists() or path.read_bytes() != text.encode()
    ]
    for path in stale:
        print(f"{'stale' if check else 'wrote'}: {os.path.relpath(path, ROOT)}")
        if not check:
            path.write_bytes(notebooks[path].encode())
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
