"""A data set in memory: normalised once, split the same way whatever the run's seed."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from src.data import sources


@dataclass(frozen=True)
class Split:
    """Inputs, float32 of shape (n, channels, height, width), and class indices, int64 (n,)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> "Split":
        return Split(self.inputs.to(device), self.targets.to(device))

    def take(self, indices: Tensor) -> "Split":
        return Split(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True)
class Splits:
    """The three splits; `val` is empty when no fraction is held out."""

    train: Split
    val: Split
    test: Split
    num_classes: int
    sha256: str  # of the data as read, before it is normalised or split

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an input: (channels, height, width)."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def in_features(self) -> int:
        return math.prod(self.shape)

    def to(self, device: torch.device) -> "Splits":
        train, val, test = (part.to(device) for part in (self.train, self.val, self.test))
        return Splits(train, val, test, self.num_classes, self.sha256)


@lru_cache(maxsize=2)  # runs of one process share the tensors, which nobody writes to
def load(
    name: str,
    root: str | None,
    mean: float,
    std: float,
    validation_fraction: float,
    split_seed: int,
) -> Splits:
    """Read a data set and split it.

    Args:
        name: one of `sources.SOURCES`.
        root: the folder it is kept in, and downloaded to when missing.
        mean, std: pixels in [0, 1] become (pixel - mean) / std.
        validation_fraction: share of the training images held out, in [0, 1), rounded to whole
            images.
        split_seed: chooses which.

    Raises:
        InputError: an unknown name, or data that is missing, truncated or altered.
    """
    sources.sizes(name)
    raw = sources.SOURCES[name](root)
    held_out = round(validation_fraction * len(raw.train_targets))
    train = _normalise(raw.train_images, raw.train_targets, mean, std)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(split_seed))
    return Splits(
        # Sorted: which images validate is all that the split decides.
        train=train.take(order[held_out:].sort().values) if held_out else train,
        val=train.take(order[:held_out].sort().values),
        test=_normalise(raw.test_images, raw.test_targets, mean, std),
        num_classes=int(raw.train_targets.max()) + 1,
        sha256=raw.sha256,
    )


def _normalise(images: Tensor, targets: Tensor, mean: float, std: float) -> Split:
    return Split(((images - mean) / std).unsqueeze(1), targets)
