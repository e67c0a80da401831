"""The rules that playable figures step, as one script."""

from companion import optim
from companion.kernels.javascript import module
from companion.optim import ADOPT, SGD, AdaShift, AMSGrad, RMSprop, SignSGD
from companion.optim.variants import Decorrelated, Reordered, UncorrectedAdam

#: Name in ``Play.rules`` → (class, options): every optimizer with its defaults, then variants.
RULES = {
    **{name: (getattr(optim, name), {}) for name in optim.__all__},
    "Momentum": (SGD, {"momentum": 0.9}),
    "Nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "RMSprop, momentum": (RMSprop, {"momentum": 0.9}),
    "RMSprop, centred": (RMSprop, {"centered": True}),
    "Adam, uncorrected": (UncorrectedAdam, {}),
    "AMSGrad, paper": (AMSGrad, {"variant": "paper"}),
    "AdaShift, n = 1": (AdaShift, {"n": 1, "phi": None}),
    "ADOPT, no clip": (ADOPT, {"clip_lambda": None}),
    # halfway between Adam and ADOPT: each has one of ADOPT's two changes
    "Decorrelated": (Decorrelated, {}),
    "Reordered": (Reordered, {}),
    "Signum": (SignSGD, {"momentum": 0.9}),
}


def rules_js() -> str:
    """Return the text of ``rules.js``, which fills ``Play.rules``.

    Notes
    -----
    Cost: a trace a rule, 0.1 s in all.

    Examples
    --------
    >>> "Play.rules" in rules_js()
    True
    """
    return module(RULES)
