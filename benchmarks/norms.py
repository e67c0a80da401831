"""How many Hessian products the (1,1)-norm costs at a given error; print a table, save a CSV.

Four digits networks, a ReLU MLP and one of tanh and layer normalisation, at initialisation and
trained, and some matrices. Their dense Hessian is the truth. The fixed estimators run at growing
numbers of products, on disjoint probes; the products that they need are where the relative error,
root of the mean square over repetitions, falls below the tolerance, by interpolation. The default
of `norm11` is asked for that tolerance, and answers with the products that it spent.
"""

import argparse
import math
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.provenance import provenance
from companion.data import digits
from companion.hessian.base import Dense
from companion.hessian.norms import METHODS, norm11
from companion.hessian.operators import Hessian
from companion.progress import bar

FIXED = ("algorithm 4", "geometric mean", "rademacher rows", "cauchy rows")
NUMBERS = (11, 23, 47, 95, 191, 383, 767, 1535)  # of products of a fixed method


def networks(args):
    """Yield names and Hessians of the mean loss on some training images."""
    data = digits("train", flatten=True)
    x, y = data.x[: args.samples], data.y[: args.samples]
    for name, between in {
        "ReLU": lambda n: [nn.ReLU()],
        "tanh + LayerNorm": lambda n: [nn.LayerNorm(n), nn.Tanh()],
    }.items():
        torch.manual_seed(args.seed)
        sizes = [64, *args.width, 10]
        layers = []
        for i, (n, m) in enumerate(pairwise(sizes)):
            layers += [nn.Linear(n, m), *(between(m) if i < len(sizes) - 2 else [])]
        model = nn.Sequential(*layers)
        yield f"{name}, initial", Hessian(model, F.cross_entropy, (x, y))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(args.steps):
            rows = torch.randint(len(x), (64,))
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        yield f"{name}, trained", Hessian(model, F.cross_entropy, (x, y))


def matrices(args):
    """Yield names and matrices that are easy or hard for some method."""
    generator = torch.Generator().manual_seed(args.seed)
    d = 1000
    spectrum = torch.cat([torch.ones(10), 1 / torch.arange(1, d - 9) ** 2])
    q, r = torch.linalg.qr(torch.randn(d, d, generator=generator))
    q *= r.diagonal().sign()
    u = torch.randn(d, generator=generator)
    sign = torch.randn(d, d, generator=generator).sign().triu(1)
    sign = sign + sign.T + torch.eye(d)
    arrow = torch.zeros(d, d)
    arrow[0] = arrow[:, 0] = 1
    uneven = torch.eye(d)
    uneven[:40, :40] = sign[:40, :40] / math.sqrt(40)
    blocks = torch.zeros(d, d)
    for i in range(0, d, 100):
        a = torch.randn(100, 100, generator=generator)
        blocks[i : i + 100, i : i + 100] = (a + a.T) * 10 ** (i / 500 - 1)
    yield "§4.1 spectrum, diagonal", Dense(torch.diag(spectrum))
    yield "§4.1 spectrum, Haar basis", Dense((q * spectrum) @ q.T)
    yield "rank one", Dense(torch.outer(u, u))
    yield "random sign", Dense(sign)
    yield "ten blocks of 1 to 100", Dense(blocks)
    yield "arrow", Dense(arrow)
    yield "forty dense rows in an identity", Dense(uneven)
    yield "identity", Dense(torch.eye(d))


def products_needed(op, truth, method, args, progress):
    """Return the products at which the error crosses the tolerance; NaN if never."""
    last = None
    for n in NUMBERS:
        errors = []
        for seed in range(max(args.least, args.repetitions * 16 // n)):
            estimate = METHODS[method](op, n, seed=1000 * n + seed)
            errors.append(float(estimate.value / truth) - 1)
            progress.update()
        error = float(np.sqrt(np.mean(np.square(errors))))
        if error <= args.rtol:
            if last is None:
                return n
            share = math.log(last[1] / args.rtol) / math.log(last[1] / error)
            return last[0] * (n / last[0]) ** share
        last = n, error
    return math.nan


def measure(name, matrix, args):
    """Return one row a method."""
    op, truth = Dense(matrix), matrix.abs().sum(dtype=torch.float64)
    row = {"matrix": name, "d": op.d, "(1,1)/d": float(truth) / op.d, "rtol": args.rtol}
    with bar(None, unit="estimate", desc=name) as progress:
        for method in FIXED:
            needed = products_needed(op, truth, method, args, progress)
            yield row | {"method": method, "products": needed}
        answers = []
        for seed in range(args.repetitions):
            answers.append(norm11(op, rtol=args.rtol, seed=seed))
            progress.update()
    error = torch.stack([a.value for a in answers]).double() / truth - 1
    inside = [float(abs(a.value - truth) <= 1.96 * a.stderr) for a in answers]
    products = torch.tensor([float(a.products) for a in answers])
    yield row | {
        "method": "default",
        "products": float(products.mean()),
        "products_95": float(products.quantile(0.95)),
        "error": float(error.square().mean().sqrt()),
        "coverage": sum(inside) / len(inside),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, nargs="+", default=[32, 16], help="(32 16)")
    parser.add_argument("--samples", type=int, default=600, help="images of the loss (600)")
    parser.add_argument("--steps", type=int, default=300, help="training steps of Adam (300)")
    parser.add_argument("--rtol", type=float, default=0.05, help="relative error (0.05)")
    parser.add_argument("--repetitions", type=int, default=100, help="of the default (100)")
    parser.add_argument("--least", type=int, default=20, help="repetitions at many products (20)")
    parser.add_argument("--only", default="", help="matrices whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/norms.csv"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows, begun = [], time.process_time()
    for family in (networks, matrices):
        for name, operator in family(args):
            if args.only not in name:
                continue
            rows += measure(name, operator.dense(), args)
            last = pd.DataFrame(rows[-len(FIXED) - 1 :])
            print(last.to_string(index=False, float_format="%.3g"), flush=True)
    frame = pd.DataFrame(rows)
    frame = frame.assign(
        repetitions=args.repetitions,
        least=args.least,
        seed=args.seed,
        **provenance(),
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(args.out, index=False, float_format="%.6g")
    print(f"{time.process_time() - begun:.0f} s of CPU", file=sys.stderr)


if __name__ == "__main__":
    main()
