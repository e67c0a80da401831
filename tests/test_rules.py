"""Every rule against torch.optim, plain NumPy, optax, its identities, and its compiled kernel."""

import functools
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from companion import optim
from companion.optim import fused, partitions
from companion.problems import gradient, rastrigin, rosenbrock
from tests import reference_rules as reference
from tests.naming import label

EVERY = [getattr(optim, name) for name in optim.__all__]
SHAPES = ((), (3,), (4, 3), (2, 3, 2, 2), (5,))
CALLS, LATE, GAP = 32, 9, 15
LRS = [0.01 * (1 + call % 7) for call in range(CALLS)]  # a new step size at every call

# How a gradient and a decay reach a rule; the sign turns before the decay is added.
DECAYS = [
    {},
    {"weight_decay": 0.1, "maximize": True},
    {"weight_decay": 0.1, "decoupled": True, "maximize": True},
]


every = pytest.mark.parametrize("cls", EVERY, ids=label)


def draw(shapes=SHAPES, calls=CALLS, seed=0):
    """Return starting points and, for every call, a gradient a parameter.

    Scales vary over three decades and a tenth of the entries is zero, after the first two calls of
    a parameter. The last parameter has no gradient in the first calls, the second none in one call.
    """
    rng = np.random.default_rng(seed)
    xs = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    rows = []
    for call in range(calls):
        row = [
            np.asarray(rng.normal(size=shape) * 10 ** rng.uniform(-2, 1))
            * (rng.random(shape) > 0.1 * (call > LATE + 1))
            for shape in shapes
        ]
        if call < LATE and len(shapes) > 1:
            row[-1] = None
        if call == GAP and len(shapes) > 2:
            row[1] = None
        rows.append(row)
    return xs, rows


def follow(cls, xs, rows, lrs, changes=None, shrink=0.0, names=None, **options):
    """Step given gradients; return the path of each parameter, one array a parameter.

    ``changes`` maps a call to options that the group takes from then on. ``shrink`` applies
    decoupled decay by hand, for optimizers of torch that lack it.
    """
    params = [nn.Parameter(torch.as_tensor(x).clone()) for x in xs]
    named = list(zip(names, params, strict=True)) if names else params
    optimizer = cls(named, lr=lrs[0], **options)
    paths = [[] for _ in params]
    for call, (row, lr) in enumerate(zip(rows, lrs, strict=True)):
        optimizer.param_groups[0].update({"lr": lr, **(changes or {}).get(call, {})})
        for p, g in zip(params, row, strict=True):
            p.grad = None if g is None else torch.as_tensor(g)
            if g is not None:
                p.data.mul_(1 - lr * shrink)
        optimizer.step()
        for path, p in zip(paths, params, strict=True):
            path.append(p.detach().numpy().copy())
    return [np.array(path) for path in paths]


def agree(ours, theirs, tolerance=1e-12):
    for got, want in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, np.array(want), rtol=tolerance, atol=tolerance)


# -- torch.optim -----------------------------------------------------------------------------------

AMS = partial(torch.optim.Adam, amsgrad=True)
# (ours, options of both, theirs, what changes on the way)
TORCH = [
    (optim.SGD, {}, torch.optim.SGD, {}),
    (optim.SGD, {"momentum": 0.9}, torch.optim.SGD, {20: {"momentum": 0.5}}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3}, torch.optim.SGD, {20: {"dampening": 0.7}}),
    (optim.SGD, {"momentum": 0.9, "nesterov": True}, torch.optim.SGD, {20: {"momentum": 0.5}}),
    (optim.AdaGrad, {}, torch.optim.Adagrad, {}),
    (optim.AdaGrad, {"lr_decay": 0.1}, torch.optim.Adagrad, {20: {"lr_decay": 0.2}}),
    (
        optim.AdaGrad,
        {"initial_accumulator_value": 0.5, "eps": 1e-3},
        torch.optim.Adagrad,
        {20: {"eps": 1e-2}},
    ),
    (optim.RMSprop, {}, torch.optim.RMSprop, {}),
    (optim.RMSprop, {"alpha": 0.8, "momentum": 0.9}, torch.optim.RMSprop, {20: {"alpha": 0.5}}),
    (optim.RMSprop, {"centered": True, "eps": 1e-3}, torch.optim.RMSprop, {20: {"eps": 1e-2}}),
    (optim.RMSprop, {"centered": True, "momentum": 0.5}, torch.optim.RMSprop, {}),
    (optim.Adam, {}, torch.optim.Adam, {}),
    (optim.Adam, {"betas": (0.0, 0.9)}, torch.optim.Adam, {20: {"betas": (0.5, 0.8)}}),
    (optim.Adam, {"betas": (0.95, 0.5), "eps": 1e-3}, torch.optim.Adam, {20: {"eps": 1e-2}}),
    (optim.AMSGrad, {}, AMS, {}),
    (optim.AMSGrad, {"betas": (0.5, 0.8)}, AMS, {20: {"betas": (0.9, 0.6)}}),
]


