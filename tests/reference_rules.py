"""The papers' algorithms in plain NumPy: what every engine is compared with.

A rule takes one parameter x, the gradient g that it sees, a dictionary s to keep its state in, the
number t of the parameter's own step, and its options; it returns the next x. Its signature states
the defaults. `follow` runs it. Float64, no torch, no shortcuts.
"""

import numpy as np

DECAY = {"weight_decay": 0.0, "decoupled": False, "maximize": False}


def follow(name, xs, rows, options):
    """Step given gradients by the rule of this name; return the path of each parameter.

    ``rows`` holds a gradient a parameter for every call; ``None`` is a call in which the parameter
    has none: nothing happens to it. ``options`` holds the options of every call.
    """
    xs, first_lr = list(xs), options[0]["lr"]
    states, steps, paths = [{} for _ in xs], [0] * len(xs), [[] for _ in xs]
    for row, now in zip(rows, options, strict=True):
        now = {**DECAY, **OWN_DECAY.get(name, {}), **now}
        decay = {key: now.pop(key) for key in DECAY}
        present = [i for i, g in enumerate(row) if g is not None]
        gradients = {i: seen(xs[i], row[i], **decay) for i in present}
        squares = np.concatenate([g.flatten() ** 2 for g in gradients.values()])
        for i, g in gradients.items():
            steps[i] += 1
            states[i] |= {"mean over the group": squares.mean(), "first lr": first_lr}
            waits = name == "ADOPT" and steps[i] == 1  # its first call moves nothing
            if decay["decoupled"] and not waits:
                xs[i] = xs[i] - now["lr"] * decay["weight_decay"] * xs[i]
            xs[i] = RULES[name](xs[i], g, states[i], steps[i], **now)
        for path, x in zip(paths, xs, strict=True):
            path.append(x)
    return paths


def seen(x, g, weight_decay, decoupled, maximize):
    """Return the gradient that the rule sees."""
    g = -g if maximize else g
    return g if decoupled else g + weight_decay * x


def average(s, name, z, beta):
    """Move the average of this name, which starts at zero, towards z; return it."""
    s[name] = beta * s.get(name, 0.0) + (1 - beta) * z
    return s[name]


def sgd(x, g, s, t, lr=1e-3, momentum=0.0, dampening=0.0, nesterov=False):
    """torch.optim's form: the buffer is a sum and starts at the first gradient."""
    s["m"] = momentum * s["m"] + (1 - dampening) * g if t > 1 else g
    return x - lr * (g + momentum * s["m"] if nesterov else s["m"])


def adagrad(x, g, s, t, lr=1e-2, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    """Duchi, Hazan, Singer (2011), with the decay of torch.optim."""
    s["v"] = s.get("v", initial_accumulator_value) + g**2
    return x - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["v"]) + eps)


def rmsprop(x, g, s, t, lr=1e-2, alpha=0.99, eps=1e-8, momentum=0.0, centered=False):
    """Hinton (2012), in torch.optim's form."""
    v = average(s, "v", g**2, alpha)
    mean = average(s, "mean", g, alpha)
    step = g / (np.sqrt(v - mean**2 if centered else v) + eps)
    s["b"] = momentum * s.get("b", 0.0) + step
    return x - lr * s["b"]


def adam(x, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, square=None):
    """Kingma and Ba (2015), Algorithm 1; ``square`` stands for g² where entries share it."""
    m = average(s, "m", g, betas[0]) / (1 - betas[0] ** t)
    v = average(s, "v", g**2 if square is None else square, betas[1]) / (1 - betas[1] ** t)
    return x - lr * m / (np.sqrt(v) + eps)


def adamax(x, g, s, t, lr=2e-3, betas=(0.9, 0.999), eps=1e-8):
    """Kingma and Ba (2015), Algorithm 2, with the floor of torch.optim under a gradient."""
    m = average(s, "m", g, betas[0]) / (1 - betas[0] ** t)
    s["u"] = np.maximum(betas[1] * s.get("u", 0.0), np.abs(g) + eps)
    return x - lr * m / s["u"]


def amsgrad(x, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, variant="torch"):
    """Reddi, Kale, Kumar (2018), Algorithm 2 ("paper"), and two readings of it."""
    m, v = average(s, "m", g, betas[0]), average(s, "v", g**2, betas[1])
    first, second = 1 - betas[0] ** t, 1 - betas[1] ** t
    s["max"] = np.maximum(s.get("max", 0.0), v / second if variant == "optax" else v)
    if variant == "paper":
        return x - lr * m / (np.sqrt(s["max"]) + eps)
    root = np.sqrt(s["max"] / second if variant == "torch" else s["max"])
    return x - lr * (m / first) / (root + eps)


