"""A small problem set and what students hand in for it."""

import json

MASTER = """\
---
grading:
  preload: []
---
# A small set

```{exercise} Twice
:label: twice
Return $2x$.
```

```{code-cell} ipython3
:tags: [stub]
def twice(x):
    return ...
```

````{grading} twice
:points: 5

```python solution
def twice(x):
    return 2 * x
```

```python tests
@test(2, "a number")
def number(student, draw):
    expect(student("twice", 3.0), 6.0, "add x to itself", "x = 3")


@test(3, "a secret number")
def secret(student, draw):
    x = draw.uniform(1, 2)
    expect(student("twice", x), 2 * x, "add x to itself", "a number between 1 and 2")
```
````

```{exercise} Square
:label: square
Return $x^2$.
```

```{code-cell} ipython3
:tags: [stub]
def square(x):
    return ...
```

````{grading} square
:points: 4

```python solution
def square(x):
    return x * x
```

```python tests
@test(4, "a number")
def number(student, draw):
    expect(student("square", 3.0), 9.0, "x times x")
```
````

```{exercise} A proof: even
:label: proof
Prove that $2x$ is even.
```

+++

*Your proof stands here.*

````{grading} proof
:points: 3

By definition.

```yaml rubric
- {item: the definition, points: 1}
- {item: the conclusion, points: 2}
```
````
"""
TWICE, SQUARE = "def twice(x):\n    return 2 * x", "def square(x):\n    return x * x"


def cell(source, kind="code"):
    return {"cell_type": kind, "source": source, "metadata": {}, "outputs": []}


def notebook(*sources, **metadata):
    """Return the text of a notebook of code cells."""
    cells = [cell(source) if isinstance(source, str) else source for source in sources]
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


PROOF = [
    cell("#### Exercise 3 (A proof: even)\n\nProve it.", "markdown"),
    cell("As $2x$ is.", "markdown"),
]

# File: content, points of twice and square.
SUBMISSIONS = {
    "perfect.ipynb": (notebook(TWICE, SQUARE, *PROOF), 5, 4),
    "script.py": (f"# %%\n{TWICE}\n# %%\n{SQUARE}\n", 5, 4),
    "renamed homework (final) 2.ipynb": (notebook(SQUARE), 0, 4),
    "syntax.ipynb": (notebook("def twice(x:\n    return", SQUARE), 0, 4),
    "stub.ipynb": (notebook("def twice(x):\n    return ...", "def square(x): ..."), 0, 0),
    "nan.ipynb": (notebook("def twice(x): return float('nan')", SQUARE), 0, 4),
    "known.ipynb": (notebook("def twice(x): return 6.0", SQUARE), 2, 4),
    "metadata.ipynb": (
        notebook({**cell(TWICE), "metadata": {"points": 99, "deletable": "?"}}, SQUARE, points=99),
        5,
        4,
    ),
    "forged.ipynb": (
        notebook("print('{\"points\": 12}')\nprint('twice: correct')", SQUARE, author="perfect"),
        0,
        4,
    ),
    "exits.ipynb": (notebook("import os\nos._exit(0)", SQUARE), 0, 4),
    "patched.ipynb": (
        notebook("import json\njson.dumps = lambda *a, **k: '{}'\n" + TWICE, SQUARE),
        0,  # its cell is left out: the process says nothing any more
        4,
    ),
    "not json.ipynb": ("{", 0, 0),
    "empty.ipynb": ("{}", 0, 0),
    "list.ipynb": ("[1, 2]", 0, 0),
    "strange.ipynb": ('{"cells": [1, {"cell_type": "code", "source": 3}, null]}', 0, 0),
    "surrogate.ipynb": (notebook(SQUARE, "x = '\ud800'", "raise ValueError('\ud800')"), 0, 4),
    "=cmd().ipynb": (notebook(TWICE), 5, 0),
}
