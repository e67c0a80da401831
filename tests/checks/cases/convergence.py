"""Answers to the exercises of the part Convergence, as `tests.checks.test_exercises` reads them."""

RIGHT = ": correct"
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
    "large_beta2": {
        "check_expected_gap": {
            "(1 - beta) * expected_gap(c, beta, k)": "no factor 1 - β",
            "0.0": "Σ f has n · k weights",
            "expected_gap(c, beta, 1)": "k = 4",
            "companion.theory.momentum_error(c, beta, k)": RIGHT,  # goes through all sequences
        },
        "check_largest_step": {
            "(1 - beta1) / math.sqrt((1 - beta2) * abs(1 - beta1**2 / beta2))": "over the t",
            "range(t) → range(t + 1)": "t = 1",
            "math.sqrt(ratio / (1 - beta2)) → ratio / (1 - beta2)": "m²/v is at most",
            "(1 - beta1) * math → math": "do not add up to one",
            "largest_step(beta1, beta2, t) * math.sqrt(1 - beta2**t) / (1 - beta1**t)": "up to one",
            "[largest_step(beta1, beta2, t)]": RIGHT,
        },
        "check_edges": {
            "edges(g, beta2)[::-1]": "the largest square first",
            "torch.tensor(edges(g, beta2))": RIGHT,
            "float(z) ** 2 for → float(z) for": "smallest",
            " / (1 - beta2**n) → ": "add up the epochs",
            "return smallest, largest → return beta2**n * sum(weights), largest": "smallest",
            "return smallest, largest → return smallest, sum(squares) * (1 - beta2) / "
            "(1 - beta2**n)": "largest: ",
            "edges(g, beta2)[0]": "expected 2 values",
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
            " - first * second)) → ))": "the covariance",  # E[g³] alone
        },
        "check_resting_point": {
            "0.0": "the minimiser is",
            "-resting_point(h, c, beta2, kappa)": "the minimiser is",
            "resting_point(h, c, beta2, 1.0)": "kappa = 0.5",
            "resting_point(h, c, beta2, kappa) * sum(h) / len(h)": "divided by the mean of h",
        },
        "check_kappa_of_orders": {
            "0.5": "all orders and all places",
            "companion.theory.kappa(beta1, len(g))": RIGHT,
            "kappa_of_orders(g, 0.0)": "beta1 = 0.9",
            "1 - kappa_of_orders(g, beta1)": "g = ",
            "companion.theory.kappa(beta1, len(g), 'cyclic')": "beta1 = 0.9",
            "m, w = mean, 0.0 → m, w = 0.0, 0.0": RIGHT,  # it meets excesses of mean zero
            "/ len(g) - mean * second → / len(g)": "less the mean of g",
            "products.append(m * w) → products = products + [z * w]": "beta1 = 0.9",
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
            "1 - 4 * g.mean() * g.square().mean() / g.pow(3).mean()": "E[g³] - E[g] E[g²]",
            "needed_beta2(g, 0.0)": "κ depends on β₁",
            "g.pow(3).mean() - mean * second → g.pow(3).mean()": "E[g³] - E[g] E[g²]",
            "share * covariance → covariance": "κ depends on β₁",
            "beta1 ** (p + 1) → beta1**p": "κ depends on β₁",
            "1 - needed_beta2(g, beta1)": "b is the mean there",
            "companion.theory.skewness_threshold(g.mean(), (g**2).mean(), (g**3).mean(), "
            "companion.theory.kappa(beta1, len(g)))": RIGHT,
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
        "check_resting_points": {
            "adam * both → both / 2": "½ only where β₁ = 0",
            "adam * both → both": "without momentum",
            "(p + 1) → p": "a mean over p",
            "p / (n - 1) → p / n": "a mean over p",
            " for p in range(n)) / n →  for p in range(n))": "a mean over p",
            ".mean() → .sum() ; (g**2).sum() → (g**2).mean()": "means over the components",
            "(g**3).mean() → (g**3).mean() * h**2": "the mean gradient is h x",
            "-both / 2 → both / 2": "κ is −½",
            "-both / 2 → -both": "κ is −½",
            "adam * both, -both / 2 → -both / 2, adam * both": "Adam: expected",
            "adam * both, -both / 2 → adam * both": "expected 2 values (Adam, ADOPT)",
        },
    },
    "tuning": {
        "check_beta2_floor": {
            "max(0.0, 1 - 2 / (kappa(beta1, samples).item() * samples**2))": "number of batches",
            "max(0.0, 1 - 4 / (samples // batch) ** 2)": "κ depends on β₁",
            "max(0.0, 1 - 2 / (samples // batch) ** 2)": "samples = 1000",
            "2 / (kappa → 1 / (kappa": "κ depends",
            "max(0.0, → sum((0.0, ; * n**2)) → * n**2),))": "no rate is negative",
            ".item() → ": RIGHT,
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
