"""Answers to the exercises of the chapter on MNIST, as `tests.checks.test_exercises` reads them."""

RIGHT = ": correct"
PRACTICE_MNIST = {
    "practice_mnist": {
        "check_shrinkage": {
            "range(1, steps + 1) → range(1, steps)": "the first step is t = 1",
            "alpha * decay / math.sqrt(t) → alpha * decay": "one minus its step size",
            "alpha * decay / math.sqrt(t) → decay / math.sqrt(t)": "one minus its step size",
            "1 - shrinkage(alpha, decay, steps)": "multiplies the weights",
            "math.exp(-2 * alpha * decay * math.sqrt(steps))": "one minus its step size",
        },
        "check_half_width": {
            "statistics.stdev → statistics.pstdev": "over k - 1",
            " / math.sqrt(len(d)) → ": "by the root of k",
            "t * statistics → 1.96 * statistics": "times t",
            "x - y → y - x": "the mean of a - b",
            "half_width(a, b, t)[0]": "expected 2 values (mean, half)",
            "list(half_width(a, b, t))": RIGHT,
        },
    },
}