@pytest.mark.parametrize("decay", DECAYS, ids=label)
@pytest.mark.parametrize(("ours", "options", "theirs", "changes"), TORCH, ids=label)
def test_equals_torch(ours, options, theirs, changes, decay):
    xs, rows = draw()
    twin = {k: v for k, v in decay.items() if k == "maximize"}
    decoupled = decay.get("decoupled", False)
    twin["shrink" if decoupled else "weight_decay"] = decay.get("weight_decay", 0.0)
    agree(
        follow(ours, xs, rows, LRS, changes, **options, **decay),
        follow(theirs, xs, rows, LRS, changes, **options, **twin),
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.2, "betas": (0.8, 0.9)}, {"maximize": True, "eps": 1e-3}],
    ids=label,
)
def test_adamw_equals_torch(options):
    xs, rows = draw()
    changes = {20: {"betas": (0.5, 0.8), "weight_decay": 0.3}}
    agree(
        follow(optim.AdamW, xs, rows, LRS, changes, **options),
        follow(torch.optim.AdamW, xs, rows, LRS, changes, **options),
    )


# -- the papers, in NumPy --------------------------------------------------------------------------


def official(t):
    return t**0.25


def wide(t):
    return 2.0 * math.sqrt(t)


# (class, options, reference); an empty dictionary checks the defaults as well.
PAPERS = [
    (
        optim.AMSGrad,
        {"variant": variant, "betas": betas},
        partial(reference.amsgrad, betas=betas, eps=1e-8, variant=variant),
    )
    for variant in ("paper", "optax")
    for betas in ((0.9, 0.999), (0.0, 0.5))
]
PAPERS += [
    (optim.AdaFom, {}, partial(reference.adafom, beta1=0.9, eps=1e-8)),
    (optim.AdaFom, {"beta1": 0.5, "eps": 1e-2}, partial(reference.adafom, beta1=0.5, eps=1e-2)),
    (
        optim.AdaBound,
        {},
        partial(reference.adabound, betas=(0.9, 0.999), final_lr=0.1, gamma=1e-3, eps=1e-8),
    ),
    (  # bounds that bind
        optim.AdaBound,
        {"betas": (0.5, 0.9), "final_lr": 0.02, "gamma": 0.5, "eps": 1e-3},
        partial(reference.adabound, betas=(0.5, 0.9), final_lr=0.02, gamma=0.5, eps=1e-3),
    ),
    (
        optim.AdaShift,
        {},
        partial(reference.adashift, betas=(0.9, 0.999), eps=1e-10, n=10, phi="max"),
    ),
]
PAPERS += [
    (
        optim.AdaShift,
        {"n": n, "phi": phi, "betas": (0.8, 0.9), "eps": 1e-6},
        partial(reference.adashift, betas=(0.8, 0.9), eps=1e-6, n=n, phi=phi),
    )
    for n in (1, 2, 10)
    for phi in ("max", "mean", None)
]
PAPERS += [
    (optim.ADOPT, {}, partial(reference.adopt, betas=(0.9, 0.9999), eps=1e-6, clip=official)),
    (
        optim.ADOPT,
        {"clip_lambda": None, "betas": (0.5, 0.8)},
        partial(reference.adopt, betas=(0.5, 0.8), eps=1e-6, clip=None),
    ),
    (  # the floor under the root of v is often reached
        optim.ADOPT,
        {"clip_lambda": None, "betas": (0.0, 0.5), "eps": 0.5},
        partial(reference.adopt, betas=(0.0, 0.5), eps=0.5, clip=None),
    ),
    (
        optim.ADOPT,
        {"clip_lambda": wide, "betas": (0.9, 0.5)},
        partial(reference.adopt, betas=(0.9, 0.5), eps=1e-6, clip=wide),
    ),
    (optim.SignSGD, {}, partial(reference.signum, beta=0.0)),
    (optim.SignSGD, {"momentum": 0.9}, partial(reference.signum, beta=0.9)),
]


@pytest.mark.parametrize("decay", DECAYS, ids=label)
@pytest.mark.parametrize(("cls", "options", "paper"), PAPERS, ids=label)
def test_equals_the_paper(cls, options, paper, decay):
    xs, rows = draw()
    want = []
    for x, grads in zip(xs, zip(*rows, strict=True), strict=True):
        want.append(paper(x, grads, LRS, **decay))
    agree(follow(cls, xs, rows, LRS, **options, **decay), want)


