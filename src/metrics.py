"""What an evaluation measures on each set, and which way each of these is better."""

import math
from collections.abc import Callable, Iterable
from enum import StrEnum
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
# What is measured on a set, in the order in which `evaluate` returns it.
DIRECTIONS = {"loss": Direction.MINIMIZE, "accuracy": Direction.MAXIMIZE}
Metric = Literal[
    "train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"
]
METRICS: tuple[Metric, ...] = get_args(Metric)


def quantity(metric: str) -> str:
    """What a metric measures: `loss` of `val_loss`."""
    return metric.partition("_")[2]


def direction_of(metric: str, otherwise: str = Direction.MINIMIZE) -> Direction:
    """The direction of a metric.

    Args:
        metric: `val_loss`, say.
        otherwise: the direction of a metric that the table above doesn't hold.
    """
    return DIRECTIONS.get(quantity(metric), Direction(otherwise))
