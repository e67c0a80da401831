"""What students answer, by chapter and check: each with a part of what they are told.

An answer is an expression in the arguments of the printed solution, which may call that by its
name; or edits of the solution's text, ``old → new``, with `` ; `` between them.
"""

RIGHT = ": correct"

FOUNDATIONS = {
    "sgd": {
        "check_best_step": {
            "(1 / max(eigenvalues), 1 - min(eigenvalues) / max(eigenvalues))": "make |1 - ημ|",
            "best_step([eigenvalues[0], eigenvalues[-1]])": "eigenvalues = [5.0, 0.5, 2.0]",
            "best_step(eigenvalues)[0]": "expected 2 values (step size, rate)",
            "(2 / sum(eigenvalues), ...)": "not yet",
        },
        "check_minibatch": {
            " / len(index) → ": "average residual",
            ".mean() / B → .mean() / B**2": "B = 4",
            "(each - each.mean(0)) → each": "sum the variances",
            "return (each → return ... #": "not yet",
        },
        "check_noise_floor": {
            "lr * len(eigenvalues) * sigma**2 / 4": "no approximation",
            ">= 2 → > 9": "infinity if it preserves none",
            'float("inf") → -float("inf")': "expected inf, got -inf",
            "max(eigenvalues) → eigenvalues[-1]": "ZeroDivisionError was raised",
        },
        "check_schedule": {
            "0.1": "a constant step",
            "0.0099": "a constant step",
            "0.005": "a constant step",
            "1 / t**2": "never arrives",
            "5 / t": "outside (0, 4]",
            "0.2 / t": "never arrives",
            "1 / t**0.5": RIGHT,
        },
        "check_condition_number": {
            "1 / (1 - (gaps[-1] / gaps[-2]))": "by ρ²",
            "1 / (1 - (gaps[1] / gaps[0]) ** 0.5)": "measure late",
        },
    },
    "momentum": {
        "check_critical_momentum": {"(1 - a) ** 2": "set the discriminant"},
        "check_to_sgd": {
            "lr * (1 - beta) → lr / (1 - beta)": "a constant gradient",
            "0.1": "expected a dictionary",
            "{'lr': 0.1}": "expected a dictionary",
        },
        "check_nesterov": {"(x - lr * (g + momentum * m), momentum * m + g)": "update m first"},
        "check_polyak_steps": {
            "math.sqrt(kappa) → kappa": "round up",
            "math.ceil( → 1 + math.floor(": "tolerance = 0.25",
        },
        "check_window": {
            "math.ceil( → math.floor(": "round n up",
            "math.ceil( → 1 + math.floor(": "share = 0.75",
        },
    },
    "adaptive": {
        "check_adagrad": {
            "(v.sqrt() + eps) → (v + eps).sqrt()": "outside the root",
            "(x - lr * g / (v.sqrt() + eps), v + g**2)": "add g² to v first",
        },
        "check_step_length": {"lr": "add up to", "lr / (1 - alpha**t)": "add up to"},
        "check_memory": {"1 - 1 / n": "the last n weights", "share ** (1 / n)": "the last n"},
        "check_rescaling": {
            "(plain - scaled).abs() → (plain - scaled)[-1].abs()": "not the last one",
            "lambda x: c * grad(x), x0 → lambda x: grad(c * x), c * x0": "not the point",
            "rescaling_gap(optimizer, grad, c, x0, steps, lr=hyper['lr'])": "pass eps",
            ".abs().max() → .norm(dim=-1).max()": "the largest coordinate",
            ".abs().max() → .abs().sum(-1).max()": "the largest coordinate",
            ".abs().max() → .max()": "the largest coordinate",
        },
        "check_drift": {
            "-predicted_drift(gradients, alpha)": "the minus sign",
            "0.0": "the minus sign",
            "predicted_drift(gradients, 0.9)": "alpha = 0.99",
        },
    },
    "adam": {
        "check_first_step": {
            "lr": "the gradient cancels",
            "lr * (1 - beta1) / (1 - beta2)": "m₀ = v₀ = 0",
        },
        "check_steps_until": {
            "math.log(tolerance) / math.log(beta2)": "round up",
            "math.ceil(1 / (1 - beta2))": "β₂ᵗ",
            "math.ceil( → 1 + math.floor(": "tolerance = 0.25",
        },
        "check_adam": {
            "m / (1 - beta1**t) → m ; v / (1 - beta2**t) → v": "correct both averages",
            "(v_hat.sqrt() + eps) → (v_hat + eps).sqrt()": "not under it",
            "x - lr → x + lr": "step 1",
        },
        "check_adamw": {
            "my_adam(x, g + weight_decay * x, m, v, t, lr, beta1, beta2, eps)": "out of the grad"
        },
        "check_longest_step": {
            "torch.ones(t)": "Cauchy",
            "gradients_of_longest_step(t, beta1, beta2).flip(0)": "Cauchy",
            "torch.ones(3)": "expected 200 gradients",
            "torch.ones(t) / 0": "NaN, infinite",
            "None": "not yet",
            "-7 * gradients_of_longest_step(t, beta1, beta2)": RIGHT,
        },
    },
}

