"""A group stepped by one kernel ends where the rule alone ends."""

import functools
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from companion import optim
from companion.kernels import build
from companion.kernels import group as fused
from tests.cases import cases, every
from tests.naming import label


def zoo(seed=0):
    """Return parameters of every kind, and a function that gives them new gradients."""
    torch.manual_seed(seed)
    f32, f64 = torch.float32, torch.float64
    params = [
        torch.randn((), dtype=f64),
        torch.randn(0, dtype=f64),
        torch.randn(3, 4, dtype=f64).t(),
        torch.randn(2, 3, 2, 2, dtype=f64).contiguous(memory_format=torch.channels_last),
        torch.randn(2, 2, dtype=torch.complex128),
        torch.randn(4, 3, dtype=f32),
        torch.randn(6, 2, dtype=f32)[::2],
        torch.randn(4, dtype=torch.bfloat16),
        torch.randn(5, dtype=f64),
    ]
    params = [nn.Parameter(p) for p in params]

    def give(call):
        generator = torch.Generator().manual_seed(100 + call)
        for p in params[: None if call >= 4 else -1]:  # the last one's first gradient is late
            g = torch.randn(p.shape, dtype=p.dtype, generator=generator)
            p.grad = g.contiguous(memory_format=torch.channels_last) if p.dim() == 4 else g

    return params, give


TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2**-8}


def close(got, want, dtype=None):
    """Compare to the tolerance of a dtype, relative to the largest entry."""
    tolerance = TOLERANCES[torch.empty(0, dtype=dtype or want.dtype).abs().dtype]
    scale = want[want.isfinite()].abs().max().item() if want.isfinite().any() else 1.0
    torch.testing.assert_close(
        got, want, rtol=0, atol=tolerance * scale, equal_nan=True, check_stride=False
    )


def both(cls, options, calls=12, make=zoo, changes=None):
    """Step the same parameters eagerly and fused; return (parameters, optimizer) of each."""
    results = []
    for flag in (False, True):
        params, give = make()
        optimizer = cls(params, **{"lr": 0.01, **options}, fused=flag)
        for call in range(calls):
            optimizer.param_groups[0].update((changes or {}).get(call, {}))
            give(call)
            optimizer.step()
        results.append((params, optimizer))
    return results


def assert_same(eager, kernel):
    for p, q in zip(eager[0], kernel[0], strict=True):
        close(q.detach(), p.detach())
        assert q.stride() == p.stride()
        if p.numel():
            pairs = zip(
                *(tree_leaves(o.state[z]) for z, o in ((q, kernel[1]), (p, eager[1]))), strict=True
            )
            for got, want in pairs:
                if isinstance(want, torch.Tensor):
                    close(got.double(), want.double(), p.dtype)


@cases
def test_fused_is_eager(cls, options):
    changes = {6: {"lr": 0.02}}
    if options.get("weight_decay"):
        changes[8] = {"weight_decay": 0.3}
    assert_same(*both(cls, options, changes=changes))


def vectors(bad=None, seed=0):
    """Return two float64 vectors, and gradients of which one turns bad at the third call."""
    torch.manual_seed(seed)
    params = [nn.Parameter(torch.randn(n, dtype=torch.float64)) for n in (5, 3)]

    def give(call):
        generator = torch.Generator().manual_seed(call)
        for p in params:
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
        if call == 2 and bad is not None:
            params[0].grad[1] = bad

    return params, give


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@every
def test_fused_spoils_the_entries_that_eager_spoils(cls, bad):
    eager, kernel = both(cls, {"lr": 0.01}, calls=5, make=partial(vectors, bad))
    assert_same(eager, kernel)
    for p, q in zip(eager[0], kernel[0], strict=True):
        assert torch.equal(p.isnan(), q.isnan())


def test_fused_spoils_what_eager_spoils_under_a_clip_and_a_maximum():
    for cls, options in ((optim.ADOPT, {"betas": (0.0, 0.0)}), (optim.AMSGrad, {})):
        eager, kernel = both(cls, options, calls=5, make=partial(vectors, math.nan))
        assert kernel[0][0].isnan().tolist() == eager[0][0].isnan().tolist()
        assert kernel[0][0][1].isnan()


@cases
def test_a_new_number_compiles_nothing(cls, options):
    """Neither lr nor any other number that a schedule may change asks for another kernel."""
    params, give = vectors()
    optimizer = cls(params, **options, fused=True)
    (group,) = optimizer.param_groups
    for call in range(3):
        give(call)
        optimizer.step()
        if call == 0:
            before = len(fused._kernels), build._outcome.cache_info().misses
        group["lr"] *= 0.5
        group["weight_decay"] *= 0.5
        if "betas" in group:
            group["betas"] = (0.5, 0.6 + 0.1 * call)
    assert (len(fused._kernels), build._outcome.cache_info().misses) == before


def move(params, optimizer):
    params[0].data = params[0].data.clone()


def transpose(params, optimizer):
    params[0].data = params[0].data.t()


def stride_gradient(params, optimizer):
    params[0].grad = params[0].grad.t()


