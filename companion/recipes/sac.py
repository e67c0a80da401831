r"""Soft actor-critic, written out, for agents side by side on a pendulum.

A stack of agents, one a seed, is trained at once: every tensor has the agents in front, and the
loss is a sum over agents, so that each one's gradient is its own. An agent of a stack equals the
one that is trained alone with its seed.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.optim import ADOPT, Adam
from companion.recipes import base, pendulum

OPTIMIZERS = {"Adam": Adam, "ADOPT": ADOPT}


@dataclass(frozen=True)
class Settings:
    """All that a run depends on; the defaults are those of the full scale.

    Attributes
    ----------
    steps : int
        Steps of the environment (RL Baselines3 Zoo, hyperparams/sac.yml, Pendulum-v1).
    starts : int
        First steps, with random actions and no update; one update a step follows
        (Stable-Baselines3's default).
    width, batch : int
        Units of each of two hidden layers; transitions an update (its defaults).
    gamma, tau : float
        Discount; share of the critics in their targets at each update (its defaults).
    lr : float
        Of actor, critics and temperature (RL Baselines3 Zoo, Pendulum-v1).
    seeds : tuple of int
        Agents an optimizer, side by side.
    every, episodes : int
        Steps an evaluation; its episodes, by the mean action (ours).
    """

    steps: int = 20_000
    starts: int = 100
    width: int = 256
    batch: int = 256
    gamma: float = 0.99
    tau: float = 0.005
    lr: float = 1e-3
    seeds: tuple = (0, 1, 2, 3, 4, 5, 6, 7)
    every: int = 500
    episodes: int = 10


FULL = Settings()
QUICK = replace(FULL, steps=2500, width=32, batch=64, tau=0.01, lr=3e-3, every=250)
SMOKE = replace(QUICK, steps=30, starts=10, seeds=(0, 1, 2), every=10, episodes=2)
SCALES = {"sac": {"smoke": SMOKE, "quick": QUICK, "stored": FULL, "full": FULL}}


class Experiment(base.Experiment):
    """One cell: the agents of both optimizers and all seeds are one stack."""

    def plan(self, table: pd.DataFrame) -> list:
        """Return the cell."""
        return [{"phase": "report", "lr": self._settings.lr}]

    def train(self, cell: dict) -> pd.DataFrame:
        """Train the stack; return a row an evaluation and agent."""
        rules = {
            name: partial(rule, lr=cell["lr"], fused=True) for name, rule in OPTIMIZERS.items()
        }
        return train(self._settings, rules)[1]


class Stacked:
    """Networks with two hidden layers side by side: weights and biases have the networks in front.

    Parameters
    ----------
    sizes : (int, int, int)
        Inputs, hidden units, outputs.
    generators : list of Generator
        One a network: it draws the initial values, uniform within ±1/√inputs, as nn.Linear does.
    """

    def __init__(self, sizes, generators):
        n, width, out = sizes
        self.parameters = []
        for a, b in ((n, width), (width, width), (width, out)):
            for rows in (a, 1):  # weights, biases
                draws = [torch.rand(rows, b, generator=g) for g in generators]
                self.parameters.append(nn.Parameter((2 * torch.stack(draws) - 1) / math.sqrt(a)))

    def __call__(self, x: Tensor, parameters=None) -> Tensor:  # (networks, batch, inputs)
        w1, b1, w2, b2, w3, b3 = parameters or self.parameters
        x = torch.baddbmm(b1, x, w1).relu()
        x = torch.baddbmm(b2, x, w2).relu()
        return torch.baddbmm(b3, x, w3)


def squashed(out: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return an action of the squashed Gaussian policy and its log-density.

    .. math::

        a = \tanh u, \quad u = \mu + \sigma \epsilon, \qquad
        \log \pi(a) = \log \mathcal N(u; \mu, \sigma^2) - \log (1 - \tanh^2 u)

    Parameters
    ----------
    out : Tensor, shape (..., 2)
        μ and log σ, the latter clamped to [-20, 2].
    noise : Tensor, shape (...)
        ε, standard normal.
    """
    mean, log_std = out.unbind(-1)
    log_std = log_std.clamp(-20, 2)
    u = mean + log_std.exp() * noise
    log_normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    # log(1 - tanh² u), without the difference of two numbers near 1
    return u.tanh(), log_normal - 2 * (math.log(2) - u - F.softplus(-2 * u))


class Agents:
    """Soft actor-critic: twin critics, their targets, a policy and a temperature, each a stack.

    Parameters
    ----------
    s : Settings
    rules : dict of callables
        By name: iterable of parameters → optimizer of an elementwise rule. Each has an agent a
        seed, with the same initial networks.
    """

    def __init__(self, s: Settings, rules: dict):
        self.s, self.names = s, [(rule, seed) for rule in rules for seed in s.seeds]
        generators = [torch.Generator().manual_seed(seed) for _, seed in self.names]
        self.actor = Stacked((3, s.width, 2), generators)
        twins = [g for g in generators for _ in range(2)]
        self.critic = Stacked((4, s.width, 1), twins)
        self.target = [p.detach().clone() for p in self.critic.parameters]
        self.log_alpha = nn.Parameter(torch.zeros(len(self.names), 1))
        self.parameters = [self.log_alpha, *self.actor.parameters, *self.critic.parameters]
        self.parts, self.optimizers = [], []  # the agents of a rule: views of their memory
        for i, make in enumerate(rules.values()):
            part = [nn.Parameter(p.detach().chunk(len(rules))[i]) for p in self.parameters]
            self.parts.append(part)
            self.optimizers.append(make(part))

    def values(self, seen: Tensor, action: Tensor, parameters) -> Tensor:
        """Return Q of both twins, (agents, 2, batch)."""
        x = torch.cat((seen, action.unsqueeze(-1)), -1).repeat_interleave(2, 0)
        return self.critic(x, parameters).view(len(seen), 2, -1)

    def losses(self, batch: Tensor, noise: Tensor):
        """Return the losses of temperature, critics and policy, each of shape (agents,).

        Parameters
        ----------
        batch : Tensor, shape (agents, batch, 8)
            What was seen, the action, the reward, and what was seen next.
        noise : Tensor, shape (agents, 2 batch)
            Standard normal.
        """
        seen, action, reward, after = batch.split((3, 1, 1, 3), -1)
        alpha, critic = self.log_alpha.detach().exp(), self.critic.parameters
        both, density = squashed(self.actor(torch.cat((seen, after), 1)), noise)
        (chosen, then), (density, density_then) = both.chunk(2, 1), density.chunk(2, 1)

        surplus = density.detach().mean(-1) - 1  # of -entropy over its target, 1
        temperature = -self.log_alpha[:, 0] * surplus

        soft = self.values(after, then.detach(), self.target).amin(1) - alpha * density_then
        goal = (reward[..., 0] + self.s.gamma * soft).detach()  # episodes are cut, and do not end
        error = self.values(seen, action[..., 0], critic) - goal.unsqueeze(1)
        critics = 0.5 * error.square().mean(-1).sum(-1)

        frozen = [p.detach() for p in critic]
        worth = self.values(seen, chosen, frozen).amin(1)
        return temperature, critics, (alpha * density - worth).mean(-1)

    def update(self, batch: Tensor, noise: Tensor) -> None:
        """Take a step: each loss reaches its own parameters only, so their sum will do."""
        total = sum(self.losses(batch, noise)).sum()
        gradients = torch.autograd.grad(total, self.parameters)
        pieces = zip(*(g.chunk(len(self.parts)) for g in gradients), strict=True)
        for part, piece, optimizer in zip(self.parts, pieces, self.optimizers, strict=True):
            for parameter, gradient in zip(part, piece, strict=True):
                parameter.grad = gradient
            optimizer.step()
        torch._foreach_lerp_(self.target, [p.detach() for p in self.critic.parameters], self.s.tau)

    @torch.no_grad()
    def act(self, state: Tensor, noise=None) -> Tensor:
        """Return actions in states, (agents, episodes): drawn with noise, or the mean ones."""
        out = self.actor(pendulum.observe(state))
        return out[..., 0].tanh() if noise is None else squashed(out, noise)[0]

    def returns(self) -> Tensor:
        """Return the mean undiscounted return of some episodes by the mean action, (agents,)."""
        draw = draws(torch.rand, [10_000 + seed for _, seed in self.names], (2,), self.s.episodes)
        state = pendulum.start(torch.stack([next(draw) for _ in range(self.s.episodes)], 1))
        total = 0.0
        for _ in range(pendulum.EPISODE):
            state, reward = pendulum.step(state, self.act(state))
            total = total + reward
        return total.mean(-1)


def draws(draw, seeds, shape, block: int = 256):
    """Yield random numbers of shape (agents, *shape), each agent's from a generator of its own."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        parts = [draw(block, *shape, generator=g) for g in generators]
        yield from torch.stack(parts, 1)


def train(s: Settings, rules: dict) -> tuple[Agents, pd.DataFrame]:
    """Train a stack of agents; return them, and a row an evaluation and agent.

    Columns: ``optimizer``, ``seed``, ``step``, ``return``, ``alpha``.
    """
    agents = Agents(s, rules)
    who, seeds = torch.arange(len(agents.names)).unsqueeze(-1), [n for _, n in agents.names]
    normal = draws(torch.randn, [1000 + n for n in seeds], (2 * s.batch + 1,))
    uniform = draws(torch.rand, [2000 + n for n in seeds], (s.batch + 3,))
    memory, rows = torch.zeros(len(seeds), s.steps, 8), []
    for step in range(s.steps):
        if step % s.every == 0:
            rows.append(measured(agents, step))
        z, u = next(normal), next(uniform)
        if step % pendulum.EPISODE == 0:
            state = pendulum.start(u[:, None, -2:])  # (agents, 1, 2)
        action = 2 * u[:, -3:-2] - 1 if step < s.starts else agents.act(state, z[:, -1:])
        after, reward = pendulum.step(state, action)
        parts = pendulum.observe(state), action[..., None], reward[..., None]
        memory[:, step] = torch.cat((*parts, pendulum.observe(after)), -1)[:, 0]
        state = after
        if step >= s.starts:
            chosen = (u[:, : s.batch] * (step + 1)).long().clamp(max=step)
            agents.update(memory[who, chosen], z[:, :-1])
    return agents, pd.concat([*rows, measured(agents, s.steps)], ignore_index=True)


def measured(agents: Agents, step: int) -> pd.DataFrame:
    """Return a row an agent: how it does now."""
    names = pd.DataFrame(agents.names, columns=["optimizer", "seed"])
    alpha = agents.log_alpha.detach().exp()[:, 0]
    return names.assign(step=step, **{"return": agents.returns().tolist(), "alpha": alpha.tolist()})
