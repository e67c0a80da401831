"""What touches a device, on a GPU: against the same on the CPU, in float64 where it can be.

Nothing here runs without one: ``python -m pytest -m gpu tests``.
"""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from companion import hessian, optim, rotation
from companion.data import Dataset
from companion.models import GPT, MLP, GPTConfig, resnet18
from companion.simulate import trajectory
from companion.train import fit, sweep
from tests.cases import cases, draw, every, follow, make_params, run, settings
from tests.hessian.matrices import ESTIMATORS, symmetric
from tests.naming import label

pytestmark = pytest.mark.gpu


def data(n=192, d=12, classes=5):
    """Return random points whose classes a network can learn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    return Dataset(x, (x @ torch.randn(d, classes, generator=generator)).argmax(1))


@pytest.mark.parametrize("fused", [False, True], ids=["eager", "fused"])
@cases
def test_a_step_on_a_gpu_is_that_on_the_cpu(cls, options, fused):
    xs, rows = draw()
    here = follow(cls, xs, rows, settings(options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, of its compiler
        warnings.simplefilter("error", RuntimeWarning)  # that the kernel is not used
        there = follow(cls, xs, rows, settings(options), device="cuda", fused=fused)
    for mine, theirs in zip(there, here, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every
def test_half_precision_keeps_its_state_in_float32(cls, dtype):
    found = {}
    for fused in (False, True):
        params = [nn.Parameter(p.detach().cuda()) for p in make_params(dtype)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            optimizer = cls(params, fused=fused)
            found[fused] = run(optimizer, params, steps=6)
        state = optimizer.state[params[0]]
        kept = [z for z in state.values() if isinstance(z, torch.Tensor) and z.is_cuda]
        assert all(z.dtype == torch.float32 for z in kept if z.is_floating_point())
    torch.testing.assert_close(found[True], found[False], rtol=2e-2, atol=2e-3)


def test_a_new_step_size_compiles_nothing():
    from torch._dynamo.utils import counters

    params = [nn.Parameter(p.detach().cuda()) for p in make_params(torch.float32)]
    optimizer = optim.Adam(params, fused=True)
    run(optimizer, params, steps=3)
    before = counters["stats"]["unique_graphs"]
    for lr in (0.1, 0.02, 0.003):
        optimizer.param_groups[0]["lr"] = lr
        run(optimizer, params, steps=2)
    assert counters["stats"]["unique_graphs"] == before


@pytest.mark.parametrize("fused", [False, True], ids=["eager", "fused"])
@pytest.mark.parametrize("cls", [optim.ADOPT, optim.Adam, optim.AdaSGD], ids=label)
def test_a_scaler_skips_a_step_that_overflows(cls, fused):
    params = [nn.Parameter(torch.ones(4, device="cuda"))]
    optimizer = cls(params, lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
    for step in range(6):
        optimizer.zero_grad()
        scaler.scale(params[0].square().sum()).backward()
        if step == 3:
            params[0].grad[1] = torch.inf
        before = params[0].detach().clone()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(params[0], before) == (step == 3 or (step == 0 and cls is optim.ADOPT))
    assert params[0].isfinite().all()


@cases
def test_a_state_moves_between_devices(cls, options):
    there = [nn.Parameter(p.detach().cuda()) for p in make_params()]
    first = cls(there, **options)
    run(first, there, steps=4)
    here = [nn.Parameter(p.detach().to("cpu", copy=True)) for p in there]
    second = cls(here, **options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.testing.assert_close(
        run(first, there, steps=4).cpu(), run(second, here, steps=4), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_training_resumes_on_a_gpu(tmp_path, precision):
    torch.manual_seed(0)
    model, again = (MLP([12, 32, 5]) for _ in range(2))
    again.load_state_dict(model.state_dict())

    def train(model, steps, **options):
        return fit(
            model, data(), lambda p: optim.ADOPT(p, lr=0.01, fused=True), steps=steps, every=10,
            device="cuda", precision=precision, progress=False, **options,
        )  # fmt: skip

    whole = train(model, 60)
    train(again, 30, checkpoint=tmp_path / "run.pt")
    parts = train(again, 60, checkpoint=tmp_path / "run.pt")
    np.testing.assert_allclose(whole.loss[-3:], parts.loss[-3:], rtol=1e-5)
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert p.is_cuda
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_a_sweep_on_a_gpu_is_that_on_the_cpu():
    frames = [
        sweep(
            lambda: MLP([12, 16, 5]), data(), {"ADOPT": optim.ADOPT, "AdaSGD": optim.AdaSGD},
            {"lr": [0.003, 0.01]}, seeds=3, steps=40, every=20, device=device, progress=False,
        )
        for device in ("cpu", "cuda")
    ]  # fmt: skip
    np.testing.assert_allclose(frames[1].loss, frames[0].loss, rtol=2e-3)


@every
def test_a_trajectory_on_a_gpu_is_that_on_the_cpu(cls):
    x0 = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    paths = [
        trajectory(cls, lambda x: x + 0.3 * x.cos(), x0.to(device), 40, lr=0.05)
        for device in ("cpu", "cuda")
    ]
    assert paths[1].is_cuda
    torch.testing.assert_close(paths[1].cpu(), paths[0], rtol=1e-10, atol=1e-10)


def networks():
    torch.manual_seed(0)
    tokens = torch.randint(24, (3, 17))
    gpt = GPT(GPTConfig(vocab=24, block=16, layers=1, heads=2, width=16))
    images = torch.randn(6, 3, 16, 16), torch.randint(5, (6,))
    points = data(40)
    return {
        "mlp": (MLP([12, 16, 5], "tanh"), cross_entropy, (points.x, points.y)),
        "gpt": (
            gpt,
            lambda z, y: cross_entropy(z.flatten(0, 1), y.flatten()),
            (tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()),
        ),
        "resnet": (resnet18(width=4, classes=5), cross_entropy, images),
    }


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("operator", [hessian.Hessian, hessian.GaussNewton], ids=label)
@pytest.mark.parametrize("name", ["mlp", "gpt", "resnet"])
def test_products_on_a_gpu_are_those_on_the_cpu(name, operator, columns):
    model, loss, batch = networks()[name]
    model = model.double().eval()
    batch = tuple(z.double() if z.is_floating_point() else z for z in batch)
    here = operator(model, loss, batch)
    there = operator(copy.deepcopy(model).cuda(), loss, tuple(z.cuda() for z in batch))
    V = torch.randn(here.shape[0], columns, dtype=torch.float64)
    torch.testing.assert_close((there @ V.cuda()).cpu(), here @ V, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "bracket"])
def test_estimates_on_a_gpu_hold_the_matrix_of_the_cpu(name):
    A = symmetric(80)
    here, there = (ESTIMATORS[name](hessian.Dense(A.to(d)), seed=1) for d in ("cpu", "cuda"))
    assert there.value.is_cuda
    exact = here.value.double()
    error = torch.nan_to_num(here.error).double() + torch.nan_to_num(there.error.cpu()).double()
    assert ((there.value.cpu().double() - exact).abs() <= 5 * error + 1e-6 * exact.abs()).all()


@pytest.mark.parametrize("make", [rotation.haar, rotation.chain], ids=label)
def test_rotations_on_a_gpu_are_those_on_the_cpu(make):
    here, there = make(60, seed=3), make(60, seed=3, device="cuda")
    x = torch.randn(60, dtype=here.dense().dtype)
    torch.testing.assert_close(there(x.cuda()).cpu(), here(x), rtol=1e-5, atol=1e-5)


def test_a_rotated_model_trains_on_a_gpu():
    torch.manual_seed(0)
    model = MLP([12, 16, 5])
    d = sum(p.numel() for p in model.parameters())
    frames = [
        fit(
            rotation.rotate(copy.deepcopy(model), rotation.chain(d, seed=1)).to(device), data(),
            lambda p: optim.SGD(p, lr=0.1), steps=30, every=10, device=device, progress=False,
        )
        for device in ("cpu", "cuda")
    ]  # fmt: skip
    np.testing.assert_allclose(frames[1].loss, frames[0].loss, rtol=1e-3)


def test_what_is_on_another_device_is_named():
    model = MLP([12, 16, 5]).cuda()
    batch = data(20)
    with pytest.raises(ValueError, match="on cuda:0, as the operator is; got torch"):
        hessian.Hessian(model, cross_entropy, (batch.x, batch.y)) @ torch.ones(293)
