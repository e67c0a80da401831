"""Optimizers that step one rule each: drop-in for ``torch.optim``, readable as the papers."""

from companion.optim.adabound import AdaBound
from companion.optim.adafom import AdaFom
from companion.optim.adagrad import AdaGrad
from companion.optim.adam import Adam
from companion.optim.adamax import Adamax
from companion.optim.adamw import AdamW
from companion.optim.adasgd import AdaSGD
from companion.optim.adashift import AdaShift
from companion.optim.adopt import ADOPT
from companion.optim.amsgrad import AMSGrad
from companion.optim.blockwise import BlockwiseAdam
from companion.optim.rmsprop import RMSprop
from companion.optim.sgd import SGD
from companion.optim.signsgd import SignSGD

__all__ = [
    "SGD",
    "AdaGrad",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adamax",
    "AMSGrad",
    "AdaFom",
    "AdaBound",
    "AdaShift",
    "ADOPT",
    "SignSGD",
    "AdaSGD",
    "BlockwiseAdam",
]
