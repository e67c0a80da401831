"""A grid of problems side by side does what the drop-in optimizer does to each alone."""

import pytest
import torch
from torch import nn

from companion import optim
from companion.problems import LeastSquares, Quadratic
from companion.simulate import iterates, trajectory
from tests.cases import cases

D, SEEDS, STEPS = 4, 2, 25


F = LeastSquares.random(n=12, d=D, kappa=20, noise=1.0, seed=0)


LR = torch.tensor([0.003, 0.03, 0.3], dtype=torch.float64)


def start(*lead):
    generator = torch.Generator().manual_seed(7)
    return torch.randn((*lead, D), generator=generator, dtype=torch.float64)


def alone(optimizer, grad, x0, steps, schedule=None, **hyper):
    """Step one parameter of shape (d,) by the drop-in optimizer."""
    x = nn.Parameter(x0.clone())
    stepper = optimizer([x], **hyper)
    scheduler = schedule and torch.optim.lr_scheduler.LambdaLR(stepper, schedule)
    path = [x.detach().clone()]
    for _ in range(steps):
        x.grad = grad(x.detach())
        stepper.step()
        path.append(x.detach().clone())
        if scheduler:
            scheduler.step()
    return torch.stack(path)


@cases
def test_a_grid_equals_the_optimizer_stepping_each_cell_alone(cls, options):
    x0 = start(SEEDS)
    path = trajectory(cls, F.grad, x0, STEPS, lr=LR.view(-1, 1, 1), **options)
    assert path.shape == (STEPS + 1, len(LR), SEEDS, D)
    for cell, lr in enumerate(LR.tolist()):
        for seed in range(SEEDS):
            expected = alone(cls, F.grad, x0[seed], STEPS, lr=lr, **options)
            torch.testing.assert_close(path[:, cell, seed], expected, rtol=1e-12, atol=1e-12)


GRIDS = [
    ("SGD", {"momentum": [0.0, 0.5, 0.9]}, {}),
    ("SGD", {"momentum": [0.0, 0.5, 0.9]}, {"nesterov": True}),
    ("SGD", {"weight_decay": [0.0, 0.1, 1.0]}, {}),
    ("RMSprop", {"alpha": [0.1, 0.9, 0.99], "eps": [1e-8, 1e-2, 1.0]}, {}),
    ("Adam", {"beta1": [0.0, 0.5, 0.9], "beta2": [0.1, 0.9, 0.999]}, {"eps": 1e-3}),
    ("AdamW", {"weight_decay": [0.0, 0.1, 1.0], "lr": [0.1, 0.2, 0.3]}, {}),
    ("Adamax", {"beta1": [0.0, 0.5, 0.9], "beta2": [0.1, 0.9, 0.999]}, {"eps": 1e-3}),
    ("AdaBound", {"gamma": [1e-3, 1e-2, 1e-1], "final_lr": [0.01, 0.1, 1.0]}, {}),
    ("SignSGD", {"momentum": [0.0, 0.5, 0.9]}, {}),
]


@pytest.mark.parametrize(("name", "grid", "options"), GRIDS)
def test_every_hyper_parameter_may_vary_over_the_grid(name, grid, options):
    optimizer, x0 = getattr(optim, name), start()
    tensors = {k: torch.tensor(v, dtype=torch.float64).view(-1, 1) for k, v in grid.items()}
    path = trajectory(optimizer, F.grad, x0, STEPS, **tensors, **options)
    for cell in range(3):
        own = {**options, **{k: v[cell] for k, v in grid.items()}}
        if own.get("nesterov") and own["momentum"] == 0:
            own["nesterov"] = False  # the same; a constructor refuses it
        if "beta1" in own:
            own["betas"] = own.pop("beta1"), own.pop("beta2")
        expected = alone(optimizer, F.grad, x0, STEPS, **own)
        torch.testing.assert_close(path[:, cell], expected, rtol=1e-12, atol=1e-12)


def test_betas_may_be_tensors():
    beta1 = torch.tensor([[0.5], [0.9]], dtype=torch.float64)
    path = trajectory(optim.Adam, F.grad, start(), 5, betas=(beta1, 0.99))
    apart = trajectory(optim.Adam, F.grad, start(), 5, beta1=beta1, beta2=0.99)
    assert path.shape == (6, 2, D)
    assert torch.equal(path, apart)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdaBound"])
def test_lr_may_be_a_function_of_the_step(name):
    optimizer = getattr(optim, name)
    path = trajectory(optimizer, F.grad, start(), STEPS, lr=lambda t: 0.1 / t)
    expected = alone(optimizer, F.grad, start(), STEPS, lambda k: 1 / (k + 1), lr=0.1)
    torch.testing.assert_close(path, expected, rtol=1e-12, atol=1e-12)


def test_a_schedule_may_differ_between_cells():
    lr = LR.view(-1, 1)
    path = trajectory(optim.Adam, F.grad, start(), 9, lr=lambda t: lr / t**0.5)
    one = trajectory(optim.Adam, F.grad, start(), 9, lr=lambda t: 0.03 / t**0.5)
    torch.testing.assert_close(path[:, 1], one, rtol=1e-12, atol=1e-12)


