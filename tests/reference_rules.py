"""The papers' algorithms in plain NumPy: what tests/test_rules.py compares the package with.

Each function takes one parameter (AdaSGD: the list of a group's), its gradient and its step size
at every call, and returns the parameter after every call. A gradient of ``None`` is a call in
which the parameter has none: nothing happens to it. Float64, no torch, no shortcuts.
"""

import numpy as np


def seen(x, g, lr, weight_decay=0.0, decoupled=False, maximize=False):
    """Return the parameter and the gradient that the update proper starts from."""
    if maximize:
        g = -g
    if decoupled:
        return x - lr * weight_decay * x, g
    return x, g + weight_decay * x


def sgd_average(x, grads, lrs, beta):
    """Momentum as an average: m = βm + (1-β)g from m = 0, x = x - αm."""
    path, m = [], 0.0
    for g, lr in zip(grads, lrs, strict=True):
        m = beta * m + (1 - beta) * g
        x = x - lr * m
        path.append(x)
    return path


def amsgrad(x, grads, lrs, betas, eps, variant, **decay):
    """Reddi, Kale, Kumar (2018), Algorithm 2 ("paper"), and optax's reading of it ("optax")."""
    (beta1, beta2), path, t = betas, [], 0
    m = v = v_max = np.zeros_like(x)
    for g, lr in zip(grads, lrs, strict=True):
        if g is not None:
            t += 1
            x, g = seen(x, g, lr, **decay)
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            if variant == "paper":
                v_max = np.maximum(v_max, v)
                x = x - lr * m / (np.sqrt(v_max) + eps)
            else:
                v_max = np.maximum(v_max, v / (1 - beta2**t))
                x = x - lr * m / (1 - beta1**t) / (np.sqrt(v_max) + eps)
        path.append(x)
    return path


def adafom(x, grads, lrs, beta1, eps, **decay):
    """Chen, Liu, Sun, Hong (2019): v is the mean of all squared gradients so far."""
    path, squares = [], []
    m = np.zeros_like(x)
    for g, lr in zip(grads, lrs, strict=True):
        if g is not None:
            x, g = seen(x, g, lr, **decay)
            m = beta1 * m + (1 - beta1) * g
            squares.append(g**2)
            x = x - lr * m / (np.sqrt(np.mean(squares, axis=0)) + eps)
        path.append(x)
    return path


def adabound(x, grads, lrs, betas, final_lr, gamma, eps, **decay):
    """Luo et al. (2019): the step size of Adam between two bounds, which follow the schedule."""
    (beta1, beta2), path, t = betas, [], 0
    m = v = np.zeros_like(x)
    for g, lr in zip(grads, lrs, strict=True):
        if g is not None:
            t += 1
            x, g = seen(x, g, lr, **decay)
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            target = final_lr * lr / lrs[0]
            lower, upper = target - target / (gamma * t + 1), target + target / (gamma * t)
            step = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) / (np.sqrt(v) + eps)
            x = x - np.minimum(np.maximum(step, lower), upper) * m
        path.append(x)
    return path


def adashift(x, grads, lrs, betas, eps, n, phi, **decay):
    """Zhou et al. (2019), Algorithm 3: v reads g_{t-n}, m the n gradients after it."""
    (beta1, beta2), path, past = betas, [], []
    spatial = {"max": np.max, "mean": np.mean, None: lambda z: z}[phi]
    v, power = 0.0, 1.0
    for g, lr in zip(grads, lrs, strict=True):
        if g is not None:
            x, g = seen(x, g, lr, **decay)
            past.append(g)
            if len(past) > n:
                v = beta2 * v + (1 - beta2) * spatial(past[-1 - n] ** 2)
                power = power * beta2
                top = sum(beta1**i * past[-1 - i] for i in range(n))
                m = top / sum(beta1**i for i in range(n))
                x = x - lr * m / (np.sqrt(v / (1 - power)) + eps)
        path.append(x)
    return path


def adopt(x, grads, lrs, betas, eps, clip, weight_decay=0.0, decoupled=False, maximize=False):
    """Taniguchi et al. (2024), Algorithm 2, with the order and floor of the authors' code.

    ``clip`` is a function of the number of earlier calls, or None.
    """
    (beta1, beta2), path, t = betas, [], 0
    m = v = np.zeros_like(x)
    for g, lr in zip(grads, lrs, strict=True):
        if g is not None:
            if maximize:
                g = -g
            if not decoupled:
                g = g + weight_decay * x
            if t == 0:
                v = g**2
            else:
                if decoupled:
                    x = x - lr * weight_decay * x
                u = g / np.maximum(np.sqrt(v), eps)
                if clip is not None:
                    u = np.minimum(np.maximum(u, -clip(t)), clip(t))
                m = beta1 * m + (1 - beta1) * u
                x = x - lr * m
                v = beta2 * v + (1 - beta2) * g**2
            t += 1
        path.append(x)
    return path


def signum(x, grads, lrs, beta=0.0, **decay):
    """Bernstein et al. (2018), Algorithm 2; at β = 0 it is signSGD, Algorithm 1."""
    path, m = [], np.zeros_like(x)
    for g, lr in zip(grads, lrs, strict=True):
        if g is not None:
            x, g = seen(x, g, lr, **decay)
            m = beta * m + (1 - beta) * g
            x = x - lr * np.sign(m)
        path.append(x)
    return path


def adasgd(xs, grads, lrs, betas, eps, **decay):
    """Wang and Wiens (2020): Adam with the mean of g² over a whole group.

    ``xs`` is a list of parameters, ``grads`` a list of their gradients for every call. The mean
    is over the parameters that have one; each corrects its averages by its own number of calls.
    """
    beta1, beta2 = betas
    paths, xs = [[] for _ in xs], list(xs)
    m, v, t = [0.0] * len(xs), [0.0] * len(xs), [0] * len(xs)
    for row, lr in zip(grads, lrs, strict=True):
        present = [i for i, g in enumerate(row) if g is not None]
        now = {i: seen(xs[i], row[i], lr, **decay) for i in present}
        square = sum(float(np.sum(g**2)) for _, g in now.values())
        square /= sum(g.size for _, g in now.values())
        for i, (x, g) in now.items():
            t[i] += 1
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * square
            root = np.sqrt(v[i] / (1 - beta2 ** t[i]))
            xs[i] = x - lr * m[i] / (1 - beta1 ** t[i]) / (root + eps)
        for path, x in zip(paths, xs, strict=True):
            path.append(x)
    return paths


def blockwise(x, grads, lrs, betas, eps, blocks, **decay):
    """Xie, Mohamadi, Li (2024), Algorithm 3, with Adam's bias corrections.

    ``blocks`` lists, for each block, the positions of its entries in the flattened parameter.
    """
    (beta1, beta2), path, t = betas, [], 0
    m, v = np.zeros_like(x), [0.0] * len(blocks)
    for g, lr in zip(grads, lrs, strict=True):
        if g is not None:
            t += 1
            x, g = seen(x, g, lr, **decay)
            m = beta1 * m + (1 - beta1) * g
            scale = np.zeros(x.size)
            for b, entries in enumerate(blocks):
                square = np.mean(g.flatten()[entries] ** 2)
                v[b] = beta2 * v[b] + (1 - beta2) * square
                scale[entries] = np.sqrt(v[b] / (1 - beta2**t)) + eps
            x = x - lr * m / (1 - beta1**t) / scale.reshape(x.shape)
        path.append(x)
    return path
