"""Rotations are orthogonal, do what their matrices do, and train what they should."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import hessian, jvp, vmap

from companion import optim
from companion.data import Batches, digits
from companion.models import GPT, MLP, GPTConfig, resnet18
from companion.problems import Quadratic
from companion.rotation import (
    Blocks,
    Composed,
    Identity,
    Kronecker,
    Permutation,
    RotatedOptimizer,
    chain,
    exponential,
    flatten,
    haar,
    input_wise,
    layer_wise,
    matrix,
    output_wise,
    rotate,
    rotate_gradient,
    skew,
    svd,
    unflatten,
)
from companion.simulate import trajectory
from companion.train import cross_entropy, fit, sweep

F64 = {"dtype": torch.float64}
ORDER = torch.tensor([3, 0, 11, 7, 1, 10, 2, 9, 5, 4, 8, 6])
SHAPES = [torch.zeros(2, 3, **F64), torch.zeros(2, **F64), torch.zeros(2, 1, 2, **F64)]  # d = 12
OPERATORS = {
    "identity": Identity(12),
    "permutation": Permutation(ORDER),
    "haar": haar(12, 1, **F64),
    "exponential": exponential(skew(12, 2), 0.3),
    "kronecker, middle axis": Kronecker([2, haar(3, 3, **F64).parts[0], 2]),
    "kronecker, some left out": Kronecker([haar(k, k, **F64).parts[0] for k in (5, 2)], d=12),
    "chain": chain(12, 4, **F64),
    "chain of three rounds": chain(12, 4, rounds=3, **F64),
    "layer-wise": layer_wise(SHAPES, 5),
    "output-wise": output_wise(SHAPES, 6),
    "input-wise": input_wise(SHAPES, 7),
    "svd": svd([torch.randn(p.shape, **F64) for p in SHAPES]),
    "blocks": Blocks([haar(7, 8, **F64), Identity(2), haar(3, 9, **F64)]),
    "composed": haar(12, 10, **F64) @ Permutation(ORDER) @ chain(12, 11, **F64),
    "transposed": (chain(12, 12, **F64) @ Permutation(ORDER)).T,
}


def equal(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# -- the operators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("R", OPERATORS.values(), ids=OPERATORS)
def test_an_operator_is_an_orthogonal_matrix(R):
    assert R.d == 12
    Q = R.dense(torch.float64)
    equal(Q @ Q.T, torch.eye(12, **F64), 1e-12)
    equal(R.T.dense(torch.float64), Q.T, 1e-12)
    x = torch.randn(2, 3, 12, **F64)
    equal(R(x), x @ Q.T, 1e-12)
    equal(R.T(x), x @ Q, 1e-12)
    equal(R(x[0, 0]), Q @ x[0, 0], 1e-12)
    equal(R.T(R(x)), x, 1e-12)
    equal(R.T.T(x), R(x), 0)
    assert R.error() < 1e-14


@pytest.mark.parametrize("R", OPERATORS.values(), ids=OPERATORS)
def test_an_operator_differentiates_and_batches(R):
    x, v = torch.randn(2, 12, **F64)
    Q = R.dense(torch.float64)
    x.requires_grad_()
    (g,) = torch.autograd.grad(R(x).pow(3).sum() / 3, x, create_graph=True)
    equal(g, Q.T @ (Q @ x).square())
    equal(torch.autograd.grad(g @ v, x)[0], Q.T @ (2 * (Q @ x) * (Q @ v)))
    equal(jvp(R, (x,), (v,))[1], Q @ v)
    batch = torch.randn(5, 12, **F64)
    equal(vmap(R)(batch), R(batch), 1e-13)


def test_products_are_those_of_matrices():
    A, B, C = haar(6, 0, **F64), Permutation(torch.tensor([1, 2, 0, 5, 3, 4])), chain(6, 1, **F64)
    a, b, c = (R.dense(torch.float64) for R in (A, B, C))
    equal((A @ B @ C).dense(), a @ b @ c, 1e-14)
    equal((A @ B).T.dense(), b.T @ a.T, 1e-14)
    equal(Composed([B, A]).dense(), b @ a, 1e-14)
    equal(Blocks([A, B]).dense(), torch.block_diag(a, b), 1e-14)
    factors = [haar(k, k, **F64).dense() for k in (2, 3, 2)]
    product = torch.kron(torch.kron(factors[0], factors[1]), factors[2])
    equal(Kronecker(factors).dense(), product, 1e-14)
    equal(Kronecker(factors, 14).dense(), torch.block_diag(product, torch.eye(2, **F64)), 1e-14)
    W = torch.randn(2, 3, **F64)
    equal(Kronecker(factors[:2])(W.flatten()), (factors[0] @ W @ factors[1].T).flatten(), 1e-14)


def test_chain_is_shuffle_then_kronecker_twice():
    """Rebuilt by NumPy from its parts."""
    R = chain(29, 3, **F64)
    expected = np.eye(29)
    for step in reversed(R.parts):
        if isinstance(step, Permutation):
            expected = expected[step.parts[0].numpy()]
        else:
            Q = np.kron(np.kron(*step.parts[:2]), step.parts[2])
            assert step.n == np.prod(step.sizes) >= 27
            expected = np.block(
                [
                    [Q, np.zeros((step.n, 29 - step.n))],
                    [np.zeros((29 - step.n, step.n)), np.eye(29 - step.n)],
                ]
            ) @ expected  # fmt: skip
    kinds = [type(step) for step in R.parts]
    assert kinds == [Kronecker, Permutation, Kronecker, Permutation]
    equal(R.dense(), torch.from_numpy(expected), 1e-13)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 64, 1009, 46_826, 1_000_003])
def test_chain_of_any_length_leaves_out_little(d):
    kronecker = next(R for R in chain(d, 0).parts if isinstance(R, Kronecker))
    assert len(kronecker.sizes) == 3
    assert d - kronecker.n <= max(2, d**0.25)
    assert max(kronecker.sizes) <= 2.1 * d ** (1 / 3) + 3


def test_chain_of_millions_is_orthogonal_in_float32():
    R = chain(3_000_017, 0)
    assert R.error() < 1e-5
    assert R.dtype == torch.float32
    # A unit vector spreads over very many entries: no entry keeps more than 1 % of it.
    x = torch.zeros(R.d)
    x[17] = 1
    assert R(x).square().max() < 0.01
    assert R(x).abs().sum() > 100  # a unit vector that stays put has 1; a uniform one some 1,400


def test_haar_is_uniform():
    """Traces of uniform orthogonal matrices: mean 0, second moment 1, fourth 3.

    Of 3,000 the means deviate by 1/√3000 = .018, √2/√3000 = .026 and √96/√3000 = .18; five of each
    are wrong with a probability below 1e-6. Without the signs of QR the mean is far off.
    """
    traces = torch.stack([haar(5, seed, **F64).dense().trace() for seed in range(3000)])
    for power, moment, bound in [(1, 0, 0.09), (2, 1, 0.13), (4, 3, 0.9)]:
        assert abs((traces**power).mean().item() - moment) < bound
    determinants = [torch.linalg.det(haar(4, seed).dense()).item() for seed in range(400)]
    assert 150 < sum(x > 0 for x in determinants) < 250  # five deviations are 50


def test_exponential_is_its_series_and_a_group():
    t, A = 0.7, torch.tensor([[0.0, -1.0], [1.0, 0.0]], **F64)
    c, s = np.cos(t), np.sin(t)
    equal(exponential(A, t).dense(), torch.tensor([[c, -s], [s, c]], **F64), 1e-15)
    A = skew(9, 3)
    equal(A, -A.T, 0)
    equal(exponential(A, 0.0).dense(), torch.eye(9, **F64), 0)
    both = exponential(A, 0.2) @ exponential(A, 0.5)
    equal(both.dense(), exponential(A, 0.7).dense(), 1e-12)
    slope = (exponential(A, 1e-6).dense() - exponential(A, -1e-6).dense()) / 2e-6
    equal(slope, A, 1e-8)
    assert exponential(skew(200, 1), 3.0).error() < 1e-14, "also far away"
    off = A[~torch.eye(9, dtype=torch.bool)]
    assert abs(skew(300, 0).var().item() - 2) < 0.1  # entries of M - Mᵀ
    assert off.unique().numel() == 72


def test_scopes_mix_what_they_should():
    """A change of one weight moves only those of its parameter, output or input."""
    like = [torch.zeros(4, 3, 2, **F64), torch.zeros(4, **F64), torch.zeros(2, 5, **F64)]
    x = torch.zeros(38, **F64)
    x[8] = 1.0  # weight [1, 1, 0] of the first
    moved = {
        name: [z != 0 for z in unflatten(make(like, 0)(x), like)]
        for name, make in {"layer": layer_wise, "output": output_wise, "input": input_wise}.items()
    }
    for first, *others in moved.values():
        assert not any(z.any() for z in others)
        assert first.sum() > 2
    assert moved["layer"][0].float().mean() > 0.7
    assert moved["output"][0][1].all()
    assert moved["output"][0].sum() == 6
    assert moved["input"][0][:, 1, 0].all()
    assert moved["input"][0].sum() == 4
    for make in (output_wise, input_wise):
        bias = torch.zeros(38, **F64)
        bias[24:28] = torch.arange(4)
        equal(make(like, 0)(bias), bias, 0)


def test_svd_makes_its_matrices_diagonal():
    torch.manual_seed(0)
    matrices = [torch.randn(shape, **F64) for shape in [(4, 6), (3,), (5, 2), (3, 2, 2)]]
    for original, rotated in zip(
        matrices, unflatten(svd(matrices).T(flatten(matrices)), matrices), strict=True
    ):
        if original.dim() == 1:
            equal(rotated, original, 0)
            continue
        values = torch.linalg.svdvals(original.flatten(1))
        expected = torch.zeros(len(original), original[0].numel(), **F64)
        expected.diagonal().copy_(values)
        equal(rotated.flatten(1), expected, 1e-12)


@pytest.mark.parametrize("make", [haar, chain])
def test_a_seed_is_an_operator(make):
    state = torch.get_rng_state()
    a, again, other = make(30, 5), make(30, 5), make(30, 6)
    assert torch.equal(torch.get_rng_state(), state), "the caller's random state is left alone"
    x = torch.randn(30)
    equal(a(x), again(x), 0)
    assert (a(x) - other(x)).abs().max() > 0.1
    equal(make(30, 5, dtype=torch.float64)(x.double()), a(x).double(), 1e-5)
    assert make(30, 5, dtype=torch.float64).to(torch.float32).dtype == torch.float32
    assert a.to(torch.float32, "cpu") is a
    equal(a.to(torch.float64).T(a(x).double()), x.double(), 1e-5)
    assert copy.deepcopy(a) is a
    equal(pickle.loads(pickle.dumps(a))(x), a(x), 0)


def test_autocast_does_not_touch_a_rotation():
    R, x = chain(1000, 0), torch.randn(1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = R(x)
    equal(y, R(x), 0)


# -- rotated losses --------------------------------------------------------------------------------


def model_and_data(activation="tanh"):
    torch.manual_seed(0)
    model = MLP([5, 6, 3], activation).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model, torch.randn(20, 5, **F64), torch.randint(3, (20,))


def test_a_rotated_function_has_the_same_values_and_the_rotated_derivatives():
    R, x0 = haar(4, 0, **F64), torch.randn(4, **F64)
    Q, H = R.dense(), torch.diag(torch.tensor([1.0, 2, 3, 4], **F64))

    def loss(x):
        return (x @ H * x).sum(-1) / 2 + x[..., 0] ** 3

    rotated = rotate(loss, R)
    start = R.T(x0)
    equal(rotated(start), loss(x0))
    equal(rotated(start.expand(3, 4)), loss(x0).expand(3))
    equal(hessian(rotated)(start), Q.T @ hessian(loss)(x0) @ Q)
    grad = torch.func.grad(loss)
    equal(rotate_gradient(grad, R)(start), torch.func.grad(rotated)(start))


def test_a_rotated_model_starts_where_the_model_does():
    model, x, y = model_and_data()
    d = sum(p.numel() for p in model.parameters())
    for R in (haar(d, 0, **F64), chain(d, 1, **F64), output_wise(model.parameters(), 2)):
        rotated = rotate(model, R)
        equal(rotated(x), model(x), 1e-12)
        equal(flatten(rotated.parameters()), R.T(flatten(model.parameters())), 0)
        shapes = {f"model.{k}": p.shape for k, p in model.named_parameters()}
        assert {k: p.shape for k, p in rotated.named_parameters()} == shapes
        cross_entropy(rotated(x), y).backward()
        native = torch.autograd.grad(cross_entropy(model(x), y), model.parameters())
        equal(flatten(p.grad for p in rotated.parameters()), R.T(flatten(native)), 1e-12)
    assert all(p.grad is None for p in model.parameters()), "the model itself is left alone"


@pytest.mark.parametrize("kind", ["resnet", "gpt"])
def test_networks_rotate(kind):
    """Buffers, tied weights and kernels of torch go along."""
    torch.manual_seed(0)
    if kind == "resnet":
        model, x, y = resnet18(channels=1, width=4), torch.randn(4, 1, 8, 8), torch.arange(4)
    else:
        model = GPT(GPTConfig(11, 8, 2, 2, 12))
        x, y = torch.randint(11, (2, 2, 8))
    model = model.double()
    x = x.double() if x.is_floating_point() else x
    R = chain(sum(p.numel() for p in model.parameters()), 0, **F64)
    rotated = rotate(model, R)
    equal(rotated(x), model(x), 1e-9)
    cross_entropy(rotated(x), y).backward()
    native = torch.autograd.grad(cross_entropy(model(x), y), model.parameters())
    equal(R(flatten(p.grad for p in rotated.parameters())), flatten(native), 1e-9)


def test_frozen_parameters_and_buffers_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    model[0].requires_grad_(False)
    R = haar(18, 0, **F64)
    rotated, x = rotate(model, R), torch.randn(6, 3, **F64)
    equal(rotated(x), model(x), 1e-12)
    equal(rotated.model[0].weight, model[0].weight, 0)
    equal(rotated.model[1].running_mean, model[1].running_mean, 1e-12)
    rotated.eval()
    assert not rotated.model[1].training
    fresh = rotate(model, R)
    fresh.load_state_dict(rotated.state_dict())
    equal(fresh.eval()(x), rotated(x), 0)
    narrow = rotated.float()
    assert narrow.rotation.dtype == torch.float32
    equal(narrow(x.float()).double(), model.eval()(x), 1e-5)
    other = pickle.loads(pickle.dumps(copy.deepcopy(narrow)))
    equal(other(x.float()), narrow(x.float()), 0)


# -- both forms, and what is equivariant -----------------------------------------------------------

RULES = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD, momentum and decay": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "AdaSGD": lambda p: optim.AdaSGD(p, lr=0.02),
    "Adam": lambda p: optim.Adam(p, lr=0.02),
    "Adam without memory": lambda p: optim.Adam(p, lr=0.02, betas=(0.0, 0.0)),
    "AdamW": lambda p: optim.AdamW(p, lr=0.02, weight_decay=0.1),
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


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
@pytest.mark.parametrize("kind", ["haar", "chain", "output-wise"])
def test_rotating_the_loss_is_rotating_inside_the_optimizer(make, kind):
    model, x, y = model_and_data()
    params = list(model.parameters())
    d = sum(p.numel() for p in params)
    R = {"haar": haar(d, 1, **F64), "chain": chain(d, 2, **F64), "output-wise": output_wise(params)}
    R = R[kind]
    rotated = rotate(model, R)
    outside = train(rotated, make(rotated.parameters()), x, y)
    inside = train(model, RotatedOptimizer(model.parameters(), make, R), x, y)
    equal(inside, outside, 1e-10)
    assert (outside[-1] - outside[0]).abs().max() > 0.05, "it moved"


@pytest.mark.parametrize("name", RULES)
def test_who_is_equivariant(name):
    """Theorem 2.2: SGD and AdaSGD under every rotation; all of them under permutations."""
    model, x, y = model_and_data()
    d = sum(p.numel() for p in model.parameters())
    order = torch.randperm(d, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(model)
    native = train(other, RULES[name](other.parameters()), x, y)
    deviations = {}
    for kind, R in {"permutation": Permutation(order), "rotation": haar(d, 1, **F64)}.items():
        rotated = rotate(model, R)
        moved = train(rotated, RULES[name](rotated.parameters()), x, y)
        deviations[kind] = (moved - native).abs().max().item()
    assert deviations["permutation"] < 1e-10
    if name.startswith(EQUIVARIANT):
        assert deviations["rotation"] < 1e-10
    else:
        assert deviations["rotation"] > 1e-2


def test_an_identity_inside_changes_nothing():
    model, x, y = model_and_data()
    other, d = copy.deepcopy(model), sum(p.numel() for p in model.parameters())
    plain = train(other, torch.optim.AdamW(other.parameters(), lr=0.02), x, y)
    wrapped = RotatedOptimizer(
        model.parameters(), lambda p: torch.optim.AdamW(p, lr=0.02), Identity(d)
    )
    equal(train(model, wrapped, x, y), plain, 1e-12)


def test_a_rotated_optimizer_is_an_optimizer(tmp_path):
    """Schedules, closures, states, copies, `fit` with checkpoints."""
    model, x, y = model_and_data()
    start = copy.deepcopy(model)
    R = haar(sum(p.numel() for p in model.parameters()), 1, **F64)

    def wrapped(params):
        return RotatedOptimizer(params, RULES["Adam"], R)

    def step(model, optimizer, times):
        for _ in range(times):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return flatten(model.parameters()).detach().clone()

    # A schedule sets the inner step size.
    optimizer = wrapped(model.parameters())
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    step(model, optimizer, 1)
    schedule.step()
    before = flatten(model.parameters()).detach().clone()
    rate = optimizer.param_groups[0]["lr"]
    assert rate == 0.01
    after = step(model, optimizer, 1)
    assert 0 < (R.T(after - before)).abs().max() < 1.01 * rate  # Adam's early steps are below lr
    # A state that is loaded goes on as if nothing had happened.
    kept, twin = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model)
    fresh = wrapped(twin.parameters())
    fresh.load_state_dict(kept)
    assert fresh.param_groups[0]["lr"] == rate
    saved_model, saved_optimizer = pickle.loads(pickle.dumps((model, optimizer)))
    copied_model, copied_optimizer = copy.deepcopy((model, optimizer))
    expected = step(model, optimizer, 3)
    equal(step(twin, fresh, 3), expected, 0)
    equal(step(saved_model, saved_optimizer, 3), expected, 0)
    equal(step(copied_model, copied_optimizer, 3), expected, 0)

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        return loss

    equal(optimizer.step(closure), cross_entropy(twin(x), y), 0)
    # fit takes it, stops and resumes.
    data, options = (x, y), {"batch_size": 8, "every": 1, "device": "cpu", "progress": False}
    whole, parts, path = copy.deepcopy(start), copy.deepcopy(start), tmp_path / "run"
    fit(whole, Batches(data, 8), wrapped, steps=6, **options)
    fit(parts, Batches(data, 8), wrapped, steps=3, checkpoint=path, **options)
    parts = copy.deepcopy(start)
    fit(parts, Batches(data, 8), wrapped, steps=6, checkpoint=path, **options)
    equal(flatten(parts.parameters()), flatten(whole.parameters()), 0)


def test_a_missing_gradient_counts_as_zero():
    a, b = nn.Parameter(torch.ones(2, **F64)), nn.Parameter(torch.ones(1, **F64))
    R = haar(3, 0, **F64)
    optimizer = RotatedOptimizer([a, b], lambda p: torch.optim.SGD(p, lr=0.5), R)
    a.grad = torch.tensor([1.0, 2.0], **F64)
    optimizer.step()
    equal(flatten([a, b]), torch.tensor([0.5, 0.0, 1.0], **F64), 1e-12)


def test_simulations_rotate():
    """The noise is that of the native problem; SGD's trajectory is the native one, turned."""
    f, R, x0 = Quadratic([1.0, 4.0, 9.0]), haar(3, 0, **F64), torch.ones(3, **F64)
    oracle = f.noisy(0.3)
    start = {"steps": 20, "lr": torch.tensor([[0.01], [0.1]], **F64), "seed": 3}
    native = trajectory(optim.SGD, oracle, x0, **start)
    turned = trajectory(optim.SGD, rotate_gradient(oracle, R), R.T(x0), **start)
    equal(R(turned), native, 1e-12)

    class Counting:
        resets = 0

        def reset(self):
            self.resets += 1

        def __call__(self, x):
            return x

    grad = Counting()
    trajectory(optim.SGD, rotate_gradient(grad, R), x0, 2, lr=0.1)
    assert grad.resets == 1


