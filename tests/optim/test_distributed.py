"""Processes that train together end where one alone ends, or say why they cannot."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch

from companion.recipes.support import REFUSED

# The way of `companion.recipes.support` that a scenario takes, where optimizers may be refused.
WAYS = {"zero_redundancy": "ZeRO", "flat": "FSDP", "flat_views": "FSDP"}


def test_processes_train_as_one(tmp_path):
    """Data parallel, sharded in each of torch's ways, saved by two and loaded by one and three."""
    worker = Path(__file__).with_name("distributed_worker.py")
    here = {**os.environ, "PYTHONPATH": str(worker.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(worker), str(tmp_path)]
    process = subprocess.Popen(command, env=here, start_new_session=True)
    try:
        assert process.wait(timeout=900) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(3)]
    assert all(len(found) >= least for found, least in zip(results, (230, 230, 7), strict=True))
    wrong = {}
    for rank, found in enumerate(results):
        for case, result in found.items():
            scenario, name, *_ = case.split("-")
            bound = 1e-6 if scenario in ("large", "mixed_precision") else 1e-12  # float32 there
            expected = REFUSED.get((WAYS.get(scenario), name))
            if scenario == "write":
                right = result is None
            elif expected:
                right = expected in str(result)
            else:
                right = isinstance(result, float) and result < bound
            # torch 2.6 shards fully, and writes distributed checkpoints, with a GPU's streams only:
            # then there is none for three processes, or one, to go on from.
            again = scenario in ("three", "one")
            cause = results[0][case.replace(scenario, "write", 1)] if again else result
            old = "no attribute 'record_event'" in str(cause)
            if not right and not (old and torch.__version__ < "2.7"):
                wrong[case, rank] = result
    assert not wrong
