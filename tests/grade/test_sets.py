"""Every problem set: the solution has full marks, the stub none, a wrong answer what it says."""

import json
import re
import textwrap

import pytest
import torch

from companion.grade import master, submission
from companion.grade.grading import grade
from companion.grade.inside import cells
from companion.grade.judge import judge
from companion.grade.session import Session
from tests import books
from tests.grade.direct import Direct
from tests.grade.small import MASTER
from tools.book_extension import published

SETS = {path.stem: master.read(path) for path in sorted(master.FOLDER.glob("*.md"))}
PROBLEMS = [
    pytest.param(problem, id=f"{name}-{problem.label}")
    for name, problems in SETS.items()
    for problem in problems.problems
    if problem.tests
]
WRONG = [
    pytest.param(p.values[0], item, id=f"{p.id}-{item['why']}")
    for p in PROBLEMS
    for item in p.values[0].wrong
]


@pytest.fixture(autouse=True)
def _default_dtype():
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


def points(problem, code):
    return sum(o.got for o in judge(problem, Direct(code, problem.given), "a secret"))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_solution_has_all_points_and_the_stub_none(problem):
    outcomes = judge(problem, Direct(problem.solution, problem.given), "another secret")
    assert [o.message for o in outcomes] == [""] * len(outcomes)
    assert sum(o.points for o in outcomes) == problem.points
    stub = judge(problem, Direct(problem.stub, problem.given), "a secret")
    assert sum(o.got for o in stub) == 0
    assert all("not written yet" in o.message for o in stub)


@pytest.mark.parametrize(("problem", "item"), WRONG)
def test_wrong_answer_loses_exactly_its_points(problem, item):
    code = problem.solution
    for old, new in item["edit"].items():
        assert old in code, f"{problem.label} no longer has {old!r}"
        code = code.replace(old, new)
    assert problem.points - points(problem, code) == item["loses"]


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        pytest.param(p.values[0], code, id=f"{p.id}-{number}")
        for p in PROBLEMS
        for number, code in enumerate(p.values[0].also, 1)
    ],
)
def test_other_right_answers_have_all_points(problem, code):
    outcomes = judge(problem, Direct(code, problem.given), "a secret")
    assert [o.message for o in outcomes] == [""] * len(outcomes)


FAIR = {
    "NumPy and lists": """
        def adagrad(x, g, v, lr, eps):
            x, g, v = np.array(x), np.array(g), np.array(v)
            v = v + g * g
            return [(x - lr * g / (np.sqrt(v) + eps)).tolist(), list(v)]
        """,
    "in place": """
        def adagrad(x, g, v, lr, eps):
            v.addcmul_(g, g)
            x.addcdiv_(g, v.sqrt().add_(eps), value=-lr)
            return x, v
        """,
    "float32": """
        def adagrad(x, g, v, lr, eps):
            x, g, v = x.float(), g.float(), v.float()
            v = v + g**2
            return x - lr * g / (v.sqrt() + eps), v
        """,
    "a Parameter that asks for a gradient": """
        def adagrad(x, g, v, lr, eps):
            x = torch.nn.Parameter(x)
            v = v + g**2
            return x - lr * g / (v.sqrt() + eps), v
        """,
    "a loop over numbers": """
        def adagrad(x, g, v, lr, eps):
            v = [a + b * b for a, b in zip(v.tolist(), g.tolist())]
            x = [a - lr * b / (c**0.5 + eps) for a, b, c in zip(x.tolist(), g.tolist(), v)]
            return x, v
        """,
    "other names of arguments' kin": """
        import numpy
        class helper: pass
        def adagrad(x, g, v, lr, eps, *, verbose=False):
            total = v + numpy.square(g)
            return x - lr * g / (total**0.5 + eps), total
        """,
    "an object that keeps x to itself": """
        class MyAdam:
            def __init__(self, x, lr, beta1, beta2, eps):
                self.x, self.o = x.numpy(), (lr, beta1, beta2, eps)
                self.m, self.v, self.t = 0.0, 0.0, 0
            def step(self, g):
                lr, a, b, eps = self.o
                self.t += 1
                g = g.numpy()
                self.m = a * self.m + (1 - a) * g
                self.v = b * self.v + (1 - b) * g * g
                m, v = self.m / (1 - a**self.t), self.v / (1 - b**self.t)
                self.x -= lr * m / (np.sqrt(v) + eps)  # and returns nothing
        """,
}


@pytest.mark.parametrize("code", FAIR.values(), ids=FAIR)
def test_equivalent_answers_get_equal_marks(code):
    code = textwrap.dedent(code)
    problems = {p.values[0].label: p.values[0] for p in PROBLEMS}
    problem = problems["set2-adam" if "MyAdam" in code else "set2-adagrad"]
    assert points(problem, code) == problem.points


