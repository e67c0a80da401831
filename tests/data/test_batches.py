import io

import numpy as np
import pytest
import torch

from companion import data

PAIR = data.Dataset(torch.arange(10.0).view(10, 1), torch.arange(10))


def test_reshuffled_epochs_visit_every_sample_once():
    batches = data.Batches(PAIR, 4, seed=1, epochs=3)
    epochs = [[next(batches) for _ in range(3)] for _ in range(3)]
    assert next(batches, None) is None
    assert (batches.epoch, batches.position, batches.steps_per_epoch) == (3, 0, 3)
    orders = [torch.cat([y for _, y in epoch]) for epoch in epochs]
    for epoch, order in zip(epochs, orders, strict=True):
        assert [len(y) for _, y in epoch] == [4, 4, 2]
        assert torch.equal(order.sort().values, PAIR.y)
        assert all(torch.equal(x[:, 0], y.float()) for x, y in epoch)
    assert not torch.equal(orders[0], orders[1])
    again, other = (data.Batches(PAIR.y, 10, seed=seed, epochs=1) for seed in (1, 2))
    assert torch.equal(next(again), orders[0])
    assert not torch.equal(next(other), orders[0])


def test_sequential_and_drop_last():
    kept = data.Batches(PAIR.y, 4, order="cyclic", epochs=2)
    assert [b.tolist() for b in kept] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2
    dropped = data.Batches(PAIR.y, 4, order="cyclic", epochs=1, drop_last=True)
    assert [b.tolist() for b in dropped] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [len(b) for b in data.Batches(PAIR.y, 64, epochs=1)] == [10]
    assert [len(b) for b in data.Batches(PAIR.y, 5, epochs=1, drop_last=True)] == [5, 5]


def test_replacement_draws_independently_and_uniformly():
    batches = data.Batches(PAIR.y, 4, order="iid")
    draws = torch.stack([next(batches) for _ in range(5000)])  # full batches, across epochs
    assert draws.shape == (5000, 4)
    assert batches.epoch == 5000 // 3
    # Counts are binomial, and pairs (within a batch, across batches) hit one of 100 cells: each
    # bound is five standard deviations, which fails by chance with probability < 1e-3 in all.
    counts = draws.flatten().bincount(minlength=10)
    assert (counts - 2000).abs().max() < 5 * (20000 * 0.09) ** 0.5
    for first, second in ((draws[:, 0], draws[:, 1]), (draws[:-1, 3], draws[1:, 0])):
        pairs = (10 * first + second).bincount(minlength=100)
        assert (pairs - 50).abs().max() < 5 * (5000 * 0.01 * 0.99) ** 0.5


def test_batches_never_end_without_epochs():
    batches = data.Batches(PAIR.y, 10)
    assert len([next(batches) for _ in range(100)]) == 100
    assert iter(batches) is batches


@pytest.mark.parametrize("order", ["iid", "reshuffled", "cyclic"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
def test_resumed_batches_continue_bit_for_bit(order, steps, tmp_path):
    batches = data.Batches(PAIR, 4, seed=3, order=order, epochs=4)
    for _ in range(steps):
        next(batches)
    torch.save(batches.state_dict(), tmp_path / "state.pt")
    rest = list(batches)
    resumed = data.Batches(PAIR, 4, seed=99, order=order, epochs=4)
    next(resumed)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.state_dict()["position"] == steps % 3
    again = data.Batches(PAIR, 4, order=order, epochs=4)
    again.load_state_dict(resumed.state_dict())  # a state saved before the first batch after it
    for stream in (list(resumed), list(again)):
        assert len(stream) == len(rest) == 12 - steps
        for (x, y), (x_rest, y_rest) in zip(stream, rest, strict=True):
            assert torch.equal(x, x_rest)
            assert torch.equal(y, y_rest)


NAN, INF, Y = float("nan"), float("inf"), PAIR.y
OTHER = data.Batches(Y, 2).state_dict()
ERRORS = [  # what is given beside or instead of ten samples and a batch size of 2
    ({"data": ()}, ValueError, r"data: tensors of lengths \[\]"),
    ({"data": Y[:0]}, ValueError, r"data: tensors of lengths \[0\]"),
    ({"data": (Y, Y[1:])}, ValueError, r"data: tensors of lengths \[10, 9\]"),
    ({"data": (Y, Y.to("meta"))}, ValueError, r"data: tensors on \['cpu', 'meta'\]"),
    ({"data": Y.numpy()}, TypeError, r"data: expected a tensor .* got \['ndarray'\]"),
    ({"data": Y[0]}, TypeError, "data: expected a tensor"),
    ({"data": 3}, TypeError, "data: expected a tensor"),
    ({"batch_size": 0}, ValueError, "batch_size: expected at least 1, got 0"),
    ({"batch_size": 11, "drop_last": True}, ValueError, "batch_size: 11; .* 1 to 10"),
    *(({"batch_size": v}, TypeError, f"batch_size: .*{v}") for v in (2.0, 2.5, INF, NAN, True)),
    ({"epochs": 0}, ValueError, "epochs: expected at least 1, got 0"),
    ({"epochs": -1}, ValueError, "epochs: expected at least 1, got -1"),
    *(({"epochs": v}, TypeError, f"epochs: .*{v}") for v in (1.5, INF, NAN, True, "2")),
    *(({"seed": v}, TypeError, f"seed: .*{v}") for v in (1.5, None, True)),
    ({"order": "random"}, ValueError, "order must be one of .*'random'"),
    ({"order": ["iid"]}, ValueError, "order must be one of"),
]


@pytest.mark.parametrize(("given", "kind", "message"), ERRORS)
def test_an_argument_that_cannot_be_used_is_named_with_its_value(given, kind, message):
    with pytest.raises(kind, match=message):
        data.Batches(**{"data": Y, "batch_size": 2, **given})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 3}, "state: batch_size is 3, these batches have 2"),
        ({"n": None}, "state: n is None"),
        ({"position": 5}, "state: position 5, but an epoch has 5 steps"),
        ({"position": -1}, "state: position: expected at least 0, got -1"),
    ],
)
def test_a_state_of_other_batches_is_refused_and_changes_nothing(change, message):
    batches, twin = (data.Batches(Y, 2, seed=1) for _ in range(2))
    with pytest.raises(ValueError, match=message):
        batches.load_state_dict({**OTHER, **change})
    assert all(torch.equal(next(batches), next(twin)) for _ in range(10))


def test_numbers_may_be_numpys():
    batches = data.Batches(Y, np.int32(4), seed=np.uint8(3), epochs=np.int64(2))
    same = data.Batches(Y, 4, seed=3, epochs=2)
    assert all(torch.equal(a, b) for a, b in zip(batches, same, strict=True))
    torch.save(batches.state_dict(), file := io.BytesIO())
    file.seek(0)
    assert torch.load(file, weights_only=True)["batch_size"] == 4
