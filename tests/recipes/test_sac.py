"""The pendulum, the squashed policy, the three losses, and agents side by side against alone."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform
from torch.nn import functional as F

from companion.optim import ADOPT, Adam
from companion.recipes import experiment, pendulum, report
from companion.recipes.engine import Store, run
from companion.recipes.sac import SMOKE, Agents, Stacked, squashed, train

RULES = {name: partial(rule, lr=3e-3) for name, rule in {"Adam": Adam, "ADOPT": ADOPT}.items()}


def test_the_pendulum_is_gymnasiums():
    gymnasium = pytest.importorskip("gymnasium")
    generator = torch.Generator().manual_seed(0)
    with gymnasium.make("Pendulum-v1") as theirs:
        for episode in range(3):
            theirs.reset(seed=episode)
            state = torch.tensor(theirs.unwrapped.state)
            for push in torch.rand(200, generator=generator, dtype=torch.float64) * 3 - 1.5:
                state, reward = pendulum.step(state, push)
                view, gain, *_ = theirs.unwrapped.step(2 * push.numpy()[None])
                exact = torch.tensor(theirs.unwrapped.state)
                torch.testing.assert_close(state, exact, rtol=0, atol=1e-9)
                assert reward.item() == pytest.approx(gain, abs=1e-9)
                torch.testing.assert_close(pendulum.observe(state).float(), torch.tensor(view))


def test_starts_are_gymnasiums():
    gymnasium = pytest.importorskip("gymnasium")
    with gymnasium.make("Pendulum-v1") as theirs:
        theirs.reset(seed=3)
        draws = np.random.Generator(np.random.PCG64(np.random.SeedSequence(3))).random(2)
        torch.testing.assert_close(
            pendulum.start(torch.tensor(draws)), torch.tensor(theirs.unwrapped.state)
        )


def test_the_log_density_is_that_of_a_transformed_normal():
    out = torch.randn(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 2
    noise = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    action, found = squashed(out, noise)
    mean, std = out[:, 0], out[:, 1].exp()
    reference = TransformedDistribution(Normal(mean, std), TanhTransform(cache_size=1))
    sample = TanhTransform()(mean + std * noise)
    torch.testing.assert_close(action, sample)
    torch.testing.assert_close(found, reference.log_prob(sample), rtol=1e-7, atol=1e-7)


def test_the_log_density_of_an_action_at_the_edge_is_finite():
    out = torch.tensor([[30.0, 5.0]]).requires_grad_()
    action, density = squashed(out, torch.tensor([1.0]))
    density.sum().backward()
    assert action.item() == 1
    assert out.grad.isfinite().all()
    u, std = 30 + math.exp(2), math.exp(2)  # log σ is clamped to 2
    exact = -0.5 - math.log(std * math.sqrt(2 * math.pi)) - (math.log(4) - 2 * u)
    assert density.item() == pytest.approx(exact, rel=1e-5)


def linear(parameters, i):
    """Return one network of a stack as torch's own."""
    layers = []
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        layer = nn.Linear(w.shape[1], w.shape[2])
        layer.weight.data, layer.bias.data = w[i].detach().T.clone(), b[i, 0].detach().clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_losses_are_those_of_the_definition_one_network_at_a_time():
    s = replace(SMOKE, seeds=(0, 1), batch=5, width=7, gamma=0.9)
    agents, g = Agents(s, RULES), torch.Generator().manual_seed(0)
    agents.log_alpha.data += torch.randn(4, 1, generator=g)
    agents.target[0] += 0.1  # apart from the critics
    batch, noise = (torch.randn(4, 5, 8, generator=g), torch.randn(4, 10, generator=g))
    found = agents.losses(batch, noise)
    for i in range(4):
        actor = linear(agents.actor.parameters, i)
        critics = [linear(agents.critic.parameters, 2 * i + k) for k in range(2)]
        targets = [linear(agents.target, 2 * i + k) for k in range(2)]
        seen, action, reward, after = batch[i].split((3, 1, 1, 3), -1)
        chosen, density = squashed(actor(seen), noise[i, :5])
        then, density_then = squashed(actor(after), noise[i, 5:])
        alpha = agents.log_alpha[i].exp()
        soft = torch.min(*(q(torch.cat((after, then[:, None]), -1)) for q in targets))[:, 0]
        goal = (reward[:, 0] + 0.9 * (soft - alpha * density_then)).detach()
        values = [q(torch.cat((seen, action), -1))[:, 0] for q in critics]
        critic = 0.5 * sum(F.mse_loss(value, goal) for value in values)
        worth = torch.min(*(q(torch.cat((seen, chosen[:, None]), -1)) for q in critics))[:, 0]
        policy = (alpha.detach() * density - worth).mean()
        temperature = -agents.log_alpha[i, 0] * (density.detach().mean() - 1)
        for mine, exact in zip(found, (temperature, critic, policy), strict=True):
            torch.testing.assert_close(mine[i], exact)
        # each loss reaches its own network only
        total = sum(loss[i] for loss in found)
        w = torch.autograd.grad(total, agents.actor.parameters[0], retain_graph=True)[0][i]
        torch.testing.assert_close(w.T, torch.autograd.grad(policy, actor[0].weight)[0])
        w = torch.autograd.grad(total, agents.critic.parameters[0], retain_graph=True)[0][2 * i]
        torch.testing.assert_close(w.T, torch.autograd.grad(critic, critics[0][0].weight)[0])