@pytest.mark.parametrize("kind", ["chain", "output-wise"])
def test_an_ensemble_of_rotated_models_trains_as_each_alone(kind):
    images, d = digits(flatten=True), 64 * 4 + 4 + 4 * 10 + 10
    x, y = images.x[:64].double(), images.y[:64]
    data = type(images)(x, y)
    R = (
        chain(d, 0, **F64)
        if kind == "chain"
        else output_wise(MLP([64, 4, 10]).double().parameters())
    )

    def make():
        return rotate(MLP([64, 4, 10]).double(), R)

    grid, options = {"lr": [0.01, 0.03]}, {"steps": 6, "batch_size": 16, "every": 6}
    options |= {"progress": False, "device": "cpu"}
    frame = sweep(make, data, optim.Adam, grid, seeds=2, **options)
    for row in frame.itertuples():
        torch.manual_seed(row.seed)
        alone = fit(
            make(), data, lambda p, lr=row.lr: optim.Adam(p, lr=lr), seed=row.seed, **options
        )
        assert abs(alone["loss"].iloc[-1] - row.loss) < 1e-10


# -- what cannot be done ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: haar(0), "d: expected an integer of at least 1, got 0"),
        (lambda: haar(3.0), r"d: .*got 3\.0"),
        (lambda: haar(30_000), r"d: a matrix of 30,000 rows takes 7 GiB; .*chain\(d\)"),
        (lambda: Identity(10**8).dense(), "dense: a matrix of 100,000,000 rows"),
        (lambda: haar(3, 0.5), "seed: expected an integer, got 0.5"),
        (lambda: chain(10, rounds=0), "rounds: expected an integer of at least 1, got 0"),
        (lambda: matrix(torch.ones(2, 2)), r"factors\[0\]: .*QᵀQ is off by 2"),
        (lambda: matrix(torch.full((2, 2), torch.nan)), r"factors\[0\]: expected an orthogonal"),
        (lambda: matrix(torch.eye(2, 3)), r"factors\[0\]: expected a real square matrix.*\(2, 3\)"),
        (lambda: matrix(torch.eye(2).long()), "factors.*torch.int64"),
        (
            lambda: Kronecker([2, 3], d=5),
            "d: expected at least 6, the product of the factors, got 5",
        ),
        (lambda: Kronecker([2, 0]), r"factors\[1\]: expected an integer of at least 1, got 0"),
        (lambda: Permutation([0, 2]), r"order: expected each of 0, …, d - 1 once"),
        (lambda: Permutation(torch.tensor([0, 0])), "order: expected each"),
        (lambda: Blocks([]), "rotations: expected at least one, got none"),
        (lambda: Composed([]), "rotations: expected one or more"),
        (lambda: haar(3) @ haar(4), "rotations: expected one or more of one size"),
        (lambda: haar(3) @ haar(3, **F64), "expected one dtype and device"),
        (lambda: exponential(torch.ones(2, 2)), "A: expected a real skew-symmetric matrix"),
        (lambda: exponential(torch.full((2, 2), torch.nan)), "A: expected a real skew"),
        (lambda: exponential(torch.zeros(2)), r"A: expected a square matrix, got .*\(2,\)"),
        (
            lambda: exponential(torch.zeros(2, 2), float("inf")),
            "t: expected a finite number, got inf",
        ),
        (
            lambda: haar(3)(torch.zeros(4)),
            r"x: expected a tensor of shape \(..., 3\), got .*\(4,\)",
        ),
        (lambda: haar(3)(torch.zeros(())), r"x: expected .*got shape \(\)"),
        (lambda: haar(3)([1, 2, 3]), "x: expected .*got 'list'"),
        (lambda: haar(3)(torch.zeros(3, **F64)), "x: expected torch.float32 on cpu.*rotation.to"),
        (lambda: output_wise([]), "params: expected at least one trained parameter"),
        (lambda: output_wise([torch.zeros(2, 2).long()]), r"params\[0\]: expected a real tensor"),
        (lambda: output_wise([torch.zeros(2, 0)]), r"params\[0\]: expected a real tensor with"),
        (
            lambda: output_wise([torch.zeros(1), torch.zeros(1, **F64)]),
            "params: expected tensors of",
        ),
        (lambda: svd([torch.full((2, 2), torch.inf)]), "matrices: expected finite numbers"),
        (lambda: rotate(MLP([2, 2]), haar(5)), "rotation: the model has 6 trained .*got d=5"),
        (lambda: rotate(MLP([2, 2]), haar(6, **F64)), "x: expected torch.float64"),
        (lambda: rotate(nn.ReLU(), haar(5)), "params: expected at least one trained parameter"),
        (lambda: rotate(3, haar(5)), "target: expected a function or a Module, got 3"),
        (lambda: rotate(MLP([2, 2]), torch.eye(6)), "rotation: expected a Rotation"),
        (
            lambda: RotatedOptimizer([torch.zeros(2)], RULES["Adam"], haar(3)),
            "rotation: the parameters have 2 numbers, got d=3",
        ),
        (
            lambda: RotatedOptimizer([torch.zeros(2)], lambda p: 3, haar(2)),
            "optimizer: expected a function params -> optimizer, got 3",
        ),
        (
            lambda: RotatedOptimizer([torch.zeros(2)], RULES["Adam"], haar(2)).add_param_group({}),
            "a RotatedOptimizer has one group",
        ),
    ],
)
def test_errors_name_the_argument_and_the_value(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_rotation_multiplies_rotations_only():
    with pytest.raises(TypeError, match="unsupported operand"):
        haar(3) @ torch.eye(3)
