"""torch's own tables: the option sets and errors of its test harness, and all of its schedulers."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

from companion import optim
from tests.cases import every
from tests.naming import label

PEERS = [
    (optim.SGD, torch.optim.SGD),
    (optim.AdaGrad, torch.optim.Adagrad),
    (optim.RMSprop, torch.optim.RMSprop),
    (optim.Adam, torch.optim.Adam),
    (optim.Adamax, torch.optim.Adamax),
    (optim.AdamW, torch.optim.AdamW),
]
peers = pytest.mark.parametrize(("ours", "theirs"), PEERS, ids=label)
IDLE = {"foreach": (None, False), "capturable": (False,), "fused": (None, False)}


def make_params():
    torch.manual_seed(0)
    shapes = ((3, 4), (5,), (), (2, 3))
    params = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    params.append(torch.randn(2, 2, dtype=torch.complex128))
    params[0] = torch.randn(4, 3, dtype=torch.float64).t()
    return [nn.Parameter(p) for p in params]


def run(optimizer, params, steps=6):
    """Step with gradients that change along the way; the fourth parameter's comes late."""
    for step in range(steps):
        for index, p in enumerate(params):
            p.grad = None if index == 3 and step < 2 else p.detach() + 0.3 * p.detach().sin()
        optimizer.step()
    return [torch.view_as_real(p.detach()) if p.is_complex() else p.detach() for p in params]


def equal(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, check_stride=False)


def harness():
    pytest.importorskip("expecttest", reason="torch's test harness needs it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # it would like hypothesis, too
        from torch.testing._internal.common_optimizers import optim_db

    return {info.optim_cls: info for info in optim_db}


def in_our_words(theirs, options):
    """Return our class and options for those of torch's; what asks for nothing stays."""
    pairs = {theirs: ours for ours, theirs in PEERS}
    options = {k: v for k, v in options.items() if v in IDLE.get(k, (v,))}
    cls = pairs[theirs]
    if options.pop("amsgrad", False):
        cls = optim.AMSGrad
        options |= {"decoupled": theirs is torch.optim.AdamW}
        options.setdefault("weight_decay", 1e-2 if theirs is torch.optim.AdamW else 0.0)
    if "decoupled_weight_decay" in options:
        options["decoupled"] = options.pop("decoupled_weight_decay")
    return cls, options


@pytest.mark.parametrize("fused", [False, True])
@peers
def test_every_option_set_of_torchs_harness(ours, theirs, fused):
    entries = harness()[theirs].optim_inputs_func(device="cpu")
    for entry in entries:
        cls, options = in_our_words(theirs, entry.kwargs)
        params, twins = make_params(), make_params()
        kwargs = {k: v for k, v in entry.kwargs.items() if k != "fused"}
        got = run(cls(params, **{**options, "fused": fused}), params)
        equal(got, run(theirs(twins, **kwargs), twins))
    assert len(entries) >= 5


@peers
def test_every_error_of_torchs_harness_is_an_error(ours, theirs):
    for entry in harness()[theirs].optim_error_inputs_func(device="cpu", dtype=torch.float64):
        inner = entry.optimizer_error_input
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            ours(inner.params, **inner.kwargs)


def tensor(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("number", [np.float64, np.float32, tensor], ids=label)
@pytest.mark.parametrize("fused", [False, True])
@peers
def test_numbers_may_be_numpys_or_tensors(ours, theirs, number, fused):
    params, twins = make_params(), make_params()
    options = {"lr": number(0.0625)}
    if number is not tensor:
        options["weight_decay"] = number(0.5)
        if "betas" in ours(make_params()).defaults:
            options["betas"] = (number(0.5), number(0.75))
    optimizer = ours(params, **options, fused=fused)
    plain = {k: tuple(map(float, v)) if k == "betas" else float(v) for k, v in options.items()}
    equal(run(optimizer, params), run(theirs(twins, **plain), twins))
    assert all(type(v) is not number for v in optimizer.param_groups[0].values())


@pytest.mark.parametrize("option", [{k: v} for k, vs in IDLE.items() for v in vs], ids=label)
@every
def test_options_that_ask_for_nothing_are_taken(cls, option):
    params, twins = make_params(), make_params()
    equal(run(cls(params, **option), params), run(cls(twins), twins))


SCHEDULERS = {
    "lambda": lambda o: schedulers.LambdaLR(o, lambda t: t / 4),
    "multiplicative": lambda o: schedulers.MultiplicativeLR(o, lambda t: 0.9),
    "step": lambda o: schedulers.StepLR(o, 2, gamma=0.5),
    "multi-step": lambda o: schedulers.MultiStepLR(o, [2, 4]),
    "constant": lambda o: schedulers.ConstantLR(o, total_iters=3),
    "linear": lambda o: schedulers.LinearLR(o, total_iters=4),
    "exponential": lambda o: schedulers.ExponentialLR(o, 0.8),
    "polynomial": lambda o: schedulers.PolynomialLR(o, 5, power=2.0),
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, 4),
    "restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 2, T_mult=2),
    "cyclic": lambda o: schedulers.CyclicLR(o, 0.01, 0.1, 2, cycle_momentum=cycles(o)),
    "one cycle": lambda o: schedulers.OneCycleLR(o, 0.1, 8, cycle_momentum=cycles(o)),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1),
    "sequential": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, total_iters=2), schedulers.ExponentialLR(o, 0.5)], [3]
    ),
    "chained": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, total_iters=2), schedulers.ExponentialLR(o, 0.5)]
    ),
}


