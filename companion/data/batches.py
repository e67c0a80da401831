"""Batches of tensors, drawn by a seed, that can be saved and resumed."""

import torch
from torch import Tensor

from companion.arguments import whole
from companion.problems.oracles import check_order


class Batches:
    """An iterator over batches of tensors, on their device, that can be saved and resumed.

    Sample numbers are drawn on the CPU, so that a seed gives the same batches on every device.

    Parameters
    ----------
    data : Tensor or tuple of Tensor
        Each (n, ...), on one device; a `Dataset` is such a tuple. A tensor gives tensors, a tuple
        gives tuples.
    batch_size : int
        Samples a batch.
    seed : int, default 0
        Seed of `generator`.
    order : {"reshuffled", "iid", "cyclic"}
        "reshuffled": a new random order each epoch; an epoch visits each sample exactly once.
        "iid": independent uniform draws; all batches have batch_size samples, and an epoch has as
        many batches as under "reshuffled". "cyclic": as the data lie, over and over.
    epochs : int, optional
        Stop after so many; None, the default, never stops.
    drop_last : bool, default False
        Leave out an epoch's last batch if it is smaller than the others.

    Attributes
    ----------
    epoch, position : int
        Epochs completed, and batches given since.
    steps_per_epoch : int
    generator : torch.Generator

    Raises
    ------
    ValueError
        Empty data, unequal lengths or devices, an unknown order, a number that is too small, no
        batch in an epoch.
    TypeError
        Data that are no tensors, a number that is not whole.

    Examples
    --------
    >>> [batch.tolist() for batch in Batches(torch.arange(5), 2, order="cyclic", epochs=1)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, data, batch_size, *, seed=0, order="reshuffled", epochs=None, drop_last=False
    ) -> None:
        self._single = isinstance(data, Tensor)
        self.tensors = tuple(data) if isinstance(data, (tuple, list)) else (data,)
        if not all(isinstance(tensor, Tensor) and tensor.dim() for tensor in self.tensors):
            raise TypeError(
                "data: expected a tensor of samples or a tuple of them, got "
                f"{[type(tensor).__name__ for tensor in self.tensors]}"
            )
        lengths = [len(tensor) for tensor in self.tensors]
        if not lengths or len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(f"data: tensors of lengths {lengths}; expected one length, at least 1")
        if len(devices := {str(tensor.device) for tensor in self.tensors}) > 1:
            raise ValueError(f"data: tensors on {sorted(devices)}; expected one device")
        check_order(order)
        self.n, self.order, self.drop_last = lengths[0], order, bool(drop_last)
        self.batch_size = whole("batch_size", batch_size, least=1)
        if drop_last and self.batch_size > self.n:
            raise ValueError(f"batch_size: {batch_size}; drop_last allows 1 to {self.n}")
        self.epochs = None if epochs is None else whole("epochs", epochs, least=1)
        full, rest = divmod(self.n, self.batch_size)
        self.steps_per_epoch = full + (rest > 0 and not drop_last)
        self.generator = torch.Generator().manual_seed(whole("seed", seed))
        self.epoch = self.position = 0
        self._drawn = None  # sample numbers of this epoch, once drawn
        self._before = None  # the generator's state before it drew them

    def __iter__(self):
        return self

    def __next__(self):
        if self.epochs is not None and self.epoch >= self.epochs:
            raise StopIteration
        if self._drawn is None:
            self._before = self.generator.get_state()
            self._drawn = self._draw().to(self.tensors[0].device)
        start = self.position * self.batch_size
        index = self._drawn[start : start + self.batch_size]
        self.position += 1
        if self.position == self.steps_per_epoch:
            self.epoch, self.position, self._drawn = self.epoch + 1, 0, None
        batch = tuple(tensor[index] for tensor in self.tensors)
        return batch[0] if self._single else batch

    def _draw(self) -> Tensor:
        if self.order == "reshuffled":
            return torch.randperm(self.n, generator=self.generator)
        if self.order == "iid":
            size = (self.steps_per_epoch * self.batch_size,)
            return torch.randint(self.n, size, generator=self.generator)
        return torch.arange(self.n)

    def _settings(self) -> dict:
        return {key: getattr(self, key) for key in ("n", "batch_size", "order", "drop_last")}

    def state_dict(self) -> dict:
        """State from which `load_state_dict` continues the same batches, bit for bit."""
        state = self.generator.get_state() if self._drawn is None else self._before
        place = {"epoch": self.epoch, "position": self.position, "generator": state.clone()}
        return self._settings() | place

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state_dict` was called; ValueError if the settings differ."""
        for key, value in self._settings().items():
            if state.get(key) != value:
                raise ValueError(
                    f"state: {key} is {state.get(key)!r}, these batches have {value!r}"
                )
        epoch, position = (whole(f"state: {key}", state[key], 0) for key in ("epoch", "position"))
        if position >= self.steps_per_epoch:
            raise ValueError(
                f"state: position {position}, but an epoch has {self.steps_per_epoch} steps"
            )
        self.generator.set_state(state["generator"].cpu())
        self.epoch, self.position, self._drawn = epoch, position, None
