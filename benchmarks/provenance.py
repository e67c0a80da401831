"""Where a result comes from: versions, machine, device and date."""

import platform
from datetime import UTC, datetime

import torch


def provenance(device="cpu") -> dict[str, str]:
    """Return what a result's readers need to know beside its settings and seeds."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": name,
        "date": datetime.now(UTC).date().isoformat(),
    }
