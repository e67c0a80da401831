r"""Soft actor-critic of Stable-Baselines3 on MuJoCo's robots, with the optimizers of this package.

The ADOPT paper compares ADOPT with Adam on HalfCheetah-v4 and Ant-v4. Stable-Baselines3 takes the
optimizer of actor and critics as an argument; the one of the entropy coefficient, which it fixes,
is replaced in `agent_class`. Needs gymnasium[mujoco] and stable-baselines3 (extra ``practice``).

``python -m companion.recipes.mujoco sac-halfcheetah --scale full`` trains at the paper's scale.
"""

import argparse
import functools
import json
import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from companion.files import replacing
from companion.optim import ADOPT, Adam
from companion.recipes import base, engine, tuning

OPTIMIZERS = {"Adam": Adam, "ADOPT": ADOPT}
OUTDATED = ".*The environment .* is out of date"  # gymnasium's advice to take v5
HARMLESS = "settotalmass"  # MuJoCo's advice to whoever writes the robots' files


@dataclass(frozen=True)
class Settings:
    """All that a run depends on; the defaults are those of the full scale.

    Attributes
    ----------
    environment : str
        gymnasium's name (Taniguchi et al., 2024: HalfCheetah-v4 and Ant-v4).
    steps : int
        Steps of the environment, of which each one after ``starts`` comes with one update of all
        networks. A million: RL Baselines3 Zoo, hyperparams/sac.yml.
    starts : int
        First steps, with random actions and no update (the same file).
    width : int
        Units of each of two hidden layers (Stable-Baselines3's default for SAC).
    batch, buffer : int
        Transitions an update; transitions that are kept (its defaults).
    gamma, tau : float
        Discount; share of the critics in their targets at each update (its defaults).
    lr : float
        Of actor, critics and entropy coefficient, for both optimizers (its default; .001 at the
        stored scale: with the default, runs of 15,000 steps had ended before agents moved).
    seeds : tuple of int
        Each draws the initial networks, the environment's starts and all noise.
    every, episodes : int
        Steps an evaluation; its episodes, by the mean action (ours).
    """

    environment: str = "HalfCheetah-v4"
    steps: int = 1_000_000
    starts: int = 10_000
    width: int = 256
    batch: int = 256
    buffer: int = 1_000_000
    gamma: float = 0.99
    tau: float = 0.005
    lr: float = 3e-4
    seeds: tuple = (0, 1, 2, 3, 4)
    every: int = 10_000
    episodes: int = 10


def scales(environment: str) -> dict:
    """Return the settings of all scales of an environment."""
    full = Settings(environment)
    stored = replace(
        full, steps=25_000, starts=1000, width=128, buffer=25_000, lr=1e-3, seeds=(0, 1, 2),
        every=2500, episodes=5,
    )  # fmt: skip
    smoke = replace(stored, steps=40, starts=20, width=8, batch=8, every=20, episodes=1)
    quick = replace(stored, steps=2000, seeds=(0, 1), every=500)
    return {"smoke": smoke, "quick": quick, "stored": stored, "full": full}


SCALES = {"sac-halfcheetah": scales("HalfCheetah-v4"), "sac-ant": scales("Ant-v4")}


class Experiment(base.Experiment):
    """A cell an optimizer and seed: step sizes are published ones, and none is tuned.

    Attributes
    ----------
    folder : path or None
        Where the trained policies are left, and the checkpoints of unfinished runs.
    device : str
        Of the networks.
    """

    def __init__(self, name: str, settings: Settings):
        super().__init__(name, settings)
        self.folder, self.device = None, "cpu"

    def plan(self, table: pd.DataFrame) -> list:
        """Return all cells, whatever the results so far."""
        s = self._settings
        return tuning.plan(table, OPTIMIZERS, [s.lr], (), s.seeds)

    def train(self, cell: dict) -> pd.DataFrame:
        """Train one agent; return its evaluations."""
        folder = self.folder and Path(self.folder)
        name = f"{self.name}-{cell['optimizer']}-{cell['seed']}"
        checkpoint = folder and folder / f"{name}.checkpoint"
        agent, history = train(self._settings, cell, checkpoint, self.device)
        if folder:
            with replacing(folder / f"{name}.pt") as file:
                torch.save(agent.actor.state_dict(), file)
            shutil.rmtree(checkpoint, ignore_errors=True)
        return history


def train(s: Settings, cell: dict, checkpoint=None, device="cpu"):
    """Train an agent, and evaluate it before the first step and after each ``every`` steps.

    Parameters
    ----------
    s : Settings
    cell : dict
        ``optimizer``, ``lr`` and ``seed``.
    checkpoint : path, optional
        A folder to go on from, and to keep the run in; the replay buffer is most of it.
    device : str

    Returns
    -------
    agent : SAC
    history : DataFrame
        A row an evaluation: ``step``; ``return``, the mean over episodes, with ``lowest`` and
        ``highest``; ``alpha``, the entropy coefficient.

    Notes
    -----
    A run that goes on begins a new episode and draws other noise: it equals an uninterrupted one in
    distribution, not in its numbers. A step of 256 × 256 units and batch 256 costs about 33 ms of a
    CPU core, of which the physics is less than one.
    """
    arena = [environment(s.environment) for _ in range(s.episodes)]
    agent, rows = resumed(s, cell, checkpoint, device)
    while True:
        scores = evaluate(agent, arena, seed=10_000 * (cell["seed"] + 1))
        row = {"step": agent.num_timesteps, "return": scores.mean(), "lowest": scores.min()}
        row |= {"highest": scores.max(), "alpha": agent.log_ent_coef.exp().item()}
        rows.append(row)
        if checkpoint:
            save(agent, rows, Path(checkpoint))
        if agent.num_timesteps >= s.steps:
            break
        count = min(s.every, s.steps - agent.num_timesteps)
        agent.learn(count, reset_num_timesteps=False, log_interval=None)
    for one in [*arena, agent.env]:
        one.close()
    return agent, pd.DataFrame(rows)


