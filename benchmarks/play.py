"""Print how large the playable figures of the built book are, and how long a change takes.

Each slider of each figure is moved by keys, six steps up, four down, to its end and to its start,
in a headless Chromium; *median* and *largest* are the milliseconds of a change: what is computed,
and the picture. *first* is the first picture, with what is computed once.

About ten seconds a figure: ``python -m benchmarks.play``, after ``make book``.
"""

import statistics

import pandas as pd
from playwright.sync_api import sync_playwright

from companion.play import playable as play
from tests.built import HTML
from tests.conftest import FLAGS
from tests.test_play import FIGURES, Reader, unset
from tools.browser import chromium

KEYS = ["ArrowRight"] * 6 + ["ArrowLeft"] * 4 + ["End", "Home"]


def took(reader) -> float:
    return float(reader.figure.get_attribute("data-took"))


def size(script) -> int:
    """Return the bytes of a script as the pages load it."""
    return (HTML / "_static" / "play" / script).stat().st_size


def row(tab, name, path) -> dict:
    reader = Reader(tab, path.as_uri(), name)
    first, changes = took(reader), []
    for slider in reader.figure.locator("input[type=range]").all():
        for key in KEYS:
            slider.press(key)
            reader.settle()
            changes.append(took(reader))
    median = statistics.median(changes)
    return {"figure": name, "page": path.stem, "bytes": size(f"figures/{name}.js"), "first": first,
            "median": median, "largest": max(changes), "changes": len(changes)}  # fmt: skip


def main():
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        tab = unset(browser)
        print(pd.DataFrame(row(tab, *figure) for figure in FIGURES).to_string(index=False))
        browser.close()
    shared = {script: size(script) for script in play.SHARED}
    print(f"shared scripts: {shared}; all: {sum(map(size, play.scripts(play.names())))} bytes")


if __name__ == "__main__":
    main()
