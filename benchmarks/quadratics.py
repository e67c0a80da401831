"""Tune Adam and AdaSGD on rotated quadratics; save companion/results/quadratics.csv.

The loss is x'ᵀ Rᵀ diag(λ) R x' / 2 with R = exp(tA), where A is `companion.rotation.skew`. Every
draw has its own A and its own starts x ~ N(0, I), and begins at x' = Rᵀx: at the same loss for
every t. Each optimizer gets the constant step size, out of 39, with the smallest mean loss over the
starts after 100 steps, for each draw, t and pair of decay rates on its own. A row is the mean over
starts at that step size, with norms of the Hessian. AdaSGD does not see the rotation; it runs at
the smallest and at the largest t only.

About ten minutes on one core: ``python -m benchmarks.quadratics``.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from benchmarks.provenance import provenance
from companion.hessian import Dense, smoothness_bracket
from companion.optim import Adam, AdaSGD
from companion.progress import bar
from companion.rotation import skew
from companion.simulate import trajectory

RESULT = Path(__file__).parent.parent / "companion" / "results" / "quadratics.csv"
BETAS = ((0.0, 0.0), (0.9, 0.99), (0.9, 0.999))
TIMES = (0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1)
LRS = torch.logspace(-3.2, 0.6, 39, dtype=torch.float64).view(-1, 1, 1)


def power(p, d):
    """Return the eigenvalues 1, 2⁻ᵖ, …, d⁻ᵖ."""
    return torch.arange(1, d + 1, dtype=torch.float64) ** -p


def paper(d=1000):
    """Return ten ones and then 1, 1/2², 1/3², …: the spectrum of Xie, Mohamadi and Li, §4.1."""
    return torch.cat([torch.ones(10, dtype=torch.float64), power(2, d - 10)])


def two_level(d, low=0.01):
    """Return one eigenvalue in ten equal to 1 and the others equal to ``low``."""
    return torch.where(torch.arange(d) < d // 10, 1.0, low).double()


# Spectrum, decay rates, rotations, draws of the rotation. A rotation angle grows like t √d.
RUNS = {
    "paper": (paper(1000), BETAS, TIMES, 10),
    "1/k²": (power(2, 300), BETAS[:2], (0.0, 0.005, 0.02, 0.1), 5),
    "1/k": (power(1, 300), BETAS[:2], (0.0, 0.005, 0.02, 0.1), 5),
    "1/√k": (power(0.5, 300), BETAS[:2], (0.0, 0.005, 0.02, 0.1), 5),
    "two levels": (two_level(300), BETAS[:2], (0.0, 0.005, 0.02, 0.1), 5),
    "equal": (torch.ones(300, dtype=torch.float64), BETAS[:2], (0.0, 0.1), 5),
}


def hessian(eigenvalues, R):
    """Return Rᵀ diag(λ) R for a matrix R: the Hessian of the rotated loss."""
    return R.T @ (eigenvalues.unsqueeze(1) * R)


def tuned(optimizer, H, x0, betas, steps=100, lrs=LRS):
    """Return the step size with the smallest mean loss over starts, and the losses of all starts.

    Parameters
    ----------
    H : Tensor
        Hessian, of shape (d, d).
    x0 : Tensor
        Starts, of shape (starts, d).
    lrs : Tensor
        Step sizes, of shape (n, 1, 1).
    """
    # Without averages a gradient of zero would be divided by zero; there is none here.
    options = {"betas": betas, "eps": 0.0 if betas[1] == 0 else 1e-8}
    x = trajectory(optimizer, lambda x: x @ H, x0, steps, every=steps, lr=lrs, **options)[-1]
    loss = ((x @ H) * x).sum(-1) / 2  # (n, starts)
    best = loss.mean(-1).nan_to_num(torch.inf).argmin()
    return lrs[best].item(), loss[best]


def measure(runs=None, starts=4, draws=None, progress=False):
    """Return a table: a row for each spectrum, draw, rotation, decay rates and optimizer."""
    runs = RUNS if runs is None else runs
    rows = []
    with bar(sum(len(times) * n for _, _, times, n in runs.values()), progress) as shown:
        for name, (eigenvalues, betas, times, n) in runs.items():
            for draw in range(n if draws is None else min(n, draws)):
                d, A = len(eigenvalues), skew(len(eigenvalues), seed=draw)
                generator = torch.Generator().manual_seed(1000 + draw)
                x = torch.randn(starts, d, dtype=torch.float64, generator=generator)
                for t in times:
                    R = torch.linalg.matrix_exp(t * A)
                    H = hessian(eigenvalues, R)
                    common = {"spectrum": name, "d": d, "t": t, "draw": draw, "starts": starts}
                    norm = {"norm11_d": H.abs().sum().item() / d}
                    norm["lambda_d"] = (
                        smoothness_bracket(Dense(H), rtol=0, products=5100).lower.item() / d
                    )
                    for pair in betas:
                        ends = t in (times[0], times[-1])
                        for optimizer in (Adam, AdaSGD) if ends else (Adam,):
                            lr, loss = tuned(optimizer, H, x @ R, pair)
                            rows.append(
                                common
                                | {"optimizer": optimizer.__name__}
                                | {"beta1": pair[0], "beta2": pair[1], "lr": lr}
                                | {"loss": loss.mean().item()}
                                | norm
                            )
                    shown.update()
    return pd.DataFrame(rows)


def main():
    """Run everything and write the table."""
    argparse.ArgumentParser(description="Tune Adam and AdaSGD on rotated quadratics.").parse_args()
    torch.set_num_threads(1)
    frame = measure(progress=True).assign(**provenance())
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(RESULT, index=False, float_format="%.6g")
    print(f"wrote {RESULT.name}: {len(frame)} rows")


if __name__ == "__main__":
    main()
