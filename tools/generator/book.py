"""What the chapters share: pages, labels, the bibliography, the address of the repository."""

import re
import tomllib
from pathlib import Path

import yaml
from pybtex.database import parse_file

from .chapter import Chapter
from .needs import extras
from .source import ChapterError

ROOT = Path(__file__).resolve().parent.parent.parent
WHERE = ("journal", "booktitle", "howpublished", "institution", "publisher")


class Book:
    """The pages of _toc.yml, their labels, and what a notebook takes from _config.yml."""

    def __init__(self, root: Path = ROOT):
        self.root = root
        config = yaml.safe_load(self.read("_config.yml"))
        self.url, self.branch = config["repository"]["url"], config["repository"]["branch"]
        project = tomllib.loads(self.read("pyproject.toml"))["project"]
        self.package, self.extras = project["name"], extras(project)
        self.entries = parse_file(root / config["bibtex_bibfiles"][0], "bibtex").entries
        self.labels: dict[str, tuple[str, str, str]] = {}  # label: (kind, text, page)
        self.titles: dict[str, str] = {}

        toc = yaml.safe_load(self.read("_toc.yml"))
        self.numbers: dict[str, int] = {}
        self.parts: dict[str, str] = {}
        pages = [toc["root"]]
        for part in toc["parts"]:
            for chapter in part["chapters"]:
                pages.append(chapter["file"])
                self.parts[chapter["file"]] = part.get("caption", "")
                if part.get("numbered"):
                    self.numbers[chapter["file"]] = len(self.numbers) + 1
        self.sources = {
            page: self.read(f"{page}.md") for page in pages if (root / f"{page}.md").exists()
        }
        self.chapters = [page for page, text in self.sources.items() if "{code-cell}" in text]
        for page in self.sources:
            self._read_headings(page)
        for page in self.chapters:  # the first pass collects the labels that the second one names
            Chapter(self, page, strict=False).collect()

    def read(self, name: str) -> str:
        try:
            return (self.root / name).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise ChapterError(f"{name}:{line}: this is not UTF-8 ({error.reason})") from None

    def _read_headings(self, page: str):
        target = ""
        for block in Chapter(self, page).parsed():
            if block.kind == "heading":
                title = block.body[0].strip("# ")
                if target:
                    self.labels[target] = ("section", title, page)
                if page not in self.titles:
                    self.titles[page] = title
            target = block.name if block.kind == "target" else ""
            if block.options.get("name") and page not in self.chapters:  # a claim, say
                self.labels[block.options["name"]] = ("section", block.argument, page)

    def link(self, page: str) -> str:
        """Address of a page for a reader of a notebook, wherever the notebook is open."""
        if page not in self.chapters:
            return f"{self.url}/blob/{self.branch}/{page}.md"
        repository = self.url.removeprefix("https://github.com/")
        return (
            f"https://colab.research.google.com/github/{repository}/blob/{self.branch}/{page}.ipynb"
        )

    def notebooks(self) -> dict[Path, str]:
        """Path and text of every notebook."""
        return {
            self.root / f"{page}.ipynb": Chapter(self, page).notebook() for page in self.chapters
        }

    def solutions(self) -> dict[str, str]:
        """Name and text of the solution notebook of every problem set."""
        pages = [page for page in self.chapters if "{grading}" in self.sources[page]]
        return {
            f"{Path(page).name}_solution.ipynb": Chapter(self, page, solutions=True).notebook()
            for page in pages
        }

    def authors(self, key: str) -> list[str]:
        return [
            "".join(str(name) for name in person.rich_last_names)
            for person in self.entries[key].persons["author"]
        ]

    def address(self, key: str) -> str:
        fields = self.entries[key].fields
        return f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")

    def reference(self, key: str) -> str:
        """An item of a list of references."""
        fields, authors = self.entries[key].fields, self.authors(key)
        names = ", ".join(authors[:-1]) + " and " + authors[-1] if authors[1:] else authors[0]
        parts = re.split(r"(\$[^$]*\$)", fields["title"])
        title = "".join(p if p.startswith("$") else re.sub("[{}]", "", p) for p in parts)
        venue = next((fields[k] for k in WHERE if k in fields), "")
        text = f"{names} ({fields['year']}). {title}. *{venue}*."
        return f"{text} <{self.address(key)}>" if self.address(key) else text