CONVERGENCE = {
    "counterexample": {
        "check_cycle_sum": {
            "sum(gradients)": "index p - i",
            "cycle_sum(gradients[::-1], beta2)": "index p - i",
            "cycle_sum(gradients, beta2) / (1 - beta2 ** len(gradients)) ** 0.5": "the weight",
        },
        "check_threshold": {
            "1 / (1 + C**2)": "halve the interval",
            "companion.theory.cyclic_threshold(0.0, n=3, rare=C)": RIGHT,
        },
        "check_gammas": {
            "gammas(v, alpha)[1:]": "expected 50 values",
            "gammas(v, 1.0)": "add up to",
            "gammas(v**2, alpha)": "add up to",
            "gammas(v, alpha).flip(0)": "t = 1",
        },
        "check_breaking_problem": {
            "5": "goes the right way",
            "200.5": "whole number",
            "10**9": "from 2 to 1,000,000",
            "1000": RIGHT,
            "next(n for n in range(2, 500) if cyclic_drift(beta1, beta2, n) < 0)": RIGHT,
        },
    },
    "repairs": {
        "check_amsgrad": {
            "v = beta2 → w = beta2 ; maximum(u, v) → maximum(v, w) ; ), m, v → ), m, u": "in u",
            "u, lr → u, t, lr ; lr * m → lr / (1 - beta1**t) * m ; u.sqrt() → (u / (1 - beta2**t))"
            ".sqrt()": "correct nothing",
        },
        "check_step_after": {
            "1 / A": "right after the outlier",
            "1 / (math.sqrt(1 - beta2) * A)": "the maximum keep",
            "1.0": "the maximum keep",
        },
        "check_adafom": {
            "(g**2 - v) / t → g**2": "v is the mean",
            "v + (g**2 - v) / t → ((t - 1) * v + g**2) / t": RIGHT,
        },
        "check_closing_time": {
            "math.ceil((1 / tolerance - 1) / gamma)": "which of the",
            "1 / (gamma * tolerance)": "round up",
            "math.ceil( → 1 + math.floor(": "gamma = 0.5",
        },
    },
    "phase_transition": {
        "check_escape_beta1": {
            "0.0": "find where",
            "1 - (2 * n - 1) / (n**2 - 1)": "find where",
            "1 / sum(middle**i for i in range(n)) > (2 * n - 1) / (n**2 - 1) → "
            "companion.theory.cyclic_drift(middle, 0.0, n) < 0": RIGHT,
        },
        "check_first_order_threshold": {
            "1 - 2 / (kappa * n**2)": "do not round",
            "1 - first_order_threshold(n, a, kappa)": "not 1 - β₂",
            "first_order_threshold(n, 1.0, kappa)": "a = 2.0",
            "first_order_threshold(n, a, 1.0)": "kappa = 0.5",
        },
        "check_resting_point": {
            "0.0": "the minimiser is",
            "-resting_point(h, c, beta2, kappa)": "the minimiser is",
            "resting_point(h, c, beta2, 1.0)": "kappa = 0.5",
            "resting_point(h, c, beta2, kappa) * sum(h) / len(h)": "divided by the mean of h",
        },
        "check_expected_gap": {
            "(1 - beta) * expected_gap(c, beta, k)": "no factor 1 - β",
            "0.0": "Σ f has n · k weights",
            "expected_gap(c, beta, 1)": "k = 4",
            "companion.theory.momentum_error(c, beta, k)": RIGHT,  # goes through all sequences
        },
    },
    "networks": {
        "check_longest_step": {
            "(1 - beta1) / math.sqrt((1 - beta2) * abs(1 - beta1**2 / beta2))": "t terms",
            " / (1 - beta1**t) →  ; (1 - beta2**t) → 1.0": "the sum has t terms",
            "1.0": "q is β₁²/β₂",
            "series = sum(q**s for s in range(t)) → series = (1 - q**t) / (1 - q)": RIGHT,
        },
        "check_zeros_until": {
            "K / first → K": "before the first zero",
            "math.ceil → float": "round up",
            "zeros_until(K, beta1, beta2) + 1": "each zero multiplies",
        },
        "check_needed_beta2": {
            "1 - 4 * → 1 - 2 *": "bracket to zero",
            "1 - needed_beta2(g)": "solve for β₂",
        },
        "check_safe_beta2": {
            "max(math → sorted(math ;  for z in zs) →  for z in zs)[1]": "worst seed",  # median
            "break → continue": "first bad value",
            "math.inf if math.isnan(z) else z for z in zs → z for z in zs if z == z": "worst seed",
            "min(worst.values()) → min(z for zs in losses.values() for z in zs if z == z)": "worst",
            "None": "got None",
            "max(losses)": "worst seed",
        },
    },
    "adopt": {
        "check_adopt": {
            "        return x, m, g**2 →         v = g**2\n    else:\n        v = beta2 * v + "
            "(1 - beta2) * g**2 ; x - lr * m, m, beta2 * v + (1 - beta2) * g**2 → "
            "(x if t == 1 else x - lr * m), m, v": "the v of before",
            " / v.sqrt().clamp(min=eps) →  ; lr * m, → lr * m / v.sqrt().clamp(min=eps),": "then",
            "v.sqrt().clamp(min=eps) → (v.sqrt() + eps)": "eps is a floor",
            "t == 1 → False": "the first call only sets v",
        },
        "check_mean_steps": {
            "(1.0, mean_steps(k)[1])": "what is g / |g|?",
            "(2 / k - 1, 1 / k)": "independent",
            "2 / k - 1": "expected 2 values (Adam, ADOPT)",
            "...": "not yet",
        },
        "check_first_right_call": {
            "(k - 1) ** 4": "solve D(c) > 0",
            "first_right_call(k) - 1": "solve D(c) > 0",
            "1.5": "round up",
        },
        "check_resting_point": {
            "-resting_point(g, h, beta2)": "κ is −½",
            "h * resting_point(g, h, beta2)": "is h x",
            "2 * resting_point(g, h, beta2)": "κ is −½",
        },
    },
    "tuning": {
        "check_beta2_floor": {
            "max(0.0, 1 - 4 / samples**2)": "number of batches",
            "max(0.0, 1 - 2 / (samples / batch) ** 2)": "samples = 1000",
            "1 - 4 / (samples / batch) ** 2": "no rate is negative",
        },
        "check_transfer": {
            "(lr * new / old, beta2)": "the root",
            "(lr * math.sqrt(new / old), beta2 ** (old / new))": "the same weight",
            "(lr * math.sqrt(new / old), 1 - (1 - beta2) * new / old)": "the same weight",
            "lr": "expected 2 values (lr, beta2)",
        },
        "check_paired_ratio": {
            "d.std() → d.std(correction=0)": "over k - 1",
            "d.std() → sum(torch.tensor(z).log().var() for z in (a, b)).sqrt()": "of seeds",
            "d.mean() → d.mean().log() ; ).log() → )": "no mean of ratios",
        },
        "check_same_run": {
            "(lr * batch, eps)": "does Adam's step grow",
            "(lr, eps)": "beside them",
            "(lr, eps * batch)": "beside them",
        },
    },
}

