"""CIFAR-10: 50,000 + 10,000 32x32 pictures in colour of ten kinds of things."""

from pathlib import Path

import torch

from src.data.dataset import Dataset, Split
from src.data.downloads import download, verify
from src.data.pixels import check_scale, scaled
from src.errors import InputError
from src.shapes import Shapes

FOLDER = "cifar-10-batches-py"
FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
SHAPES = Shapes((3, 32, 32), classes=10)


def load(root: str | None, mean: float = 0.0, std: float = 1.0) -> Dataset:
    """Read it from `root`, where it is downloaded to when missing; inputs are (3, 32, 32).

    The files, also those that were put there by hand, are checked by the MD5 that torchvision
    knows of each.

    Args:
        root: the folder that it is kept in.
        mean, std: pixels, scaled to [0, 1], become (pixel - mean) / std.

    Raises:
        InputError: the data are missing or altered.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html
    """
    from torchvision.datasets import CIFAR10

    check_scale(mean, std)
    if root is None:
        raise InputError("data.root=null: the folder that holds the data set is needed")
    if missing(root):
        download(CIFAR10, Path(root), FOLDER, [CIFAR10.url])
    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    digest = verify(Path(root) / FOLDER, dict((*CIFAR10.train_list, *CIFAR10.test_list, meta)))

    def split(train: bool) -> Split:
        part = CIFAR10(root, train=train)
        pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2).float() / 255
        return Split(scaled(pixels, mean, std).contiguous(), torch.tensor(part.targets))

    return Dataset(split(True), split(False), classes=SHAPES.classes, sha256=digest)


def missing(root: str | None) -> bool:
    """Whether a file isn't there."""
    return not all((Path(root or "") / FOLDER / name).is_file() for name in FILES)


def ahead(root: str | None, **settings: float) -> Shapes | None:
    """The shapes, where the files must be downloaded first."""
    return SHAPES if missing(root) else None
