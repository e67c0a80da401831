"""Any split of the data gives the same matrix, or an error."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from companion.hessian import Hessian
from tests.hessian.matrices import normal
from tests.hessian.networks import (
    CE,
    KINDS,
    Y,
    assert_same,
    case,
    classes,
    dense,
    dense_hessian,
    fully,
)

WEIGHT = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
IGNORED = torch.where(torch.arange(6) < 3, Y, torch.tensor([0, 0, 0, -1, 2, -1]))


def of_logits(**options):
    return lambda z, y: F.nll_loss(z.log_softmax(-1), y, **options)


def masked(z, y):
    keep = y >= 0
    return (CE(z, y.clamp(min=0), reduction="none") * keep).sum() / keep.sum()


def with_penalty(**options):
    return lambda z, y: CE(z, y, **options) + 0.1 * z.square().mean()


LOSSES = {  # loss, targets
    "mean": (CE, Y),
    "lambda": (lambda z, y: CE(z, y), Y),
    "class weights": (nn.CrossEntropyLoss(WEIGHT), Y),
    "class weights, partial": (partial(CE, weight=WEIGHT), Y),
    "class weights, smoothed": (lambda z, y: CE(z, y, WEIGHT, label_smoothing=0.2), Y),
    "ignored": (lambda z, y: CE(z, y, ignore_index=-1), IGNORED),
    "ignored, weighed": (of_logits(weight=WEIGHT, ignore_index=-1), IGNORED),
    "sum": (nn.CrossEntropyLoss(WEIGHT, reduction="sum"), Y),
    "sum of squares": (partial(F.mse_loss, reduction="sum"), normal(6, 3)),
    "squares": (F.mse_loss, normal(6, 3)),
    "probabilities": (partial(CE, weight=WEIGHT), normal(6, 3).softmax(-1)),
    "mean by hand": (lambda z, y: (z - y).square().mean(1).mean(), normal(6, 3)),
}
SPLITS = [[2, 3, 1], [5, 1], [6]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_no_split_changes_the_matrix(name, split, kind):
    loss, y = LOSSES[name]
    model, _, x, _ = case("tanh mlp")
    op = kind(model, loss, list(zip(x.split(split), y.split(split), strict=True)))
    assert_same(op.dense(), dense(kind, model, loss, x, y))
    torch.testing.assert_close(op.loss(), loss(model(x), y).detach())


UNKNOWN = {
    "masked by hand": (masked, IGNORED),
    "weights and a penalty": (with_penalty(weight=WEIGHT), Y),
    "ignored and a penalty": (with_penalty(ignore_index=-1), IGNORED),
    "sum by hand": (lambda z, y: (z - y).square().sum(), normal(6, 3)),
    "norm": (lambda z, y: (z - y).norm(), normal(6, 3)),
    "ranks": (lambda z, y: CE(z @ z.T, torch.arange(len(z))), Y),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_loss_that_is_no_mean_needs_weights(name):
    loss, y = UNKNOWN[name]
    model, _, x, _ = case("tanh mlp")
    batches = list(zip(x.split(4), y.split(4), strict=True))
    with pytest.raises(ValueError, match=r"not the mean of its halves.*pass weights"):
        Hessian(model, loss, batches)
    op = Hessian(model, loss, batches, weights=[0.3, 0.9])
    expected = dense_hessian(
        model,
        lambda model: sum(
            w * loss(model(a), b) for w, (a, b) in zip([0.3, 0.9], batches, strict=True)
        ),
    )
    assert_same(op.dense(), expected)


def test_batches_of_which_nothing_counts_are_left_out():
    model, _, x, y = case("tanh mlp")
    empty = torch.full_like(y, -100)
    op = Hessian(model, CE, [(x, y), (x, empty)])
    assert_same(op.dense(), dense(Hessian, model, CE, x, y))
    with pytest.raises(ValueError, match="no sample counts"):
        Hessian(model, CE, [(x, empty), (x, empty)])


def test_tokens_count_where_batches_have_other_lengths():
    torch.manual_seed(0)
    model = fully(nn.Linear(4, 4)).double()
    series = [(normal(2, n, 4, seed=n), classes(2, n, seed=n)) for n in (3, 5)]

    def loss(z, y):
        return CE(z.flatten(0, 1), y.flatten())

    together = torch.cat([x.flatten(0, 1) for x, _ in series])
    labels = torch.cat([y.flatten() for _, y in series])
    assert_same(Hessian(model, loss, series).dense(), dense(Hessian, model, CE, together, labels))


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


def dropout():
    return nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))


def running():
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


XY = (torch.ones(3, 2), torch.zeros(3, 2))
PARTS = {"model": lambda: nn.Linear(2, 2), "loss": F.mse_loss, "data": XY}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": dropout}, r"1 drops activations .* call model.eval\(\)"),
        ({"model": running}, r"1 updates running statistics .* track_running_stats=False"),
        ({"model": lambda: Noisy(2, 2)}, "two evaluations .* deterministic"),
        ({"model": nn.Identity}, "no parameters"),
        ({"model": lambda: lambda x: x}, r"expected a torch.nn.Module.*Hessian.of"),
        ({"model": lambda: nn.Linear(2, 2, dtype=torch.cfloat)}, "weight: expected a dense real"),
        ({"model": lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())}, "one dtype"),
        ({"loss": lambda z, y: (z - y) ** 2}, r"scalar.*shape \(3, 2\)"),
        ({"loss": lambda z, y: 1.0}, "scalar.*got 1.0"),
        ({"loss": lambda z, y: z.sum() / 0}, "batch 0 gives -?inf"),
        ({"loss": lambda z, y: z.detach().sum()}, "does not depend on the parameters"),
        ({"data": []}, "at least one sample"),
        ({"data": (torch.ones(0, 2), torch.ones(0, 2))}, "at least one sample"),
        ({"data": [(torch.ones(3, 2),)]}, "batch 0 is no pair"),
        ({"data": [torch.ones(3, 2)]}, "no pair .* but a Tensor"),
        ({"data": (torch.ones(3, 2), torch.ones(2, 2))}, "lengths 3 and 2"),
        ({"data": (torch.ones(3, 2), torch.tensor(1.0))}, "batch 0 is no pair"),
        ({"weights": [1, 2]}, r"weights: expected 1 finite.*got \[1.0, 2.0\]"),
        ({"weights": [float("nan")]}, "weights: expected 1 finite"),
        ({"max_bytes": 0}, "max_bytes: .*got 0"),
    ],
)
def test_refuses(kind, change, message):
    torch.manual_seed(0)
    parts = PARTS | change
    model = parts.pop("model")()
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        kind(model, **parts)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [dropout, running])
def test_takes_what_it_refused_once_mended(make):
    op = Hessian(make().eval(), F.mse_loss, XY)
    assert op.dense().isfinite().all()
