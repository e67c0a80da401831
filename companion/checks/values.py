"""Answers in any reasonable container, compared in float64 with what is expected."""

import inspect
import reprlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from companion.checks.verdict import PLAIN, Wrong, check, fail, written

SINGLE = 1e-6  # relative error that is forgiven to a number that float32 can hold
SHOWN = 8  # entries of a tensor that a message shows

#: ``torch.tensor`` in float64.
double = partial(torch.tensor, dtype=torch.float64)


def symmetric(d: int, seed: int) -> Tensor:
    """Return a random symmetric matrix of shape (d, d), float64."""
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return A + A.T


def product(H: Tensor):
    """Return v ↦ H v, for a tensor, an array or a list v."""
    return lambda v: H @ torch.as_tensor(v, dtype=H.dtype)


def numbers(answer) -> Tensor:
    """Return an answer as a new tensor on the CPU: float64, bool, or complex128 where it has to be.

    Parameters
    ----------
    answer : object
        A number, a tensor, an array, or lists and tuples of them.

    Raises
    ------
    Unfinished, Wrong
        Where something is not written yet, or is no number.
    """
    written(answer)
    if isinstance(answer, Tensor):
        with torch._C.DisableTorchFunctionSubclass():  # a subclass may redefine anything
            answer = answer.detach().cpu()
            answer = answer if answer.layout == torch.strided else answer.to_dense()
            if answer.is_complex() and not answer.imag.any():
                answer = answer.real
            wide = torch.complex128 if answer.is_complex() else torch.float64
            return answer.to(torch.bool if answer.dtype == torch.bool else wide, copy=True)
    if hasattr(type(answer), "__array__"):
        array = np.asarray(answer)
        if array.dtype.kind in "biufc":
            wide = {"b": bool, "c": np.complex128}.get(array.dtype.kind, np.float64)
            return torch.from_numpy(array.astype(wide, order="C"))
        answer = array.tolist()
    if isinstance(answer, Sequence) and not isinstance(answer, (str, bytes)):
        if PLAIN.issuperset(map(type, answer)):
            return double(list(answer))
        parts = [numbers(part) for part in answer]
        if len({(part.shape, part.dtype == torch.bool) for part in parts}) > 1:
            fail(f"expected numbers, got parts of several shapes or kinds, {reprlib.repr(answer)}")
        return torch.stack(parts)
    if isinstance(answer, bool):
        return torch.tensor(answer)
    if isinstance(answer, complex):
        return numbers(torch.tensor(answer, dtype=torch.complex128))
    if not hasattr(type(answer), "__float__"):
        fail(f"expected a number or tensor, got {show(answer)}")
    return double(float(answer))


def several(answer, *names: str) -> list:
    """Return the parts of an answer of so many values, from a list, tuple, tensor or array."""
    if isinstance(written(answer), (Tensor, np.ndarray)) and answer.ndim:
        answer = list(numbers(answer))
    if not isinstance(answer, (list, tuple)) or len(answer) != len(names):
        fail(f"expected {len(names)} values ({', '.join(names)}), got {show(answer)}")
    return [written(part) for part in answer]


def expect(got, expected, rtol: float = 1e-6, hint: str = "", what: str = "") -> None:
    """Stop the check unless ``got`` equals ``expected``.

    Parameters
    ----------
    got : object
        The student's answer, in any container that `numbers` takes; ``None`` and ``...`` mean that
        it is not written yet.
    expected : float, int, bool, str, sequence or Tensor
        The right answer. An ``int`` is a count: it has to be met exactly. One number may come in
        any shape of one element; other shapes must agree.
    rtol : float
        Largest relative error. Near zero a thousandth of it is forgiven, relative to the largest
        number that is expected, or to one where all are zero. Numbers that float32 can hold are
        compared with no less than its precision.
    hint : str
        What to try, without the final stop.
    what : str
        What is compared, such as ``"step 3"``.
    """
    prefix = f"{what}: " if what else ""
    if isinstance(expected, str):
        if not (isinstance(written(got), str) and str.__eq__(got, expected)):
            fail(f"{prefix}expected {expected!r}, got {show(got)}", hint)
        return
    want = numbers(expected)
    try:
        have = numbers(got)
    except Wrong as reason:
        fail(f"{prefix}{reason}", hint)
    if have.shape != want.shape and not have.numel() == want.numel() == 1:
        fail(f"{prefix}expected shape {tuple(want.shape)}, got {tuple(have.shape)}", hint)
    have = have.reshape(want.shape)
    if want.dtype == torch.bool or have.dtype == torch.bool or isinstance(expected, int):
        same = (have == want) & (have.dtype == want.dtype)
    else:
        same = _close(have, want, rtol)
    if not same.all():
        if want.numel() > SHOWN:
            place = tuple((~same).nonzero()[0].tolist())
            prefix, have, want = f"{prefix}entry {list(place)}: ", have[place], want[place]
        pair = want.tolist(), have.tolist()
        for digits in range(4, 18):  # as many as it takes to tell them apart
            if show(pair[0], digits) != show(pair[1], digits):
                break
        given = zip((expected, got), pair, strict=True)
        texts = [show(z if isinstance(z, int) else number, digits) for z, number in given]
        fail(f"{prefix}expected {texts[0]}, got {texts[1]}", hint)


