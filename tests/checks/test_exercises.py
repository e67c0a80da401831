"""The exercises as the chapters print them, and what students answer instead.

The tables hold, by chapter and check, answers with a part of what students are told. An answer is
an expression in the arguments of the printed solution, which may call that by its name; or edits of
the solution's text, ``old → new``, with `` ; `` between them. Each file of ``cases`` holds a table
of its name: ``cases/practice_mnist.py`` has ``PRACTICE_MNIST``.
"""

import ast
from importlib import import_module
from pathlib import Path

import pytest
import torch

from tests.checks.printed import CHAPTERS, exercises, namespace, verdicts

FILES = sorted(path.stem for path in Path(__file__).with_name("cases").glob("*.py"))
TABLES = [getattr(import_module(f"tests.checks.cases.{name}"), name.upper()) for name in FILES]
CASES = {chapter: answers for table in TABLES for chapter, answers in table.items()}
EXERCISES = [e for chapter in CHAPTERS for e in exercises(chapter) if e.calls()]
ANSWERS = [
    pytest.param(exercise, name, answer, told, id=f"{exercise.chapter}-{name}-{number}")
    for exercise in EXERCISES
    for name in exercise.calls()
    for number, (answer, told) in enumerate(CASES[exercise.chapter][name].items())
]


@pytest.fixture(autouse=True)
def _default_dtype():
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


def test_every_exercise_is_checked():
    assert len(CHAPTERS) >= 18
    assert sum(map(len, TABLES)) == len(CASES) == len(CHAPTERS)
    for chapter in CHAPTERS:
        checks = {name for exercise in exercises(chapter) for name in exercise.calls()}
        defined = namespace(chapter)["companion"].checks.__dict__[chapter].__dict__
        assert checks == {name for name in defined if name.startswith("check_")}
        assert checks == set(CASES[chapter])


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.label)
def test_what_the_chapter_prints_is_judged_as_the_reader_expects(exercise):
    names = namespace(exercise.chapter)
    assert all(": not yet: " in told for told in verdicts(exercise.stub, names))
    told = verdicts(exercise.solution, names)
    assert told == [f"{name}: correct" for name in exercise.calls()]


def answered(exercise, name, answer, names):
    """Return the student's functions for a check."""
    arguments = exercise.calls()[name]
    if " → " in answer:
        body = [n for n in ast.parse(exercise.solution).body if isinstance(n, ast.FunctionDef)]
        text = "\n".join(ast.get_source_segment(exercise.solution, node) for node in body)
        for edit in answer.split(" ; "):
            old, new = edit.split(" → ")
            assert old in text, f"{exercise.label} no longer has {old!r}"
            text = text.replace(old, new)
        exec(text, names)
        return [names[argument] for argument in arguments]
    (argument,) = arguments
    parameters = ast.unparse(
        next(
            n for n in ast.parse(exercise.solution).body if getattr(n, "name", "") == argument
        ).args
    )
    return [eval(f"lambda {parameters}: {answer}", names)]


@pytest.mark.parametrize(("exercise", "name", "answer", "told"), ANSWERS)
def test_an_answer_is_judged_and_its_error_named(exercise, name, answer, told):
    names = namespace(exercise.chapter)
    check = getattr(getattr(names["companion"].checks, exercise.chapter), name)
    verdict = check(*answered(exercise, name, answer, names))
    assert told in verdict.message, verdict.message
    assert verdict.passed == (told == ": correct")
    assert verdict.passed or "not yet" in told or ": not right yet: " in verdict.message