def cycles(optimizer):
    return bool({"betas", "momentum"} & optimizer.defaults.keys())


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # SequentialLR's own
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("name", SCHEDULERS)
@peers
def test_every_scheduler_of_torch(ours, theirs, name, tensor):
    """The same path as torch's class, through a break in which all is saved and loaded."""
    paths = []
    for cls in (ours, theirs):
        params, path = make_params(), []

        def make(cls=cls, params=params):
            lr = torch.tensor(0.05, dtype=torch.float64) if tensor else 0.05
            optimizer = cls([{"params": params[:2]}, {"params": params[2:], "lr": lr / 2}], lr=lr)
            return optimizer, SCHEDULERS[name](optimizer)

        optimizer, scheduler = make()
        for step in range(8):
            path += [p.clone() for p in run(optimizer, params, 1)]
            scheduler.step(*[1.0] * (name == "plateau"))
            if step == 4:
                saved = optimizer.state_dict(), scheduler.state_dict()
                optimizer, scheduler = make()
                optimizer.load_state_dict(saved[0])
                scheduler.load_state_dict(saved[1])
        paths.append(path)
    equal(*paths)


# -- errors name the argument and the value --------------------------------------------------------

NAN, INF = float("nan"), float("inf")
NUMBERS = {
    "lr": (-0.1, NAN, INF),
    "eps": (-1.0, NAN),
    "weight_decay": (-0.5, NAN),
    "momentum": (-0.9, NAN),
    "alpha": (-0.1, 1.0, NAN),
    "beta1": (-0.1, 1.0, NAN),
    "lr_decay": (-1.0,),
    "initial_accumulator_value": (-1.0,),
    "final_lr": (-0.1,),
    "gamma": (-1.0,),
    "clip_lambda": (-0.25, NAN),
}


@every
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
    for betas in ((1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, NAN), (0.9,), 0.9):
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
        (optim.Adam, {"lr": np.ones(2)}, "lr.*number"),
        (optim.Adam, {"lr": np.float32(-1)}, "lr.*-1"),
        (optim.Adam, {"maximize": 1}, "maximize.*1"),
        (optim.Adam, {"amsgrad": True}, "amsgrad=True"),
        (optim.Adam, {"foreach": True}, "foreach=True"),
        (optim.Adam, {"capturable": True}, "capturable=True"),
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


@every
def test_parameters_that_cannot_be_optimized_are_refused(cls):
    p = nn.Parameter(torch.zeros(2))
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


@every
def test_sparse_gradients_are_refused_and_nothing_moves(cls):
    p = nn.Parameter(torch.zeros(4, 2))
    q = nn.Parameter(torch.ones(3))
    optimizer = cls([q, p])
    q.grad = torch.ones(3)
    p.grad = torch.eye(4, 2).to_sparse()
    with pytest.raises(RuntimeError, match=r"dense gradients.*sparse.*\(4, 2\)"):
        optimizer.step()
    assert torch.equal(q, torch.ones(3))


def test_numbers_are_judged_in_double_precision():
    optim.ADOPT(make_params(), betas=(0.9, 1 - 1e-12))
    optim.SGD(make_params(), lr=1e39)
