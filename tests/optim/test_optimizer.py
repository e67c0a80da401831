"""Every optimizer as a drop-in torch.optim.Optimizer: the protocol, and the errors."""

import copy
import io
import math
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler

from companion import optim
from companion.kernels import group as fused
from companion.optim import optimizer as base

ALL = [getattr(optim, name) for name in optim.__all__]
EXTRA = [  # (class, options) that switch on state the defaults do without
    (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (optim.RMSprop, {"momentum": 0.9, "centered": True}),
    (optim.SignSGD, {"momentum": 0.9}),
    (optim.AdaShift, {"n": 2, "phi": None}),
    (optim.ADOPT, {"clip_lambda": None}),
    (optim.BlockwiseAdam, {"partition": "rows"}),
]
CASES = [(cls, {}) for cls in ALL] + EXTRA
IDS = [cls.__name__ + "".join(f"-{k}" for k in options) for cls, options in CASES]
every = pytest.mark.parametrize(("cls", "options"), CASES, ids=IDS)


def make_params(dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((3, 4), (5,), ())]


def loss_of(params):
    """A smooth loss whose gradients change along the way."""
    return sum((p.square() / 2 + 0.3 * p.sin()).sum() for p in params)


def run(optimizer, params, steps=8):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(params).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params]).clone()


def equal(a, b, tolerance=0.0):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# -- what torch.optim users rely on ----------------------------------------------------------------


def test_public_names():
    names = "SGD AdaGrad RMSprop Adam AdamW AMSGrad AdaFom AdaBound AdaShift ADOPT SignSGD AdaSGD"
    assert optim.__all__ == [*names.split(), "BlockwiseAdam"]
    assert all(issubclass(cls, torch.optim.Optimizer) for cls in ALL)


@every
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


