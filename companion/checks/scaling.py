"""Checks of the exercises of the chapter on scaling out."""

import math

from companion.checks import against


@against(
    [([5, 5],), ([4, 3, 3],), ([1, 63],)],
    hint="the average over the processes divides by their number; the batch's mean divides by the "
    "number of its samples",
)
def check_weights(sizes):
    """Exercise 1: what each process multiplies its loss by."""
    return [size * len(sizes) / sum(sizes) for size in sizes]


@against(
    [(1e9, 2, 1), (7e9, 2, 8), (124e6, 1, 4), (1e6, 0, 3)],
    hint="parameter, gradient and each tensor of the state take four bytes a parameter, and all "
    "are divided",
)
def check_memory(parameters, tensors, processes):
    """Exercise 2: GiB a process under FSDP2, in float32."""
    return parameters * 4 * (2 + tensors) / processes / 2**30


@against(
    [(1.0,), (1.5,), (0.01,), (300.0,), (0.999,)],
    hint="the bfloat16 numbers in [2^e, 2^(e+1)) are 2^(e-7) apart, and a sum is rounded to the "
    "nearest",
)
def check_lost(x):
    """Exercise 3: the largest number that may be added to x > 0 without any effect."""
    return 2.0 ** (math.floor(math.log2(x)) - 8)
