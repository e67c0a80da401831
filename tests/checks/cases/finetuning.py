"""Answers to the exercises on fine-tuning, as `tests.checks.test_exercises` reads them."""

RIGHT = ": correct"
FINETUNING = {
    "finetuning": {
        "check_lora_size": {
            "r * (m + n) → r * m * n": "B has m r entries",
            "r * (m + n) → r * r + m * n": "B has m r entries",
            "2 * 4 * trained → 4 * trained": "m and v for each entry",
            "lora_size(m, n, r)[0]": "expected 2 values (trained, bytes)",
            "list(lora_size(m, n, r))": RIGHT,
        },
        "check_rotary_score": {
            "(s - t) → (t - s)": "turn k by (s - t) theta",
            "(s - t) → (s + t)": "turn k by (s - t) theta",
            "cos * k[0] - sin * k[1] → cos * k[0] + sin * k[1]": "turn k by",
            "rotary_score(q, k, 0, s - t, theta)": RIGHT,
        },
    },
}
