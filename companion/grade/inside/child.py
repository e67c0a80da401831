"""The process that a student's code runs in, driven by lines of JSON.

The first line holds the limits and the cells; every other one a call. Requests come on what was
standard input and answers go to what was standard output, under file numbers that the student's
code is not told; whoever finds them can only send wrong answers by another way.
"""

import os

from . import calls, cells, confine, refuse, wire


def ends():
    """Take the two ends of the conversation away from standard input and output."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)  # what is printed goes to standard error, where it is thrown away
    for number in (requests, answers):
        os.set_inheritable(number, False)
    return os.fdopen(requests, "rb"), answers


def answer(names: dict, request: dict, seconds: float, givens: dict) -> dict:
    """Return the answer to one request; ``givens`` makes what plain data cannot say."""
    function = names.get(request["name"])
    if function is None:
        return {"missing": True}
    try:
        with cells.alarm(seconds):
            args = calls.given(request["args"], givens)
            keywords = {k: calls.given(part, givens) for k, part in request["keywords"].items()}
            if "gradients" in request:
                gradients, state = (calls.given(request[k], givens) for k in ("gradients", "state"))
                value = calls.drive(function, args[0], gradients, state, keywords)
            else:
                value = wire.plain(function(*args, **keywords))
        return {"value": value}
    except cells.TooLong:
        return {"slow": seconds}
    except wire.NotPlain as reason:
        return {"error": str(reason)}
    except BaseException as error:
        return {"error": cells.describe(error)}


def main():
    """Confine this process, run the cells, and answer calls until there are no more."""
    requests, answers = ends()
    send = os.write
    exit_at_once = os._exit
    task = wire.read(requests.readline())
    enforced = confine.enter(task["limits"])
    for name in task["preload"]:
        __import__(name)
    refuse.install(task["refused"])
    confine.limit_memory(task["limits"]["memory"])

    def say(message: dict) -> None:
        data = wire.write(message)
        if len(data) > wire.LONGEST:
            text = "an answer of more than four million characters"
            data = wire.write({"id": message.get("id"), "error": text})
        while data:
            data = data[send(answers, data) :]

    say({"enforced": enforced})
    givens = {}
    exec(task["given"], givens)
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    cells.run(task["cells"], names, task["seconds"], lambda n, e: say({"cell": n, "error": e}))
    say({"ready": True})
    for line in requests:
        request = wire.read(line)
        say({"id": request["id"], **answer(names, request, task["seconds"], givens)})
    exit_at_once(0)  # whatever the student's code has registered for the end
