"""When to stop early."""

from dataclasses import dataclass


@dataclass
class EarlyStopper:
    """Tells to stop after `patience` rows that were not better than the best by `min_delta`.

    Args:
        patience: rows, >= 1; None never stops.
        min_delta: >= 0; a smaller improvement counts as none.
        maximize: whether larger is better.
    """

    patience: int | None
    min_delta: float = 0.0
    maximize: bool = False
    best: float | None = None
    waited: int = 0

    def should_stop(self, value: float) -> bool:
        """Take the next row's value and answer."""
        score = -value if self.maximize else value
        if self.best is None or score < self.best - self.min_delta:
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        return self.patience is not None and self.waited >= self.patience
