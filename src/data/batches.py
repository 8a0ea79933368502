"""The order in which a training set is seen."""

import hashlib
from collections.abc import Iterator
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

    def epoch(self, seed: int, epoch: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of an epoch's batches, without its first `skip` samples; the last
        batch may be smaller."""
        inputs, targets, samples = self.split.inputs, self.split.targets, self.samples
        size = len(self.split)
        order = permutation(size, seed, epoch) if self.shuffle else torch.arange(size)
        order = order.to(targets.device)
        for start in range(skip, samples, self.batch_size):
            indices = order[start : min(start + self.batch_size, samples)]
            # index_select takes half the time of indexing.
            yield inputs.index_select(0, indices), targets.index_select(0, indices)
