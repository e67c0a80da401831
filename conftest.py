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
PATIENCE = 8
# How many they were so far, by test.
_in_vain = Counter()


def pytest_configure(config):
    """Make long imports before any are measured, and let the kernels of notebooks share theirs.

    The process that gives tests to others does neither: they wait for it.
    """
    control, works_for_another = _control(config), hasattr(config, "workerinput")
    if control and works_for_another:
        # pytest-cov starts twice here. The first would go on measuring when the second is paused.
        control.pause()
        for name in IMPORTED:
            import_module(name)
    gives_tests_to_others = config.getoption("numprocesses", None) and not works_for_another
    if config.getoption("nbmake", False) and not gives_tests_to_others:
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
    control, test = _control(item.config), item.nodeid.partition("[")[0]
    if control is None:
        return (yield)
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


def _control(config):
    """Return what starts and pauses the measurement; None where nothing is measured."""
    plugin = config.pluginmanager.get_plugin("_cov")
    return plugin and plugin.cov_controller


def _lines(control):
    """Return how many lines have run so far."""
    return sum(map(len, list(control.cov._collector.data.values())))