@pytest.mark.parametrize("decay", DECAYS, ids=label)
@pytest.mark.parametrize(("betas", "eps"), [((0.9, 0.999), 1e-8), ((0.0, 0.5), 1e-2)])
def test_adasgd_has_one_scalar_for_the_whole_group(betas, eps, decay):
    xs, rows = draw()
    want = reference.adasgd(xs, rows, LRS, betas, eps, **decay)
    agree(follow(optim.AdaSGD, xs, rows, LRS, betas=betas, eps=eps, **decay), want)


def test_adasgd_moves_all_tensors_of_a_group_by_one_factor():
    xs, rows = draw()
    paths = follow(optim.AdaSGD, xs, rows[:1], LRS[:1])
    factors = [
        (path[0] - x) / g for path, x, g in zip(paths, xs, rows[0], strict=True) if g is not None
    ]
    assert max(f.max() for f in factors) == pytest.approx(min(f.min() for f in factors), rel=1e-12)


def test_adopt_after_a_zero_first_gradient():
    """The floor under √v makes the unclipped second step enormous; the clip stops it."""
    grads = [np.array(g) for g in (0.0, 0.1, 0.1)]
    for clip, want in ((0.25, -3.1e-4), (None, -19.01)):
        (path,) = follow(
            optim.ADOPT, [np.array(0.0)], [[g] for g in grads], [1e-3] * 3, clip_lambda=clip
        )
        assert path[0] == 0
        assert path[-1] == pytest.approx(want, rel=0.01)


# -- partitions ------------------------------------------------------------------------------------


def stretches(*lengths):
    """Split 0, 1, 2, … into runs of these lengths."""
    ends = np.cumsum(lengths)
    return [list(range(end - n, end)) for n, end in zip(lengths, ends, strict=True)]


def odd_and_even(p, name):
    return torch.arange(p.numel()).view(p.shape) % 2


PARTITIONS = [  # partition, shape, the positions that make each block
    ("tensor", (4, 3), stretches(12)),
    ("adalayer", (4, 3), stretches(12)),
    ("tensor", (), stretches(1)),
    ("rows", (4, 3), stretches(3, 3, 3, 3)),
    ("rows", (2, 3, 2), stretches(6, 6)),
    ("rows", (3,), stretches(1, 1, 1)),
    ("rows", (), stretches(1)),
    ("elements", (4, 3), stretches(*[1] * 12)),
    (partitions.heads(2), (4, 3), stretches(6, 6)),
    (partitions.heads(4), (4, 3), stretches(3, 3, 3, 3)),
    (lambda p, name: 6, (4, 3), stretches(*[2] * 6)),
    (odd_and_even, (4, 3), [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]),
    (odd_and_even, (5,), [[0, 2, 4], [1, 3]]),
]


@pytest.mark.parametrize("decay", DECAYS, ids=label)
@pytest.mark.parametrize(("partition", "shape", "blocks"), PARTITIONS, ids=label)
def test_each_block_has_one_second_moment(partition, shape, blocks, decay):
    (x,), rows = draw((shape,))
    paper = reference.blockwise(x, [g for (g,) in rows], LRS, (0.8, 0.9), 1e-6, blocks, **decay)
    ours = follow(
        optim.BlockwiseAdam,
        [x],
        rows,
        LRS,
        partition=partition,
        betas=(0.8, 0.9),
        eps=1e-6,
        **decay,
    )
    agree(ours, [paper])


MINI = {  # width 4, two heads: name -> (shape, blocks)
    "transformer.wte.weight": ((5, 4), stretches(*[4] * 5)),
    "transformer.wpe.weight": ((3, 4), stretches(*[4] * 3)),
    "transformer.h.0.ln_1.weight": ((4,), stretches(4)),
    "transformer.h.0.ln_1.bias": ((4,), stretches(4)),
    # q and k by head (two rows each), v by row
    "transformer.h.0.attn.c_attn.weight": ((12, 4), stretches(8, 8, 8, 8, 4, 4, 4, 4)),
    "transformer.h.0.attn.c_attn.bias": ((12,), stretches(*[1] * 12)),
    "transformer.h.0.attn.c_proj.weight": ((4, 4), stretches(*[4] * 4)),
    "transformer.h.0.mlp.c_fc.weight": ((16, 4), stretches(*[4] * 16)),
    "transformer.h.0.mlp.c_fc.bias": ((16,), stretches(*[1] * 16)),
    "transformer.h.0.mlp.c_proj.weight": ((4, 16), stretches(*[16] * 4)),
    "transformer.ln_f.weight": ((4,), stretches(4)),
    "lm_head.weight": ((5, 4), stretches(*[4] * 5)),
    "model.layers.0.self_attn.q_proj.weight": ((4, 4), stretches(8, 8)),
    "model.layers.0.self_attn.k_proj.weight": ((4, 4), stretches(8, 8)),
    "model.layers.0.self_attn.v_proj.weight": ((4, 4), stretches(*[4] * 4)),
    "model.layers.0.self_attn.o_proj.weight": ((4, 4), stretches(*[4] * 4)),
    "model.layers.0.input_layernorm.weight": ((4,), stretches(4)),
    "encoder.self_attn.in_proj_weight": ((12, 4), stretches(8, 8, 8, 8, 4, 4, 4, 4)),
}


