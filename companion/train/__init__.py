"""Training networks: one at a time by `fit`, or a grid × seeds of them at once by `sweep`."""

from companion.train.decay import decay_groups
from companion.train.devices import choose_device
from companion.train.evaluation import cross_entropy, evaluate
from companion.train.fit import fit
from companion.train.sweep import sweep

__all__ = ["fit", "sweep", "evaluate", "cross_entropy", "choose_device", "decay_groups"]
