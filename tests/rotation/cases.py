"""What the tests of rotations share: tolerances, a network, the rules that are tried."""

import torch

from companion import optim
from companion.data import Batches
from companion.models import MLP
from companion.rotation import flatten
from companion.train import cross_entropy

F64 = {"dtype": torch.float64}


def equal(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def model_and_data(activation="tanh"):
    torch.manual_seed(0)
    model = MLP([5, 6, 3], activation).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model, torch.randn(20, 5, **F64), torch.randint(3, (20,))


RULES = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD, momentum and decay": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "AdaSGD": lambda p: optim.AdaSGD(p, lr=0.02),
    "Adam": lambda p: optim.Adam(p, lr=0.02),
    "Adam without memory": lambda p: optim.Adam(p, lr=0.02, betas=(0.0, 0.0)),
    "AdamW": lambda p: optim.AdamW(p, lr=0.02, weight_decay=0.1),
    "Adamax": lambda p: optim.Adamax(p, lr=0.02),
    "SignSGD": lambda p: optim.SignSGD(p, lr=0.01),
    "Signum": lambda p: optim.SignSGD(p, lr=0.01, momentum=0.9),
    "ADOPT": lambda p: optim.ADOPT(p, lr=0.02),
    "AMSGrad": lambda p: optim.AMSGrad(p, lr=0.02),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
    "AdaGrad": lambda p: optim.AdaGrad(p, lr=0.05),
    "torch's Adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "torch's SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
}
EQUIVARIANT = ("SGD", "AdaSGD", "torch's SGD")


def train(model, optimizer, x, y, steps=25):
    """Train on minibatches and return the native parameters after every step."""
    iterates, batches = [], Batches((x, y), 8, seed=0)
    for _ in range(steps):
        a, b = next(batches)
        optimizer.zero_grad()
        cross_entropy(model(a), b).backward()
        optimizer.step()
        params = model.native().values() if hasattr(model, "native") else model.parameters()
        iterates.append(flatten(params).detach().clone())
    return torch.stack(iterates)
