"""The order in which a training set is seen."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from src.data.splits import Split


def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """The order of `size` samples in an epoch: a pure function of (seed, epoch).

    Returns:
        Shape (size,), int64, on the CPU, so that every device sees the same order.
    """
    # A hash, not seed + epoch: run 0's second epoch must not be run 1's first.
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    return torch.randperm(size, generator=generator)


def batches(
    split: Split, batch_size: int, seed: int, epoch: int, skip: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Slices of the epoch's permutation, without its first `skip` samples; the last one may be
    smaller."""
    order = permutation(len(split), seed, epoch).to(split.targets.device)
    for start in range(skip, len(split), batch_size):
        indices = order[start : start + batch_size]
        # index_select takes half the time of indexing.
        yield split.inputs.index_select(0, indices), split.targets.index_select(0, indices)
