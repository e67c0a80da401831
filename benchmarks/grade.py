"""Time the grading of many submissions: right ones, each listed wrong answer, endless loops.

``python -m benchmarks.grade 02_adaptive --number 100 --jobs 2`` makes them in a temporary folder,
grades them, and prints the seconds of the clock and of all processes.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from companion.grade import master
from companion.grade.run import run

HEAD = "import math\nimport numpy as np\nimport torch\ntorch.set_default_dtype(torch.float64)\n"
HOSTILE = "while True:\n    pass\n"


def submissions(problems, number: int):
    """Yield so many scripts: every fifth is right, every tenth holds an endless loop."""
    solution = {p.label: p.solution for p in problems.problems if p.tests}
    edits = [(p.label, item["edit"]) for p in problems.problems for item in p.wrong]
    for i in range(number):
        parts = dict(solution)
        if i % 5:
            label, edit = edits[i % len(edits)]
            for old, new in edit.items():
                parts[label] = parts[label].replace(old, new)
        yield "\n# %%\n".join([HEAD, *parts.values(), *([HOSTILE] if i % 10 == 9 else [])])


def main():
    """Make, grade, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set")
    parser.add_argument("--number", type=int, default=100, help="submissions (100)")
    parser.add_argument("--jobs", type=int, default=2, help="side by side (2)")
    arguments = parser.parse_args()
    problems = master.read(master.find(arguments.set))
    with tempfile.TemporaryDirectory() as folder:
        for i, text in enumerate(submissions(problems, arguments.number)):
            path = Path(folder, "in", f"student{i:03d}.py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        start = time.perf_counter()
        results = run(Path(folder, "in"), problems, Path(folder, "out"), jobs=arguments.jobs)
        seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(part.ru_utime + part.ru_stime for part in used)
    right = sum(result["points"] == result["most"] for result in results.values())
    print(f"{len(results)} submissions, {right} right: {seconds:.0f} s, {cpu:.0f} s of CPU")


if __name__ == "__main__":
    main()
