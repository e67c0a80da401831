"""What is saved goes on exactly; what does not fit is refused before anything has changed."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from companion import optim
from companion.optim.blocks import AdamMini
from tests.cases import cases, every, make_params, odd_and_even, run
from tests.naming import label


def used(cls=optim.Adam, dtype=torch.float64, steps=3, **options):
    """Return parameters and their optimizer after a few steps."""
    params = make_params(dtype)
    optimizer = cls(params, lr=0.05, **options)
    run(optimizer, params, steps)
    return params, optimizer


def twin_of(params, cls=optim.Adam, **options):
    """Return copies of the parameters and a new optimizer of them."""
    twins = [nn.Parameter(p.detach().clone()) for p in params]
    return twins, cls(twins, lr=0.05, **options)


# -- there and back --------------------------------------------------------------------------------


def through_a_file(params, optimizer, fresh):
    file = io.BytesIO()
    torch.save({"params": [p.detach() for p in params], "state": optimizer.state_dict()}, file)
    file.seek(0)
    safe = not any(callable(value) for value in optimizer.defaults.values())
    saved = torch.load(file, weights_only=safe)
    twins = [nn.Parameter(p) for p in saved["params"]]
    resumed = fresh(twins)
    resumed.load_state_dict(saved["state"])
    return twins, resumed


COPIES = {
    "file": through_a_file,
    "deepcopy": lambda params, optimizer, _: copy.deepcopy((params, optimizer)),
    "pickle": lambda params, optimizer, _: pickle.loads(pickle.dumps((params, optimizer))),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("way", COPIES)
@cases
def test_a_copy_goes_on_exactly(cls, options, way, fused):
    params, optimizer = used(cls, fused=fused, **options)
    partition = {k: v for k, v in options.items() if k == "partition"}
    twins, other = COPIES[way](params, optimizer, lambda ps: cls(ps, **partition))
    expected = run(optimizer, params)
    assert torch.equal(run(other, twins), expected)


@every
def test_a_state_of_named_parameters_and_one_of_nameless_load_into_each_other(cls):
    for named in (False, True):
        params = make_params()
        names = [(f"p{i}", p) for i, p in enumerate(params)]
        optimizer = cls(names if named else params, lr=0.05)
        run(optimizer, params)
        twins = [nn.Parameter(p.detach().clone()) for p in params]
        other = cls(twins if named else [(f"q{i}", p) for i, p in enumerate(twins)])
        other.load_state_dict(optimizer.state_dict())
        assert torch.equal(run(other, twins), run(optimizer, params))


def test_adam_mini_loads_the_blocks_of_a_fused_projection():
    """Its labels are whole numbers; torch would load them in the type of the parameter."""

    def make():
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(12, 4))]
        named = [("attention.qkv.weight", params[0])]
        return params, optim.BlockwiseAdam(named, lr=0.05, partition=AdamMini(2))

    params, optimizer = make()
    run(optimizer, params)
    (twin,), other = make()
    twin.data.copy_(params[0].data)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[twin]["blocks"].dtype == torch.int64
    assert torch.equal(run(other, [twin]), run(optimizer, params))


@pytest.mark.parametrize("read", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("written", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@every
def test_a_state_is_loaded_in_the_precision_of_the_rule(cls, written, read):
    """That is float32 for half precision, and otherwise the parameter's own."""
    options = {"partition": odd_and_even} if cls is optim.BlockwiseAdam else {}
    _, optimizer = used(cls, written, **options)
    wanted = read if read == torch.float64 else torch.float32
    twins, other = twin_of(make_params(read), cls, **options)
    saved = copy.deepcopy(optimizer.state_dict())
    other.load_state_dict(saved)
    fields = cls.State._fields
    for index, p in enumerate(twins):
        for field in set(fields) & set(other.state[p]):
            got, old = other.state[p][field], saved["state"][index][field]
            assert got.dtype == wanted
            assert got.data_ptr() != old.data_ptr() or not got.numel()
            torch.testing.assert_close(got, old.to(wanted), rtol=0, atol=0)
    run(other, twins, 2)
    assert all(torch.isfinite(p).all() for p in twins)


def test_the_loaded_state_is_a_copy():
    params, optimizer = used()
    saved = optimizer.state_dict()
    twins, other = twin_of(params)
    other.load_state_dict(saved)
    before = copy.deepcopy(other.state_dict()["state"])
    run(optimizer, params)
    for z in (z for state in saved["state"].values() for z in state.values()):
        z.fill_(float("nan"))
    for index, state in other.state_dict()["state"].items():
        torch.testing.assert_close(state, before[index], rtol=0, atol=0)
    assert torch.isfinite(run(other, twins)).all()


