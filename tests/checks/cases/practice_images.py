"""Answers to the exercises of the chapter on images, read by `tests.checks.test_exercises`."""

RIGHT = ": correct"
PRACTICE_IMAGES = {
    "images": {
        "check_first_weight": {
            "first_weight(t, beta2)[::-1]": "only Adam starts from zero",
            "first_weight(t, beta2)[1]": "expected 2 values",
            "((1 - beta2) * beta2 ** (t - 1), beta2 ** (t - 1))": "divides",
            "(first_weight(t, beta2)[0], beta2**t)": "unroll v",
            "list(first_weight(t, beta2))": RIGHT,
        },
        "check_block_parameters": {
            "12 * dim**2 + 13 * dim + heads * (2 * window - 1)": "relative position",
            "12 * dim**2 + 9 * dim + heads * (2 * window - 1) ** 2": "two norms",
            "12 * dim**2 + heads * (2 * window - 1) ** 2": "biases",
            "float(block_parameters(dim, heads, window))": RIGHT,
        },
    }
}
