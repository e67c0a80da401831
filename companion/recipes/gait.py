"""A strip of pictures of what the agents of `companion.recipes.mujoco` do, a row an optimizer.

``python -m companion.recipes.gait sac-halfcheetah --runs FOLDER --to FILE.png`` reads the policies
that training left in the folder. Without a screen, set ``MUJOCO_GL=egl``.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from companion.recipes.mujoco import OPTIMIZERS, SCALES, build, environment

VIEW = {"width": 240, "height": 160, "camera_name": "track"}  # pixels; it goes along


def motion(agent, name: str, seed: int, steps, render=None):
    """Return pictures at some steps of an episode by the mean action, places, and the return.

    Parameters
    ----------
    agent : object
        With ``predict``, as Stable-Baselines3 has it.
    name : str
        Of the environment.
    seed : int
        Of the episode.
    steps : sequence of int
        When to take a picture, from 0 on.
    render : callable, optional
        Environment → picture; None asks the environment.

    Returns
    -------
    pictures : list of array, shape (height, width, 3)
    places : list of float
        Where the robot was, in metres from the world's middle.
    total : float
        The return up to the last picture, or to the end of the episode.
    """
    pictures, places, total, step, over = [], [], 0.0, 0, False
    drawn = {} if render else {"render_mode": "rgb_array", **VIEW}
    with environment(name, **drawn) as world:
        view, _ = world.reset(seed=seed)
        while not over and step <= max(steps):
            if step in steps:
                pictures.append(render(world) if render else world.render())
                places.append(float(world.unwrapped.data.qpos[0]))
            action, _ = agent.predict(view, deterministic=True)
            view, reward, ended, cut, _ = world.step(action)
            total, step, over = total + float(reward), step + 1, ended or cut
    return pictures, places, total


def main(arguments=None):
    """Render policies that were trained, and write the strip with a record of what it shows."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("name", choices=SCALES)
    parser.add_argument("--scale", choices=["smoke", "quick", "stored", "full"], default="stored")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trained policies")
    parser.add_argument("--to", type=Path, required=True, help="the picture, .png")
    parser.add_argument("--seed", type=int, default=0, help="of the agents (0)")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 20, 40, 60, 80, 100])
    found = parser.parse_args(arguments)
    from PIL import Image

    s, rows, record = SCALES[found.name][found.scale], [], {}
    for rule in OPTIMIZERS:
        agent = build(s, {"optimizer": rule, "lr": s.lr, "seed": found.seed})
        file = found.runs / f"practice-{found.name}-{rule}-{found.seed}.pt"
        agent.actor.load_state_dict(torch.load(file, weights_only=True))
        episode = 10_000 * (found.seed + 1)  # the first that was evaluated
        pictures, places, total = motion(agent, s.environment, episode, found.steps)
        rows.append(np.concatenate(pictures, 1))
        record[rule] = {"x": [round(x, 2) for x in places], "return": round(total, 1)}
    picture = Image.fromarray(np.concatenate(rows)).quantize(64)
    picture.save(found.to, optimize=True)
    about = {"environment": s.environment, "seed": found.seed, "steps": found.steps, **record}
    found.to.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
