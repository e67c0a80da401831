"""What a chapter shows besides figures: source code of the package, and small tables."""

import inspect
import textwrap
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, repr=False)
class Source:
    """Source text that notebooks render as a highlighted block of Python."""

    text: str

    def __repr__(self):
        return self.text

    def _repr_markdown_(self):
        return f"```python\n{self.text}\n```"


def source(obj) -> Source:
    """Return the source of a function, class or module, as it stands in the package.

    A decorator such as ``@staticmethod`` is part of the text; the indentation of a method is not.

    Parameters
    ----------
    obj : function, method, class or module
        Whose source to show. An object made by the interpreter or in C has none.

    Raises
    ------
    TypeError
        If ``obj`` has no Python source.

    Examples
    --------
    >>> from companion.optim import SGD
    >>> source(SGD.rule)
    @staticmethod
    def rule(x, g, s, t, h):
    ...
    """
    try:
        text = inspect.getsource(obj)
    except (TypeError, OSError) as error:
        raise TypeError(
            f"source: obj must be a function, class or module written in Python, got {obj!r}"
        ) from error
    return Source(textwrap.dedent(text).rstrip())


@dataclass(frozen=True, repr=False)
class Table:
    """A small table: HTML in notebooks, aligned text elsewhere."""

    frame: object
    caption: str | None
    digits: int

    def _number(self, value):
        return f"{value:.{self.digits}g}"

    def __repr__(self):
        text = self.frame.to_string(index=False, float_format=self._number)
        return f"{self.caption}\n{text}" if self.caption else text

    def _repr_html_(self):
        body = self.frame.to_html(index=False, border=0, float_format=self._number)
        if self.caption is None:
            return body
        start = body.index(">") + 1
        return f"{body[:start]}\n  <caption>{escape(self.caption)}</caption>{body[start:]}"


def table(frame, caption: str | None = None, digits: int = 3) -> Table:
    """Return a table without its index, with numbers of so many significant digits.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row a line, columns named as they are to be read.
    caption : str, optional
        What the table says.
    digits : int
        Significant digits of floating-point numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> table(pd.DataFrame({"optimizer": ["SGD", "Adam"], "loss": [0.123456, 0.0123456]}))
    optimizer   loss
          SGD  0.123
         Adam 0.0123
    """
    return Table(frame, caption, digits)
