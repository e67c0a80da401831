"""Two processes that train together end where one alone ends, or say why they cannot."""

import os
import subprocess
import sys
from pathlib import Path

import torch

# What is refused, by (scenario, optimizer): averages over what a process has a part of only.
REFUSED = {
    ("zero_redundancy", "AdaSGD"): "AdaSGD averages over its whole group",
    **{
        (scenario, name): f"{name} averages over whole parameters"
        for scenario in ("flat", "flat_views")
        for name in ("AdaShift", "AdaSGD", "BlockwiseAdam")
    },
}


def test_two_processes_train_as_one(tmp_path):
    """Data parallel, sharded in each of torch's ways, saved and loaded by its checkpoints."""
    worker = Path(__file__).with_name("distributed_worker.py")
    here = {**os.environ, "PYTHONPATH": str(worker.parents[2]), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, str(worker), str(tmp_path), str(rank)], env=here)
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    wrong = {}
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt")
        assert len(results) > 80
        for case, result in results.items():
            bound = 1e-6 if case.startswith("large") else 1e-12  # float32 there
            expected = REFUSED.get(tuple(case.split("-")[:2]))
            right = (
                expected in str(result)
                if expected
                else isinstance(result, float) and result < bound
            )
            # torch 2.6 shards fully, and writes distributed checkpoints, with a GPU's streams only.
            old = "no attribute 'record_event'" in str(result)
            if not right and not (old and torch.__version__ < "2.7"):
                wrong[case, rank] = result
    assert not wrong
