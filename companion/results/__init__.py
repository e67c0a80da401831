"""Results of runs too long for a page, stored with the package so that every notebook finds them.

The scripts in ``benchmarks/`` make them; each table carries its settings, seeds, versions, device
and date.
"""

from importlib.resources import files

import pandas as pd


def load(name: str) -> pd.DataFrame:
    """Return a stored table.

    Parameters
    ----------
    name : str
        Such as ``"toy"``, for the file ``toy.csv``.

    Raises
    ------
    ValueError
        No table of this name; the message lists those there are.

    Examples
    --------
    >>> load("networks-gpt").optimizer.unique()[:2].tolist()
    ['SGD', 'AdaSGD']
    """
    found = {p.name[:-4]: p for p in files(__name__).iterdir() if p.name.endswith(".csv")}
    if name not in found:
        raise ValueError(f"name: expected one of {sorted(found)}, got {name!r}")
    with found[name].open(encoding="utf-8") as file:
        return pd.read_csv(file)
