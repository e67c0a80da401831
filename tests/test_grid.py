
import pytest
import torch
from torch import nn

from companion import optim
from companion.grid import Samples, run

F64 = torch.float64
SLOPES = torch.tensor([5.0, -1.0, -1.0, -1.0, -0.5], dtype=F64)


def slope(x, i):
    """Return a gradient that depends on the sample, and on x below -1 (a scalar finite sum)."""
    return SLOPES.to(x)[i] * (x + 2).clamp(max=1)


def tensor(values, *shape):
    return torch.tensor(values, dtype=F64).view(*shape)


LABELS = torch.tensor([0, 1, 0])
# Every exported optimizer, and options that change what a kernel has to do.
CASES = [(name, {}) for name in optim.__all__] + [
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("AdaGrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adam", {"betas": (0.5, 0.8), "weight_decay": 0.1}),
    ("AMSGrad", {"variant": "paper"}),
    ("AMSGrad", {"variant": "optax"}),
    ("AdaShift", {"phi": "mean", "n": 3}),
    ("AdaShift", {"phi": None, "n": 3}),
    ("ADOPT", {"clip_lambda": None, "weight_decay": 0.1, "decoupled": True}),
    ("ADOPT", {"clip_lambda": lambda t: t**0.1}),
    ("SignSGD", {"momentum": 0.5}),
    ("BlockwiseAdam", {"partition": lambda p, name: LABELS}),
]


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value)[:40])
def test_a_cell_equals_the_drop_in_optimizer_alone_on_the_same_samples(name, options, kernel):
    optimizer, steps, d, seeds = getattr(optim, name), 60, 3, 4
    lr = [0.003, 0.03, 0.3]
    generator = torch.Generator().manual_seed(1)
    x0 = torch.randn(seeds, d, generator=generator, dtype=F64)
    oracle = Samples(slope, 5, "reshuffled")
    result = run(
        optimizer, oracle, x0, steps, seed=3, lr=tensor(lr, -1, 1, 1), kernel=kernel, **options
    )
    oracle.reset()
    generator.manual_seed(3)
    drawn = [oracle.indices(seeds, generator) for _ in range(steps)]
    for cell, seed in [(0, 0), (1, 3), (2, 1), (2, 2)]:
        x = nn.Parameter(x0[seed].clone())
        stepper = optimizer([x], lr=lr[cell], **options)
        for i in drawn:
            x.grad = slope(x.detach(), i[seed])
            stepper.step()
        torch.testing.assert_close(result.x[cell, seed], x.detach(), rtol=1e-12, atol=1e-12)
