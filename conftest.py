"""What every test and doctest finds in place."""

from collections import Counter
from contextlib import ExitStack

import pytest
import torch

# Here parameters are rules, answers and ways to give the same numbers.
SAME_LINES = ("tests/grade/", "tests/kernels/", "tests/optim/", "tests/simulate/")
# How many runs of a test with parameters this process has measured.
_measured = Counter()


def pytest_configure(config):
    """Let the kernels of notebooks begin with the imports done."""
    if config.getoption("nbmake", False):
        from tools.kernels import forked

        stack = ExitStack()
        stack.enter_context(forked())
        config.add_cleanup(stack.close)


@pytest.fixture(autouse=True)
def _names_in_doctests(doctest_namespace):
    doctest_namespace["torch"] = torch


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none."""
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
