"""Right answers in any container are right, and no disguise makes another answer right."""

import contextlib
import functools

import numpy as np
import pytest
import torch

from tests.checks.printed import CHAPTERS, exercises, namespace

CHECKS = [
    pytest.param(exercise, name, id=f"{exercise.chapter}-{name}")
    for chapter in CHAPTERS
    for exercise in exercises(chapter)
    for name in exercise.calls()
]


class Equal:
    """Claims to be equal to everything, and all else that one may ask."""

    __eq__ = __ge__ = __le__ = __gt__ = __lt__ = lambda self, other: True
    __hash__ = object.__hash__

    def __bool__(self):
        return True

    def __getattr__(self, name):
        return lambda *args, **kwargs: self


class Agreeable(torch.Tensor):
    """A tensor that compares as it likes."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function in (torch.allclose, torch.equal, torch.isclose, torch.Tensor.eq):
            return torch.tensor(True)
        return super().__torch_function__(function, types, args, kwargs)


class Escape(BaseException):
    def __str__(self):
        raise Escape


def escape(error):
    raise error


def truth(value):
    return torch.as_tensor(value).dtype == torch.bool


def tensor(value):
    return torch.as_tensor(value) if truth(value) else torch.as_tensor(value).double()


def listed(value):
    return value.tolist() if isinstance(value, torch.Tensor) and value.ndim else [value]


#: What becomes of every number or tensor of an answer.
RIGHT = {
    "as it is": lambda value: value,
    "list": listed,
    "tuple": lambda value: tuple(listed(value)),
    "array": np.asarray,
    "NumPy scalars": lambda value: np.asarray(value)[()],
    "objects": lambda value: np.asarray(value).astype(object),
    "tensor": torch.as_tensor,
    "one element": lambda value: tensor(value).reshape(tensor(value).shape or (1, 1)),
    "single precision": lambda value: value if truth(value) else tensor(value).float(),
    "NumPy's single precision": lambda value: value if truth(value) else np.float32(value),
    "a number of single precision": lambda value: (
        value if truth(value) or tensor(value).ndim else tensor(value).float().item()
    ),
    "complex": lambda value: value if truth(value) else tensor(value) + 0j,
    "with a gradient": lambda value: value if truth(value) else tensor(value).requires_grad_() * 1,
}
WRONG = {
    "equal to all": lambda value: Equal(),
    "an agreeable tensor": lambda value: (tensor(value) + 0.3).as_subclass(Agreeable),
    "NaN": lambda value: value * float("nan"),
    "infinite": lambda value: tensor(value) + 1e400,
    "minus infinity": lambda value: tensor(value) - 1e400,
    "text": str,
    "bytes": lambda value: b"1",
    "a generator": lambda value: (part for part in listed(value)),
    "a complex number": lambda value: tensor(value) + 1j,
    "true": lambda value: 1 if truth(value) else True,
    "repeated": lambda value: torch.stack([tensor(value)] * 2),
    "broadcast": lambda value: [tensor(value).reshape(-1)[:1].expand(3)],
    "empty": lambda value: [],
    "ragged": lambda value: [value, [value, value]],
    "zero": lambda value: 0 * tensor(value),
    "exits": lambda value: escape(SystemExit(0)),
    "leaves": lambda value: escape(GeneratorExit()),
    "escapes": lambda value: escape(Escape()),
}


def changed(answer, change):
    if answer is None:
        return None
    if callable(answer):
        return disguised(answer, change)
    if isinstance(answer, dict):
        return {key: changed(part, change) for key, part in answer.items()}
    if isinstance(answer, (tuple, list)):
        return tuple(changed(part, change) for part in answer)
    return change(answer)


def disguised(function, change, spoil=False):
    """Return a student's function whose answers are changed, and whose inputs are spoilt."""

    @functools.wraps(function)
    def student(*args, **kwargs):
        answer = function(*args, **kwargs)
        if "g" in kwargs:  # a rule: x only, the state is the student's own
            x, *state = answer
            answer = (changed(x, change), *state)
        else:
            answer = changed(answer, change)
        for value in (*args, *kwargs.values()) if spoil else ():
            with contextlib.suppress(Exception):
                value.zero_() if isinstance(value, torch.Tensor) else value.clear()
        return answer

    return student


@pytest.fixture(autouse=True)
def _default_dtype():
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


@pytest.mark.parametrize(("exercise", "name"), CHECKS)
def test_no_container_matters_and_no_disguise_helps(exercise, name):
    names = namespace(exercise.chapter)
    check = getattr(getattr(names["companion"].checks, exercise.chapter), name)
    functions = [names[argument] for argument in exercise.calls()[name]]
    for how, change in (RIGHT | WRONG).items():
        spoil = how in ("as it is", "zero") and name != "check_twin"  # which returns a closure
        if name != "check_schedule" or how == "as it is":  # it asks for 100,000 steps
            verdict = check(*(disguised(f, change, spoil) for f in functions))
            assert verdict.passed == (how in RIGHT), (how, verdict.message)
