"""Each construct of a chapter has a plain form, and the committed notebooks are current."""

import json
import re

import nbformat
import pytest
import yaml

from tests import books
from tools.generator.book import ROOT, Book
from tools.generator.source import EXTENSIONS, ChapterError

pytestmark = pytest.mark.elsewhere  # in tools
HEADER = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
myst:
  substitutions: {scale: quick}
---
"""
CELL = "\n```{code-cell} ipython3\n1 + 1\n```\n"
CONFIG = (
    "repository: {url: https://github.com/some/where, branch: main}\nbibtex_bibfiles: [a.bib]\n"
)
TOC = """\
root: book/index
parts:
  - {caption: One, numbered: true, chapters: [{file: book/one/a}, {file: book/one/b}]}
"""
BIBLIOGRAPHY = r"""
@article{solo, author={Solo, Han}, title={Fast {$O(1/k^2)$} {Ships}},
  journal={J}, year={1977}, doi={10.1/x}}
@article{two, author={Polyak, B. and R{\'e}nyi, A.}, title={T}, journal={J}, year={1964}, url={https://a.b}}
@misc{many, author={A, X. and B, Y. and C, Z.}, title={T}, howpublished={H}, year={2000}}
"""


@pytest.fixture
def book(tmp_path):
    """A book of two chapters: call it with their text to get the notebook of the first."""
    (tmp_path / "book" / "one").mkdir(parents=True)
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "a.bib").write_text(BIBLIOGRAPHY)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "the-package"\n')
    (tmp_path / "book" / "pic.svg").write_text("<svg/>")
    (tmp_path / "book" / "index.md").write_text("# Welcome\n")

    def write(text, other="# B\n", cell=CELL, header=HEADER):
        (tmp_path / "book" / "one" / "a.md").write_text(header + text + cell)
        (tmp_path / "book" / "one" / "b.md").write_text(HEADER + other + CELL)
        made = Book(tmp_path).notebooks()
        return nbformat.reads(made[tmp_path / "book" / "one" / "a.ipynb"], as_version=4)

    return write


def text_of(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


B = "https://colab.research.google.com/github/some/where/blob/main/book/one/b.ipynb"
CONSTRUCTS = {
    "a comment is dropped": ("% secret\nText.", "Text."),
    "a target is dropped": ("(here)=\n# Title", "# Title"),
    "math stays": ("Let $x_t$ be.\n\n$$\nx = 1\n$$", "Let $x_t$ be.\n\n$$\nx = 1\n$$"),
    "a labelled equation": (
        "$$\nx = 1\n$$ (e)\n\nSee {eq}`e`.",
        "$$\nx = 1 \\tag{1.1}\n$$\n\nSee (1.1).",
    ),
    "a math directive": (
        "```{math}\n:label: e\na &= b \\\\\nc &= d\n```",
        "$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned} \\tag{1.1}\n$$",
    ),
    "an amsmath environment": (
        "\\begin{align*}\na\n\\end{align*}",
        "\\begin{align*}\na\n\\end{align*}",
    ),
    "text around an environment": (
        "x\n\\begin{align}\na\n\\end{align}\ny\n\n$$z$$ (e)",
        "x\n\n\\begin{align}\na\n\\end{align}\n\ny\n\n$$\nz \\tag{1.2}\n$$",
    ),
    "a note": ("```{note}\nMind $x$.\n```", "> **Note**\n>\n> Mind $x$."),
    "a colon fence": (":::{tip}\nTry.\n:::", "> **Tip**\n>\n> Try."),
    "an admonition": (
        "````{admonition} Goals\n:class: tip\n- one\n\n```python\nx\n```\n````",
        "> **Goals**\n>\n> - one\n>\n> ```python\n> x\n> ```",
    ),
    "math in a quote": ("```{note}\n$$\na \\\\\nb\n$$\n```", "> **Note**\n>\n> $$ a \\\\ b $$"),
    "a margin note": ("```{margin}\nAside.\n```", "> Aside."),
    "a dropdown": (
        "```{dropdown} More\nText.\n```",
        "<details>\n<summary>More</summary>\n\nText.\n\n</details>",
    ),
    "a note in a list": (
        "- item\n\n  ```{note}\n  Mind.\n  ```",
        "- item\n\n  > **Note**\n  >\n  > Mind.",
    ),
    "a theorem": (
        "```{prf:theorem} Rate\n:label: t\nFast.\n```\n\n```{prf:proof}\nBy {prf:ref}`t`.\n```",
        "> **Theorem 1.1 (Rate).**\n>\n> Fast.\n\n*Proof.* By Theorem 1.1. $\\square$",
    ),
    "kinds are counted apart": (
        "```{prf:lemma}\nA.\n```\n\n```{prf:definition}\nB.\n```\n\n```{prf:lemma}\nC.\n```",
        "> **Lemma 1.1.**\n>\n> A.\n\n> **Definition 1.1.**\n>\n> B.\n\n> **Lemma 1.2.**\n>\n> C.",
    ),
    "an exercise and its solution": (
        "```{exercise} Try\n:label: x\nDo.\n```\n\n```{solution} x\n:class: dropdown\nDone.\n```",
        "#### Exercise 1.1 (Try)\n\nDo.\n\n"
        "<details>\n<summary>Solution to Exercise 1.1</summary>\n\nDone.\n\n</details>",
    ),
    "a gated exercise": (
        "```{exercise-start}\n:label: x\n```\n\nDo.\n\n```{exercise-end}\n```\n\nSee {ref}`x`.",
        "#### Exercise 1.1\n\nDo.\n\nSee Exercise 1.1.",
    ),
    "who and when": ("{cite:t}`solo` said", "[Solo (1977)](https://doi.org/10.1/x) said"),
    "cited in brackets": (
        "so {cite:p}`two,many`",
        "so ([Polyak and Rényi, 1964](https://a.b); A et al., 2000)",
    ),
    "a list of references": (
        "{cite:t}`solo`\n\n```{bibliography}\n:filter: docname in docnames\n```",
        "[Solo (1977)](https://doi.org/10.1/x)\n\n"
        "- Solo (1977). Fast $O(1/k^2)$ Ships. *J*. <https://doi.org/10.1/x>",
    ),
    "a link to a page": ("{doc}`b` or {doc}`the next <b>`", f"[B]({B}) or [the next]({B})"),
    "a page without code": (
        "{doc}`/book/index`",
        "[Welcome](https://github.com/some/where/blob/main/book/index.md)",
    ),
    "a Markdown link to a page": ("[next](b.md)", f"[next]({B})"),
    "a section": ("(s)=\n## Rates\n\n{ref}`s` and {ref}`here <s>`", "## Rates\n\nRates and here"),
    "a figure from a file": (
        "```{figure} ../pic.svg\n:name: f\n:alt: A pic\nIt shows.\n```\n\n"
        "See {numref}`f`, {numref}`figure %s <f>`.",
        "![A pic](https://github.com/some/where/raw/main/book/pic.svg)\n\n"
        "**Fig. 1.1.** It shows.\n\nSee Fig. 1.1, figure 1.1.",
    ),
    "a list table": (
        "```{list-table} Sizes\n:name: t\n:header-rows: 1\n* - a\n  - b\n* - $x$\n  - 2\n```",
        "**Table 1.1.** Sizes\n\n| a | b |\n|---|---|\n| $x$ | 2 |",
    ),
    "a Markdown table": ("| a |\n|---|\n| 1 |", "| a |\n|---|\n| 1 |"),
    "a footnote": ("Text[^n].\n\n[^n]: Note.", "Text<sup>[n]</sup>.\n\n<sup>[n]</sup> Note."),
    "a definition list": ("Term\n: What it is", "**Term**: What it is"),
    "a substitution": ("Scale {{ scale }}.", "Scale quick."),
    "code is left alone": ("Write `{eq}` or ``{eq}`e` ``.", "Write `{eq}` or ``{eq}`e` ``."),
    "a code block": ("```python\n% no comment\n```", "```python\n% no comment\n```"),
    "code in code": ("````md\n```{note}\nx\n```\n````", "````md\n```{note}\nx\n```\n````"),
    "tildes": ("~~~{note}\n```python\nx\n```\n~~~", "> **Note**\n>\n> ```python\n> x\n> ```"),
    "backticks in a code block": (
        "````{code-block} md\n```{note}\n```\n````",
        "````md\n```{note}\n```\n````",
    ),
    "nested colons": (
        "::::{note}\n:::{dropdown} More\nx\n:::\n::::",
        "> **Note**\n>\n> <details>\n> <summary>More</summary>\n>\n> x\n>\n> </details>",
    ),
    "a directive that begins an item": (
        "- ```{note}\n  Mind.\n  ```\n- two",
        "- > **Note**\n  >\n  > Mind.\n\n- two",
    ),
    "a formula in a list": ("- item\n\n  $$\n  x\n  $$", "- item\n\n  $$\n  x\n  $$"),
    "a directive in a quote": (
        "> ```{math}\n> x\n> ```",
        "> $$\n> x\n> $$",
    ),
    "indented code": ("Text.\n\n    {{ scale }} ```{note}\n", "Text.\n\n    {{ scale }} ```{note}"),
    "substitutions outside code and formulas": (
        "`{{ scale }}`, $x_{{scale}}$ and {{ scale }}",
        "`{{ scale }}`, $x_{{scale}}$ and quick",
    ),
    "a name in a code block": ("```\n{{ scale }}\n```", "```\n{{ scale }}\n```"),
    "footnotes outside code": ("`x[^n]` has $x[^n]$.", "`x[^n]` has $x[^n]$."),
    "dollars in code": (
        "`a $ b` and {eq}`e` and `$`\n\n$$x$$ (e)",
        "`a $ b` and (1.1) and `$`\n\n$$\nx \\tag{1.1}\n$$",
    ),
    "an escaped dollar": (r"\$5 and {doc}`b`, \$6", rf"\$5 and [B]({B}), \$6"),
    "a commented fence": ("<!--\n```{code-cell}\nno\n```\n-->\n\nText.", "Text."),
    "a fence commented line by line": ("% ```{code-cell}\n% no\n% ```\nText.", "Text."),
    "a comment between a fence's lines": (
        "```\n<!--\n```\n\nText.\n-->",
        "```\n<!--\n```\n\nText.\n-->",
    ),
    "bars in a list table": (
        "```{list-table}\n:header-rows: 1\n* - `a|b`\n  - $|x| \\le \\|y\\|$\n* - a|b\n  - -1\n```",
        r"| `a\|b` | $\vert x\vert  \le \Vert y\Vert $ |" + "\n|---|---|\n" + r"| a\|b | -1 |",
    ),
    "a list table without a header": (
        "```{list-table}\n* - a\n  -\n* - long\n    text\n  - b\n```",
        "|  |  |\n|---|---|\n| a |  |\n| long text | b |",
    ),
    "options with a colon": (
        "```{image} ../pic.svg\n:alt: Loss: $x$ [a]\n```",
        "![Loss: $x$ [a]](https://github.com/some/where/raw/main/book/pic.svg)",
    ),
    "a tab": ("-\titem\n\n\t```{note}\n\tMind.\n\t```", "-\titem\n\n\t> **Note**\n\t>\n\t> Mind."),
    "a space that does not break": (
        "Fig.\u00a01, {abbr}`a\u00a0b`.\n\u00a0\nx",
        "Fig.\u00a01, a\u00a0b.\n\u00a0\nx",
    ),
    "a role over two lines": ("see {doc}`the\nnext <b>`", f"see [the next]({B})"),
    "a formula that holds a role's marks": ("$\\{a\\}$ `{b}`", "$\\{a\\}$ `{b}`"),
}


def test_a_named_block_of_a_page_without_cells_can_be_referred_to(book, tmp_path):
    page = "# Welcome\n\n````{dropdown} A claim\n:name: claim-one\n\nIt holds.\n````\n"
    (tmp_path / "book" / "index.md").write_text(page)
    address = "https://github.com/some/where/blob/main/book/index.md"
    assert text_of(book("{ref}`so <claim-one>`")) == f"[so]({address})"


@pytest.mark.parametrize(("source", "expected"), CONSTRUCTS.values(), ids=CONSTRUCTS)
def test_construct_becomes_plain_markdown(book, source, expected):
    assert text_of(book(source)) == expected


def test_reference_to_another_chapter_links_to_it(book):
    notebook = book(
        "{eq}`far` and {prf:ref}`t`", "# B\n\n$$x$$ (far)\n\n```{prf:lemma}\n:label: t\nL.\n```\n"
    )
    assert text_of(notebook) == f"[(2.1)]({B}) and [Lemma 2.1]({B})"


ERRORS = {
    "unknown directive": ("\n```{bokeh} x\n```", r"a\.md:8: .*\{bokeh\}"),
    "unknown role": ("Text {glue}`x`.", r"a\.md:7: .*\{glue\}"),
    "unknown label": ("\n\n{eq}`nowhere`", r"a\.md:9: .*nowhere"),
    "unknown key": ("{cite:t}`nobody`", r"a\.md:7: .*nobody"),
    "unknown page": ("{doc}`nowhere`", r"a\.md:7: .*nowhere"),
    "unknown substitution": ("{{ nothing }}", r"a\.md:7: .*nothing"),
    "missing image": ("```{image} no.png\n:alt: None\n```", r"a\.md:7: .*no\.png"),
    "open fence": ("````{note}\nText", r"a\.md:7: .*never closed"),
    "open fence in a list": ("- x\n\n  ```{note}\n  Text\n\nMore", r"a\.md:9: .*never closed"),
    "open colon fence": ("::::{note}\n:::{tip}\n:::\n", r"a\.md:7: .*never closed"),
    "open formula": ("Text.\n\n$$\nx\n", r"a\.md:9: .*never closed"),
    "open environment": ("\\begin{align}\nx\n", r"a\.md:7: .*never closed"),
    "open options": ("```{note}\n---\nclass: x\n```", r"a\.md:8: .*never ended"),
    "broken options": ("\n```{note}\n---\na: [\n---\n```", r"a\.md:9: .*cannot be read"),
    "options without names": ("```{note}\n---\n- a\n---\n```", r"a\.md:8: .*names with values"),
    "a fence that names nothing": ("```{ note }\n```", r"a\.md:7: .*no directive"),
    "a cell in colons": (":::{code-cell}\n1\n:::", r"a\.md:7: .*\{code-cell\}"),
    "a cell in a list": ("- x\n\n  ```{code-cell}\n  1\n  ```", r"a\.md:9: .*\{code-cell\}"),
    "a cell in a note": ("````{note}\n```{code-cell}\n1\n```\n````", r"a\.md:8: .*\{code-cell\}"),
    "unknown directive in a list": ("- x\n\n  ```{bokeh}\n  ```", r"a\.md:9: .*\{bokeh\}"),
    "unknown role on the second line": ("Text\n{glue}`x`.", r"a\.md:8: .*\{glue\}"),
    "an expression": ("{{ scale|upper }}", r"a\.md:7: .*scale\|upper"),
    "a list table that is none": ("```{list-table}\nText\n```", r"a\.md:[78]: .*list of lists"),
    "an empty list table": ("```{list-table}\n```", r"a\.md:7: .*equally many"),
    "a ragged list table": ("```{list-table}\n* - a\n  - b\n* - c\n```", r"a\.md:7: .*equally"),
    "a list table with code": (
        "```{list-table}\n* - a\n\n    ~~~\n    x\n    ~~~\n```",
        r"a\.md:10: .*text only",
    ),
    "a solution in a solution": (
        "```{exercise}\n:label: x\n```\n\n```{solution-start} x\n```\n\n```{solution-start} x\n```",
        r"a\.md:14: line 11",
    ),
    "a figure that is a word": (
        "```{code-cell}\n---\nmystnb: figure\n---\n1\n```",
        r"a\.md:7: AttributeError",
    ),
    "inline display math": ("Let $$x$$ be.", r"a\.md:7: .*lines of its own"),
    "solution without an end": (
        "```{exercise}\n:label: x\nDo.\n```\n\n```{solution-start} x\n```\n",
        r"a\.md:12: .*never ended",
    ),
    "proof that cannot fold": (
        "```{prf:proof}\n:class: dropdown\nEasy.\n```",
        r"a\.md:7: .*does not fold",
    ),
    "the same label twice": ("$$x$$ (e)\n\n$$y$$ (e)", r"a\.md:9: .*label e"),
}


@pytest.mark.parametrize(("source", "message"), ERRORS.values(), ids=ERRORS)
def test_error_names_file_and_line(book, source, message):
    with pytest.raises(ChapterError, match=message):
        book(source)


HEADERS = {
    "none": ("", "jupytext and kernelspec"),
    "open": ("---\na: 1\n", "a.md:1: .*never closed"),
    "broken": ("---\na: [\n---\n", "a.md:1: .*cannot be read"),
    "a list": ("---\n- a\n---\n", "a.md:1: .*names with values"),
}


@pytest.mark.parametrize(("header", "message"), HEADERS.values(), ids=HEADERS)
def test_header_that_cannot_be_used_is_an_error(book, header, message):
    with pytest.raises(ChapterError, match=message):
        book("# A\n", header=header)


def test_other_line_ends_and_a_byte_order_mark_change_nothing(book, tmp_path):
    expected = book("# A\n\n```{note}\nMind.\n```\n")
    path = tmp_path / "book" / "one" / "a.md"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    made = Book(tmp_path).notebooks()[path.with_suffix(".ipynb")]
    assert nbformat.reads(made, as_version=4) == expected


def test_a_chapter_that_is_not_utf8_is_an_error(book, tmp_path):
    book("# A\n")
    (tmp_path / "book" / "index.md").write_bytes("# A\n\né".encode("latin-1"))
    with pytest.raises(ChapterError, match=r"book/index\.md:3: .*UTF-8"):
        Book(tmp_path)


def test_title_is_the_first_heading_not_a_comment_in_code(book):
    other = "```python\n# no title\n```\n\n# B\n"
    assert text_of(book("{doc}`b`", other)) == f"[B]({B})"


def test_markup_is_read_as_in_the_built_book():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert set(config["parse"]["myst_enable_extensions"]) == EXTENSIONS


def test_cell_keeps_tags_and_caption(book):
    cell = (
        "\n```{code-cell} ipython3\n---\ntags: [hide-input]\nmystnb:\n"
        '  figure: {caption: "Noise $x$, {cite:t}`solo`.", name: f}\n'
        "  image: {alt: A line}\n---\nplot()\n```\n"
    )
    *_, code, caption = book("# A\n", cell=cell).cells
    assert code.source == "plot()"
    assert code.metadata == {
        "tags": ["hide-input"],
        "jupyter": {"source_hidden": True},
        "cellView": "form",
    }
    assert caption.source == "**Fig. 1.1.** Noise $x$, [Solo (1977)](https://doi.org/10.1/x)."


def test_solution_cell_is_folded(book):
    gates = (
        "```{exercise}\n:label: x\nDo.\n```\n%s\n"
        "```{solution-start} x\n:class: dropdown\n```\n%s\n```{solution-end}\n```\n"
    )
    notebook = book("# A\n\n" + gates % (CELL, CELL.replace("1 + 1", "2")), cell="\nAfter.\n")
    assert [cell.source for cell in notebook.cells[2:]] == [
        "1 + 1",
        "<details>\n<summary>Solution to Exercise 1.1</summary>\n\n"
        "The code stands in the folded cell below.\n\n</details>",
        "2",
        "After.",
    ]
    assert "jupyter" not in notebook.cells[2].metadata
    assert notebook.cells[4].metadata.jupyter.source_hidden


def test_bootstrap_is_the_first_code_cell_and_acts_on_colab_only(book):
    notebook = book("# A\n\nIntro.\n\n## B\n\nMore.\n")
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert notebook.cells.index(first) == 1
    assert '"the-package @ git+https://github.com/some/where@main"' in first.source
    before, after = first.source.split("else:")
    assert "import google.colab" in before
    assert "pip install --quiet --no-deps" in after


PACKAGE = {
    "recipes/__init__.py": 'MODULES = {"jump": "leap"}\n',
    "recipes/leap.py": "def train():\n    import gym\n    from companion.models import deep\n",
    "models/__init__.py": "",
    "models/deep.py": "import torch\ntry:\n    import two.b\nfinally:\n    pass\n"
    "def lazy():\n    import one\n",
}
NEEDS = {
    "import torch": [],
    "import one": ["one>=1"],
    "import phys": ["gym[phys]>=2"],
    "from companion import recipes\nrecipes.experiment('jump')": ["gym[phys]>=2", "two-b>=3"],
    "from companion import recipes": [],
    "x = 'jump'": [],
    "from companion.models import deep": ["one>=1", "two-b>=3"],
    "from companion.models.deep import lazy": ["one>=1", "two-b>=3"],
}


@pytest.mark.parametrize(("code", "requirements"), NEEDS.items(), ids=NEEDS)
def test_bootstrap_installs_what_the_notebook_imports(book, tmp_path, code, requirements):
    for name, text in PACKAGE.items():
        path = tmp_path / "companion" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("two.b", "two_b"))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\n[project.optional-dependencies]\n'
        'practice = ["one>=1", "gym[phys]>=2", "two-b>=3"]\n'
    )
    first = next(
        cell.source
        for cell in book("# A\n", cell=f"\n```{{code-cell}} ipython3\n{code}\n```\n").cells
        if cell.cell_type == "code"
    )
    line = "    %pip install --quiet " + " ".join(f'"{each}"' for each in requirements)
    assert first.split("\n")[7:] == [line] * bool(requirements)


def test_notebook_is_valid_and_byte_stable(book, tmp_path):
    notebook = book("# A\n" + CELL)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)  # equal cells too
    once, again = (Book(tmp_path).notebooks() for _ in range(2))
    assert once == again
    text = once[tmp_path / "book" / "one" / "a.ipynb"]
    assert text.endswith("}\n")
    assert "\r" not in text
    assert all(not cell.get("outputs") for cell in json.loads(text)["cells"])


def test_committed_notebooks_are_current():
    stale = [
        path.relative_to(ROOT).as_posix()
        for path, text in books.book().notebooks().items()
        if not path.exists() or path.read_bytes() != text.encode()
    ]
    assert not stale, f"run `make notebooks`, then commit: {', '.join(stale)}"


def test_every_notebook_has_a_chapter():
    made = {ROOT / f"{page}.ipynb" for page in books.book().chapters}
    assert set((ROOT / "book").rglob("*.ipynb")) <= made


def test_no_directive_or_role_remains():
    for path in sorted((ROOT / "book").rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                source = re.sub(
                    r"(`{3,})[^{].*?\1|(``+)(?!`).*?\2",
                    "",
                    "".join(cell["source"]),
                    flags=re.DOTALL,
                )
                found = re.search(r"[`:]{3,}\{|\{[a-z][\w:-]*\}`", source)
                assert not found, f"{path.name}: {source[found.start() : found.start() + 60]!r}"
