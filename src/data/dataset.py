"""What a source of data gives: a training set, a test set, and what their numbers mean."""

import hashlib
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from src.shapes import Shapes


@dataclass(frozen=True)
class Split:
    """Samples: inputs (n, *input_shape) and targets (n, *target_shape).

    Inputs are float32, or int64 where they are tokens; targets are float32, or int64 where they
    are class indices.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return self.targets.shape[0]  # a tenth of the time of its len()

    def to(self, device: torch.device) -> "Split":
        return Split(self.inputs.to(device), self.targets.to(device))

    def take(self, indices: Tensor) -> "Split":
        return Split(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True)
class Dataset:
    """The data of a source.

    Args:
        train, test: not empty, of the same shapes.
        classes: targets are class indices from 0 to below it; None: real numbers.
        vocabulary: inputs are indices of tokens from 0 to below it; None: real numbers.
        sha256: of the data; where a source says none, that of its tensors.
    """

    train: Split
    test: Split
    classes: int | None = None
    vocabulary: int | None = None
    sha256: str = ""

    @property
    def shapes(self) -> Shapes:
        inputs, targets = self.train.inputs, self.train.targets
        return Shapes(
            tuple(inputs.shape[1:]), tuple(targets.shape[1:]), self.classes, self.vocabulary
        )

    def digest(self) -> str:
        """`sha256`, or the digest of all tensors, their types and shapes."""
        if self.sha256:
            return self.sha256
        total = hashlib.sha256()
        for split in (self.train, self.test):
            for field in fields(split):
                tensor = getattr(split, field.name)
                total.update(f"{field.name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                total.update(tensor.contiguous().numpy().data)
        return total.hexdigest()


def check(dataset: Dataset) -> None:
    """Refuse data that no model could be trained on.

    Raises:
        ValueError: naming the set, the sample and what is allowed.
    """
    if dataset.classes is not None and dataset.classes < 2:
        raise ValueError(f"classes must be at least 2, got {dataset.classes}")
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        _check_split(f"the {name} set", split, dataset)
    for part in ("inputs", "targets"):
        shapes = [tuple(getattr(each, part).shape[1:]) for each in (dataset.train, dataset.test)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"the training set's {part} have the shape {shapes[0]}, the test set's {shapes[1]}"
            )


def _check_split(where: str, split: Split, dataset: Dataset) -> None:
    if len(split.inputs) != len(split.targets):
        raise ValueError(f"{where} has {len(split.inputs)} inputs and {len(split.targets)} targets")
    if len(split) == 0:
        raise ValueError(f"{where} is empty")
    _check_numbers(f"{where}: input", split.inputs, dataset.vocabulary, "vocabulary")
    _check_numbers(f"{where}: target", split.targets, dataset.classes, "classes")


def _check_numbers(what: str, values: Tensor, below: int | None, name: str) -> None:
    """Refuse another type than the kind has, numbers that aren't finite, indices out of range."""
    expected = torch.float32 if below is None else torch.int64
    if values.dtype != expected:
        raise ValueError(f"{what}s must be {expected} with {name}={below}, got {values.dtype}")
    if below is None:
        # One sum is quick, and finite unless a number isn't, or all together are too large.
        if not values.sum().isfinite() and not (finite := values.isfinite()).all():
            place = (~finite).nonzero()[0].tolist()
            raise ValueError(f"{what} {place[0]} is {values[tuple(place)].item()}")
    elif values.numel() and not 0 <= int(values.min()) <= int(values.max()) < below:
        place = ((values < 0) | (values >= below)).nonzero()[0].tolist()
        raise ValueError(
            f"{what} {place[0]} is {values[tuple(place)].item()}, outside 0 to {below - 1}"
        )
