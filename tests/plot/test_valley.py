import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from companion import plot
from companion.evidence import paired
from companion.optim import ADOPT, SGD, Adam
from companion.plot.valley import DRAWS, LATE, RULES, SIGMA, START, VALLEY
from companion.simulate import trajectory

GRID = [float(f"{m}e{k}") for k in (-3, -2, -1, 0) for m in (1, 2, 3, 5)]


def paths(ax):
    """Return the lines of the rules by the label before its numbers."""
    handles = ax.get_legend_handles_labels()
    return {label.split(",")[0]: line for line, label in zip(*handles, strict=True)}


def by_hand(steps, seed, rule):
    """Return the iterates of a rule that is written out here, of all draws of the same noise."""
    noise = torch.Generator().manual_seed(seed)
    x = START.expand(DRAWS, 2)
    state, kept = None, [x]
    for t in range(1, steps + 1):
        xi = torch.randn(DRAWS, 2, generator=noise, dtype=torch.float64)
        g = torch.tensor([1.0, 30.0], dtype=torch.float64) * x + SIGMA * xi
        x, state = rule(x, g, state, t)
        kept.append(x)
    return torch.stack(kept)


def heavy_ball(x, g, m, t):
    m = g if m is None else 0.9 * m + g
    return x - 0.005 * m, m


def adam(x, g, state, t):
    m, v = state or (0, 0)
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    step = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return x - 0.2 * step, (m, v)


@pytest.mark.parametrize(("name", "rule"), [("Momentum", heavy_ball), ("Adam", adam)])
def test_a_path_is_the_rule_run_by_hand_on_the_same_noise(name, rule):
    line = paths(plot.valley(["SGD", name], seed=3, steps=25))[name]
    drawn, expected = torch.as_tensor(line.get_xydata()), by_hand(25, 3, rule)
    torch.testing.assert_close(drawn, expected[:, 0], rtol=1e-12, atol=1e-12)
    late = (expected[-LATE:] ** 2 @ torch.tensor([0.5, 15.0], dtype=torch.float64)).mean()
    assert line.get_label() == f"{name}, {RULES[name][1]['lr']:g}: {late:.2g}"


def test_the_new_rule_has_its_colour_and_the_older_ones_are_grey_and_told_apart():
    ax = plot.valley(list(RULES), new="Adam")
    lines = paths(ax)
    assert list(lines) == [*(name for name in RULES if name != "Adam"), "Adam"]
    assert lines["Adam"].get_color() == plot.look("Adam")["color"]
    assert [t.get_text().split(",")[0] for t in ax.get_legend().get_texts()] == list(RULES)
    older = [line for name, line in lines.items() if name != "Adam"]
    for line in older:
        red, green, blue = mpl.colors.to_rgb(line.get_color())
        assert red == green == blue
        assert line.get_zorder() < lines["Adam"].get_zorder()
    assert (
        len({(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in older})
        == 7
    )
    for line in lines.values():
        assert line.get_markevery() is None  # a dot a step
        assert line.get_xydata().shape == (61, 2)
        assert line.get_xydata()[0].tolist() == START.tolist()


def test_options_of_ones_own_and_the_stamp():
    own = plt.figure().add_subplot()
    rules = {"ADOPT": (ADOPT, {"lr": 0.2, "beta2": 0.9}), "mine": (SGD, {"lr": lambda t: 0.05})}
    ax = plot.valley(rules, ax=own, steps=12, seed=7)
    assert ax is own
    drawn = torch.as_tensor(paths(ax)["ADOPT"].get_xydata())
    noise, starts = VALLEY.noisy(SIGMA), START.expand(DRAWS, 2)
    expected = trajectory(ADOPT, noise, starts, 12, seed=7, lr=0.2, beta2=0.9)
    assert drawn.equal(expected[:, 0])
    assert any(t.get_text().endswith("12 steps, one draw of the noise (seed 7)") for t in ax.texts)
    assert any(label.startswith("mine: ") for label in ax.get_legend_handles_labels()[1])


@pytest.mark.parametrize("name", RULES)
def test_no_neighbour_on_the_grid_beats_a_step_size(name):
    optimizer, options = RULES[name]
    chosen = GRID.index(options["lr"])
    start = START.expand(1500, 2)

    def late(lr):
        path = trajectory(
            optimizer, VALLEY.noisy(SIGMA), start, 60, seed=1, **{**options, "lr": lr}
        )
        return VALLEY.loss(path[-LATE:]).mean(0)

    for other in (chosen - 1, chosen + 1):
        assert paired(late(options["lr"]), late(GRID[other])).sign <= 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rules": []}, "rules must hold 1 to 9 rules, got 0"),
        ({"rules": ["Adm"]}, "rules must be among SGD, .*, got 'Adm'"),
        ({"rules": {str(i): (Adam, {}) for i in range(10)}}, "got 10"),
        ({"new": "ADOPT"}, "new must be one of SGD, got 'ADOPT'"),
        ({"steps": 9}, "steps must be a whole number of at least 10, got 9"),
        ({"steps": True}, "steps must be"),
    ],
)
def test_what_cannot_be_drawn_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        plot.valley(**{"rules": ["SGD"], **change})