def test_adam_mini_partitions_a_gpt_by_its_names():
    xs, rows = draw([shape for shape, _ in MINI.values()], calls=8)
    rows = [
        [np.ones(x.shape) if g is None else g for g, x in zip(r, xs, strict=True)] for r in rows
    ]
    ours = follow(
        optim.BlockwiseAdam, xs, rows, LRS[:8], names=MINI, partition=partitions.AdamMini(2)
    )
    theirs = [
        reference.blockwise(x, grads, LRS[:8], (0.9, 0.999), 1e-8, blocks)
        for x, grads, (_, blocks) in zip(xs, zip(*rows, strict=True), MINI.values(), strict=True)
    ]
    agree(ours, theirs)


@pytest.mark.parametrize(
    ("partition", "name", "error", "message"),
    [
        ("columns", None, ValueError, "partition must be one of .* got 'columns'"),
        (lambda p, name: 5, None, ValueError, "partition: 5 blocks do not divide the 12 entries"),
        (lambda p, name: 0, None, ValueError, "partition: 0 blocks do not divide the 12 entries"),
        (lambda p, name: torch.zeros(3, dtype=torch.int64), None, ValueError, r"shape \(4, 3\)"),
        (
            lambda p, name: torch.full((4, 3), -1),
            None,
            ValueError,
            "partition: labels must be >= 0",
        ),
        (lambda p, name: torch.zeros(4, 3), None, TypeError, "int or an int64 tensor"),
        (lambda p, name: "rows", None, TypeError, "int or an int64 tensor, got 'rows'"),
        (lambda p, name: True, None, TypeError, "int or an int64 tensor, got True"),
        (partitions.heads(3), None, ValueError, r"heads: n=3 must divide .* \(4, 3\)"),
        (partitions.AdamMini(2), None, ValueError, "AdamMini goes by names"),
        (partitions.AdamMini(3), "q_proj.weight", ValueError, "heads: n=3 must divide"),
        (partitions.AdamMini(2), "c_attn.weight", ValueError, r"\(4, 3\) is not 3 × 2 heads"),
    ],
)
def test_a_partition_that_does_not_fit_is_refused(partition, name, error, message):
    names = [name] if name else None
    with pytest.raises(error, match=message):
        follow(
            optim.BlockwiseAdam,
            [np.ones((4, 3))],
            [[np.ones((4, 3))]],
            [0.1],
            names=names,
            partition=partition,
        )


# -- optax -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "options", "name", "theirs"),
    [
        (optim.ADOPT, {}, "contrib.adopt", {}),
        (optim.ADOPT, {"betas": (0.5, 0.8)}, "contrib.adopt", {"b1": 0.5, "b2": 0.8}),
        (optim.ADOPT, {"clip_lambda": None}, "contrib.adopt", {"use_clipping": False}),
        (optim.AMSGrad, {"variant": "optax"}, "amsgrad", {}),
        (optim.Adam, {"betas": (0.5, 0.8)}, "adam", {"b1": 0.5, "b2": 0.8}),
    ],
    ids=label,
)
def test_equals_optax(cls, options, name, theirs):
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    (x,), rows = draw(((4, 3),))
    (ours,) = follow(cls, [x], rows, [0.01] * CALLS, **options)
    with jax.enable_x64(True):
        transform = functools.reduce(getattr, name.split("."), optax)(0.01, **theirs)
        z = jax.numpy.asarray(x)
        state, path = transform.init(z), []
        for (g,) in rows:
            change, state = transform.update(jax.numpy.asarray(g), state, z)
            z = optax.apply_updates(z, change)
            path.append(np.asarray(z))
    agree([ours], [path])


# -- identities ------------------------------------------------------------------------------------


