"""The settings of a method, as a table: each has a default and a range."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Setting:
    """A default and a check, which raises ValueError for a value that isn't allowed."""

    default: Any
    check: Callable[[str, Any], None]


@dataclass(frozen=True)
class Range:
    """Finite numbers; a float or a 0-dim tensor."""

    words: str
    holds: Callable[[float], bool]

    def __call__(self, name: str, value: Any) -> None:
        scalar = isinstance(value, Tensor) and value.dim() == 0 and not value.is_complex()
        scalar = scalar and value.dtype is not torch.bool
        number = scalar or (isinstance(value, Real) and not isinstance(value, bool))
        if not number or not math.isfinite(value) or not self.holds(float(value)):
            raise ValueError(f"{name} must be {self.words}, got {value!r}")


NOT_NEGATIVE = Range("a number >= 0", lambda value: value >= 0)
POSITIVE = Range("a number > 0", lambda value: value > 0)
FRACTION = Range("a number in [0, 1)", lambda value: 0 <= value < 1)
FINITE = Range("a finite number", lambda value: True)


def table(**settings: Setting) -> Mapping[str, Setting]:
    """The settings of a method, in the order of its arguments."""
    return MappingProxyType(settings)


def not_negative(default: float) -> Setting:
    """A number >= 0."""
    return Setting(default, NOT_NEGATIVE)


def positive(default: float) -> Setting:
    """A number > 0."""
    return Setting(default, POSITIVE)


def fraction(default: float) -> Setting:
    """A number in [0, 1)."""
    return Setting(default, FRACTION)


def fractions(*defaults: float) -> Setting:
    """As many numbers in [0, 1) as there are defaults."""
    return Setting(defaults, partial(_several, len(defaults), "numbers in [0, 1)", FRACTION))


def numbers(*defaults: float) -> Setting:
    """As many finite numbers as there are defaults."""
    return Setting(defaults, partial(_several, len(defaults), "numbers", FINITE))


def whole(default: int, low: int, high: int) -> Setting:
    """A whole number from low to high."""
    return Setting(default, partial(_whole, low, high))


def length() -> Setting:
    """A number of steps, or None."""
    return Setting(None, _length)


def choice(default: str, *alternatives: str) -> Setting:
    """One of these words."""
    return Setting(default, partial(_choice, (default, *alternatives)))


def flag(default: bool) -> Setting:
    """True or false."""
    return Setting(default, _flag)


def _several(count: int, words: str, item_range: Range, name: str, values: Any) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != count:
        number = {2: "two", 3: "three"}.get(count, str(count))
        raise ValueError(f"{name} must be {number} {words}, got {values!r}")
    for index, value in enumerate(values):
        item_range(f"{name}[{index}]", value)


def _whole(low: int, high: int, name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _length(name: str, value: Any) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{name} must be a whole number >= 1, or null, got {value!r}")


def _choice(words: Sequence[str], name: str, value: Any) -> None:
    if value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {value!r}")


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