def adafom(x, g, s, t, lr=1e-3, beta1=0.9, eps=1e-8):
    """Chen, Liu, Sun, Hong (2019): v is the mean of all squared gradients so far."""
    m = average(s, "m", g, beta1)
    s["squares"] = [*s.get("squares", []), g**2]
    return x - lr * m / (np.sqrt(np.mean(s["squares"], axis=0)) + eps)


def adabound(x, g, s, t, lr=1e-3, betas=(0.9, 0.999), final_lr=0.1, gamma=1e-3, eps=1e-8):
    """Luo et al. (2019): the step size of Adam between two bounds, which follow the schedule."""
    m, v = average(s, "m", g, betas[0]), average(s, "v", g**2, betas[1])
    target = final_lr * lr / s["first lr"]
    lower, upper = target - target / (gamma * t + 1), target + target / (gamma * t)
    step = lr * np.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t) / (np.sqrt(v) + eps)
    return x - np.minimum(np.maximum(step, lower), upper) * m


def adashift(x, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-10, n=10, phi="max"):
    """Zhou et al. (2019), Algorithm 3: v reads g_{t-n}, m the n gradients after it."""
    past = s["past"] = [*s.get("past", []), g]
    if t <= n:
        return x
    spatial = {"max": np.max, "mean": np.mean, None: lambda z: z}[phi]
    v = average(s, "v", spatial(past[-1 - n] ** 2), betas[1])
    s["power"] = s.get("power", 1.0) * betas[1]
    weights = [betas[0] ** i for i in range(n)]
    m = sum(w * past[-1 - i] for i, w in enumerate(weights)) / sum(weights)
    return x - lr * m / (np.sqrt(v / (1 - betas[1] ** (t - n))) + eps)


def adopt(x, g, s, t, lr=1e-3, betas=(0.9, 0.9999), eps=1e-6, clip_lambda=0.25):
    """Taniguchi et al. (2024), Algorithm 2, with the order and floor of the authors' code."""
    if t == 1:
        s["v"] = g**2
        return x
    u = g / np.maximum(np.sqrt(s["v"]), eps)
    if clip_lambda is not None:
        bound = clip_lambda(t - 1) if callable(clip_lambda) else (t - 1) ** clip_lambda
        u = np.minimum(np.maximum(u, -bound), bound)
    average(s, "v", g**2, betas[1])
    return x - lr * average(s, "m", u, betas[0])


def signum(x, g, s, t, lr=1e-3, momentum=0.0):
    """Bernstein et al. (2018), Algorithm 2; at β = 0 it is signSGD, Algorithm 1."""
    return x - lr * np.sign(average(s, "m", g, momentum))


def adasgd(x, g, s, t, **options):
    """Wang and Wiens (2020): Adam with the mean of g² over a whole group."""
    return adam(x, g, s, t, square=s["mean over the group"], **options)


def blockwise(x, g, s, t, partition="tensor", **options):
    """Xie, Mohamadi, Li (2024), Algorithm 3, with Adam's bias corrections."""
    square = np.empty(x.size)
    for block in blocks(x, partition):
        square[block] = np.mean(g.flatten()[block] ** 2)
    return adam(x, g, s, t, square=square.reshape(x.shape), **options)


def blocks(x, partition):
    """Return the positions of each block in the flattened parameter."""
    positions = np.arange(x.size)
    if callable(partition):  # it alternates
        return [positions[::2], positions[1::2]] if x.size > 1 else [positions]
    rows = x.shape[0] if x.ndim else 1
    return np.split(positions, {"tensor": 1, "rows": rows, "elements": x.size}[partition])


RULES = {
    "SGD": sgd,
    "AdaGrad": adagrad,
    "RMSprop": rmsprop,
    "Adam": adam,
    "AdamW": adam,
    "Adamax": adamax,
    "AMSGrad": amsgrad,
    "AdaFom": adafom,
    "AdaBound": adabound,
    "AdaShift": adashift,
    "ADOPT": adopt,
    "SignSGD": signum,
    "AdaSGD": adasgd,
    "BlockwiseAdam": blockwise,
}
OWN_DECAY = {"AdamW": {"weight_decay": 1e-2, "decoupled": True}}
