"""Every optimizer as a drop-in torch.optim.Optimizer."""

import math

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR, AveragedModel
from torch.utils._pytree import tree_leaves

from companion import optim
from companion.kernels import group as kernels
from companion.optim import steps as engine
from tests.cases import EVERY, cases, every, loss_of, make_params, run
from tests.naming import label


def equal(a, b, tolerance=0.0):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# -- what torch.optim users rely on ----------------------------------------------------------------


def test_public_names():
    names = "SGD AdaGrad RMSprop Adam AdamW Adamax AMSGrad AdaFom AdaBound AdaShift ADOPT SignSGD"
    assert optim.__all__ == [*names.split(), "AdaSGD", "BlockwiseAdam"]
    assert all(issubclass(cls, torch.optim.Optimizer) for cls in EVERY)


@every
def test_it_prints_its_options(cls):
    optimizer = cls(make_params(), lr=0.375)
    assert cls.__name__ in repr(optimizer)
    assert all(name in repr(optimizer) for name in optimizer.defaults)
    assert "lr: 0.375" in repr(optimizer)


@cases
def test_groups_have_their_own_options_also_when_added_later(cls, options):
    params = make_params()
    optimizer = cls([{"params": params[:1], "lr": 0.1}], lr=0.01, **options)
    optimizer.add_param_group({"params": params[1:]})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]
    together = run(optimizer, params)

    apart = make_params()
    for part, lr in ((apart[:1], 0.1), (apart[1:], 0.01)):
        run(cls(part, lr=lr, **options), part)
    equal(together, torch.cat([p.detach().flatten() for p in apart]), 1e-15)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.OneCycleLR(
            o,
            max_lr=0.1,
            total_steps=10,
            cycle_momentum="betas" in o.defaults or "momentum" in o.defaults,
        ),
        lambda o: lr_scheduler.LambdaLR(o, lambda t: t / 4),
    ],
    ids=["one cycle", "warm-up from zero"],
)
@pytest.mark.parametrize("fused", [False, True])
@every
def test_schedulers_move_the_step_size(cls, fused, make):
    params, twin = make_params(), make_params()
    scheduled, by_hand = cls(params, lr=0.1, fused=fused), cls(twin, lr=0.1, fused=fused)
    scheduler = make(scheduled)
    for _ in range(6):
        for key in ("lr", "betas", "momentum"):
            if key in by_hand.param_groups[0]:
                by_hand.param_groups[0][key] = scheduled.param_groups[0][key]
        equal(run(scheduled, params, 1), run(by_hand, twin, 1))
        scheduler.step()
    assert scheduled.param_groups[0]["lr"] != 0.1
    assert all(torch.isfinite(p).all() for p in params)


@cases
def test_closure_is_evaluated_and_its_loss_returned(cls, options):
    params, twin = make_params(), make_params()
    optimizer = cls(params, lr=0.05, **options)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(params)
        loss.backward()
        return loss

    first = loss_of(twin).item()
    with torch.no_grad():
        assert optimizer.step(closure).item() == first
    equal(params[0].detach(), run(cls(twin, lr=0.05, **options), twin, 1)[:12].view(3, 4))


@pytest.mark.parametrize("fused", [False, True])
@cases
def test_a_late_first_gradient_starts_from_fresh_state(cls, options, fused):
    if cls.block == "group":
        pytest.skip("its parameters share one average by design")
    params, alone = make_params(), make_params()
    optimizer = cls(params, lr=0.05, fused=fused, **options)
    late = params[1]
    before = late.detach().clone()
    run_without = [p for p in params if p is not late]
    run(optimizer, run_without, 3)
    equal(late.detach(), before)
    assert late not in optimizer.state
    run(optimizer, params, 4)
    run(cls([alone[1]], lr=0.05, fused=fused, **options), [alone[1]], 4)
    equal(late.detach(), alone[1].detach(), 1e-15)


@pytest.mark.parametrize("fused", [False, True])
def test_a_parameter_that_misses_a_step_keeps_its_own_count(fused):
    """After gradients 0.5 and 2 at lr 0.1, whatever the other parameter has seen."""
    a, b = params = [nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2)]
    optimizer = optim.Adam(params, lr=0.1, fused=fused)
    for gradients in ((1.0, 1.0), (None, 0.5), (1.0, 2.0)):
        for p, g in zip((a, b), gradients, strict=True):
            p.grad = None if g is None else torch.full_like(p, g)
        optimizer.step()
    assert b.item() == pytest.approx(-0.28413, abs=1e-5)


@pytest.mark.parametrize("set_to_none", [True, False])
@cases
def test_zero_grad(cls, options, set_to_none):
    params = make_params()
    optimizer = cls(params, **options)
    run(optimizer, params, 1)
    optimizer.zero_grad(set_to_none=set_to_none)
    before = [p.detach().clone() for p in params]
    if set_to_none:
        optimizer.step()
        assert all(p.grad is None for p in params)
        equal([p.detach() for p in params], before)
    else:
        assert all((p.grad == 0).all() for p in params)


