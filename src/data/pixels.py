"""Pixels as models get them."""

import math

from torch import Tensor

from src.errors import InputError


def scaled(pixels: Tensor, mean: float, std: float) -> Tensor:
    """Pixels in [0, 1] as (pixel - mean) / std, with a channel: (n, height, width) becomes
    (n, 1, height, width).

    Raises:
        InputError: `mean` or `std` is no finite number, or `std` isn't > 0.
    """
    for name, value in (("mean", mean), ("std", std)):
        if type(value) not in (int, float) or not math.isfinite(value):
            raise InputError(f"data.{name}={value}: must be a finite number")
    if std <= 0:
        raise InputError(f"data.std={std}: must be > 0")
    return ((pixels - mean) / std).unsqueeze(1)
