"""Packages that hold reference answers, which a student's code may import and not use.

A name that a set refuses can be imported, so that the other lines of a cell run; it raises where it
is used. The package that a refused module is part of goes on using it: torch loads some of its own
parts late. This is for honest code: who copies a reference by hand is found by reading.
"""

import importlib.machinery
import os
import sys
import types


class Refused(Exception):
    """The set does not offer this; it asks to write it."""


class Placeholder:
    """Stands for a name that a set does not offer; raises wherever it is used."""

    def __init__(self, name):
        object.__setattr__(self, "_name", name)

    def _refuse(self, *args, **kwargs):
        raise Refused(f"{self._name} is not offered in this problem set: write it yourself")

    __call__ = __iter__ = __len__ = __enter__ = __mro_entries__ = _refuse
    __getitem__ = __setattr__ = __float__ = __add__ = __mul__ = _refuse

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(f"{self._name}.{name}")


class _Module(types.ModuleType):
    """A refused module: every name in it is a placeholder, but to the package it belongs to."""

    def __init__(self, name, real=None):
        super().__init__(name)
        self.__dict__["_real"] = real

    def __getattr__(self, name):
        if self._real is not None and _by_package(self.__name__, sys._getframe(1)):
            return getattr(self._real, name)
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(f"{self.__name__}.{name}")


class Finder:
    """Import hook: modules of ``refused`` packages, dotted names with all below them, are empty."""

    def __init__(self, refused):
        self.refused = tuple(refused)

    def find_spec(self, name, path=None, target=None):
        """Return a spec for what is refused, and nothing for the rest."""
        frame = sys._getframe(1)
        while "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if not _within(name, self.refused) or _by_package(name, frame):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        """Return an empty module."""
        return _Module(spec.name)

    def exec_module(self, module):
        """Fill in the one thing that a notebook calls while it is graded: a mute check."""
        if module.__name__ == "companion.grade":
            module.check = lambda *args, **kwargs: None


def _by_package(name: str, frame) -> bool:
    """Say whether a frame runs code of the package that a module belongs to."""
    file = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
    return bool(file) and frame.f_code.co_filename.startswith(os.path.dirname(file) + os.sep)


def _within(name, roots):
    return any(name == root or name.startswith(root + ".") for root in roots)


def install(refused) -> None:
    """Refuse modules from now on, also those that are imported already."""
    finder = Finder(refused)
    sys.meta_path.insert(0, finder)
    for name in [n for n in sys.modules if _within(n, refused)]:
        empty = sys.modules[name] = _Module(name, sys.modules[name])
        empty.__path__ = []
        parent, _, last = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], last, empty)
