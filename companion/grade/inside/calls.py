"""Call what a student has written, with plain data in and out: by the grader and by a check."""

from . import wire


def given(value, givens):
    """Return an argument as the student's function gets it.

    What is marked becomes a tensor, or what a function of ``givens`` makes: a loss, a generator.
    """
    if isinstance(value, list):
        return [given(part, givens) for part in value]
    if not isinstance(value, dict):
        return value
    if "make" in value:
        keywords = {key: given(part, givens) for key, part in value["keywords"].items()}
        return givens[value["make"]](*given(value["args"], givens), **keywords)
    import torch

    kind = torch.int64 if value.get("kind") == "i" else torch.float64
    return torch.tensor(value["array"], dtype=kind)


def one_step(function, x, g, state, keywords):
    """Call a rule on copies; return what it answers as a list."""
    answer = function(x.clone(), g.clone(), *(s.clone() for s in state), **keywords)
    return list(answer) if isinstance(answer, (tuple, list)) else answer


def drive(function, x, gradients, state, keywords):
    """Return the iterates of a student's rule, or of an object with ``step``, on given gradients.

    A function is called as ``f(x, g, *state, **keywords)`` and returns the new x and state. A class
    is made as ``C(x, **keywords)``; its ``step(g)`` returns the new x, or changes ``self.x``.
    """
    path = []
    if isinstance(function, type):
        made = function(x.clone(), **keywords)
        for g in gradients:
            answer = made.step(g.clone())
            path.append(wire.plain(made.x if answer is None else answer))
        return path
    import torch

    for g in gradients:
        answer = one_step(function, x, g, state, keywords)
        if answer is None or answer is ...:
            return None
        if not isinstance(answer, list) or len(answer) != 1 + len(state):
            raise wire.NotPlain(f"an answer that does not have {1 + len(state)} parts")
        if any(part is None or part is ... for part in answer):
            return None
        path.append(wire.plain(answer[0]))
        x, *state = (torch.as_tensor(wire.plain(part), dtype=torch.float64) for part in answer)
    return path
