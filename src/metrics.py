"""What an evaluation measures on each set, and which way each of these is better."""

import math
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Literal, TypeVar, get_args

T = TypeVar("T")


class Direction(StrEnum):
    """Whether smaller values are better, or larger ones."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    __repr__ = str.__repr__

    @property
    def sign(self) -> int:
        """What turns a value into a cost, of which less is better."""
        return 1 if self is Direction.MINIMIZE else -1

    def better(self, value: float, other: float) -> bool:
        """Whether a value is better than another."""
        return self.sign * value < self.sign * other

    def worst(self, values: Iterable[float]) -> float:
        """The worst of some values."""
        return max(values, key=lambda value: self.sign * value)

    def ranked(self, items: Iterable[T], value: Callable[[T], float]) -> list[T]:
        """The items, best first; of equals the first stays first."""
        return sorted(items, key=lambda item: self.sign * value(item))

    def best(self, items: Iterable[T], value: Callable[[T], float]) -> T | None:
        """The first item with the best finite value; None where no value is finite."""
        finite = [item for item in items if math.isfinite(value(item))]
        return min(finite, key=lambda item: self.sign * value(item), default=None)


Set = Literal["train", "val", "test"]
SETS: tuple[Set, ...] = get_args(Set)
LOSS = "loss"  # what every loss measures; it names the others itself
# Of the quantities that losses here measure; a record holds those of a loss of one's own.
DIRECTIONS = {
    LOSS: Direction.MINIMIZE,
    "accuracy": Direction.MAXIMIZE,
    "mae": Direction.MINIMIZE,
}


def quantity(metric: str) -> str:
    """What a metric measures: `loss` of `val_loss`."""
    return metric.partition("_")[2]


def part(metric: str) -> str:
    """The set that a metric is measured on: `val` of `val_loss`."""
    return metric.partition("_")[0]


@lru_cache(maxsize=256)  # each row asks for the same few
def is_metric(name: str) -> bool:
    """Whether a name of a row is that of a metric; `train_seconds` isn't."""
    return part(name) in SETS and quantity(name) not in ("", "seconds")


def direction_of(
    metric: str,
    otherwise: str = Direction.MINIMIZE,
    directions: Mapping[str, str] = DIRECTIONS,
) -> Direction:
    """The direction of a metric.

    Args:
        metric: `val_loss`, say.
        otherwise: the direction of a metric that the table doesn't hold.
        directions: of quantities; those of a record, say.
    """
    return Direction(directions.get(quantity(metric), otherwise))
