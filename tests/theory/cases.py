"""Grids of decay rates, and the gradients of function (2)."""

import torch

F64 = {"dtype": torch.float64}


BETA1 = torch.tensor([0.0, 0.5, 0.9, 0.97], **F64)[:, None]


BETA2 = torch.tensor([0.0, 0.5, 0.9, 0.99], **F64)


def function_2(n):
    return [float(n)] + [-1.0] * (n - 1)
