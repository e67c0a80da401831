"""What the experiments of all recipes have in common."""

from dataclasses import asdict

import pandas as pd

from companion.recipes import loop


class Experiment:
    """An experiment, ``practice-NAME``; a subclass has ``plan``, and ``task`` or ``train``.

    Parameters
    ----------
    name : str
        Of the experiment, a name of `companion.recipes.MODULES`.
    settings : dataclass
        Also kept as plain data, in ``settings``.
    """

    def __init__(self, name: str, settings):
        self.name, self._settings, self.settings = f"practice-{name}", settings, asdict(settings)

    def train(self, cell: dict) -> pd.DataFrame:
        """Train the task of a cell in this process; return its history."""
        return loop.train(self.task(cell))
