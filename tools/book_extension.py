"""What _config.yml cannot say: where the outputs of the chapters lie, which notebooks to offer."""

import hashlib
import html
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from jupyter_cache import get_cache
from PIL import Image
from pybtex import plugin
from sphinx.domains.std import StandardDomain

from companion.play import playable as play

ROOT = Path(__file__).resolve().parent.parent
GRADING = re.compile(r"^(`{3,})\{grading\}.*?^\1 *\n", re.MULTILINE | re.DOTALL)
STATIC = ROOT / "_build" / "static"  # what the pages need besides the files of book/_static


def set_options(app, config):
    # tools/execution.py has filled this folder.
    scale = os.environ.get("COMPANION_SCALE", "quick")
    config.nb_execution_cache_path = str(ROOT / "_build" / "cells" / scale)
    # The sidebar has a search field already; _config.yml cannot reach this option.
    config.html_theme_options["navbar_persistent"] = []
    # Sphinx copies these files only with a page that it writes: all are written when one changes.
    shutil.rmtree(STATIC, ignore_errors=True)
    write_play_scripts(STATIC / "play")
    config.html_static_path.append(str(STATIC))
    files = sorted([*(ROOT / "book" / "_static").rglob("*"), *STATIC.rglob("*")])
    content = b"".join(path.read_bytes() for path in files if path.is_file())
    config.companion_static = hashlib.sha256(content).hexdigest()


def write_play_scripts(folder):
    """Write the scripts of playable figures, the rules printed from the package among them."""
    texts = {name: play.served(name) for name in play.scripts(play.names())}
    for name, text in (texts | {play.STYLES: play.source(play.STYLES)}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def add_play_scripts(app, pagename, templatename, context, doctree):
    """A page with playable figures loads the scripts of these, in order; no other page does."""
    found = play.shown(context.get("body") or "")
    if found:
        app.add_css_file(f"play/{play.STYLES}")
        for name in play.scripts(found):
            app.add_js_file(f"play/{name}", loading_method="defer")


def mend_play_links(app, doctree):
    """A link may set several values of a figure: MyST and the writer both escape its &."""
    for link in doctree.findall(nodes.reference):
        if "#play-" in link.get("refuri", ""):
            link["refuri"] = html.unescape(link["refuri"])


def number_by_page(app, env):
    """A page outside the numbered parts counts what it has by itself, as its notebook does."""
    for kinds in env.toc_fignumbers.values():
        for numbers in kinds.values():
            if all(len(number) == 1 for number in numbers.values()):
                order = sorted(numbers, key=numbers.get)
                numbers.update({name: (place,) for place, name in enumerate(order, 1)})
    return []


def pages_with_new_outputs(app, env, added, changed, removed):
    """A page is read again when its cells have run again, though its source is the same."""
    records = get_cache(app.config.nb_execution_cache_path).list_cache_records()
    ran = {record.uri: record.data.get("key") for record in records}
    known, env.companion_ran = getattr(env, "companion_ran", {}), ran
    return [page for page in ran if page in env.all_docs and ran[page] != known.get(page)]


def write_side_by_side(app, env):
    """Pages are written in processes of their own; not all extensions can read that way."""
    app.parallel = max(2, os.cpu_count() or 1)  # the first process prepares what the others write
    env.get_domain("std").reader = Reader(env)


def without_thebe(app, pagename, templatename, context, doctree):
    # Jupyter Book has its scripts on every page, twice, though nothing here runs by them.
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body')}".lower()
    ]


def replace_downloads(app, error):
    # The theme offers the executed source for download, raw directives included. Hand out the
    # generated notebook instead.
    sources = Path(app.outdir) / "_sources"
    for executed in sources.rglob("*.ipynb"):
        generated = ROOT / executed.relative_to(sources)
        if generated.exists():
            shutil.copyfile(generated, executed)
    for source in sources.rglob("*.md"):
        text = source.read_text(encoding="utf-8")
        if published(text) != text:
            source.write_text(published(text), encoding="utf-8")


def published(text):
    """The source of a problem set without what only its grader reads."""
    return GRADING.sub("", text)


def shrink_images(app, error):
    images = [*(Path(app.outdir) / "_images").glob("*.png")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow lets other threads run meanwhile
        list(pool.map(shrink, images))


def shrink(path):
    # Figures have two pixels a point and few colours: a palette takes a third of the bytes.
    # This method takes half the time of Pillow's usual one, and its colours are nearer.
    with Image.open(path) as image:
        if image.mode != "P":
            image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path)


class Reader:
    """An environment of Sphinx that reads the tree of each page once, for those who only look."""

    def __init__(self, env):
        self.env, self.get_doctree = env, cache(env.get_doctree)

    def __getattr__(self, name):
        return getattr(self.env, name)


class Standard(StandardDomain):
    """Finds the number of a figure without reading its page anew for each mention."""

    reader = None  # once all pages are there

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):
        env = self.reader if typ == "numref" and self.reader else env
        return super().resolve_xref(env, fromdocname, builder, typ, target, node, contnode)


class Grading(Directive):
    """What only the grader of a problem set reads leaves no trace in the book."""

    has_content, required_arguments = True, 1
    option_spec: ClassVar = {"points": directives.nonnegative_int}

    def run(self):
        return []


def setup(app):
    app.add_domain(Standard, override=True)
    # Or each citation looks at all that is installed.
    plugin.entry_points = cache(plugin.entry_points)
    app.add_directive("grading", Grading)
    app.add_config_value("companion_static", "", "html")
    app.connect("config-inited", set_options)
    app.connect("env-get-outdated", pages_with_new_outputs)
    app.connect("env-get-updated", number_by_page, priority=900)  # after Sphinx has numbered all
    app.connect("env-updated", write_side_by_side)
    app.connect("doctree-read", mend_play_links)
    app.connect("html-page-context", add_play_scripts)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("build-finished", replace_downloads)
    app.connect("build-finished", shrink_images)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
