"""FashionMNIST: 60,000 + 10,000 28x28 pictures of clothes."""

from src.data import idx
from src.data.dataset import Dataset
from src.shapes import Shapes


def load(root: str | None, mean: float = 0.0, std: float = 1.0) -> Dataset:
    """Read it from `root`, where it is downloaded to when missing; see `idx.read`."""
    return idx.read("FashionMNIST", root, mean, std)


def ahead(root: str | None, **settings: float) -> Shapes | None:
    """The shapes, where the files must be downloaded first."""
    return idx.SHAPES if idx.missing("FashionMNIST", root) else None
