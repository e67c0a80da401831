r"""A pendulum to be swung up and balanced, for any number of agents at once, in tensors.

The equations, limits and constants are those of gymnasium's Pendulum-v1, which a test compares.
"""

import math

import torch
from torch import Tensor

TORQUE, SPEED, STEP = 2.0, 8.0, 0.05  # N m, rad/s, s
GRAVITY = 10.0  # m/s²; the rod has 1 kg and 1 m
EPISODE = 200  # steps; there is no other end


def start(uniform: Tensor) -> Tensor:
    r"""Return states :math:`(\theta, \dot\theta)`, uniform on [-π, π] × [-1, 1].

    Parameters
    ----------
    uniform : Tensor, shape (..., 2)
        Numbers of [0, 1).
    """
    return (2 * uniform - 1) * uniform.new_tensor([math.pi, 1.0])


def observe(state: Tensor) -> Tensor:
    r"""Return what the agent sees, :math:`(\cos\theta, \sin\theta, \dot\theta)`."""
    theta, speed = state.unbind(-1)
    return torch.stack((theta.cos(), theta.sin(), speed), -1)


def step(state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the next state and the reward of an action.

    .. math::

        r &= -\big(\theta^2 + \tfrac1{10} \dot\theta^2 + \tfrac1{1000} u^2\big),
             \qquad \theta \in [-\pi, \pi), \\
        \dot\theta' &= \mathrm{clip}\big(\dot\theta + (\tfrac32 g \sin\theta + 3 u)\, \delta,
             -8, 8\big), \qquad \theta' = \theta + \dot\theta' \delta

    Parameters
    ----------
    state : Tensor, shape (..., 2)
        Angle θ from upright in rad, angular velocity in rad/s.
    action : Tensor, shape (...)
        Share of the largest torque, clipped to [-1, 1]: u is 2 N m times this.

    Returns
    -------
    state : Tensor, shape (..., 2)
    reward : Tensor, shape (...)

    Examples
    --------
    >>> hanging, push = torch.tensor([math.pi, 0.0]), torch.tensor(1.0)
    >>> state, reward = step(hanging, push)
    >>> [round(z, 2) for z in (*state.tolist(), reward.item())]
    [3.16, 0.3, -9.87]
    """
    theta, speed = state.unbind(-1)
    u = TORQUE * action.clamp(-1, 1)
    angle = (theta + math.pi) % (2 * math.pi) - math.pi
    reward = -(angle.square() + 0.1 * speed.square() + 0.001 * u.square())
    speed = (speed + (1.5 * GRAVITY * theta.sin() + 3 * u) * STEP).clamp(-SPEED, SPEED)
    return torch.stack((theta + speed * STEP, speed), -1), reward