def test_cells_share_random_numbers_and_seeds_do_not():
    f = Quadratic([1.0] * D)
    x0 = torch.zeros(3, D, dtype=torch.float64)
    path = trajectory(
        optim.SGD, f.noisy(1.0), x0, 5, lr=torch.tensor([0.1, 0.1, 0.2]).view(3, 1, 1)
    )
    assert torch.equal(path[:, 0], path[:, 1])
    assert not torch.allclose(path[-1, 0], path[-1, 2])
    assert not torch.allclose(path[-1, 0, 0], path[-1, 0, 1])


@pytest.mark.parametrize(
    "oracle", [F.samples(4, "reshuffled"), F.samples(5), F.samples(3, "cyclic")]
)
def test_the_seed_decides_everything_and_oracles_are_reset(oracle):
    def run(seed):
        return trajectory(optim.SGD, oracle, start(2), 5, seed=seed, lr=0.1)

    assert torch.equal(run(0), run(0))
    assert torch.equal(run(0), run(1)) == (oracle.order == "cyclic")


def test_every_keeps_one_iterate_in_so_many_from_the_start_on():
    path = trajectory(optim.Adam, F.grad, start(), 11, lr=0.1)
    assert torch.equal(trajectory(optim.Adam, F.grad, start(), 11, every=3, lr=0.1), path[::3])
    assert torch.equal(path[0], start())


@pytest.mark.parametrize("project", [(-1.0, 1.0), lambda x: x.clamp(-1, 1)])
def test_project_acts_after_each_step(project):
    path = trajectory(
        optim.SGD,
        lambda x: -torch.ones_like(x),
        start(),
        40,
        lr=0.3,
        project=project,
    )
    assert path[1:].abs().max() <= 1
    assert (path[-1] == 1).all()


def test_the_start_is_not_changed_and_no_graph_is_kept():
    x0 = start().requires_grad_()
    before = x0.detach().clone()
    path = trajectory(optim.Adam, lambda x: x, x0, 3, lr=0.5)
    assert torch.equal(x0.detach(), before)
    assert not path.requires_grad


def test_zero_steps_return_the_start():
    assert torch.equal(trajectory(optim.Adam, F.grad, start(), 0), start()[None])


def test_iterates_stream_what_trajectory_stores(monkeypatch, capsys):
    monkeypatch.setenv("COMPANION_PROGRESS", "1")
    monkeypatch.setattr("companion.progress.DELAY", 0.0)
    walk = iterates(optim.Adam, F.samples(2), start(2), 4, seed=3, progress=True, lr=0.1)
    steps, xs = zip(*walk, strict=True)
    assert steps == (0, 1, 2, 3, 4)
    expected = trajectory(optim.Adam, F.samples(2), start(2), 4, seed=3, lr=0.1)
    assert torch.equal(torch.stack(xs), expected)
    assert "0/4" in capsys.readouterr().out


def test_the_generator_goes_to_those_who_ask():
    seen = []

    def asks(x, generator=None):
        seen.append(generator)
        return x

    def asks_by_place(x, rng):
        seen.append(rng)
        return x

    def has_an_option(x, scale=2.0):
        assert scale == 2.0
        return x * scale

    for grad in (asks, asks_by_place, has_an_option, torch.sin, lambda *a: a[0]):
        trajectory(optim.SGD, grad, start(), 1, lr=0.1)
    assert len(seen) == 2
    assert all(isinstance(g, torch.Generator) for g in seen)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": LR}, ValueError, r"lr has shape \(3,\).* lr.unsqueeze\(-1\)"),
        ({"lr": LR.view(3, 1), "x0": start(2)}, ValueError, "lr of shape .* does not broadcast"),
        ({"lr": -LR.view(3, 1)}, ValueError, r"lr must be in \[0, inf\)"),
        ({"lr": lambda t: 2.0 - t}, ValueError, r"lr must be in \[0, inf\)"),
        ({"beta3": LR.view(3, 1)}, TypeError, "beta3"),
        ({"x0": torch.ones(3, dtype=torch.int64)}, TypeError, "x0 must be a floating-point"),
        ({"x0": [1.0, 2.0]}, TypeError, "x0 must be a floating-point"),
        ({"x0": torch.tensor(1.0)}, TypeError, "x0 must be a floating-point"),
        ({"steps": -1}, ValueError, "steps must be a whole number of at least 0, got -1"),
        ({"steps": 1.5}, ValueError, "steps must be .* got 1.5"),
        ({"every": 0}, ValueError, "every must be a whole number of at least 1, got 0"),
        ({"grad": lambda x: x.sum(-1)}, ValueError, r"grad must return the shape of x, \(4,\)"),
    ],
)
def test_errors_name_the_argument_and_the_value(options, error, message):
    arguments = {"optimizer": optim.Adam, "grad": F.grad, "x0": start(), "steps": 3, **options}
    with pytest.raises(error, match=message):
        trajectory(**arguments)


def test_the_rule_is_the_class_s_own():
    class Counter(optim.SGD):
        @staticmethod
        def rule(x, g, s, t, h):
            return x + t, s

    path = trajectory(Counter, F.grad, torch.zeros(D), 3)
    assert path[:, 0].tolist() == [0, 1, 3, 6]