@pytest.mark.parametrize("fused", [False, True])
@every
def test_grad_scaler_skips_infinite_steps_and_unscales_the_others(cls, fused):
    params, twin = make_params(torch.float32), make_params(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    optimizer, plain = cls(params, lr=0.05, fused=fused), cls(twin, lr=0.05, fused=fused)
    for step in range(5):
        optimizer.zero_grad()
        scaler.scale(loss_of(params)).backward()
        if step == 2:
            params[0].grad[0, 0] = math.inf
        scaler.step(optimizer)
        scaler.update()
    run(plain, twin, 4)
    equal([p.detach() for p in params], [p.detach() for p in twin], 1e-7)


@pytest.mark.parametrize("fused", [False, True])
def test_an_averaged_model_under_its_scheduler_is_that_of_torch(fused):
    ends = []
    for cls, options in ((optim.Adam, {"fused": fused}), (torch.optim.Adam, {})):
        torch.manual_seed(0)
        model = nn.Linear(4, 3).double()
        optimizer = cls(model.parameters(), lr=0.05, **options)
        average, scheduler = AveragedModel(model), SWALR(optimizer, swa_lr=0.01, anneal_epochs=3)
        for _ in range(6):
            run(optimizer, list(model.parameters()), 1)
            average.update_parameters(model)
            scheduler.step()
        ends.append([p.detach() for p in average.parameters()])
    equal(*ends, 1e-12)


@every
def test_compiled_training_steps(cls):
    torch._dynamo.reset()
    params, twin = make_params(), make_params()
    optimizer, eager = cls(params, lr=0.05), cls(twin, lr=0.05)

    @torch.compile(backend="eager")
    def train_step():
        optimizer.zero_grad()
        loss_of(params).backward()
        optimizer.step()

    for _ in range(12):
        train_step()
    run(eager, twin, 12)
    equal([p.detach() for p in params], [p.detach() for p in twin], 1e-12)


@cases
def test_hyper_gradient_through_ten_steps(cls, options):
    """d loss / d lr through the optimizer, against central differences."""
    if cls is optim.AdaShift:
        options = {"n": 2, **options}  # its default gathers gradients for ten steps
    if "eps" in cls(make_params()).defaults:
        options = {"eps": 1e-3, **options}

    def final_loss(lr):
        params = [p.detach().clone().requires_grad_() + 0 for p in make_params()]
        optimizer = cls(params, lr=lr, differentiable=True, **options)
        for _ in range(10):
            copies = [p.clone() for p in params]
            gradients = torch.autograd.grad(loss_of(copies), copies, create_graph=True)
            for p, g in zip(params, gradients, strict=True):
                p.grad = g
            optimizer.step()
        return loss_of(params)

    lr = torch.tensor(0.02, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(final_loss(lr), lr)
    h = 1e-6
    up, down = (final_loss(torch.tensor(0.02 + d, dtype=torch.float64)) for d in (h, -h))
    equal(gradient.item(), (up - down).item() / (2 * h), 1e-5)


_numbers = {}  # where steps by a number end, for both shapes


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("shape", [(), (1,)])
@cases
def test_lr_as_a_tensor_steps_like_a_number_and_stays(cls, options, fused, shape):
    params, tensor = make_params(), torch.full(shape, 0.05, dtype=torch.float64)
    a = run(cls(params, lr=tensor, fused=fused, **options), params)
    if (key := (cls, str(options), fused)) not in _numbers:
        twin = make_params()
        _numbers[key] = run(cls(twin, lr=0.05, fused=fused, **options), twin)
    equal(a, _numbers[key], 1e-14)
    assert (tensor == 0.05).all()


@cases
def test_large_tensors_step_in_pieces_with_the_same_result(cls, options, monkeypatch):
    params, twin = make_params(), make_params()
    options = {"weight_decay": 0.1, **options}
    optimizer = cls(params, lr=0.05, **options)
    whole = run(optimizer, params)
    monkeypatch.setattr(engine, "PIECE", 5)
    other = cls(twin, lr=0.05, **options)
    equal(run(other, twin), whole)
    states = (
        tree_leaves([o.state[p] for p in ps]) for o, ps in ((optimizer, params), (other, twin))
    )
    equal(*map(list, states))


class Pair(torch.Tensor):
    """A tensor subclass: two halves, each with its own memory."""

    @staticmethod
    def __new__(cls, top, bottom):
        shape = (len(top) + len(bottom), *top.shape[1:])
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=top.dtype)

    def __init__(self, top, bottom):
        self.halves = top, bottom

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}

        def whole(z):
            return torch.cat(z.halves) if isinstance(z, Pair) else z

        result = torch.utils._pytree.tree_map(whole, (args, kwargs))
        result = function(*result[0], **result[1])
        if function._schema.is_mutable:  # copy_ and the like: write to the halves
            target = args[0]
            for half, new in zip(
                target.halves, result.tensor_split([len(target.halves[0])]), strict=True
            ):
                half.copy_(new)
            return target
        if function is torch.ops.aten.detach.default:
            return Pair(*args[0].halves)
        return result


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("cls", [optim.SGD, optim.Adam, optim.ADOPT], ids=label)
@pytest.mark.filterwarnings("ignore:.*steps eagerly:RuntimeWarning")
def test_a_tensor_subclass_moves_or_is_refused(cls, fused, monkeypatch):
    """Its own memory is elsewhere: pieces and kernels would write to a copy, or to nowhere."""
    monkeypatch.setattr(engine, "PIECE", 5)
    top, bottom = torch.ones(3, 4), torch.ones(3, 4)
    p, twin = nn.Parameter(Pair(top, bottom)), nn.Parameter(torch.ones(6, 4))
    optimizers = [cls([q], lr=0.1, fused=fused) for q in (p, twin)]
    for step in range(4):
        for q, optimizer in zip((p, twin), optimizers, strict=True):
            q.grad = torch.linspace(-1, 1, 24).view(6, 4) + step
            optimizer.step()
    equal(torch.cat((top, bottom)), twin.detach(), 1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e25])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optim.SGD, torch.optim.SGD),
        (optim.AdaGrad, torch.optim.Adagrad),
        (optim.RMSprop, torch.optim.RMSprop),
        (optim.Adam, torch.optim.Adam),
        (optim.Adamax, torch.optim.Adamax),
        (optim.AdamW, torch.optim.AdamW),
    ],
    ids=label,
)
def test_a_bad_gradient_spoils_the_entries_that_torch_would_spoil(ours, theirs, dtype, fused, bad):
    results = []
    for cls, options in ((ours, {"fused": fused}), (theirs, {})):
        params = make_params(dtype)
        optimizer = cls(params, **options)
        for entry in (1.0, bad, 1.0, 1.0):
            for p in params:
                p.grad = torch.ones_like(p)
            params[0].grad[1, 2] = entry
            optimizer.step()
        results.append(params[0].detach())
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(*results, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("fused", [False, True])
@cases
def test_the_default_device_may_be_another_than_the_parameters(cls, options, fused):
    """Nothing of a step may be made on it: "meta" holds no numbers at all."""
    if callable(options.get("partition")):
        pytest.skip("where a user's labels lie is the user's business")
    params, twin = make_params(), make_params()
    expected = run(cls(params, lr=0.05, fused=fused, **options), params)
    try:
        torch.set_default_device("meta")
        optimizer = cls(twin, lr=0.05, fused=fused, **options)
        run(optimizer, twin, 4)
        optimizer.load_state_dict(optimizer.state_dict())
        run(optimizer, twin, 4)
    finally:
        torch.set_default_device(None)
    equal(torch.cat([p.detach().flatten() for p in twin]), expected, 1e-12)


# -- kernels and what a user adds ------------------------------------------------------------------


def test_a_fused_step_is_a_change_that_autograd_sees():
    p = nn.Parameter(torch.ones(3))
    optimizer = optim.Adam([p], fused=True)
    loss = p.square().sum()
    for _ in range(2):
        p.grad = torch.ones(3)
        optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_a_user_keeps_in_a_group_is_none_of_the_kernels_business():
    p = nn.Parameter(torch.ones(3))
    optimizer = optim.Adam([{"params": [p], "tags": ["a"], "name": "head"}], fused=True)
    for step in range(3):
        before = len(kernels._kernels)
        optimizer.param_groups[0]["name"] = f"head {step}"
        p.grad = torch.ones(3)
        optimizer.step()
        assert len(kernels._kernels) == before or step == 0
    assert p[0] < 1


class Tempered(optim.SGD):
    """A user's own rule: SGD whose gradient is squashed."""

    squash = staticmethod(lambda g: g / (1 + g.abs()))

    @staticmethod
    def rule(x, g, s, t, h):
        return x - h.lr * Tempered.squash(g), s


def test_a_users_rule_is_compiled_as_it_is():
    params, twin = make_params(), make_params()
    expected = run(Tempered(params, lr=0.1), params)
    equal(run(Tempered(twin, lr=0.1, fused=True), twin), expected, 1e-14)


def test_a_rule_without_a_kernel_steps_eagerly_and_says_why(monkeypatch):
    monkeypatch.setattr(Tempered, "squash", staticmethod(torch.erf))
    kernels._kernels.clear()
    params, twin = make_params(), make_params()
    expected = run(Tempered(params, lr=0.1), params, 1)
    with pytest.warns(RuntimeWarning, match=r"Tempered\(fused=True\) steps eagerly.*erf"):
        equal(run(Tempered(twin, lr=0.1, fused=True), twin, 1), expected)