def drop_gradient(params, optimizer):
    params[1].grad = None


def ascend(params, optimizer):
    optimizer.param_groups[0]["maximize"] = True


def start_to_decay(params, optimizer):
    optimizer.param_groups[0]["weight_decay"] = 0.1


def load(params, optimizer):
    optimizer.load_state_dict(optimizer.state_dict())


def forget(params, optimizer):
    optimizer.state.clear()


def replace_state(params, optimizer):
    state = optimizer.state[params[0]]
    state["m"] = torch.ones_like(state["m"])


def add_group(params, optimizer):
    p = nn.Parameter(torch.ones(2, dtype=torch.float64))
    p.grad = torch.ones_like(p)
    optimizer.add_param_group({"params": [p], "lr": 0.1})
    params.append(p)


@pytest.mark.parametrize(
    "disturb",
    [
        move,
        transpose,
        stride_gradient,
        drop_gradient,
        ascend,
        start_to_decay,
        load,
        forget,
        replace_state,
        add_group,
    ],
    ids=lambda function: function.__name__,
)
@pytest.mark.parametrize(
    ("cls", "options"), [(optim.Adam, {}), (optim.SGD, {"momentum": 0.9})], ids=label
)
def test_fused_follows_what_is_changed_between_steps(cls, options, disturb):
    """Nothing that a kernel was launched with may be taken for granted at the next launch."""

    def make():
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(n, dtype=torch.float64)) for n in ((3, 3), 4)]

        def give(call):
            generator = torch.Generator().manual_seed(call)
            for p in params:
                p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)

        return params, give

    results = []
    for flag in (False, True):
        params, give = make()
        optimizer = cls(params, lr=0.01, **options, fused=flag)
        for call in range(8):
            give(call)
            if call == 4:
                disturb(params, optimizer)
            optimizer.step()
        results.append((params, optimizer))
    assert_same(*results)


def test_fused_splits_rows_and_elements_among_threads():
    """More elements than one thread takes: blocks straddle the borders between threads."""
    threads = torch.get_num_threads()

    def large():
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(shape)) for shape in ((3, 20011), (7,), (5, 4001))]

        def give(call):
            generator = torch.Generator().manual_seed(call)
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)

        return params, give

    torch.set_num_threads(3)
    try:
        for cls, options in ((optim.BlockwiseAdam, {"partition": "rows"}), (optim.ADOPT, {})):
            assert_same(*both(cls, options, calls=3, make=large))
    finally:
        torch.set_num_threads(threads)


@pytest.fixture
def nothing_compiled(monkeypatch):
    """Forget the kernels of this process for one test."""
    monkeypatch.setattr(fused, "_kernels", {})
    monkeypatch.setattr(build, "_outcome", functools.cache(build._outcome.__wrapped__))


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize(
    ("compiler", "message"),
    [("/nonexistent", "/nonexistent.*CXX must name"), ("false --quietly", "false --quietly")],
)
@pytest.mark.parametrize("cls", [optim.Adam, optim.ADOPT, optim.AdaSGD], ids=label)
def test_without_a_compiler_fused_warns_and_steps_eagerly(
    cls, compiler, message, monkeypatch, tmp_path
):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    with pytest.warns(RuntimeWarning, match=rf"{cls.__name__}\(fused=True\).*{message}"):
        eager, kernel = both(cls, {}, calls=4, make=vectors)
    assert all(isinstance(k, build.Untranslatable) for k in fused._kernels.values())
    for p, q in zip(eager[0], kernel[0], strict=True):
        assert torch.equal(p, q)


@pytest.mark.usefixtures("nothing_compiled")
def test_kernels_are_kept_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    both(optim.SGD, {}, calls=1, make=vectors)
    (library,) = tmp_path.rglob("*.so")
    before = library.stat().st_mtime_ns
    fused._kernels.clear()
    build._outcome.cache_clear()
    both(optim.SGD, {}, calls=1, make=vectors)
    assert [path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")] == [before]


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("cls", [optim.Adam, optim.ADOPT, optim.AdaSGD], ids=label)
def test_the_kernel_of_other_devices_is_eager_too(cls, monkeypatch):
    """Captured and differentiated as on a GPU; generating its code would take twenty seconds."""
    monkeypatch.setattr(fused, "CppKernel", fused.TorchKernel)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    assert_same(*both(cls, {}, calls=4, make=vectors, changes={2: {"lr": 0.02}}))
    assert fused._kernels
    assert all(isinstance(kernel, fused.TorchKernel) for kernel in fused._kernels.values())


class Halved(optim.SGD):
    """A rule whose step has a keyword, which no kernel has a form for."""

    @staticmethod
    def rule(x, g, s, t, h):
        return torch.sub(x, g, alpha=0.5), s


@pytest.mark.usefixtures("nothing_compiled")
def test_a_keyword_without_a_form_is_refused_and_not_dropped():
    with pytest.warns(RuntimeWarning, match="calls sub with arguments that have no C"):
        eager, kernel = both(Halved, {}, calls=2, make=vectors)
    for p, q in zip(eager[0], kernel[0], strict=True):
        assert torch.equal(p, q)