def fixed(shape=(4, 3), calls=CALLS, seed=1):
    """Return a point and gradients without zeros, for one parameter."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), [rng.normal(size=shape) for _ in range(calls)]


def path_of(cls, x, grads, lr=0.01, **options):
    return follow(cls, [x], [[g] for g in grads], [lr] * len(grads), **options)[0]


@pytest.mark.parametrize("variant", ["torch", "optax"])
def test_amsgrad_is_adam_until_the_second_moment_falls(variant):
    x, grads = fixed()
    growing = [np.sign(g) * 1.2**t for t, g in enumerate(grads)]
    falling = [*growing[:20], *(1e-3 * g for g in grads[20:])]
    adam, amsgrad = (
        partial(path_of, optim.Adam, x, betas=(0.9, 0.9)),
        partial(path_of, optim.AMSGrad, x, betas=(0.9, 0.9), variant=variant),
    )
    agree([amsgrad(growing)], [adam(growing)])
    agree([amsgrad(falling)[:20]], [adam(falling)[:20]])
    assert np.abs(amsgrad(falling)[-1] - adam(falling)[-1]).min() > 1e-4


def test_blockwise_adam_with_one_entry_a_block_is_adam():
    xs, rows = draw()
    ours = follow(optim.BlockwiseAdam, xs, rows, LRS, partition="elements", weight_decay=0.1)
    agree(ours, follow(optim.Adam, xs, rows, LRS, weight_decay=0.1))


def test_blockwise_adam_with_one_block_is_adasgd_on_one_tensor_only():
    xs, rows = draw()
    pair = [[row[2], row[3]] for row in rows]
    one = [[g] for g, _ in pair]
    options = {"weight_decay": 0.1}
    agree(
        follow(optim.BlockwiseAdam, xs[2:3], one, LRS, **options),
        follow(optim.AdaSGD, xs[2:3], one, LRS, **options),
    )
    blockwise, group = (
        follow(cls, xs[2:4], pair, LRS)[0] for cls in (optim.BlockwiseAdam, optim.AdaSGD)
    )
    assert np.abs(blockwise - group).max() > 1e-2


# AdaShift(n=1, phi=None) sees v_t = Σ_{k<t} (1-β2) β2^{t-1-k} g_k² at call t. ADOPT, which starts
# its average at g_1², divides by the root of v_t + β2^{t-1} g_1². Both move first at call 2.
SHIFT, DOPT = {"n": 1, "phi": None, "eps": 0.0}, {"clip_lambda": None, "eps": 0.0}


def test_adashift_and_adopt_keep_the_same_second_moment_up_to_its_start():
    x, grads = fixed()
    beta2 = 0.9
    shift, adopt = (nn.Parameter(torch.tensor(x)) for _ in range(2))
    shifter = optim.AdaShift([shift], betas=(0.0, beta2), **SHIFT)
    adopter = optim.ADOPT([adopt], betas=(0.0, beta2), **DOPT)
    for t, g in enumerate(grads, start=1):
        before = adopter.state[adopt]["v"].numpy().copy() if t > 1 else None
        for p, optimizer in ((shift, shifter), (adopt, adopter)):
            p.grad = torch.tensor(g)
            optimizer.step()
        if t > 1:
            v = shifter.state[shift]["v"].numpy()
            agree([before], [v + beta2 ** (t - 1) * grads[0] ** 2])


@pytest.mark.parametrize(
    ("beta2", "change", "calls"),
    [
        (0.9, lambda g: g, 2),  # the first move, whatever the gradients
        (0.9, np.sign, CALLS),  # every move, when v does not change
        (0.0, lambda g: g, CALLS),  # every move, when nothing is left of the start
    ],
)
def test_adashift_is_adopt_without_momentum_where_the_start_of_v_is_forgotten(beta2, change, calls):
    x, grads = fixed()
    grads = [change(g) for g in grads[:calls]]
    options = {"betas": (0.0, beta2)}
    shift = path_of(optim.AdaShift, x, grads, **SHIFT, **options)
    agree([shift], [path_of(optim.ADOPT, x, grads, **DOPT, **options)])
    assert np.abs(shift[-1] - x).min() > 1e-4


def test_adashift_and_adopt_differ_after_that():
    x, grads = fixed()
    shift = path_of(optim.AdaShift, x, grads, betas=(0.0, 0.9), **SHIFT)
    adopt = path_of(optim.ADOPT, x, grads, betas=(0.0, 0.9), **DOPT)
    assert np.abs(shift[2] - adopt[2]).min() > 1e-6


def test_signsgd_is_adam_without_memory():
    x, grads = fixed()
    adam = path_of(optim.Adam, x, grads, betas=(0.0, 0.0), eps=0.0)
    agree([path_of(optim.SignSGD, x, grads)], [adam])


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_adopt_that_never_forgets_is_momentum_sgd_with_a_fixed_diagonal(gap):
    """At β2 = 1 the diagonal would be 1/|g_1|; the paths part in proportion to 1 - β2."""
    x, grads = fixed()
    grads = [np.sign(g) * (1 + np.abs(g)) for g in grads]
    ours = path_of(optim.ADOPT, x, grads, betas=(0.9, 1 - gap), clip_lambda=None)
    scaled = [np.zeros_like(x), *(g / np.abs(grads[0]) for g in grads[1:])]
    limit = reference.sgd_average(x, scaled, [0.01] * CALLS, 0.9)
    assert 0.01 * gap < np.abs(ours - limit).max() < 10 * gap


@pytest.mark.parametrize("scale", [2.0**-40, 1e-6, 1e6])
def test_adam_does_not_see_the_scale_of_the_gradient(scale):
    x, grads = fixed()
    adam = partial(path_of, optim.Adam, x, eps=0.0)
    agree([adam([scale * g for g in grads])], [adam(grads)])


def test_sgd_sums_where_the_average_form_averages():
    """α in the sum's form is α/(1-μ) in the average's; dampening = μ only starts differently."""
    x, grads = fixed()
    momentum, lr = 0.9, 0.01
    average = reference.sgd_average(x, grads, [lr / (1 - momentum)] * CALLS, momentum)
    agree([path_of(optim.SGD, x, grads, lr, momentum=momentum)], [average])
    damped = path_of(optim.SGD, x, grads, lr, momentum=momentum, dampening=momentum)
    average = np.array(reference.sgd_average(x, grads, [lr] * CALLS, momentum))
    head_start = np.cumsum([momentum**t for t in range(1, CALLS + 1)])[:, None, None]
    agree([damped], [average - lr * head_start * grads[0]])


# -- symmetries ------------------------------------------------------------------------------------

D = 6


def quadratic():
    """Return a start and the Hessian of a quadratic whose axes are not the coordinates."""
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(D, D)))
    return rng.normal(size=D), turn @ np.diag(np.logspace(0, 2, D)) @ turn.T


def descend(cls, x, hessian, steps=40, **options):
    p = nn.Parameter(torch.tensor(x))
    optimizer = cls([p], **options)
    path = []
    for _ in range(steps):
        p.grad = torch.tensor(hessian) @ p.detach()
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.array(path)


def turned(cls, turn, **options):
    """Return the path on f and that on f(R·) from R⁻¹x₀, turned back by R."""
    x, hessian = quadratic()
    there = descend(cls, turn.T @ x, turn.T @ hessian @ turn, **options)
    return descend(cls, x, hessian, **options), there @ turn.T


ROTATION = np.linalg.qr(np.random.default_rng(4).normal(size=(D, D)))[0]
PERMUTATION = np.eye(D)[[3, 0, 5, 1, 4, 2]]


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
        (optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (optim.AdaSGD, {"lr": 0.05}),
        (optim.AdaSGD, {"lr": 0.05, "weight_decay": 0.1, "decoupled": True}),
        (optim.BlockwiseAdam, {"lr": 0.05, "partition": "tensor"}),
    ],
    ids=label,
)
def test_a_rotation_changes_nothing(cls, options):
    here, there = turned(cls, ROTATION, **options)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-12)


@every
def test_a_permutation_of_coordinates_changes_nothing(cls):
    here, there = turned(cls, PERMUTATION, lr=1e-2)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", [optim.Adam, optim.ADOPT, optim.SignSGD, optim.AdaGrad], ids=label)
def test_a_rotation_changes_what_coordinatewise_rules_do(cls):
    here, there = turned(cls, ROTATION, lr=0.05)
    assert np.abs(there - here)[-1].max() > 0.05


# -- hyper-parameters by name ----------------------------------------------------------------------


@every
def test_hyper_has_the_defaults_of_the_constructor(cls):
    (group,) = cls([torch.zeros(1)]).param_groups
    h = vars(cls.hyper())
    betas = group.pop("betas", ())
    wanted = {k: v for k, v in group.items() if k != "params"}
    wanted |= {f"beta{i}": beta for i, beta in enumerate(betas, start=1)}
    assert {k: h[k] for k in wanted} == wanted


@pytest.mark.parametrize(
    ("cls", "options", "grid"),
    [
        (optim.SGD, {"momentum": 0.9, "nesterov": True}, {"lr": (0.01, 0.1)}),
        (optim.SGD, {}, {"momentum": (0.0, 0.5), "weight_decay": (0.1, 0.0)}),
        (optim.RMSprop, {"centered": True}, {"alpha": (0.5, 0.9), "momentum": (0.0, 0.5)}),
        (optim.AdaGrad, {}, {"lr_decay": (0.0, 0.1), "initial_accumulator_value": (0.5, 1.0)}),
        (optim.Adam, {"beta1": 0.5}, {"beta2": (0.5, 0.9), "eps": (1e-8, 1e-2)}),
        (optim.Adam, {"betas": (0.5, 0.9), "decoupled": True}, {"weight_decay": (0.0, 0.1)}),
        (optim.AMSGrad, {"variant": "optax"}, {"beta1": (0.0, 0.9)}),
        (optim.AdaFom, {}, {"beta1": (0.0, 0.9)}),
        (optim.AdaBound, {}, {"lr": (0.01, 0.1), "gamma": (0.1, 1.0), "final_lr": (0.1, 0.2)}),
        (optim.AdaShift, {"n": 2, "phi": None}, {"beta1": (0.0, 0.9), "beta2": (0.5, 0.9)}),
        (optim.ADOPT, {"maximize": True}, {"beta1": (0.0, 0.9), "lr": (0.01, 0.1)}),
        (optim.SignSGD, {}, {"momentum": (0.0, 0.9)}),
    ],
    ids=label,
)
def test_hyper_with_a_grid_steps_every_cell_at_once(cls, options, grid):
    x0, grads = fixed((3,))
    h = cls.hyper(
        **options, **{k: torch.tensor(v, dtype=torch.float64)[:, None] for k, v in grid.items()}
    )
    x = torch.tensor(x0).expand(2, 3)
    s, path = cls.init(x, h), []
    for t, g in enumerate(grads, start=1):
        x, s = cls.update(x, torch.tensor(g).expand(2, 3), s, t, h)
        path.append(x.numpy())
    for cell in (0, 1):
        own = {**options, **{k: v[cell] for k, v in grid.items()}}
        beta1, beta2 = own.pop("beta1", None), own.pop("beta2", None)
        if "betas" in cls([torch.zeros(1)]).defaults:
            default = own.get("betas", cls([torch.zeros(1)]).defaults["betas"])
            own["betas"] = tuple(
                b if a is None else a for a, b in zip((beta1, beta2), default, strict=True)
            )
        elif beta1 is not None:
            own["beta1"] = beta1
        lr = own.pop("lr", cls.hyper().lr)
        agree([np.array(path)[:, cell]], [path_of(cls, x0, grads, lr, **own)])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beta2": 1.0}, ValueError, r"Adam: beta2 must be in \[0, 1\), got 1.0"),
        ({"lr": torch.tensor([0.1, -0.1])}, ValueError, "Adam: lr must be in"),
        ({"eps": torch.tensor([math.nan])}, ValueError, "Adam: eps must be in"),
        ({"momentum": torch.tensor([0.5])}, TypeError, "unknown option momentum"),
        ({"momentum": 0.5}, TypeError, "unknown option momentum"),
    ],
    ids=label,
)
def test_hyper_refuses_what_the_constructor_refuses(options, error, message):
    with pytest.raises(error, match=message):
        optim.Adam.hyper(**options)


# -- dtypes ----------------------------------------------------------------------------------------

# One option set for each structure that a rule can have.
STRUCTURES = [
    *((cls, {}) for cls in EVERY),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.SGD, {"momentum": 0.9, "nesterov": True, "maximize": True}),
    (optim.AdaGrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    (optim.RMSprop, {"momentum": 0.9}),
    (optim.RMSprop, {"centered": True, "momentum": 0.5, "eps": 1e-3}),
    (optim.Adam, {"weight_decay": 0.1, "maximize": True}),
    (optim.AMSGrad, {"variant": "paper"}),
    (optim.AMSGrad, {"variant": "optax"}),
    (optim.AdaBound, {"final_lr": 0.02, "gamma": 0.5}),
    (optim.AdaShift, {"n": 1, "phi": None}),
    (optim.AdaShift, {"n": 2, "phi": "mean"}),
    (optim.ADOPT, {"clip_lambda": None}),
    (optim.ADOPT, {"clip_lambda": wide, "weight_decay": 0.1}),
    (optim.ADOPT, {"weight_decay": 0.1, "decoupled": True, "maximize": True}),
    (optim.SignSGD, {"momentum": 0.9}),
    (optim.AdaSGD, {"weight_decay": 0.1}),
    (optim.BlockwiseAdam, {"partition": "rows"}),
    (optim.BlockwiseAdam, {"partition": "elements"}),
    (optim.BlockwiseAdam, {"partition": odd_and_even}),
]
structures = pytest.mark.parametrize(("cls", "options"), STRUCTURES, ids=label)


@structures
def test_a_complex_parameter_is_a_pair_of_reals(cls, options):
    rng = np.random.default_rng(5)
    z0 = rng.normal(size=(4, 3, 2)) @ np.array([1, 1j])
    gs = [rng.normal(size=(4, 3, 2)) @ np.array([1, 1j]) for _ in range(CALLS)]

    def pairs(z):
        return np.stack([z.real, z.imag], axis=-1)

    ours = path_of(cls, z0, gs, **options)
    assert np.iscomplexobj(ours)
    if options.get("partition") is odd_and_even:  # both parts are in the block of their entry
        options = {"partition": lambda p, name: torch.arange(p.numel()).view(p.shape) // 2 % 2}
    agree([pairs(ours)], [path_of(cls, pairs(z0), [pairs(g) for g in gs], **options)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@structures
def test_half_precision_rounds_a_float32_step_and_nothing_else(cls, options, dtype):
    torch.manual_seed(0)
    half = nn.Parameter(torch.randn(4, 3).to(dtype))
    full = nn.Parameter(half.detach().float())
    twins = [(half, cls([half], lr=0.01, **options)), (full, cls([full], lr=0.01, **options))]
    for _ in range(12):
        g = torch.randn(4, 3).to(dtype)
        for p, optimizer in twins:
            p.grad = g.to(p.dtype)
            optimizer.step()
        full.data = full.data.to(dtype).float()
        assert half.dtype == dtype
        torch.testing.assert_close(half.detach().float(), full.detach(), rtol=0, atol=0)
    for value, want in zip(*(leaves(o.state[p]) for p, o in twins), strict=True):
        assert not value.is_floating_point() or value.dtype == torch.float32
        torch.testing.assert_close(value, want, rtol=0, atol=0)


def leaves(state):
    """Return the tensors of a parameter's state, queues unrolled."""
    return [
        z
        for value in state.values()
        for z in (value if isinstance(value, tuple) else (value,))
        if isinstance(z, torch.Tensor)
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cls", [optim.Adam, optim.AMSGrad, optim.ADOPT, optim.AdaSGD], ids=label)
def test_the_second_moment_of_half_precision_does_not_freeze(cls, dtype):
    """In bfloat16 the factor 0.9999 rounds to one; in float16 the square of 1e-4 rounds to zero."""
    p = nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = cls([p], betas=(0.9, 0.9999))
    seen = []
    for call in range(5):
        p.grad = torch.full((3,), 1e-4 * (1 + call), dtype=dtype)
        optimizer.step()
        seen.append(optimizer.state[p]["v"].max().item())
    assert seen[0] > 0
    assert all(a < b for a, b in itertools.pairwise(seen))


# -- landscapes ------------------------------------------------------------------------------------

RATES = {  # lr on (Rosenbrock, Rastrigin)
    optim.SGD: (1e-4, 1e-3),
    optim.AdaGrad: (0.5, 0.1),
    optim.RMSprop: (0.01, 0.01),
    optim.SignSGD: (0.01, 0.01),
}


@pytest.mark.parametrize(
    ("f", "start", "which", "bound"),
    # from 409 to the valley's floor; from 36.25 to the bottom of a basin beside, 12.93
    [(rosenbrock, (-2.0, 2.0), 0, 7.0), (rastrigin, (-2.0, 3.5), 1, 13.1)],
    ids=["rosenbrock", "rastrigin"],
)
@every
def test_descends(cls, f, start, which, bound):
    x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = cls([x], lr=RATES.get(cls, (0.05, 0.05))[which])
    for _ in range(150):
        x.grad = gradient(f)(x.detach())
        optimizer.step()
    assert f(x).item() < bound


# -- one kernel a group ----------------------------------------------------------------------------


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
            pairs = zip(leaves(kernel[1].state[q]), leaves(eager[1].state[p]), strict=True)
            for got, want in pairs:
                close(got.double(), want.double(), p.dtype)


@structures
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


@structures
def test_a_new_number_compiles_nothing(cls, options):
    """Neither lr nor any other number that a schedule may change asks for another kernel."""
    params, give = vectors()
    optimizer = cls(params, **options, fused=True)
    (group,) = optimizer.param_groups
    for call in range(3):
        give(call)
        optimizer.step()
        if call == 0:
            before = len(fused._kernels), fused.compile_source.cache_info().misses
        group["lr"] *= 0.5
        group["weight_decay"] *= 0.5
        if "betas" in group:
            group["betas"] = (0.5, 0.6 + 0.1 * call)
    assert (len(fused._kernels), fused.compile_source.cache_info().misses) == before


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
    fresh = functools.cache(fused.compile_source.__wrapped__)
    monkeypatch.setattr(fused, "compile_source", fresh)


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
    assert not fused._kernels
    for p, q in zip(eager[0], kernel[0], strict=True):
        assert torch.equal(p, q)


@pytest.mark.usefixtures("nothing_compiled")
def test_kernels_are_kept_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    both(optim.SGD, {}, calls=1, make=vectors)
    (library,) = tmp_path.rglob("*.so")
    before = library.stat().st_mtime_ns
    fused._kernels.clear()
    fused.compile_source.cache_clear()
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
