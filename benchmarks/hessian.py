"""Time Hessian products in gradients, on three networks; print a table, save a CSV.

A gradient is `torch.autograd.grad` of the same loss in the same process. Contenders take turns,
round after round; a number is the shortest processor time of a contender over the shortest of the
gradient, divided by the columns: it does not depend on who else uses the machine as much as seconds
would. The first call is timed apart, with all that prepares it. curvlinops takes part where it is
installed.

    python -m benchmarks.hessian --rounds 9 --threads 1
"""

import argparse
import importlib.util
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, linearize, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.provenance import provenance
from companion.hessian import GaussNewton, Hessian
from companion.models import GPT, MLP, GPTConfig, resnet18


class TokenLoss(nn.CrossEntropyLoss):
    """Cross-entropy of logits (B, T, V), as a module: curvlinops takes no functions."""

    def forward(self, z, y):
        return super().forward(z.flatten(0, 1), y.flatten())


class Flat(nn.Module):
    """A language model with its logits in one row a token, as curvlinops wants them."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).flatten(0, 1)


def network(name):
    """Return model, loss, x and y."""
    torch.manual_seed(0)
    labels = torch.randint(10, (512,))
    if name == "mlp":
        return MLP([64, 256, 256, 10], "tanh"), nn.CrossEntropyLoss(), torch.randn(512, 64), labels
    if name == "resnet":
        x = torch.randn(32, 3, 32, 32)
        return resnet18(width=16), nn.CrossEntropyLoss(), x, labels[:32]
    model = GPT(GPTConfig(vocab=96, block=64, layers=4, heads=4, width=128))
    tokens = torch.randint(96, (8, 65))
    return model, TokenLoss(), tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def ways(model, loss, x, y, columns, every):
    """Return the contenders: name → function that prepares and returns the product, a function."""

    def ours(kind=Hessian):
        op = kind(model, loss, (x, y))
        V = torch.randn(op.d, columns)
        return lambda: op @ V

    def gradient_and_rows():
        named = {name: p.detach() for name, p in model.named_parameters()}
        gradient = grad(lambda p: loss(functional_call(model, p, (x,)), y))
        return gradient, named, {n: torch.randn(columns, *p.shape) for n, p in named.items()}

    def linearized():
        gradient, named, rows = gradient_and_rows()
        linear = linearize(gradient, named)[1]
        one = {n: t[0] for n, t in rows.items()}
        return (lambda: linear(one)) if columns == 1 else lambda: vmap(linear)(rows)

    def forward_over_reverse():
        gradient, named, rows = gradient_and_rows()
        each = [{n: t[k] for n, t in rows.items()} for k in range(columns)]
        return lambda: [jvp(gradient, (named,), (v,)) for v in each]

    def peer():
        from curvlinops import HessianLinearOperator

        inner, target = (Flat(model), y.flatten()) if y.ndim > 1 else (model, y)
        op = HessianLinearOperator(
            inner,
            nn.CrossEntropyLoss(),
            list(inner.parameters()),
            [(x, target)],
            check_deterministic=False,
            num_data=len(target),
        )
        V = torch.randn(op.shape[1], columns)
        return lambda: op @ V

    found = {"companion Hessian": ours, "torch.func.linearize": linearized}
    if importlib.util.find_spec("curvlinops"):
        found["curvlinops"] = peer
    if every:
        found["companion GaussNewton"] = partial(ours, GaussNewton)
        found["jvp of grad, column by column"] = forward_over_reverse
    return found


def clock(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(name, columns, rounds, every):
    """Return one row a contender."""
    model, loss, x, y = network(name)
    params, calls, first = list(model.parameters()), {}, {}

    def gradient():
        return torch.autograd.grad(loss(model(x), y), params)

    with sdpa_kernel(SDPBackend.MATH):
        gradient()
        for contender, prepare in ways(model, loss, x, y, columns, every).items():
            start = time.process_time()
            try:
                calls[contender] = prepare()
                calls[contender]()
            except RuntimeError as error:
                print(f"{name}, {columns}, {contender}: {str(error).splitlines()[0]}")
                calls.pop(contender, None)
            first[contender] = time.process_time() - start
        seconds = {contender: [] for contender in ("gradient", *calls)}
        for _ in range(rounds):
            seconds["gradient"].append(min(clock(gradient) for _ in range(3)))
            for contender, call in calls.items():
                seconds[contender].append(clock(call) / columns)
    best = {contender: min(times) for contender, times in seconds.items()}
    return [
        {
            "network": name,
            "parameters": sum(p.numel() for p in params),
            "columns": columns,
            "contender": contender,
            "gradient ms": 1e3 * best["gradient"],
            "gradients a column": best[contender] / best["gradient"],
            "first call s": first[contender],
            "speed / curvlinops": best.get("curvlinops", float("nan")) / best[contender],
        }
        for contender in calls
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["mlp", "resnet", "gpt"])
    parser.add_argument("--columns", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="every way of making the product")
    parser.add_argument("--save", type=Path, help="a CSV file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for name in args.networks:
        for columns in args.columns:
            rows += measure(name, columns, args.rounds, args.all)
            table = pd.DataFrame(rows).round(3).assign(threads=args.threads, **provenance())
            if args.save:
                table.to_csv(args.save, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
