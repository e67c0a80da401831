"""Every test starts from the style of the book, and leaves no figure."""

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from companion import plot


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        plot.style()
        yield
        plt.close("all")
