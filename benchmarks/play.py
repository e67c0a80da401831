"""Print how large the playable figures of the built book are, and how long a change takes.

Each slider of each figure is moved by keys, six steps up, four down, to its end and to its start,
in a headless Chromium; *median* and *largest* are the milliseconds of a change: what is computed,
and the picture. *first* is the first picture, with what is computed once.

About ten seconds a figure: ``python -m benchmarks.play``, after ``make book``.
"""

import statistics

import pandas as pd
from playwright.sync_api import sync_playwright

from companion.play import playable
from tests.conftest import BROWSER, FLAGS
from tests.test_play import FIGURES, Reader

KEYS = ["ArrowRight"] * 6 + ["ArrowLeft"] * 4 + ["End", "Home"]


def took(reader) -> float:
    return float(reader.figure.get_attribute("data-took"))


def row(browser, name, path) -> dict:
    size = len(playable.source(f"figures/{name}.js").encode())
    with Reader(browser, path.as_uri(), name) as reader:
        first, changes = took(reader), []
        for slider in reader.figure.locator("input[type=range]").all():
            for key in KEYS:
                slider.press(key)
                reader.settle()
                changes.append(took(reader))
    median = statistics.median(changes)
    return {"figure": name, "page": path.stem, "bytes": size, "first": first, "median": median,
            "largest": max(changes), "changes": len(changes)}  # fmt: skip


def main():
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        print(pd.DataFrame(row(browser, *figure) for figure in FIGURES).to_string(index=False))
        browser.close()
    sizes = {name: len(playable.source(name).encode()) for name in playable.SCRIPTS}
    total = sum(sizes.values()) + sum(
        len(playable.source(f"figures/{name}.js").encode()) for name in playable.names()
    )
    print(f"shared scripts: {sizes}; all scripts: {total} bytes")


if __name__ == "__main__":
    main()
