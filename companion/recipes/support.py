"""Which optimizer trains in which of torch's ways to spread a run over processes.

A test trains every pair, by two processes and by one, and finds what stands here.
"""

import pandas as pd

from companion import optim

WAYS = {
    "DDP": "DistributedDataParallel: each process has all parameters and the whole state",
    "ZeRO": "ZeroRedundancyOptimizer: each process has all parameters, and the state of some",
    "FSDP2": "fully_shard: each process has a part of each parameter, with its state",
    "FSDP": "FullyShardedDataParallel, the first version: a piece of one flat vector",
}
# What is refused: averages over what a process has a part of only, and does not know it.
REFUSED = {
    ("ZeRO", "AdaSGD"): "AdaSGD averages over its whole group",
    ("FSDP", "AdaShift"): "AdaShift averages over whole parameters",
    ("FSDP", "AdaSGD"): "AdaSGD averages over whole parameters",
    ("FSDP", "BlockwiseAdam"): "BlockwiseAdam averages over whole parameters",
}


def table() -> pd.DataFrame:
    """Return a row an optimizer and a column a way: "yes", or that it is refused.

    Examples
    --------
    >>> table().set_index("optimizer").loc["AdaSGD"].to_dict()
    {'DDP': 'yes', 'ZeRO': 'refused', 'FSDP2': 'yes', 'FSDP': 'refused'}
    """
    return pd.DataFrame(
        {"optimizer": name} | {way: "refused" if (way, name) in REFUSED else "yes" for way in WAYS}
        for name in optim.__all__
    )
