"""Random numbers that are the same to the bit on every machine, and matrices made of them.

NumPy keeps the bits of PCG64 as they are, but not what `Generator` makes of them, and exp, sine
and the order of a sum's terms may differ between machines in a last bit. Here numbers are integers
times a power of two, few enough bits long that no sum or product of them is ever rounded.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data.dataset import Dataset, Split

Floats = NDArray[np.float64]


class Draws:
    """Draws from a seed, one after the other."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.PCG64(seed)

    def normal(self, *shape: int) -> Floats:
        """Nearly normal: sums of twelve uniform numbers, with mean 0 and variance 1.

        Multiples of 2⁻¹², within ±6. The fourth moment is 2.9 where a normal's is 3.
        """
        parts = self._raw(3, *shape).view(np.uint16).reshape(*shape, 12)
        sums = parts.sum(-1, dtype=np.int64) - 6 * (2**16 - 1)
        return on_grid(sums / 2**16, 12)

    def uniform(self, *shape: int) -> Floats:
        """In [0, 1), multiples of 2⁻³²."""
        return (self._raw(1, *shape)[..., 0] >> np.uint64(32)) / 2.0**32

    def permutation(self, size: int) -> NDArray[np.int64]:
        """An order of `size` things."""
        return np.argsort(self._raw(1, size)[..., 0], kind="stable")

    def _raw(self, each: int, *shape: int) -> NDArray[np.uint64]:
        count = each * int(np.prod(shape))
        return self.bits.random_raw(count).reshape(*shape, each)


def on_grid(values: Floats, bits: int) -> Floats:
    """The nearest multiples of 2^−bits; a last bit that differs is gone unless it decides."""
    rounded: Floats = np.rint(values * 2.0**bits) / 2.0**bits
    return rounded


def made(
    inputs: NDArray[Any],
    targets: NDArray[Any],
    test: int | None = None,
    vocabulary: int | None = None,
    sha256: str = "",
) -> Dataset:
    """A data set of these samples; the last ones are the test set, a fifth if no number is said.

    Args:
        inputs: (n, ...); integers are tokens below `vocabulary`.
        targets: (n, ...); integers are classes, of which there is one more than the largest.
        sha256: of the data; that of the tensors, if none is said.
    """
    classes = int(targets.max()) + 1 if np.issubdtype(targets.dtype, np.integer) else None
    whole = Split(_tensor(inputs), _tensor(targets))
    cut = len(targets) - (len(targets) // 5 if test is None else test)
    rows = torch.arange(len(targets))
    return Dataset(whole.take(rows[:cut]), whole.take(rows[cut:]), classes, vocabulary, sha256)


def _tensor(values: NDArray[Any]) -> Tensor:
    whole = np.issubdtype(values.dtype, np.integer)
    return torch.from_numpy(values.astype(np.int64 if whole else np.float32))
