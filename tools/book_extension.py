"""What _config.yml cannot say: a cache that knows the package, plain notebooks to download."""

import hashlib
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def package_key() -> str:
    """Hash everything but the cells that a cell's output depends on: package, pins and scale."""
    digest = hashlib.sha256(os.environ.get("COMPANION_SCALE", "quick").encode())
    for path in [ROOT / "constraints.txt", *sorted((ROOT / "companion").rglob("*.py"))]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def set_options(app, config):
    # jupyter-cache compares code cells alone, so that after an edit of the package it would hand
    # out stale figures. A changed path also makes Sphinx read every page again.
    config.nb_execution_cache_path = str(Path(app.outdir).parent / "cells" / package_key())
    # The sidebar has a search field already; _config.yml cannot reach this option.
    config.html_theme_options["navbar_persistent"] = []


def replace_downloads(app, error):
    # The theme offers the executed source for download, raw directives included. Hand out the
    # generated notebook instead.
    sources = Path(app.outdir) / "_sources"
    for executed in sources.rglob("*.ipynb"):
        generated = ROOT / executed.relative_to(sources)
        if generated.exists():
            shutil.copyfile(generated, executed)


def setup(app):
    app.connect("config-inited", set_options)
    app.connect("build-finished", replace_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
