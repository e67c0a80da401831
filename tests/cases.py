"""The optimizers and options that every engine runs, and gradients to run them on."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from companion import optim
from tests.naming import label


def odd_and_even(p, name):
    """Divide a parameter by labels, into two blocks whose entries alternate."""
    return torch.arange(p.numel(), device=p.device).view(p.shape) % 2


def wide(t):
    """Clip ADOPT by a function of the number of earlier calls."""
    return 2.0 * math.sqrt(t)


EVERY = [getattr(optim, name) for name in optim.__all__]
# Every optimizer with its defaults; then each structure and number that changes what a rule does.
CASES = [
    *((cls, {}) for cls in EVERY),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.SGD, {"momentum": 0.9, "nesterov": True, "maximize": True}),
    (optim.AdaGrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    (optim.RMSprop, {"momentum": 0.9, "alpha": 0.8}),
    (optim.RMSprop, {"centered": True, "momentum": 0.5, "eps": 1e-3}),
    (optim.Adam, {"betas": (0.5, 0.8), "weight_decay": 0.1, "maximize": True}),
    (optim.Adam, {"betas": (0.0, 0.9), "eps": 1e-3, "weight_decay": 0.1, "decoupled": True}),
    # the maximum fades fast enough to be overtaken
    (optim.Adamax, {"betas": (0.5, 0.8), "weight_decay": 0.1, "maximize": True}),
    (optim.Adamax, {"betas": (0.0, 0.5), "eps": 0.1, "weight_decay": 0.1, "decoupled": True}),
    (optim.AMSGrad, {"betas": (0.5, 0.8)}),
    (optim.AMSGrad, {"betas": (0.0, 0.5), "variant": "paper"}),
    (optim.AMSGrad, {"betas": (0.9, 0.5), "variant": "optax"}),
    (optim.AdaFom, {"beta1": 0.5, "eps": 1e-2}),
    # bounds that bind
    (optim.AdaBound, {"betas": (0.5, 0.9), "final_lr": 0.02, "gamma": 0.5, "eps": 1e-3}),
    (optim.AdaShift, {"n": 1, "phi": None, "betas": (0.8, 0.9), "eps": 1e-6}),
    (optim.AdaShift, {"n": 2, "phi": "mean", "betas": (0.8, 0.9), "eps": 1e-6}),
    (optim.AdaShift, {"n": 3, "phi": "max", "weight_decay": 0.1}),
    # the floor under the root of v is often reached
    (optim.ADOPT, {"clip_lambda": None, "betas": (0.0, 0.5), "eps": 0.5}),
    (optim.ADOPT, {"clip_lambda": wide, "betas": (0.9, 0.5), "weight_decay": 0.1}),
    (optim.ADOPT, {"weight_decay": 0.1, "decoupled": True, "maximize": True}),
    (optim.SignSGD, {"momentum": 0.9}),
    (optim.AdaSGD, {"betas": (0.0, 0.5), "eps": 1e-2, "weight_decay": 0.1}),
    (optim.BlockwiseAdam, {"partition": "rows", "betas": (0.8, 0.9), "eps": 1e-6}),
    (optim.BlockwiseAdam, {"partition": "elements"}),
    (optim.BlockwiseAdam, {"partition": odd_and_even, "weight_decay": 0.1}),
]
every = pytest.mark.parametrize("cls", EVERY, ids=label)
cases = pytest.mark.parametrize(("cls", "options"), CASES, ids=label)

SHAPES = ((), (3,), (4, 3), (2, 3, 2, 2), (5,))
CALLS, LATE, GAP = 32, 9, 15


def draw(shapes=SHAPES, calls=CALLS, seed=0):
    """Return starting points and, for every call, a gradient a parameter.

    Scales vary over three decades and a tenth of the entries is zero, after the first two calls of
    a parameter. The last parameter has no gradient in the first calls, the second none in one call.
    """
    rng = np.random.default_rng(seed)
    xs = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    rows = []
    for call in range(calls):
        row = [
            np.asarray(rng.normal(size=shape) * 10 ** rng.uniform(-2, 1))
            * (rng.random(shape) > 0.1 * (call > LATE + 1))
            for shape in shapes
        ]
        if call < LATE and len(shapes) > 1:
            row[-1] = None
        if call == GAP and len(shapes) > 2:
            row[1] = None
        rows.append(row)
    return xs, rows


def halved(options):
    """Return the numbers of these options, halved: what a schedule may change between two steps."""
    return {
        name: tuple(z / 2 for z in value) if name == "betas" else value / 2
        for name, value in options.items()
        if name == "betas" or type(value) is float
    }


def settings(options, calls=CALLS, change=20):
    """Return the options of every call: a new step size at each, all other numbers new at one."""
    return [
        {**options, **(halved(options) if call >= change else {}), "lr": 0.01 * (1 + call % 7)}
        for call in range(calls)
    ]


def follow(cls, xs, rows, options, names=None, device="cpu", **fixed):
    """Step given gradients; return the path of each parameter, one array a parameter.

    ``options`` holds those of every call, ``fixed`` is for the constructor alone.
    """
    params = [nn.Parameter(torch.tensor(x, device=device)) for x in xs]
    named = list(zip(names, params, strict=True)) if names else params
    optimizer = cls(named, **options[0], **fixed)
    paths = [[] for _ in params]
    for row, now in zip(rows, options, strict=True):
        optimizer.param_groups[0].update(now)
        for p, g in zip(params, row, strict=True):
            p.grad = None if g is None else torch.tensor(g, device=device)
        optimizer.step()
        for path, p in zip(paths, params, strict=True):
            path.append(p.detach().cpu().numpy().copy())
    return [np.array(path) for path in paths]


def agree(ours, theirs, tolerance=1e-12):
    for got, want in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, np.array(want), rtol=tolerance, atol=tolerance)


def make_params(dtype=torch.float64):
    torch.default_generator.manual_seed(0)  # torch.manual_seed formats the stack for each device
    return [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((3, 4), (5,), ())]


def loss_of(params):
    """A smooth loss whose gradients change along the way."""
    return sum((p.square() / 2 + 0.3 * p.sin()).sum() for p in params)


def run(optimizer, params, steps=8):
    """Descend that loss; return all parameters as one vector."""
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(params).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params]).clone()
