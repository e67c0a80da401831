"""What every test and doctest finds in place."""

from collections import Counter
from contextlib import ExitStack
from importlib import import_module

import pytest

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
# How many parameters in a row may run no line of the package that is new.
PATIENCE = 2
# How many they were so far, by test.
_in_vain = Counter()


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
def pytest_runtest_protocol(item):
    """Measure the coverage of a test as long as its parameters go on to run new lines.

    Coverage's tracer makes Python three to seven times slower. What it leaves out can only lower
    the coverage that it reports.
    """
    coverage = item.config.pluginmanager.get_plugin("_cov")
    if coverage is None or coverage.cov_controller is None:
        return (yield)
    control, test = coverage.cov_controller, item.nodeid.partition("[")[0]
    elsewhere = item.get_closest_marker("elsewhere") or item.path.suffix == ".ipynb"
    if elsewhere or _in_vain[test] == PATIENCE:
        control.pause()
        try:
            return (yield)
        finally:
            control.resume()
    before = _lines(control)
    try:
        return (yield)
    finally:
        _in_vain[test] = 0 if _lines(control) > before else _in_vain[test] + 1


def _lines(control):
    """Return how many lines have run so far."""
    return sum(map(len, list(control.cov._collector.data.values())))
