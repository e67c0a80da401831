"""What every test and doctest finds in place."""

from collections import Counter

import pytest
import torch

# How many runs of a test with parameters this process has measured.
_measured = Counter()


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
    """Measure the coverage of the first parameters of a test: of three if marked ``same_lines``.

    Coverage's tracer makes Python three to seven times slower. What it leaves out can only lower
    the coverage that it reports.
    """
    test = item.nodeid.partition("[")[0]
    _measured[test] += 1
    if _measured[test] > (3 if item.get_closest_marker("same_lines") else 8):
        item.add_marker("no_cover")
    return (yield)