CHEATS = """
import torch
import torch.optim
from torch.optim import Adagrad
from torch.optim.adam import Adam as Copied
torch.allclose = lambda *a, **k: True
torch.Tensor.__eq__ = lambda *a: True
torch.equal = lambda *a: True

class MyAdam:
    def __init__(self, x, lr, beta1, beta2, eps):
        self.x = torch.nn.Parameter(x)
        self.o = Copied([self.x], lr=lr, betas=(beta1, beta2), eps=eps)
    def step(self, g):
        self.x.grad = g
        self.o.step()

def adagrad(x, g, v, lr, eps):
    x = torch.nn.Parameter(x)
    x.grad = g
    Adagrad([x], lr=lr).step()
    return x, v

def rmsprop(x, g, v, lr, alpha, eps):
    return torch.zeros(1), torch.zeros(1)
"""


def test_copied_and_patched_torch_gains_nothing():
    problems = SETS["02_adaptive"]
    with Session([(1, CHEATS)], offer=problems.offer) as session:
        for problem in problems.problems[:3]:
            outcomes = judge(problem, session, "a secret")
            assert sum(o.got for o in outcomes) == 0
        assert "torch.optim" in outcomes[0].message
        assert "is not offered in this problem set: write it yourself" in outcomes[0].message


@pytest.fixture(scope="module")
def solved():
    return books.book().solutions()


DERIVATIVES = """
import torch
def second(x): return torch.func.hessian(lambda z: (z**4).sum())(x)
def copied(x): return torch.optim.SGD([torch.nn.Parameter(x)], lr=1.0).param_groups[0]["lr"]
def bound(x):
    from torch.optim import SGD
    return torch.vmap(lambda z: SGD([z], lr=1.0))(x)
"""


def test_torch_goes_on_using_what_is_refused():
    with Session([(1, DERIVATIVES)]) as session:
        x = torch.ones(2)
        assert session.ask("copied", x).problem == "raised"
        assert session.ask("second", x).value == [[12.0, 0.0], [0.0, 12.0]]
        for name in ("copied", "bound"):
            assert "torch.optim" in session.ask(name, x).text


@pytest.mark.parametrize("name", SETS)
def test_the_solved_notebook_has_all_points_where_submissions_run(name, solved, tmp_path):
    path = tmp_path / f"{name}_solution.ipynb"
    path.write_text(solved[path.name], encoding="utf-8")
    result = grade(submission.read(path), SETS[name], "a secret")
    lost = [t["message"] for p in result["problems"] for t in p["tests"] if t["message"]]
    assert lost == []
    assert result["points"] == result["most"]
    assert all(p["written"] for p in result["problems"] if p["rubric"])


def test_notebooks_and_pages_hide_what_only_the_grader_reads(solved):
    for name, problems in SETS.items():
        # That the committed notebook is what the generator makes: tests/test_notebooks.py.
        made = (master.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
        text = "\n".join("".join(c["source"]) for c in json.loads(made)["cells"])
        full = "\n".join(
            "".join(c["source"]) for c in json.loads(solved[f"{name}_solution.ipynb"])["cells"]
        )
        for problem in problems.problems:
            assert problem.title in text
            assert problem.stub in text + "\n"
            if problem.tests:
                line = problem.solution.strip().split("\n")[-2]
                assert line not in text
                assert problem.solution.strip() in full
                assert "@test" not in text + full
            for item in problem.rubric:
                assert item["item"] in full
        source = published(problems.text)
        assert "{grading}" not in source
        assert "@test" not in source
        assert all(p.title in source and p.stub in source for p in problems.problems)


@pytest.mark.parametrize("name", SETS)
def test_the_notebook_runs_as_handed_out(name, capsys):
    found, errors = submission.read(master.FOLDER / f"{name}.ipynb"), []
    cells.run(found.cells, {"__name__": "__main__"}, 60.0, lambda n, e: errors.append(e))
    assert set(errors) == {None}
    assert "correct" not in capsys.readouterr().out


BROKEN = {
    "a rubric": ("points: 2}\n```", "points: 3}\n```", "the rubric adds up to 4, not to 3"),
    "points": (":points: 5", ":points: five", "this needs :points:"),
    "a fence": ("```python solution\ndef twice", "````python solution\ndef twice", "never closed"),
    "a label": ("{grading} twice", "{grading} thrice", "no exercise 'thrice'"),
    "nothing to grade": ("```yaml rubric", "```yaml other", "neither tests nor a rubric"),
}


@pytest.mark.parametrize(("old", "new", "told"), BROKEN.values(), ids=BROKEN)
def test_a_mistake_in_a_master_is_named(old, new, told, tmp_path):
    assert old in MASTER
    path = tmp_path / "small.md"
    path.write_text(MASTER.replace(old, new), encoding="utf-8")
    with pytest.raises(master.MasterError, match=re.escape(told)):
        master.read(path)
