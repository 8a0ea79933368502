"""The order in which a training set is seen."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from src.data.dataset import Split


def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """The order of `size` samples in an epoch: a pure function of (seed, epoch).

    Returns:
        Shape (size,), int64, on the CPU, so that every device sees the same order.
    """
    # A hash, not seed + epoch: run 0's second epoch must not be run 1's first.
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    return torch.randperm(size, generator=generator)


@dataclass(frozen=True)
class Batches:
    """A training set in batches.

    Args:
        split: not smaller than a batch.
        batch_size: samples, >= 1.
        drop_last: leave an epoch's last batch out where it is smaller than the others.
        shuffle: in an order that each epoch draws anew; otherwise in the order of the data.
    """

    split: Split
    batch_size: int
    drop_last: bool = False
    shuffle: bool = True

    @property
    def samples(self) -> int:
        """Samples of an epoch."""
        size = len(self.split)
        return size - size % self.batch_size if self.drop_last else size

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-self.samples // self.batch_size)

    def epoch(self, seed: int, epoch: int, skip: int = 0) -> Iterator["Drawn"]:
        """An epoch's batches, without its first `skip` samples; the last may be smaller."""
        size, samples = len(self.split), self.samples
        order = permutation(size, seed, epoch) if self.shuffle else torch.arange(size)
        if skip or samples < size:
            order = order[skip:samples]
        order = order.to(self.split.targets.device)
        parts = order.split(self.batch_size) if skip < samples else ()
        return (Drawn(self.split, indices) for indices in parts)


class Drawn:
    """A batch that is read where it is wanted, alone or with others.

    Args:
        indices: of its samples.
    """

    def __init__(self, split: Split, indices: Tensor) -> None:
        self.split, self.indices = split, indices

    def __len__(self) -> int:
        return self.indices.shape[0]  # a tenth of the time of its len()

    def __iter__(self) -> Iterator[Tensor]:
        """Read its inputs and its targets."""
        # index_select takes half the time of indexing.
        yield self.split.inputs.index_select(0, self.indices)
        yield self.split.targets.index_select(0, self.indices)


def read(batches: Sequence[Drawn]) -> list[Tensor]:
    """Inputs and targets of batches of one size, which come first: (batches, samples, ...)."""
    first, shape = batches[0].split, (len(batches), len(batches[0]))
    if any(each.split.inputs is not first.inputs for each in batches):
        return [torch.stack([*tensors]) for tensors in zip(*batches, strict=True)]
    indices = torch.stack([each.indices for each in batches]).view(-1)
    return [
        tensor.index_select(0, indices).view(*shape, *tensor.shape[1:])
        for tensor in (first.inputs, first.targets)
    ]
