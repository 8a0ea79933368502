"""The loss and its metrics over whole sets."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from src.data import Split
from src.losses import Loss
from src.metrics import LOSS
from src.training.build import Parts
from src.training.loop import outputs_of
from src.training.weights import judged

BATCH = 2048  # large enough to fill the cores, small enough for its activations to stay in cache


@torch.inference_mode()
def evaluate(model: nn.Module, loss: Loss, data: Split) -> dict[str, float]:
    """The mean loss, and the mean of each of its metrics; every sample counts once."""
    was_training = model.training
    model.eval()
    try:
        sums = ((name, total.item()) for name, total in totals(model, loss, data))
        return means(loss, data, sums)
    finally:
        model.train(was_training)


def totals(model: nn.Module, loss: Loss, data: Split) -> Iterator[tuple[str, Tensor]]:
    """The sums, over parts of a set, of the loss and of each of its metrics."""
    for inputs, targets in zip(data.inputs.split(BATCH), data.targets.split(BATCH), strict=True):
        outputs = outputs_of(model, loss, inputs)
        yield LOSS, loss.total(outputs, targets)
        for name, values in loss.measures(outputs, targets).items():
            yield name, values.sum()


def means(loss: Loss, data: Split, parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The means of a set, of the sums over its parts."""
    sums = dict.fromkeys((LOSS, *loss.metrics), 0.0)
    for name, total in parts:
        sums[name] += total
    return {name: total / len(data) for name, total in sums.items()}


class Evaluator:
    """Evaluates the sets that the config names, and counts the seconds it takes.

    Args:
        measure: gives the means over a set, elsewhere than here.
    """

    def __init__(
        self,
        parts: Parts,
        names: Sequence[str],
        measure: Callable[[nn.Module, Loss, Split], dict[str, float]] | None = None,
    ) -> None:
        self.measure = measure or evaluate
        self.model, self.loss, self.optimizer = parts.model, parts.loss, parts.optimizer
        self.splits = {name: getattr(parts.data, name) for name in names}
        self.seconds = 0.0

    def __call__(self) -> dict[str, float]:
        started = time.perf_counter()
        values: dict[str, float] = {}
        with judged(self.model, self.optimizer):
            for name, split in self.splits.items():
                measured = self.measure(self.model, self.loss, split)
                values |= {f"{name}_{quantity}": value for quantity, value in measured.items()}
        self.seconds += time.perf_counter() - started
        return values
