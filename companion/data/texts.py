"""Texts as characters."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from companion.data.fetch import check_md5, folder_errors, load, read
from companion.data.tokens import Tokens

LARGEST = 1 << 30  # bytes of a text, unpacked


@dataclass(frozen=True, eq=False)
class Text(Tokens):
    """A text as character numbers: `ids` is (n,), int64; `vocab[i]` is the character with number i.

    `train` is the first 90 % of `ids`, `val` the rest: views, on the same device.
    """

    ids: Tensor
    vocab: list[str]

    @property
    def train(self) -> Tensor:
        return self.ids[: len(self.ids) * 9 // 10]

    @property
    def val(self) -> Tensor:
        return self.ids[len(self.ids) * 9 // 10 :]

    def encode(self, string: str) -> Tensor:
        """Numbers of the characters, (len(string),), int64; ValueError on an unknown one."""
        number = {character: i for i, character in enumerate(self.vocab)}
        if unknown := set(string) - number.keys():
            raise ValueError(
                f"string: holds {sorted(unknown)}, not among the {len(number)} characters of vocab"
            )
        return torch.tensor([number[c] for c in string], dtype=torch.int64, device=self.ids.device)

    def decode(self, ids: Tensor) -> str:
        """Characters of a (n,) tensor of numbers: the inverse of `encode`."""
        return "".join(self.vocab[i] for i in ids.tolist())


def text(name="pydoc", *, device=None) -> Text:
    """Load a text, one number a character; the vocabulary is its sorted characters.

    Parameters
    ----------
    name : str or path, default "pydoc"
        "pydoc": Python's own language reference, 0.5 million characters, which needs no download
        and differs between Python versions. "shakespeare": the beginning of the next one, 0.1
        million characters, in the package. "tiny_shakespeare": 1.1 million characters (Karpathy's
        char-rnn), 1 MB to download, once. Else the path of a UTF-8 text, gzipped or not.
    device : device or str, optional
        Where `ids` lives.

    Raises
    ------
    ValueError
        Neither a known name nor a file; a file that is empty, damaged, or not UTF-8.
    ConnectionError
        The text is absent and no mirror answers.

    Examples
    --------
    >>> python = text()
    >>> python.decode(python.encode("yield"))
    'yield'
    >>> x, y = python.batch(2, 8, torch.Generator().manual_seed(0))
    >>> x.shape, bool((x[:, 1:] == y[:, :-1]).all())
    (torch.Size([2, 8]), True)
    """
    if name == "pydoc":
        from pydoc_data.topics import topics

        string = "\n\n".join(topics[key] for key in sorted(topics))
    else:
        if name == "shakespeare":
            content = read(path := Path(__file__).with_name("shakespeare.txt.gz"), LARGEST)
        elif name == "tiny_shakespeare":
            with folder_errors():
                content, path = load(key := "tinyshakespeare/input.txt")
            check_md5(content, path, key)
        elif os.path.isfile(name):
            content = read(path := Path(name), LARGEST)
        else:
            raise ValueError(
                f"name: {str(name)[:200]!r} is not 'pydoc', 'shakespeare', 'tiny_shakespeare' or a "
                "file"
            )
        try:
            string = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected UTF-8 text; {error}") from error
        if not string:
            raise ValueError(f"{path}: empty, expected text")
    empty = Text(torch.empty(0, dtype=torch.int64, device=device), sorted(set(string)))
    return Text(empty.encode(string), empty.vocab)
