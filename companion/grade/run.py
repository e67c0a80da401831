"""Grade a folder: each submission once, side by side, and on from where a killed run was."""

import json
import secrets
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from companion.files import replacing
from companion.grade import tables
from companion.grade.feedback import page
from companion.grade.grading import graded, identity
from companion.grade.reading import notebook
from companion.grade.submission import find
from companion.grade.system import refuse_danger
from companion.interrupt import Interrupt
from companion.progress import bar


def run(folder, problems, out, *, jobs: int = 1, secret: str = "", limits=None) -> dict:
    """Grade all submissions of a folder; return the results by key.

    Parameters
    ----------
    folder : path
        Submissions: files, or a folder for each student.
    problems : companion.grade.master.ProblemSet
    out : path
        Gets ``results/*.json``, ``feedback/*.html``, ``scores.csv``, ``scores.json`` and
        ``marks.csv``, in which a person fills in the points of proofs and reports; they stand
        side by side in ``reading/*.ipynb``.
    jobs : int
        Submissions side by side.
    secret : str
        What random numbers are drawn from. If it is empty, one is made and kept in ``out``, so that
        all students of a run, and a run that goes on, have the same.
    limits : companion.grade.session.Limits, optional

    Notes
    -----
    A submission whose result is there already is not graded again, unless the submission, the set
    or the secret has changed. Ctrl-C finishes those in hand.
    """
    refuse_danger()
    folder, out = Path(folder), Path(out)
    secret = secret or kept_secret(out)
    submissions = {s.key: s for s in find(folder, problems.names)}
    if not submissions:
        raise FileNotFoundError(f"{folder} holds no notebook and no .py file")
    results = {}
    for key, submission in submissions.items():
        known = stored(out / "results" / f"{key}.json")
        if known and known["identity"] == identity(submission, problems, secret):
            results[key] = known
    hide = (folder.resolve(), out.resolve(), problems.path.resolve().parent)
    todo = [s for key, s in submissions.items() if key not in results]

    def work(submission):
        return submission.key, graded(submission, problems, secret, limits, hide)

    with (
        bar(len(submissions), unit="submission", initial=len(results)) as progress,
        Interrupt() as interrupt,
        ThreadPoolExecutor(jobs) as pool,
    ):
        waiting = [pool.submit(work, submission) for submission in todo]
        for done in as_completed(waiting):
            if done.cancelled():
                continue
            key, results[key] = done.result()
            save(out / "results" / f"{key}.json", results[key])
            progress.update()
            if interrupt.asked:
                for one in waiting:
                    one.cancel()
    results = {key: results[key] for key in submissions if key in results}
    report(results, problems, out)
    for problem in problems.problems:
        if problem.rubric:
            text = notebook(problem, submissions.values(), problems.text)
            save(out / "reading" / f"{problem.label}.ipynb", text)
    return results


def report(results: dict, problems, out) -> None:
    """Write the tables and the pages of all results."""
    out = Path(out)
    if not results:
        return
    if any(problem.rubric for problem in problems.problems):
        tables.ask_for_marks(out / "marks.csv", results)
        tables.add_marks(out / "marks.csv", results)
    tables.save(out / "scores.csv", tables.scores(results))
    save(out / "scores.json", results)
    for key, result in results.items():
        with replacing(out / "feedback" / f"{key}.html", "w") as file:
            file.write(page(result, problems.title))


def save(path, data) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path, "w") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)


def stored(path) -> dict:
    """Return a stored result; {} where there is none that can be read."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "identity" in found else {}


def kept_secret(out) -> str:
    """Return the secret of a folder of results; make one if it has none."""
    path = Path(out) / "secret.txt"
    if not path.exists():
        with replacing(path, "w") as file:
            file.write(secrets.token_hex(16))
        path.chmod(0o600)
    return path.read_text(encoding="utf-8").strip()