def _close(have: Tensor, want: Tensor, rtol: float) -> Tensor:
    """Return where two tensors agree; never at NaN, and at infinity only exactly."""
    size = want.abs().where(want.isfinite(), 0.0)
    scale = size.max() if size.any() else 1.0
    single = torch.full_like(size, rtol)
    if not have.is_complex():
        single[have == have.float().double()] = max(rtol, SINGLE)
    near = (have - want).abs() <= single * (size + 1e-3 * scale)
    return (have == want) | (near & want.isfinite())


def agree(answer, reference, cases, hint, rtol: float = 1e-6) -> None:
    """Stop the check unless a student's function returns what the reference does.

    Parameters
    ----------
    answer : callable
        The student's function.
    reference : callable
        A function of the same arguments, called first. Its names of arguments are in the messages.
    cases : list or dict
        The arguments of each call, as a tuple if there are several; a dictionary gives each call a
        name for the messages.
    hint : str or dict
        What to try; for a function that returns several values, a hint for each by its name.
    rtol : float
        As for `expect`.
    """
    names = list(inspect.signature(reference).parameters)
    for case in cases:
        what, case = (case, cases[case]) if isinstance(cases, dict) else ("", case)
        case = case if isinstance(case, tuple) else (case,)
        shown = (f"{n} = {show(v)}" for n, v in zip(names, case, strict=True) if not callable(v))
        what = what or ", ".join(shown)
        want = reference(*case)
        if isinstance(hint, str):
            expect(answer(*case), want, rtol, hint, what)
            continue
        parts = several(answer(*case), *hint)
        for (name, part_hint), got, right in zip(hint.items(), parts, want, strict=True):
            expect(got, right, rtol, part_hint, f"{what}: {name}")


def against(cases, hint, rtol: float = 1e-6):
    """Turn a reference into a check: a student's function has to `agree` with it on the cases.

    Examples
    --------
    >>> @against([1.0, 3.0], hint="add x to itself")
    ... def check_double(x):
    ...     return x + x
    >>> verdict = check_double(lambda x: 2 * x)
    check_double: correct
    >>> verdict = check_double(lambda x: x + 1)
    check_double: not right yet: x = 3.0: expected 6.0, got 4.0. Hint: add x to itself.
    """

    def decorate(reference):
        def checked(answer):
            agree(answer, reference, cases, hint, rtol)

        checked.__name__, checked.__doc__ = reference.__name__, reference.__doc__
        checked.__module__ = reference.__module__  # as functools.wraps, but for the signature
        return check(checked)

    return decorate


@check
def check_value(got, expected, rtol: float = 1e-6, hint: str = ""):
    """Check one value; parameters as for `expect`.

    Examples
    --------
    >>> verdict = check_value(0.3, 0.25, hint="halve it twice")
    check_value: not right yet: expected 0.25, got 0.3. Hint: halve it twice.
    """
    expect(got, expected, rtol, hint)


def show(value, digits: int = 4) -> str:
    """Return a value as a short text, numbers with so many digits."""
    if isinstance(value, Tensor):
        if value.numel() > SHOWN:
            return f"a tensor of shape {tuple(value.shape)}"
        value = value.detach().tolist()
    if type(value) in (list, tuple):
        texts = [show(part, digits) for part in value[:SHOWN]]
        return "[" + ", ".join(texts + ["…"] * (len(value) > SHOWN)) + "]"
    if type(value) is float:
        text = f"{value:.{digits}g}"
        return text if any(c in text for c in ".en") else text + ".0"
    return reprlib.repr(value)
