"""MNIST and the sets made in its image: torchvision's files on disk."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.data.dataset import Dataset, Split
from src.data.downloads import download, verify
from src.data.pixels import check_scale, scaled
from src.errors import InputError
from src.shapes import Shapes

# The unpacked files' sizes, common to MNIST and the sets made in its image.
SIZES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}
# Of the unpacked files. Their publishers give digests of the archives alone. Fashion-MNIST's are
# those on which several public programs agree; KMNIST's are the keys of a public git-annex
# repository that holds the archives, too, with the MD5 that torchvision knows.
DIGESTS = {
    "MNIST": {
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": (
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        "t10k-images-idx3-ubyte": (
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        "t10k-labels-idx1-ubyte": (
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
    "KMNIST": {
        "train-images-idx3-ubyte": "92be26ec9822e900ac425d0a0aa84ced",
        "train-labels-idx1-ubyte": "949e75301f8813e0dc5800dcc320fc52",
        "t10k-images-idx3-ubyte": "bf305b8cd328700fbc17f5acbc2856d2",
        "t10k-labels-idx1-ubyte": "9f55f451c0988b028eccdf7d5cc265ab",
    },
}
SHAPES = Shapes((1, 28, 28), classes=10)


def read(class_name: str, root: str | None, mean: float, std: float) -> Dataset:
    """Read one of torchvision's MNIST-like classes; download it where a file is missing.

    Args:
        class_name: torchvision's.
        root: the folder that it is kept in.
        mean, std: pixels, scaled to [0, 1], become (pixel - mean) / std.

    Raises:
        InputError: the data are missing, truncated or altered.
    """
    check_scale(mean, std)
    if root is None:
        raise InputError("data.root=null: the folder that holds the data set is needed")
    folder = Path(root) / class_name / "raw"
    if missing(class_name, root):
        _download(class_name, root)
    _check_sizes(folder)
    digest = verify(folder, DIGESTS[class_name])
    train, test = (
        Split(
            scaled(_values(folder / f"{part}-images-idx3-ubyte").float() / 255, mean, std),
            _values(folder / f"{part}-labels-idx1-ubyte").long(),
        )
        for part in ("train", "t10k")
    )
    return Dataset(train, test, classes=SHAPES.classes, sha256=digest)


def _download(class_name: str, root: str) -> None:
    import torchvision  # takes three seconds, and files that are there can be read without it

    dataset = getattr(torchvision.datasets, class_name)
    urls = [mirror + dataset.resources[0][0] for mirror in dataset.mirrors]
    download(dataset, Path(root), f"{class_name}/raw", urls)


def _values(file: Path) -> Tensor:
    """The bytes of an IDX file, images (N, 1, 28, 28) or labels (N,).

    In front of them stand a number of four bytes and as much for each dimension
    (http://yann.lecun.com/exdb/mnist/); the file's digest has been checked.
    """
    images = "idx3" in file.name
    values = torch.from_numpy(np.fromfile(file, np.uint8, offset=16 if images else 8))
    return values.reshape(-1, *SHAPES.input) if images else values


def missing(class_name: str, root: str | None) -> bool:
    """Whether a file isn't there."""
    folder = Path(root or "") / class_name / "raw"
    return not all((folder / name).is_file() for name in SIZES)


def _check_sizes(folder: Path) -> None:
    for name, size in SIZES.items():
        length = (folder / name).stat().st_size
        if length != size:
            raise InputError(
                f"{folder / name}: truncated or altered: {length} bytes, expected {size}; "
                "delete it to download it again"
            )
