"""What hostile and broken code does to the grader: nothing; and to its other answers: nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from companion.grade.arguments import Given
from companion.grade.session import Limits, Offer, Session

ROOT = Path(__file__).resolve().parents[2]
PLAIN = Offer(preload=())
LIMITS = Limits(seconds=0.5, wall=60.0, cpu=10, memory=300_000_000, processes=16)
GOOD = (99, "def good(x):\n    return 2 * x")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def session(code, limits=LIMITS, **options):
    return Session([(1, code), GOOD], offer=PLAIN, limits=limits, **options)


FUNCTIONS = {
    "an endless loop": ("while True: pass", "slow", "takes longer"),
    "an endless loop that catches all": (
        "while True:\n        try:\n            while True: pass\n"
        "        except BaseException: pass",
        "gone|slow",
        "takes longer",
    ),
    "sys.exit": ("import sys; sys.exit(0)", "raised", "SystemExit"),
    "os._exit": ("import os; os._exit(0)", "gone", "ends the process"),
    "a memory bomb": ("return len(bytearray(10**10))", "raised", "MemoryError"),
    "recursion": ("return f(x)", "raised", "RecursionError"),
    "input": ("return input()", "raised", "EOFError"),
    "suicide": (
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV); time.sleep(9)",
        "gone|slow",
        "",
    ),
    "an error that cannot be printed": (
        "class E(Exception):\n        def __str__(self): raise self\n    raise E",
        "raised",
        "",
    ),
    "an object": ("return object()", "raised", "a object instead of a number"),
    "an object that equals all": (
        "class Equal(float):\n        __eq__ = lambda s, o: True\n"
        "        __float__ = lambda s: 4.0\n    return [Equal(1), {}]",
        "raised",
        "a dict instead of",
    ),
    "a list without an end": ("a = []; a.append(a); return a", "raised", "lists in lists"),
    "too many numbers": ("return [0] * 300_000", "kind", "more numbers"),
    "an answer of many megabytes": (
        "return ['x' * 1000] * 5000",
        "raised",
        "more than four million",
    ),
}


@pytest.mark.parametrize(("body", "problem", "text"), FUNCTIONS.values(), ids=FUNCTIONS)
@linux
def test_a_function_loses_its_own_answer_only(body, problem, text):
    with session(f"import time\ndef f(x):\n    {body}") as s:
        answer = s.ask("f", 1.0)
        assert answer.problem in problem.split("|")
        assert text in answer.text
        assert s.ask("good", 2.0).value == 4.0


CELLS = {
    "a syntax error": "def f(:",
    "an endless loop": "while True: pass",
    "os._exit": "import os; os._exit(1)",
    "sys.exit": "import sys; sys.exit()",
    "input": "input()",
    "a flood": "print('x' * 10**7)\nimport os\nfor i in range(20): os.write(2, b'y' * 10**6)",
    "closed files": "import os; os.close(1); os.close(2)",
    "a deleted builtin": "import builtins; del builtins.len",
    "a null byte": "x = '\0'",
    "a magic": "%run other\n!rm -rf ~\n%%bash",
}


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
@linux
def test_a_cell_fails_alone(code):
    with session(code) as s:
        assert s.ask("good", 2.0).value == 4.0
        assert s.ask("f", 2.0).problem == "missing"


@linux
def test_statements_after_an_error_run():
    with session("1 / 0\nf = lambda x: x + 1") as s:
        assert s.ask("f", 1.0).value == 2.0
        assert "ZeroDivisionError" in s.errors[1]


GIVEN = """
def power(n, scale=1.0):
    return lambda x: scale * x**n
"""


def test_an_argument_can_be_what_the_set_makes_there():
    code = "def at(f, x): return [f(x), [g(2.0) for g in f and [f]]]"
    with Session([(1, code)], offer=Offer(preload=(), given=GIVEN), limits=LIMITS) as s:
        assert s.ask("at", Given("power", (3,), {"scale": 0.5}), 4.0).value == [32.0, [4.0]]
        assert s.ask("at", [Given("power", (1,))], 4.0).problem == "raised"  # a list of them


@linux
def test_a_linked_environment_in_a_hidden_folder_is_found(tmp_path):
    (tmp_path / "venv").symlink_to(sys.prefix)
    code = """
from companion.grade.session import Session
with Session([(1, "def f(x): return x")]) as s:
    print(s.ask("f", 2.0).value)
