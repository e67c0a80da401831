"""Stable-Baselines3's SAC: our optimizers everywhere, paired starts, evaluation, going on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from companion.optim import ADOPT
from companion.recipes import experiment
from companion.recipes.gait import motion
from companion.recipes.mujoco import (
    SCALES,
    Settings,
    build,
    environment,
    evaluate,
    main,
    resumed,
    save,
    train,
)

pytest.importorskip("stable_baselines3")
pytest.importorskip("mujoco")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:stable_baselines3.*")

# Its episodes end with the fall, after some ten steps.
SMALL = Settings("InvertedPendulum-v5", 60, 20, 8, 8, 100, every=30, episodes=2, seeds=(0, 1))


def cell(optimizer="ADOPT", seed=0):
    return {"phase": "report", "optimizer": optimizer, "lr": 3e-4, "seed": seed}


def test_every_optimizer_of_an_agent_is_the_chosen_one():
    agent = build(SMALL, cell())
    for part in (agent.actor.optimizer, agent.critic.optimizer, agent.ent_coef_optimizer):
        assert type(part) is ADOPT
        assert part.param_groups[0]["lr"] == 3e-4
    held = agent.ent_coef_optimizer.param_groups[0]["params"]
    assert len(held) == 1
    assert held[0] is agent.log_ent_coef


def test_the_entropy_coefficient_takes_adopts_steps():
    agent, _ = resumed(SMALL, cell())
    agent.learn(21, reset_num_timesteps=False)  # one update, in which ADOPT only takes g²
    assert agent.log_ent_coef.item() == 0
    agent.learn(1, reset_num_timesteps=False)
    assert abs(agent.log_ent_coef.item()) == pytest.approx(0.1 * 3e-4, rel=0.5)
    assert agent.ent_coef_optimizer.state[agent.log_ent_coef]


def test_optimizers_start_from_the_same_networks():
    one, other = (build(SMALL, cell(name)).policy.state_dict() for name in ("Adam", "ADOPT"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    third = build(SMALL, cell(seed=1)).policy.state_dict()
    assert any(not torch.equal(one[key], third[key]) for key in one)


def test_an_evaluation_is_the_return_of_each_episode():
    agent = build(SMALL, cell())
    arena = [environment(SMALL.environment) for _ in range(3)]
    found = evaluate(agent, arena, seed=5)
    for i in range(3):
        one, total, over = environment(SMALL.environment), 0.0, False
        view, _ = one.reset(seed=5 + i)
        while not over:
            view, reward, ended, cut, _ = one.step(agent.predict(view, deterministic=True)[0])
            total, over = total + reward, ended or cut
        assert found[i] == total
    assert len(set(found)) > 1


def test_a_run_is_the_same_twice_and_evaluations_do_not_disturb_it():
    first, history = train(SMALL, cell())
    again, rows = train(replace(SMALL, every=15), cell())
    assert history.step.tolist() == [0, 30, 60]
    assert rows.step.tolist() == [0, 15, 30, 45, 60]
    np.testing.assert_array_equal(rows[rows.step.isin([0, 30, 60])], history)
    pairs = zip(first.policy.parameters(), again.policy.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    agent, rows = train(replace(SMALL, steps=30), cell(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["000000030"]
    found, kept = resumed(SMALL, cell(), tmp_path)
    assert len(kept) == 1  # the last one is evaluated again
    assert found.num_timesteps == 30
    assert found.replay_buffer.pos == 30
    np.testing.assert_array_equal(found.replay_buffer.actions, agent.replay_buffer.actions)
    for part in ("policy", "actor.optimizer", "critic.optimizer", "ent_coef_optimizer"):
        one, other = agent.get_parameters()[part], found.get_parameters()[part]
        torch.testing.assert_close(other, one, rtol=0, atol=0)
    assert type(found.ent_coef_optimizer) is ADOPT
    assert found.ent_coef_optimizer.param_groups[0]["params"][0] is found.log_ent_coef
    _, all_rows = train(SMALL, cell(), tmp_path)
    assert all_rows.step.tolist() == [0, 30, 60]
    np.testing.assert_array_equal(all_rows[:2], rows)


def test_a_half_written_checkpoint_is_not_taken(tmp_path):
    agent, _ = resumed(SMALL, cell())
    save(agent, [{"step": 0}], tmp_path)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "agent.zip").write_bytes(b"half")
    assert resumed(SMALL, cell(), tmp_path)[0].num_timesteps == 0


def test_the_command_keeps_the_table_and_the_policies(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SCALES["sac-ant"], "full", SMALL)
    options = ["sac-ant", "--steps", "30", "--out", str(tmp_path), "--device", "cpu"]
    main([*options, "--shard", "1/2"])
    main([*options, "--shard", "1/2"])
    assert "ADOPT" in capsys.readouterr().out
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "practice-sac-ant-1of2.csv",
        "practice-sac-ant-1of2.json",
        "practice-sac-ant-ADOPT-0.pt",
        "practice-sac-ant-ADOPT-1.pt",
    ]
    weights = torch.load(tmp_path / "practice-sac-ant-ADOPT-0.pt", weights_only=True)
    assert weights.keys() == build(SMALL, cell()).actor.state_dict().keys()


def test_scales_differ_in_numbers_only():
    full, stored = (experiment("sac-halfcheetah", s).settings for s in ("full", "stored"))
    assert full["environment"] == stored["environment"] == "HalfCheetah-v4"
    same = ("batch", "gamma", "tau")
    assert all(full[name] == stored[name] for name in same)


def test_the_papers_version_of_a_robot_is_made_without_a_warning():
    with environment("HalfCheetah-v4") as one:
        assert one.observation_space.shape == (17,)


def test_a_strip_follows_the_policy_it_is_given():
    class Still:
        def predict(self, view, deterministic):
            return np.zeros(6), None

    def picture(world):
        return np.zeros((2, 3, 3))

    _, places, total = motion(Still(), "HalfCheetah-v4", 0, [0, 5], render=picture)
    with environment("HalfCheetah-v4") as world:
        world.reset(seed=0)
        start, gains = world.unwrapped.data.qpos[0], []
        for _ in range(6):
            place = world.unwrapped.data.qpos[0]
            gains.append(world.step(np.zeros(6))[1])
    assert places == [start, place]
    assert total == pytest.approx(sum(gains))
