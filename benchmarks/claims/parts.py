"""Measuring apart from writing: what other machines have measured of a claim, a file a part.

A part is a claim with some of its seeds: all of them, unless the claim has a ``block``. Parts lie
in a folder until those of a claim are complete; then they make its result, and are removed.
"""

import json
from pathlib import Path

from companion.files import replacing

from . import Claim, load_all

FOLDER = Path(__file__).resolve().parent.parent.parent / "runs" / "claims"


def pieces(claims: list[Claim]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the parts of some claims, as the name and the seeds of each."""
    return [
        (claim.id, claim.seeds[start : start + (claim.block or len(claim.seeds))])
        for claim in claims
        for start in range(0, len(claim.seeds) or 1, claim.block or max(1, len(claim.seeds)))
    ]


def measure(piece) -> dict:
    """Measure a part; every process that has this package can."""
    name, seeds = piece
    return load_all()[name].part(seeds)


def path(folder: Path, piece) -> Path:
    """Return the file of a part."""
    name, seeds = piece
    return folder / f"{name}.{'-'.join(map(str, (*seeds[:1], *seeds[1:][-1:]))) or 'all'}.json"


def keep(folder: Path, piece, part: dict) -> None:
    """Write a part, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path(folder, piece), "w") as file:
        json.dump(part, file, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def there(folder: Path, piece) -> dict | None:
    """Return a part that is there, of these very settings and seeds, else None."""
    file = path(folder, piece)
    if not file.exists():
        return None
    part = json.loads(file.read_text(encoding="utf-8"))
    settings = json.loads(json.dumps(load_all()[piece[0]].settings))
    return part if [part["settings"], part["seeds"]] == [settings, list(piece[1])] else None


def merge(folder: Path, claims: list[Claim]) -> tuple[list[str], list[str]]:
    """Write the results whose parts are all there; return their names, and what is missing."""
    written, missing = [], []
    for claim in claims:
        wanted = pieces([claim])
        found = [there(folder, piece) for piece in wanted]
        if all(found):
            claim.write(claim.joined(found))
            written.append(claim.id)
            for piece in wanted:
                path(folder, piece).unlink()
        elif any(found):
            missing += [path(folder, p).stem for p, f in zip(wanted, found, strict=True) if not f]
    return written, missing
