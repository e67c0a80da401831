"""What every test and doctest finds in place."""

from collections import Counter
from contextlib import ExitStack
from importlib import import_module

import pytest

# Here parameters are rules, answers and ways to give the same numbers.
SAME_LINES = ("tests/grade/", "tests/kernels/", "tests/optim/", "tests/simulate/")
# What many tests import. Nothing of this repository: coverage would miss the lines that it runs.
IMPORTED = (
    "matplotlib.pyplot",
    "pandas",
    "scipy.stats",
    "seaborn",
    "sklearn.datasets",
    "torch._dynamo",
    "torch.distributed.checkpoint",
)
# How many runs of a test with parameters this process has measured.
_measured = Counter()


def pytest_configure(config):
    """Make the long imports before coverage's tracer slows them down, and let kernels have them.

    The process that gives tests to others imports nothing: they wait for it.
    """
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if not runs_tests:
        return
    for name in IMPORTED:
        import_module(name)
    if config.getoption("nbmake", False):
        from tools.kernels import forked

        stack = ExitStack()
        stack.enter_context(forked())
        config.add_cleanup(stack.close)


@pytest.fixture(autouse=True)
def _names_in_doctests(doctest_namespace):
    import torch

    doctest_namespace["torch"] = torch


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none."""
    import torch

    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    """Measure the coverage of three parameters of a test that is marked ``same_lines``.

    Coverage's tracer makes Python three to seven times slower. What it leaves out can only lower
    the coverage that it reports.
    """
    if item.get_closest_marker("same_lines") or item.nodeid.startswith(SAME_LINES):
        test = item.nodeid.partition("[")[0]
        _measured[test] += 1
        if _measured[test] > 3:
            item.add_marker("no_cover")
    return (yield)
