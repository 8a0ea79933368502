"""When to stop early."""

from dataclasses import dataclass

from src.metrics import Direction


@dataclass
class EarlyStopper:
    """Says when `patience` rows in a row were not better than the best by `min_delta`.

    Args:
        patience: rows, >= 1; None never stops.
        min_delta: >= 0; a smaller improvement counts as none.
        direction: of the values.
    """

    patience: int | None
    min_delta: float = 0.0
    direction: Direction = Direction.MINIMIZE
    best: float | None = None  # a cost
    waited: int = 0

    def should_stop(self, value: float) -> bool:
        """Take the next row's value; return whether the run should stop."""
        cost = self.direction.sign * value
        if self.best is None or cost < self.best - self.min_delta:
            self.best, self.waited = cost, 0
        else:
            self.waited += 1
        return self.patience is not None and self.waited >= self.patience
