"""Measure the claims of the source papers, and write the page that lists them.

On one machine ``python -m benchmarks.claims run`` measures one claim after the other. On many,
``run --on ray`` makes each claim a task, or some where it declares a block of seeds; this process
alone writes. Without Ray, each job of a Slurm array measures its share, and a last one writes:

    sbatch --array=0-7 --wait --wrap 'python -m benchmarks.claims run --force \\
        --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT'
    python -m benchmarks.claims merge

What was measured before an interruption is not measured again.
"""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from benchmarks import spread
from benchmarks.provenance import provenance
from companion.progress import bar

from . import NOT, PARTLY, REPRODUCED, UNTRIED, load_all, parts

PAGE = Path(__file__).resolve().parent.parent.parent / "book" / "appendix" / "claims.md"
SINCE = "The code has changed since:"
MARK = {REPRODUCED: "✔", PARTLY: "◐", NOT: "✘", UNTRIED: "–"}
SOURCES = {  # in the order of the book
    "kingma2015": "Adam",
    "reddi2018": "On the convergence of Adam and beyond",
    "zhang2022": "Adam can converge without any modification",
    "taniguchi2024": "ADOPT",
    "xie2024": "Adam exploits ℓ∞-geometry",
    "marek2025": "Small batch size training for language models",
    "maes2024": "Understanding Adam requires better rotation dependent assumptions",
}
HEAD = """\
<!-- Written by python -m benchmarks.claims page: change the claims or their results instead. -->

# Claims and verdicts

Every claim of the source papers that this book touches, how it was tested here, and what came out.
A failed reproduction is a result, and stands here like any other.

The rule of each verdict stands beside its experiment, and a program applies it to the numbers on
disk: nobody judges by eye.
Rules are written before the run that they judge; where trial runs had been seen by then, the entry
says so.
*Reproduced* means that every condition of the rule holds, *partly* that more than half do, and
*not reproduced* that half or fewer do, unless the rule says otherwise.
Comparisons follow one rule, unless the entry says otherwise: paired over seeds, by Student's $t$ at
a two-sided level of 5 %.
A difference whose 95 % interval holds zero, or a ratio whose interval holds one, is *not told
apart*, and a condition that needs it to lie on one side does not hold.
Step sizes are tuned on other seeds than those reported, unless the entry says otherwise.
Where a size differs from the paper's, the settings say so.
Each entry opens to the experiment, the rule, the measured values and where they come from.
Values in brackets are that interval, unless the entry names another range.
An entry says so where the code behind its result has changed since the run, comments and docstrings
apart.

`python -m benchmarks.claims run --force` measures everything again;
`python -m benchmarks.claims run ID` one claim.
"""


def entry(claim) -> tuple[str, list[str]]:
    """Return the verdict and the lines of one claim."""
    title = f"{claim.where}: {claim.says}"
    if claim.untried:
        return UNTRIED, [
            f"````{{dropdown}} {MARK[UNTRIED]} **Not tried.** {title}",
            f":name: claim-{claim.id}",
            "",
            f"**Why.** {claim.untried}",
            "````",
            "",
        ]
    result = claim.load()
    verdict = claim.judge(result)
    settings = ", ".join(f"{name} = {_value(value)}" for name, value in claim.settings.items())
    lines = [
        f"````{{dropdown}} {MARK[verdict]} **{verdict.capitalize()}.** {title}",
        f":name: claim-{claim.id}",
        "",
        f"**Experiment.** {' '.join(claim.measure.__doc__.split())}",
        f"See {{doc}}`../{claim.chapter}`.",
        "",
        f"**Rule.** {claim.rule}",
        "",
        "| measured | value |",
        "|---|---|",
        *(f"| {name} | {_measured(value)} |" for name, value in claim.measured(result).items()),
        "",
        f"**Settings.** {settings or 'none'}; {_seeds(result['seeds'])}.",
        "",
        f"**Where from.** {_origin(result, claim.changed(result))}",
        "````",
        "",
    ]
    return verdict, lines


def page() -> str:
    """Return the whole page."""
    claims = load_all().values()
    unknown = {claim.source for claim in claims} - set(SOURCES)
    if unknown:
        raise ValueError(f"name these sources in SOURCES: {sorted(unknown)}")
    counts, parts = {}, []
    for source, name in SOURCES.items():
        found = sorted((c for c in claims if c.source == source), key=lambda c: c.chapter)
        if not found:
            continue
        entries = [entry(claim) for claim in found]
        counts[source] = Counter(verdict for verdict, _ in entries)
        parts += [f"## {name}", "", f"{{cite:t}}`{source}`", ""]
        parts += [line for _, lines in entries for line in lines]
    table = [f"| source | {' | '.join(f'{MARK[v]} {v}' for v in MARK)} |", "|---" * 5 + "|"]
    table += [
        f"| {{cite:t}}`{source}` | {' | '.join(str(count[v]) for v in MARK)} |"
        for source, count in counts.items()
    ]
    return "\n".join([HEAD, *table, "", *parts]).rstrip() + "\n"


