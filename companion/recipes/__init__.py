"""The experiments of the ADOPT paper: one file each, every setting in it, one code path a scale.

A module of this folder holds one experiment or some that share a model. It has

- ``SCALES``: name of an experiment → scale → its settings, one frozen dataclass. The scales are
  "smoke" (proves that it runs), "quick" (on the page, embedded data), "stored" (real data, in
  `companion.results`) and "full" (the paper's, on GPUs);
- ``Experiment(name, settings)``: what `engine.run` runs. Its ``task(cell)`` is what `loop.train`
  trains and the launcher spreads over processes.
"""

from importlib import import_module

from companion import scale as scales
from companion.arguments import one_of

MODULES = {  # name of an experiment → module
    "digits": "digits",
    "mnist": "mnist",
    "gpt": "language",
    "llama": "llama",
    "lora": "llama",
    "sac": "sac",
    "sac-halfcheetah": "mujoco",
    "sac-ant": "mujoco",
    "resnet": "images",
    "swin": "images",
    "sensitivity": "image_grids",
    "phase": "image_grids",
    "vae": "vae",
    "vae-clip": "vae",
}


def experiment(name: str, scale: str | None = None):
    """Return an experiment at a scale.

    Parameters
    ----------
    name : str
        A name of `MODULES`.
    scale : {"smoke", "quick", "stored", "full"}, optional
        None, the default, is that of ``COMPANION_SCALE``.

    Examples
    --------
    >>> experiment("mnist", "stored").settings["data"]
    'mnist'
    """
    one_of("name", name, MODULES)
    scale = scales.name() if scale is None else scale
    module = import_module(f"companion.recipes.{MODULES[name]}")
    one_of("scale", scale, module.SCALES[name])
    return module.Experiment(name, module.SCALES[name][scale])
