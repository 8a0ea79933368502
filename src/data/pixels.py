"""Pixels as models get them."""

import math

from torch import Tensor

from src.errors import InputError


def scaled(pixels: Tensor, mean: float, std: float) -> Tensor:
    """Pixels in [0, 1] as (pixel - mean) / std.

    Raises:
        InputError: as of `check_scale`.
    """
    check_scale(mean, std)
    return (pixels - mean) / std


def check_scale(mean: float, std: float) -> None:
    """Refuse a scale, before anything is read or downloaded.

    Raises:
        InputError: `mean` or `std` is no finite number, or `std` isn't > 0.
    """
    for name, value in (("mean", mean), ("std", std)):
        if type(value) not in (int, float) or not math.isfinite(value):
            raise InputError(f"data.{name}={value}: must be a finite number")
    if std <= 0:
        raise InputError(f"data.std={std}: must be > 0")