SCHEDULERS = {
    "step": lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(
        o,
        max_lr=0.1,
        total_steps=10,
        cycle_momentum="betas" in o.defaults or "momentum" in o.defaults,
    ),
    "warm-up": lambda o: lr_scheduler.LambdaLR(o, lambda t: t / 4),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("cls", ALL)
def test_schedulers_move_the_step_size(cls, name):
    params, twin = make_params(), make_params()
    scheduled, by_hand = cls(params, lr=0.1), cls(twin, lr=0.1)
    scheduler = SCHEDULERS[name](scheduled)
    for _ in range(6):
        for key in ("lr", "betas", "momentum"):
            if key in by_hand.param_groups[0]:
                by_hand.param_groups[0][key] = scheduled.param_groups[0][key]
        equal(run(scheduled, params, 1), run(by_hand, twin, 1))
        scheduler.step()
    assert scheduled.param_groups[0]["lr"] != 0.1


@every
@pytest.mark.parametrize("fused", [False, True])
def test_state_dict_round_trip_continues_exactly(cls, options, fused):
    params = make_params()
    optimizer = cls(params, lr=0.05, fused=fused, **options)
    run(optimizer, params, 5)
    file = io.BytesIO()
    torch.save({"params": [p.detach() for p in params], "state": optimizer.state_dict()}, file)
    expected = run(optimizer, params, 5)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twin = [torch.nn.Parameter(p) for p in saved["params"]]
    resumed = cls(twin, **options)
    resumed.load_state_dict(saved["state"])
    equal(run(resumed, twin, 5), expected)


@every
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_continue_exactly(cls, options, copier):
    params = make_params()
    optimizer = cls(params, lr=0.05, **options)
    run(optimizer, params, 5)
    twin, copied = copier((params, optimizer))
    equal(run(copied, twin, 5), run(optimizer, params, 5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_state_is_loaded_in_float32(dtype):
    params = make_params(dtype)
    optimizer = optim.AdaShift(params, n=2)
    run(optimizer, params, 4)
    again = optim.AdaShift(params, n=2)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p in params:
        tensors = [again.state[p]["v"], *again.state[p]["past"]]
        assert all(z.dtype == torch.float32 for z in tensors)
        equal(again.state[p]["past"], optimizer.state[p]["past"])
        assert again.state[p]["v"] is not optimizer.state[p]["v"]


@every
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


@every
def test_a_late_first_gradient_starts_from_fresh_state(cls, options):
    if cls.block == "group":
        pytest.skip("its parameters share one average by design")
    params, alone = make_params(), make_params()
    optimizer = cls(params, lr=0.05, **options)
    late = params[1]
    before = late.detach().clone()
    run_without = [p for p in params if p is not late]
    run(optimizer, run_without, 3)
    equal(late.detach(), before)
    assert late not in optimizer.state
    run(optimizer, params, 4)
    run(cls([alone[1]], lr=0.05, **options), [alone[1]], 4)
    equal(late.detach(), alone[1].detach(), 1e-15)


@pytest.mark.parametrize("set_to_none", [True, False])
@every
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
@pytest.mark.parametrize("cls", ALL)
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


@pytest.mark.parametrize("cls", ALL)
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


@pytest.mark.parametrize("name", ["Adam", "ADOPT", "AdaSGD"])
def test_data_parallel_processes_agree_with_one(name, tmp_path):
    worker = Path(__file__).with_name("ddp_worker.py")
    command = [sys.executable, str(worker), name, str(tmp_path)]
    here = {"env": {**os.environ, "PYTHONPATH": str(worker.parents[2])}}
    processes = [subprocess.Popen([*command, str(rank), "2"], **here) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    subprocess.run([*command, "0", "1"], check=True, timeout=120, **here)
    first, second, single = (torch.load(tmp_path / f"{n}.pt") for n in ("0-2", "1-2", "0-1"))
    equal(first, second)
    equal(first, single, 1e-12)


@every
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


@every
@pytest.mark.parametrize("fused", [False, True])
def test_lr_as_a_tensor_steps_like_a_number(cls, options, fused):
    params, twin = make_params(), make_params()
    tensor = torch.tensor(0.05, dtype=torch.float64)
    a = run(cls(params, lr=tensor, fused=fused, **options), params)
    equal(a, run(cls(twin, lr=0.05, fused=fused, **options), twin), 1e-14)


@every
def test_large_tensors_step_in_pieces_with_the_same_result(cls, options, monkeypatch):
    params, twin = make_params(), make_params()
    whole = run(cls(params, lr=0.05, weight_decay=0.1, **options), params)
    monkeypatch.setattr(base, "PIECE", 5)
    optimizer = cls(twin, lr=0.05, weight_decay=0.1, **options)
    equal(run(optimizer, twin), whole)
    fields = optimizer.state[twin[0]]
    if cls.elementwise:
        assert all(
            fields[k].shape == twin[0].shape
            for k in fields
            if k in ("m", "v") and fields[k] is not None
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_gradient_spoils_the_entries_that_torch_would_spoil(bad):
    pairs = {
        optim.SGD: torch.optim.SGD,
        optim.AdaGrad: torch.optim.Adagrad,
        optim.RMSprop: torch.optim.RMSprop,
        optim.Adam: torch.optim.Adam,
        optim.AdamW: torch.optim.AdamW,
    }
    for ours, theirs in pairs.items():
        results = []
        for cls in (ours, theirs):
            params = make_params()
            optimizer = cls(params)
            for entry in (1.0, bad, 1.0):
                for p in params:
                    p.grad = torch.ones_like(p)
                params[0].grad[1, 2] = entry
                optimizer.step()
            results.append(params[0].detach())
        torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12, equal_nan=True)


# -- torch's own table of options ------------------------------------------------------------------


PEERS = [
    (optim.SGD, "SGD"),
    (optim.AdaGrad, "Adagrad"),
    (optim.RMSprop, "RMSprop"),
    (optim.Adam, "Adam"),
    (optim.AdamW, "AdamW"),
]


def harness():
    pytest.importorskip("expecttest", reason="torch's test harness needs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # it would like hypothesis, too
        from torch.testing._internal.common_optimizers import optim_db

    return {info.optim_cls.__name__: info for info in optim_db}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    PEERS,
)
def test_every_option_set_of_torchs_harness(ours, theirs):
    info = harness()[theirs]
    tried = 0
    for entry in info.optim_inputs_func(device="cpu"):
        options = {k: v for k, v in entry.kwargs.items() if k not in ("foreach", "capturable")}
        cls = ours
        if options.pop("amsgrad", False):
            cls = optim.AMSGrad
            options |= {"decoupled": theirs == "AdamW"}
            options.setdefault("weight_decay", 1e-2 if theirs == "AdamW" else 0.0)
        if "decoupled_weight_decay" in options:
            options["decoupled"] = options.pop("decoupled_weight_decay")
        if options.get("fused"):
            options.pop("fused")
        params, twin = make_params(), make_params()
        kwargs = {k: v for k, v in entry.kwargs.items() if k != "fused"}
        equal(run(cls(params, **options), params), run(info.optim_cls(twin, **kwargs), twin), 1e-12)
        tried += 1
    assert tried >= 5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    PEERS,
)
def test_every_error_of_torchs_harness_is_an_error(ours, theirs):
    for entry in harness()[theirs].optim_error_inputs_func(device="cpu", dtype=torch.float64):
        inner = entry.optimizer_error_input
        if {"foreach", "capturable", "fused"} & inner.kwargs.keys():
            continue
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            ours(inner.params, **inner.kwargs)


# -- errors name the argument and the value --------------------------------------------------------

NUMBERS = {
    "lr": (-0.1, math.nan, math.inf),
    "eps": (-1.0, math.nan),
    "weight_decay": (-0.5, math.nan),
    "momentum": (-0.9, math.nan),
    "alpha": (-0.1, 1.0, math.nan),
    "beta1": (-0.1, 1.0, math.nan),
    "lr_decay": (-1.0,),
    "initial_accumulator_value": (-1.0,),
    "final_lr": (-0.1,),
    "gamma": (-1.0,),
    "clip_lambda": (-0.25, math.nan),
}


@pytest.mark.parametrize("cls", ALL)
def test_numbers_out_of_range_are_named(cls):
    defaults = cls(make_params()).defaults
    tried = 0
    for name, values in NUMBERS.items():
        for value in values if name in defaults else ():
            with pytest.raises(ValueError, match=rf"{name}.*{value}"):
                cls(make_params(), **{name: value})
            with pytest.raises(ValueError, match=rf"{name}.*{value}"):
                cls(make_params()).add_param_group({"params": make_params(), name: value})
            tried += 1
    for betas in ((1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, math.nan), (0.9,), 0.9):
        if "betas" in defaults:
            with pytest.raises(ValueError, match="beta"):
                cls(make_params(), betas=betas)
    assert tried >= 3


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (optim.Adam, {"lr": "fast"}, "lr.*'fast'"),
        (optim.Adam, {"lr": True}, "lr.*True"),
        (optim.Adam, {"lr": torch.ones(2)}, "lr.*one element"),
        (optim.Adam, {"maximize": 1}, "maximize.*1"),
        (optim.Adam, {"amsgrad": True}, "amsgrad=True"),
        (optim.Adam, {"beta": 0.9}, "beta=0.9"),
        (optim.Adam, {"fused": True, "differentiable": True}, "exclude"),
        (optim.SGD, {"nesterov": True}, "momentum=0"),
        (optim.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening=0.1"),
        (optim.SignSGD, {"momentum": 1.0}, "momentum.*1.0"),
        (optim.AMSGrad, {"variant": "keras"}, "variant.*'keras'"),
        (optim.AdaShift, {"n": 0}, "n must.*0"),
        (optim.AdaShift, {"phi": "median"}, "phi.*'median'"),
        (optim.ADOPT, {"clip_lambda": "t"}, "clip_lambda.*'t'"),
        (optim.BlockwiseAdam, {"partition": "column"}, "partition.*'column'"),
    ],
)
def test_options_that_make_no_sense_are_named(cls, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        cls(make_params(), **options)


@pytest.mark.parametrize("cls", ALL)
def test_parameters_that_cannot_be_optimized_are_refused(cls):
    p = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="empty parameter list"):
        cls([])
    with pytest.raises(ValueError, match=r"params\[1\].*duplicate"):
        cls([p, p])
    with pytest.raises(ValueError, match="more than one parameter group"):
        cls([{"params": [p]}, {"params": [p]}])
    with pytest.raises(TypeError, match=r"params\[0\].*int64"):
        cls([torch.zeros(2, dtype=torch.int64)])
    with pytest.raises(TypeError, match=r"params\[0\].*str"):
        cls(["weight"])
    with pytest.raises(TypeError, match="ordered"):
        cls([{"params": {p}}])
    with pytest.raises(TypeError, match="dict"):
        cls([p]).add_param_group([p])
    with pytest.raises(TypeError, match=r"weight_decays=0\.1.*weight_decay"):
        cls([{"params": [p], "weight_decays": 0.1}])
    with pytest.raises(ValueError, match="non-leaf"):
        cls([p * 2])


@pytest.mark.parametrize("cls", ALL)
def test_sparse_gradients_are_refused_and_nothing_moves(cls):
    p = torch.nn.Parameter(torch.zeros(4, 2))
    q = torch.nn.Parameter(torch.ones(3))
    optimizer = cls([q, p])
    q.grad = torch.ones(3)
    p.grad = torch.eye(4, 2).to_sparse()
    with pytest.raises(RuntimeError, match=r"dense gradients.*sparse.*\(4, 2\)"):
        optimizer.step()
    equal(q.detach(), torch.ones(3))


def test_a_state_dict_of_another_model_is_refused():
    params = make_params()
    optimizer = optim.Adam(params)
    run(optimizer, params, 2)
    with pytest.raises(ValueError, match="parameter group"):
        optim.Adam(make_params()[:2]).load_state_dict(optimizer.state_dict())
    shapes = [torch.nn.Parameter(torch.zeros(7)) for _ in params]
    with pytest.raises(ValueError, match=r"shape.*\(3, 4\)"):
        optim.Adam(shapes).load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"SGD: the state to load.*betas, eps"):
        optim.SGD(make_params(), momentum=0.9).load_state_dict(optimizer.state_dict())


# -- what changes between steps --------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
def test_momentum_may_be_switched_on_later(fused):
    for cls, theirs in ((optim.SGD, torch.optim.SGD), (optim.SignSGD, None), (optim.RMSprop, None)):
        paths = []
        for make in (cls, theirs or cls):
            (p,) = params = [torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))]
            optimizer = make(params, lr=0.1, **({"fused": fused} if make is cls else {}))
            if theirs is None and len(paths) == 1:  # the same from the start, at momentum zero
                optimizer = cls(params, lr=0.1, momentum=1e-300)
            for step in range(6):
                optimizer.param_groups[0]["momentum"] = 0.9 if step >= 2 else 0.0
                p.grad = torch.tensor([1.0, -2.0], dtype=torch.float64) * (step + 1)
                optimizer.step()
            paths.append(p.detach())
        equal(*paths, 1e-12)


def test_a_fused_step_is_a_change_that_autograd_sees():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.Adam([p], fused=True)
    loss = p.square().sum()
    for _ in range(2):
        p.grad = torch.ones(3)
        optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_a_user_keeps_in_a_group_is_none_of_the_kernels_business():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.Adam([{"params": [p], "tags": ["a"], "name": "head"}], fused=True)
    for step in range(3):
        before = len(fused._kernels)
        optimizer.param_groups[0]["name"] = f"head {step}"
        p.grad = torch.ones(3)
        optimizer.step()
        assert len(fused._kernels) == before or step == 0
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
    fused._kernels.clear()
    params, twin = make_params(), make_params()
    expected = run(Tempered(params, lr=0.1), params, 1)
    with pytest.warns(RuntimeWarning, match=r"Tempered\(fused=True\) steps eagerly.*erf"):
        equal(run(Tempered(twin, lr=0.1, fused=True), twin, 1), expected)


def test_numbers_are_judged_in_double_precision():
    optim.ADOPT(make_params(), betas=(0.9, 1 - 1e-12))
    optim.SGD(make_params(), lr=1e39)
