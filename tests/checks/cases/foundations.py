"""Answers to the exercises of the part Foundations, as `tests.checks.test_exercises` reads them."""

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
