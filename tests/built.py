"""The built book as tests read it and open it."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
PAGES = sorted((HTML / "book").rglob("*.html"))
PATIENCE = 300_000  # ms: other programs may keep the machine busy
# In the head of a page: nothing is laid out before all of the page is there.
WHOLE = '<link rel="expect" blocking="render" href="#whole">'
TOKEN = re.compile(r'<span class="(\w{1,2})">([^<>]*)</span>')


def light(text: str) -> str:
    """Return a page without most elements in its code, which are three quarters of all.

    What a token looks like hangs on its class alone: the longest of each class stands for all.
    """
    longest = {}
    for kind, token in TOKEN.findall(text):
        longest[kind] = max(longest.get(kind, ""), token, key=len)
    stays = lambda m: longest.get(m[1]) == m[2] and longest.pop(m[1])  # noqa: E731
    return TOKEN.sub(lambda m: m[0] if stays(m) else m[2], text)


class Tab:
    """A page of the browser, in which tests open one page of the book after the other.

    A new one would take longer than what most tests do in it, and compile the scripts once more.
    """

    def __init__(self, browser, **context):
        self.page = browser.new_page(**context)
        self.page.set_default_timeout(PATIENCE)
        self.page.route("**/*.html", self.serve)
        self.said, self.head = [], ""  # what the console says, and what pages get into their heads
        self.page.on("console", lambda m: self.said.append(m.text) if m.type == "error" else 0)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def serve(self, route):
        url = urlsplit(route.request.url)
        if url.scheme == "file":
            text = Path(unquote(url.path)).read_text(encoding="utf-8")
        else:
            text = route.fetch().text()
        body = light(text).replace("<head>", f"<head>{self.head}", 1)
        route.fulfill(body=body, content_type="text/html; charset=utf-8")

    def open(self, address, head="", width=1280, height=900):
        """Open an address by day, as if nothing had been open before."""
        self.page.goto("about:blank")
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self.head = head
        self.said.clear()
        self.page.goto(address)