@functools.cache
def agent_class():
    """Return Stable-Baselines3's SAC, with the optimizer of the policy for all that it trains."""
    from stable_baselines3 import SAC

    class Agent(SAC):
        def _setup_model(self):
            super()._setup_model()
            if self.ent_coef_optimizer is not None:
                self.ent_coef_optimizer = self.policy.optimizer_class(
                    [self.log_ent_coef], lr=self.lr_schedule(1), **self.policy.optimizer_kwargs
                )

    return Agent


def build(s: Settings, cell: dict, device="cpu"):
    """Return an untrained agent."""
    policy = {"optimizer_class": OPTIMIZERS[cell["optimizer"]], "net_arch": [s.width, s.width]}
    return agent_class()(
        "MlpPolicy",
        environment(s.environment),
        learning_rate=cell["lr"],
        buffer_size=s.buffer,
        learning_starts=s.starts,
        batch_size=s.batch,
        tau=s.tau,
        gamma=s.gamma,
        policy_kwargs=policy | {"optimizer_kwargs": {"fused": True}},
        seed=cell["seed"],
        device=device,
    )


def environment(name: str, **options):
    """Return an environment of gymnasium, without its advice and MuJoCo's on outdated files."""
    import gymnasium
    import mujoco

    def warn(message):
        if HARMLESS not in str(message):
            warnings.warn(str(message), RuntimeWarning, stacklevel=2)

    mujoco.set_mju_user_warning(warn)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", OUTDATED, DeprecationWarning)
        return gymnasium.make(name, **options)


def evaluate(agent, arena, seed: int) -> np.ndarray:
    """Return the undiscounted return of an episode in each environment, by the mean action.

    Parameters
    ----------
    agent : object
        With ``predict(observations, deterministic=True)``, which returns actions and None.
    arena : sequence of environments
        All step together, each until its own end.
    seed : int
        Of the first one; the others take the next ones.
    """
    views = np.stack([one.reset(seed=seed + i)[0] for i, one in enumerate(arena)])
    total, alive = np.zeros(len(arena)), list(range(len(arena)))
    while alive:
        actions, _ = agent.predict(views, deterministic=True)
        for i in tuple(alive):
            views[i], reward, ended, cut, _ = arena[i].step(actions[i])
            total[i] += reward
            if ended or cut:
                alive.remove(i)
    return total


def save(agent, rows: list, folder: Path) -> None:
    """Keep a run, whole or not at all: the newest step's folder, and then no older one."""
    part, whole = folder / "part", folder / f"{agent.num_timesteps:09d}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    agent.save(part / "agent")
    agent.save_replay_buffer(part / "buffer")
    (part / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    shutil.rmtree(whole, ignore_errors=True)
    part.rename(whole)
    for old in folder.iterdir():
        if old != whole:
            shutil.rmtree(old)


def resumed(s: Settings, cell: dict, folder=None, device="cpu"):
    """Return an agent and its rows so far: from the checkpoint, if there is one."""
    from stable_baselines3.common.logger import Logger

    agent, rows = build(s, cell, device), []
    kept = sorted(Path(folder).glob("[0-9]*")) if folder else []
    if kept:
        agent = agent_class().load(kept[-1] / "agent", env=agent.env, device=device)
        agent.load_replay_buffer(kept[-1] / "buffer")
        rows = json.loads((kept[-1] / "rows.json").read_text(encoding="utf-8"))[:-1]
        agent.set_random_seed(cell["seed"] + 1_000_000 + agent.num_timesteps)
    agent.set_logger(Logger(None, []))
    return agent, rows


def main(arguments=None):
    """Train all cells of an experiment, keep each, and go on where an earlier call stopped."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=SCALES)
    parser.add_argument("--scale", choices=["smoke", "quick", "stored", "full"], default="full")
    parser.add_argument("--steps", type=int, help="steps of the environment, in place of the scale")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of table and runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (1)")
    parser.add_argument("--shard", default="0/1", help="i/n: each n-th cell from the i-th on")
    parser.add_argument("--device", default="auto", help="of the networks: cpu, cuda, auto")
    found = parser.parse_args(arguments)
    settings = SCALES[found.name][found.scale]
    if found.steps:
        settings = replace(settings, steps=found.steps)
    experiment = Experiment(found.name, settings)
    experiment.folder, experiment.device = found.out, found.device
    i, n = map(int, found.shard.split("/"))
    name = experiment.name if n == 1 else f"{experiment.name}-{i}of{n}"
    store = engine.Store(found.out / f"{name}.csv", experiment.settings)
    table = engine.run(experiment, store, jobs=found.jobs, shard=(i, n))
    print(table.groupby(["optimizer", "seed"]).last().to_string())


if __name__ == "__main__":
    main()
