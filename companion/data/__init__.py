"""Data sets as tensors on a device, text as characters, and batches of both.

Nothing to download: `digits()`, `text("pydoc")` and `text("shakespeare")`. The other data sets are
downloaded once, with a checksum, into `cache_dir()`, which the environment variable COMPANION_DATA
chooses; files placed there by hand are used as they are:

    mnist/, fashion_mnist/    train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,
                              t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz; packed or not.
                              Debian's package dataset-fashion-mnist has them in
                              /usr/share/datasets/fashion-mnist: link that folder here
    cifar10/                  cifar-10-binary.tar.gz, or cifar-10-batches-bin/*.bin
    tinyshakespeare/          input.txt
    openwebtext/              train.bin, val.bin: the reader's own, see `token_file`
    imagenet/                 train/CLASS/*.JPEG and val/CLASS/*.JPEG, for `ImageFolder`; the
                              reader's own copy, never downloaded

The image loaders share their arguments: `split`, "train" or "test"; `device`, None for the CPU;
`flatten`, True for x of shape (n, c·h·w); `normalize`, True to subtract each channel's mean and
divide by its standard deviation (`MEAN_STD`). They raise ValueError on an unknown split and on a
damaged file, ConnectionError when a file is absent and no mirror answers, and OSError when the
folder cannot be used: a file, not writable, full.
"""

from companion.data.augment import Augmented, crop, flip
from companion.data.batches import Batches
from companion.data.fetch import MD5, MIRRORS, cache_dir
from companion.data.folder import ImageFolder
from companion.data.sets import MEAN_STD, Dataset, cifar10, digits, fashion_mnist, mnist
from companion.data.texts import Text, text
from companion.data.tokens import Draws, TokenFile, token_file

__all__ = ["Dataset", "digits", "mnist", "fashion_mnist", "cifar10", "Text", "text", "Batches"]
__all__ += ["Draws", "TokenFile", "token_file"]
__all__ += ["Augmented", "crop", "flip", "ImageFolder", "MEAN_STD", "cache_dir", "MIRRORS", "MD5"]
