"""Time Hessian products in gradients, on three networks; print a table, save a CSV.

A gradient is `torch.autograd.grad` of the same loss in the same process. Contenders take turns,
round after round; a number is the median over rounds of the contender's processor time over the
gradient's of that round, divided by the columns: it does not depend on who else uses the machine
as much as seconds would. ``speed / curvlinops`` compares with curvlinops in the same round.
Preparation (tracing) is timed apart. curvlinops takes part where it is installed.

    python -m benchmarks.hessian --rounds 9 --threads 1
"""

import argparse
import importlib.util
import statistics
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.func import linearize, vmap
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


def ways(model, loss, x, y, columns, all_ways):
    """Return the contenders: name → function of no arguments that makes the product."""
    op = Hessian(model, loss, (x, y))
    V = torch.randn(op.d, columns)
    found = {"companion Hessian": lambda: op @ V}
    if all_ways:
        params, v = op.parameters, op.unflatten(V[:, 0])
        gnvp = GaussNewton(model, loss, (x, y))
        plain = Hessian(model, loss, (x, y), trace=False)
        leaves = [p.detach().requires_grad_() for p in model.parameters()]
        named = dict(zip(params, leaves, strict=True))
        graph = torch.autograd.grad(op.objective(named, (x, y)), leaves, create_graph=True)
        rows = [t.movedim(-1, 0).contiguous() for t in op.unflatten(V).values()]
        found["companion GaussNewton"] = lambda: gnvp @ V
        found["jvp of grad, column by column"] = lambda: plain @ V
        gradient = torch.func.grad(lambda p: op.objective(p, (x, y)))
        try:
            lin = linearize(gradient, params)[1]
            many = dict(zip(params, rows, strict=True))
            found["torch.func.linearize"] = (
                (lambda: lin(v)) if columns == 1 else (lambda: vmap(lin)(many))
            )
        except RuntimeError as error:
            print("torch.func.linearize:", error)
        if columns == 1:
            one = list(v.values())
            found["retained graph"] = lambda: torch.autograd.grad(graph, leaves, one, True)
        else:
            found["retained graph, batched"] = lambda: torch.autograd.grad(
                graph, leaves, rows, True, is_grads_batched=True
            )
    if importlib.util.find_spec("curvlinops"):
        from curvlinops import HessianLinearOperator

        peer_model, target = (Flat(model), y.flatten()) if y.ndim > 1 else (model, y)
        peer = HessianLinearOperator(
            peer_model,
            nn.CrossEntropyLoss(),
            list(peer_model.parameters()),
            [(x, target)],
            check_deterministic=False,
            num_data=len(target),
        )
        found["curvlinops"] = lambda: peer @ V
    return found


def clock(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(name, columns, rounds, all_ways):
    """Return one row a contender."""
    model, loss, x, y = network(name)
    params = list(model.parameters())

    def gradient():
        return torch.autograd.grad(loss(model(x), y), params)

    rows, seconds = [], {}
    with sdpa_kernel(SDPBackend.MATH):
        contenders = ways(model, loss, x, y, columns, all_ways)
        gradient()
        prepare = {n: clock(call) for n, call in contenders.items()}
        for _ in range(rounds):
            base = min(clock(gradient) for _ in range(3))
            for n, call in contenders.items():
                seconds.setdefault(n, []).append((clock(call), base))
        for n, times in seconds.items():
            row = {
                "network": name,
                "parameters": sum(p.numel() for p in params),
                "columns": columns,
                "contender": n,
                "gradient ms": 1e3 * statistics.median(base for _, base in times),
                "gradients a column": statistics.median(t / base / columns for t, base in times),
                "first call s": prepare[n],
            }
            if "curvlinops" in seconds:
                pairs = zip(seconds["curvlinops"], times, strict=True)
                row["speed / curvlinops"] = statistics.median(p[0] / t[0] for p, t in pairs)
            rows.append(row)
    return rows


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
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=False), flush=True)
    table = pd.DataFrame(rows).round(3)
    table = table.assign(threads=args.threads, **provenance())
    print(table.to_string(index=False))
    if args.save:
        table.to_csv(args.save, index=False)


if __name__ == "__main__":
    main()
