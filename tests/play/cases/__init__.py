"""What each playable figure must show: a module a figure, named as the figure.

``SETTINGS`` : list of dict, at least three
    Values that differ from the figure's start.
``expected(v, data)`` : dict of str to number or list
    Expressions in ``r`` (what the figure computes) and ``v`` (all values), and what the package
    says they are.
``said(v, data)`` : list of float
    Numbers that stand in the figure's sentence, in this order, whatever else stands between.
``DATA`` : dict, optional
    What the page's cell gives the figure, where it gives anything.
``PICTURE`` : str
    The built page that has the figure, such as ``"book/foundations/01_sgd.html"``.
"""

import importlib
import json
import pkgutil
import re
from functools import lru_cache, wraps

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__))


def once(function):
    """Keep what a function of plain values returns: `expected` and `said` ask for the same runs."""
    kept = lru_cache(64)(lambda text: function(*json.loads(text)))
    return wraps(function)(lambda *given: kept(json.dumps(given)))


def case(name):
    """Return the module of a figure."""
    return importlib.import_module(f"tests.play.cases.{name}")


def each():
    """Return a pair (name, settings) for each setting of each figure."""
    return [(name, settings) for name in NAMES for settings in case(name).SETTINGS]


def numbers(sentence):
    """Return the numbers of a sentence, in order."""
    text = sentence.replace("−", "-").replace("∞", "inf")
    return [float(z) for z in re.findall(r"(?<![\w.])-?(?:\d+\.?\d*(?:e-?\d+)?|inf)", text)]


def has_in_order(found, wanted, rel=0.006):
    """Say whether wanted numbers stand among those found, in order, to three digits."""
    found = iter(found)
    return all(any(abs(z - w) <= rel * abs(w) + 1e-12 or z == w for z in found) for w in wanted)
