"""Where Chromium is, which prints the hand-outs and shows the pages to the tests."""

import os
import shutil


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