# -- hooks -----------------------------------------------------------------------------------------


def doubled(state):
    return {
        k: z if k == "step" else tree_map_only(torch.Tensor, lambda v: 2 * v, z)
        for k, z in state.items()
    }


def in_place(optimizer, state_dict):
    state_dict["state"] = {i: doubled(state) for i, state in state_dict["state"].items()}


def anew(optimizer, state_dict):
    return {**state_dict, "state": {i: doubled(s) for i, s in state_dict["state"].items()}}


def after(optimizer):
    for p, state in list(optimizer.state.items()):
        optimizer.state[p] = doubled(state)


def after_in_memory(optimizer):
    for state in optimizer.state.values():
        for name in set(state) - {"step"}:
            state[name].mul_(2)


HOOKS = [
    ("register_load_state_dict_pre_hook", in_place),
    ("register_load_state_dict_pre_hook", anew),
    ("register_load_state_dict_post_hook", after),
    ("register_load_state_dict_post_hook", after_in_memory),
]


@pytest.mark.parametrize("prepend", [False, True])
@pytest.mark.parametrize(("register", "hook"), HOOKS, ids=label)
@pytest.mark.parametrize("pair", [(optim.Adam, torch.optim.Adam)], ids=["Adam"])
def test_hooks_of_loading_see_and_change_the_state(pair, register, hook, prepend):
    ends = []
    for cls in pair:
        params, optimizer = used(cls)
        twins, other = twin_of(params, cls)
        getattr(other, register)(hook, prepend=prepend)
        kept = copy.deepcopy(optimizer.state_dict())
        other.load_state_dict(optimizer.state_dict())
        if cls is optim.Adam:  # torch's state is the one that it was given
            torch.testing.assert_close(optimizer.state_dict(), kept, rtol=0, atol=0)
        ends.append(run(other, twins))
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


def test_a_hook_may_turn_a_foreign_state_into_one_that_fits():
    """Such as that of torch.optim.Adam, whose averages have other names."""
    params, theirs = used(torch.optim.Adam)
    twins, ours = twin_of(params)

    def rename(optimizer, state_dict):
        names = {"exp_avg": "m", "exp_avg_sq": "v", "step": "step"}
        state = {i: {names[k]: z for k, z in s.items()} for i, s in state_dict["state"].items()}
        return {**state_dict, "state": state}

    ours.register_load_state_dict_pre_hook(rename)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(run(ours, twins), run(theirs, params), rtol=1e-12, atol=1e-12)


def test_hooks_of_saving_see_and_change_the_dictionary():
    seen = []
    _, optimizer = used()
    optimizer.register_state_dict_pre_hook(lambda o: seen.append(o))
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "note": "kept"})
    assert optimizer.state_dict()["note"] == "kept"
    assert seen == [optimizer]


def test_hooks_of_a_step_run_before_and_after_it():
    params, optimizer = used()
    seen = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(params[1][0].item()))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(params[1][0].item()))
    before = params[1][0].item()
    run(optimizer, params, 1)
    assert seen == [before, params[1][0].item()]


# -- states of other ages and of wrappers ----------------------------------------------------------


def test_what_a_wrapper_keeps_in_the_state_is_kept():
    """Lookahead keeps a slow copy of each parameter, and its own count, in the state."""
    params, optimizer = used()
    for p in params:
        optimizer.state[p] |= {"slow": p.detach().clone(), "every": 5, "note": None}
    twins, other = twin_of(params)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, twin in zip(params, twins, strict=True):
        assert torch.equal(other.state[twin]["slow"], optimizer.state[p]["slow"])
        assert other.state[twin]["every"] == 5
    assert torch.equal(run(other, twins), run(optimizer, params))


@pytest.mark.parametrize("when", ["loaded", "unpickled"])
@every
def test_an_option_that_an_older_state_lacks_has_its_default(cls, when):
    for option in set(cls(make_params()).defaults) - {"lr"}:
        params, optimizer = used(cls)
        saved = copy.deepcopy(optimizer.state_dict())
        twins, other = twin_of(params, cls)
        if when == "loaded":
            del saved["param_groups"][0][option]
            other.load_state_dict(saved)
        else:
            other.load_state_dict(saved)
            del other.param_groups[0][option]
            twins, other = pickle.loads(pickle.dumps((twins, other)))
        default = optimizer.param_groups[0][option]
        assert other.param_groups[0][option] == default
        assert torch.equal(run(other, twins, 1), run(optimizer, params, 1))