"""
    python = str(tmp_path / "venv" / "bin" / "python")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "2.0\n", done.stderr


FORGED = """
import os
for number in range(3, 30):
    for line in (b'{"id": 1, "value": 4.0}\\n', b'{"enforced": ["all"]}\\n', b"nonsense\\n"):
        try:
            os.write(number, line)
        except OSError:
            pass
print('{"id": 1, "value": 4.0}')
"""


@linux
def test_forged_lines_are_at_most_wrong_answers():
    with session(FORGED) as s:
        s.ask("good", 5.0)
        assert s.ask("good", 6.0).value == 12.0
        assert "all" not in s.enforced


@linux
def test_what_is_left_running_is_killed(tmp_path):
    mark = f"mark-{os.getpid()}"
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execv('/bin/sh', ['{mark}', '-c', 'sleep 60; true'])\n"
        "    os._exit(0)\n"
        "time.sleep(0.2)"
    )
    with session(code) as s:
        assert s.ask("good", 2.0).value == 4.0
        if "nothing left running" not in s.enforced and s._uid is None:
            pytest.skip("a process that leaves its group cannot be found here")
        assert running(mark)
    time.sleep(0.3)
    assert not running(mark)


def running(mark):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found.append(mark.encode() in file.read())
            except OSError:
                continue
    return any(found)


FORK = """
import os
def f(x):
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""


@linux
def test_a_fork_bomb_is_bounded_and_ends():
    with session(FORK) as s:
        assert s.ask("good", 2.0).value == 4.0
        if "processes" not in s.enforced:
            pytest.skip("the number of processes cannot be limited here")
        assert s.ask("f", 1.0).problem in ("gone", "slow", "raised")
        assert s.ask("good", 2.0).value == 4.0


@linux
def test_files_and_environment_of_the_grader_are_out_of_reach(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "x")
    (tmp_path / "hidden.py").write_text("answer = 1")
    code = (
        "import os, shutil\n"
        f"def read(x): return open({str(tmp_path / 'hidden.py')!r}).read()\n"
        f"def delete(x):\n    shutil.rmtree({str(tmp_path)!r}, ignore_errors=True)\n    return 1\n"
        "def variables(x): return sorted(os.environ)\n"
        "def place(x): return [os.getcwd(), os.environ['HOME']]\n"
        "def big(x):\n    open('big', 'wb').write(b'0' * 10**8)\n    return 1"
    )
    with session(code, hide=(tmp_path,)) as s:
        assert "SECRET_OF_THE_GRADER" not in s.ask("variables", 1).value
        assert len(set(s.ask("place", 1).value)) == 1
        assert s.ask("big", 1).problem in ("raised", "gone")
        if "hidden files" not in s.enforced:
            pytest.skip("files cannot be hidden here")
        assert "No such file" in s.ask("read", 1).text
        s.ask("delete", 1)
    assert (tmp_path / "hidden.py").exists()


@linux
def test_there_is_no_network():
    code = (
        "import socket\ndef f(x):\n"
        "    socket.create_connection(('127.0.0.1', x), timeout=1).close()\n    return 1"
    )
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server, session(code) as s:
        answer = s.ask("f", server.getsockname()[1])
        if "no network" not in s.enforced:
            pytest.skip("the network cannot be cut off here")
        assert answer.problem == "raised"


REFUSED = {
    "a copied class": "from companion.optim import Adam as Mine\ndef f(x): return Mine([x])",
    "a subclass": "from companion.optim import Adam\ndef f(x):\n  class M(Adam): pass\n  return 1",
    "by the module": "import companion.optim\ndef f(x): return companion.optim.Adam([x])",
    "by name": "import importlib as i\ndef f(x): return i.import_module('companion.optim').Adam(x)",
    "called at the top": "from companion import plot\nplot.style()\ndef f(x): return plot.x + 1",
}


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_references_are_refused_where_they_are_used(code):
    with session(code) as s:
        answer = s.ask("f", 1.0)
        assert answer.problem == "raised"
        assert "is not offered in this problem set: write it yourself" in answer.text
        assert s.ask("good", 1.0).value == 2.0


def test_values_come_back_bit_for_bit():
    values = [0.1, float("inf"), -0.0, 5e-324, 10**400]
    with session(f"def f(x): return [{', '.join(map(repr, values[2:]))}]\ndef g(x): return x") as s:
        got = s.ask("f", 0).value
        assert [str(v) for v in got] == ["-0.0", "5e-324", "inf"]
        assert s.ask("g", values[:2]).value == values[:2]
        assert str(s.ask("g", float("nan")).value) == "nan"
