"""Token numbers in two parts, one to train on and one to measure on, and windows of them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from companion.arguments import one_of, whole
from companion.data.sets import Dataset


class Tokens:
    """Token numbers: `train` and `val` are one-dimensional tensors, of whole numbers."""

    train: Tensor
    val: Tensor

    def batch(self, batch_size, context, generator=None, split="train") -> tuple[Tensor, Tensor]:
        """Random windows and the same windows one token later: x and y, both (B, T), int64.

        Starts are uniform and independent, drawn on the CPU from `generator` (None: torch's own),
        so that a seed gives the same batches on every device. No window leaves its part.
        """
        ids, batch_size = self._split(split, context), whole("batch_size", batch_size, least=1)
        start = torch.randint(len(ids) - context, (batch_size, 1), generator=generator)
        at = (start + torch.arange(context)).to(ids.device)  # (B, T)
        return self._numbers(ids[at]), self._numbers(ids[at + 1])

    def windows(self, context, split="val") -> Dataset:
        """All windows that do not overlap, in order, for an exact loss: x and y, both (n, T)."""
        ids = self._split(split, context)
        n = (len(ids) - 1) // context
        ids = self._numbers(ids[: n * context + 1])
        return Dataset(*(ids[i : i + n * context].view(n, context) for i in (0, 1)))

    def _split(self, split, context) -> Tensor:
        one_of("split", split, ("train", "val"))
        ids = self.train if split == "train" else self.val
        if not 1 <= whole("context", context) < len(ids):
            raise ValueError(f"context: {context}; {split} allows 1 to {len(ids) - 1}")
        return ids

    def _numbers(self, ids: Tensor) -> Tensor:
        return ids


@dataclass(frozen=True, eq=False)
class TokenFile(Tokens):
    """Token numbers in files, of which memory holds what is in use: both parts (n,), int16 bits."""

    train: Tensor
    val: Tensor

    def _numbers(self, ids: Tensor) -> Tensor:
        return ids.long() & 0xFFFF  # torch indexes int16, but not everywhere uint16


def token_file(folder) -> TokenFile:
    """Open two files of token numbers, ``train.bin`` and ``val.bin``, without reading them.

    Parameters
    ----------
    folder : path
        Its files hold 16-bit unsigned numbers in the machine's byte order, with nothing before or
        between them, such as ``numpy.array(ids, numpy.uint16).tofile(path)`` writes.

    Raises
    ------
    FileNotFoundError
        A file is absent.
    ValueError
        A file holds no whole number of tokens, or fewer than two.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("train.bin", "val.bin"):
    ...         _ = Path(folder, name).write_bytes(bytes([0, 0, 255, 255, 1, 0]))
    ...     token_file(folder).windows(2).y.tolist()
    [[65535, 1]]
    """
    parts = []
    for path in (Path(folder, "train.bin"), Path(folder, "val.bin")):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; expected token numbers as 16-bit unsigned numbers, "
                "which are yours to make, of a text and a tokeniser of your own"
            )
        count, rest = divmod(path.stat().st_size, 2)
        if rest or count < 2:
            raise ValueError(f"{path}: {2 * count + rest} bytes; expected 2 a token, 4 at least")
        parts.append(torch.from_file(str(path), shared=False, size=count, dtype=torch.int16))
    return TokenFile(*parts)


class Draws:
    """An endless iterator over random windows of the part to train on, that can be resumed.

    Parameters
    ----------
    tokens : Tokens
    batch_size, context : int
        B and T.
    seed : int, default 0

    Examples
    --------
    >>> from companion.data import text
    >>> draws = Draws(text(), 2, 8, seed=1)
    >>> place = draws.state_dict()
    >>> x, y = next(draws)
    >>> x.shape, torch.equal(x[:, 1:], y[:, :-1])
    (torch.Size([2, 8]), True)
    >>> draws.load_state_dict(place)
    >>> torch.equal(next(draws)[0], x)
    True
    """

    def __init__(self, tokens: Tokens, batch_size: int, context: int, seed: int = 0) -> None:
        self.tokens, self.batch_size, self.context = tokens, batch_size, context
        self.generator = torch.Generator().manual_seed(whole("seed", seed))

    def __iter__(self):
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        return self.tokens.batch(self.batch_size, self.context, self.generator)

    def state_dict(self) -> dict:
        """State from which `load_state_dict` continues the same batches, bit for bit."""
        sizes = {"batch_size": self.batch_size, "context": self.context}
        return sizes | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state_dict` was called; ValueError if the sizes differ."""
        for key in ("batch_size", "context"):
            if state.get(key) != getattr(self, key):
                raise ValueError(
                    f"state: {key} is {state.get(key)!r}, these batches have {getattr(self, key)}"
                )
        self.generator.set_state(state["generator"].cpu())
