"""The printed Triton kernel, run by NumPy on real addresses: what a GPU would do, without one."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from companion import optim
from companion.kernels import group, triton
from companion.kernels.build import Untranslatable
from tests.cases import cases, draw, follow, settings

C_TYPES = {np.float64: ctypes.c_double, np.float32: ctypes.c_float, np.int64: ctypes.c_int64}


class Value(np.ndarray):
    """What the kernel computes with: numbers that know ``.to``."""

    def to(self, kind):
        return Pointer(self, kind.of) if isinstance(kind, PointerType) else value(self, kind)


class PointerType(SimpleNamespace):
    pass


class Pointer:
    def __init__(self, address, kind):
        self.address, self.kind = address, kind

    def __add__(self, offset):
        return Pointer(self.address + np.asarray(offset) * np.dtype(self.kind).itemsize, self.kind)

    def places(self, mask):
        address, mask = np.broadcast_arrays(self.address, True if mask is None else mask)
        kind = C_TYPES[self.kind]
        for at in np.ndindex(address.shape):
            if mask[at]:
                yield at, kind.from_address(int(address[at]))


def value(z, kind=None):
    return np.asarray(z, dtype=kind).view(Value)


def load(pointer, mask=None, other=1.0):
    found = np.full(np.shape(pointer.address), other, dtype=pointer.kind)
    for at, place in pointer.places(mask):
        found[at] = place.value
    return value(found)


def store(pointer, given, mask=None):
    given = np.broadcast_to(given, np.shape(pointer.address))
    for at, place in pointer.places(mask):
        place.value = given[at]


def language(program):
    """Return the words of triton.language that kernels use, for one program of the grid."""
    return SimpleNamespace(
        load=load, store=store, constexpr=None, program_id=lambda axis: program,
        arange=lambda a, b: value(np.arange(a, b)), full=lambda shape, z, kind: value(z, kind),
        where=lambda c, a, b: value(np.where(c, a, b)), abs=lambda z: value(np.abs(z)),
        sqrt=lambda z: value(np.sqrt(z)), sqrt_rn=lambda z: value(np.sqrt(z)),
        div_rn=lambda a, b: value(np.divide(a, b)), exp=lambda z: value(np.exp(z)),
        log=lambda z: value(np.log(z)), float64=np.float64, float32=np.float32, int64=np.int64,
        pointer_type=lambda kind: PointerType(of=kind),
    )  # fmt: skip


class Compiled:
    """Stand for triton.jit: run every program of the grid in turn."""

    def __init__(self, source):
        self.code = compile(source, "kernel", "exec")

    def __getitem__(self, grid):
        def launch(numbers, table, *tables, CHUNK):
            kinds = np.float64, np.int64, np.int64, np.int64
            given = [
                Pointer(value(z.data_ptr()), kind)
                for z, kind in zip((numbers, table, *tables), kinds, strict=True)
            ]
            for program in range(grid[0]):
                names = {"tl": language(program)}
                exec(self.code, names)
                with np.errstate(all="ignore"):
                    names["step"](*given, CHUNK=CHUNK)

        return launch


@pytest.fixture(autouse=True)
def _kernels_are_run_by_numpy(monkeypatch):
    monkeypatch.setattr(group, "_kernels", {})
    monkeypatch.setattr(triton, "compiled", Compiled)
    monkeypatch.setattr(triton, "CHUNK", 8)  # several chunks, and one that is not full
    monkeypatch.setattr(
        group, "_compiled", lambda trace, dtype, device: triton.TritonKernel(trace, dtype, device)
    )


@cases
def test_the_printed_kernel_is_the_rule(cls, options):
    xs, rows = draw(calls=14)
    now = settings(options, calls=14, change=12)
    here = follow(cls, xs, rows, now)
    there = follow(cls, xs, rows, now, fused=True)
    assert all(isinstance(kernel, triton.TritonKernel) for kernel in group._kernels.values())
    for mine, theirs in zip(there, here, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("cls", [optim.ADOPT, optim.Adam, optim.RMSprop])
def test_float32_is_stepped_as_float32(cls):
    xs, rows = draw(calls=12)
    xs = [x.astype(np.float32) for x in xs]
    rows = [[None if g is None else g.astype(np.float32) for g in row] for row in rows]
    now = settings({}, calls=12)
    here, there = (follow(cls, xs, rows, now, fused=fused) for fused in (False, True))
    for mine, theirs in zip(there, here, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=1e-6)


def test_nan_and_infinity_spread_as_in_the_rule():
    bad = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0])
    for cls in (optim.ADOPT, optim.AMSGrad, optim.Adamax, optim.AdaBound, optim.SignSGD):
        rows = [[np.ones(5)], [bad], [np.ones(5)]]
        here, there = (
            follow(cls, [np.ones(5)], rows, settings({}, calls=3), fused=fused)
            for fused in (False, True)
        )
        np.testing.assert_allclose(there[0], here[0], rtol=1e-12)


def test_a_kernel_that_is_refused_is_a_reason(monkeypatch):
    def refuse(source):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(triton, "compiled", refuse)
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    with pytest.warns(RuntimeWarning, match=r"Triton refuses its kernel.*no comp"):
        optim.Adam([p], fused=True).step()
    assert isinstance(next(iter(group._kernels.values())), Untranslatable)