def _origin(result, changed) -> str:
    """Return where a result comes from, in words."""
    made = "Made before the commit was recorded"
    if "commit" in result:
        made = f"Version {result['version']} at commit {result['commit']}"
    words = f"{made}: {result['date']}, {result['device']}, {result['seconds']:g} s; Python "
    words += f"{result['python']}, torch {result['torch']}, {result['machine']}."
    if changed:
        files = ", ".join(f"`{name}`" for name in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        words += f" {SINCE} {files}{more}."
    return words


def same(one: str, other: str) -> bool:
    """Return whether two pages agree, apart from what they say of code that has changed since."""
    return re.sub(f" {SINCE}.*", "", one) == re.sub(f" {SINCE}.*", "", other)


def _value(value) -> str:
    if isinstance(value, list | tuple):
        inside = (f"({_value(v)})" if isinstance(v, list | tuple) else _value(v) for v in value)
        return ", ".join(inside)
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def _measured(value) -> str:
    if isinstance(value, list):
        return f"{value[0]:.4g} [{value[1]:.4g}, {value[2]:.4g}]"
    return f"{value:.4g}"


def _seeds(seeds) -> str:
    if not seeds:
        return "nothing is drawn"
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def parsed() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the claims, and which have a result")
    run = commands.add_parser("run", help="measure claims; one that has a result is left alone")
    merge = commands.add_parser("merge", help="write the results that the shards have measured")
    for command in (run, merge):
        command.add_argument("ids", nargs="*", metavar="ID", help="these alone (default: all)")
        command.add_argument(
            "--parts", type=Path, default=parts.FOLDER, help="folder of what waits (runs/claims)"
        )
    run.add_argument("--force", action="store_true", help="measure anew what has a result")
    spread.add_arguments(run)
    show = commands.add_parser("page", help="write the page of claims")
    show.add_argument("--check", action="store_true", help="write nothing; fail if it is stale")
    return parser


def measure(todo, options) -> None:
    """Measure claims: here one after the other, on Ray, or as one share of them."""
    if options.on == "here" and not options.shard:
        with bar(len(todo), unit="claim") as progress:
            for claim in todo:
                progress.write(f"{claim.id}: {claim.judge(claim.run())}")
                progress.update()
        return
    i, n = options.shard or (0, 1)
    mine = parts.pieces(todo)[i::n]
    left = [piece for piece in mine if parts.there(options.parts, piece) is None]
    if options.on == "ray":
        done = spread.on_ray(parts.measure, left, gpus=options.gpus, address=options.address)
    else:
        done = ((piece, parts.measure(piece)) for piece in left)
    with bar(len(mine), unit="part", initial=len(mine) - len(left)) as progress:
        for piece, part in done:
            if options.on == "ray":  # what was sent has no git beside it
                part |= {name: provenance()[name] for name in ("version", "commit")}
            parts.keep(options.parts, piece, part)
            progress.update()
    if options.on == "ray":
        collect(todo, options.parts)


def collect(claims, folder) -> int:
    """Write what is complete, and say what is missing."""
    written, missing = parts.merge(folder, claims)
    for name in written:
        print(f"{name}: {load_all()[name].judge(load_all()[name].load())}")
    for name in missing:
        print(f"{name}: not there yet")
    return int(bool(missing))


def main() -> int:
    """Run the command line; return the exit status."""
    parser = parsed()
    arguments = parser.parse_args()
    claims = load_all()
    ids = getattr(arguments, "ids", ())
    if missing := set(ids) - set(claims):
        parser.error(f"no such claims: {', '.join(sorted(missing))}; see list")
    if arguments.command == "list":
        for claim in claims.values():
            state = "not tried" if claim.untried else "done" if claim.path.exists() else "to do"
            print(f"{state:10} {claim.id:40} {claim.source}, {claim.where}")
    elif arguments.command == "run":
        if arguments.on == "ray" and arguments.shard:
            parser.error("--on ray places the tasks itself: give it no --shard")
        again = arguments.force or bool(ids)
        todo = [claims[i] for i in ids or claims]
        measure([c for c in todo if not c.untried and (again or not c.path.exists())], arguments)
    elif arguments.command == "merge":
        return collect([c for c in claims.values() if not ids or c.id in ids], arguments.parts)
    elif arguments.check:
        if not PAGE.exists() or not same(PAGE.read_text(encoding="utf-8"), page()):
            print(f"{PAGE.name} is stale: python -m benchmarks.claims page", file=sys.stderr)
            return 1
    else:
        PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
