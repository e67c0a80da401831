"""Run an optimizer's own rule on many copies of a problem at once.

The convention of every array here is ``(cells..., seeds, d)``: the last dimension is the parameter
vector of one problem, the one before it the seeds, and those in front the cells of a grid of
hyper-parameters. Random gradients differ between seeds and are the same in every cell (common
random numbers), so cells differ by their hyper-parameters alone.

`trajectory` keeps the iterates, `iterates` hands them out one by one, and `run` keeps summaries of
them only, so that a grid may go on for ten million steps in little memory.
"""

from companion.simulate.grid import run
from companion.simulate.summary import QUANTILES, Result, quantiles
from companion.simulate.tidy import tidy
from companion.simulate.trajectory import iterates, trajectory

__all__ = ["QUANTILES", "Result", "iterates", "quantiles", "run", "tidy", "trajectory"]
