"""Draw the road map of the landing page, wide for a desk and tall for a phone, from one list.

``python -m tools.roadmap`` writes book/_static/roadmap-wide.svg and roadmap-tall.svg.
"""

from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"

# An idea, what it does, and how it fails: the next idea is the answer.
ROAD = [
    ("SGD", "step along the gradient", ["ravines make", "it zigzag"]),
    ("Momentum", "average the steps", ["one rate for", "unlike scales"]),
    ("AdaGrad", "a rate per coordinate", ["its sum", "never forgets"]),
    ("RMSprop", "a sum that forgets", ["biased start,", "jumpy steps"]),
    ("Adam", "momentum, unbiased", ["diverges on a", "3-line problem"]),
    ("AMSGrad · ADOPT", "convergence, repaired", ["is it better", "in practice?"]),
    ("In practice", "seven experiments", ["why does", "Adam work?"]),
    ("ℓ∞ geometry", "the norm Adam sees", []),
]
BOX_WIDTH, BOX_HEIGHT = 204, 64
IDEA, FAILURE, PAPER = "#0b5c8f", "#a3480a", "#ffffff"


def box(x: int, y: int, title: str, text: str) -> list[str]:
    middle, bold = x + BOX_WIDTH // 2, 'font-size="19" font-weight="700"'
    return [
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="10" '
        f'fill="#e8f2f9" stroke="{IDEA}" stroke-width="2"/>',
        f'<text x="{middle}" y="{y + 28}" {bold} fill="{IDEA}">{title}</text>',
        f'<text x="{middle}" y="{y + 51}" font-size="15" fill="#222">{text}</text>',
    ]


def arrow(points: str) -> str:
    return (
        f'<path d="{points}" fill="none" stroke="{FAILURE}" stroke-width="2" '
        'marker-end="url(#head)"/>'
    )


def words(x: int, y: int, lines: list[str], anchor: str = "middle") -> list[str]:
    return [
        f'<text x="{x}" y="{y + 18 * i}" font-size="15" fill="{FAILURE}" '
        f'text-anchor="{anchor}">{line}</text>'
        for i, line in enumerate(lines)
    ]


def picture(width: int, height: int, parts: list[str]) -> str:
    body = "\n  ".join(parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" text-anchor="middle">
  <title>Road map: each idea answers the failure of the one before it</title>
  <defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{FAILURE}"/></marker></defs>
  <rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>
  {body}
</svg>
"""


def wide() -> str:
    """Three rows, read like text, the failure under each arrow."""
    parts, row_height, gap, left = [], 128, 140, 12
    for i, (title, text, failure) in enumerate(ROAD):
        row, column = divmod(i, 3)
        x, y = left + column * (BOX_WIDTH + gap), 20 + row * row_height
        parts += box(x, y, title, text)
        centre, end = y + BOX_HEIGHT // 2, x + BOX_WIDTH
        if failure and column < 2:
            parts.append(arrow(f"M{end + 4} {centre} H{end + gap - 5}"))
            parts += words(end + gap // 2, centre - 27, failure[:1])
            parts += words(end + gap // 2, centre - 9, failure[1:])
        elif failure:
            turn = y + BOX_HEIGHT + 43
            start, down = x + BOX_WIDTH // 2, left + BOX_WIDTH // 2
            parts.append(
                arrow(f"M{start} {y + BOX_HEIGHT + 4} V{turn} H{down} V{y + row_height - 5}")
            )
            parts += words((start + down) // 2, turn - 8, [" ".join(failure)])
    return picture(2 * (BOX_WIDTH + gap) + BOX_WIDTH + 2 * left, 2 * row_height + 100, parts)


def tall() -> str:
    """One column, the failure beside each arrow."""
    parts, step = [], 118
    for i, (title, text, failure) in enumerate(ROAD):
        x, y = 38, 16 + i * step
        parts += box(x, y, title, text)
        if failure:
            parts.append(arrow(f"M{x + 30} {y + BOX_HEIGHT + 4} V{y + step - 5}"))
            parts += words(x + 46, y + BOX_HEIGHT + 26, failure, "start")
    return picture(280, (len(ROAD) - 1) * step + BOX_HEIGHT + 32, parts)


if __name__ == "__main__":
    for name, draw in (("roadmap-wide.svg", wide), ("roadmap-tall.svg", tall)):
        (STATIC / name).write_text(draw(), encoding="utf-8", newline="\n")
