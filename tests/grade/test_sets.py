"""Every problem set: the solution has full marks, the stub none, a wrong answer what it says."""

import pytest
import torch

from companion.grade import master
from companion.grade.judge import judge
from tests.grade.direct import Direct

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
    return sum(outcome.got for outcome in judge(problem, Direct(code), "a secret"))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_solution_has_all_points_and_the_stub_none(problem):
    outcomes = judge(problem, Direct(problem.solution), "another secret")
    assert [o.message for o in outcomes] == [""] * len(outcomes)
    assert sum(o.points for o in outcomes) == problem.points
    stub = judge(problem, Direct(problem.stub), "a secret")
    assert sum(o.got for o in stub) == 0
    assert all("not written yet" in o.message for o in stub)


@pytest.mark.parametrize(("problem", "item"), WRONG)
def test_wrong_answer_loses_exactly_its_points(problem, item):
    code = problem.solution
    for old, new in item["edit"].items():
        assert old in code, f"{problem.label} no longer has {old!r}"
        code = code.replace(old, new)
    assert problem.points - points(problem, code) == item["loses"]
