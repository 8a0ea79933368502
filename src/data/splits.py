"""Data in memory: read once, split the same way whatever the run's seed."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from src.data.dataset import Dataset, Split, check
from src.shapes import Shapes
from src.targets import arguments, blaming, build, resolve


@dataclass(frozen=True)
class Splits:
    """The three splits; `val` is empty when no fraction is held out."""

    train: Split
    val: Split
    test: Split
    shapes: Shapes
    sha256: str  # of the data as read, before they are split

    def to(self, device: torch.device) -> "Splits":
        train, val, test = (part.to(device) for part in (self.train, self.val, self.test))
        return Splits(train, val, test, self.shapes, self.sha256)


def load(source: Mapping[str, Any], validation_fraction: float, split_seed: int) -> Splits:
    """Read data and split them.

    Args:
        source: the function that reads them, `_target_`, and its settings.
        validation_fraction: share of the training set held out, in [0, 1), rounded to whole
            samples.
        split_seed: chooses which.

    Raises:
        InputError: a setting is refused, or the data are not what they must be.
    """
    return _load(json.dumps(source, sort_keys=True), validation_fraction, split_seed)


@lru_cache(maxsize=2)  # runs of one process share the tensors, which nobody writes to
def _load(source: str, validation_fraction: float, split_seed: int) -> Splits:
    settings = json.loads(source)
    data = build("data", settings, Dataset)
    with blaming("data", settings):
        check(data)
    held_out = round(validation_fraction * len(data.train))
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(split_seed))
    return Splits(
        # Sorted: which samples validate is all that the split decides.
        train=data.train.take(order[held_out:].sort().values) if held_out else data.train,
        val=data.train.take(order[:held_out].sort().values),
        test=data.test,
        shapes=data.shapes,
        sha256=data.digest(),
    )


def shapes_ahead(source: Mapping[str, Any]) -> Shapes | None:
    """The shapes of data that would have to be downloaded first; None of those that are here.

    A source whose file has a function `ahead` beside its own says so by that.
    """
    settings = dict(source)
    function = resolve("data", settings)
    ahead = getattr(sys.modules[function.__module__], "ahead", None)
    if ahead is None:
        return None
    with blaming("data", settings):
        shapes: Shapes | None = ahead(**arguments(settings))
        return shapes