def test_agents_of_a_stack_equal_agents_trained_alone():
    s = replace(SMOKE, steps=60, every=60, batch=16)
    stack, rows = train(s, RULES)
    for place, (rule, seed) in enumerate(stack.names):
        alone, row = train(replace(s, seeds=(seed,)), {rule: RULES[rule]})
        for mine, theirs in zip(stack.parameters, alone.parameters, strict=True):
            size = len(theirs)  # twins: two critics an agent
            part = mine[place * size : (place + 1) * size]
            torch.testing.assert_close(part, theirs, rtol=1e-4, atol=1e-5)
        of = rows[(rows.optimizer == rule) & (rows.seed == seed)]
        np.testing.assert_allclose(of["return"], row["return"], rtol=1e-4)


def test_rules_and_seeds_move_apart_from_the_same_start():
    s = replace(SMOKE, steps=40, every=40)
    before, after = Agents(s, RULES), train(s, RULES)[0]
    n = len(s.seeds)
    for p, q in zip(before.parameters[1:], after.parameters[1:], strict=True):
        adam, adopt = p.chunk(2)
        assert torch.equal(adam, adopt)
        assert not torch.equal(adam[: len(adam) // n], adam[-len(adam) // n :])
        adam, adopt = q.chunk(2)
        assert not torch.equal(adam, adopt)
        assert not torch.equal(p, q)


def test_targets_follow_the_critics():
    s = replace(SMOKE, tau=0.25)
    agents, g = Agents(s, RULES), torch.Generator().manual_seed(0)
    old = [p.clone() for p in agents.target]
    agents.update(torch.randn(6, s.batch, 8, generator=g), torch.randn(6, 2 * s.batch, generator=g))
    for before, now, critic in zip(old, agents.target, agents.critic.parameters, strict=True):
        torch.testing.assert_close(now, 0.75 * before + 0.25 * critic.detach())


def test_initial_values_are_those_of_linear_layers():
    net = Stacked((3, 200, 2), [torch.Generator().manual_seed(0)])
    for p, inputs in zip(net.parameters, (3, 3, 200, 200, 200, 200), strict=True):
        assert p.abs().max() <= inputs**-0.5
    assert net.parameters[2].std().item() == pytest.approx((3 * 200) ** -0.5, rel=0.02)


def test_an_experiment_reports_every_seed_of_both_rules():
    found = experiment("sac", "smoke")
    table = run(found, Store(None, found.settings))
    assert table.groupby(["optimizer", "seed"]).size().tolist() == [4] * 6
    assert table.step.unique().tolist() == [0, 10, 20, 30]
    assert report.seeds(table, "return").shape == (3, 2)
    assert isinstance(report.summary(table, "return"), pd.DataFrame)
