"""Answers to the exercises on generative models, as `tests.checks.test_exercises` reads them."""

RIGHT = ": correct"
PRACTICE_GENERATIVE = {
    "generative": {
        "check_residual_kl": {
            "(shift**2 + math.exp(2 * log_scale) - 1) / 2 - log_scale": "units of the prior",
            "divergence(shift, log_scale + log_std, log_std)": "relative",
            "divergence(-shift, log_scale, log_std)": RIGHT,
        },
        "check_fading_maximum": {
            "max(abs(g) for g in gradients)": "faded by a factor",
            "beta2 * u → u": "faded by a factor",
            "abs(g) → g": "sign does not count",
        },
        "check_first_move": {
            "-lr * (1 - beta1) * g / eps": "the clip, 1",
            "-lr * max(-1, min(1, g / eps))": "average",
            "(1 - beta1) * → 1.0 *": "average",
        },
    },
}