@pytest.mark.parametrize("kind", [int, float, torch.tensor, lambda t: torch.tensor(int(t))])
@pytest.mark.parametrize("fused", [False, True])
def test_a_step_count_may_be_a_number(kind, fused):
    params, optimizer = used(fused=fused)
    saved = copy.deepcopy(optimizer.state_dict())
    for state in saved["state"].values():
        state["step"] = kind(state["step"].item())
    twins, other = twin_of(params)
    other.load_state_dict(saved)
    assert torch.equal(run(other, twins), run(optimizer, params))


@pytest.mark.parametrize("cls", [optim.SGD, optim.RMSprop, optim.SignSGD], ids=label)
def test_what_a_rule_does_without_is_absent_and_may_have_been_none(cls):
    params, optimizer = used(cls)
    saved = copy.deepcopy(optimizer.state_dict())
    for state in saved["state"].values():
        assert all(isinstance(z, torch.Tensor) for z in state.values())
        state |= dict.fromkeys(set(cls.State._fields) - set(state))
    twins, other = twin_of(params, cls)
    other.load_state_dict(saved)
    assert torch.equal(run(other, twins), run(optimizer, params))


def test_a_queue_of_gradients_may_have_been_a_tuple():
    params, optimizer = used(optim.AdaShift, n=2)
    saved = copy.deepcopy(optimizer.state_dict())
    for state in saved["state"].values():
        state["past"] = tuple(state["past"])
    twins, other = twin_of(params, optim.AdaShift, n=2)
    other.load_state_dict(saved)
    assert torch.equal(run(other, twins), run(optimizer, params))


@pytest.mark.parametrize("fused", [False, True])
def test_momentum_may_be_switched_on_and_off(fused):
    for cls, theirs in ((optim.SGD, torch.optim.SGD), (optim.SignSGD, None), (optim.RMSprop, None)):
        paths = []
        for make in (cls, theirs or cls):
            (p,) = params = [nn.Parameter(torch.zeros(2, dtype=torch.float64))]
            optimizer = make(params, lr=0.1, **({"fused": fused} if make is cls else {}))
            if theirs is None and len(paths) == 1:  # the same from the start, at momentum zero
                optimizer = cls(params, lr=0.1, momentum=1e-300)
            for step in range(6):
                optimizer.param_groups[0]["momentum"] = 0.9 if step >= 2 else 0.0
                p.grad = torch.tensor([1.0, -2.0], dtype=torch.float64) * (step + 1)
                optimizer.step()
            paths.append(p.detach())
            optimizer.param_groups[0]["momentum"] = 0.0
            optimizer.step()
            assert torch.isfinite(p).all()
        torch.testing.assert_close(*paths, rtol=1e-12, atol=1e-12)


# -- what does not fit -----------------------------------------------------------------------------


def lose(name):
    return lambda saved: saved["state"][1].pop(name)


def put(name, value):
    return lambda saved: saved["state"][1].update({name: value})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda saved: saved["param_groups"].append(saved["param_groups"][0]), "parameter groups"),
        (lambda saved: saved["param_groups"][0]["params"].pop(), "parameter group"),
        (lose("v"), r"\(5,\).*'v'"),
        (lose("step"), "step"),
        (put("v", torch.zeros(6)), r"\(5,\).*\(6,\)"),
        (put("m", 0.5), r"m.*0\.5"),
        (put("step", "three"), "step.*'three'"),
        (put("step", torch.ones(2)), "step"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(spoil, message):
    params, optimizer = used()
    saved = copy.deepcopy(optimizer.state_dict())
    run(optimizer, params)
    spoil(saved)
    twins, other = copy.deepcopy((params, optimizer))
    with pytest.raises((TypeError, ValueError), match=message):
        other.load_state_dict(saved)
    assert torch.equal(run(other, twins), run(optimizer, params))


@pytest.mark.parametrize("option", [{"betas": (0.9, 2.0)}, {"lr": -1.0}, {"maximize": "no"}])
def test_a_state_with_options_out_of_range_is_refused(option):
    """A damaged or foreign file must not step by numbers that the constructor would refuse."""
    params, optimizer = used()
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0].update(option)
    _, other = twin_of(params)
    with pytest.raises((TypeError, ValueError), match=next(iter(option)).strip("s")):
        other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.05


def test_the_state_of_another_rule_is_refused():
    params, optimizer = used()
    _, other = twin_of(params, optim.SGD, momentum=0.9)
    with pytest.raises(ValueError, match="SGD: the state to load is of another"):
        other.load_state_dict(optimizer.state_dict())