GEOMETRY = {
    "norms": {
        "check_weighted": {
            "(w * g) → (g / w) ; dual * w * → dual / w *": "in r the norm",
            "dual * w * → dual *": "step: expected",
            "weighted(g, w)[1]": "expected 2 values (dual norm, step)",
        },
        "check_block_step": {
            "count.sqrt() * length → length ; count.sqrt() / length → 1 / length": "sqrt(d_b)",
            "-block_step(g, labels)": "where does the minus go",
            "-g": "the dual norm times",
        },
        "check_tight": {
            "(x0, 1.0)": "from x0 to -x0",
            "(2 * x0, 0.5)": "which term of the bound",
        },
        "check_advantage": {
            "((corners @ H) * corners).sum(-1).max() → H.abs().sum()": "signs that do not fit",
            "((corners @ H) * corners).sum(-1).max() → H.trace()": "try all signs",
            "1 / advantage(g, H)": "try all signs",
        },
    },
    "rotation": {
        "check_rotated_gradient": {
            "grad(Q @ x)": "chain rule",
            "Q @ grad(Q @ x)": "chain rule",
            "Q @ grad(Q.T @ x)": "chain rule",
            "Q.T @ grad(x)": "chain rule",
        },
        "check_commutes": {
            "True": "a turn by 45 degrees",
            "bool((Q >= 0).all())": "a permutation with signs",
            "(Q.sum(1).abs() - 1).abs().max() < 1e-9": "a reflection",  # keeps one sign vector
            "bool(((Q == 0) | (Q == 1)).all())": "with signs",
            "1e-9 → 0.01": "by 0.001",
            "1e-9 → 0.0": "by 90 degrees, rounded",
            "bool(((Q.abs() - 0.5).abs() - 0.5).abs().max() < 1e-9)": RIGHT,
            "((Q.abs() > 1e-9).sum(1) == 1).all()": RIGHT,
        },
        "check_kronecker": {
            "([0], [1]) → ([0], [0])": "y[a, b, c]",
            "kronecker_product(Qs[::-1], x)": "sizes (2, 2, 2)",
            "torch.einsum('ai,bj,ck,ijk->abc', *Qs, x.view([len(Q) for Q in Qs])).flatten()": RIGHT,
        },
        "check_turned_norm": {
            "1 + kappa": "other two entries",
            "abs(math.sin(2 * theta)) → math.sin(2 * theta)": "kappa = 25",
        },
    },
    "estimators": {
        "check_hvp": {
            "(grad(f)(x + 1e-3 * v) - grad(f)(x - 1e-3 * v)) / 2e-3": "differentiate the gradient",
            "grad(f)(x) * v": "differentiate",
            "v @ hvp(f, x, v)": "expected shape",
            "grad(lambda z: grad(f)(z) @ v)(x)": RIGHT,
        },
        "check_hutchinson": {
            "hutchinson(product, V)[0]": "expected 2 values (estimate, standard error)",
            " / len(terms) ** 0.5 → ": "root of their number",
            "terms.std() → terms.std(correction=0)": "their number less one",
            "terms.mean() → terms.sum()": "the mean of",
        },
        "check_corrected_median": {
            "X.abs().median(1).values.sum() / median_factor(X.shape[1])": "lower middle",
            "medians.sum() / median_factor(n) → medians.sum()": "divide the factor out",
            "X.abs() → X": "absolute",
            "medians.sum() / → medians.sum() *": "divide",
        },
        "check_importance": {
            "importance(product, torch.full_like(p, 1 / len(p)), draws)": "its probability",
            "importance(product, p, draws.unique())": "estimate: expected",
            "importance(product, p, draws)[0]": "expected 2 values (estimate, standard error)",
            "terms.std() → 2 * terms.std()": "root of their number",
        },
    },
    "quadratics": {
        "check_turned": {"1 + math.sin(2 * angle)": "q q^T", "1.0": "q q^T"},
        "check_ones": {
            "(k + d → (d": "the diagonal",
            "2 / math.pi * entry → entry": "both the trace",
        },
        "check_spearman": {
            "torch.corrcoef(torch.stack([x, y]))[0, 1]": "correlate ranks",
            "torch.corrcoef(torch.stack([x.argsort(), y.argsort()]).to(x))[0, 1]": "a place",
            "(smaller + (equal + 1) / 2).to(z) → z.argsort().argsort().to(z)": "the mean rank",
            "(equal + 1) / 2 → 1": "share the mean rank",
            "(equal + 1) / 2 → equal": "share the mean rank",
            "__import__('scipy.stats').stats.spearmanr(x, y).statistic": RIGHT,
        },
        "check_twin": {
            "R.T @ x0 → R @ x0": "at the start?",
            "grad(x @ R.T) @ R → grad(x @ R.T)": "the chain rule",
            "x0": "return grad, x0",
            "R": "return grad, x0",
            "grad": "expected 2 values (grad, x0)",
        },
    },
    "smoothness": {
        "check_rank_one": {
            "u.abs().sum() ** 2 → u.square().sum()": "the first is at most the second",
            "rank_one(u)[:3]": "expected 4 values",
        },
        "check_certificate": {
            "matrix_norm(scaled, 2) → eigvalsh(scaled).max()": "the largest absolute eigenvalue",
            "matrix_norm(scaled, 2) → matrix_norm(H, 2)": "D^(-1/2) H D^(-1/2)",
        },
        "check_tight": {
            "bool((H > 0).all())": "flip together",
            "True": "one pair of another sign",
            "False": "flip together",
            "tight(H) or tight(-H)": RIGHT,  # where the norm overestimates nothing
        },
        "check_lower_bound": {"dim=1, keepdim → dim=0, keepdim": "rows of V"},
    },
    "blockwise": {
        "check_second_moment": {
            "beta2 * v + (1 - beta2) * torch.zeros_like(v).index_add(0, labels, g**2)": "average g²"
        },
        "check_refines": {
            "len(fine.unique()) >= len(coarse.unique())": "meet two coarse ones",
            "refines(coarse, fine)": "meet two coarse ones",
            "not any((fine[:-1] == fine[1:]) & (coarse[:-1] != coarse[1:]))": "meet two coarse",
        },
        "check_constant": {
            "h.abs().sum()": "the number of coordinates",
            ".abs().max() → .max()": "absolute entry",
        },
        "check_moments": {"4 * n": "go by heads", "4 * C": "go by heads"},
    },
    "network_geometry": {
        "check_paired": {
            "(a.mean() - b.mean(), ((a.var() + b.var()) / len(a)) ** 0.5)": "seed by seed",
            " / math.sqrt(len(a)) → ": "over √n",
            "paired(b, a)": "a = [1.0, 5.0, 9.0]",
            ".std() → .std(correction=0)": "n - 1",
            "torch.stack(paired(a, b))": RIGHT,
        },
        "check_rotated_product": {
            "R(product(R.T(v)))": "d = 3",
            "product(R(v))": "twice",
            "R.T(product(v))": "twice",
        },
        "check_spread": {
            "2 * G.square().sum() / G.trace() ** 2": "the identity",
            "G.diagonal().var() / G.diagonal().mean() ** 2": "one gradient",
            "torch.trace(G @ G) → G.diagonal().square().sum()": "one gradient",
            "spread(G).item()": RIGHT,
        },
    },
}

CASES = FOUNDATIONS | CONVERGENCE | GEOMETRY
