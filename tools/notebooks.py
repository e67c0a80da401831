"""Turn each chapter (MyST Markdown) into the notebook beside it (plain Markdown, no outputs).

``python tools/notebooks.py`` writes the notebooks; with ``--check`` it lists those that are stale
and exits 1. A notebook is a function of the chapters, the bibliography, _toc.yml and _config.yml
alone, so that the same sources give the same bytes. Colab and Jupyter know neither directives nor
roles: each is turned into plain Markdown, numbered as in the built book, and one that is not known
is an error.
"""

import argparse
import sys

from generator.book import ROOT, Book
from generator.source import ChapterError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the notebook of each chapter.")
    parser.add_argument("--check", action="store_true", help="list stale notebooks, write nothing")
    check = parser.parse_args(arguments).check
    try:
        notebooks = Book().notebooks()
    except ChapterError as error:
        sys.exit(str(error))
    stale = [
        path
        for path, text in notebooks.items()
        if not path.exists() or path.read_bytes() != text.encode()
    ]
    for path in stale:
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_bytes(notebooks[path].encode())
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
